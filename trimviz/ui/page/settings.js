// The method and its knobs, from a description of both; fires "commit" when one was changed.
// In scope: element, props, trigger, watch.

const methods = props.spec;
const root = element.querySelector(".settings");
const menu = root.querySelector("select");
const clause = root.querySelector(".clause");
const list = root.querySelector(".knobs");
const reset = root.querySelector(".reset");
const own = root.querySelector(".model");

/** @returns the method that is chosen, or the first */
function chosen() {
  return methods.find((method) => method.key === menu.value) ?? methods[0];
}

/** Read controls back: only settings that differ from their defaults travel. */
function changed(box, knobs) {
  const found = {};
  for (const knob of knobs) {
    const input = box.querySelector(`[name="${knob.name}"]`);
    let value = knob.choices ? input.value : typeof knob.default === "boolean" ? input.checked : Number(input.value);
    if (typeof value === "number" && !Number.isFinite(value)) value = knob.default;
    if (value !== knob.default) found[knob.name] = value;
  }
  return found;
}

function read() {
  return { method: chosen().key, knobs: changed(list, chosen().knobs), model: changed(own, props.model) };
}

function commit() {
  props.value = read();
  reset.hidden = Object.keys(props.value.knobs).length === 0;
  trigger("commit");
}

function control(knob, value) {
  const label = document.createElement("label");
  label.className = "knob";
  label.title = knob.help;
  const name = document.createElement("span");
  name.textContent = knob.name.replaceAll("_", " ");
  let input;
  if (knob.choices) {
    input = document.createElement("select");
    for (const choice of knob.choices) input.add(new Option(choice, choice));
    input.value = value;
  } else {
    input = document.createElement("input");
    if (typeof knob.default === "boolean") {
      input.type = "checkbox";
      input.checked = value;
    } else {
      input.type = "number";
      Object.assign(input, { min: knob.low, max: knob.high, step: knob.step ?? "any", value });
    }
  }
  input.name = knob.name;
  input.addEventListener("change", () => {
    if (input.type === "number" && input.value !== "") {
      input.value = Math.min(knob.high, Math.max(knob.low, Number(input.value)));
    }
    commit();
  });
  const help = document.createElement("small");
  help.textContent = knob.help;
  label.append(name, input, help);
  return label;
}

/** Show a method and its settings. */
function show(value) {
  menu.value = value?.method ?? methods[0].key;
  const method = chosen();
  clause.textContent = method.clause;
  list.replaceChildren(...method.knobs.map((knob) => control(knob, value?.knobs?.[knob.name] ?? knob.default)));
  own.hidden = props.model.length === 0;
  own
    .querySelector(".knobs")
    .replaceChildren(...props.model.map((knob) => control(knob, value?.model?.[knob.name] ?? knob.default)));
  reset.hidden = Object.keys(value?.knobs ?? {}).length === 0;
}

for (const method of methods) {
  const option = new Option(method.reason ? `${method.name} (not on this model)` : method.name, method.key);
  option.disabled = Boolean(method.reason);
  option.title = method.reason;
  menu.add(option);
}
const misfits = methods.filter((method) => method.reason);
root.querySelector(".misfits").textContent = misfits.map((method) => method.reason).join(" ");
menu.addEventListener("change", () => {
  show({ method: menu.value, knobs: {}, model: changed(own, props.model) });
  commit();
});
reset.addEventListener("click", () => {
  show({ method: menu.value, knobs: {}, model: changed(own, props.model) });
  commit();
});
show(props.value);
watch("value", () => show(props.value));
