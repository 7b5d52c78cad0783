import assert from "node:assert/strict";
import { test } from "node:test";

import { curveOf, nearest, ranksOf, sharedFirst, similarityRow } from "../../trimviz/ui/lens/facts.js";
import { paddingOf } from "../../trimviz/ui/lens/open.js";
import { readState, writeState } from "../../trimviz/ui/lens/state.js";
import { percent, plain, pretty, shown } from "../../trimviz/ui/lens/text.js";

// Pairs 01, 02, 03, 12, 13, 23 in steps of 1 / 127.
const whole = { triangle: Int8Array.of(127, 0, -127, 64, 32, 16), factors: null, scale: null, error: 0 };
const near = (a, b) => assert.ok(Math.abs(a - b) < 1e-6, a + " is not " + b);

test("a row of similarities is read from either side of the triangle", () => {
  assert.deepEqual([...similarityRow(whole, 0, 4)], [1, 1, 0, -1]);
  const row = similarityRow(whole, 2, 4);
  [0, 64 / 127, 1, 16 / 127].forEach((value, i) => near(row[i], value));
});

test("factors give the same kind of row", () => {
  const factors = {
    triangle: null,
    factors: Int8Array.of(127, 0, 0, 127, 90, 90),
    scale: Float32Array.of(1 / 127, 1 / 127, 1 / 127),
    error: 0,
  };
  const row = similarityRow(factors, 0, 3);
  [1, 0, 90 / 127].forEach((value, i) => near(row[i], value));
  const curve = curveOf(factors, [0, 1, 2], 3);
  near(curve[1], 0);
  near(curve[2], 90 / 127);
});

test("the curve is the mean similarity to those picked before", () => {
  const curve = curveOf(whole, [3, 1, 0], 4);
  assert.ok(Number.isNaN(curve[0]));
  near(curve[1], 32 / 127);
  near(curve[2], (-127 + 127) / 2 / 127);
});

test("the nearest of a set is never the token itself", () => {
  assert.equal(nearest([1, 0.2, 0.9, 0.9], [0, 1, 2, 3], 0), 2);
  assert.equal(nearest([1], [0], 0), -1);
});

test("ranks count from one, ties go to the lower index, and what is no number has none", () => {
  assert.deepEqual([...ranksOf([0.5, NaN, 2, 0.5])], [2, 0, 1, 3]);
  assert.equal(sharedFirst([1, 2, 3, 4], [4, 2, 1, 3], 2), 1);
});

test("a token in a cell without content is padding, whatever its panel", () => {
  const panels = [
    { token: Int16Array.of(0, 1, -1, 2), content: Uint8Array.of(1, 0, 0, 0) },
    { token: Int16Array.of(3, 4), content: Uint8Array.of(0, 1) },
  ];
  assert.deepEqual([...paddingOf(panels, 6)], [0, 1, 1, 1, 0, 0]);
});

test("the address keeps what belongs to others and gives back what was put in", () => {
  const search = writeState("?q=a%20b&pin=4", { k: 64, n1: 460, view: "order", pin: null, flip: [3, 17] });
  assert.deepEqual(readState(search), { k: 64, n1: 460, view: "order", flip: [3, 17] });
  assert.equal(new URLSearchParams(search).get("q"), "a b");
  assert.equal(writeState("?k=3", { k: null }), "");
  assert.deepEqual(readState("?k=-3&n1=x&flip=1.x&pin="), {});
});

test("a set by hand that is too long stays out of the address", () => {
  assert.equal(writeState("", { flip: Array.from({ length: 500 }, (_, i) => i) }), "");
});

test("names are safe HTML, with raised parts and Greek letters", () => {
  assert.equal(pretty("X^v(1)"), "X<sup>v(1)</sup>");
  assert.equal(pretty("alpha"), "α");
  assert.equal(pretty("<b>"), "&lt;b&gt;");
  assert.equal(plain("X^v(1)"), "X v(1)");
});

test("numbers are written for people", () => {
  assert.deepEqual([-23.456, 0.12345, 1234.5, 0, 0.00001, NaN].map(shown), [
    "−23.46",
    "0.123",
    "1234.5",
    "0.000",
    "1.00e−5",
    "none",
  ]);
  assert.equal(percent(64, 576), "11.1 %");
});
