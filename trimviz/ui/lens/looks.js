import { levelOf, rgba, wordOf } from "./colour.js";

/**
 * What each token looks like in a view: numbers only, so that drawing has nothing to decide.
 *
 * @typedef {{photo: "colour"|"grey", words: Uint32Array, hatch: Uint8Array, group: Int32Array, number: Int32Array,
 *   level: Int16Array|null}} Look
 * `words` is the colour laid over each token's cell, `hatch` whether it is hatched as gone, `group` which outline it shares
 * (0: none), `number` what is written in it (0: nothing), `level` its colour in the map (-1: none).
 */

const STRONG = 0.82; // veil over tokens that left at the first stage
const MID = 0.52; // veil over those that left at the last one
export const NUMBERED = 20; // numbers on all picks would collide

/**
 * Opacity of the veil over what left at a stage.
 * @param {number} stage
 * @param {number} stages
 */
export function veilOf(stage, stages) {
  return stages < 2 ? STRONG : STRONG - ((STRONG - MID) * stage) / (stages - 1);
}

/** @param {number} n @param {"colour"|"grey"} photo @returns {Look} */
function blank(n, photo) {
  return {
    photo,
    words: new Uint32Array(n),
    hatch: new Uint8Array(n),
    group: new Int32Array(n),
    number: new Int32Array(n),
    level: null,
  };
}

/**
 * A mask: kept tokens as they are, those that left under a veil, the earlier the stronger.
 * @param {import("./table.js").Selection} selection
 * @param {number} upto the stage after which the mask is shown
 * @param {{veil: [number, number, number], flips: ReadonlySet<number>, step: number|null}} how `step` picks alone, null for all
 * @returns {Look}
 */
export function maskLook(selection, upto, { veil, flips, step }) {
  const { left, pick, owner, steps } = selection;
  const look = blank(left.length, "colour");
  const last = upto === steps.length - 1;
  const words = steps.map((_, stage) => rgba(...veil, Math.round(255 * veilOf(stage, steps.length))));
  const merged = last && owner ? groupsOf(owner) : null;
  for (let token = 0; token < left.length; token++) {
    let stage = steps[upto].kept[token] ? -1 : left[token] >= 0 && left[token] < upto ? left[token] : upto;
    if (last && flips.has(token)) stage = stage < 0 ? upto : -1;
    else if (last && step !== null && stage < 0 && pick[token] >= step) stage = upto;
    if (stage < 0) {
      look.group[token] = merged?.[token] ? merged[token] + 1 : 1;
    } else {
      look.words[token] = words[stage];
      look.hatch[token] = Number(stage === 0);
    }
  }
  return look;
}

/**
 * A group's number, from 1, for each token that shares its output with another; 0 for the others.
 * @param {ArrayLike<number>} owner
 */
export function groupsOf(owner) {
  const sizes = new Map();
  for (let token = 0; token < owner.length; token++) {
    if (owner[token] >= 0) sizes.set(owner[token], (sizes.get(owner[token]) ?? 0) + 1);
  }
  return Int32Array.from(owner, (one) => (one >= 0 && sizes.get(one) > 1 ? one + 1 : 0));
}

/**
 * One value a token, as a colour; tokens without a value are hatched.
 * @param {ArrayLike<number>} values
 * @param {import("./colour.js").Range} range
 * @param {Uint8Array} map
 * @param {number} cover opacity of the colour, 0 to 1
 * @returns {Look}
 */
export function scoreLook(values, range, map, cover) {
  const look = blank(values.length, "grey");
  look.level = new Int16Array(values.length);
  const alpha = Math.round(255 * cover);
  for (let token = 0; token < values.length; token++) {
    const level = levelOf(values[token], range);
    look.level[token] = level;
    if (level < 0) look.hatch[token] = 1;
    else look.words[token] = wordOf(map, level, alpha);
  }
  return look;
}

/**
 * The order of picking, the earliest brightest, the first few numbered.
 * @param {import("./table.js").Selection} selection
 * @param {Uint8Array} map
 * @param {{veil: [number, number, number], step: number|null}} how
 * @returns {Look}
 */
export function orderLook(selection, map, { veil, step }) {
  const { left, pick, steps, order } = selection;
  const look = blank(left.length, "grey");
  look.level = new Int16Array(left.length).fill(-1);
  const shown = step ?? order.length;
  const stages = steps.length;
  for (let token = 0; token < left.length; token++) {
    const at = pick[token];
    if (at >= 0 && at < shown) {
      const level = levelOf(-at, { low: 1 - order.length, high: 0, below: false, above: false });
      look.level[token] = level;
      look.words[token] = wordOf(map, level, 235);
      if (at < NUMBERED) look.number[token] = at + 1;
      look.group[token] = 2 + at; // each pick a tile of its own
    } else {
      const stage = left[token] < 0 ? stages - 1 : left[token];
      look.words[token] = rgba(...veil, Math.round(255 * veilOf(stage, stages)));
      look.hatch[token] = Number(stage === 0 && left[token] === 0);
    }
  }
  return look;
}
