// The list of events: a list box of which only the rows in view are in the page. It filters and searches.

import { byId, counted, el } from "./dom.js";
import { clock, last } from "./model.js";

/** @typedef {import("./model.js").Model} Model */

const NARROW = 600;

export class EventList {
  /**
   * @param {Model} model
   * @param {(at: number) => void} chosen
   * @param {() => void} filtered  Is told when other events are shown than before.
   */
  constructor(model, chosen, filtered) {
    this.model = model;
    this.chosen = chosen;
    this.filtered = filtered;
    this.box = byId("list");
    this.search = /** @type {HTMLInputElement} */ (byId("search"));
    this.groups = /** @type {HTMLSelectElement} */ (byId("group"));
    this.threads = /** @type {HTMLSelectElement} */ (byId("thread"));
    this.cursor = 0;
    /** @type {number | null} */
    this.pinned = null;
    /** @type {number[]} The events that are shown. */
    this.shown = [...Array(model.size).keys()];
    /** @type {string[] | null} */
    this.words = null;
    this.sizer = el("div", { class: "list-size", role: "presentation" });
    this.box.append(this.sizer);
    this.choices();
    for (const control of [this.groups, this.threads]) control.addEventListener("change", () => this.filter());
    this.search.addEventListener("input", () => this.filter());
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    this.box.addEventListener("click", (event) => {
      const row = event.target instanceof Element ? event.target.closest("[data-at]") : null;
      if (row instanceof HTMLElement) this.chosen(Number(row.dataset.at));
    });
    new ResizeObserver(() => this.draw()).observe(this.box);
    this.count();
  }

  /** Fills the choices of kinds and threads. What is chosen stays chosen. */
  choices() {
    const { model } = this;
    const { value: group } = this.groups;
    const { value: thread } = this.threads;
    this.groups.replaceChildren();
    this.threads.replaceChildren();
    this.groups.append(el("option", { value: "" }, "All kinds"));
    for (const label of model.data.groups) {
      const kinds = model.data.kinds.filter((it) => it[1] === label).map((it) => it[0]);
      const choices = el("optgroup", { label }, el("option", { value: `g:${label}` }, `All: ${label}`));
      for (const kind of kinds) choices.append(el("option", { value: `k:${kind}` }, kind));
      this.groups.append(choices);
    }
    this.threads.append(el("option", { value: "" }, "All threads"), el("option", { value: "-1" }, "No thread"));
    for (const it of model.data.threads.slice(0, 2000)) {
      this.threads.append(el("option", { value: it.number }, `#${it.number} ${it.spec}`));
    }
    this.groups.value = group;
    this.threads.value = thread;
  }

  /**
   * Shows the events of this history from now on.
   * @param {Model} model
   */
  use(model) {
    this.model = model;
    this.words = null;
    this.choices();
    this.filter();
  }

  /** As the style has it: where the list is narrow, a row has two lines. */
  get rowHeight() {
    return this.box.clientWidth <= NARROW ? 46 : 30;
  }

  /** The words of an event in which a search looks. */
  get haystack() {
    if (!this.words) {
      const { model } = this;
      const external = new Map(model.data.external.map((it) => [it.at, it.content]));
      this.words = model.data.events.map((event, at) => {
        const content = external.get(at);
        const value = content === undefined ? "" : model.json(content).text;
        return `${model.ids[at]} ${model.kind(at)} #${event[3]} ${event[5]} ${model.cause(at)} ${value}`.toLowerCase();
      });
    }
    return this.words;
  }

  /** Shows the events that the filter and the search let through. */
  filter() {
    const { model } = this;
    const kind = this.groups.value;
    const thread = this.threads.value;
    const parts = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const words = parts.length ? this.haystack : [];
    this.shown = [];
    for (let at = 0; at < model.size; at += 1) {
      if (kind.startsWith("g:") && model.group(at) !== kind.slice(2)) continue;
      if (kind.startsWith("k:") && model.kind(at) !== kind.slice(2)) continue;
      if (thread && String(model.data.events[at][3]) !== thread) continue;
      if (parts.some((part) => !words[at].includes(part))) continue;
      this.shown.push(at);
    }
    this.count();
    this.reveal();
    this.draw();
    this.filtered();
  }

  get isFiltered() {
    return this.shown.length !== this.model.size;
  }

  /** Takes the filter and the search away. */
  clear() {
    this.search.value = this.groups.value = this.threads.value = "";
    this.filter();
  }

  count() {
    const { size } = this.model;
    byId("count").textContent = this.isFiltered ? `${counted(this.shown.length)} of ${counted(size)}` : counted(size);
  }

  /**
   * The event so many places from the cursor, among those that are shown.
   * @param {number} places
   */
  from(places) {
    if (!this.shown.length) return this.cursor;
    const here = last(this.shown, this.cursor);
    const isShown = here >= 0 && this.shown[here] === this.cursor;
    const there = isShown || places < 0 ? here + places + (isShown || places >= 0 ? 0 : 1) : here + places;
    return this.shown[Math.min(this.shown.length - 1, Math.max(0, there))];
  }

  /** The rows that fit into the list. */
  get page() {
    return Math.max(1, Math.floor(this.box.clientHeight / this.rowHeight) - 1);
  }

  /** Scrolls to the cursor. */
  reveal() {
    const place = Math.max(0, last(this.shown, this.cursor));
    const top = place * this.rowHeight;
    const { box } = this;
    this.sizer.style.height = `${this.shown.length * this.rowHeight}px`;
    if (top < box.scrollTop + this.rowHeight) box.scrollTop = top - this.rowHeight;
    else if (top + 2 * this.rowHeight > box.scrollTop + box.clientHeight) {
      box.scrollTop = top + 2 * this.rowHeight - box.clientHeight;
    }
  }

  /** Puts the rows in view into the page. */
  draw() {
    const { box, rowHeight, shown } = this;
    this.sizer.style.height = `${shown.length * rowHeight}px`;
    const first = Math.max(0, Math.floor(box.scrollTop / rowHeight) - 6);
    const end = Math.min(shown.length, Math.ceil((box.scrollTop + box.clientHeight) / rowHeight) + 6);
    const rows = [];
    const here = last(shown, this.cursor);
    for (let place = first; place < end; place += 1) rows.push(this.row(place, place * rowHeight));
    if (here >= 0 && shown[here] === this.cursor) {
      if (here < first || here >= end) rows.push(this.row(here, here * rowHeight));
      box.setAttribute("aria-activedescendant", `row-${this.model.ids[this.cursor]}`);
    } else {
      box.removeAttribute("aria-activedescendant");
    }
    if (!shown.length) rows.push(el("p", { class: "nothing" }, "No event is like that. Esc shows all again."));
    this.sizer.replaceChildren(...rows);
  }

  /**
   * @param {number} place
   * @param {number} top
   */
  row(place, top) {
    const { model } = this;
    const at = this.shown[place];
    const [, time, , thread, , words] = model.data.events[at];
    const isNow = at === this.cursor;
    const above = place ? this.shown[place - 1] : -1;
    const isNewRecord = above < 0 || model.cause(above) !== model.cause(at);
    const isNewTime = above < 0 || model.time(above) !== time;
    const classes = ["row", isNow ? "now" : "", at > this.cursor ? "later" : "", at === this.pinned ? "pinned" : ""];
    if (isNewRecord && place) classes.push("first");
    const row = el(
      "div",
      {
        class: classes.filter(Boolean).join(" "),
        role: "option",
        id: `row-${model.ids[at]}`,
        "data-at": at,
        "aria-selected": String(isNow),
        "aria-setsize": this.shown.length,
        "aria-posinset": place + 1,
      },
      el("span", { class: "id" }, model.ids[at]),
      el("span", { class: isNewTime ? "when" : "when again" }, clock(time)),
      el("span", { class: `kind g-${model.group(at)}` }, model.kind(at)),
      el("span", { class: "who" }, thread >= 0 ? `#${thread}` : ""),
      el("span", { class: "words" }, words),
    );
    row.style.top = `${top}px`;
    row.style.height = `${this.rowHeight}px`;
    return row;
  }
}
