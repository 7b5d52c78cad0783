/**
 * Which tokens two sliders select, out of the orders that the server computed; nothing is computed anew here.
 *
 * @typedef {{n: number, sizes: Uint16Array, orders: Uint16Array, starts: Int32Array, place: Uint16Array}} Table
 * `place` is each token's rank in the first stage, `starts` the offset of each size's order in `orders`.
 *
 * @typedef {{name: string, kept: Uint8Array, count: number}} Step what is left after one stage
 * @typedef {{n1: number, k: number, steps: Step[], left: Int8Array, order: ArrayLike<number>, pick: Int32Array,
 *   owner: ArrayLike<number>|null}} Selection
 * `left` is the stage at which a token left, -1 for one that stayed; `order` the kept tokens as they were picked;
 * `pick` each token's place in it, -1 for one that was not picked; `owner` the output each token lives on in.
 */

/**
 * @param {{sizes: Uint16Array, first: Uint16Array, orders: Uint16Array}} raw
 * @returns {Table}
 */
export function openTable(raw) {
  const n = raw.first.length;
  const place = new Uint16Array(n);
  raw.first.forEach((token, rank) => (place[token] = rank));
  const starts = new Int32Array(raw.sizes.length);
  for (let row = 1; row < starts.length; row++) starts[row] = starts[row - 1] + raw.sizes[row - 1];
  return { n, sizes: raw.sizes, orders: raw.orders, starts, place };
}

/**
 * The row whose size is nearest to n1 and not below `least`; the smaller of two that are equally near.
 * @param {ArrayLike<number>} sizes ascending
 * @param {number} n1
 * @param {number} least
 */
export function snap(sizes, n1, least) {
  let best = sizes.length - 1;
  for (let row = sizes.length - 1; row >= 0 && sizes[row] >= least; row--) {
    if (Math.abs(sizes[row] - n1) <= Math.abs(sizes[best] - n1)) best = row;
  }
  return best;
}

/**
 * What keep = k and first-stage size n1 select; n1 is moved to a tabulated size of at least k.
 * @param {Table} table
 * @param {string[]} names of the stages, the last one being the final set
 * @param {number} n1
 * @param {number} k
 * @returns {Selection}
 */
export function select(table, names, n1, k) {
  const count = Math.max(1, Math.min(table.n, Math.round(k)));
  const row = snap(table.sizes, n1, count);
  const size = table.sizes[row];
  const order = table.orders.subarray(table.starts[row], table.starts[row] + count);
  const pick = new Int32Array(table.n).fill(-1);
  for (let t = 0; t < count; t++) pick[order[t]] = t;
  const staged = table.sizes.length > 1;
  const left = new Int8Array(table.n);
  const first = new Uint8Array(table.n);
  const last = new Uint8Array(table.n);
  for (let token = 0; token < table.n; token++) {
    first[token] = Number(table.place[token] < size);
    last[token] = Number(pick[token] >= 0);
    left[token] = last[token] ? -1 : staged && first[token] ? 1 : 0;
  }
  const final = { name: names[names.length - 1], kept: last, count };
  const steps = staged ? [{ name: names[0], kept: first, count: size }, final] : [final];
  return { n1: size, k: count, steps, left, order, pick, owner: null };
}

/**
 * What a run selected, for a method without a table.
 * @param {{name: string, kept: Uint8Array, owner: Int16Array, order: Int16Array|null}[]} stages
 * @param {number} n
 * @param {number} k
 * @returns {Selection}
 */
export function selectionOf(stages, n, k) {
  const left = new Int8Array(n).fill(-1);
  const pick = new Int32Array(n).fill(-1);
  const steps = stages.map(({ name, kept }) => ({ name, kept, count: kept.reduce((sum, one) => sum + one, 0) }));
  const last = stages[stages.length - 1];
  stages.forEach(({ kept }, index) => {
    for (let token = 0; token < n; token++) {
      // A stage need not hold the later ones: some methods add to what an earlier step chose.
      if (!last.kept[token] && !kept[token] && left[token] < 0) left[token] = index;
    }
  });
  /** @type {number[]} */
  let order = [];
  if (last?.order) {
    for (let token = 0; token < n; token++) if (last.order[token] >= 0) pick[token] = last.order[token];
    order = [...pick.keys()].filter((token) => pick[token] >= 0).sort((a, b) => pick[a] - pick[b] || a - b);
  }
  return { n1: n, k, steps, left, order, pick, owner: last ? last.owner : null };
}

/**
 * The set with some tokens turned over by hand, ascending.
 * @param {Selection} selection
 * @param {ReadonlySet<number>} flips
 */
export function keptTokens(selection, flips = new Set()) {
  /** @type {number[]} */
  const kept = [];
  selection.left.forEach((stage, token) => {
    if (stage < 0 !== flips.has(token)) kept.push(token);
  });
  return kept;
}
