/**
 * How two sets of tokens differ.
 * @param {Iterable<number>} before
 * @param {Iterable<number>} after
 * @returns {{added: number[], removed: number[], shared: number, jaccard: number}}
 */
export function compareSets(before, after) {
  const [old, now] = [new Set(before), new Set(after)];
  const added = [...now].filter((token) => !old.has(token)).sort((a, b) => a - b);
  const removed = [...old].filter((token) => !now.has(token)).sort((a, b) => a - b);
  const shared = now.size - added.length;
  const union = old.size + added.length;
  return { added, removed, shared, jaccard: union ? shared / union : 1 };
}
