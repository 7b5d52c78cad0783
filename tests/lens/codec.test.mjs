import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

import { unpack, unpackAll } from "../../trimviz/ui/lens/codec.js";

const packed = (type, array) => ({
  type,
  shape: [array.length],
  data: gzipSync(Buffer.from(array.buffer)).toString("base64"),
});

test("numbers come back as they were sent, in every type", async () => {
  for (const [type, array] of [
    ["u1", Uint8Array.of(0, 255)],
    ["i1", Int8Array.of(-127, 127)],
    ["u2", Uint16Array.of(0, 258, 65535)],
    ["i2", Int16Array.of(-1, 300)],
    ["i4", Int32Array.of(-70000)],
    ["f4", Float32Array.of(-1.5, NaN, 3e8)],
  ]) {
    assert.deepEqual(await unpack(packed(type, array)), array);
  }
});

test("arrays are found at any depth, and everything else stays", async () => {
  const value = { a: [{ b: packed("u2", Uint16Array.of(7)) }], c: null, d: "text", e: 3, f: { type: "not packed" } };
  assert.deepEqual(await unpackAll(value), {
    a: [{ b: Uint16Array.of(7) }],
    c: null,
    d: "text",
    e: 3,
    f: { type: "not packed" },
  });
});
