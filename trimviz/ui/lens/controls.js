import { showState } from "./state.js";
import { snap } from "./table.js";

/**
 * Native sliders beside the lens: every step redraws it at once, and the server hears of a choice when it has settled.
 */

const SETTLE = 350; // milliseconds after the last key
const LEAST = { n1: 2, k: 1 }; // a first stage of "1" would be read as a share, the whole

/**
 * The tabulated size for a wish; one step of a key leads to the next size even where that is farther than the present one.
 * @param {number[]} sizes ascending
 * @param {number} present
 * @param {number} wanted
 */
export function toward(sizes, present, wanted) {
  const near = sizes[snap(sizes, wanted, 1)];
  if (near !== present || wanted === present) return near;
  return (wanted > present ? sizes.find((size) => size > present) : sizes.findLast((size) => size < present)) ?? present;
}

/**
 * @param {HTMLElement} element
 * @param {{value: any}} props
 * @param {(name: string) => void} trigger
 * @param {(name: string, then: () => void) => void} watch
 * @param {string} id of the component around `element`
 * @param {string} lensId
 */
export function mountControls(element, props, trigger, watch, id, lensId) {
  const root = element.querySelector(".controls");
  const $ = (query) => root.querySelector(query);
  const now = { n1: 1, k: 1 };
  let limits = null;
  let sent = "";
  let timer = 0;
  let held = false;
  const lens = () => window.trimviz?.[lensId];
  const text = () => JSON.stringify([now.n1, now.k, lens().byHand()]);

  /** Take over what the lens shows; a new picture or method starts from the run that came with it. */
  function adopt(same) {
    const host = element.closest("#" + id) ?? element;
    if (lens()?.dock && host.parentElement !== lens().dock) lens().dock.append(host);
    limits = lens()?.limits() ?? null;
    root.dataset.state = limits ? "ready" : "empty";
    if (!limits) return;
    if (!same) [now.n1, now.k] = [limits.n1, limits.k];
    for (const input of root.querySelectorAll("input")) [input.min, input.max] = [String(LEAST[input.dataset.name]), String(limits.n)];
    $(".first").hidden = !limits.sizes;
    $(".paper").hidden = !limits.paper;
    apply();
    if (!same) sent = text();
  }

  /** Redraw the lens and show what it really drew. */
  function apply() {
    const drawn = lens().set(now.n1, now.k);
    if (limits.sizes) now.n1 = drawn.n1;
    for (const name of ["n1", "k"]) {
      for (const input of root.querySelectorAll('input[data-name="' + name + '"]')) {
        if (input !== document.activeElement || input.type === "range") input.value = String(now[name]);
      }
      $('.part[data-name="' + name + '"]').textContent = ((100 * now[name]) / limits.n).toFixed(1) + " %";
    }
  }

  function flush() {
    window.clearTimeout(timer);
    timer = 0;
    if (!limits || !lens() || text() === sent) return;
    sent = text();
    showState({ k: now.k, n1: limits.sizes ? now.n1 : null });
    props.value = { n1: now.n1, k: now.k, kept: lens().byHand() };
    trigger("commit");
  }

  function later() {
    window.clearTimeout(timer);
    if (!held) timer = window.setTimeout(flush, SETTLE);
  }

  /** @param {string} name @param {number} value */
  function move(name, value) {
    if (!limits || !Number.isFinite(value)) return;
    const wanted = Math.max(LEAST[name], Math.min(limits.n, Math.round(value)));
    now[name] = name === "n1" && limits.sizes ? toward(limits.sizes, now.n1, wanted) : wanted;
    apply();
    later();
  }

  for (const slide of root.querySelectorAll(".slide")) {
    slide.addEventListener("input", () => move(slide.dataset.name, Number(slide.value)));
    slide.addEventListener("pointerdown", () => (held = true));
    for (const end of ["pointerup", "pointercancel"]) {
      slide.addEventListener(end, () => {
        held = false;
        window.setTimeout(flush, 0); // after the last input event
      });
    }
  }
  for (const box of root.querySelectorAll(".box")) {
    box.addEventListener("input", () => box.value !== "" && move(box.dataset.name, Number(box.value)));
    box.addEventListener("blur", () => limits && apply());
    box.addEventListener("keydown", (event) => event.key === "Enter" && (box.blur(), flush()));
  }
  for (const button of root.querySelectorAll("[data-share]")) {
    button.addEventListener("click", () => limits && move("k", limits.n / Number(button.dataset.share)));
  }
  $(".paper").addEventListener("click", () => {
    if (!limits?.paper) return;
    now.n1 = limits.paper.n1;
    move("k", limits.paper.k);
  });
  window.addEventListener("trimviz:loaded", (event) => event.detail.id === lensId && adopt(event.detail.same));
  window.addEventListener("trimviz:edited", (event) => event.detail.id === lensId && limits && later());
  watch("value", () => {
    const value = props.value;
    if (!limits || !value || value.k === undefined) return;
    [now.n1, now.k] = [value.n1 ?? now.n1, value.k];
    apply();
    sent = text();
  });
  if (lens()?.ready()) adopt(false);
}
