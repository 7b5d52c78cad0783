import { inkOn } from "./colour.js";
import { cellBox, outline, place, runs } from "./geometry.js";

/**
 * Draws one panel on its canvas. It knows cells, colours and lines; what they mean was settled before.
 *
 * @typedef {import("./themes.js").Theme} Theme
 * @typedef {{token: number, style: string}} Ring an outline around one token's cell
 * @typedef {{box: import("./geometry.js").Box, style: string}} Spot the same place, seen by another panel
 */

const TAU = 2 * Math.PI;
/** @type {Map<string, CanvasPattern>} */
const patterns = new Map();

/** What draws on a canvas. @param {HTMLCanvasElement} canvas */
export function context2d(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser cannot draw on a canvas.");
  return context;
}

/**
 * Diagonal lines in a colour, as a fill.
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {number} ratio device pixels per CSS pixel
 * @param {boolean} rising
 */
function hatching(context, colour, ratio, rising) {
  const key = [colour, ratio, rising].join();
  if (!patterns.has(key)) {
    const side = Math.max(4, Math.round(5 * ratio));
    const tile = document.createElement("canvas");
    tile.width = tile.height = side;
    const pen = context2d(tile);
    pen.strokeStyle = colour;
    pen.lineWidth = Math.max(1, ratio * 0.9);
    pen.beginPath();
    for (const shift of [-side, 0, side]) {
      pen.moveTo(shift - 1, rising ? side + 1 : -1);
      pen.lineTo(shift + side + 1, rising ? -1 : side + 1);
    }
    pen.stroke();
    const made = context.createPattern(tile, "repeat");
    if (made) patterns.set(key, made);
  }
  return patterns.get(key) ?? colour;
}

/**
 * A picture at some size, in colour or grey, kept for the next time.
 * @param {import("./open.js").Picture} source
 * @param {number} width
 * @param {number} height
 * @param {boolean} grey
 * @returns {HTMLCanvasElement}
 */
function sized(source, width, height, grey) {
  const key = [Math.round(width), Math.round(height), grey].join();
  const known = source.sized.get(key);
  if (known) return known;
  if (source.sized.size > 12) source.sized.clear();
  const copy = document.createElement("canvas");
  copy.width = Math.max(1, Math.round(width));
  copy.height = Math.max(1, Math.round(height));
  const pen = context2d(copy);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source.image, 0, 0, copy.width, copy.height);
  if (grey) {
    const pixels = pen.getImageData(0, 0, copy.width, copy.height);
    const data = pixels.data;
    for (let i = 0; i < data.length; i += 4) {
      data[i] = data[i + 1] = data[i + 2] = 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
    }
    pen.putImageData(pixels, 0, 0);
  }
  source.sized.set(key, copy);
  return copy;
}

/**
 * @param {{canvas: HTMLCanvasElement, cells: HTMLCanvasElement, panel: import("./geometry.js").Panel,
 *   source: import("./open.js").Picture, original: import("./open.js").Original|undefined,
 *   frame: import("./geometry.js").Box, ratio: number}} sheet
 * @param {import("./looks.js").Look} look
 * @param {{theme: Theme, map: Uint8Array, rings: Ring[], spots: Spot[], cellOf: ArrayLike<number>,
 *   panelOf: ArrayLike<number>, index: number, sources: Int32Array|null}} scene
 */
export function paintPanel(sheet, look, scene) {
  const { canvas, panel, frame, ratio } = sheet;
  const { theme } = scene;
  const pen = context2d(canvas);
  const [left, top, right, bottom] = panel.box;
  const area = place({ left, top, right, bottom }, frame, canvas.width);
  const [wide, high] = [area.width / panel.cols, area.height / panel.rows];
  const x = (/** @type {number} */ col) => Math.round(area.x + col * wide);
  const y = (/** @type {number} */ row) => Math.round(area.y + row * high);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);

  const beyond = frame.right - frame.left + frame.bottom - frame.top - (right - left + bottom - top);
  if (sheet.original && beyond > 1) paintMargin(sheet.original);
  pen.drawImage(
    sized(sheet.source, area.width, area.height, look.photo === "grey"),
    area.x,
    area.y,
    area.width,
    area.height,
  );

  const cells = context2d(sheet.cells);
  const pixels = cells.createImageData(panel.cols, panel.rows);
  const words = new Uint32Array(pixels.data.buffer);
  panel.token.forEach((token, cell) => (words[cell] = token < 0 ? 0 : look.words[token]));
  cells.putImageData(pixels, 0, 0);
  pen.imageSmoothingEnabled = false; // cells are drawn as cells
  pen.drawImage(sheet.cells, area.x, area.y, area.width, area.height);
  pen.imageSmoothingEnabled = true;

  fillRuns(
    (cell) => panel.token[cell] >= 0 && look.hatch[panel.token[cell]] === 1,
    hatching(pen, theme.hatch, ratio, true),
  );
  fillRuns((cell) => !panel.content[cell], hatching(pen, theme.pad, ratio, false));
  fillRuns((cell) => panel.token[cell] < 0, hatching(pen, theme.pad, ratio, false));

  const lines = outline(panel, look.group);
  if (look.photo === "colour" && lines.length) {
    strokeLines(lines, theme.halo, 3 * ratio);
    strokeLines(lines, theme.kept, 1.5 * ratio);
    if (scene.sources) paintGroups(scene.sources);
  } else if (lines.length) strokeLines(lines, theme.halo, ratio);

  if (wide >= 13 * ratio) paintNumbers();
  for (const { box } of scene.spots) {
    const spot = place(box, frame, canvas.width);
    ringAt(spot, theme.focus, 1.5 * ratio, [3 * ratio, 3 * ratio]);
  }
  for (const ring of scene.rings) if (scene.panelOf[ring.token] === scene.index) paintRing(ring);

  /** @param {import("./open.js").Original} original */
  function paintMargin(original) {
    const { width, height } = original;
    const whole = place({ left: 0, top: 0, right: width, bottom: height }, frame, canvas.width);
    pen.drawImage(sized(original, whole.width, whole.height, true), whole.x, whole.y, whole.width, whole.height);
    pen.fillStyle = "rgba(" + theme.veil.join() + ",0.6)";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.fillStyle = hatching(pen, theme.pad, ratio, false);
    pen.fillRect(0, 0, canvas.width, canvas.height);
  }

  /** @param {(cell: number) => boolean} test @param {string|CanvasPattern} fill */
  function fillRuns(test, fill) {
    pen.beginPath();
    for (const [row, col, count] of runs(panel, test))
      pen.rect(x(col), y(row), x(col + count) - x(col), y(row + 1) - y(row));
    pen.fillStyle = fill;
    pen.fill();
  }

  /** @param {number[][]} edges @param {string} colour @param {number} width */
  function strokeLines(edges, colour, width) {
    pen.beginPath();
    for (const [x0, y0, x1, y1] of edges) {
      pen.moveTo(x(x0), y(y0));
      pen.lineTo(x(x1), y(y1));
    }
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.lineCap = "square";
    pen.stroke();
  }

  /** @param {Int32Array} groups */
  function paintGroups(groups) {
    for (const group of new Set(groups)) {
      if (group) strokeLines(outline(panel, groups, group), theme.groups[group % theme.groups.length], 2 * ratio);
    }
  }

  function paintNumbers() {
    pen.font = "600 " + Math.round(Math.min(0.56 * high, 0.5 * wide, 15 * ratio)) + "px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    panel.token.forEach((token, cell) => {
      if (token < 0 || !look.number[token]) return;
      const [row, col] = [Math.floor(cell / panel.cols), cell % panel.cols];
      pen.fillStyle = look.level ? inkOn(scene.map, Math.max(0, look.level[token])) : theme.halo;
      pen.fillText(String(look.number[token]), (x(col) + x(col + 1)) / 2, (y(row) + y(row + 1)) / 2 + 0.5 * ratio);
    });
  }

  /** @param {{x: number, y: number, width: number, height: number}} spot @param {string} colour @param {number} width @param {number[]} dash */
  function ringAt(spot, colour, width, dash) {
    const half = width / 2;
    const box = /** @type {const} */ ([spot.x - half, spot.y - half, spot.width + width, spot.height + width]);
    pen.strokeStyle = theme.halo;
    pen.lineWidth = width + 2 * ratio;
    pen.strokeRect(...box);
    pen.setLineDash(dash);
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.strokeRect(...box);
    pen.setLineDash([]);
  }

  /** @param {Ring} ring */
  function paintRing({ token, style }) {
    const spot = place(cellBox(panel, scene.cellOf[token]), frame, canvas.width);
    if (style === "pin") ringAt(spot, theme.focus, 3 * ratio, []);
    else if (style === "focus") ringAt(spot, theme.focus, 2 * ratio, []);
    else if (style === "near") ringAt(spot, theme.mark, 2 * ratio, [4 * ratio, 2 * ratio]);
    else if (style === "source") ringAt(spot, theme.mark, 1.5 * ratio, []);
    else if (style === "hand") ringAt(spot, theme.mark, 2 * ratio, [2 * ratio, 2 * ratio]);
    else {
      pen.beginPath();
      pen.arc(spot.x + spot.width / 2, spot.y + spot.height / 2, 0.75 * Math.max(spot.width, spot.height), 0, TAU);
      pen.strokeStyle = theme.mark;
      pen.lineWidth = 2.5 * ratio;
      pen.stroke();
    }
  }
}

/**
 * The curve of mean similarity at each pick, with the present step marked.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} curve NaN at the first pick
 * @param {number} step how many picks are shown
 * @param {{line: string, rest: string, mark: string, grid: string}} ink
 * @param {number} ratio
 * @returns {{low: number, high: number}} the ends of the vertical axis
 */
export function paintCurve(canvas, curve, step, ink, ratio) {
  const pen = context2d(canvas);
  const { width, height } = canvas;
  pen.clearRect(0, 0, width, height);
  let [low, high] = [Infinity, -Infinity];
  for (const value of curve) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return { low: 0, high: 0 };
  if (high - low < 1e-6) [low, high] = [low - 0.01, high + 0.01];
  const inset = 4 * ratio;
  const px = (/** @type {number} */ t) => inset + (t / Math.max(1, curve.length - 1)) * (width - 2 * inset);
  const py = (/** @type {number} */ value) => height - inset - ((value - low) / (high - low)) * (height - 2 * inset);
  pen.strokeStyle = ink.grid;
  pen.lineWidth = ratio;
  pen.beginPath();
  for (const value of [low, high]) {
    pen.moveTo(0, Math.round(py(value)) + 0.5);
    pen.lineTo(width, Math.round(py(value)) + 0.5);
  }
  pen.stroke();
  /** @param {number} from @param {number} to @param {string} colour @param {number} thick */
  const draw = (from, to, colour, thick) => {
    pen.beginPath();
    for (let t = Math.max(1, from); t < to; t++) pen.lineTo(px(t), py(curve[t]));
    pen.strokeStyle = colour;
    pen.lineWidth = thick * ratio;
    pen.lineJoin = "round";
    pen.stroke();
  };
  draw(1, curve.length, ink.rest, 1.5);
  draw(1, step, ink.line, 2);
  const at = step - 1;
  if (at >= 1 && at < curve.length) {
    pen.fillStyle = ink.mark;
    pen.beginPath();
    pen.arc(px(at), py(curve[at]), 3.5 * ratio, 0, TAU);
    pen.fill();
  }
  return { low, high };
}
