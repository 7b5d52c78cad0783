import { compareSets } from "./diff.js";
import { sharedFirst } from "./facts.js";
import { losesMargin, lostShare } from "./geometry.js";
import { keptTokens } from "./table.js";
import { escapeHtml, percent, plural, pretty, shown, strength } from "./text.js";

/**
 * What is told below the picture, as HTML: counts, changes by hand, what the scores measure.
 * @typedef {import("./scene.js").Scene} Scene
 */

/** How many tokens are left after each stage, and which of them are not what they seem. @param {Scene} scene */
export function countOf(scene) {
  const { data, selection, flips } = scene;
  const parts = ["<b>" + data.n + "</b> visual tokens"];
  selection.steps.forEach((step, index) => {
    const last = index === selection.steps.length - 1;
    const count = last && flips.size ? scene.kept.length : step.count;
    parts.push("<b>" + count + "</b> " + pretty(step.name) + " (" + percent(count, data.n) + ")");
  });
  const asides = asidesOf(scene);
  return parts.join(" → ") + (asides.length ? "<small>" + asides.join(". ") + ".</small>" : "");
}

/** @param {Scene} scene */
function asidesOf(scene) {
  const { data, kept } = scene;
  const asides = [];
  if (data.padding.some((one) => one === 1)) {
    const padding = kept.filter((token) => data.padding[token]).length;
    asides.push(padding + " of " + kept.length + " kept tokens are padding");
  }
  if (data.placeless) {
    const stay = kept.filter((token) => data.where.cellOf[token] < 0).length;
    asides.push(
      plural(data.placeless, "token") +
        " stand in no cell, such as the marks at the ends of lines; " +
        stay +
        " of them are kept",
    );
  }
  if (scene.margin) {
    const panel = data.panels.find((one) => losesMargin(one, data.originals[one.original]));
    if (panel) {
      const lost = percent(lostShare(panel, data.originals[panel.original]), 1);
      asides.push(lost + " of the picture is never seen by the model");
    }
  }
  return asides;
}

/** Why what is shown is not yet what was asked for, as text; "" where it is. @param {Scene} scene */
export function pendingOf(scene) {
  const { data, k, n1, selection } = scene;
  if (!data.table && k !== data.run.k) {
    const tail = ". This method has to run again to tell the set for keep " + k + ": let the slider go.";
    return "Shown is the set for keep " + data.run.k + tail;
  }
  if (!scene.approximate) return "";
  return (
    "Approximate: shown for N1 " + selection.n1 + ", the nearest one known. Let the slider go for exactly " + n1 + "."
  );
}

/** What was changed by hand. @param {Scene} scene */
export function editsOf(scene) {
  if (scene.flips.size === 0) return "Click a patch, or press x on it, to put it in or take it out.";
  const { added, removed } = compareSets(keptTokens(scene.selection), scene.kept);
  return (
    added.length +
    " put in, " +
    removed.length +
    " taken out by hand." +
    '<button type="button" data-act="method">Back to the method</button>'
  );
}

/** The heading of what the scores measure. @param {Scene} scene */
export function measuresTitle(scene) {
  const names = Object.keys(scene.data.told?.correlation ?? {});
  return names.length ? "What " + names.map(pretty).join(", ") + " really measures" : "The tokens of this picture";
}

/** What the scores measure, a paragraph each. @param {Scene} scene */
export function measuresOf(scene) {
  const { told, scores, stages, table, n } = scene.data;
  if (!told) return "";
  const lines = [];
  for (const [name, rho] of Object.entries(told.correlation)) {
    const score = scores.find((one) => one.name === name);
    if (rho === null) lines.push(pretty(name) + " is the same for all tokens.");
    else {
      lines.push(
        "Ranking tokens by " +
          pretty(name) +
          " and by shortness (minus the length of the token's vector) gives <b>" +
          strength(rho) +
          "</b>: rank correlation " +
          shown(rho) +
          ". Near 1 it says that the score mostly drops the longest vectors, whatever the question.",
      );
    }
    if (score && told.otherRanks[name] && table) {
      const count = scene.selection.n1;
      const shared = sharedFirst(score.ranks, told.otherRanks[name], count);
      const chance = Math.round((count * count) / n);
      lines.push(
        "Asked “" +
          escapeHtml(told.unrelated) +
          "” instead, <b>" +
          shared +
          " of the " +
          count +
          "</b> tokens with the highest " +
          pretty(name) +
          " are the same (" +
          percent(shared, count) +
          "; by chance " +
          chance +
          ").",
      );
    }
  }
  if (told.overlap !== null && stages.length) {
    const shares = percent(told.overlap, 1) + " with the one for that question.";
    lines.push("The set after " + pretty(stages[0].name) + " of the run shares " + shares);
  }
  let [low, high] = [Infinity, -Infinity];
  for (const norm of told.norms) [low, high] = [Math.min(low, norm), Math.max(high, norm)];
  lines.push(
    "Lengths of the visual tokens run from " +
      shown(low) +
      " to " +
      shown(high) +
      ". Similarities here are cosines, told to within " +
      shown(told.similarity.error) +
      ".",
  );
  return lines.map((line) => "<p>" + line + "</p>").join("");
}
