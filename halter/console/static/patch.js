// Makes a page like a newer one of the same address, with as few changes as there are differences. Elements are the
// same if they have the same id or `data-id`, else by their place. What has `data-own` is the scripts': it is left alone.

/** Attributes that the page itself changes. */
const OWN = new Set(["open", "hidden", "aria-pressed"]);

/**
 * @param {Document} page
 * @param {Document} fresh
 */
export function patch(page, fresh) {
  page.title = fresh.title;
  for (const part of [".places nav", "#freshness", "#main"]) {
    const before = page.querySelector(part);
    const after = fresh.querySelector(part);
    if (before && after) children(before, after);
  }
}

/**
 * @param {Element} before
 * @param {Element} after
 */
function element(before, after) {
  if (before instanceof HTMLElement && before.dataset.own !== undefined) return;
  if (before.isEqualNode(after)) return;
  for (const { name, value } of after.attributes) {
    if (before.getAttribute(name) !== value && !OWN.has(name)) before.setAttribute(name, value);
  }
  for (const { name } of [...before.attributes]) {
    if (!after.hasAttribute(name) && !OWN.has(name)) before.removeAttribute(name);
  }
  // What somebody writes or chooses is theirs.
  if (before instanceof HTMLInputElement || before instanceof HTMLSelectElement || before instanceof HTMLTextAreaElement) return;
  children(before, after);
}

/**
 * @param {Element} before
 * @param {Element} after
 */
function children(before, after) {
  /** @type {Map<string, Element>} */
  const known = new Map();
  for (const it of before.children) {
    const key = keyOf(it);
    if (key) known.set(key, it);
  }
  let place = before.firstChild;
  for (const fresh of [...after.childNodes]) {
    const key = fresh instanceof Element ? keyOf(fresh) : null;
    const match = key ? known.get(key) ?? null : alike(place, fresh) ? place : null;
    if (match) {
      if (match === place) place = match.nextSibling;
      else before.insertBefore(match, place);
      if (match instanceof Element && fresh instanceof Element) {
        const isRow = match.getAttribute("data-rev") !== fresh.getAttribute("data-rev");
        element(match, fresh);
        if (isRow) flash(match);
      } else if (match.nodeValue !== fresh.nodeValue) {
        match.nodeValue = fresh.nodeValue;
      }
    } else {
      const added = document.importNode(fresh, true);
      before.insertBefore(added, place);
      if (added instanceof Element && added.matches("[data-id]")) flash(added);
    }
  }
  while (place) {
    const next = place.nextSibling;
    if (!(place instanceof HTMLElement && place.dataset.own !== undefined)) place.remove();
    place = next;
  }
}

/** @param {Element} it */
function keyOf(it) {
  const key = it.id || it.getAttribute("data-id");
  return key ? `${it.localName} ${key}` : null;
}

/**
 * @param {ChildNode | null} it
 * @param {Node} fresh
 */
function alike(it, fresh) {
  if (!it || it.nodeType !== fresh.nodeType) return false;
  if (!(it instanceof Element) || !(fresh instanceof Element)) return true;
  return it.localName === fresh.localName && !keyOf(it) && !(it instanceof HTMLElement && it.dataset.own !== undefined);
}

/** @param {Element} row */
function flash(row) {
  row.classList.remove("changed");
  void row.getBoundingClientRect();
  row.classList.add("changed");
  row.addEventListener("animationend", () => row.classList.remove("changed"), { once: true });
}
