import assert from "node:assert/strict";
import { test } from "node:test";

import { compareSets } from "../../trimviz/ui/lens/diff.js";
import { keptTokens, openTable, select, selectionOf, snap } from "../../trimviz/ui/lens/table.js";

// Four tokens, ranked 2, 0, 3, 1 by the first stage; the orders are worked out by hand and are not prefixes of each other.
const raw = {
  sizes: Uint16Array.of(1, 2, 4),
  first: Uint16Array.of(2, 0, 3, 1),
  orders: Uint16Array.of(2, 0, 2, 3, 1, 0, 2),
};
const NAMES = ["one", "two"];

test("each size has its own order, and keep is a prefix of it", () => {
  const table = openTable(raw);
  assert.deepEqual([...table.starts], [0, 1, 3]);
  assert.deepEqual([...select(table, NAMES, 2, 1).order], [0]);
  assert.deepEqual([...select(table, NAMES, 2, 2).order], [0, 2]);
  assert.deepEqual([...select(table, NAMES, 4, 3).order], [3, 1, 0]);
  assert.deepEqual([...select(table, NAMES, 1, 1).order], [2]);
});

test("a token knows the stage at which it left and its pick", () => {
  const seen = select(openTable(raw), NAMES, 2, 1);
  assert.deepEqual([...seen.left], [-1, 0, 1, 0]); // 0 stays, 2 was in the first set, 1 and 3 were not
  assert.deepEqual([...seen.pick], [0, -1, -1, -1]);
  assert.deepEqual(
    seen.steps.map(({ name, count }) => [name, count]),
    [
      ["one", 2],
      ["two", 1],
    ],
  );
  assert.deepEqual([...seen.steps[0].kept], [1, 0, 1, 0]);
});

test("N1 snaps to the nearest tabulated size and never below keep", () => {
  assert.equal(raw.sizes[snap(raw.sizes, 3, 1)], 2); // equally near: the smaller
  assert.equal(raw.sizes[snap(raw.sizes, 3, 3)], 4);
  assert.equal(raw.sizes[snap(raw.sizes, 0, 1)], 1);
  assert.equal(raw.sizes[snap(raw.sizes, 99, 1)], 4);
  const seen = select(openTable(raw), NAMES, 1, 3);
  assert.deepEqual([seen.n1, seen.k, [...seen.order]], [4, 3, [3, 1, 0]]);
});

test("keep stays between one token and all", () => {
  const table = openTable(raw);
  assert.equal(select(table, NAMES, 4, 0).k, 1);
  assert.deepEqual(keptTokens(select(table, NAMES, 4, 99)), [0, 1, 2, 3]);
});

test("a table of one size has one stage", () => {
  const table = openTable({
    sizes: Uint16Array.of(3),
    first: Uint16Array.of(0, 1, 2),
    orders: Uint16Array.of(2, 0, 1),
  });
  const seen = select(table, NAMES, 3, 1);
  assert.deepEqual(
    seen.steps.map((step) => step.name),
    ["two"],
  );
  assert.deepEqual([...seen.left], [0, 0, -1]);
});

test("without a table the stages of the run are told, in order of leaving", () => {
  const stages = [
    { name: "early", kept: Uint8Array.of(1, 1, 1, 0), owner: Int16Array.of(0, 1, 2, -1), order: null },
    {
      name: "late",
      kept: Uint8Array.of(1, 0, 1, 0),
      owner: Int16Array.of(0, -1, 1, -1),
      order: Int16Array.of(1, -1, 0, -1),
    },
  ];
  const seen = selectionOf(stages, 4, 2);
  assert.deepEqual([...seen.left], [-1, 1, -1, 0]);
  assert.deepEqual(seen.order, [2, 0]);
  assert.deepEqual([...selectionOf([], 2, 2).left], [-1, -1]);
});

test("a stage that others add to does not say that its rest has left", () => {
  const stages = [
    { name: "chosen first", kept: Uint8Array.of(1, 0, 0), owner: Int16Array.of(0, -1, -1), order: null },
    { name: "all chosen", kept: Uint8Array.of(1, 1, 0), owner: Int16Array.of(0, 1, -1), order: null },
  ];
  assert.deepEqual([...selectionOf(stages, 3, 2).left], [-1, -1, 0]);
});

test("patches turned over by hand change the set and nothing else", () => {
  const seen = select(openTable(raw), NAMES, 4, 2);
  assert.deepEqual(keptTokens(seen), [1, 3]);
  assert.deepEqual(keptTokens(seen, new Set([1, 2])), [2, 3]);
});

test("sets are compared both ways", () => {
  assert.deepEqual(compareSets([1, 2, 3], [3, 2, 9]), { added: [9], removed: [1], shared: 2, jaccard: 0.5 });
  assert.equal(compareSets([], []).jaccard, 1);
});
