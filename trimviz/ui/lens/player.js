import { paintCurve } from "./paint.js";
import { find, input, shown } from "./text.js";

/**
 * Plays the order of picking, steps through it, and draws the curve of what was measured at each pick.
 *
 * @typedef {import("./scene.js").Scene} Scene
 * @typedef {{draw: () => void, to: (step: number) => void, by: (steps: number) => void, play: (on?: boolean) => void}} Player
 */

const LOW = 46; // CSS pixels of the curve's height
const WHOLE = 9000; // milliseconds that a whole order takes, within the limits of a pace
const [FASTEST, SLOWEST, CALM] = [30, 220, 1000]; // milliseconds a step

/**
 * @param {HTMLElement} root of the component
 * @param {() => Scene|null} present
 * @param {() => import("./themes.js").Theme} theme
 * @param {(scene: Scene) => void} moved after the step changed
 * @returns {Player}
 */
export function mountPlayer(root, present, theme, moved) {
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const player = find(root, ".player");
  const scrub = input(player, ".scrub");
  const canvas = /** @type {HTMLCanvasElement} */ (find(player, ".curve"));
  const graph = find(player, ".graph");
  const [at, axis] = [find(player, ".at"), find(player, ".axis")];
  const [least, most] = [find(player, ".low"), find(player, ".high")];
  let timer = 0;
  let width = 0;

  /** @param {number} step */
  function to(step) {
    const scene = present();
    const many = scene?.selection.order.length ?? 0;
    if (!scene || !many) return;
    const wanted = Math.max(1, Math.min(many, step));
    scene.step = wanted === many ? null : wanted;
    moved(scene);
  }

  /** @param {number} steps */
  function by(steps) {
    const scene = present();
    if (scene) to((scene.step ?? (steps < 0 ? scene.selection.order.length : 0)) + steps);
  }

  /** Start or stop; from the beginning where all picks are shown. */
  function play(on = !timer) {
    window.clearInterval(timer);
    timer = 0;
    find(player, '[data-act="play"]').setAttribute("aria-pressed", String(on));
    const many = present()?.selection.order.length ?? 0;
    if (!on || !many) return;
    let step = present()?.step ?? 0;
    const pace = calm.matches ? CALM : Math.max(FASTEST, Math.min(SLOWEST, WHOLE / many));
    timer = window.setInterval(() => {
      step += 1;
      to(step);
      if (step >= many) play(false);
    }, pace);
  }

  function draw() {
    const scene = present();
    const many = scene?.selection.order.length ?? 0;
    player.hidden = many === 0;
    if (!scene || !many) return;
    const step = scene.step ?? many;
    scrub.max = String(many);
    scrub.value = String(step);
    at.textContent = step + " of " + many;
    const { curve } = scene;
    graph.hidden = !curve || many < 3;
    if (!curve || many < 3) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    width ||= canvas.clientWidth;
    const wide = Math.round(width * ratio);
    if (wide && canvas.width !== wide) [canvas.width, canvas.height] = [wide, Math.round(LOW * ratio)];
    const { low, high } = paintCurve(canvas, curve.values, step, theme().curve, ratio);
    const now = curve.values[step - 1];
    least.textContent = shown(low);
    most.textContent = shown(high);
    axis.textContent = curve.name + (Number.isNaN(now) ? "" : ", pick " + step + ": " + shown(now));
    canvas.setAttribute("aria-label", curve.name + " at each pick, from " + shown(low) + " to " + shown(high));
  }

  scrub.addEventListener("input", () => {
    play(false);
    to(Number(scrub.value));
  });
  new ResizeObserver(() => {
    width = canvas.clientWidth;
    draw();
  }).observe(canvas);
  return { draw, to, by, play };
}
