/**
 * Arrays as the server packs them: little-endian, gzip, base64.
 * @typedef {{type: "u1"|"i1"|"u2"|"i2"|"i4"|"f4", shape: number[], data: string}} Packed
 */

const KINDS = {
  u1: Uint8Array,
  i1: Int8Array,
  u2: Uint16Array,
  i2: Int16Array,
  i4: Int32Array,
  f4: Float32Array,
};

/**
 * The array that was packed, flat.
 * @param {Packed} packed
 */
export async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new KINDS[packed.type](await new Response(stream).arrayBuffer());
}

/**
 * A payload with every packed array in it unpacked.
 * @param {any} value
 * @returns {Promise<any>}
 */
export async function unpackAll(value) {
  if (Array.isArray(value)) return Promise.all(value.map(unpackAll));
  if (value === null || typeof value !== "object") return value;
  if ("type" in value && "data" in value && "shape" in value) return unpack(value);
  const entries = Object.entries(value).map(async ([name, part]) => [name, await unpackAll(part)]);
  return Object.fromEntries(await Promise.all(entries));
}
