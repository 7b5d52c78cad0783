/**
 * Colours of what is drawn over a picture, light and dark; values have colour maps of their own.
 * @typedef {{line: string, rest: string, mark: string, grid: string}} CurveInk
 * @typedef {{veil: [number, number, number], hatch: string, kept: string, halo: string, focus: string, pad: string,
 *   mark: string, groups: string[], curve: CurveInk}} Theme
 */

/** @type {Theme} */
export const LIGHT = {
  veil: [255, 255, 255],
  hatch: "rgba(15, 23, 42, 0.30)",
  kept: "#ffb000",
  halo: "rgba(0, 0, 0, 0.75)",
  focus: "#ffffff",
  pad: "rgba(190, 24, 93, 0.55)",
  mark: "#e0218a",
  groups: ["#e6194b", "#0082c8", "#911eb4", "#f58231", "#008080", "#aa6e28", "#3cb44b", "#4b0082"],
  curve: { line: "#4338ca", rest: "#c7cbd4", mark: "#e0218a", grid: "#e2e5ea" },
};

/** @type {Theme} */
export const DARK = {
  veil: [9, 11, 16],
  hatch: "rgba(226, 232, 240, 0.26)",
  kept: "#ffb000",
  halo: "rgba(0, 0, 0, 0.8)",
  focus: "#ffffff",
  pad: "rgba(244, 114, 182, 0.5)",
  mark: "#ff5cb8",
  groups: ["#ff6b8b", "#4cc2ff", "#d58cff", "#ffa54f", "#2dd4bf", "#d2a679", "#7ee787", "#a5b4fc"],
  curve: { line: "#a5b4fc", rest: "#4b5563", mark: "#ff5cb8", grid: "#374151" },
};
