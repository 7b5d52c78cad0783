/**
 * The address of the page holds what is shown, in short query parameters beside those of others.
 * @typedef {{k?: number, n1?: number, view?: string, pin?: number, word?: number, step?: number,
 *   margin?: number, flip?: number[]}} State
 */

const NUMBERS = /** @type {const} */ (["k", "n1", "pin", "word", "step", "margin"]);
const MOST_FLIPS = 200;

/**
 * State from a query string; what is missing or is no whole number is left out.
 * @param {string} search
 * @returns {State}
 */
export function readState(search) {
  const query = new URLSearchParams(search);
  /** @type {State} */
  const state = {};
  for (const name of NUMBERS) if (/^\d{1,6}$/.test(query.get(name) ?? "")) state[name] = Number(query.get(name));
  const view = query.get("view");
  if (view) state.view = view;
  const flip = query.get("flip") ?? "";
  if (/^\d{1,6}(\.\d{1,6})*$/.test(flip)) state.flip = flip.split(".").map(Number);
  return state;
}

/**
 * The query string with some of its state changed; null takes a parameter away.
 * @param {string} search
 * @param {Record<string, string|number|number[]|null>} changes
 */
export function writeState(search, changes) {
  const query = new URLSearchParams(search);
  for (const [name, value] of Object.entries(changes)) {
    const none = value === null || (Array.isArray(value) && (value.length === 0 || value.length > MOST_FLIPS));
    if (none) query.delete(name);
    else query.set(name, Array.isArray(value) ? value.join(".") : String(value));
  }
  const text = query.toString();
  return text ? "?" + text : "";
}

/**
 * Put state into the address without a new entry in the history.
 * @param {Record<string, string|number|number[]|null>} changes
 */
export function showState(changes) {
  const address = window.location.pathname + writeState(window.location.search, changes) + window.location.hash;
  try {
    window.history.replaceState(window.history.state, "", address);
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== "SecurityError") throw error; // a page opened from a file, or too many changes in a short time
  }
}
