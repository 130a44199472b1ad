// Shows the timeline of a WfRun in its page, and reads it again when the page has heard of a later event.

import { byId } from "./dom.js";
import { Stepper } from "./stepper.js";

const box = byId("timeline");
const address = /** @type {string} */ (box.dataset.from);
/** @type {Stepper | null} */
let stepper = null;
let isReading = false;
let seen = Number(box.dataset.seq);

async function read() {
  if (isReading) return;
  isReading = true;
  byId("timeline-away").hidden = true;
  byId("timeline-loading").hidden = stepper !== null;
  try {
    const answer = await fetch(address, { headers: { Accept: "application/json" } });
    const data = await answer.json();
    if (answer.ok) show(data);
    else away(data.title ?? `the console answered ${answer.status}`, data.code === "NO_SUCH_WF_RUN");
  } catch (error) {
    away(error instanceof Error ? error.message : String(error), false);
  } finally {
    byId("timeline-loading").hidden = true;
    isReading = false;
  }
}

/**
 * Says why there is no timeline: the log cannot be read now, or it has nothing of this WfRun (any more).
 * @param {string} sentence
 * @param {boolean} isGone
 */
function away(sentence, isGone) {
  // What is gone is said above, with what is still there.
  if (isGone && document.getElementById("why-away")) return;
  byId("timeline-problem").textContent = sentence;
  byId("timeline-away").hidden = false;
}

/** @param {import("./model.js").Data} data */
function show(data) {
  byId("timeline-body").hidden = false;
  if (stepper) {
    stepper.use(data);
    return;
  }
  stepper = new Stepper(data, record);
}

/**
 * Links the record that caused an event.
 * @param {string} id
 */
function record(id) {
  const link = /** @type {HTMLAnchorElement} */ (byId("record-link"));
  link.hidden = !id.startsWith("e");
  link.href = `${location.pathname}/events/${id.slice(1)}`;
}

box.hidden = false;
byId("timeline-again").addEventListener("click", read);
document.addEventListener("updated", () => {
  const last = document.querySelector("[data-last-seq]");
  const seq = Number(last?.getAttribute("data-last-seq") ?? seen);
  if (seq !== seen || !stepper) {
    seen = seq;
    read();
  }
});
read();
