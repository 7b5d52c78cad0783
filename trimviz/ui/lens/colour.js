/**
 * Numbers to colours: 256 colours from dark to bright, and the range that they stand for.
 * @typedef {{low: number, high: number, below: boolean, above: boolean}} Range
 * `below` and `above` say that values beyond the ends exist and share the end's colour.
 */

/**
 * The range from one quantile to another of the values that are numbers.
 * @param {ArrayLike<number>} values
 * @param {number} cut share left out at each end
 * @returns {Range}
 */
export function rangeOf(values, cut = 0.02) {
  const sorted = Float64Array.from(values)
    .filter((value) => !Number.isNaN(value))
    .sort();
  if (sorted.length === 0) return { low: 0, high: 1, below: false, above: false };
  const at = (/** @type {number} */ share) => sorted[Math.round(share * (sorted.length - 1))];
  const [low, high] = [at(cut), at(1 - cut)];
  return { low, high, below: sorted[0] < low, above: sorted[sorted.length - 1] > high };
}

/**
 * Which of the 256 colours a value has; -1 where it is no number.
 * @param {number} value
 * @param {Range} range
 */
export function levelOf(value, range) {
  if (Number.isNaN(value)) return -1;
  if (range.high === range.low) return 127;
  const part = (value - range.low) / (range.high - range.low);
  return Math.max(0, Math.min(255, Math.round(part * 255)));
}

/**
 * A colour of the map as one word of an ImageData.
 * @param {Uint8Array} map (256, 3)
 * @param {number} level
 * @param {number} alpha 0 to 255
 */
export function wordOf(map, level, alpha = 255) {
  return rgba(map[3 * level], map[3 * level + 1], map[3 * level + 2], alpha);
}

/**
 * Red, green, blue and alpha, 0 to 255, as one word of an ImageData.
 * @param {number} red
 * @param {number} green
 * @param {number} blue
 * @param {number} alpha
 */
export function rgba(red, green, blue, alpha) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * A colour of the map for CSS.
 * @param {Uint8Array} map (256, 3)
 * @param {number} level
 */
export function cssOf(map, level) {
  return "rgb(" + [0, 1, 2].map((channel) => map[3 * level + channel]).join(", ") + ")";
}

/**
 * Black or white, whichever is read better on a colour of the map.
 * @param {Uint8Array} map (256, 3)
 * @param {number} level
 */
export function inkOn(map, level) {
  const [red, green, blue] = [0, 1, 2].map((channel) => {
    const part = map[3 * level + channel] / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}
