import { cellAt, place, stepCell } from "./geometry.js";
import { firstCell } from "./scene.js";

/**
 * Mouse, finger and keyboard on one panel.
 * @typedef {import("./sheets.js").Sheet} Sheet
 * @typedef {{ask: (token: number, sheet: Sheet|null) => void, go: (sheet: Sheet, cell: number) => void,
 *   press: (sheet: Sheet, cell: number) => void, pin: (token: number, sheet: Sheet) => void,
 *   flip: (token: number) => void, play: () => void}} Hands what happens then
 */

/**
 * @param {Sheet} sheet
 * @param {import("./scene.js").Scene} scene
 * @param {Hands} hands
 */
export function listen(sheet, scene, hands) {
  const { figure, canvas, panel } = sheet;

  /** @param {MouseEvent} event */
  function cellUnder(event) {
    const inner = canvas.getBoundingClientRect();
    const [left, top, right, bottom] = panel.box;
    const area = place({ left, top, right, bottom }, sheet.frame, inner.width);
    return cellAt(panel, area, event.clientX - inner.left, event.clientY - inner.top);
  }

  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return;
    const cell = cellUnder(event);
    const token = cell < 0 ? -1 : panel.token[cell];
    if (token !== scene.hover) hands.ask(token, sheet);
  });
  canvas.addEventListener("pointerleave", () => {
    if (scene.hover >= 0) hands.ask(-1, scene.pin >= 0 ? sheet : null);
  });
  canvas.addEventListener("click", (event) => {
    const cell = cellUnder(event);
    if (cell >= 0 && panel.token[cell] >= 0) hands.press(sheet, cell);
  });
  figure.addEventListener("focus", () => {
    if (!figure.matches(":focus-visible")) return;
    hands.go(sheet, sheet.index === scene.panel ? scene.cell : firstCell(panel));
  });
  figure.addEventListener("blur", () => hands.ask(-1, null));
  figure.addEventListener("keydown", (event) => {
    const cell = scene.cell;
    const token = panel.token[cell];
    const next = cellFor(event, panel, cell);
    if (next >= 0) hands.go(sheet, next);
    else if (event.key === "Enter" && token >= 0) hands.pin(token === scene.pin ? -1 : token, sheet);
    else if (event.key === "x" && token >= 0) hands.flip(token);
    else if (event.key === " ") hands.play();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/**
 * The cell that a key leads to, -1 for a key that leads nowhere.
 * @param {{key: string, ctrlKey: boolean}} event
 * @param {import("./geometry.js").Panel} panel
 * @param {number} cell
 */
export function cellFor({ key, ctrlKey }, panel, cell) {
  const row = Math.floor(cell / panel.cols);
  const [from, to] = ctrlKey ? [0, panel.token.length - 1] : [row * panel.cols, (row + 1) * panel.cols - 1];
  /** @param {number} start @param {number} end @param {number} step */
  const first = (start, end, step) => {
    for (let c = start; c !== end + step; c += step) if (panel.token[c] >= 0) return c;
    return cell;
  };
  switch (key) {
    case "ArrowRight":
      return stepCell(panel, cell, 0, 1);
    case "ArrowLeft":
      return stepCell(panel, cell, 0, -1);
    case "ArrowDown":
      return stepCell(panel, cell, 1, 0);
    case "ArrowUp":
      return stepCell(panel, cell, -1, 0);
    case "Home":
      return first(from, to, 1);
    case "End":
      return first(to, from, -1);
    default:
      return -1;
  }
}
