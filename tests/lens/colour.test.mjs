import assert from "node:assert/strict";
import { test } from "node:test";

import { cssOf, inkOn, levelOf, rangeOf, rgba, wordOf } from "../../trimviz/ui/lens/colour.js";
import { groupsOf, maskLook, NUMBERED, orderLook, scoreLook, veilOf } from "../../trimviz/ui/lens/looks.js";
import { openTable, select } from "../../trimviz/ui/lens/table.js";

const grey = Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));
const alphaOf = (word) => word >>> 24;
const how = { veil: [255, 255, 255], flips: new Set(), step: null };

test("a range says where it ends and whether values lie beyond", () => {
  const values = Float32Array.from({ length: 101 }, (_, i) => i);
  assert.deepEqual(rangeOf(values), { low: 2, high: 98, below: true, above: true });
  assert.deepEqual(rangeOf(values, 0), { low: 0, high: 100, below: false, above: false });
  assert.deepEqual(rangeOf([NaN, 5, NaN]), { low: 5, high: 5, below: false, above: false });
  assert.deepEqual(rangeOf([NaN]), { low: 0, high: 1, below: false, above: false });
});

test("levels are linear, clipped at the ends, and absent for what is no number", () => {
  const range = { low: -1, high: 1, below: true, above: true };
  assert.deepEqual(
    [-9, -1, 0, 1, 9, NaN].map((value) => levelOf(value, range)),
    [0, 0, 128, 255, 255, -1],
  );
});

test("words are red, green, blue, alpha in memory", () => {
  assert.deepEqual([...new Uint8Array(Uint32Array.of(rgba(1, 2, 3, 255)).buffer)], [1, 2, 3, 255]);
  assert.equal(wordOf(grey, 7, 9), rgba(7, 7, 7, 9));
  assert.equal(cssOf(grey, 200), "rgb(200, 200, 200)");
  assert.deepEqual([inkOn(grey, 0), inkOn(grey, 255)], ["#fff", "#000"]);
});

const table = openTable({
  sizes: Uint16Array.of(1, 2, 3),
  first: Uint16Array.of(0, 1, 2),
  orders: Uint16Array.of(0, 1, 0, 2, 1, 0),
});

test("three states differ in lightness and one of them by its hatch", () => {
  const look = maskLook(select(table, ["a", "b"], 2, 1), 1, how); // 1 stays, 0 left at stage 2, 2 at stage 1
  const [mid, none, strong] = [...look.words].map(alphaOf);
  assert.equal(none, 0);
  assert.ok(mid > 90 && strong - mid > 50, mid + " and " + strong + " look different in grey");
  assert.deepEqual([...look.hatch], [0, 0, 1]);
  assert.deepEqual([...look.group], [0, 1, 0]);
});

test("the first stage's view shows its own set alone", () => {
  const look = maskLook(select(table, ["a", "b"], 2, 1), 0, how);
  assert.deepEqual([...look.group], [1, 1, 0]);
  assert.equal(alphaOf(look.words[0]), 0);
});

test("veils grow lighter from stage to stage", () => {
  assert.ok(veilOf(0, 3) > veilOf(1, 3) && veilOf(1, 3) > veilOf(2, 3));
  assert.equal(veilOf(0, 1), veilOf(0, 2));
});

test("a patch turned over by hand changes sides in the last view", () => {
  const look = maskLook(select(table, ["a", "b"], 2, 1), 1, { ...how, flips: new Set([1, 2]) });
  assert.deepEqual([...look.group], [0, 0, 1]);
});

test("scrubbing shows the first picks alone", () => {
  const seen = select(table, ["a", "b"], 3, 3);
  assert.deepEqual([...maskLook(seen, 1, { ...how, step: 1 }).group], [0, 0, 1]);
  const look = orderLook(seen, grey, { ...how, step: 2 });
  assert.deepEqual([...look.number], [0, 2, 1]);
  assert.equal(look.level[2], 255); // the first pick is the brightest
  assert.equal(look.level[0], -1);
});

test("only the first picks are numbered", () => {
  const n = NUMBERED + 5;
  const many = Uint16Array.from({ length: n }, (_, i) => i);
  const seen = select(openTable({ sizes: Uint16Array.of(n), first: many, orders: many }), ["a", "b"], n, n);
  assert.deepEqual([...orderLook(seen, grey, how).number].filter(Boolean).length, NUMBERED);
});

test("what has no value is hatched, not coloured", () => {
  const look = scoreLook([0, NaN, 1], { low: 0, high: 1, below: false, above: false }, grey, 1);
  assert.deepEqual([...look.hatch], [0, 1, 0]);
  assert.deepEqual([...look.level], [0, -1, 255]);
  assert.equal(look.words[1], 0);
});

test("tokens that share an output share a group; one alone has none", () => {
  assert.deepEqual([...groupsOf([0, 1, 0, -1, 2, 2])], [1, 0, 1, 0, 3, 3]);
});
