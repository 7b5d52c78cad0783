// A row of choices, as pictures or as words; fires "pick" with the number of the choice in its value.
// In scope: element, props, trigger, watch.

const row = element.querySelector(".picks");

/** Draw one button for each item. */
function draw() {
  const items = props.value?.items ?? props.items ?? [];
  row.replaceChildren(
    ...items.map((item, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = item.image ? "pick picture" : "pick";
      if (item.image) {
        const image = document.createElement("img");
        image.src = item.image;
        image.alt = item.label;
        button.title = item.label;
        button.append(image);
      } else {
        button.textContent = item.label;
      }
      button.addEventListener("click", () => {
        props.value = { ...(props.value ?? {}), picked: index };
        trigger("pick");
      });
      return button;
    }),
  );
}

draw();
watch("value", draw);
