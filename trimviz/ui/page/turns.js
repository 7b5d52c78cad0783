// The earlier turns of a conversation, and a button that forgets them. In scope: element, props, watch.

const root = element.querySelector(".turns");

/** A line of the conversation. @param {string} who @param {string} said */
function line(who, said) {
  const term = document.createElement("dt");
  const text = document.createElement("dd");
  term.textContent = who;
  text.textContent = said;
  return [term, text];
}

/** Show every turn, or nothing. */
function draw() {
  const turns = props.value?.turns ?? [];
  root.hidden = turns.length === 0;
  if (root.hidden) return root.replaceChildren();
  const list = document.createElement("dl");
  list.append(...turns.flatMap(([asked, said]) => [...line("asked", asked), ...line("dense", said)]));
  const again = document.createElement("button");
  again.type = "button";
  again.className = "plain";
  again.textContent = "Start over";
  again.addEventListener("click", () => {
    props.value = { turns: [] };
    draw();
    element.dispatchEvent(new Event("input", { bubbles: true })); // the answers belong to the conversation no more
  });
  const note = document.createElement("p");
  note.className = "quiet";
  note.textContent = "Both answers go on from the dense one.";
  root.replaceChildren(list, note, again);
}

draw();
watch("value", draw);
