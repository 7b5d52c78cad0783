// Maps of N1 against keep; fires "pick" when a cell is clicked, with its sizes in the value.
// In scope: element, props, trigger, watch.

const root = element.querySelector(".sweep");
const MAPS = [
  ["kl", "KL divergence to the dense answer, nats per token"],
  ["same", "Same answer as dense"],
];
let shape = "";

function node(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function share(count, n) {
  return `${((100 * count) / n).toFixed(1)} %`;
}

/** Empty tables of the size of the value. */
function lay(value) {
  root.replaceChildren(node("p", "", "quiet says"), node("div", "", "maps"));
  for (const [kind, title] of MAPS) {
    const figure = node("figure", "", kind);
    figure.append(node("figcaption", title));
    const scroll = node("div", "", "scroll");
    const table = node("table");
    const head = node("tr");
    const corner = node("th", value.rows[0] === null ? "keep" : "N1 \\ keep");
    corner.scope = "col";
    head.append(corner);
    for (const k of value.columns) {
      const cell = node("th", String(k));
      cell.scope = "col";
      cell.append(node("small", share(k, value.n)));
      head.append(cell);
    }
    table.append(head);
    value.rows.forEach((n1, row) => {
      const line = node("tr");
      const name = node("th", n1 === null ? "" : String(n1));
      name.scope = "row";
      if (n1 !== null) name.append(node("small", share(n1, value.n)));
      line.append(name);
      value.columns.forEach((k, column) => {
        const cell = node("td");
        const button = node("button");
        button.type = "button";
        button.dataset.place = String(row * value.columns.length + column);
        button.addEventListener("click", () => {
          props.value = { ...props.value, picked: { n1, k } };
          trigger("pick");
        });
        cell.append(button);
        line.append(cell);
      });
      table.append(line);
    });
    scroll.append(table);
    figure.append(scroll, node("p", "", "quiet legend"));
    root.querySelector(".maps").append(figure);
  }
}

/** Fill in what is known. */
function fill(value) {
  const known = value.cells.filter((cell) => cell && cell.kl !== null);
  const most = Math.max(0, ...known.map((cell) => cell.kl));
  const all = value.cells.length;
  let says = `${value.about}: ${value.done} of ${all} pairs`;
  if (value.stopped && value.done < all) says += ", stopped";
  else if (value.done < all) says += value.done ? `, about ${value.left} s left` : " …";
  root.querySelector(".says").textContent = says;
  root.dataset.state = value.done === all ? "ready" : value.stopped ? "stopped" : "running";
  for (const [kind] of MAPS) {
    const figure = root.querySelector(`figure.${kind}`);
    for (const button of figure.querySelectorAll("button")) {
      const cell = value.cells[Number(button.dataset.place)];
      const ran = cell && cell.kl !== null;
      button.disabled = !ran;
      button.className = cell ? (ran ? (kind === "same" ? (cell.same ? "yes" : "no") : "heat") : "none") : "waits";
      button.style.setProperty("--heat", ran && most > 0 ? String(cell.kl / most) : "0");
      if (!ran) {
        button.textContent = cell ? "–" : "";
        button.title = cell ? cell.reason : "not run yet";
        button.setAttribute("aria-label", button.title);
        continue;
      }
      const verdict = cell.same ? "same answer" : `differs at token ${cell.agreed + 1}`;
      const sizes = cell.n1 === null ? `keep ${cell.keep}` : `N1 ${cell.n1}, keep ${cell.keep}`;
      button.textContent =
        kind === "kl" ? cell.kl.toFixed(cell.kl < 0.1 ? 3 : 2) : cell.same ? "same" : `≠ ${cell.agreed + 1}`;
      button.title = `${sizes}: KL ${cell.kl.toPrecision(3)}, ${verdict}`;
      button.setAttribute("aria-label", button.title);
    }
  }
  const same = known.filter((cell) => cell.same).length;
  root.querySelector(".kl .legend").textContent = known.length
    ? `Colour from 0 to ${most.toPrecision(3)} nats, linear.`
    : "";
  root.querySelector(".same .legend").textContent = known.length
    ? `${same} of ${known.length} say the same; ≠ 3: the third token is the first that differs.`
    : "";
}

function show() {
  const value = props.value;
  if (!value?.cells) return;
  const now = JSON.stringify([value.about, value.rows, value.columns]);
  if (now !== shape) lay(value);
  shape = now;
  fill(value);
}

show();
watch("value", show);
