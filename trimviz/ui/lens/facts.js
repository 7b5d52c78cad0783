/**
 * Numbers about tokens: ranks, similarities, overlaps.
 * @typedef {{triangle: Int8Array, factors: null, scale: null, error: number}
 *   | {triangle: null, factors: Int8Array, scale: Float32Array, error: number}} Similarity
 * all pairs, or for many tokens a short vector each whose products stand for them
 */

const LEVELS = 127;

/**
 * Rank of every value, 1 for the greatest; equal values stand by index, and what is no number has rank 0.
 * @param {ArrayLike<number>} values
 */
export function ranksOf(values) {
  const numbers = [];
  for (let i = 0; i < values.length; i++) if (!Number.isNaN(values[i])) numbers.push(i);
  numbers.sort((a, b) => values[b] - values[a] || a - b);
  const ranks = new Int32Array(values.length);
  numbers.forEach((index, rank) => (ranks[index] = rank + 1));
  return ranks;
}

/**
 * Cosine similarity of one token to all n, about as exact as `similarity.error` says.
 * @param {Similarity} similarity
 * @param {number} token
 * @param {number} n
 */
export function similarityRow(similarity, token, n) {
  const row = new Float32Array(n);
  if (similarity.triangle) {
    const { triangle } = similarity;
    for (let other = 0; other < n; other++) {
      if (other === token) continue;
      const [i, j] = other < token ? [other, token] : [token, other];
      row[other] = triangle[i * n - (i * (i + 1)) / 2 + j - i - 1] / LEVELS;
    }
  } else {
    const { factors, scale } = similarity;
    const width = factors.length / n;
    for (let other = 0; other < n; other++) {
      let dot = 0;
      for (let c = 0; c < width; c++) dot += factors[token * width + c] * factors[other * width + c];
      row[other] = dot * scale[token] * scale[other];
    }
  }
  row[token] = 1;
  return row;
}

/**
 * Mean similarity of each picked token to those picked before it; NaN for the first.
 * @param {Similarity} similarity
 * @param {ArrayLike<number>} order
 * @param {number} n
 */
export function curveOf(similarity, order, n) {
  const curve = new Float32Array(order.length).fill(NaN);
  if (similarity.triangle) {
    const { triangle } = similarity;
    for (let t = 1; t < order.length; t++) {
      let sum = 0;
      const j = order[t];
      for (let s = 0; s < t; s++) {
        const i = order[s];
        sum +=
          i < j ? triangle[i * n - (i * (i + 1)) / 2 + j - i - 1] : triangle[j * n - (j * (j + 1)) / 2 + i - j - 1];
      }
      curve[t] = sum / t / LEVELS;
    }
    return curve;
  }
  const { factors, scale } = similarity;
  const width = factors.length / n;
  const total = new Float64Array(width);
  for (let t = 0; t < order.length; t++) {
    const at = order[t] * width;
    let dot = 0;
    for (let c = 0; c < width; c++) {
      dot += factors[at + c] * total[c];
      total[c] += factors[at + c] * scale[order[t]];
    }
    if (t > 0) curve[t] = (dot * scale[order[t]]) / t;
  }
  return curve;
}

/**
 * The token of a set that is most like one token, other than itself; -1 where there is none.
 * @param {ArrayLike<number>} row similarities of that token
 * @param {Iterable<number>} set
 * @param {number} token
 */
export function nearest(row, set, token) {
  let best = -1;
  for (const other of set) if (other !== token && (best < 0 || row[other] > row[best])) best = other;
  return best;
}

/**
 * How many tokens two rankings both have among their first `count`.
 * @param {ArrayLike<number>} ranks
 * @param {ArrayLike<number>} others
 * @param {number} count
 */
export function sharedFirst(ranks, others, count) {
  let shared = 0;
  for (let token = 0; token < ranks.length; token++) {
    if (ranks[token] > 0 && ranks[token] <= count && others[token] > 0 && others[token] <= count) shared++;
  }
  return shared;
}
