// The keys of the console. They act while nothing is written; `?` shows them.

/** @param {string} id */
const find = (id) => document.getElementById(id);

/** Listens to keys from now on. */
export function keys() {
  const dialog = /** @type {HTMLDialogElement | null} */ (find("keys"));
  const toggle = () => (dialog?.open ? dialog.close() : dialog?.showModal());
  for (const it of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("button.show-keys"))) {
    it.hidden = false;
    it.addEventListener("click", toggle);
  }
  let isGoing = false;
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const target = /** @type {HTMLElement} */ (event.target);
      if (target.matches("input:not([type=range]):not([type=checkbox]):not([type=radio]), select, textarea")) {
        if (event.key === "Escape" && target.id === "find") target.blur();
        return;
      }
      if (event.key === "?") act(event, toggle);
      if (dialog?.open) return;
      if (isGoing) {
        isGoing = false;
        const place = document.querySelector(`.places a[data-key="${CSS.escape(event.key)}"]`);
        if (place instanceof HTMLAnchorElement) act(event, () => place.click());
        return;
      }
      switch (event.key) {
        case "g":
          isGoing = true;
          setTimeout(() => (isGoing = false), 1500);
          break;
        case "/":
          // A timeline has a search of its own.
          if (!find("search")) act(event, () => find("find")?.focus());
          break;
        case "j":
          act(event, () => step(1));
          break;
        case "k":
          act(event, () => step(-1));
          break;
        case "f":
          act(event, openFilters);
          break;
        case "n":
          act(event, () => page("next"));
          break;
        case "p":
          act(event, () => page("previous"));
          break;
        case "l":
          act(event, () => find("live")?.click());
          break;
      }
    },
    { capture: true },
  );
}

/**
 * @param {KeyboardEvent} event
 * @param {() => void} what
 */
function act(event, what) {
  event.preventDefault();
  event.stopPropagation();
  what();
}

/**
 * Moves the focus to the link of the next or the previous row.
 * @param {number} by
 */
function step(by) {
  const links = [...document.querySelectorAll("[data-rows] [data-row-link]")].filter((it) => it instanceof HTMLElement);
  if (!links.length) return;
  const here = links.findIndex((it) => it.closest("tr, li")?.contains(document.activeElement));
  const there = here < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, here + by));
  const link = /** @type {HTMLElement} */ (links[there]);
  link.focus();
  link.scrollIntoView({ block: "nearest" });
}

function openFilters() {
  const form = document.querySelector("form[data-filters]");
  const more = form?.querySelector("details");
  if (more) more.open = true;
  /** @type {HTMLElement | null | undefined} */ (form?.querySelector("input, select"))?.focus();
}

/** @param {string} which */
function page(which) {
  /** @type {HTMLElement | null} */ (document.querySelector(`[data-page="${which}"]`))?.click();
}
