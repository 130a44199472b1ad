// The history as the page looks at it. It knows the fields of the state and when each changed, and no rule: what an
// event did to the state was computed before, and is in the data.

/** @typedef {[seq: number, time: number, kind: number, thread: number, cause: number, text: string, fields: number, changed: Record<string, any>]} RawEvent */
/** @typedef {{ number: number, spec: string, type: string, parent: number | null, by?: string }} Thread */
/** @typedef {{ def: string, id: string, at: number, content: number }} External */
/** @typedef {[at: number, from: number | string, to: number, what: string]} Arrow */
/** @typedef {{ format: number, wfRun: string, wfSpec: string | null, where: string, masked: boolean, earlier: number, whole: boolean, kinds: [string, string][], groups: string[], causes: string[], values: (string | [string, number])[], threads: Thread[], external: External[], arrows: Arrow[], events: RawEvent[] }} Data */
/** @typedef {{ from: number, to: number, value: any }} Interval  From an event up to, and without, another one. */
/** @typedef {{ from: number, to: number, kind: "reason" | "task" | "timer", text: string, row: number }} Strip */
/** @typedef {{ threads: Thread[], depth: number, status: Interval[], statusStarts: number[], nodes: Interval[], nodeStarts: number[], strips: Strip[], rows: number, events: number[], ends: Interval[] }} Lane */

const FORMAT = 1;
/** From so many threads on, threads of one kind that never ran at the same time share a lane. */
const THREADS_WITH_OWN_LANES = 30;

export class Model {
  /** @param {Data} data */
  constructor(data) {
    if (data.format !== FORMAT) throw new Error(`expected data of format ${FORMAT}, found ${data.format}`);
    this.data = data;
    this.size = data.events.length;
    /** @type {Map<string, { at: number[], to: any[] }>} */
    this.fields = new Map();
    /** @type {Map<number, Thread>} */
    this.threads = new Map(data.threads.map((it) => [it.number, it]));
    /** @type {Map<number, string[]>} Thread -> names of its Variables. */
    this.variables = new Map();
    /** @type {string[]} */
    this.ids = [];
    /** @type {Map<string, number>} */
    this.places = new Map();
    let early = 0;
    data.events.forEach((event, at) => {
      const id = event[0] > 0 ? `e${event[0]}` : `p${(early += 1)}`;
      this.ids.push(id);
      this.places.set(id, at);
      for (const [field, value] of Object.entries(event[7])) this.#note(field, at, value);
    });
    /** @type {Map<number, Arrow[]>} */
    this.arrowsAt = new Map();
    for (const arrow of data.arrows) {
      const there = this.arrowsAt.get(arrow[0]);
      if (there) there.push(arrow);
      else this.arrowsAt.set(arrow[0], [arrow]);
    }
    /** @type {Map<number, number[]>} Thread -> its events; -1 for those of the WfRun. */
    this.eventsOf = new Map();
    data.events.forEach((event, at) => {
      const there = this.eventsOf.get(event[3]);
      if (there) there.push(at);
      else this.eventsOf.set(event[3], [at]);
    });
    /** @type {Lane[]} */
    this.lanes = this.#lanes();
    /** @type {Map<number, number>} Thread -> its lane. */
    this.laneOf = new Map();
    this.lanes.forEach((lane, index) => lane.threads.forEach((it) => this.laneOf.set(it.number, index)));
  }

  /**
   * @param {string} field
   * @param {number} at
   * @param {any} value
   */
  #note(field, at, value) {
    let history = this.fields.get(field);
    if (!history) {
      history = { at: [], to: [] };
      this.fields.set(field, history);
      if (field[0] === "v") {
        const dot = field.indexOf(".");
        const thread = Number(field.slice(1, dot));
        const names = this.variables.get(thread) ?? [];
        names.push(field.slice(dot + 1));
        this.variables.set(thread, names);
      }
    }
    history.at.push(at);
    history.to.push(value);
  }

  /**
   * The value of a field after an event; undefined if it had none yet, or has none any more.
   * @param {string} field
   * @param {number} at
   */
  value(field, at) {
    const history = this.fields.get(field);
    if (!history) return undefined;
    const place = last(history.at, at);
    return place < 0 ? undefined : history.to[place] ?? undefined;
  }

  /**
   * The times for which a field had a value.
   * @param {string} field
   * @param {number} end
   * @returns {Interval[]}
   */
  intervals(field, end = this.size) {
    const history = this.fields.get(field);
    if (!history) return [];
    /** @type {Interval[]} */
    const found = [];
    history.at.forEach((from, index) => {
      const value = history.to[index];
      const to = Math.min(index + 1 < history.at.length ? history.at[index + 1] : this.size, end);
      if (value !== null && from < to) found.push({ from, to, value });
    });
    return found;
  }

  /**
   * The event with which a thread began, and that with which it left (or the number of events).
   * @param {number} thread
   */
  span(thread) {
    const status = this.fields.get(`t${thread}.status`);
    const gone = this.fields.get(`t${thread}.gone`);
    if (!status) {
      const events = this.eventsOf.get(thread) ?? [0];
      return { from: events[0], to: this.size };
    }
    return { from: status.at[0], to: gone ? gone.at[0] : this.size };
  }

  /**
   * The event at which a history opens: the last one. If the record that ended the WfRun is the last one, it is the
   * event that ended it: what this record did behind that is only tidying up, such as removing correlation keys.
   */
  newest() {
    const status = this.fields.get("t0.status");
    const ended = status && ["COMPLETED", "ERROR", "EXCEPTION"].includes(status.to[status.to.length - 1]);
    const end = ended ? status.at[status.at.length - 1] : this.size - 1;
    return this.command(end).last === this.size - 1 ? end : this.size - 1;
  }

  /**
   * The threads that are there after an event, by number.
   * @param {number} at
   */
  threadsAt(at) {
    return this.data.threads
      .filter((it) => this.value(`t${it.number}.status`, at) !== undefined && !this.value(`t${it.number}.gone`, at))
      .sort((a, b) => a.number - b.number);
  }

  /**
   * The JSON of a value, and how long it is if the page has only its beginning.
   * @param {number} number
   */
  json(number) {
    const text = this.data.values[number];
    return typeof text === "string" ? { text, length: text.length, cut: false } : { text: text[0], length: text[1], cut: true };
  }

  /** @param {number} at */
  kind(at) {
    return this.data.kinds[this.data.events[at][2]][0];
  }

  /** @param {number} at */
  group(at) {
    return this.data.kinds[this.data.events[at][2]][1];
  }

  /** @param {number} at */
  time(at) {
    return this.data.events[at][1];
  }

  /** @param {number} at */
  cause(at) {
    return this.data.causes[this.data.events[at][4]];
  }

  /**
   * All events that one record brought about, as the first and the last.
   * @param {number} at
   */
  command(at) {
    const events = this.data.events;
    let first = at;
    let end = at;
    while (first > 0 && events[first - 1][4] === events[at][4]) first -= 1;
    while (end + 1 < this.size && events[end + 1][4] === events[at][4]) end += 1;
    return { first, last: end };
  }

  /**
   * The fields that differ after two events, in the order in which they first came up.
   * @param {number} a
   * @param {number} b
   */
  between(a, b) {
    /** @type {{ field: string, before: any, after: any }[]} */
    const found = [];
    for (const field of this.fields.keys()) {
      const before = this.value(field, a);
      const after = this.value(field, b);
      if (!same(before, after)) found.push({ field, before, after });
    }
    return found;
  }

  /** @returns {Lane[]} */
  #lanes() {
    /** @type {Map<number | null, Thread[]>} */
    const below = new Map();
    for (const thread of this.data.threads) {
      const there = below.get(thread.parent);
      if (there) there.push(thread);
      else below.set(thread.parent, [thread]);
    }
    const shared = this.data.threads.length > THREADS_WITH_OWN_LANES;
    /** @type {Lane[]} */
    const lanes = [];
    /** @type {[Thread[], number][]} Lanes to make: their threads, and how deep they are. */
    const open = this.#tracks(below.get(null) ?? [], shared).map((it) => /** @type {[Thread[], number]} */ ([it, 0]));
    open.reverse();
    for (let next = open.pop(); next; next = open.pop()) {
      const [threads, depth] = next;
      lanes.push(this.#lane(threads, depth));
      const children = threads.flatMap((it) => below.get(it.number) ?? []);
      for (const track of this.#tracks(children, shared).reverse()) open.push([track, depth + 1]);
    }
    return lanes;
  }

  /**
   * Threads by lane. Threads of one ThreadSpec that were never there at the same time may share one.
   * @param {Thread[]} threads
   * @param {boolean} shared
   * @returns {Thread[][]}
   */
  #tracks(threads, shared) {
    const ordered = [...threads].sort((a, b) => a.number - b.number);
    if (!shared) return ordered.map((it) => [it]);
    /** @type {{ kind: string, end: number, threads: Thread[] }[]} */
    const tracks = [];
    for (const thread of ordered) {
      const { from, to } = this.span(thread.number);
      const kind = `${thread.type} ${thread.spec}`;
      const track = tracks.find((it) => it.kind === kind && it.end <= from);
      if (track) {
        track.threads.push(thread);
        track.end = to;
      } else {
        tracks.push({ kind, end: to, threads: [thread] });
      }
    }
    return tracks.map((it) => it.threads);
  }

  /**
   * @param {Thread[]} threads
   * @param {number} depth
   * @returns {Lane}
   */
  #lane(threads, depth) {
    /** @type {Lane} */
    const lane = { threads, depth, status: [], statusStarts: [], nodes: [], nodeStarts: [], strips: [], rows: 0, events: [], ends: [] };
    for (const { number } of threads) {
      const { to } = this.span(number);
      lane.status.push(...this.intervals(`t${number}.status`, to));
      lane.nodes.push(...this.#visits(number, to));
      lane.strips.push(...this.#strips(number, to));
      lane.events.push(...(this.eventsOf.get(number) ?? []));
      const status = this.fields.get(`t${number}.status`);
      status?.to.forEach((value, index) => {
        const from = status.at[index];
        if (value === "COMPLETED" || value === "ERROR" || value === "EXCEPTION") lane.ends.push({ from, to: from, value });
      });
    }
    lane.statusStarts = lane.status.map((it) => it.from);
    lane.nodeStarts = lane.nodes.map((it) => it.from);
    /** @type {number[]} Row -> where it is free again. */
    const free = [];
    for (const strip of lane.strips) {
      let row = free.findIndex((end) => end <= strip.from);
      if (row < 0) row = free.length;
      free[row] = strip.to;
      strip.row = row;
    }
    lane.rows = Math.min(free.length, 4);
    return lane;
  }

  /**
   * The nodes at which a thread was. A node to which it came again is another visit.
   * @param {number} thread
   * @param {number} end
   */
  #visits(thread, end) {
    const nodes = this.fields.get(`t${thread}.node`);
    if (!nodes) return [];
    return this.intervals(`t${thread}.position`, end).map((it) => ({ ...it, value: this.value(`t${thread}.node`, it.from) }));
  }

  /**
   * @param {number} thread
   * @param {number} end
   * @returns {Strip[]}
   */
  #strips(thread, end) {
    /** @type {Strip[]} */
    const found = [];
    for (const it of this.intervals(`t${thread}.task`, end)) {
      found.push({ from: it.from, to: it.to, kind: "task", text: it.value, row: 0 });
    }
    for (const it of this.intervals(`t${thread}.timer`, end)) {
      found.push({ from: it.from, to: it.to, kind: "timer", text: it.value, row: 0 });
    }
    /** @type {Map<string, number>} */
    const since = new Map();
    const reasons = this.fields.get(`t${thread}.reasons`);
    const closed = (/** @type {string} */ text, /** @type {number} */ to) => {
      const from = since.get(text) ?? to;
      since.delete(text);
      if (from < to) found.push({ from, to, kind: "reason", text, row: 0 });
    };
    reasons?.to.forEach((value, index) => {
      const at = Math.min(reasons.at[index], end);
      /** @type {string[]} */
      const now = value ?? [];
      for (const text of [...since.keys()]) if (!now.includes(text)) closed(text, at);
      for (const text of now) if (!since.has(text)) since.set(text, at);
    });
    for (const text of [...since.keys()]) closed(text, end);
    return found.sort((a, b) => a.from - b.from || a.to - b.to);
  }
}

/**
 * The last place in an ascending list whose number is at most `most`; -1 if there is none.
 * @param {number[]} list
 * @param {number} most
 */
export function last(list, most) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] <= most) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * @param {any} a
 * @param {any} b
 */
function same(a, b) {
  return a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((it, i) => it === b[i]));
}

/**
 * A time of day, with the date if `dated`.
 * @param {number} ms
 * @param {boolean} [dated]
 */
export function clock(ms, dated = false) {
  const text = new Date(ms).toISOString();
  return dated ? text.replace("T", " ").replace("Z", "") : text.slice(11, 23);
}

const UNITS = /** @type {[number, string][]} */ ([[86400000, "d"], [3600000, "h"], [60000, "min"], [1000, "s"]]);

/**
 * A span of time in its largest unit and the one below.
 * @param {number} ms
 */
export function lasting(ms) {
  for (const [index, [size, unit]] of UNITS.entries()) {
    if (ms < size) continue;
    const whole = Math.floor(ms / size);
    const rest = ms - whole * size;
    const below = UNITS[index + 1];
    if (!below) return rest && whole < 10 ? `${(ms / 1000).toFixed(1)} s` : `${whole} ${unit}`;
    return rest >= below[0] ? `${whole} ${unit} ${Math.floor(rest / below[0])} ${below[1]}` : `${whole} ${unit}`;
  }
  return `${Math.max(0, Math.round(ms))} ms`;
}
