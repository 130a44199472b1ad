// What every page of the console has beside its content: theme, keys, times that go on, and live updates.
// Without this script the pages show the same, as they were when they were asked for.

import { ago } from "./times.js";
import { keep, putBack } from "./kept.js";
import { keys } from "./keys.js";
import { live } from "./live.js";

const THEMES = ["system", "light", "dark"];

function themes() {
  const buttons = /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("button.theme"));
  const show = () => {
    const now = document.documentElement.dataset.theme ?? "system";
    for (const button of buttons) {
      button.textContent = `Theme: ${now}`;
      button.hidden = false;
    }
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const now = document.documentElement.dataset.theme ?? "system";
      const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
      if (next === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next;
      try {
        localStorage.setItem("theme", next);
      } catch {
        // Then it lasts as long as the page.
      }
      show();
    });
  }
  show();
}

/** Writes anew how long ago each time is. */
function times() {
  const now = Date.now();
  for (const it of /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll("time[data-ms]"))) {
    const words = ago(Number(it.dataset.ms), now);
    if (it.textContent !== words) it.textContent = words;
  }
}

/** Filters apply when they are chosen. Text waits for Enter. */
function filters() {
  const form = /** @type {HTMLFormElement | null} */ (document.querySelector("form[data-filters]"));
  if (!form) return;
  form.addEventListener("change", (event) => {
    if (event.target instanceof HTMLSelectElement) form.requestSubmit();
  });
  form.addEventListener("submit", () => {
    // An address has no filters that are empty.
    for (const field of form.elements) {
      if ((field instanceof HTMLInputElement || field instanceof HTMLSelectElement) && !field.value) field.disabled = true;
    }
  });
  window.addEventListener("pageshow", () => {
    for (const field of form.elements) if (field instanceof HTMLInputElement || field instanceof HTMLSelectElement) field.disabled = false;
  });
}

/** A form is sent once, and what was typed is kept until it is taken. */
function forms() {
  document.addEventListener("submit", (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    if (form.method !== "post") return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    if (form.closest("main")) keep(form);
    const button = form.querySelector("button[type=submit], button:not([type])");
    if (button instanceof HTMLButtonElement && form.dataset.sending) button.textContent = form.dataset.sending;
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete /** @type {HTMLElement} */ (form).dataset.sent;
  });
}

/** The content of an ExternalEvent is asked for by its type, which depends on the ExternalEventDef. */
function reloads() {
  for (const it of /** @type {NodeListOf<HTMLSelectElement>} */ (document.querySelectorAll("select[data-form-reload]"))) {
    it.addEventListener("change", () => {
      const asked = new URLSearchParams();
      for (const [name, value] of new FormData(/** @type {HTMLFormElement} */ (it.form))) {
        if (typeof value === "string" && value && !["csrf", "action_id", "step"].includes(name)) asked.set(name, value);
      }
      location.replace(`${location.pathname}?${asked}`);
    });
  }
}

/** Where the places are one line, the present one is in sight. */
function places() {
  const here = document.querySelector(".places a[aria-current]");
  const line = here?.closest("nav");
  if (here instanceof HTMLElement && line) line.scrollLeft = here.offsetLeft - 2;
}

themes();
times();
places();
setInterval(times, 5_000);
filters();
forms();
reloads();
putBack();
keys();
live(times);
