import assert from "node:assert/strict";
import { test } from "node:test";

import { openNumbers } from "../../trimviz/ui/lens/open.js";
import { factsOf, fateOf, nearestKept, spotOf } from "../../trimviz/ui/lens/patch.js";
import { cellFor } from "../../trimviz/ui/lens/pointing.js";
import { Scene } from "../../trimviz/ui/lens/scene.js";
import { countOf, editsOf, measuresOf, pendingOf } from "../../trimviz/ui/lens/telling.js";
import { LIGHT } from "../../trimviz/ui/lens/themes.js";

// Four tokens in two rows, the last one padding; only N1 of 2 and 4 are tabulated. All worked out by hand.
const panel = {
  name: "image",
  rows: 2,
  cols: 2,
  token: Int16Array.of(0, 1, 2, 3),
  content: Uint8Array.of(1, 1, 1, 0),
  box: [0, 0, 20, 20],
  original: 0,
};
const explanation = {
  words: ["cat"],
  distances: { low: 1, step: 0.5, steps: Uint8Array.of(0, 1, 2, 3) },
  norms: Float32Array.of(1, 2, 3, 4),
  similarity: { triangle: Int8Array.of(127, 0, -127, 64, 32, 16), factors: null, scale: null, error: 0 },
  correlation: { alpha: 1 },
  unrelated: "What?",
  unrelated_scores: { alpha: Float32Array.of(1, 2, 3, 4) },
  overlap: 0.5,
};
const stage = (name, kept) => ({ name, depth: 0, kept, owner: Int16Array.of(0, 1, 2, 3), order: null, film: {} });
const payload = (changes = {}) => ({
  key: "a",
  n: 4,
  question: "?",
  panels: [panel],
  stages: [stage("one", Uint8Array.of(1, 1, 1, 1)), stage("two", Uint8Array.of(1, 0, 0, 1))],
  scores: [{ name: "alpha", higher: "closer", values: Float32Array.of(4, 3, 2, 1) }],
  table: {
    sizes: Uint16Array.of(2, 4),
    first: Uint16Array.of(0, 1, 2, 3),
    orders: Uint16Array.of(1, 0, 3, 0, 2, 1),
  },
  run: { method: "m", k: 2, n1: 4 },
  default: null,
  explanation,
  colours: { viridis: new Uint8Array(768), cividis: new Uint8Array(768) },
  ...changes,
});
const scene = (changes) =>
  new Scene({ ...openNumbers(payload(changes)), images: [], originals: [{ width: 40, height: 20 }] });

test("a scene begins with the selection of the run", () => {
  const now = scene();
  assert.deepEqual(now.kept, [0, 3]);
  assert.deepEqual([now.n1, now.k, now.approximate, now.asked], [4, 2, false, -1]);
  assert.deepEqual(
    now.views.map((view) => view.id),
    ["score0", "stage0", "kept", "order"],
  );
});

test("a first stage between two known sizes is marked, with the size that is shown", () => {
  const now = scene();
  now.move(3, 2);
  assert.equal(now.approximate, true);
  assert.equal(now.n1, 3, "the wish is remembered");
  assert.match(pendingOf(now), /shown for N1 2.*exactly 3/);
  now.move(1, 3);
  assert.deepEqual([now.n1, now.selection.n1, now.kept.length], [3, 4, 3], "never fewer aligned than kept");
  now.move(4, 3);
  assert.equal(pendingOf(now), "");
});

test("a method without a table says that it has to run again", () => {
  const now = scene({ table: null });
  assert.equal(pendingOf(now), "");
  now.move(4, 1);
  assert.match(pendingOf(now), /keep 2.*keep 1/);
});

test("a token tells where it stands, what became of it and what it is like", () => {
  const now = scene();
  assert.equal(spotOf(now, 2), "row 2, column 1");
  assert.equal(fateOf(now, 3), "Kept, pick 1 of 2");
  assert.equal(fateOf(now, 1), "Left at two, stage 2 of 2");
  assert.equal(nearestKept(now, 1), 0);
  now.word = 0;
  now.pin = 2;
  assert.deepEqual(factsOf(now, 3), [
    "Token 3, row 2, column 2",
    "alpha 1.000, rank 4 of 4",
    "Distance to “cat” 2.500",
    "Kept, pick 1 of 2",
    "Nearest kept: token 0 (row 1, column 1), −1.000",
    "Similarity to pinned token 2 0.126",
    "This cell holds only padding",
  ]);
  assert.ok(factsOf(now, 0).includes("Mean similarity to the 1 picked before −1.000"));
});

test("patches turned over by hand change what is kept, until the last one", () => {
  const now = scene();
  assert.equal(now.flip(0), true);
  assert.deepEqual(now.kept, [3]);
  assert.equal(now.flip(3), false, "one has to stay");
  assert.deepEqual(now.kept, [3]);
  now.flip(1);
  assert.equal(fateOf(now, 1), "Put in by hand");
  assert.match(editsOf(now), /^1 put in, 1 taken out/);
  assert.match(countOf(now), /<b>2<\/b> two/);
  now.unflip();
  assert.deepEqual(now.kept, [0, 3]);
});

test("counts tell of padding, and of the margin once it is shown", () => {
  const now = scene();
  assert.match(countOf(now), /1 of 2 kept tokens are padding\./);
  assert.doesNotMatch(countOf(now), /never seen/);
  now.margin = true;
  assert.match(countOf(now), /50\.0 % of the picture is never seen/);
});

test("newer numbers for the same picture keep what was chosen", () => {
  const now = scene();
  now.move(2, 1);
  now.pin = 1;
  now.refresh({ ...now.data, told: null });
  assert.deepEqual([now.n1, now.k, now.pin], [2, 1, 1]);
  assert.equal(now.similarities(1), null);
  assert.ok(!now.views.some((view) => view.kind === "similar"));
});

test("what a score measures is told in words and numbers", () => {
  const told = measuresOf(scene());
  assert.match(told, /almost the same order<\/b>: rank correlation 1\.000/);
  assert.match(told, /4 of the 4<\/b> tokens with the highest α/);
  assert.match(told, /from 1\.000 to 4\.000/);
});

test("looks follow the view: masks in colour, scores over grey", () => {
  const now = scene();
  const [score, , kept] = now.views;
  assert.equal(now.lookOf(score, LIGHT).photo, "grey");
  assert.deepEqual([...now.lookOf(kept, LIGHT).group], [1, 0, 0, 1]);
  now.word = 0;
  assert.match(now.scaleOf(score).name, /“cat”/);
});

test("keys lead from cell to cell", () => {
  const press = (key, cell, ctrlKey = false) => cellFor({ key, ctrlKey }, panel, cell);
  assert.deepEqual(
    [press("ArrowRight", 0), press("ArrowDown", 0), press("ArrowLeft", 0), press("ArrowUp", 3)],
    [1, 2, 0, 1],
  );
  assert.deepEqual([press("Home", 3), press("End", 2), press("Home", 3, true), press("End", 0, true)], [2, 3, 0, 3]);
  assert.equal(press("q", 0), -1);
});
