import { cssOf } from "./colour.js";
import { NUMBERED, veilOf } from "./looks.js";
import { context2d } from "./paint.js";
import { escapeHtml, pretty, shown } from "./text.js";

/**
 * The legend of the views that are shown: swatches of the three states, and colour bars with their ends.
 * @typedef {import("./scene.js").Scene} Scene
 * @typedef {import("./themes.js").Theme} Theme
 */

const SWATCH = 36; // pixels, shown at half of it

/**
 * @param {HTMLElement} legend
 * @param {Scene} scene
 * @param {Theme} ink
 * @param {boolean} numbered whether the first picks carry numbers on the page
 */
export function drawLegend(legend, scene, ink, numbered) {
  const { data, selection, shown: views } = scene;
  const stages = selection.steps.length;
  const photo = data.images[0].image;
  const masks = views.filter((view) => view.kind === "stage");
  legend.textContent = "";
  if (masks.length || views.some((view) => view.kind === "order")) {
    if (masks.length) legend.append(swatch(photo, "kept", (pen) => frame(pen, ink)));
    const upto = masks.length ? Math.max(...masks.map((view) => view.index)) : stages - 1;
    for (let stage = upto; stage >= 0; stage--) {
      legend.append(
        swatch(photo, "left at " + pretty(selection.steps[stage].name), (pen) => veil(pen, ink, stage, stages)),
      );
    }
    if (masks.length && scene.groups?.some((group) => group > 0)) {
      legend.append(label("one outline colour = merged into one token"));
    }
  }
  if (data.panels.some((panel) => panel.content.some((one) => one === 0))) {
    legend.append(swatch(photo, "padding", (pen) => pad(pen, ink)));
  }
  for (const view of views) {
    if (view.kind === "order") {
      const hint = "brighter = earlier" + (numbered ? "; the first " + NUMBERED + " are numbered" : "");
      legend.append(ramp(data.colours.viridis, "pick " + selection.order.length, "pick 1", hint));
    } else if (view.kind !== "stage") {
      const { range, map, name, hint } = scene.scaleOf(view);
      const [low, high] = [(range.below ? "≤ " : "") + shown(range.low), (range.above ? "≥ " : "") + shown(range.high)];
      legend.append(ramp(map, low, high, pretty(name) + ": " + escapeHtml(hint)));
    }
  }
}

/** @param {string} html */
function label(html) {
  const one = document.createElement("span");
  one.className = "key";
  one.innerHTML = "<span>" + html + "</span>";
  return one;
}

/**
 * @param {CanvasImageSource} photo
 * @param {string} html
 * @param {(pen: CanvasRenderingContext2D) => void} fill
 */
function swatch(photo, html, fill) {
  const one = label(html);
  const canvas = document.createElement("canvas");
  canvas.className = "swatch";
  canvas.width = canvas.height = SWATCH;
  const pen = context2d(canvas);
  pen.drawImage(photo, 0, 0, SWATCH, SWATCH);
  fill(pen);
  one.prepend(canvas);
  return one;
}

/**
 * @param {Uint8Array} map
 * @param {string} low
 * @param {string} high
 * @param {string} html
 */
function ramp(map, low, high, html) {
  const one = document.createElement("span");
  one.className = "key";
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [256, 1];
  const pen = context2d(canvas);
  for (let level = 0; level < 256; level++) {
    pen.fillStyle = cssOf(map, level);
    pen.fillRect(level, 0, 1, 1);
  }
  one.innerHTML =
    '<span class="ramp"><span>' + low + "</span><span>" + high + "</span></span><span>" + html + "</span>";
  one.querySelector(".ramp span")?.after(canvas);
  return one;
}

/** @param {CanvasRenderingContext2D} pen @param {Theme} ink */
function frame(pen, ink) {
  pen.lineWidth = 6;
  pen.strokeStyle = ink.kept;
  pen.strokeRect(3, 3, SWATCH - 6, SWATCH - 6);
}

/** @param {CanvasRenderingContext2D} pen @param {Theme} ink @param {number} stage @param {number} stages */
function veil(pen, ink, stage, stages) {
  pen.fillStyle = "rgba(" + ink.veil.join() + "," + veilOf(stage, stages) + ")";
  pen.fillRect(0, 0, SWATCH, SWATCH);
  if (stage === 0) strokes(pen, ink.hatch, true);
}

/** @param {CanvasRenderingContext2D} pen @param {Theme} ink */
function pad(pen, ink) {
  pen.fillStyle = "rgb(" + ink.veil.join() + ")";
  pen.fillRect(0, 0, SWATCH, SWATCH);
  strokes(pen, ink.pad, false);
}

/** @param {CanvasRenderingContext2D} pen @param {string} colour @param {boolean} rising */
function strokes(pen, colour, rising) {
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.beginPath();
  for (let shift = -SWATCH; shift <= SWATCH; shift += 10) {
    pen.moveTo(shift, rising ? SWATCH : 0);
    pen.lineTo(shift + SWATCH, rising ? 0 : SWATCH);
  }
  pen.stroke();
}
