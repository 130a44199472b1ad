// Live updates: the server says that something has changed, the page is asked for again, and what differs is put in its
// place. Focus, selection, scroll, opened details and what somebody is writing stay as they are.

import { patch } from "./patch.js";

/** Least time between two updates. */
const PAUSE_MS = 1_500;
/** A page whose server does not answer asks again after so long. */
const AGAIN_MS = 5_000;

/** @param {() => void} updated  Is called after each update. */
export function live(updated) {
  const address = document.body.dataset.live;
  const button = /** @type {HTMLButtonElement | null} */ (document.getElementById("live"));
  if (!address || !button || !("EventSource" in window)) return;
  /** @type {EventSource | null} */
  let source = null;
  let isOn = true;
  let isDue = false;
  let isAsking = false;
  let last = Date.now();
  /** @type {number | undefined} */
  let timer;

  const soon = () => {
    isDue = true;
    if (timer || isAsking || !isOn || document.hidden) return;
    timer = setTimeout(run, Math.max(50, last + PAUSE_MS - Date.now()));
  };

  const run = async () => {
    timer = undefined;
    if (isBusy()) {
      timer = setTimeout(run, PAUSE_MS);
      return;
    }
    isDue = false;
    isAsking = true;
    try {
      const fresh = await ask(location.pathname + location.search);
      if (fresh) {
        patch(document, fresh);
        updated();
        document.dispatchEvent(new CustomEvent("updated"));
      }
    } catch {
      away();
    } finally {
      last = Date.now();
      isAsking = false;
    }
    if (isDue) soon();
  };

  const away = () => {
    const words = document.getElementById("fresh-words");
    if (words) words.textContent = "the console does not answer";
    const dot = document.getElementById("fresh-dot");
    if (dot) dot.className = "dot bad";
  };

  const open = () => {
    source = new EventSource(address);
    for (const event of ["change", "reset", "back", "away"]) source.addEventListener(event, soon);
    source.addEventListener("error", () => {
      away();
      if (source?.readyState !== EventSource.CLOSED) return;
      // The console has answered, but with no stream: the page itself says why, or the login does.
      soon();
      setTimeout(() => isOn && open(), AGAIN_MS);
    });
    let wasOpen = false;
    source.addEventListener("open", () => {
      if (wasOpen) soon();
      wasOpen = true;
    });
  };

  button.hidden = false;
  button.addEventListener("click", () => {
    isOn = !isOn;
    button.setAttribute("aria-pressed", String(isOn));
    button.textContent = isOn ? "Live" : "Paused";
    source?.close();
    if (isOn) {
      open();
      soon();
    }
  });
  document.addEventListener("visibilitychange", () => isDue && soon());
  window.addEventListener("pagehide", () => source?.close());
  window.addEventListener("pageshow", (event) => event.persisted && isOn && open());
  open();
}

/** Somebody selects a text, holds the mouse, or has a dialog open: an update can wait. */
function isBusy() {
  const selection = getSelection();
  const isSelecting = selection !== null && !selection.isCollapsed && document.getElementById("main")?.contains(selection.anchorNode);
  return isSelecting || document.querySelector("dialog[open]") !== null || document.querySelector("#main :active") !== null;
}

/**
 * Asks for a page. Without text in between, so there is no HTML to parse here.
 * @param {string} address
 * @returns {Promise<Document | null>}
 */
function ask(address) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = "document";
    request.setRequestHeader("Accept", "text/html");
    request.timeout = 15_000;
    request.addEventListener("load", () => {
      // After a logout the login answers: that is another page.
      if (request.responseURL && new URL(request.responseURL).pathname !== location.pathname) location.reload();
      else done(request.status < 500 ? request.responseXML : null);
    });
    request.addEventListener("error", () => failed(new Error("no answer")));
    request.addEventListener("timeout", () => failed(new Error("no answer in time")));
    request.send();
  });
}
