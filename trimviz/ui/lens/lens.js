import { losesMargin } from "./geometry.js";
import { drawLegend } from "./legend.js";
import { openPayload } from "./open.js";
import { fateOf, spotOf } from "./patch.js";
import { mountPlayer } from "./player.js";
import { listen } from "./pointing.js";
import { ALL, KEPT, Scene } from "./scene.js";
import { buildSheets, fitSheets, labelSheets, paintSheets, spoken, titleOf } from "./sheets.js";
import { readState, showState } from "./state.js";
import { countOf, editsOf, measuresOf, measuresTitle, pendingOf } from "./telling.js";
import { escapeHtml, find } from "./text.js";
import { DARK, LIGHT } from "./themes.js";
import { showTip } from "./tip.js";
import { pagesOf, tableOf } from "./tokens.js";

/**
 * The component: takes payloads in, keeps the page's elements and the scene in step, and answers the controls.
 * @typedef {import("./sheets.js").Sheet} Sheet
 */

const NUMBER_FROM = 13; // CSS pixels of a cell that has room for a number

/**
 * Give life to the component's static HTML; `props.value` is a payload, and `watch` tells of a new one.
 * @param {HTMLElement} element
 * @param {{value: any}} props
 * @param {((name: string, then: () => void) => void)|null} watch null where no other payload will come
 * @param {string} id under which the controls find it
 */
export function mountLens(element, props, watch, id) {
  const root = find(element, ".lens");
  const $ = (/** @type {string} */ query) => find(root, query);
  /** @type {Scene|null} */
  let scene = null;
  /** @type {Sheet[]} */
  let sheets = [];
  let arrivals = 0;
  let frameAsked = 0;
  let page = 0;
  let viewBefore = "";
  // An address asks for what the server will send; without one there is nothing to wait for.
  let asked = window.location.search ? readState(window.location.search) : null;
  /** @type {Map<string, string>} */
  const told = new Map();

  const theme = () => (element.closest(".dark") ? DARK : LIGHT);
  const player = mountPlayer(root, () => scene, theme, stepped);

  // --- payloads -----------------------------------------------------------------------------------------------

  /** @param {any} value @param {boolean} sent by the server after the page opened */
  async function load(value, sent) {
    const mine = ++arrivals;
    if (typeof value === "string") value = value.startsWith("{") ? JSON.parse(value) : null;
    if (!value?.panels) {
      scene = null;
      root.dataset.state = "empty";
      return;
    }
    const data = await openPayload(value, scene?.data);
    if (mine !== arrivals) return; // a newer value won
    const same = scene?.data.key === data.key;
    if (scene && same) scene.refresh(data);
    else {
      const { view, all, margin, edit } = scene ?? { view: KEPT, all: false, margin: false, edit: false };
      scene = Object.assign(new Scene(data), { view, all, margin, edit });
      scene.listViews();
      player.play(false);
    }
    if (asked && (sent || !watch)) restore(scene);
    else if (!same && !asked) remember();
    root.dataset.state = "ready";
    const held = sheets.findIndex((sheet) => sheet.figure === document.activeElement);
    const standing = same && sheets.map((sheet) => sheet.view.id).join() === idsOf(scene).join();
    if (standing) {
      buildBars();
      drawAll();
    } else build();
    if (held >= 0) sheets[held]?.figure.focus({ preventScroll: true });
    window.dispatchEvent(new CustomEvent("trimviz:loaded", { detail: { id, same } }));
    if (scene.flips.size && !same) edited();
  }

  /** What the address asks for, once. @param {Scene} fresh */
  function restore(fresh) {
    const { data } = fresh;
    const { view, pin, word, flip, step, margin } = asked ?? {};
    asked = null;
    if (pin !== undefined && pin < data.n && data.where.cellOf[pin] >= 0) fresh.pin = pin;
    if (word !== undefined && data.told && word < data.told.words.length) fresh.word = word;
    if (step !== undefined && step > 0 && step < fresh.selection.order.length) fresh.step = step;
    for (const token of flip ?? []) if (token < data.n) fresh.flip(token);
    fresh.margin = margin === 1;
    fresh.all = view === ALL;
    if (view && !fresh.all) fresh.view = view;
    fresh.listViews();
  }

  function remember() {
    if (!scene || asked) return;
    const { all, view, pin, word, step, margin, flips } = scene;
    showState({
      view: all ? ALL : view === KEPT ? null : view,
      pin: pin < 0 ? null : pin,
      word: word < 0 ? null : word,
      step,
      margin: margin ? 1 : null,
      flip: [...flips],
    });
  }

  // --- the page's elements --------------------------------------------------------------------------------------

  /** The views of the sheets that there should be, one for each panel. @param {Scene} now */
  function idsOf(now) {
    return now.shown.flatMap((view) => now.data.panels.map(() => view.id));
  }

  /** Make the elements that the present views need, then draw. */
  function build() {
    if (!scene) return;
    buildBars();
    sheets = buildSheets($(".sheets"), scene, id);
    for (const sheet of sheets) listen(sheet, scene, hands);
    fitSheets(sheets, scene);
    drawAll();
  }

  /** Make the buttons above the picture. */
  function buildBars() {
    if (!scene) return;
    const { data, views, all, view, word } = scene;
    const shown = scene;
    $(".views").innerHTML = views
      .map((one) => radio("view", one.id, titleOf(one, shown), !all && one.id === view))
      .join("");
    if (all) find($(".views"), "[role=radio]").tabIndex = 0;
    const words = data.scores.length > 0 ? (data.told?.words ?? []) : [];
    $(".words").hidden = words.length === 0;
    const chips = words.map((one, index) => radio("word", index, escapeHtml(one), word === index, "chip"));
    $(".words").innerHTML =
      "<span>Distance to</span>" + radio("word", -1, "all words", word < 0, "chip") + chips.join("");
    for (const act of /** @type {const} */ (["all", "margin", "edit"])) {
      $('[data-act="' + act + '"]').setAttribute("aria-pressed", String(scene[act]));
    }
    $('[data-act="margin"]').hidden = !data.panels.some((panel) => losesMargin(panel, data.originals[panel.original]));
    $(".measures").hidden = !data.told;
  }

  /** @param {string} group @param {string|number} value @param {string} label @param {boolean} checked */
  function radio(group, value, label, checked, kind = "") {
    const tab = checked ? "0" : "-1";
    return (
      '<button type="button" role="radio" class="' +
      kind +
      '" data-' +
      group +
      '="' +
      value +
      '" aria-checked="' +
      checked +
      '" tabindex="' +
      tab +
      '">' +
      label +
      "</button>"
    );
  }

  /** @param {string} group @param {string|number} value */
  function refocus(group, value) {
    /** @type {HTMLElement|null} */ (root.querySelector("[data-" + group + '="' + value + '"]'))?.focus({
      preventScroll: true,
    });
  }

  /** Write HTML where it differs from what was written last. @param {string} query @param {string} html */
  function tell(query, html) {
    if (told.get(query) === html) return;
    told.set(query, html);
    $(query).innerHTML = html;
  }

  /** @param {string} text read aloud */
  function say(text) {
    $(".live").textContent = text;
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  function draw() {
    frameAsked = 0;
    if (scene) paintSheets(sheets, scene, theme());
  }

  function soon() {
    if (!frameAsked) frameAsked = requestAnimationFrame(draw);
  }

  function drawAll() {
    if (!scene) return;
    redraw();
    const width = sheets[0] ? sheets[0].canvas.clientWidth / sheets[0].panel.cols : 0;
    drawLegend($(".legend"), scene, theme(), width >= NUMBER_FROM);
    labelSheets(sheets, scene);
    tell(".measures summary", measuresTitle(scene));
  }

  /** After a slider moved: everything that depends on the selection. */
  function redraw() {
    if (!scene) return;
    draw();
    player.draw();
    tell(".count", countOf(scene));
    const pending = pendingOf(scene);
    tell(".pending", pending);
    $(".pending").hidden = !pending;
    tell(".editing", editsOf(scene));
    $(".editing").hidden = !scene.edit && scene.flips.size === 0;
    tellFolded();
  }

  /** What stands in folds, as far as they are open. */
  function tellFolded() {
    if (!scene) return;
    if (isOpen(".measures")) tell(".told", measuresOf(scene));
    if (isOpen(".data")) tell(".pages", tableOf(scene, page));
  }

  /** @param {string} query */
  function isOpen(query) {
    return /** @type {HTMLDetailsElement} */ ($(query)).open;
  }

  // --- what is done to it ---------------------------------------------------------------------------------------

  /** @type {import("./pointing.js").Hands} */
  const hands = {
    ask(token, sheet) {
      if (!scene) return;
      scene.hover = token;
      soon();
      showTip($(".tip"), scene, sheet);
    },
    go(sheet, cell) {
      if (!scene) return;
      [scene.panel, scene.cell] = [sheet.index, cell];
      hands.ask(sheet.panel.token[cell], sheet);
      labelSheets(sheets, scene);
    },
    press(sheet, cell) {
      if (!scene) return;
      [scene.panel, scene.cell] = [sheet.index, cell];
      const token = sheet.panel.token[cell];
      if (scene.edit) hands.flip(token);
      else hands.pin(token === scene.pin ? -1 : token, sheet);
    },
    pin,
    flip(token) {
      if (!scene) return;
      if (!scene.flip(token)) {
        say("At least one token has to stay.");
        return;
      }
      drawAll();
      const home = scene.data.where.panelOf[token];
      if (!$(".tip").hidden) showTip($(".tip"), scene, sheets.find((sheet) => sheet.index === home) ?? null);
      say(fateOf(scene, token) + ": token " + token + ", " + spotOf(scene, token));
      edited();
    },
    play: () => player.play(),
  };

  /** @param {number} token -1 lets go @param {Sheet|null} sheet */
  function pin(token, sheet) {
    if (!scene) return;
    if (token >= 0 && scene.pin < 0) viewBefore = scene.view;
    if (token < 0 && scene.view === "similar") scene.view = viewBefore;
    if (token >= 0 && scene.data.told) scene.view = "similar";
    scene.pin = token;
    const focused = sheets.some((one) => one.figure === document.activeElement);
    const all = scene.all;
    scene.listViews();
    build();
    const twin =
      sheets.find((one) => one.index === sheet?.index && (!all || one.view.id === sheet.view.id)) ?? sheets[0];
    if (focused) twin.figure.focus({ preventScroll: true });
    showTip($(".tip"), scene, token >= 0 ? twin : null);
    say(token < 0 ? "Let go." : "Pinned. " + spoken(scene, token));
    remember();
  }

  function edited() {
    remember();
    window.dispatchEvent(new CustomEvent("trimviz:edited", { detail: { id } }));
  }

  /** @param {Scene} moved */
  function stepped(moved) {
    const view = moved.views.find((one) => one.id === moved.view);
    if (!moved.all && !(view && moved.isFinal(view))) {
      moved.view = "order";
      build();
    } else {
      draw();
      player.draw();
    }
  }

  /** @type {Record<string, (scene: Scene) => void>} */
  const acts = {
    all: (now) => turn(() => (now.all = !now.all)),
    margin: (now) => turn(() => (now.margin = !now.margin)),
    edit: (now) =>
      turn(() => {
        now.edit = !now.edit;
        if (now.edit) now.view = KEPT;
      }),
    method(now) {
      now.unflip();
      drawAll();
      edited();
    },
    first: () => player.to(1),
    back: () => player.by(-1),
    forth: () => player.by(1),
    last: (now) => player.to(now.selection.order.length),
    play: () => player.play(),
    earlier: () => turnTo(page - 1),
    later: () => turnTo(page + 1),
  };
  const STEPS = new Set(["first", "back", "forth", "last"]);

  /** @param {() => void} change */
  function turn(change) {
    change();
    build();
    remember();
  }

  /** @param {number} wanted page of the table */
  function turnTo(wanted) {
    page = Math.max(0, Math.min(pagesOf(scene?.data.n ?? 1) - 1, wanted));
    tellFolded();
  }

  root.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest("button");
    if (!button || !scene) return;
    const { act, view, word } = button.dataset;
    if (act) {
      if (act !== "play") player.play(false);
      acts[act](scene);
      if (STEPS.has(act) || act === "play") remember();
    } else if (view) {
      [scene.view, scene.all] = [view, false];
      build();
      refocus("view", view);
      remember();
    } else if (word) {
      scene.word = Number(word);
      if (!scene.all) scene.view = "score0";
      build();
      refocus("word", word);
      remember();
    }
  });

  root.addEventListener("keydown", (event) => {
    if (!scene) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "[") player.by(-1);
    else if (event.key === "]") player.by(1);
    else if (event.key === "Escape" && scene.pin >= 0) pin(-1, null);
    else if (target.getAttribute("role") === "radio" && event.key.startsWith("Arrow")) {
      /** @type {HTMLElement[]} */
      const group = [...(target.parentElement?.querySelectorAll("[role=radio]") ?? [])].map(
        (one) => /** @type {HTMLElement} */ (one),
      );
      const step = event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : -1;
      group[(group.indexOf(target) + step + group.length) % group.length].click();
    } else return;
    event.preventDefault();
  });

  $(".scrub").addEventListener("change", remember);
  for (const fold of [".measures", ".data"]) $(fold).addEventListener("toggle", tellFolded);
  new ResizeObserver(() => {
    if (scene && fitSheets(sheets, scene)) drawAll();
  }).observe(root);
  const dusk = new MutationObserver(drawAll);
  for (const one of [document.documentElement, document.body])
    dusk.observe(one, { attributes: true, attributeFilter: ["class"] });

  window.trimviz ??= {};
  window.trimviz[id] = {
    set(n1, k) {
      if (!scene) return null;
      scene.move(n1, k);
      redraw();
      return { n1: scene.n1, k: scene.k };
    },
    limits() {
      if (!scene) return null;
      const { table, n, run, paper } = scene.data;
      return { n, staged: table !== null && table.sizes.length > 1, k: scene.k, n1: scene.n1, run, paper };
    },
    kept: () => scene?.kept ?? [],
    byHand: () => (scene?.flips.size ? scene.kept : null),
    order: () => (scene ? Array.from(scene.selection.order) : []),
    exact: () => scene !== null && !scene.approximate,
    pin: (token) => pin(token, sheets[0] ?? null),
    view(name) {
      if (!scene) return;
      [scene.view, scene.all] = [name, name === ALL];
      scene.listViews();
      build();
    },
    ready: () => scene !== null,
    dock: $(".dock"),
  };

  load(props.value, false);
  watch?.("value", () => load(props.value, true));
}
