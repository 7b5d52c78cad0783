/** Names and numbers in words, and elements by their names. */

/** @type {Record<string, string>} */
const GREEK = { alpha: "α", beta: "β", gamma: "γ", lambda: "λ", tau: "τ" };
/** @type {Record<string, string>} */
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** @param {string} text */
export function escapeHtml(text) {
  return text.replace(/[&<>"]/g, (letter) => ESCAPES[letter]);
}

/**
 * A name as HTML: what follows ^ is raised, Greek letters are written as such.
 * @param {string} name
 */
export function pretty(name) {
  return escapeHtml(greek(name)).replace(/\^([\w()]+)/g, "<sup>$1</sup>");
}

/**
 * A name as text alone, for labels and for reading aloud.
 * @param {string} name
 */
export function plain(name) {
  return greek(name).replaceAll("^", " ");
}

/** @param {string} name */
function greek(name) {
  return name.replace(/^[a-z]+/, (word) => GREEK[word] ?? word);
}

/**
 * A number with three significant digits, a true minus and no exponent in everyday sizes.
 * @param {number} value
 */
export function shown(value) {
  if (Number.isNaN(value)) return "none";
  const size = Math.abs(value);
  const text =
    size !== 0 && (size < 1e-3 || size >= 1e5)
      ? value.toExponential(2)
      : value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 3);
  return text.replace("-", "−");
}

/** A share as a percentage. @param {number} part @param {number} whole */
export function percent(part, whole) {
  return ((100 * part) / whole).toFixed(1) + " %";
}

/**
 * How far a rank correlation goes, in words.
 * @param {number} rho
 */
export function strength(rho) {
  const size = Math.abs(rho);
  return size >= 0.9
    ? "almost the same order"
    : size >= 0.7
      ? "much the same order"
      : size >= 0.4
        ? "partly the same order"
        : "a different order";
}

/** A number with its noun. @param {number} count @param {string} noun */
export function plural(count, noun) {
  return count + " " + noun + (count === 1 ? "" : "s");
}

/**
 * The element that a template is known to hold.
 * @param {ParentNode} root
 * @param {string} query
 * @returns {HTMLElement}
 */
export function find(root, query) {
  const found = root.querySelector(query);
  if (!(found instanceof HTMLElement)) throw new Error("There is no " + query + " in the template.");
  return found;
}

/** The same for a field. @param {ParentNode} root @param {string} query */
export function input(root, query) {
  return /** @type {HTMLInputElement} */ (find(root, query));
}
