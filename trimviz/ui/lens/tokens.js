import { fateOf } from "./patch.js";
import { escapeHtml, pretty, shown } from "./text.js";

/** The same numbers as a table, some tokens at a time. */

const PAGE = 100; // rows

/**
 * Pages that a table of n tokens has.
 * @param {number} n
 */
export function pagesOf(n) {
  return Math.ceil(n / PAGE);
}

/**
 * One page of the table as HTML, with the buttons that lead to the others.
 * @param {import("./scene.js").Scene} scene
 * @param {number} page
 */
export function tableOf(scene, page) {
  const { data, selection } = scene;
  const last = Math.min(data.n, (page + 1) * PAGE) - 1;
  const heads = ["Token", "Panel", "Row", "Column", ...data.scores.map((score) => score.name), "State", "Pick"];
  let rows = "";
  for (let token = page * PAGE; token <= last; token++) rows += "<tr>" + cellsOf(token).map(cell).join("") + "</tr>";
  const turn = (/** @type {string} */ act, /** @type {string} */ label, /** @type {boolean} */ end) =>
    '<button type="button" data-act="' + act + '"' + (end ? " disabled" : "") + ">" + label + "</button>";
  return (
    '<div class="pager">' +
    turn("earlier", "Previous", page === 0) +
    "<span>Tokens " +
    page * PAGE +
    " to " +
    last +
    " of " +
    data.n +
    "</span>" +
    turn("later", "Next", page === pagesOf(data.n) - 1) +
    "</div>" +
    '<div class="rows" role="region" aria-label="Tokens" tabindex="0"><table><thead><tr>' +
    heads.map((head) => '<th scope="col">' + pretty(head) + "</th>").join("") +
    "</tr></thead><tbody>" +
    rows +
    "</tbody></table></div>"
  );

  /** @param {number} token */
  function cellsOf(token) {
    const panel = data.panels[data.where.panelOf[token]];
    const at = data.where.cellOf[token];
    const seat = panel ? [panel.name, Math.floor(at / panel.cols) + 1, (at % panel.cols) + 1] : ["none", "", ""];
    const pick = selection.pick[token];
    const stage = selection.left[token];
    const kept = stage < 0 ? "kept" : "left at " + selection.steps[stage].name;
    const what = scene.flips.has(token) ? fateOf(scene, token) : kept;
    const values = data.scores.map((score) => shown(score.values[token]));
    return [token, ...seat, ...values, what, pick < 0 ? "" : pick + 1];
  }
}

/** @param {string|number} content */
function cell(content) {
  return (
    "<td>" +
    (typeof content === "number" ? content : content.includes("^") ? pretty(content) : escapeHtml(content)) +
    "</td>"
  );
}
