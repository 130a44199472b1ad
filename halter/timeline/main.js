// The page of one timeline: its title, its theme, and the Stepper, for the data that is in the page.

import { byId, el, several } from "./dom.js";
import { clock, lasting } from "./model.js";
import { Stepper } from "./stepper.js";

const THEMES = ["system", "light", "dark"];
let theme = 0;

function nextTheme() {
  theme = (theme + 1) % THEMES.length;
  document.documentElement.dataset.theme = THEMES[theme];
  byId("theme").textContent = `Theme: ${THEMES[theme]}`;
}

/** @param {import("./model.js").Model} model */
function title(model) {
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
}

byId("theme").addEventListener("click", nextTheme);
title(new Stepper(JSON.parse(byId("data").textContent ?? "")).model);
