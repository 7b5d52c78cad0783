import { nearest } from "./facts.js";
import { shown } from "./text.js";

/**
 * What can be told of one token, in words.
 * @typedef {import("./scene.js").Scene} Scene
 */

/** Where a token stands, counted from 1. @param {Scene} scene @param {number} token */
export function spotOf(scene, token) {
  const { panels, where } = scene.data;
  const panel = panels[where.panelOf[token]];
  const cell = where.cellOf[token];
  if (!panel) return "in no cell";
  return "row " + (Math.floor(cell / panel.cols) + 1) + ", column " + ((cell % panel.cols) + 1);
}

/** Whether a token stayed, and how or where it left. @param {Scene} scene @param {number} token */
export function fateOf(scene, token) {
  const { left, steps, pick, order } = scene.selection;
  const stage = left[token];
  if (scene.flips.has(token)) return stage < 0 ? "Taken out by hand" : "Put in by hand";
  if (stage >= 0) return "Left at " + steps[stage].name + ", stage " + (stage + 1) + " of " + steps.length;
  const merged = scene.groups?.[token] ? ", merged with others" : "";
  const tail = pick[token] >= 0 ? ", pick " + (pick[token] + 1) + " of " + order.length : "";
  return "Kept" + merged + tail;
}

/** The kept token most like one token, other than itself; -1 where that is not known. @param {Scene} scene @param {number} token */
export function nearestKept(scene, token) {
  const values = scene.similarities(token);
  return values ? nearest(values, scene.kept, token) : -1;
}

/**
 * Mean similarity of a token to the set it was compared with: those picked before it, or all that were kept.
 * @param {Scene} scene
 * @param {number} token
 */
export function meanSimilarity(scene, token) {
  const values = scene.similarities(token);
  const { order, pick } = scene.selection;
  const before = pick[token] >= 0 ? pick[token] : order.length;
  if (!values || before === 0) return null;
  let sum = 0;
  for (let t = 0; t < before; t++) sum += values[order[t]];
  return { mean: sum / before, before };
}

/**
 * Everything about a token, a line each, the heading first.
 * @param {Scene} scene
 * @param {number} token
 */
export function factsOf(scene, token) {
  const { data, selection } = scene;
  const panel = data.panels[data.where.panelOf[token]];
  const named = panel && data.panels.length > 1 ? " (" + panel.name + ")" : "";
  const lines = ["Token " + token + named + ", " + spotOf(scene, token)];
  for (const score of data.scores) {
    const rank = score.ranks[token];
    const tail = rank ? ", rank " + rank + " of " + data.n : "";
    lines.push(score.name + " " + shown(score.values[token]) + tail);
  }
  if (data.told && scene.word >= 0) {
    const { words, closeness } = data.told;
    lines.push("Distance to “" + words[scene.word] + "” " + shown(-closeness[scene.word][token]));
  }
  lines.push(fateOf(scene, token));
  const similar = meanSimilarity(scene, token);
  if (similar) {
    const picked = selection.pick[token] >= 0 ? " picked before " : " picked ";
    lines.push("Mean similarity to the " + similar.before + picked + shown(similar.mean));
  }
  const near = nearestKept(scene, token);
  const values = scene.similarities(token);
  if (values && near >= 0) {
    lines.push("Nearest kept: token " + near + " (" + spotOf(scene, near) + "), " + shown(values[near]));
  }
  if (values && scene.pin >= 0 && scene.pin !== token) {
    lines.push("Similarity to pinned token " + scene.pin + " " + shown(values[scene.pin]));
  }
  if (data.padding[token]) lines.push("This cell holds only padding");
  return lines;
}
