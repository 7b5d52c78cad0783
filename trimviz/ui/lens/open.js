import { unpackAll } from "./codec.js";
import { rangeOf } from "./colour.js";
import { ranksOf } from "./facts.js";
import { locate } from "./geometry.js";
import { openTable } from "./table.js";

/**
 * A payload made ready: arrays unpacked, pictures decoded, and what would be computed at every step computed once.
 *
 * @typedef {import("./colour.js").Range} Range
 * @typedef {import("./geometry.js").Panel} Panel
 * @typedef {{image: HTMLImageElement, sized: Map<string, HTMLCanvasElement>}} Picture
 * @typedef {Picture & {width: number, height: number}} Original
 * @typedef {{name: string, depth: number, kept: Uint8Array, owner: Int16Array, order: Int16Array|null,
 *   film: Record<string, Float32Array>}} Stage
 * @typedef {{name: string, higher: string, values: Float32Array, range: Range, ranks: Int32Array}} Score
 * @typedef {{words: string[], closeness: Float32Array[], range: Range, norms: Float32Array,
 *   similarity: import("./facts.js").Similarity, correlation: Record<string, number|null>, unrelated: string,
 *   otherRanks: Record<string, Int32Array>, overlap: number|null}} Told
 * `closeness` is minus the distance to each word: brighter is closer.
 *
 * @typedef {{key: string, n: number, question: string, panels: Panel[], originals: Original[], images: Picture[],
 *   stages: Stage[], names: string[], scores: Score[], table: import("./table.js").Table|null,
 *   run: {method: string, k: number, n1: number}, paper: {n1: number, k: number}|null, told: Told|null,
 *   colours: {viridis: Uint8Array, cividis: Uint8Array}, where: {panelOf: Int16Array, cellOf: Int32Array},
 *   padding: Uint8Array, placeless: number}} Data
 * `padding` says of each token whether its cell shows nothing but padding; `placeless` tokens are in no cell.
 */

/**
 * @param {any} value a payload
 * @param {Data|undefined} known an earlier one, whose pictures serve again where they are the same
 * @returns {Promise<Data>}
 */
export async function openPayload(value, known) {
  const raw = await unpackAll(value);
  if (known && raw.key === known.key) return { ...openNumbers(raw), images: known.images, originals: known.originals };
  const images = await Promise.all(raw.panels.map((/** @type {any} */ panel) => decode(panel.picture)));
  const originals = await Promise.all(
    raw.originals.map(async (/** @type {any} */ one) => ({ ...one, ...(await decode(one.picture)) })),
  );
  return { ...openNumbers(raw), images, originals };
}

/**
 * All but the pictures.
 * @param {any} raw an unpacked payload
 * @returns {Omit<Data, "images"|"originals">}
 */
export function openNumbers(raw) {
  const names = raw.stages.map((/** @type {Stage} */ stage) => stage.name);
  const where = locate(raw.panels, raw.n);
  return {
    key: raw.key,
    n: raw.n,
    question: raw.question,
    panels: raw.panels,
    stages: raw.stages,
    names: names.length > 1 ? names : ["first stage", names[0] ?? "kept"],
    scores: raw.scores.map((/** @type {Score} */ score) => ({
      ...score,
      range: rangeOf(score.values),
      ranks: ranksOf(score.values),
    })),
    table: raw.table && openTable(raw.table),
    run: raw.run,
    paper: raw.default,
    told: raw.explanation && openTold(raw.explanation, raw.n),
    colours: raw.colours,
    where,
    padding: paddingOf(raw.panels, raw.n),
    placeless: where.cellOf.filter((cell) => cell < 0).length,
  };
}

/**
 * @param {any} raw
 * @param {number} n
 * @returns {Told}
 */
function openTold(raw, n) {
  const { low, step, steps } = raw.distances;
  const closeness = Float32Array.from(steps, (/** @type {number} */ level) => -(low + step * level));
  const others = Object.entries(raw.unrelated_scores).map(([name, values]) => [name, ranksOf(values)]);
  return {
    words: raw.words,
    closeness: raw.words.map((/** @type {string} */ _, /** @type {number} */ word) =>
      closeness.subarray(word * n, (word + 1) * n),
    ),
    range: rangeOf(closeness),
    norms: raw.norms,
    similarity: raw.similarity,
    correlation: raw.correlation,
    unrelated: raw.unrelated,
    otherRanks: Object.fromEntries(others),
    overlap: raw.overlap,
  };
}

/**
 * Which tokens are in cells that hold only padding.
 * @param {Panel[]} panels
 * @param {number} n
 */
export function paddingOf(panels, n) {
  const padding = new Uint8Array(n);
  for (const panel of panels) {
    panel.token.forEach((token, cell) => {
      if (token >= 0 && !panel.content[cell]) padding[token] = 1;
    });
  }
  return padding;
}

/**
 * @param {string} source a data URL
 * @returns {Promise<Picture>}
 */
async function decode(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return { image, sized: new Map() };
}
