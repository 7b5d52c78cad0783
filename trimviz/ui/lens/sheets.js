import { cellBox, frameOf } from "./geometry.js";
import { paintPanel } from "./paint.js";
import { factsOf, nearestKept } from "./patch.js";
import { firstCell } from "./scene.js";
import { escapeHtml, find, plain, pretty } from "./text.js";

/**
 * One canvas for each view and panel: making them, fitting them into the width there is, drawing, and their names.
 *
 * @typedef {import("./scene.js").Scene} Scene
 * @typedef {import("./scene.js").View} View
 * @typedef {import("./open.js").Panel} Panel
 * @typedef {{view: View, panel: Panel, index: number, figure: HTMLElement, canvas: HTMLCanvasElement,
 *   cells: HTMLCanvasElement, cell: HTMLElement, source: import("./open.js").Picture,
 *   original: import("./open.js").Original|undefined, frame: import("./geometry.js").Box, ratio: number}} Sheet
 * `cells` has one pixel a cell; `cell` is what a screen reader reads of the cell at the keyboard.
 */

const FEW = 3; // panels up to this many share the width, more become a strip
const STRIP = 148; // CSS pixels of a panel in a strip
const WIDEST = 760; // CSS pixels
const GAP = 8;

/** A view's name on the page, as HTML. @param {View} view @param {Scene} scene */
export function titleOf(view, scene) {
  if (view.kind === "score") return pretty(view.name) + " map";
  if (view.kind === "similar") return "Like " + scene.pin;
  return pretty(view.name);
}

/**
 * Fill `holder` with the views that are shown.
 * @param {HTMLElement} holder
 * @param {Scene} scene
 * @param {string} id of the component
 * @returns {Sheet[]}
 */
export function buildSheets(holder, scene, id) {
  holder.className = "sheets" + (scene.all ? " many" : "");
  holder.textContent = "";
  return scene.shown.flatMap((view) => {
    const box = document.createElement("div");
    box.className = "sheet";
    const strip = scene.data.panels.length > FEW ? " strip" : "";
    box.innerHTML = "<h3>" + titleOf(view, scene) + '</h3><div class="panels' + strip + '"></div>';
    holder.append(box);
    const panels = find(box, ".panels");
    return scene.data.panels.map((panel, index) => {
      const sheet = buildSheet(scene, view, panel, index, id);
      panels.append(sheet.figure);
      return sheet;
    });
  });
}

/**
 * @param {Scene} scene
 * @param {View} view
 * @param {Panel} panel
 * @param {number} index of the panel
 * @param {string} id
 * @returns {Sheet}
 */
function buildSheet(scene, view, panel, index, id) {
  const { panels, images, originals } = scene.data;
  const figure = document.createElement("figure");
  figure.className = "panel";
  figure.tabIndex = 0;
  figure.setAttribute("role", "grid");
  figure.setAttribute("aria-rowcount", String(panel.rows));
  figure.setAttribute("aria-colcount", String(panel.cols));
  figure.dataset.name = [id, view.id, index].join("-");
  figure.innerHTML =
    '<canvas aria-hidden="true"></canvas><div role="row" class="cell"><div role="gridcell"></div></div>';
  if (panels.length > 1)
    figure.innerHTML += '<figcaption aria-hidden="true">' + escapeHtml(panel.name) + "</figcaption>";
  const cells = document.createElement("canvas");
  [cells.width, cells.height] = [panel.cols, panel.rows];
  const canvas = /** @type {HTMLCanvasElement} */ (find(figure, "canvas"));
  const original = originals[panel.original];
  return {
    view,
    panel,
    index,
    figure,
    canvas,
    cells,
    cell: find(figure, "[role=gridcell]"),
    source: images[index],
    original,
    frame: frameOf(panel, original, scene.margin),
    ratio: 1,
  };
}

/**
 * Fit the canvases into the width there is; true where one of them changed.
 * @param {Sheet[]} sheets
 * @param {Scene} scene
 */
export function fitSheets(sheets, scene) {
  const { panels, originals } = scene.data;
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const room = (sheets[0]?.figure.closest(".sheet")?.clientWidth ?? 0) - GAP * (panels.length - 1);
  if (room <= 0) return false;
  const frames = panels.map((panel) => frameOf(panel, originals[panel.original], scene.margin));
  const weight = panels.map((panel) => Math.sqrt(panel.cols));
  const sum = weight.reduce((a, b) => a + b, 0);
  const tallest = 0.8 * Math.max(480, window.innerHeight);
  let changed = false;
  for (const sheet of sheets) {
    const { canvas, figure, index } = sheet;
    const frame = frames[index];
    const shape = (frame.bottom - frame.top) / (frame.right - frame.left);
    const share = Math.min((room * weight[index]) / sum, WIDEST, tallest / shape);
    const width = Math.floor(panels.length > FEW ? STRIP : share);
    const height = Math.round(width * shape);
    sheet.frame = frame;
    sheet.ratio = ratio;
    figure.style.width = width + "px";
    if (canvas.width === Math.round(width * ratio) && canvas.height === Math.round(height * ratio)) continue;
    canvas.style.width = width + "px";
    canvas.style.height = height + "px";
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    changed = true;
  }
  return changed;
}

/**
 * @param {Sheet[]} sheets
 * @param {Scene} scene
 * @param {import("./themes.js").Theme} theme
 */
export function paintSheets(sheets, scene, theme) {
  const { data, selection } = scene;
  const rings = ringsOf(scene);
  const last = scene.step ? selection.order[scene.step - 1] : -1;
  const groups = scene.groups;
  const looks = new Map();
  for (const sheet of sheets) {
    const { view } = sheet;
    if (!looks.has(view.id)) looks.set(view.id, scene.lookOf(view, theme));
    const final = scene.isFinal(view);
    paintPanel(sheet, looks.get(view.id), {
      theme,
      map: view.kind === "similar" ? data.colours.cividis : data.colours.viridis,
      rings: final && last >= 0 ? [...rings, { token: last, style: "pick" }] : rings,
      spots: spotsOf(scene, sheet),
      cellOf: data.where.cellOf,
      panelOf: data.where.panelOf,
      index: sheet.index,
      sources: final ? groups : null,
    });
  }
}

/** Outlines around single tokens: changed by hand, pinned, asked about, and those that have to do with it. @param {Scene} scene */
function ringsOf(scene) {
  const { data, selection, pin, hover, asked } = scene;
  /** @type {import("./paint.js").Ring[]} */
  const rings = [...scene.flips].map((token) => ({ token, style: "hand" }));
  if (asked >= 0) {
    const near = nearestKept(scene, asked);
    if (near >= 0) rings.push({ token: near, style: "near" });
    const { owner } = selection;
    if (owner && owner[asked] >= 0) {
      for (let other = 0; other < data.n; other++) {
        if (owner[other] === owner[asked] && other !== asked) rings.push({ token: other, style: "source" });
      }
    }
  }
  if (pin >= 0) rings.push({ token: pin, style: "pin" });
  if (hover >= 0 && hover !== pin) rings.push({ token: hover, style: "focus" });
  return rings;
}

/** The same place of the same picture in another panel. @param {Scene} scene @param {Sheet} sheet */
function spotsOf(scene, sheet) {
  const { data, asked } = scene;
  const cell = asked < 0 ? -1 : data.where.cellOf[asked];
  if (cell < 0) return [];
  const index = data.where.panelOf[asked];
  const home = data.panels[index];
  const framewise = data.originals.length === data.panels.length;
  const apart = home.original !== sheet.panel.original && framewise && !alike(home, sheet.panel);
  return index === sheet.index || apart ? [] : [{ box: cellBox(home, cell), style: "same" }];
}

/** Frames of one film: boxes that are equal. @param {Panel} a @param {Panel} b */
function alike(a, b) {
  return a.box.every((edge, index) => Math.abs(edge - b.box[index]) < 1);
}

/** Names of the grids and the text of the cell that the keyboard is at. @param {Sheet[]} sheets @param {Scene} scene */
export function labelSheets(sheets, scene) {
  const kept = scene.kept.length + " of " + scene.data.n + " visual tokens kept";
  for (const { panel, view, figure, cell, index } of sheets) {
    const name = plain(view.name) + " on " + panel.name;
    figure.setAttribute("aria-label", name + ": " + panel.rows + " rows, " + panel.cols + " columns, " + kept);
    const here = index === scene.panel ? scene.cell : firstCell(panel);
    const token = panel.token[here];
    cell.id = figure.dataset.name + "-" + here; // a new name, so that a screen reader tells of the move
    figure.setAttribute("aria-activedescendant", cell.id);
    cell.setAttribute("aria-colindex", String((here % panel.cols) + 1));
    cell.parentElement?.setAttribute("aria-rowindex", String(Math.floor(here / panel.cols) + 1));
    cell.setAttribute("aria-selected", String(token >= 0 && token === scene.pin));
    cell.textContent = token < 0 ? "no token" : spoken(scene, token);
  }
}

/** All about a token as one text to be read aloud. @param {Scene} scene @param {number} token */
export function spoken(scene, token) {
  return factsOf(scene, token).map(plain).join(". ");
}
