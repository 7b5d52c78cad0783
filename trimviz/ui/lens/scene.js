import { rangeOf } from "./colour.js";
import { curveOf, similarityRow } from "./facts.js";
import { groupsOf, maskLook, orderLook, scoreLook } from "./looks.js";
import { keptTokens, select, selectionOf } from "./table.js";

/**
 * What is being shown of a payload: the selection that two sliders made, its views, and what was pointed at.
 * It knows numbers and names, and nothing of the page.
 *
 * @typedef {{id: string, kind: "score"|"stage"|"order"|"similar", index: number, name: string}} View
 * @typedef {{values: ArrayLike<number>, range: import("./colour.js").Range, map: Uint8Array, name: string,
 *   hint: string}} Scale what a coloured view shows, with words for its legend
 * @typedef {import("./open.js").Data} Data
 */

const COVER = 0.8; // of a score's colour over the grey picture
export const KEPT = "kept"; // the view of the final set
export const ALL = "all"; // every view at once

export class Scene {
  view = "";
  all = false;
  margin = false;
  edit = false;
  hover = -1;
  pin = -1;
  panel = 0; // where the keyboard is
  cell = 0;
  word = -1; // the word of the question whose distances the first score shows, -1 for all words
  /** @type {number|null} picks shown, null for all */
  step = null;
  k = 1;
  n1 = 1;
  /** @type {Set<number>} tokens turned over by hand */
  flips = new Set();
  /** @type {View[]} */
  views = [];
  /** @type {{name: string, values: Float32Array}|null} one value a pick */
  curve = null;
  /** @type {{token: number, values: Float32Array}|null} similarities of the token that was asked about last */
  #row = null;
  /** @type {number[]|null} */
  #kept = null;

  /** @param {Data} data */
  constructor(data) {
    this.data = data;
    /** @type {import("./table.js").Selection} */
    this.selection = selectionOf([], 0, 0);
    this.start();
  }

  /** From the beginning: the selection of the run, nothing pinned, nothing changed by hand. */
  start() {
    const { run, panels } = this.data;
    [this.hover, this.pin, this.word, this.step] = [-1, -1, -1, null];
    this.flips.clear();
    this.panel = Math.max(0, panels.findIndex(hasTokens));
    this.cell = firstCell(panels[this.panel]);
    this.move(run.n1, run.k);
    this.listViews();
  }

  /**
   * Newer numbers for the same picture and question; what was chosen stays.
   * @param {Data} data
   */
  refresh(data) {
    this.data = data;
    this.#row = null;
    this.move(this.n1, this.k);
    this.listViews();
  }

  /**
   * Select anew.
   * @param {number} n1
   * @param {number} k
   */
  move(n1, k) {
    const { table, stages, names, n, run } = this.data;
    this.k = k;
    this.selection = table ? select(table, names, n1, k) : selectionOf(stages, n, run.k);
    this.n1 = table ? Math.max(n1, this.selection.k) : this.selection.n1;
    this.#kept = null;
    const many = this.selection.order.length;
    if (this.step !== null) this.step = Math.min(this.step, many);
    this.curve = this.#curveNow();
  }

  /** Whether the order shown is that of another first-stage size, the nearest one known. */
  get approximate() {
    return this.data.table !== null && this.data.table.sizes.length > 1 && this.selection.n1 !== this.n1;
  }

  /** What a method without a table recorded itself, else the mean similarity of each pick to those before. */
  #curveNow() {
    const { table, stages, told, n } = this.data;
    const { order } = this.selection;
    const film = table ? undefined : Object.entries(stages[stages.length - 1]?.film ?? {})[0];
    if (film && film[1].length === order.length) return { name: film[0], values: film[1] };
    if (!told || order.length === 0) return null;
    return { name: "mean similarity to the set", values: curveOf(told.similarity, order, n) };
  }

  /** Which views there are; a view that is gone gives way to the final set. */
  listViews() {
    const { scores, told } = this.data;
    const { steps, order } = this.selection;
    /** @type {View[]} */
    const views = scores.map((score, index) => ({ id: "score" + index, kind: "score", index, name: score.name }));
    steps.forEach((step, index) => {
      const id = index === steps.length - 1 ? KEPT : "stage" + index;
      views.push({ id, kind: "stage", index, name: step.name });
    });
    if (order.length) views.push({ id: "order", kind: "order", index: 0, name: "Order" });
    if (this.pin >= 0 && told) views.push({ id: "similar", kind: "similar", index: 0, name: "Similar" });
    this.views = views;
    for (const other of [KEPT, views[0]?.id ?? ""]) if (!views.some((view) => view.id === this.view)) this.view = other;
  }

  /** The views on the page: one, or all. */
  get shown() {
    return this.all ? this.views : this.views.filter((view) => view.id === this.view);
  }

  /** Whether a view is the final set, whose picks can be stepped through. @param {View} view */
  isFinal(view) {
    return view.kind === "order" || (view.kind === "stage" && view.index === this.selection.steps.length - 1);
  }

  /** The token that is asked about, -1 for none. */
  get asked() {
    return this.hover >= 0 ? this.hover : this.pin;
  }

  /** The set as it stands, changes by hand included, ascending. */
  get kept() {
    this.#kept ??= keptTokens(this.selection, this.flips);
    return this.#kept;
  }

  /** Put a token in or take it out; false where it is the last one. @param {number} token */
  flip(token) {
    if (!this.flips.delete(token)) this.flips.add(token);
    this.#kept = null;
    if (this.kept.length) return true;
    this.flips.delete(token);
    this.#kept = null;
    return false;
  }

  /** Back to what the method chose. */
  unflip() {
    this.flips.clear();
    this.#kept = null;
  }

  /**
   * @param {View} view
   * @param {import("./themes.js").Theme} ink
   */
  lookOf(view, ink) {
    const how = { veil: ink.veil, flips: this.flips, step: this.step };
    if (view.kind === "stage") return maskLook(this.selection, view.index, how);
    if (view.kind === "order") return orderLook(this.selection, this.data.colours.viridis, how);
    const { values, range, map } = this.scaleOf(view);
    return scoreLook(values, range, map, COVER);
  }

  /** @param {View} view @returns {Scale} */
  scaleOf(view) {
    const { told, scores, colours } = this.data;
    if (view.kind === "similar") {
      const values = this.similarities(this.pin) ?? [];
      const name = "cosine similarity to token " + this.pin;
      return { values, range: rangeOf(values, 0.02), map: colours.cividis, name, hint: "brighter = more alike" };
    }
    if (told && this.word >= 0 && view.index === 0) {
      const name = "minus the distance to “" + told.words[this.word] + "”";
      const hint = "brighter = closer; one range for all words";
      return { values: told.closeness[this.word], range: told.range, map: colours.viridis, name, hint };
    }
    const { values, range, name, higher } = scores[view.index];
    return { values, range, map: colours.viridis, name, hint: "brighter = " + higher };
  }

  /** Similarities of one token to all, null where they are not known. @param {number} token */
  similarities(token) {
    const { told, n } = this.data;
    if (!told) return null;
    if (this.#row?.token !== token) this.#row = { token, values: similarityRow(told.similarity, token, n) };
    return this.#row.values;
  }

  /** Groups of tokens that live on as one, null where none can. */
  get groups() {
    return this.selection.owner ? groupsOf(this.selection.owner) : null;
  }
}

/** @param {import("./open.js").Panel} panel */
export function hasTokens(panel) {
  return panel.token.some((token) => token >= 0);
}

/** The first cell of a panel that holds a token, else 0. @param {import("./open.js").Panel|undefined} panel */
export function firstCell(panel) {
  return Math.max(0, panel ? panel.token.findIndex((token) => token >= 0) : 0);
}
