/**
 * Where cells are: on the canvas, in the original picture, and beside each other.
 *
 * @typedef {{name: string, rows: number, cols: number, token: Int16Array, content: Uint8Array,
 *   box: [number, number, number, number], original: number}} Panel
 * @typedef {{left: number, top: number, right: number, bottom: number}} Box
 */

/**
 * The part of the original, in its pixels, that a canvas shows: the panel's own box, or all of both.
 * @param {Panel} panel
 * @param {{width: number, height: number}|undefined} original
 * @param {boolean} margin whether what the model never saw is shown as well
 * @returns {Box}
 */
export function frameOf(panel, original, margin) {
  const [left, top, right, bottom] = panel.box;
  if (!margin || !original) return { left, top, right, bottom };
  return {
    left: Math.min(0, left),
    top: Math.min(0, top),
    right: Math.max(original.width, right),
    bottom: Math.max(original.height, bottom),
  };
}

/**
 * Whether some of the original lies outside the panel's box, by more than half a pixel.
 * @param {Panel} panel
 * @param {{width: number, height: number}|undefined} original
 */
export function losesMargin(panel, original) {
  if (!original) return false;
  const [left, top, right, bottom] = panel.box;
  return left > 0.5 || top > 0.5 || right < original.width - 0.5 || bottom < original.height - 0.5;
}

/**
 * Share of the original's area outside the panel's box, 0 to 1.
 * @param {Panel} panel
 * @param {{width: number, height: number}} original
 */
export function lostShare(panel, original) {
  const [left, top, right, bottom] = panel.box;
  const width = Math.max(0, Math.min(original.width, right) - Math.max(0, left));
  const height = Math.max(0, Math.min(original.height, bottom) - Math.max(0, top));
  return 1 - (width * height) / (original.width * original.height);
}

/**
 * A box of the original on a canvas of some width that shows `frame`.
 * @param {Box} box
 * @param {Box} frame
 * @param {number} width
 * @returns {{x: number, y: number, width: number, height: number}}
 */
export function place(box, frame, width) {
  const scale = width / (frame.right - frame.left);
  return {
    x: (box.left - frame.left) * scale,
    y: (box.top - frame.top) * scale,
    width: (box.right - box.left) * scale,
    height: (box.bottom - box.top) * scale,
  };
}

/**
 * The cell under a point of the canvas, -1 outside.
 * @param {Panel} panel
 * @param {{x: number, y: number, width: number, height: number}} area where the panel lies on the canvas
 * @param {number} x
 * @param {number} y
 */
export function cellAt(panel, area, x, y) {
  const col = Math.floor(((x - area.x) / area.width) * panel.cols);
  const row = Math.floor(((y - area.y) / area.height) * panel.rows);
  return row < 0 || col < 0 || row >= panel.rows || col >= panel.cols ? -1 : row * panel.cols + col;
}

/**
 * Where every token is: its panel and cell, -1 for a token in no cell.
 * @param {Panel[]} panels
 * @param {number} n
 */
export function locate(panels, n) {
  const panelOf = new Int16Array(n).fill(-1);
  const cellOf = new Int32Array(n).fill(-1);
  panels.forEach((panel, index) =>
    panel.token.forEach((token, cell) => {
      if (token >= 0) [panelOf[token], cellOf[token]] = [index, cell];
    }),
  );
  return { panelOf, cellOf };
}

/**
 * The box of one cell in the original's pixels.
 * @param {Panel} panel
 * @param {number} cell
 * @returns {Box}
 */
export function cellBox(panel, cell) {
  const [left, top, right, bottom] = panel.box;
  const width = (right - left) / panel.cols;
  const height = (bottom - top) / panel.rows;
  const row = Math.floor(cell / panel.cols);
  const col = cell % panel.cols;
  return {
    left: left + col * width,
    top: top + row * height,
    right: left + (col + 1) * width,
    bottom: top + (row + 1) * height,
  };
}

/**
 * The next cell that holds a token, in steps of (down, across); the same cell where there is none.
 * @param {Panel} panel
 * @param {number} cell
 * @param {number} down
 * @param {number} across
 */
export function stepCell(panel, cell, down, across) {
  let row = Math.floor(cell / panel.cols) + down;
  let col = (cell % panel.cols) + across;
  while (row >= 0 && col >= 0 && row < panel.rows && col < panel.cols) {
    if (panel.token[row * panel.cols + col] >= 0) return row * panel.cols + col;
    row += down;
    col += across;
  }
  return cell;
}

/**
 * Edges between cells of different groups, as lines [x0, y0, x1, y1] in cells; group 0 is no group.
 * Lines that continue each other are one.
 * @param {Panel} panel
 * @param {ArrayLike<number>} group of each token
 * @param {number} [only] the one group that is outlined
 */
export function outline(panel, group, only = 0) {
  const { rows, cols, token } = panel;
  const at = (/** @type {number} */ row, /** @type {number} */ col) => {
    if (row < 0 || col < 0 || row >= rows || col >= cols || token[row * cols + col] < 0) return 0;
    const one = group[token[row * cols + col]];
    return only && one !== only ? 0 : one;
  };
  const lines = [];
  for (let row = 0; row <= rows; row++) {
    let start = -1;
    for (let col = 0; col <= cols; col++) {
      const edge = col < cols && at(row - 1, col) !== at(row, col);
      if (edge && start < 0) start = col;
      if (!edge && start >= 0) {
        lines.push([start, row, col, row]);
        start = -1;
      }
    }
  }
  for (let col = 0; col <= cols; col++) {
    let start = -1;
    for (let row = 0; row <= rows; row++) {
      const edge = row < rows && at(row, col - 1) !== at(row, col);
      if (edge && start < 0) start = row;
      if (!edge && start >= 0) {
        lines.push([col, start, col, row]);
        start = -1;
      }
    }
  }
  return lines;
}

/**
 * Cells of a panel in horizontal runs [row, first column, columns], where `test(cell)` holds.
 * @param {Panel} panel
 * @param {(cell: number) => boolean} test
 */
export function runs(panel, test) {
  const found = [];
  for (let row = 0; row < panel.rows; row++) {
    let start = -1;
    for (let col = 0; col <= panel.cols; col++) {
      const inside = col < panel.cols && test(row * panel.cols + col);
      if (inside && start < 0) start = col;
      if (!inside && start >= 0) {
        found.push([row, start, col - start]);
        start = -1;
      }
    }
  }
  return found;
}
