import { showState } from "./state.js";
import { find } from "./text.js";

/**
 * Native sliders beside the lens: every step redraws it at once, and the server hears of a choice when it has settled.
 */

const SETTLE = 350; // milliseconds after the last key
/** @type {Record<string, number>} */
const LEAST = { n1: 2, k: 1 }; // a first stage of "1" would be read as a share, the whole

/**
 * @param {HTMLElement} element
 * @param {{value: any}} props
 * @param {(name: string) => void} trigger
 * @param {(name: string, then: () => void) => void} watch
 * @param {string} id of the component around `element`
 * @param {string} lensId
 */
export function mountControls(element, props, trigger, watch, id, lensId) {
  const root = find(element, ".controls");
  const $ = (/** @type {string} */ query) => find(root, query);
  const inputs = [...root.querySelectorAll("input")];
  /** @type {Record<string, number>} */
  const now = { n1: 1, k: 1 };
  /** @type {ReturnType<LensHandle["limits"]>} */
  let limits = null;
  let sent = "";
  let timer = 0;
  let held = false;
  let due = false; // a choice was made of which the server has not heard
  const lens = () => window.trimviz?.[lensId];
  const text = (/** @type {number[]|null} */ byHand) => JSON.stringify([now.n1, now.k, byHand]);

  /** Take over what the lens shows; a new picture or method starts from the run that came with it, or where a hand is. */
  function adopt(/** @type {boolean} */ same) {
    const host = element.closest("#" + id) ?? element;
    const dock = lens()?.dock;
    if (dock && host.parentElement !== dock) dock.append(host);
    limits = lens()?.limits() ?? null;
    root.dataset.state = limits ? "ready" : "empty";
    if (!limits) return;
    if (due) [now.n1, now.k] = [Math.min(now.n1, limits.n), Math.min(now.k, limits.n)];
    else if (!same) [now.n1, now.k] = [limits.n1, limits.k];
    for (const one of inputs) [one.min, one.max] = [String(LEAST[one.dataset.name ?? ""]), String(limits.n)];
    $(".first").hidden = !limits.staged;
    $(".paper").hidden = !limits.paper;
    apply();
    if (!same) sent = due ? "" : text(null);
  }

  /** Redraw the lens and show what it really drew. */
  function apply() {
    const drawn = lens()?.set(now.n1, now.k);
    if (!drawn || !limits) return;
    if (limits.staged) now.n1 = drawn.n1;
    for (const one of inputs) {
      const value = String(now[one.dataset.name ?? ""]);
      if (one.value !== value && (one !== document.activeElement || one.type === "range")) one.value = value;
    }
    for (const name of ["n1", "k"]) {
      find(root, '.part[data-name="' + name + '"]').textContent = ((100 * now[name]) / limits.n).toFixed(1) + " %";
    }
  }

  function flush() {
    window.clearTimeout(timer);
    timer = 0;
    due = false;
    const kept = lens()?.byHand() ?? null;
    if (!limits) return;
    if (text(kept) === sent) {
      window.dispatchEvent(new CustomEvent("trimviz:settled")); // where it was before: nothing to answer
      return;
    }
    sent = text(kept);
    showState({ k: now.k, n1: limits.staged ? now.n1 : null });
    props.value = { n1: now.n1, k: now.k, kept };
    trigger("commit");
  }

  function later() {
    window.clearTimeout(timer);
    if (!held) timer = window.setTimeout(flush, SETTLE);
  }

  /** @param {string} name @param {number} value */
  function move(name, value) {
    if (!limits || !Number.isFinite(value)) return;
    due = true;
    now[name] = Math.max(LEAST[name], Math.min(limits.n, Math.round(value)));
    apply();
    later();
  }

  for (const one of inputs) {
    const name = one.dataset.name ?? "";
    one.addEventListener("input", () => one.value !== "" && move(name, Number(one.value)));
    if (one.type === "range") {
      one.addEventListener("pointerdown", () => (held = true));
      for (const end of ["pointerup", "pointercancel"]) {
        one.addEventListener(end, () => {
          held = false;
          window.setTimeout(flush, 0); // after the last input event
        });
      }
    } else {
      one.addEventListener("blur", apply);
      one.addEventListener("keydown", (event) => {
        if (event.key !== "Enter") return;
        one.blur();
        flush();
      });
    }
  }
  root.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest("button");
    if (!button || !limits) return;
    if (button.dataset.share) move("k", limits.n / Number(button.dataset.share));
    else if (limits.paper) {
      now.n1 = limits.paper.n1;
      move("k", limits.paper.k);
    }
  });
  window.addEventListener("trimviz:loaded", (event) => event.detail.id === lensId && adopt(event.detail.same));
  window.addEventListener("trimviz:edited", (event) => event.detail.id === lensId && limits && later());
  watch("value", () => {
    const value = props.value;
    if (!limits || value?.k === undefined) return;
    [now.n1, now.k] = [value.n1 ?? now.n1, value.k];
    apply();
    sent = text(lens()?.byHand() ?? null);
  });
  if (lens()?.ready()) adopt(false);
}
