import assert from "node:assert/strict";
import { test } from "node:test";

import {
  cellAt,
  cellBox,
  frameOf,
  locate,
  losesMargin,
  lostShare,
  outline,
  place,
  runs,
  stepCell,
} from "../../trimviz/ui/lens/geometry.js";

// Two rows of three cells, the middle one of the second row without a token, from the middle of a picture 300 wide and 100 high.
const panel = {
  name: "image",
  rows: 2,
  cols: 3,
  token: Int16Array.of(0, 1, 2, 3, -1, 4),
  content: Uint8Array.of(1, 1, 1, 1, 1, 1),
  box: [75, 0, 225, 100],
  original: 0,
};
const original = { width: 300, height: 100 };

test("a canvas shows the panel's box, or with the margin all of the original", () => {
  assert.deepEqual(frameOf(panel, original, false), { left: 75, top: 0, right: 225, bottom: 100 });
  const frame = frameOf(panel, original, true);
  assert.deepEqual(frame, { left: 0, top: 0, right: 300, bottom: 100 });
  assert.deepEqual(place({ left: 75, top: 0, right: 225, bottom: 100 }, frame, 600), {
    x: 150,
    y: 0,
    width: 300,
    height: 200,
  });
  assert.equal(losesMargin(panel, original), true);
  assert.equal(losesMargin({ ...panel, box: [0, -50, 300, 150] }, original), false);
  assert.equal(lostShare(panel, original), 0.5);
  assert.equal(lostShare({ ...panel, box: [0, -50, 300, 150] }, original), 0);
});

test("a box that reaches beyond the picture widens the frame", () => {
  const padded = { ...panel, box: [0, -100, 300, 200] };
  assert.deepEqual(frameOf(padded, original, true), { left: 0, top: -100, right: 300, bottom: 200 });
});

test("a point finds its cell, edges included, and nothing outside", () => {
  const area = { x: 10, y: 20, width: 30, height: 20 };
  assert.equal(cellAt(panel, area, 10, 20), 0);
  assert.equal(cellAt(panel, area, 39.9, 39.9), 5);
  assert.equal(cellAt(panel, area, 20, 30), 4);
  assert.equal(cellAt(panel, area, 40, 25), -1);
  assert.equal(cellAt(panel, area, 9.9, 25), -1);
});

test("every token is found in its cell, and a cell in the original", () => {
  const { panelOf, cellOf } = locate([panel], 6);
  assert.deepEqual([...cellOf], [0, 1, 2, 3, 5, -1]);
  assert.deepEqual([...panelOf], [0, 0, 0, 0, 0, -1]);
  assert.deepEqual(cellBox(panel, 5), { left: 175, top: 50, right: 225, bottom: 100 });
});

test("arrows pass over cells without a token and stop at the edge", () => {
  assert.equal(stepCell(panel, 3, 0, 1), 5);
  assert.equal(stepCell(panel, 1, 1, 0), 1);
  assert.equal(stepCell(panel, 0, -1, 0), 0);
  assert.equal(stepCell(panel, 0, 1, 0), 3);
});

test("an outline runs around a group, in as few lines as there are sides", () => {
  const alone = outline(panel, [1, 0, 0, 0, 0]);
  assert.deepEqual(new Set(alone.map(String)), new Set(["0,0,1,0", "0,1,1,1", "0,0,0,1", "1,0,1,1"]));
  const pair = outline(panel, [1, 1, 0, 0, 0]);
  assert.deepEqual(new Set(pair.map(String)), new Set(["0,0,2,0", "0,1,2,1", "0,0,0,1", "2,0,2,1"]));
  const split = outline(panel, [1, 2, 0, 0, 0]);
  assert.ok(
    split.some((line) => String(line) === "1,0,1,1"),
    "two groups are parted",
  );
  assert.equal(outline(panel, [1, 2, 0, 0, 0], 2).length, 4);
});

test("runs join cells of a row and never rows", () => {
  assert.deepEqual(
    runs(panel, () => true),
    [
      [0, 0, 3],
      [1, 0, 3],
    ],
  );
  assert.deepEqual(
    runs(panel, (cell) => cell !== 1),
    [
      [0, 0, 1],
      [0, 2, 1],
      [1, 0, 3],
    ],
  );
});
