// Reads values as the JSON text that they are. Nothing is parsed to numbers of JavaScript, so a number keeps all its
// digits, and nothing is recursive, so a value may be as deep as it likes.

/** @typedef {{ path: string, text: string }} Leaf */
/** @typedef {{ path: string, before: string | null, after: string | null }} Change */

// A string may have no end: a text that was cut is shown as far as it goes.
const TOKEN = /"(?:[^"\\]|\\.)*"?|[{}[\]:,]|[^\s{}[\]:,"]+/g;
const PLAIN_KEY = /^"[A-Za-z_][\w-]*"$/;

/**
 * The leaves of a JSON text: each number, text, true, false, null and each empty object or array, with its path.
 * @param {string} json
 * @param {number} most  No more leaves than this.
 * @returns {Leaf[]}
 */
export function leaves(json, most = 5000) {
  /** @type {Leaf[]} */
  const found = [];
  /** @type {{ path: string, index: number, isList: boolean, key: string, isKey: boolean, isEmpty: boolean }[]} */
  const open = [];
  const place = () => {
    const inner = open[open.length - 1];
    if (!inner) return "";
    if (inner.isList) return `${inner.path}[${inner.index}]`;
    return PLAIN_KEY.test(inner.key) ? `${inner.path}.${inner.key.slice(1, -1)}` : `${inner.path}[${inner.key}]`;
  };
  for (const [token] of json.matchAll(TOKEN)) {
    if (found.length >= most) break;
    const inner = open[open.length - 1];
    if (token === "{" || token === "[") {
      const path = place();
      if (inner) inner.isEmpty = false;
      open.push({ path, index: 0, isList: token === "[", key: "", isKey: token === "{", isEmpty: true });
    } else if (token === "}" || token === "]") {
      const closed = open.pop();
      if (closed && closed.isEmpty) found.push({ path: closed.path, text: token === "}" ? "{}" : "[]" });
    } else if (token === ",") {
      if (inner && inner.isList) inner.index += 1;
      else if (inner) inner.isKey = true;
    } else if (token === ":") {
      if (inner) inner.isKey = false;
    } else if (inner && inner.isKey) {
      inner.key = token;
      inner.isEmpty = false;
    } else {
      if (inner) inner.isEmpty = false;
      found.push({ path: place(), text: token });
    }
  }
  return found;
}

/**
 * The paths at which two JSON texts differ. Null stands for nothing at all.
 * @param {string | null} before
 * @param {string | null} after
 * @returns {Change[]}
 */
export function differences(before, after) {
  if (before === after) return [];
  if (before === null || after === null) return [{ path: "", before, after }];
  const old = new Map(leaves(before).map((it) => [it.path, it.text]));
  /** @type {Change[]} */
  const found = [];
  for (const { path, text } of leaves(after)) {
    const was = old.get(path);
    old.delete(path);
    if (was !== text) found.push({ path, before: was === undefined ? null : was, after: text });
  }
  for (const [path, text] of old) found.push({ path, before: text, after: null });
  return found;
}

/**
 * A JSON text on several lines, indented. A short one stays on one line.
 * @param {string} json
 */
export function indented(json, short = 72) {
  if (json.length <= short) return spaced(json);
  const lines = [];
  let line = "";
  let depth = 0;
  let last = "";
  const end = () => {
    lines.push(line);
    line = "  ".repeat(Math.min(depth, 40));
  };
  for (const [token] of json.matchAll(TOKEN)) {
    if (token === "}" || token === "]") {
      depth -= 1;
      if (last !== "{" && last !== "[") end();
      line += token;
    } else {
      if (last === "{" || last === "[" || last === ",") end();
      line += token === ":" ? ": " : token;
      if (token === "{" || token === "[") depth += 1;
    }
    last = token;
  }
  lines.push(line);
  return lines.join("\n");
}

/**
 * A JSON text on one line, with spaces where a reader expects them.
 * @param {string} json
 */
export function spaced(json) {
  let text = "";
  for (const [token] of json.matchAll(TOKEN)) text += token === ":" || token === "," ? `${token} ` : token;
  return text;
}
