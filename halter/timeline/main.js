// Puts the page together: one cursor, moved by the scrubber, the lanes, the list, the keys and the address.

import { byId, counted, el, several, svg } from "./dom.js";
import { Details } from "./details.js";
import { EventList } from "./event_list.js";
import { Lanes, patterns } from "./lanes.js";
import { Model, clock, lasting } from "./model.js";

const PRINTED_MAX = 2000;

const model = new Model(JSON.parse(byId("data").textContent ?? ""));
const scrubber = /** @type {HTMLInputElement} */ (byId("scrubber"));
/** @type {{ cursor: number, pinned: number | null }} */
const now = { cursor: 0, pinned: null };

const lanes = new Lanes(model, byId("stage"), byId("sizer"), go);
const list = new EventList(model, go, () => {
  lanes.shown = list.isFiltered ? new Set(list.shown) : null;
  lanes.redraw();
});
const details = new Details(model, go, pin);

/**
 * Goes to an event.
 * @param {number} at
 */
function go(at) {
  now.cursor = Math.min(model.size - 1, Math.max(0, at));
  show();
  address();
}

/**
 * Compares with the moment after an event from now on, or no longer.
 * @param {number | null} at
 */
function pin(at) {
  now.pinned = at;
  show();
  address();
}

function show() {
  const { cursor, pinned } = now;
  lanes.cursor = list.cursor = cursor;
  lanes.pinned = list.pinned = pinned;
  scrubber.value = String(cursor);
  scrubber.setAttribute("aria-valuetext", said(cursor));
  byId("place").textContent = `${counted(cursor + 1)} / ${counted(model.size)}`;
  for (const id of ["first", "previous"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = cursor === 0;
  for (const id of ["last", "next"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = cursor === model.size - 1;
  lanes.reveal();
  lanes.redraw();
  list.reveal();
  list.draw();
  details.show(cursor, pinned);
  // The list and the scrubber say themselves where they are.
  const speaks = document.activeElement === byId("list") || document.activeElement === scrubber;
  byId("said").textContent = speaks ? "" : said(cursor);
}

/**
 * An event in a sentence, for whoever does not see the page.
 * @param {number} at
 */
function said(at) {
  const [, , , thread, , words] = model.data.events[at];
  const who = thread >= 0 ? `, thread ${thread}` : "";
  const status = thread >= 0 ? model.value(`t${thread}.status`, at) : undefined;
  return `Event ${at + 1} of ${model.size}: ${model.kind(at)}${who}${words ? `, ${words}` : ""}${status ? `. The thread is ${status}.` : "."}`;
}

/** Makes the address a link to what is shown. */
function address() {
  const here = model.ids[now.cursor];
  const hash = now.pinned === null ? `#${here}` : `#${model.ids[now.pinned]}..${here}`;
  if (location.hash === hash) return;
  try {
    history.replaceState(null, "", hash);
  } catch {
    location.hash = hash; // where the page may not change its history
  }
}

/** Goes where the address says. Returns false if it names no event. */
function follow() {
  const [, from, to] = /^#([ep]\d+)(?:\.\.([ep]\d+))?$/.exec(location.hash) ?? [];
  const first = from === undefined ? undefined : model.places.get(from);
  if (first === undefined) {
    const named = from !== undefined;
    notice(named ? `There is no event ${from} in this history. It has ${model.ids[0]} to ${model.ids[model.size - 1]}.` : "");
    return false;
  }
  notice("");
  const second = to === undefined ? undefined : model.places.get(to);
  now.cursor = second ?? first;
  now.pinned = second === undefined ? null : first;
  show();
  return true;
}

/** @param {string} sentence */
function notice(sentence) {
  const always = [];
  if (!model.data.whole) always.push("The log no longer has the beginning of this WfRun. The events that are left are here; the states are not known.");
  if (model.data.earlier) always.push(`${several(model.data.earlier, "event")} of earlier WfRuns with this id are left out.`);
  const text = [sentence, ...always].filter(Boolean).join(" ");
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

/** @param {boolean} byTime */
function scaleByTime(byTime) {
  lanes.byTime = byTime;
  byId("axis").setAttribute("aria-pressed", String(byTime));
  lanes.reveal();
  lanes.redraw();
}

/** @type {Record<string, () => void>} */
const KEYS = {
  ArrowRight: () => go(list.from(1)),
  ArrowLeft: () => go(list.from(-1)),
  ArrowDown: () => go(list.from(1)),
  ArrowUp: () => go(list.from(-1)),
  PageDown: () => go(list.from(list.page)),
  PageUp: () => go(list.from(-list.page)),
  Home: () => go(list.from(-model.size)),
  End: () => go(list.from(model.size)),
  "]": () => go(model.command(now.cursor).last + 1),
  "[": () => go(model.command(Math.max(0, model.command(now.cursor).first - 1)).first),
  c: () => pin(now.pinned === null ? now.cursor : null),
  t: () => scaleByTime(!lanes.byTime),
  "+": () => lanes.zoom(1.5),
  "=": () => lanes.zoom(1.5),
  "-": () => lanes.zoom(1 / 1.5),
  0: () => lanes.fit(),
  "/": () => byId("search").focus(),
  "?": () => legend(),
  Escape: () => {
    if (now.pinned !== null) pin(null);
    else if (list.isFiltered) list.clear();
  },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = /** @type {HTMLElement} */ (event.target);
  const inText = target instanceof HTMLInputElement && target.type === "search";
  const inChoice = target instanceof HTMLSelectElement;
  const scrolls = ["ArrowUp", "ArrowDown", "PageUp", "PageDown"].includes(event.key);
  if (inText) {
    if (event.key === "Escape") {
      list.clear();
      byId("list").focus();
    } else if (event.key === "Enter") {
      go(list.from(event.shiftKey ? -1 : 1));
    } else if (event.key === "ArrowDown") {
      byId("list").focus();
    } else {
      return;
    }
    event.preventDefault();
    return;
  }
  // A choice, and what scrolls, keep their keys. The page scrolls, but in the list these keys go from event to event.
  if (inChoice || target.closest(".wide, pre")) return;
  if (scrolls && !target.closest("#list")) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

function legend() {
  const section = byId("legend");
  section.hidden = !section.hidden;
  byId("legend-button").setAttribute("aria-expanded", String(!section.hidden));
  if (!section.childElementCount) section.append(...legendParts());
}

function legendParts() {
  const sample = (/** @type {string} */ status) => {
    const box = svg("svg", { width: 40, height: 16, "aria-hidden": "true" }, patterns(), svg("rect", { width: 40, height: 16, rx: 3, class: `bar ${status}` }));
    if (status !== "RUNNING" && status !== "COMPLETED") box.append(svg("rect", { width: 40, height: 16, rx: 3, fill: `url(#p-${status})` }));
    return box;
  };
  const line = (/** @type {string} */ kind) =>
    svg("svg", { width: 40, height: 16, "aria-hidden": "true" }, svg("path", { d: "M2 8H32", class: `arrow ${kind}` }), svg("path", { d: "M40 8l-7 -4v8z", class: `arrow-tip ${kind}` }));
  const shares = () =>
    svg("svg", { width: 40, height: 16, "aria-hidden": "true" }, svg("rect", { y: 6, width: 40, height: 10, class: "share RUNNING" }), svg("rect", { width: 40, height: 6, class: "share HALTED" }));
  const item = (/** @type {Node} */ picture, /** @type {string} */ words) => el("li", {}, picture, ` ${words}`);
  const key = (/** @type {string} */ keys, /** @type {string} */ words) => el("li", {}, ...keys.split(" ").map((it) => el("kbd", {}, it)), ` ${words}`);
  const strip = (/** @type {string} */ kind) => svg("svg", { width: 40, height: 16, "aria-hidden": "true" }, svg("rect", { x: 1, y: 1, width: 38, height: 14, rx: 2, class: `strip ${kind}` }));
  return [
    el("div", {}, el("h2", {}, "Bars"), el("ul", {},
      item(sample("RUNNING"), "RUNNING, with the node where the thread is"),
      item(sample("HALTING"), "HALTING: a task is still out, or a thread below still moves"),
      item(sample("HALTED"), "HALTED"),
      item(sample("COMPLETED"), "✓ COMPLETED"),
      item(sample("ERROR"), "✕ ERROR"),
      item(sample("EXCEPTION"), "! EXCEPTION"),
      item(shares(), "several, too close together for bars: their shares; zoom in"),
    )),
    el("div", {}, el("h2", {}, "Below and between"), el("ul", {},
      item(strip("reason"), "‖ a halt reason"),
      item(strip("task"), "⚙ a task attempt, or its back-off"),
      item(strip("timer"), "◷ a timer"),
      item(line("interrupts"), "an ExternalEvent interrupts a thread, or a node takes it"),
      item(line("starts"), "a thread starts another"),
      item(line("resumes"), "an end lets a thread go on"),
      item(line("halts"), "a thread halts with another"),
      item(line("fails"), "a failure fails the thread above"),
    )),
    el("div", {}, el("h2", {}, "Keys"), el("ul", {},
      key("← →", "one event back, on (↑ ↓ in the list)"),
      key("[ ]", "to the record before, after"),
      key("Home End", "first, last event"),
      key("c", "compare from here"),
      key("/", "search; Enter goes on to the next"),
      key("t", "scale by time"),
      key("+ - 0", "zoom in, out, all; also Ctrl and the wheel"),
      key("Esc", "stop comparing, show all events"),
    )),
  ];
}

const THEMES = ["system", "light", "dark"];
let theme = 0;

function nextTheme() {
  theme = (theme + 1) % THEMES.length;
  document.documentElement.dataset.theme = THEMES[theme];
  byId("theme").textContent = `Theme: ${THEMES[theme]}`;
}

/** Puts all lanes and a table of the events into the page, for paper. */
function print() {
  lanes.printing = true;
  const before = lanes.step;
  lanes.step = Math.min(64, (1040 - lanes.labels - 92) / model.size);
  lanes.draw();
  lanes.step = before;
  const rows = list.shown.slice(0, PRINTED_MAX).map((at) => {
    const [, time, , thread, , words] = model.data.events[at];
    const cells = [model.ids[at], clock(time), model.kind(at), thread >= 0 ? `#${thread}` : "", words, model.cause(at)];
    return el("tr", { class: at === now.cursor ? "now" : null }, ...cells.map((it) => el("td", {}, it)));
  });
  const heads = ["", "Time (UTC)", "Event", "Thread", "What", "Cause"].map((it) => el("th", { scope: "col" }, it));
  const left = list.shown.length - rows.length;
  byId("printed").replaceChildren(
    el("h2", {}, "Events"),
    el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)),
    left > 0 ? el("p", {}, `and ${several(left, "event")} more: filter them to print others`) : "",
  );
}

function printed() {
  lanes.printing = false;
  byId("printed").replaceChildren();
  lanes.redraw();
}

function start() {
  const { data } = model;
  const first = model.time(0);
  const end = model.time(model.size - 1);
  const status = model.value("r.status", model.size - 1);
  byId("title").append(data.wfRun, " ");
  if (status) byId("title").append(el("span", { class: `badge ${status}` }, status));
  const facts = [
    data.wfSpec ?? "no WfRun yet",
    several(model.size, "event"),
    several(data.threads.length, "thread"),
    `${clock(first, true)} UTC, ${lasting(end - first)}`,
    data.where,
    data.masked ? "masked values are taken out" : "masked values are shown",
  ];
  byId("summary").textContent = facts.filter(Boolean).join(" · ");
  scrubber.max = String(model.size - 1);
  scrubber.addEventListener("input", () => go(Number(scrubber.value)));
  byId("first").addEventListener("click", KEYS.Home);
  byId("previous").addEventListener("click", KEYS.ArrowLeft);
  byId("next").addEventListener("click", KEYS.ArrowRight);
  byId("last").addEventListener("click", KEYS.End);
  byId("axis").addEventListener("click", KEYS.t);
  byId("in").addEventListener("click", () => lanes.zoom(1.5));
  byId("out").addEventListener("click", () => lanes.zoom(1 / 1.5));
  byId("fit").addEventListener("click", () => lanes.fit());
  byId("legend-button").addEventListener("click", legend);
  byId("theme").addEventListener("click", nextTheme);
  window.addEventListener("hashchange", follow);
  window.addEventListener("beforeprint", print);
  window.addEventListener("afterprint", printed);
  lanes.fit();
  if (lanes.step < 14) lanes.step = 14;
  notice("");
  if (!follow()) {
    now.cursor = model.size - 1;
    show();
  }
}

start();
