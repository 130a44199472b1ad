// What the shapes of the lanes mean, and the keys of the timeline.

import { el, svg } from "./dom.js";
import { patterns } from "./lanes.js";

/** What the bars, strips and arrows are, and the keys. */
export function legendParts() {
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
