// Steps through a history: one cursor, moved by the scrubber, the lanes, the list, the keys and the address.
// Whoever shows a timeline has the elements of body.html in its page, and makes one Stepper.

import { byId, counted, el, several } from "./dom.js";
import { Details } from "./details.js";
import { EventList } from "./event_list.js";
import { Lanes } from "./lanes.js";
import { legendParts } from "./legend.js";
import { Model, clock } from "./model.js";

/** @typedef {import("./model.js").Data} Data */

const PRINTED_MAX = 2000;
/** The cursor is at the newest event when the page opens: a step is no narrower than this then. */
const STEP_AT_FIRST = 14;

export class Stepper {
  /**
   * @param {Data} data
   * @param {(id: string) => void} [told]  Is told the id of each event that is shown.
   */
  constructor(data, told) {
    this.told = told;
    this.model = new Model(data);
    this.cursor = 0;
    /** @type {number | null} */
    this.pinned = null;
    this.scrubber = /** @type {HTMLInputElement} */ (byId("scrubber"));
    this.lanes = new Lanes(this.model, byId("stage"), byId("sizer"), (at) => this.go(at));
    this.list = new EventList(this.model, (at) => this.go(at), () => {
      this.lanes.shown = this.list.isFiltered ? new Set(this.list.shown) : null;
      this.lanes.redraw();
    });
    this.details = new Details(this.model, (at) => this.go(at), (at) => this.pin(at));
    this.keys = this.#keys();
    this.#listen();
    this.lanes.fit();
    if (this.lanes.step < STEP_AT_FIRST) this.lanes.step = STEP_AT_FIRST;
    this.notice("");
    if (!this.follow()) {
      this.cursor = this.model.newest();
      this.show();
    }
  }

  /**
   * Shows a newer history of the same WfRun. Whoever was at the newest event goes on to the new one.
   * @param {Data} data
   */
  use(data) {
    const wasNewest = this.cursor >= this.model.newest();
    this.model = new Model(data);
    this.lanes.use(this.model);
    this.details.model = this.model;
    this.cursor = wasNewest ? this.model.newest() : Math.min(this.cursor, this.model.size - 1);
    if (this.pinned !== null && this.pinned >= this.model.size) this.pinned = null;
    this.lanes.cursor = this.list.cursor = this.cursor;
    this.lanes.pinned = this.list.pinned = this.pinned;
    this.scrubber.max = String(this.model.size - 1);
    this.list.use(this.model);
    this.show();
  }

  /**
   * Goes to an event.
   * @param {number} at
   */
  go(at) {
    this.cursor = Math.min(this.model.size - 1, Math.max(0, at));
    this.show();
    this.address();
  }

  /**
   * Compares with the moment after an event from now on, or no longer.
   * @param {number | null} at
   */
  pin(at) {
    this.pinned = at;
    this.show();
    this.address();
  }

  show() {
    const { cursor, details, lanes, list, model, pinned, scrubber } = this;
    lanes.cursor = list.cursor = cursor;
    lanes.pinned = list.pinned = pinned;
    scrubber.value = String(cursor);
    scrubber.setAttribute("aria-valuetext", this.said(cursor));
    byId("place").textContent = `${counted(cursor + 1)} / ${counted(model.size)}`;
    for (const id of ["first", "previous"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = cursor === 0;
    for (const id of ["last", "next"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = cursor === model.size - 1;
    lanes.reveal();
    lanes.redraw();
    list.reveal();
    list.draw();
    details.show(cursor, pinned);
    this.told?.(model.ids[cursor]);
    // The list and the scrubber say themselves where they are.
    const speaks = document.activeElement === byId("list") || document.activeElement === scrubber;
    byId("said").textContent = speaks ? "" : this.said(cursor);
  }

  /**
   * An event in a sentence, for whoever does not see the page.
   * @param {number} at
   */
  said(at) {
    const { model } = this;
    const [, , , thread, , words] = model.data.events[at];
    const who = thread >= 0 ? `, thread ${thread}` : "";
    const status = thread >= 0 ? model.value(`t${thread}.status`, at) : undefined;
    return `Event ${at + 1} of ${model.size}: ${model.kind(at)}${who}${words ? `, ${words}` : ""}${status ? `. The thread is ${status}.` : "."}`;
  }

  /** Makes the address a link to what is shown. */
  address() {
    const here = this.model.ids[this.cursor];
    const hash = this.pinned === null ? `#${here}` : `#${this.model.ids[this.pinned]}..${here}`;
    if (location.hash === hash) return;
    try {
      history.replaceState(null, "", hash);
    } catch {
      location.hash = hash; // where the page may not change its history
    }
  }

  /** Goes where the address says. Returns false if it names no event. */
  follow() {
    const { model } = this;
    const [, from, to] = /^#([ep]\d+)(?:\.\.([ep]\d+))?$/.exec(location.hash) ?? [];
    const first = from === undefined ? undefined : model.places.get(from);
    if (first === undefined) {
      const named = from !== undefined;
      this.notice(named ? `There is no event ${from} in this history. It has ${model.ids[0]} to ${model.ids[model.size - 1]}.` : "");
      return false;
    }
    this.notice("");
    const second = to === undefined ? undefined : model.places.get(to);
    this.cursor = second ?? first;
    this.pinned = second === undefined ? null : first;
    this.show();
    return true;
  }

  /** @param {string} sentence */
  notice(sentence) {
    const { data } = this.model;
    const always = [];
    if (!data.whole) always.push("The log no longer has the beginning of this WfRun. The events that are left are here; the states are not known.");
    if (data.earlier) always.push(`${several(data.earlier, "event")} of earlier WfRuns with this id are left out.`);
    const text = [sentence, ...always].filter(Boolean).join(" ");
    byId("notice").textContent = text;
    byId("notice").hidden = !text;
  }

  /** @param {boolean} byTime */
  scaleByTime(byTime) {
    this.lanes.byTime = byTime;
    byId("axis").setAttribute("aria-pressed", String(byTime));
    this.lanes.reveal();
    this.lanes.redraw();
  }

  legend() {
    const section = byId("legend");
    section.hidden = !section.hidden;
    byId("legend-button").setAttribute("aria-expanded", String(!section.hidden));
    if (!section.childElementCount) section.append(...legendParts());
  }

  /** @returns {Record<string, () => void>} */
  #keys() {
    const { lanes, list } = this;
    return {
      ArrowRight: () => this.go(list.from(1)),
      ArrowLeft: () => this.go(list.from(-1)),
      ArrowDown: () => this.go(list.from(1)),
      ArrowUp: () => this.go(list.from(-1)),
      PageDown: () => this.go(list.from(list.page)),
      PageUp: () => this.go(list.from(-list.page)),
      Home: () => this.go(list.from(-this.model.size)),
      End: () => this.go(list.from(this.model.size)),
      "]": () => this.go(this.model.command(this.cursor).last + 1),
      "[": () => this.go(this.model.command(Math.max(0, this.model.command(this.cursor).first - 1)).first),
      c: () => this.pin(this.pinned === null ? this.cursor : null),
      t: () => this.scaleByTime(!lanes.byTime),
      "+": () => lanes.zoom(1.5),
      "=": () => lanes.zoom(1.5),
      "-": () => lanes.zoom(1 / 1.5),
      0: () => lanes.fit(),
      "/": () => byId("search").focus(),
      "?": () => this.legend(),
      Escape: () => {
        if (this.pinned !== null) this.pin(null);
        else if (list.isFiltered) list.clear();
      },
    };
  }

  #listen() {
    const { keys, lanes, scrubber } = this;
    scrubber.max = String(this.model.size - 1);
    scrubber.addEventListener("input", () => this.go(Number(scrubber.value)));
    byId("first").addEventListener("click", keys.Home);
    byId("previous").addEventListener("click", keys.ArrowLeft);
    byId("next").addEventListener("click", keys.ArrowRight);
    byId("last").addEventListener("click", keys.End);
    byId("axis").addEventListener("click", keys.t);
    byId("in").addEventListener("click", () => lanes.zoom(1.5));
    byId("out").addEventListener("click", () => lanes.zoom(1 / 1.5));
    byId("fit").addEventListener("click", () => lanes.fit());
    byId("legend-button").addEventListener("click", () => this.legend());
    window.addEventListener("hashchange", () => this.follow());
    window.addEventListener("beforeprint", () => this.print());
    window.addEventListener("afterprint", () => this.printed());
    document.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const { list } = this;
    const target = /** @type {HTMLElement} */ (event.target);
    const scrolls = ["ArrowUp", "ArrowDown", "PageUp", "PageDown"].includes(event.key);
    if (target.id === "search") {
      if (event.key === "Escape") {
        list.clear();
        byId("list").focus();
      } else if (event.key === "Enter") {
        this.go(list.from(event.shiftKey ? -1 : 1));
      } else if (event.key === "ArrowDown") {
        byId("list").focus();
      } else {
        return;
      }
      event.preventDefault();
      return;
    }
    // What is written into, a choice, and what scrolls keep their keys. The page scrolls, but in the list these keys
    // go from event to event.
    if (target.matches("select, textarea, input:not([type=range])") || target.closest(".wide, pre, dialog")) return;
    if (scrolls && !target.closest("#list")) return;
    const act = this.keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** Puts all lanes and a table of the events into the page, for paper. */
  print() {
    const { lanes, list, model } = this;
    lanes.printing = true;
    const before = lanes.step;
    lanes.step = Math.min(64, (1040 - lanes.labels - 92) / model.size);
    lanes.draw();
    lanes.step = before;
    const rows = list.shown.slice(0, PRINTED_MAX).map((at) => {
      const [, time, , thread, , words] = model.data.events[at];
      const cells = [model.ids[at], clock(time), model.kind(at), thread >= 0 ? `#${thread}` : "", words, model.cause(at)];
      return el("tr", { class: at === this.cursor ? "now" : null }, ...cells.map((it) => el("td", {}, it)));
    });
    const heads = ["", "Time (UTC)", "Event", "Thread", "What", "Cause"].map((it) => el("th", { scope: "col" }, it));
    const left = list.shown.length - rows.length;
    byId("printed").replaceChildren(
      el("h2", {}, "Events"),
      el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)),
      left > 0 ? el("p", {}, `and ${several(left, "event")} more: filter them to print others`) : "",
    );
  }

  printed() {
    this.lanes.printing = false;
    byId("printed").replaceChildren();
    this.lanes.redraw();
  }
}
