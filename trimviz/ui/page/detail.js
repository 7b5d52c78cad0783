// Carries the settings of the answers into the address once they stand. In scope: element, watch.
function carry() {
  const place = element.querySelector("[data-address]");
  if (place) window.trimviz?.address?.(place.dataset.address);
}
watch("value", carry);
