import { unpackAll } from "./codec.js";
import { readState, showState } from "./state.js";
import { keptTokens, openTable, select, selectionOf } from "./table.js";
import { cellAt, cellBox, frameOf, locate, losesMargin, lostShare, place, stepCell } from "./geometry.js";
import { cssOf, rangeOf } from "./colour.js";
import { countPadding, curveOf, nearest, ranksOf, sharedFirst, similarityRow } from "./facts.js";
import { compareSets } from "./diff.js";
import { groupsOf, maskLook, orderLook, scoreLook, NUMBERED, veilOf } from "./looks.js";
import { paintCurve, paintPanel } from "./paint.js";
import { escapeHtml, percent, plain, pretty, shown, strength } from "./text.js";

/**
 * The component: views, panels, the player, what can be asked of a patch.
 *
 * @typedef {{id: string, kind: "score"|"stage"|"order"|"similar", index: number, name: string}} View
 */

const LIGHT = {
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
const DARK = {
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
const COVER = 0.8; // of a score's colour over the grey picture
const KEPT = "kept"; // the view of the final set
const PAGE = 100; // rows of the table at a time
const FEW = 3; // panels up to this many share the width, more become a strip
const STRIP = 148; // CSS pixels of a panel in a strip

/**
 * Give life to the component's static HTML; `props.value` is a payload, and `watch` tells of a new one.
 * @param {HTMLElement} element
 * @param {{value: any}} props
 * @param {(name: string, then: () => void) => void} watch
 * @param {string} id under which the controls find it
 */
export function mountLens(element, props, watch, id) {
  const root = element.querySelector(".lens");
  const $ = (query) => root.querySelector(query);
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  let data = null;
  let views = [];
  let sheets = [];
  let selection = null;
  let curve = null;
  let row = null; // similarities of the token asked about
  let arrivals = 0;
  let frameAsked = 0;
  let timer = 0;
  let page = 0;
  let restored = false;
  const state = {
    view: "", all: false, margin: false, edit: false, hover: -1, pin: -1, panel: 0, cell: 0, step: null, word: -1,
    k: 1, n1: 1, flips: new Set(),
  }; // prettier-ignore

  // --- data in ------------------------------------------------------------------------------------------------

  async function load(value) {
    const mine = ++arrivals;
    if (typeof value === "string") value = value.startsWith("{") ? JSON.parse(value) : null;
    if (!value || !value.panels) {
      data = null;
      root.dataset.state = "empty";
      return;
    }
    const fresh = await unpackAll(value);
    const images = await Promise.all(fresh.panels.map((panel) => picture(panel.picture)));
    const originals = await Promise.all(fresh.originals.map((one) => picture(one.picture)));
    if (mine !== arrivals) return; // a newer value won
    const same = data !== null && data.key === fresh.key;
    data = fresh;
    data.images = images;
    fresh.originals.forEach((one, index) => Object.assign(one, originals[index]));
    data.table = fresh.table && openTable(fresh.table);
    data.names = data.stages.length > 1 ? data.stages.map((stage) => stage.name) : ["first stage", data.stages[0]?.name ?? "kept"];
    data.where = locate(data.panels, data.n);
    for (const score of data.scores) {
      score.range = rangeOf(score.values);
      score.ranks = ranksOf(score.values);
    }
    readExplanation();
    if (!same) {
      Object.assign(state, { hover: -1, pin: -1, step: null, word: -1, flips: new Set(), k: data.run.k, n1: data.run.n1 });
      const seat = data.panels.findIndex((panel) => panel.token.some((token) => token >= 0));
      state.panel = Math.max(0, seat);
      state.cell = Math.max(0, data.panels[state.panel].token.findIndex((token) => token >= 0));
    }
    if (!restored) restore();
    choose();
    listViews();
    root.dataset.state = "ready";
    const held = root.contains(document.activeElement) ? document.activeElement.getAttribute("aria-activedescendant") : null;
    build();
    if (held) document.getElementById(held)?.closest("figure")?.focus({ preventScroll: true });
    window.dispatchEvent(new CustomEvent("trimviz:loaded", { detail: { id, same } }));
  }

  function readExplanation() {
    const told = data.explanation;
    if (!told) return;
    const { low, step, steps } = told.distances;
    const closeness = Float32Array.from(steps, (level) => -(low + step * level)); // brighter is closer
    told.range = rangeOf(closeness);
    told.closeness = told.words.map((_, word) => closeness.subarray(word * data.n, (word + 1) * data.n));
    told.otherRanks = Object.fromEntries(Object.entries(told.unrelated_scores).map(([name, values]) => [name, ranksOf(values)]));
  }

  async function picture(source) {
    const image = new Image();
    image.src = source;
    await image.decode();
    return { image, sized: new Map() };
  }

  /** What the address asks for, once. */
  function restore() {
    restored = true;
    const asked = readState(window.location.search);
    if (asked.view) state.view = asked.view;
    if (asked.view === "all") [state.all, state.view] = [true, ""];
    if (asked.pin !== undefined && asked.pin < data.n && data.where.cellOf[asked.pin] >= 0) state.pin = asked.pin;
    if (asked.word !== undefined && asked.word < (data.explanation?.words.length ?? 0)) state.word = asked.word;
    for (const token of asked.flip ?? []) if (token < data.n) state.flips.add(token);
  }

  function choose() {
    selection = data.table ? select(data.table, data.names, state.n1, state.k) : selectionOf(data.stages, data.n, data.run.k);
    state.n1 = selection.n1;
    if (state.step !== null) state.step = Math.min(state.step, selection.order.length);
    chooseCurve();
  }

  /** One value a pick: what a method without a table recorded itself, else the mean similarity to the picks before. */
  function chooseCurve() {
    const film = data.table ? undefined : Object.entries(data.stages[data.stages.length - 1]?.film ?? {})[0];
    curve = null;
    if (film && film[1].length === selection.order.length) curve = { name: film[0], values: film[1] };
    else if (data.explanation && selection.order.length) {
      curve = { name: "mean similarity to the set", values: curveOf(data.explanation.similarity, selection.order, data.n) };
    }
  }

  function listViews() {
    views = [
      ...data.scores.map((score, index) => ({ id: "score" + index, kind: "score", index, name: score.name })),
      ...selection.steps.map((step, index) => ({
        id: index === selection.steps.length - 1 ? KEPT : "stage" + index,
        kind: "stage",
        index,
        name: step.name,
      })),
    ];
    if (selection.order.length) views.push({ id: "order", kind: "order", index: 0, name: "Order" });
    if (state.pin >= 0 && data.explanation) views.push({ id: "similar", kind: "similar", index: 0, name: "Similar" });
    if (!views.some((view) => view.id === state.view)) state.view = KEPT;
    if (!views.some((view) => view.id === state.view)) state.view = views[0]?.id ?? "";
  }

  // --- the page -----------------------------------------------------------------------------------------------

  const theme = () => (element.closest(".dark") ? DARK : LIGHT);

  /** Make the elements that the present views need, then draw. */
  function build() {
    const bar = $(".views");
    bar.innerHTML = views.map((view) => radio("view", view.id, titleOf(view), !state.all && view.id === state.view)).join("");
    const told = data.explanation;
    const scored = data.scores.length > 0 && told && told.words.length > 0;
    $(".words").hidden = !scored;
    if (scored) {
      const chips = told.words.map((word, index) => radio("word", index, escapeHtml(word), state.word === index, "chip"));
      $(".words").innerHTML = "<span>Distance to</span>" + radio("word", -1, "all words", state.word < 0, "chip") + chips.join("");
    }
    press("all", state.all);
    press("margin", state.margin);
    press("edit", state.edit);
    const cropped = data.panels.some((panel) => losesMargin(panel, data.originals[panel.original]));
    $('[data-act="margin"]').hidden = !cropped;
    const shownViews = state.all ? views : views.filter((view) => view.id === state.view);
    const holder = $(".sheets");
    holder.className = "sheets" + (state.all ? " many" : "");
    holder.textContent = "";
    sheets = shownViews.flatMap((view) => buildView(holder, view));
    resize();
    $(".measures").hidden = !told;
    drawAll();
  }

  function radio(group, value, label, checked, kind = "") {
    const tab = checked ? "0" : "-1";
    return '<button type="button" role="radio" class="' + kind + '" data-' + group + '="' + value + '" aria-checked="' + checked +
      '" tabindex="' + tab + '">' + label + "</button>"; // prettier-ignore
  }

  function titleOf(view) {
    if (view.kind === "score") return pretty(view.name) + " map";
    if (view.kind === "similar") return "Like " + state.pin;
    return pretty(view.name);
  }

  function press(act, on) {
    $('[data-act="' + act + '"]').setAttribute("aria-pressed", String(on));
  }

  function buildView(holder, view) {
    const box = document.createElement("div");
    box.className = "sheet";
    box.innerHTML = "<h4>" + titleOf(view) + '</h4><div class="panels' + (data.panels.length > FEW ? " strip" : "") + '"></div>';
    holder.append(box);
    return data.panels.map((panel, index) => {
      const figure = document.createElement("figure");
      figure.className = "panel";
      figure.tabIndex = 0;
      figure.setAttribute("role", "grid");
      figure.setAttribute("aria-rowcount", String(panel.rows));
      figure.setAttribute("aria-colcount", String(panel.cols));
      const name = id + "-" + view.id + "-" + index;
      figure.setAttribute("aria-activedescendant", name);
      figure.innerHTML = '<canvas aria-hidden="true"></canvas><div role="row" class="cell"><div role="gridcell" id="' + name + '"></div></div>';
      if (data.panels.length > 1) figure.innerHTML += '<figcaption aria-hidden="true">' + escapeHtml(panel.name) + "</figcaption>";
      box.lastElementChild.append(figure);
      const cells = document.createElement("canvas");
      [cells.width, cells.height] = [panel.cols, panel.rows];
      const sheet = {
        view, panel, index, figure, canvas: figure.firstElementChild, cells, cell: figure.querySelector("[role=gridcell]"),
        source: data.images[index], original: data.originals[panel.original], frame: null, ratio: 1,
      }; // prettier-ignore
      listen(sheet);
      return sheet;
    });
  }

  /** Fit the canvases into the width there is; true where one of them changed. */
  function resize() {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const strip = data.panels.length > FEW;
    const gap = 8;
    const room = (sheets[0]?.figure.closest(".sheet").clientWidth ?? 0) - gap * (data.panels.length - 1);
    if (room <= 0) return false;
    const frames = data.panels.map((panel) => frameOf(panel, data.originals[panel.original], state.margin));
    const weight = frames.map((_, index) => Math.sqrt(data.panels[index].cols));
    const sum = weight.reduce((a, b) => a + b, 0);
    let changed = false;
    for (const sheet of sheets) {
      const frame = frames[sheet.index];
      const shape = (frame.bottom - frame.top) / (frame.right - frame.left);
      const width = Math.floor(strip ? STRIP : Math.min((room * weight[sheet.index]) / sum, 760, (0.8 * Math.max(480, window.innerHeight)) / shape));
      const height = Math.round(width * shape);
      sheet.frame = frame;
      sheet.ratio = ratio;
      sheet.figure.style.width = width + "px";
      const { canvas } = sheet;
      if (canvas.width === Math.round(width * ratio) && canvas.height === Math.round(height * ratio)) continue;
      canvas.style.width = width + "px";
      canvas.style.height = height + "px";
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
      changed = true;
    }
    return changed;
  }

  // --- drawing ------------------------------------------------------------------------------------------------

  const asked = () => (state.hover >= 0 ? state.hover : state.pin);

  function lookOf(view, ink) {
    const how = { veil: ink.veil, flips: state.flips, step: state.step };
    if (view.kind === "stage") return maskLook(selection, view.index, how);
    if (view.kind === "order") return orderLook(selection, data.colours.viridis, how);
    const { values, range, map } = scaleOf(view);
    return scoreLook(values, range, map, COVER);
  }

  /** What a coloured view shows: values, range, colours, and words for the legend. */
  function scaleOf(view) {
    if (view.kind === "similar") {
      const values = similarityRow(data.explanation.similarity, state.pin, data.n);
      return { values, range: rangeOf(values, 0.02), map: data.colours.cividis, name: "cosine similarity to token " + state.pin, hint: "brighter = more alike" };
    }
    if (state.word >= 0 && view.index === 0) {
      const told = data.explanation;
      const name = "minus the distance to “" + told.words[state.word] + "”";
      return { values: told.closeness[state.word], range: told.range, map: data.colours.viridis, name, hint: "brighter = closer; one range for all words" };
    }
    const score = data.scores[view.index];
    return { values: score.values, range: score.range, map: data.colours.viridis, name: score.name, hint: "brighter = " + escapeHtml(score.higher) };
  }

  function draw() {
    frameAsked = 0;
    if (!data || !sheets.length) return;
    const ink = theme();
    const looks = new Map();
    const token = asked();
    const rings = [];
    for (const flipped of state.flips) rings.push({ token: flipped, style: "hand" });
    const spots = [];
    if (token >= 0) {
      const near = nearestKept(token);
      if (near >= 0) rings.push({ token: near, style: "near" });
      const owner = selection.owner;
      if (owner && owner[token] >= 0) {
        for (let other = 0; other < data.n; other++) if (owner[other] === owner[token] && other !== token) rings.push({ token: other, style: "source" });
      }
    }
    if (state.pin >= 0) rings.push({ token: state.pin, style: "pin" });
    if (state.hover >= 0 && state.hover !== state.pin) rings.push({ token: state.hover, style: "focus" });
    const last = state.step ? selection.order[state.step - 1] : -1;
    for (const sheet of sheets) {
      if (!looks.has(sheet.view.id)) looks.set(sheet.view.id, lookOf(sheet.view, ink));
      const final = sheet.view.kind === "order" || (sheet.view.kind === "stage" && sheet.view.index === selection.steps.length - 1);
      const map = sheet.view.kind === "similar" ? data.colours.cividis : data.colours.viridis;
      paintPanel(sheet, looks.get(sheet.view.id), {
        theme: ink,
        map,
        rings: final && last >= 0 ? [...rings, { token: last, style: "pick" }] : rings,
        spots: spotsFor(sheet, token),
        cellOf: data.where.cellOf,
        panelOf: data.where.panelOf,
        index: sheet.index,
        sources: final && selection.owner ? groupsOf(selection.owner) : null,
      });
    }
  }

  /** The same place of the same picture in another panel. */
  function spotsFor(sheet, token) {
    if (token < 0 || data.where.cellOf[token] < 0) return [];
    const home = data.panels[data.where.panelOf[token]];
    if (home === sheet.panel || (home.original !== sheet.panel.original && data.originals.length === data.panels.length && !alike(home, sheet.panel))) return [];
    return [{ box: cellBox(home, data.where.cellOf[token]), style: "same" }];
  }

  /** Frames of one film: boxes that are equal. */
  function alike(a, b) {
    return a.box.every((edge, index) => Math.abs(edge - b.box[index]) < 1);
  }

  function soon() {
    if (!frameAsked) frameAsked = requestAnimationFrame(draw);
  }

  function drawAll() {
    draw();
    drawCurve();
    tellCount();
    tellLegend();
    tellMeasures();
    tellEdits();
    labelCells();
    if ($(".data").open) fillTable();
  }

  /** After a slider moved: everything that depends on the selection. */
  function redraw() {
    choose();
    draw();
    drawCurve();
    tellCount();
    tellMeasures();
    if ($(".data").open) fillTable();
  }

  function drawCurve() {
    const many = selection.order.length;
    $(".player").hidden = many === 0;
    if (!many) return;
    const at = state.step ?? many;
    const scrub = $(".scrub");
    scrub.max = String(many);
    scrub.value = String(at);
    $(".at").textContent = at + " of " + many;
    $(".graph").hidden = !curve || many < 3;
    if (!curve || many < 3) return;
    const canvas = $(".curve");
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const width = Math.round(canvas.clientWidth * ratio);
    if (width && canvas.width !== width) [canvas.width, canvas.height] = [width, Math.round(46 * ratio)];
    const { low, high } = paintCurve(canvas, curve.values, at, theme().curve, ratio);
    $(".low").textContent = shown(low);
    $(".high").textContent = shown(high);
    const now = curve.values[at - 1];
    $(".axis").textContent = curve.name + (Number.isNaN(now) ? "" : ", pick " + at + ": " + shown(now));
    canvas.setAttribute("aria-label", curve.name + " at each pick, from " + shown(low) + " to " + shown(high));
  }

  function tellCount() {
    const parts = ["<b>" + data.n + "</b> visual tokens"];
    const flipped = state.flips.size > 0;
    selection.steps.forEach((step, index) => {
      const last = index === selection.steps.length - 1;
      const count = last && flipped ? keptTokens(selection, state.flips).length : step.count;
      parts.push("<b>" + count + "</b> " + pretty(step.name) + " (" + percent(count, data.n) + ")");
    });
    const kept = keptTokens(selection, state.flips);
    const padding = countPadding(data.panels, kept);
    const all = Array.from({ length: data.n }, (_, token) => token);
    const asides = [];
    if (countPadding(data.panels, all)) asides.push(padding + " of " + kept.length + " kept tokens are padding");
    const placeless = all.filter((token) => data.where.cellOf[token] < 0);
    if (placeless.length) {
      const stay = kept.filter((token) => data.where.cellOf[token] < 0).length;
      asides.push(placeless.length + " tokens, such as the marks at the ends of lines, stand in no cell; " + stay + " of them are kept");
    }
    if (state.margin) {
      const panel = data.panels.find((one) => losesMargin(one, data.originals[one.original]));
      if (panel) asides.push(percent(lostShare(panel, data.originals[panel.original]), 1) + " of the picture is never seen by the model");
    }
    const text = parts.join(" → ") + (asides.length ? "<small>" + asides.join(". ") + ".</small>" : "");
    if ($(".count").innerHTML !== text) $(".count").innerHTML = text;
    const pending = $(".pending");
    pending.hidden = Boolean(data.table) || state.k === data.run.k;
    if (!pending.hidden) pending.textContent = "Shown is the set for keep " + data.run.k + ". This method has to run again to tell the set for keep " + state.k + ": let the slider go.";
  }

  function tellEdits() {
    const note = $(".editing");
    const changed = state.flips.size;
    note.hidden = !state.edit && changed === 0;
    if (note.hidden) return;
    const before = keptTokens(selection);
    const { added, removed } = compareSets(before, keptTokens(selection, state.flips));
    const told = changed ? added.length + " put in, " + removed.length + " taken out by hand." : "Click a patch, or press x on it, to put it in or take it out.";
    note.innerHTML = told + (changed ? '<button type="button" data-act="method">Back to the method</button>' : "");
  }

  function tellLegend() {
    const legend = $(".legend");
    legend.textContent = "";
    const shownViews = state.all ? views : views.filter((view) => view.id === state.view);
    if (shownViews.some((view) => view.kind === "stage" || view.kind === "order")) {
      const stages = selection.steps.length;
      const masks = shownViews.filter((view) => view.kind === "stage");
      if (masks.length) key("kept", (pen, ink) => frame(pen, ink));
      const upto = masks.length ? Math.max(...masks.map((view) => view.index)) : stages - 1;
      for (let stage = upto; stage >= 0; stage--) {
        key("left at " + pretty(selection.steps[stage].name), (pen, ink) => veil(pen, ink, stage, stages));
      }
      if (masks.length && selection.owner && groupsOf(selection.owner).some((group) => group > 0)) key("one outline colour = merged into one token", null);
    }
    if (data.panels.some((panel) => panel.content.some((one) => one === 0))) key("padding", (pen, ink) => pad(pen, ink));
    for (const view of shownViews) {
      if (view.kind === "order") ramp(data.colours.viridis, "pick " + selection.order.length, "pick 1", "brighter = earlier; the first " + NUMBERED + " are numbered", true);
      else if (view.kind !== "stage") {
        const { range, map, name, hint } = scaleOf(view);
        ramp(map, (range.below ? "≤ " : "") + shown(range.low), (range.above ? "≥ " : "") + shown(range.high), pretty(name) + ": " + hint);
      }
    }

    function key(label, fill) {
      const one = document.createElement("span");
      one.className = "key";
      if (fill) {
        const swatch = document.createElement("canvas");
        swatch.className = "swatch";
        [swatch.width, swatch.height] = [36, 36];
        const pen = swatch.getContext("2d");
        pen.drawImage(data.images[0].image, 0, 0, 36, 36);
        fill(pen, theme());
        one.append(swatch);
      }
      one.insertAdjacentHTML("beforeend", "<span>" + label + "</span>");
      legend.append(one);
    }

    function ramp(map, low, high, label) {
      const one = document.createElement("span");
      one.className = "key";
      one.innerHTML = '<span class="ramp"><span>' + low + "</span><canvas></canvas><span>" + high + "</span></span><span>" + label + "</span>";
      const bar = one.querySelector("canvas");
      [bar.width, bar.height] = [256, 1];
      const pen = bar.getContext("2d");
      for (let level = 0; level < 256; level++) {
        pen.fillStyle = cssOf(map, level);
        pen.fillRect(level, 0, 1, 1);
      }
      legend.append(one);
    }

    function frame(pen, ink) {
      pen.lineWidth = 6;
      pen.strokeStyle = ink.kept;
      pen.strokeRect(3, 3, 30, 30);
    }

    function veil(pen, ink, stage, stages) {
      pen.fillStyle = "rgba(" + ink.veil.join() + "," + veilOf(stage, stages) + ")";
      pen.fillRect(0, 0, 36, 36);
      if (stage === 0) strokes(pen, ink.hatch, true);
    }

    function pad(pen, ink) {
      pen.fillStyle = "rgb(" + ink.veil.join() + ")";
      pen.fillRect(0, 0, 36, 36);
      strokes(pen, ink.pad, false);
    }

    function strokes(pen, colour, rising) {
      pen.strokeStyle = colour;
      pen.lineWidth = 2;
      pen.beginPath();
      for (let shift = -36; shift <= 36; shift += 10) {
        pen.moveTo(shift, rising ? 36 : 0);
        pen.lineTo(shift + 36, rising ? 0 : 36);
      }
      pen.stroke();
    }
  }

  function tellMeasures() {
    const told = data.explanation;
    if (!told) return;
    const names = Object.keys(told.correlation);
    $(".measures summary").innerHTML = names.length ? "What " + names.map(pretty).join(", ") + " really measures" : "The tokens of this picture";
    const lines = [];
    for (const name of names) {
      const rho = told.correlation[name];
      const score = data.scores.find((one) => one.name === name);
      if (rho === null) lines.push(pretty(name) + " is the same for all tokens.");
      else {
        lines.push(
          "Ranking tokens by " + pretty(name) + " and by shortness (minus the length of the token's vector) gives <b>" + strength(rho) +
            "</b>: rank correlation " + shown(rho) + ". Near 1 it says that the score mostly drops the longest vectors, whatever the question.",
        ); // prettier-ignore
      }
      if (score && told.otherRanks[name] && data.table) {
        const count = selection.n1;
        const shared = sharedFirst(score.ranks, told.otherRanks[name], count);
        const chance = Math.round((count * count) / data.n);
        lines.push(
          "Asked “" + escapeHtml(told.unrelated) + "” instead, <b>" + shared + " of the " + count + "</b> tokens with the highest " + pretty(name) +
            " are the same (" + percent(shared, count) + "; by chance " + chance + ").",
        ); // prettier-ignore
      }
    }
    if (told.overlap !== null && data.stages.length) {
      lines.push("The set after " + pretty(data.stages[0].name) + " of the run shares " + percent(told.overlap, 1) + " with the one for that question.");
    }
    const [low, high] = told.norms.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    lines.push("Lengths of the visual tokens run from " + shown(low) + " to " + shown(high) + ". Similarities here are cosines, told to within " + shown(told.similarity.error) + ".");
    const text = lines.map((line) => "<p>" + line + "</p>").join("");
    if ($(".told").innerHTML !== text) $(".told").innerHTML = text;
  }

  // --- one patch ----------------------------------------------------------------------------------------------

  function similarities(token) {
    if (!data.explanation) return null;
    if (!row || row.token !== token || row.key !== data.key) {
      row = { token, key: data.key, values: similarityRow(data.explanation.similarity, token, data.n) };
    }
    return row.values;
  }

  function nearestKept(token) {
    const values = similarities(token);
    return values ? nearest(values, keptTokens(selection, state.flips), token) : -1;
  }

  /** Where a token stands, counted from 1. */
  function spot(token) {
    const panel = data.panels[data.where.panelOf[token]];
    const cell = data.where.cellOf[token];
    if (!panel) return "in no cell";
    return "row " + (Math.floor(cell / panel.cols) + 1) + ", column " + ((cell % panel.cols) + 1);
  }

  function fate(token) {
    const stage = selection.left[token];
    if (state.flips.has(token)) return stage < 0 ? "Taken out by hand" : "Put in by hand";
    if (stage >= 0) return "Left at " + selection.steps[stage].name + ", stage " + (stage + 1) + " of " + selection.steps.length;
    const merged = selection.owner && groupsOf(selection.owner)[token];
    const tail = selection.pick[token] >= 0 ? ", pick " + (selection.pick[token] + 1) + " of " + selection.order.length : "";
    return (merged ? "Kept, merged with others" : "Kept") + tail;
  }

  /** Mean similarity of a token to the set it was compared with: those picked before it, or all that were kept. */
  function meanSimilarity(token) {
    const values = similarities(token);
    if (!values || !selection.order.length) return null;
    const before = selection.pick[token] >= 0 ? selection.pick[token] : selection.order.length;
    if (before === 0) return null;
    let sum = 0;
    for (let t = 0; t < before; t++) sum += values[selection.order[t]];
    return { mean: sum / before, before };
  }

  function facts(token) {
    const panel = data.panels[data.where.panelOf[token]];
    const lines = ["Token " + token + (panel && data.panels.length > 1 ? " (" + panel.name + ")" : "") + ", " + spot(token)];
    for (const score of data.scores) {
      const rank = score.ranks[token];
      lines.push(score.name + " " + shown(score.values[token]) + (rank ? ", rank " + rank + " of " + data.n : ""));
    }
    if (state.word >= 0) lines.push("Distance to “" + data.explanation.words[state.word] + "” " + shown(-data.explanation.closeness[state.word][token]));
    lines.push(fate(token));
    const similar = meanSimilarity(token);
    if (similar) lines.push("Mean similarity to the " + similar.before + " picked" + (selection.pick[token] >= 0 ? " before" : "") + " " + shown(similar.mean));
    const near = nearestKept(token);
    if (near >= 0) lines.push("Nearest kept: token " + near + " (" + spot(near) + "), " + shown(similarities(token)[near]));
    if (state.pin >= 0 && state.pin !== token) lines.push("Similarity to pinned token " + state.pin + " " + shown(similarities(token)[state.pin]));
    if (panel && !panel.content[data.where.cellOf[token]]) lines.push("This cell holds only padding");
    return lines;
  }

  const spoken = (token) => facts(token).map(plain).join(". ");

  function showTip(sheet) {
    const tip = $(".tip");
    const token = asked();
    if (token < 0 || !sheet) {
      tip.hidden = true;
      return;
    }
    const [head, ...rest] = facts(token);
    tip.innerHTML = "<b>" + escapeHtml(head) + "</b>" + rest.map(pretty).join("<br>");
    tip.hidden = false;
    const outer = root.getBoundingClientRect();
    const inner = sheet.canvas.getBoundingClientRect();
    const home = data.panels[data.where.panelOf[token]];
    const at = place(cellBox(home, data.where.cellOf[token]), sheet.frame, inner.width);
    const left = inner.left - outer.left + at.x;
    const top = inner.top - outer.top + at.y;
    const room = { width: tip.offsetWidth, height: tip.offsetHeight };
    const beside = left + at.width + 10;
    const narrow = outer.width < 560;
    const x = narrow ? Math.max(0, Math.min(left, outer.width - room.width)) : beside + room.width <= outer.width ? beside : left - room.width - 10;
    let y = narrow ? top + at.height + 10 : Math.max(0, top - 8);
    if (narrow && y + room.height > inner.bottom - outer.top && top - room.height - 10 > 0) y = top - room.height - 10;
    tip.style.left = Math.max(0, x) + "px";
    tip.style.top = y + "px";
  }

  function say(text) {
    $(".live").textContent = text;
  }

  function labelCells() {
    const kept = keptTokens(selection, state.flips).length;
    for (const sheet of sheets) {
      const { panel, view } = sheet;
      const name = plain(view.name) + " on " + panel.name;
      sheet.figure.setAttribute("aria-label", name + ": " + panel.rows + " rows, " + panel.cols + " columns, " + kept + " of " + data.n + " visual tokens kept");
      const here = sheet.index === state.panel ? state.cell : Math.max(0, panel.token.findIndex((token) => token >= 0));
      const token = panel.token[here];
      sheet.cell.setAttribute("aria-colindex", String((here % panel.cols) + 1));
      sheet.cell.parentElement.setAttribute("aria-rowindex", String(Math.floor(here / panel.cols) + 1));
      sheet.cell.setAttribute("aria-selected", String(token === state.pin));
      sheet.cell.textContent = token < 0 ? "no token" : spoken(token);
    }
  }

  function tokenAt(sheet, event) {
    const inner = sheet.canvas.getBoundingClientRect();
    const [left, top, right, bottom] = sheet.panel.box;
    const area = place({ left, top, right, bottom }, sheet.frame, inner.width);
    const cell = cellAt(sheet.panel, area, event.clientX - inner.left, event.clientY - inner.top);
    return { cell, token: cell < 0 ? -1 : sheet.panel.token[cell] };
  }

  function listen(sheet) {
    const { figure, canvas } = sheet;
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      const { token } = tokenAt(sheet, event);
      if (token === state.hover) return;
      state.hover = token;
      soon();
      showTip(sheet);
    });
    canvas.addEventListener("pointerleave", () => {
      if (state.hover < 0) return;
      state.hover = -1;
      soon();
      showTip(state.pin >= 0 ? sheet : null);
    });
    canvas.addEventListener("click", (event) => {
      const { cell, token } = tokenAt(sheet, event);
      if (token < 0) return;
      [state.panel, state.cell] = [sheet.index, cell];
      if (state.edit) flip(token);
      else pin(token === state.pin ? -1 : token, sheet);
    });
    figure.addEventListener("focus", () => {
      if (!figure.matches(":focus-visible")) return;
      goTo(sheet, sheet.index === state.panel ? state.cell : sheet.panel.token.findIndex((token) => token >= 0));
    });
    figure.addEventListener("blur", () => {
      state.hover = -1;
      soon();
      showTip(null);
    });
    figure.addEventListener("keydown", (event) => onGridKey(sheet, event));
  }

  function goTo(sheet, cell) {
    if (cell < 0) return;
    [state.panel, state.cell] = [sheet.index, cell];
    state.hover = sheet.panel.token[cell];
    soon();
    labelCells();
    showTip(sheet);
  }

  function onGridKey(sheet, event) {
    const { panel } = sheet;
    const cell = state.cell;
    const row = Math.floor(cell / panel.cols);
    const first = (from, to) => {
      const step = from <= to ? 1 : -1;
      for (let c = from; c !== to + step; c += step) if (panel.token[c] >= 0) return c;
      return cell;
    };
    const moves = {
      ArrowRight: () => stepCell(panel, cell, 0, 1),
      ArrowLeft: () => stepCell(panel, cell, 0, -1),
      ArrowDown: () => stepCell(panel, cell, 1, 0),
      ArrowUp: () => stepCell(panel, cell, -1, 0),
      Home: () => (event.ctrlKey ? first(0, panel.token.length - 1) : first(row * panel.cols, (row + 1) * panel.cols - 1)),
      End: () => (event.ctrlKey ? first(panel.token.length - 1, 0) : first((row + 1) * panel.cols - 1, row * panel.cols)),
    };
    const token = panel.token[cell];
    if (moves[event.key]) goTo(sheet, moves[event.key]());
    else if (event.key === "Enter" && token >= 0) pin(token === state.pin ? -1 : token, sheet);
    else if (event.key === "x" && token >= 0) flip(token);
    else if (event.key === " ") play(!timer);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function pin(token, sheet) {
    const was = state.pin;
    state.pin = token;
    if (token >= 0 && was < 0) state.before = state.view;
    if (token < 0 && state.view === "similar") state.view = state.before ?? "";
    if (token >= 0 && data.explanation) state.view = "similar";
    const focused = root.contains(document.activeElement) && document.activeElement.getAttribute("role") === "grid";
    listViews();
    build();
    const twin = sheets.find((one) => one.index === sheet?.index && (state.all ? one.view.id === sheet.view.id : true)) ?? sheets[0];
    if (focused) twin.figure.focus({ preventScroll: true });
    showTip(token >= 0 ? twin : null);
    say(token < 0 ? "Let go." : "Pinned. " + spoken(token));
    remember();
  }

  function flip(token) {
    if (!state.flips.delete(token)) state.flips.add(token);
    if (keptTokens(selection, state.flips).length === 0) {
      state.flips.delete(token);
      say("At least one token has to stay.");
      return;
    }
    drawAll();
    say(fate(token) + ": token " + token + ", " + spot(token));
    edited();
  }

  function edited() {
    remember();
    window.dispatchEvent(new CustomEvent("trimviz:edited", { detail: { id } }));
  }

  function remember() {
    showState({
      view: state.all ? "all" : state.view,
      pin: state.pin < 0 ? null : state.pin,
      word: state.word < 0 ? null : state.word,
      flip: [...state.flips],
    });
  }

  // --- the player ---------------------------------------------------------------------------------------------

  function goStep(step) {
    const many = selection.order.length;
    if (!many) return;
    state.step = Math.max(1, Math.min(many, step));
    if (state.step === many) state.step = null;
    const view = views.find((one) => one.id === state.view);
    const moving = view && (view.kind === "order" || view.id === KEPT);
    if (!state.all && !moving) {
      state.view = "order";
      build();
      return;
    }
    draw();
    drawCurve();
  }

  function play(on) {
    window.clearInterval(timer);
    timer = 0;
    $('[data-act="play"]').setAttribute("aria-pressed", String(on));
    if (!on || !selection.order.length) return;
    const many = selection.order.length;
    const pace = calm.matches ? 1000 : Math.max(30, Math.min(220, 9000 / many));
    let at = state.step ?? 0;
    timer = window.setInterval(() => {
      at += 1;
      goStep(at);
      if (at >= many) play(false);
    }, pace);
  }

  // --- the table ----------------------------------------------------------------------------------------------

  function fillTable() {
    const pages = Math.ceil(data.n / PAGE);
    page = Math.max(0, Math.min(pages - 1, page));
    const heads = ["Token", "Panel", "Row", "Column", ...data.scores.map((score) => pretty(score.name)), "State", "Pick"];
    const rows = [];
    for (let token = page * PAGE; token < Math.min(data.n, (page + 1) * PAGE); token++) {
      const panel = data.panels[data.where.panelOf[token]];
      const cell = data.where.cellOf[token];
      const seat = panel ? [panel.name, Math.floor(cell / panel.cols) + 1, (cell % panel.cols) + 1] : ["none", "", ""];
      const pick = selection.pick[token];
      const stage = selection.left[token];
      const what = state.flips.has(token) ? fate(token) : stage < 0 ? "kept" : "left at " + selection.steps[stage].name;
      rows.push([token, ...seat, ...data.scores.map((score) => shown(score.values[token])), what, pick < 0 ? "" : pick + 1]);
    }
    $(".pages").innerHTML =
      '<div class="pager"><button type="button" data-act="earlier"' + (page === 0 ? " disabled" : "") + ">Previous</button>" +
      "<span>Tokens " + page * PAGE + " to " + (Math.min(data.n, (page + 1) * PAGE) - 1) + " of " + data.n + "</span>" +
      '<button type="button" data-act="later"' + (page === pages - 1 ? " disabled" : "") + ">Next</button></div>" +
      "<table><thead><tr>" + heads.map((head) => '<th scope="col">' + head + "</th>").join("") + "</tr></thead><tbody>" +
      rows.map((cells) => "<tr>" + cells.map((text) => "<td>" + pretty(String(text)) + "</td>").join("") + "</tr>").join("") +
      "</tbody></table>"; // prettier-ignore
  }

  // --- wiring -------------------------------------------------------------------------------------------------

  const acts = {
    all: () => ((state.all = !state.all), build(), remember()),
    margin: () => ((state.margin = !state.margin), build()),
    edit: () => {
      state.edit = !state.edit;
      if (state.edit && !state.all) state.view = KEPT;
      build();
    },
    method: () => (state.flips.clear(), drawAll(), edited()),
    first: () => goStep(1),
    back: () => goStep((state.step ?? selection.order.length) - 1),
    forth: () => goStep((state.step ?? 0) + 1),
    last: () => goStep(selection.order.length),
    play: () => play(!timer),
    earlier: () => (page--, fillTable()),
    later: () => (page++, fillTable()),
  };

  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button || !data) return;
    if (button.dataset.act) {
      if (button.dataset.act !== "play") play(false);
      acts[button.dataset.act]();
    } else if (button.dataset.view) {
      [state.view, state.all] = [button.dataset.view, false];
      build();
      refocus("view", state.view);
      remember();
    } else if (button.dataset.word) {
      state.word = Number(button.dataset.word);
      if (!state.all) state.view = "score0";
      build();
      refocus("word", state.word);
      remember();
    }
  });

  function refocus(group, value) {
    root.querySelector("[data-" + group + '="' + value + '"]')?.focus({ preventScroll: true });
  }

  root.addEventListener("keydown", (event) => {
    if (!data) return;
    if (event.key === "[") acts.back();
    else if (event.key === "]") acts.forth();
    else if (event.key === "Escape" && state.pin >= 0) pin(-1, null);
    else if (event.target.getAttribute("role") === "radio" && /^Arrow/.test(event.key)) {
      const group = [...event.target.parentElement.querySelectorAll("[role=radio]")];
      const step = event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : -1;
      group[(group.indexOf(event.target) + step + group.length) % group.length].click();
    } else return;
    event.preventDefault();
  });

  $(".scrub").addEventListener("input", (event) => {
    play(false);
    goStep(Number(event.target.value));
  });
  $(".data").addEventListener("toggle", () => data && $(".data").open && fillTable());
  new ResizeObserver(() => {
    if (data && resize()) drawAll();
  }).observe(root);
  const watcher = new MutationObserver(() => data && drawAll());
  for (const one of [document.documentElement, document.body]) watcher.observe(one, { attributes: true, attributeFilter: ["class"] });

  (window.trimviz ??= {})[id] = {
    /** Move both sliders; the set is drawn before this returns, and what was really chosen comes back. */
    set(n1, k) {
      if (!data) return null;
      [state.n1, state.k] = [n1, k];
      redraw();
      return { n1: selection.n1, k: state.k };
    },
    /** What the controls need to know. */
    limits() {
      if (!data) return null;
      const { table, n, run, default: paper, names } = data;
      return { n, sizes: table && table.sizes.length > 1 ? [...table.sizes] : null, exact: Boolean(table), k: state.k, n1: state.n1, run: { k: run.k, n1: run.n1 }, paper, names };
    },
    kept: () => (data ? keptTokens(selection, state.flips) : []),
    byHand: () => (data && state.flips.size ? keptTokens(selection, state.flips) : null),
    order: () => (data ? [...selection.order] : []),
    pin: (token) => data && pin(token, sheets[0]),
    view(name) {
      state.view = name;
      state.all = name === "all";
      listViews();
      build();
    },
    ready: () => data !== null,
    dock: $(".dock"),
  };

  load(props.value);
  watch("value", () => load(props.value));
}
