import { cellBox, place } from "./geometry.js";
import { factsOf } from "./patch.js";
import { escapeHtml, pretty } from "./text.js";

const APART = 10; // pixels between a cell and what is told of it
const NARROW = 560; // pixels of width below which it stands under or over the cell

/**
 * Tell about the token that is asked about beside its cell; without one, or without a sheet, nothing is told.
 * @param {HTMLElement} tip
 * @param {import("./scene.js").Scene} scene
 * @param {import("./sheets.js").Sheet|null} sheet
 */
export function showTip(tip, scene, sheet) {
  const { asked: token, data } = scene;
  const home = token < 0 ? undefined : data.panels[data.where.panelOf[token]];
  tip.hidden = !sheet || !home;
  if (!sheet || !home) return;
  const [head, ...rest] = factsOf(scene, token);
  tip.innerHTML = "<b>" + escapeHtml(head) + "</b>" + rest.map(pretty).join("<br>");
  const outer = /** @type {HTMLElement} */ (tip.offsetParent ?? tip.parentElement).getBoundingClientRect();
  const inner = sheet.canvas.getBoundingClientRect();
  const at = place(cellBox(home, data.where.cellOf[token]), sheet.frame, inner.width);
  const left = inner.left - outer.left + at.x;
  const top = inner.top - outer.top + at.y;
  const [wide, high] = [tip.offsetWidth, tip.offsetHeight];
  const beside = left + at.width + APART;
  let x = beside + wide <= outer.width ? beside : left - wide - APART;
  let y = Math.max(0, top - 8);
  if (outer.width < NARROW) {
    x = Math.min(left, outer.width - wide);
    y = top + at.height + APART;
    if (y + high > inner.bottom - outer.top && top - high - APART > 0) y = top - high - APART;
  }
  tip.style.left = Math.max(0, x) + "px";
  tip.style.top = y + "px";
}
