// Draws the lanes as SVG: only what is in view, anew for each scroll and zoom. What is narrower than some pixels is
// drawn together, so a screen never has more than a few thousand shapes, however long the history is.

import { svg } from "./dom.js";
import { clock, last, lasting } from "./model.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./model.js").Lane} Lane */
/** @typedef {import("./model.js").Interval} Interval */
/** @typedef {import("./model.js").Arrow} Arrow */
/** @typedef {{ x1: number, x2: number, from: number, value: any, values: 1 | 2, shares: Map<any, number> }} Bar  `values` is 2 if there are more. */

const AXIS = 34;
const TOP = 46;
const BAR = 20;
const STRIP = 14;
const GAP = 3;
const PAD = 22;
const TAIL = 70;
/** A bar narrower than this is drawn together with its neighbours. */
const NARROWEST = 3;
/** As wide as bars that are drawn together get. */
const GATHERED = 6;
const ARROWS_MAX = 260;
const STEP_MIN = 0.02;
const STEP_MAX = 160;
const LETTER = 6.9;
const SMALL_LETTER = 6.1;

export class Lanes {
  /**
   * @param {Model} model
   * @param {HTMLElement} stage  Scrolls.
   * @param {HTMLElement} sizer  As large as the whole drawing.
   * @param {(at: number) => void} chosen  Is told which event was clicked.
   */
  constructor(model, stage, sizer, chosen) {
    this.model = model;
    this.stage = stage;
    this.sizer = sizer;
    this.cursor = 0;
    /** @type {number | null} */
    this.pinned = null;
    this.byTime = false;
    /** @type {Set<number> | null} The events that the filter lets through; null if there is no filter. */
    this.shown = null;
    this.step = 24;
    this.printing = false;
    /** @type {number[]} */
    this.tops = [];
    this.length = 1;
    this.isDated = false;
    this.root = svg("svg", { class: "lanes", "aria-hidden": "true", focusable: "false" });
    sizer.append(this.root);
    this.drawn = 0;
    this.use(model);
    stage.addEventListener("scroll", () => this.redraw(), { passive: true });
    new ResizeObserver(() => this.redraw()).observe(stage);
    this.root.addEventListener("click", (event) => {
      const box = this.root.getBoundingClientRect();
      const x = event.clientX - box.left - this.labels + this.stage.scrollLeft;
      if (event.clientX - box.left < this.labels) return;
      chosen(this.nearest(x, this.laneAt(event.clientY - box.top + this.stage.scrollTop)));
    });
    stage.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        const box = this.root.getBoundingClientRect();
        this.zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - box.left);
      },
      { passive: false },
    );
  }

  /**
   * Draws this history from now on.
   * @param {Model} model
   */
  use(model) {
    this.model = model;
    this.tops = [AXIS + TOP];
    for (const lane of model.lanes) this.tops.push(this.tops[this.tops.length - 1] + height(lane));
    const first = model.time(0);
    this.length = Math.max(1, model.time(model.size - 1) - first);
    this.isDated = new Date(first).toISOString().slice(0, 10) !== new Date(first + this.length).toISOString().slice(0, 10);
  }

  /** The width of the column of names. */
  get labels() {
    return this.width < 640 ? 114 : 216;
  }

  get width() {
    return this.printing ? 1040 : this.stage.clientWidth;
  }

  /**
   * Where an event is, from the left of the whole drawing without the names.
   * @param {number} at
   */
  x(at) {
    const { model, step } = this;
    if (!this.byTime) return PAD + at * step;
    if (at >= model.size) return PAD + this.length * this.scale + TAIL;
    return PAD + (model.time(at) - model.time(0)) * this.scale;
  }

  /** Pixels per millisecond: as wide as the events would be one after the other. */
  get scale() {
    return (this.step * this.model.size) / this.length;
  }

  get whole() {
    return this.x(this.model.size) + (this.byTime ? PAD : TAIL);
  }

  /** Shows the whole history, if it can be told apart then. */
  fit() {
    const room = Math.max(120, this.width - this.labels - PAD - TAIL);
    this.step = bounded(room / this.model.size, STEP_MIN, 64);
    this.redraw();
  }

  /**
   * @param {number} factor
   * @param {number} [around]  What stays where it is, in pixels from the left of the drawing.
   */
  zoom(factor, around) {
    const middle = around ?? bounded(this.x(this.cursor) - this.stage.scrollLeft + this.labels, this.labels, this.width);
    const place = (this.stage.scrollLeft + middle - this.labels - PAD) / this.step;
    this.step = bounded(this.step * factor, STEP_MIN, STEP_MAX);
    this.resize();
    this.stage.scrollLeft = place * this.step + PAD - middle + this.labels;
    this.redraw();
  }

  /** Makes the drawing's whole size known to the scroll bars. */
  resize() {
    this.sizer.style.width = `${Math.max(this.whole + this.labels, 1)}px`;
    this.sizer.style.height = `${this.tops[this.tops.length - 1] + 8}px`;
  }

  /** Scrolls to the cursor, if it is out of sight. */
  reveal() {
    this.resize();
    const { stage } = this;
    const x = this.x(this.cursor);
    const room = stage.clientWidth - this.labels;
    if (x < stage.scrollLeft + 24 || x > stage.scrollLeft + room - 48) {
      stage.scrollLeft = Math.max(0, x - room / 2);
    }
    const lane = this.model.laneOf.get(this.model.data.events[this.cursor][3]);
    if (lane === undefined) return;
    const top = this.tops[lane];
    const bottom = this.tops[lane + 1];
    if (top < stage.scrollTop + AXIS) stage.scrollTop = top - AXIS - 8;
    else if (bottom > stage.scrollTop + stage.clientHeight) stage.scrollTop = bottom - stage.clientHeight + 8;
  }

  /**
   * The event nearest to a place, of the lane that is there if it has one near.
   * @param {number} x
   * @param {number} lane
   */
  nearest(x, lane) {
    const all = this.nearestOf(null, x);
    const own = this.model.lanes[lane]?.events;
    if (own?.length) {
      const found = this.nearestOf(own, x);
      if (Math.abs(this.x(found) - x) < 14) return found;
    }
    return all;
  }

  /**
   * @param {number[] | null} events
   * @param {number} x
   */
  nearestOf(events, x) {
    const size = events ? events.length : this.model.size;
    const event = (/** @type {number} */ place) => (events ? events[place] : place);
    let low = 0;
    let high = size;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.x(event(middle)) <= x) low = middle + 1;
      else high = middle;
    }
    const before = event(Math.max(0, low - 1));
    const after = event(Math.min(size - 1, low));
    return Math.abs(this.x(after) - x) < Math.abs(x - this.x(before)) ? after : before;
  }

  /** @param {number} y */
  laneAt(y) {
    return last(this.tops, y);
  }

  /** Draws what is in view, once per frame. */
  redraw() {
    if (this.printing || this.drawn) return;
    this.drawn = requestAnimationFrame(() => {
      this.drawn = 0;
      this.draw();
    });
  }

  /** Draws what is in view. */
  draw() {
    this.resize();
    const { model, root, labels } = this;
    const width = this.width;
    const tall = this.tops[this.tops.length - 1] + 8;
    const view = {
      left: this.printing ? 0 : this.stage.scrollLeft,
      top: this.printing ? 0 : this.stage.scrollTop,
      width: Math.max(1, width - labels),
      height: this.printing ? tall : this.stage.clientHeight,
    };
    root.setAttribute("width", String(width));
    root.setAttribute("height", String(view.height));
    if (this.printing) root.setAttribute("viewBox", `0 0 ${width} ${view.height}`);
    else root.removeAttribute("viewBox");
    const plot = svg("svg", { x: labels, y: 0, width: view.width, height: view.height });
    const from = Math.max(0, this.nearestOf(null, view.left) - 1);
    const to = Math.min(model.size, this.nearestOf(null, view.left + view.width) + 2);
    const first = Math.max(0, last(this.tops, view.top + AXIS));
    const end = Math.min(model.lanes.length, last(this.tops, view.top + view.height) + 1);
    const x = (/** @type {number} */ at) => this.x(at) - view.left;

    const under = svg("g");
    const body = svg("g");
    const arrows = svg("g");
    const top = svg("g");
    const fromTop = svg("g");
    const names = svg("g");
    for (let index = first; index < end; index += 1) {
      const y = this.tops[index] - view.top;
      const lane = model.lanes[index];
      const line = svg("line", { x1: 0, x2: width, y1: y + height(lane), y2: y + height(lane), class: "rule" });
      under.append(line);
      this.drawLane(body, lane, y, from, to, x);
      this.drawName(names, lane, y, labels);
    }
    const cell = Math.max(2, Math.min(x(this.cursor + 1) - x(this.cursor), 64));
    under.append(svg("rect", { x: x(this.cursor), y: 0, width: cell, height: view.height, class: "cursor-cell" }));
    if (this.pinned !== null) {
      const a = Math.min(this.pinned, this.cursor);
      const b = Math.max(this.pinned, this.cursor);
      under.append(svg("rect", { x: x(a), y: AXIS, width: Math.max(1, x(b) - x(a)), height: view.height, class: "compared" }));
    }
    this.drawArrows(arrows, fromTop, from, to, x, view);
    this.drawTop(top, from, to, x, view);
    const isLast = this.cursor === this.model.size - 1; // what stands there then is the name of something, not the future
    const veil = isLast ? view.width : Math.min(view.width, Math.max(0, x(this.cursor) + cell, x(this.cursor + 1)));
    const future = svg("rect", { x: veil, y: AXIS, width: view.width - veil, height: view.height, class: "veil" });
    const line = svg("line", { x1: x(this.cursor), x2: x(this.cursor), y1: AXIS - 6, y2: view.height, class: "cursor" });
    const current = this.drawCurrent(x, view);
    plot.append(under, body, arrows, top, fromTop, future, line, current);
    if (this.pinned !== null) {
      const at = x(this.pinned);
      plot.append(svg("line", { x1: at, x2: at, y1: AXIS - 6, y2: view.height, class: "pin" }));
    }
    this.drawAxis(plot, from, to, x, view.width);
    const side = svg("g", {}, svg("rect", { x: 0, y: 0, width: labels, height: view.height, class: "side" }), names);
    side.append(svg("rect", { x: 0, y: 0, width: labels, height: AXIS + TOP, class: "side" }));
    side.append(text(12, AXIS + 20, "lane-name", "ExternalEvents"));
    if (labels > 120) side.append(text(12, AXIS + 36, "lane-more", "and the WfRun itself"));
    side.append(svg("line", { x1: labels, x2: labels, y1: 0, y2: view.height, class: "edge" }));
    side.append(svg("line", { x1: 0, x2: width, y1: AXIS + TOP, y2: AXIS + TOP, class: "edge" }));
    side.append(text(12, 21, "lane-more", this.byTime ? "UTC, by time" : "UTC, by event"));
    root.replaceChildren(patterns(), plot, side);
  }

  /**
   * @param {Element} into
   * @param {Lane} lane
   * @param {number} y
   * @param {number} from
   * @param {number} to
   * @param {(at: number) => number} x
   */
  drawLane(into, lane, y, from, to, x) {
    const top = y + 8;
    for (const bar of gathered(lane.status, from, to, x)) {
      const width = Math.max(1, bar.x2 - bar.x1);
      if (bar.values > 1) {
        this.shares(into, bar, top, width);
        continue;
      }
      const shape = { x: bar.x1, y: top, width, height: BAR, rx: Math.min(3, width / 2) };
      into.append(svg("rect", { ...shape, class: `bar ${bar.value}` }));
      if (PATTERNED.has(bar.value)) into.append(svg("rect", { ...shape, fill: `url(#p-${bar.value})` }));
    }
    for (const status of gathered(lane.status, from, to, x)) {
      if (status.values > 1 || status.value === "RUNNING") continue;
      const node = lane.nodes[last(lane.nodeStarts, status.from)]?.value ?? "";
      const words = [`${status.value} at ${node}`, String(status.value)];
      this.label(into, words, status.x1 + (ENDS[status.value] ? 6 : 0), status.x2, top);
    }
    for (const visit of gathered(lane.nodes, from, to, x)) {
      if (visit.values > 1) continue;
      if (visit.x1 > 0 && visit.x2 - visit.x1 > 4) {
        into.append(svg("line", { x1: visit.x1, x2: visit.x1, y1: top + 1, y2: top + BAR - 1, class: "visit" }));
      }
      const status = lane.status[last(lane.statusStarts, visit.from)];
      if (!status || status.value !== "RUNNING") continue;
      this.label(into, [String(visit.value ?? "")], visit.x1, Math.min(visit.x2, x(status.to)), top);
    }
    let drawn = 0;
    const wide = x(1) - x(0);
    for (const strip of lane.strips) {
      if (strip.to <= from || strip.from > to || strip.row >= 4) continue;
      const x1 = x(strip.from);
      const x2 = x(strip.to);
      if (x2 - x1 < NARROWEST || drawn > 400) continue;
      drawn += 1;
      const at = top + BAR + GAP + strip.row * (STRIP + GAP);
      into.append(svg("rect", { x: x1 + 1, y: at, width: Math.max(1, x2 - x1 - 2), height: STRIP, rx: 2, class: `strip ${strip.kind}` }));
      const begin = Math.max(x1, 0);
      const words = clipped(`${SIGNS[strip.kind]} ${strip.text}`, x2 - begin - 10, SMALL_LETTER);
      if (words.length > 3) into.append(text(begin + 6, at + 10.5, "strip-text", words));
    }
    if (wide >= 5 || this.byTime) {
      let before = -9;
      for (let place = last(lane.events, from - 1) + 1; place < lane.events.length && lane.events[place] <= to; place += 1) {
        const at = x(lane.events[place]);
        if (at - before < 4) continue;
        before = at;
        const dim = this.shown && !this.shown.has(lane.events[place]);
        into.append(svg("circle", { cx: at, cy: top + BAR, r: dim ? 1.5 : 3, class: dim ? "event dim" : "event" }));
      }
    }
    let lately = -20;
    for (const ended of lane.ends) {
      if (ended.from < from || ended.from > to) continue;
      const at = x(ended.from);
      if (at - lately < (ended.value === "COMPLETED" ? 30 : 4)) continue;
      lately = at;
      into.append(svg("circle", { cx: at, cy: top + BAR / 2, r: 8, class: `ended ${ended.value}` }));
      into.append(text(at, top + BAR / 2 + 4, "ended-sign", ENDS[ended.value]));
    }
  }

  /**
   * Statuses that are too close together for bars of their own: how much of the width each of them has.
   * @param {Element} into
   * @param {Bar} bar
   * @param {number} top
   * @param {number} width
   */
  shares(into, bar, top, width) {
    const whole = [...bar.shares.values()].reduce((sum, it) => sum + it, 0) || 1;
    let y = top + BAR;
    for (const status of STACKED) {
      const height = (BAR * (bar.shares.get(status) ?? 0)) / whole;
      if (!height) continue;
      y -= height;
      into.append(svg("rect", { x: bar.x1, y, width, height, class: `share ${status}` }));
    }
  }

  /**
   * Writes the first of some words that fits into a bar.
   * @param {Element} into
   * @param {string[]} choices
   * @param {number} x1
   * @param {number} x2
   * @param {number} top
   */
  label(into, choices, x1, x2, top) {
    const begin = Math.max(x1, 0);
    const room = x2 - begin - 12;
    const words = choices.find((it) => it.length * LETTER <= room) ?? clipped(choices[choices.length - 1], room, LETTER);
    if (words) into.append(text(begin + 7, top + 14, "node-name", words));
  }

  /**
   * @param {Element} into
   * @param {Lane} lane
   * @param {number} y
   * @param {number} width
   */
  drawName(into, lane, y, width) {
    const indent = 12 + Math.min(lane.depth, width > 120 ? 6 : 2) * (width > 120 ? 14 : 6);
    const at = lane.threads.find((it) => {
      const { from, to } = this.model.span(it.number);
      return from <= this.cursor && this.cursor < to;
    });
    const exists = lane.threads.some((it) => this.model.span(it.number).from <= this.cursor);
    const shared = lane.threads.length > 1;
    const thread = at ?? lane.threads[0];
    const name = shared ? thread.spec : `#${thread.number} ${thread.spec}`;
    const more = shared
      ? `${lane.threads.length} threads${at ? `, now #${at.number}` : ""}`
      : thread.parent === null ? thread.type : `${TYPES[thread.type] ?? thread.type} #${thread.parent}`;
    if (lane.depth) {
      into.append(svg("path", { d: `M${indent - 8} ${y + 4}v14h5`, class: "branch" }));
    }
    const dim = exists ? "" : " later";
    into.append(text(indent, y + 22, `lane-name${dim}`, clipped(name, width - indent - 6, 7.2)));
    into.append(text(indent, y + 37, `lane-more${dim}`, clipped(more, width - indent - 6, SMALL_LETTER)));
  }

  /**
   * The ExternalEvents, and the events of the WfRun itself.
   * @param {Element} into
   * @param {number} from
   * @param {number} to
   * @param {(at: number) => number} x
   * @param {{ top: number, width: number }} view
   */
  drawTop(into, from, to, x, view) {
    into.append(svg("rect", { x: 0, y: 0, width: view.width, height: AXIS + TOP, class: "top-lane" }));
    const y = AXIS + 16;
    let before = -20;
    const { external } = this.model.data;
    const places = external.map((it) => it.at);
    for (let number = Math.max(0, last(places, from - 1)); number < external.length && external[number].at <= to; number += 1) {
      const event = external[number];
      const at = x(event.at);
      if (at - before < 3) continue;
      const narrow = at - before < 10;
      before = at;
      const status = this.model.value(`x${number}.status`, this.cursor) ?? "LATER";
      const size = narrow ? 3 : 7;
      const shape = `M${at} ${y - size}l${size} ${size}l${-size} ${size}l${-size} ${-size}z`;
      into.append(svg("path", { d: shape, class: `external ${status}` }));
      if (status === "DROPPED" || status === "SUPERSEDED") {
        into.append(svg("line", { x1: at - 8, x2: at + 8, y1: y + 8, y2: y - 8, class: "crossed" }));
      }
      const next = number + 1 < external.length ? x(external[number + 1].at) : at + 400;
      const words = clipped(`${event.def} ${event.id}`, Math.min(next - at - 22, 220), SMALL_LETTER);
      if (words.length > 3) into.append(text(at + 11, y + 4, "external-name", words));
    }
    before = -20;
    for (const event of this.model.eventsOf.get(-1) ?? []) {
      if (event < from || event > to || this.model.group(event) === "ExternalEvents") continue;
      const at = x(event);
      if (at - before < 4) continue;
      before = at;
      const kind = this.model.group(event) === "Refused" ? "refused" : "own";
      into.append(svg("rect", { x: at - 3, y: AXIS + 33, width: 6, height: 6, class: `of-run ${kind}` }));
      const words = this.model.kind(event);
      if (x(event + 1) - at > words.length * SMALL_LETTER + 14) into.append(text(at + 7, AXIS + 40, "strip-text", words));
    }
  }

  /**
   * @param {Element} into
   * @param {Element} fromTop  Gets the arrows that begin at an ExternalEvent: the lane of those does not scroll.
   * @param {number} from
   * @param {number} to
   * @param {(at: number) => number} x
   * @param {{ top: number, height: number }} view
   */
  drawArrows(into, fromTop, from, to, x, view) {
    const { arrows } = this.model.data;
    const places = arrows.map((it) => it[0]);
    const begin = last(places, from - 1) + 1;
    const end = last(places, to) + 1;
    const command = this.model.command(this.cursor);
    const few = end - begin <= ARROWS_MAX && (this.byTime || this.step >= 5);
    for (let index = begin; index < end; index += 1) {
      const arrow = arrows[index];
      const now = arrow[0] >= command.first && arrow[0] <= command.last;
      const place = typeof arrow[1] === "string" ? fromTop : into;
      if (few || now) this.drawArrow(place, arrow, x, view, arrow[0] === this.cursor);
    }
  }

  /**
   * @param {Element} into
   * @param {Arrow} arrow
   * @param {(at: number) => number} x
   * @param {{ top: number, height: number }} view
   * @param {boolean} now
   */
  drawArrow(into, [at, source, target, what], x, view, now) {
    const lane = this.model.laneOf.get(target);
    if (lane === undefined) return;
    const x2 = x(at);
    let x1 = x2;
    let y1;
    let y2 = this.tops[lane] - view.top + 8;
    if (typeof source === "string") {
      x1 = x(this.model.data.external[Number(source.slice(1))].at);
      y1 = AXIS + 23;
    } else {
      const other = this.model.laneOf.get(source);
      if (other === undefined || other === lane) return;
      y1 = this.tops[other] - view.top + 8 + (other < lane ? BAR : 0);
      if (other > lane) y2 += BAR;
      const { to } = this.model.span(source);
      if (to < at) x1 = x(to); // It had left before.
    }
    if ((y1 < AXIS && y2 < AXIS) || (y1 > view.height && y2 > view.height)) return;
    if (typeof source === "string" && y2 < AXIS + TOP) return;
    const down = y2 > y1;
    const tip = down ? -7 : 7;
    const bend = Math.max(12, Math.min(40, Math.abs(y2 - y1) / 2)) * (down ? 1 : -1);
    const path = `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2 + tip}`;
    const kind = `${what.replace(" ", "-")}${now ? " now" : ""}`;
    into.append(svg("path", { d: path, class: `arrow ${kind}` }));
    into.append(svg("path", { d: `M${x2} ${y2}l-4 ${tip}h8z`, class: `arrow-tip ${kind}` }));
  }

  /**
   * A ring around the event at the cursor.
   * @param {(at: number) => number} x
   * @param {{ top: number }} view
   */
  drawCurrent(x, view) {
    const lane = this.model.laneOf.get(this.model.data.events[this.cursor][3]);
    const y = lane === undefined ? AXIS + (this.model.group(this.cursor) === "ExternalEvents" ? 16 : 36) : this.tops[lane] - view.top + 8 + BAR;
    return svg("circle", { cx: x(this.cursor), cy: y, r: lane === undefined ? 10 : 6, class: "current" });
  }

  /**
   * @param {Element} into
   * @param {number} from
   * @param {number} to
   * @param {(at: number) => number} x
   * @param {number} width
   */
  drawAxis(into, from, to, x, width) {
    const { model } = this;
    const room = this.isDated ? 168 : 96;
    into.append(svg("rect", { x: 0, y: 0, width, height: AXIS - 4, class: "top-lane" }));
    const label = (/** @type {number} */ at, /** @type {number} */ ms, /** @type {string} */ gap) => {
      into.append(svg("line", { x1: at, x2: at, y1: 24, y2: 30, class: "tick" }));
      into.append(text(at + 4, 20, "time", clock(ms, this.isDated)));
      if (gap) into.append(text(at + 4, 31, "gap", gap));
    };
    if (this.byTime) {
      const step = round(room / this.scale);
      const start = model.time(0);
      const far = start + Math.min(this.length, (width - x(0)) / this.scale);
      for (let ms = Math.ceil(Math.max(start, start + (0 - x(0)) / this.scale) / step) * step; ms <= far; ms += step) {
        label(x(0) + (ms - start) * this.scale, ms, "");
      }
      return;
    }
    let free = -1000;
    let told = -1;
    for (let at = from; at < Math.min(to + 1, model.size); at += 1) {
      const ms = model.time(at);
      const here = x(at);
      if (ms === told || here < free || here < -room) continue;
      label(here, ms, told >= 0 && ms - told >= 1 ? `+${lasting(ms - told)}` : "");
      told = ms;
      free = here + room;
    }
  }
}

/** @type {Record<string, string>} */
const SIGNS = { reason: "‖", task: "⚙", timer: "◷" };
/** @type {Record<string, string>} */
const ENDS = { COMPLETED: "✓", ERROR: "✕", EXCEPTION: "!" };
/** @type {Record<string, string>} */
const TYPES = { INTERRUPT: "INTERRUPT of", FAILURE_HANDLER: "FAILURE_HANDLER of", CHILD: "CHILD of" };
const PATTERNED = new Set(["HALTING", "HALTED", "ERROR", "EXCEPTION"]);
const STACKED = ["RUNNING", "COMPLETED", "HALTED", "HALTING", "EXCEPTION", "ERROR"];

/** The patterns that tell statuses apart without colour. */
export function patterns() {
  const pattern = (/** @type {string} */ name, /** @type {number} */ size, /** @type {string} */ d) =>
    svg("pattern", { id: `p-${name}`, width: size, height: size, patternUnits: "userSpaceOnUse" }, svg("path", { d, class: `pattern ${name}` }));
  return svg(
    "defs",
    {},
    pattern("HALTING", 10, "M0 10L10 0M-2 2L2 -2M8 12L12 8"),
    pattern("HALTED", 7, "M3.5 0V7"),
    pattern("ERROR", 8, "M0 0L8 8M8 0L0 8"),
    pattern("EXCEPTION", 7, "M3.5 2.5v2"),
  );
}

/** @param {Lane} lane */
function height(lane) {
  return Math.max(46, 8 + BAR + (lane.rows ? GAP + lane.rows * (STRIP + GAP) : 0) + 8);
}

/**
 * The intervals in view, as bars. Neighbours that are too narrow are one bar, of more than one value.
 * @param {Interval[]} intervals
 * @param {number} from
 * @param {number} to
 * @param {(at: number) => number} x
 */
function gathered(intervals, from, to, x) {
  /** @type {Bar[]} */
  const bars = [];
  let low = 0;
  let high = intervals.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (intervals[middle].to <= from) low = middle + 1;
    else high = middle;
  }
  for (let index = low; index < intervals.length && intervals[index].from <= to; index += 1) {
    const { value } = intervals[index];
    const x1 = x(intervals[index].from);
    const x2 = x(intervals[index].to);
    const before = bars[bars.length - 1];
    const narrow = before && (x2 - x1 < NARROWEST || before.x2 - before.x1 < NARROWEST);
    if (before && narrow && x1 - before.x2 < 1 && x2 - before.x1 < GATHERED) {
      before.x2 = Math.max(before.x2, x2);
      if (before.value !== value) before.values = 2;
    } else {
      bars.push({ x1, x2, from: intervals[index].from, value, values: 1, shares: new Map() });
    }
    const { shares } = bars[bars.length - 1];
    shares.set(value, (shares.get(value) ?? 0) + x2 - x1);
  }
  return bars;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} kind
 * @param {string} words
 */
function text(x, y, kind, words) {
  return svg("text", { x, y, class: kind }, words);
}

/**
 * As much of a text as there is room for.
 * @param {string} words
 * @param {number} room
 * @param {number} letter
 */
function clipped(words, room, letter) {
  const most = Math.floor(room / letter);
  if (words.length <= most) return words;
  return most >= 4 ? `${words.slice(0, most - 1)}…` : "";
}

/**
 * @param {number} number
 * @param {number} least
 * @param {number} most
 */
function bounded(number, least, most) {
  return Math.min(most, Math.max(least, number));
}

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5, 216e5, 432e5, 864e5];

/**
 * A round span of time that is at least so long.
 * @param {number} ms
 */
function round(ms) {
  return STEPS.find((it) => it >= ms) ?? Math.ceil(ms / 864e5) * 864e5;
}
