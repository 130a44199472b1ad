// One event in full: what it is, its cause, what it changed, and the state after it. Or two moments, compared.

import { byId, el, several } from "./dom.js";
import { differences, indented, spaced } from "./json_text.js";
import { clock, lasting } from "./model.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {{ field: string, before: any, after: any }} Changed */

const THREADS_MAX = 40;
const EXTERNALS_MAX = 15;
const CHANGES_MAX = 200;
const SHORT = 160;

export class Details {
  /**
   * @param {Model} model
   * @param {(at: number) => void} chosen
   * @param {(at: number | null) => void} pin
   */
  constructor(model, chosen, pin) {
    this.model = model;
    this.chosen = chosen;
    this.pin = pin;
    this.box = byId("details");
  }

  /**
   * @param {number} at
   * @param {number | null} pinned
   */
  show(at, pinned) {
    const parts = [this.head(at, pinned)];
    if (pinned !== null && pinned !== at) parts.push(this.comparison(pinned, at));
    else parts.push(this.changes(at));
    if (this.model.data.whole) parts.push(...this.state(at));
    this.box.replaceChildren(...parts);
  }

  /**
   * @param {number} at
   * @param {number | null} pinned
   */
  head(at, pinned) {
    const { model } = this;
    const [, time, , thread, , words, fields] = model.data.events[at];
    const id = model.ids[at];
    const pinButton = el(
      "button",
      { type: "button", class: "pin-button", "aria-pressed": String(pinned === at), title: "Compare this moment with another one (c)" },
      pinned === null ? "Compare from here" : "Stop comparing",
    );
    pinButton.addEventListener("click", () => this.pin(pinned === null ? at : null));
    const spec = model.threads.get(thread);
    const { first, last } = model.command(at);
    const same = el("span", { class: "same" });
    if (last > first) {
      same.append(` It caused ${several(last - first + 1, "event")}: `);
      for (let other = first; other <= last && other < first + 12; other += 1) {
        same.append(other > first ? " " : "", other === at ? el("b", {}, model.ids[other]) : this.link(other));
      }
      if (last >= first + 12) same.append(" … ", last === at ? el("b", {}, model.ids[last]) : this.link(last));
    }
    return el(
      "div",
      { class: "head" },
      el("h2", { id: "details-title" }, el("a", { class: "permalink", href: `#${id}`, title: "Link to this event" }, id), " ", model.kind(at)),
      pinButton,
      el("p", { class: "said" }, thread >= 0 ? el("span", { class: "thread" }, `#${thread}${spec ? ` ${spec.spec}` : ""}`) : null, words ? ` ${words}` : ""),
      el(
        "dl",
        {},
        el("dt", {}, "Time"),
        el("dd", {}, `${clock(time, true)} UTC`, el("span", { class: "soft" }, at ? `, ${lasting(time - model.time(0))} after the first event` : ", the first event")),
        el("dt", {}, "Cause"),
        el("dd", {}, el("code", {}, model.cause(at)), same),
      ),
      this.folded("All fields", model.json(fields)),
    );
  }

  /** @param {number} at */
  link(at) {
    const link = el("a", { href: `#${this.model.ids[at]}`, title: this.model.kind(at) }, this.model.ids[at]);
    return link;
  }

  /** @param {number} at */
  changes(at) {
    const changed = Object.entries(this.model.data.events[at][7]).map(([field, after]) => ({
      field,
      before: at ? this.model.value(field, at - 1) : undefined,
      after: after ?? undefined,
    }));
    return this.table("Changed by this event", changed, "It changed nothing.");
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  comparison(from, to) {
    const { model } = this;
    const title = el("span", {}, "Changed from ", this.link(from), " to ", this.link(to));
    const span = lasting(Math.abs(model.time(to) - model.time(from)));
    title.append(el("span", { class: "soft" }, ` ${several(Math.abs(to - from), "event")}, ${span}`));
    return this.table(title, model.between(from, to), "Nothing differs.");
  }

  /**
   * @param {string | Node} title
   * @param {Changed[]} changed
   * @param {string} nothing
   */
  table(title, changed, nothing) {
    const rows = [...changed].sort((a, b) => order(a.field) - order(b.field)).flatMap((it) => this.rows(it));
    const section = el("section", { class: "changes" }, el("h3", {}, title));
    if (!this.model.data.whole) {
      section.append(el("p", { class: "soft" }, "The log no longer has the beginning, so the state is not known."));
    } else if (!rows.length) {
      section.append(el("p", { class: "soft" }, nothing));
    } else {
      const body = el("tbody", {}, ...rows.slice(0, CHANGES_MAX));
      const head = el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "What"), el("th", { scope: "col" }, "Before"), el("th", { scope: "col" }, "After")));
      section.append(el("div", { class: "wide", tabindex: 0, role: "group", "aria-label": "Changes" }, el("table", {}, head, body)));
      if (rows.length > CHANGES_MAX) section.append(el("p", { class: "soft" }, `and ${several(rows.length - CHANGES_MAX, "change")} more`));
    }
    return section;
  }

  /**
   * @param {Changed} changed
   * @returns {Element[]}
   */
  rows({ field, before, after }) {
    const dot = field.indexOf(".");
    const owner = field.slice(0, dot);
    const name = field.slice(dot + 1);
    if (name === "why" && owner[0] === "t") return [];
    if (owner[0] === "t" && (name === "position" || name === "gone")) return [];
    const who = owner[0] === "x" ? this.external(Number(owner.slice(1))) : owner === "r" ? "WfRun" : `#${owner.slice(1)}`;
    if (owner[0] === "v" || name === "output") {
      const was = before === undefined ? null : this.model.json(before);
      const is = after === undefined ? null : this.model.json(after);
      const found = differences(was?.text ?? null, is?.text ?? null);
      return found.map((it) => this.change(who, `${name}${it.path}`, it.before && spaced(it.before), it.after && spaced(it.after), true));
    }
    return [this.change(who, WORDS[name] ?? name, plain(before), plain(after), false)];
  }

  /**
   * @param {string} who
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} after
   * @param {boolean} isValue
   */
  change(who, name, before, after, isValue) {
    const cell = (/** @type {string | null} */ text, /** @type {string} */ kind) => {
      if (text === null) return el("td", { class: "none" }, "–");
      const shown = name === "status" && !isValue ? badge(text) : el(isValue ? "code" : "span", {}, text.length > SHORT ? `${text.slice(0, SHORT)}…` : text);
      return el("td", { class: kind }, shown);
    };
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, el("span", { class: "thread" }, who), " ", isValue ? el("code", {}, name) : name),
      cell(before, "before"),
      cell(after, "after"),
    );
  }

  /** @param {number} number */
  external(number) {
    const event = this.model.data.external[number];
    return `${event.def} ${event.id}`;
  }

  /** @param {number} at */
  state(at) {
    const { model } = this;
    const changed = model.data.events[at][7];
    const live = model.threadsAt(at);
    const own = model.data.events[at][3];
    const near = live.length > THREADS_MAX ? [...live].sort((a, b) => Number(b.number === own) - Number(a.number === own) || b.number - a.number) : live;
    const status = model.value("r.status", at);
    const title = el("h3", {}, "State after it", status ? " " : "", status ? badge(status) : null);
    const quarantined = model.value("r.quarantined", at);
    if (quarantined) title.append(el("span", { class: "soft" }, ` in quarantine since ${quarantined}`));
    const section = el("section", { class: "state" }, title);
    for (const thread of near.slice(0, THREADS_MAX)) section.append(this.card(thread, at, changed));
    if (live.length > THREADS_MAX) section.append(el("p", { class: "soft" }, `and ${several(live.length - THREADS_MAX, "thread")} more`));
    if (!live.length) section.append(el("p", { class: "soft" }, "There are no threads."));
    return [section, this.externals(at)];
  }

  /**
   * @param {import("./model.js").Thread} thread
   * @param {number} at
   * @param {Record<string, any>} changed
   */
  card(thread, at, changed) {
    const { model } = this;
    const { number } = thread;
    const value = (/** @type {string} */ name) => model.value(`t${number}.${name}`, at);
    const status = value("status");
    const isOver = status === "COMPLETED" || status === "ERROR" || status === "EXCEPTION";
    const kind = thread.parent === null ? "" : `${thread.type} of #${thread.parent}${thread.by ? ` by ${thread.by}` : ""}`;
    const card = el(
      "article",
      { class: `card s-${status}`, "aria-label": `Thread ${number}` },
      el(
        "header",
        {},
        el("h4", {}, el("span", { class: "thread" }, `#${number}`), ` ${thread.spec}`),
        badge(status),
        el("span", { class: "soft" }, isOver ? `ended at ${value("node")}` : `at ${value("node")}`, kind ? `, ${kind}` : ""),
      ),
    );
    const why = value("why");
    if (why) card.append(el("p", { class: "why" }, why));
    const failure = value("failure");
    if (failure) card.append(el("p", { class: "failure" }, `failed: ${failure}`));
    const rows = [];
    for (const name of model.variables.get(number) ?? []) {
      const held = model.value(`v${number}.${name}`, at);
      if (held === undefined) continue;
      rows.push(this.variable(name, held, `v${number}.${name}` in changed));
    }
    const output = value("output");
    if (output !== undefined) rows.push(this.variable("returned", output, `t${number}.output` in changed));
    if (rows.length) card.append(el("table", { class: "variables" }, el("caption", { class: "unseen" }, `Variables of thread ${number}`), el("tbody", {}, ...rows)));
    return card;
  }

  /**
   * @param {string} name
   * @param {number} held
   * @param {boolean} isNew
   */
  variable(name, held, isNew) {
    const json = this.model.json(held);
    const mark = isNew ? el("span", { class: "new" }, "changed") : null;
    const shown = json.text.length > SHORT ? this.folded(`${spaced(json.text.slice(0, 80))}…`, json) : el("code", {}, spaced(json.text));
    return el("tr", { class: isNew ? "is-new" : null }, el("th", { scope: "row" }, el("code", {}, name)), el("td", {}, shown, mark));
  }

  /** @param {number} at */
  externals(at) {
    const { model } = this;
    const items = [];
    for (let number = 0; number < model.data.external.length; number += 1) {
      const status = model.value(`x${number}.status`, at);
      if (status === undefined) continue;
      const event = model.data.external[number];
      const outcomes = /** @type {string[] | undefined} */ (model.value(`x${number}.outcomes`, at));
      items.push({ number, event, status, outcomes, isNew: `x${number}.status` in model.data.events[at][7] });
    }
    const recent = items.slice(-EXTERNALS_MAX);
    if (!recent.length) return el("section", {});
    const list = recent.map((it) =>
      el(
        "li",
        { class: it.isNew ? "is-new" : null },
        el("span", { class: `external-status ${it.status}` }, it.status),
        " ",
        el("b", {}, it.event.def),
        ` ${it.event.id} `,
        this.link(it.event.at),
        it.outcomes && it.outcomes.length > 1 ? el("span", { class: "soft" }, ` ${it.outcomes.join(", ")}`) : null,
        this.content(it.event.content),
      ),
    );
    const more = items.length > recent.length ? el("p", { class: "soft" }, `the newest ${recent.length} of ${items.length}`) : null;
    return el("section", { class: "externals" }, el("h3", {}, "ExternalEvents"), el("ul", {}, ...list), more);
  }

  /** @param {number} number */
  content(number) {
    const json = this.model.json(number);
    if (json.text === "null") return null;
    if (json.text.length > SHORT) return this.folded("content", json);
    return el("span", {}, " ", el("code", {}, spaced(json.text)));
  }

  /**
   * A long value, which opens on request.
   * @param {string} title
   * @param {{ text: string, length: number, cut: boolean }} json
   */
  folded(title, json) {
    const details = el("details", {}, el("summary", {}, title));
    details.addEventListener("toggle", () => {
      if (details.childElementCount > 1) return;
      details.append(el("pre", { tabindex: 0 }, indented(json.text)));
      if (json.cut) details.append(el("p", { class: "soft" }, `${several(json.length, "character")}, of which the page has ${json.text.length}`));
    });
    return details;
  }
}

/** @type {Record<string, string>} */
const WORDS = { wfSpec: "WfSpec", reasons: "halt reasons", kept: "kept inputs", outcomes: "outcomes" };

/**
 * The place of a field among others: the WfRun, its threads by number, the ExternalEvents.
 * @param {string} field
 */
function order(field) {
  const number = Number.parseInt(field.slice(1), 10) || 0;
  return field[0] === "r" ? -1 : field[0] === "x" ? 1e9 + number : number;
}

/** @param {string} status */
export function badge(status) {
  return el("span", { class: `badge ${status}` }, status);
}

/** @param {any} value */
function plain(value) {
  if (value === undefined || value === null) return null;
  return Array.isArray(value) ? value.join(", ") : String(value);
}
