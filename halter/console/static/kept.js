// Keeps what was typed into a form until its console has taken it. If it is refused, because a login has ended for
// example, the form has it again when it is opened next. It stays in this tab, and goes with it.

const KEY = "halter-form";
/** Fields that belong to one form as it was shown. */
const OWN = ["csrf", "action_id", "step"];

/** @typedef {{ action: string, fields: [string, string][] }} Kept */

/** @param {HTMLFormElement} form */
export function keep(form) {
  /** @type {[string, string][]} */
  const fields = [];
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string" && !OWN.includes(name)) fields.push([name, value]);
  }
  put({ action: form.getAttribute("action") ?? "", fields });
}

/** Says on the page of a refusal that what was typed is kept; on the page of its form, puts it back. */
export function putBack() {
  const kept = take();
  if (!kept) return;
  const said = document.getElementById("kept");
  if (said) {
    put(kept);
    said.hidden = false;
    return;
  }
  const form = [...document.querySelectorAll("main form")].find((it) => it.getAttribute("action") === kept.action);
  if (!(form instanceof HTMLFormElement)) return;
  const chooses = form.querySelector("select[data-form-reload]");
  const chosen = kept.fields.find(([name]) => chooses instanceof HTMLSelectElement && name === chooses.name);
  const isThere = chooses instanceof HTMLSelectElement && chosen && [...chooses.options].some((it) => it.value === chosen[1]);
  if (chosen && isThere && chooses.value !== chosen[1]) {
    // Its other fields depend on this one: the form is asked for with it, and then filled.
    put(kept);
    location.replace(`${location.pathname}?${new URLSearchParams([chosen])}`);
    return;
  }
  for (const [name, value] of kept.fields) {
    const field = form.elements.namedItem(name);
    if (field instanceof HTMLInputElement && field.type === "hidden") continue;
    if (field instanceof HTMLInputElement && field.type === "checkbox") field.checked = field.value === value;
    else if (field instanceof HTMLInputElement || field instanceof HTMLSelectElement || field instanceof HTMLTextAreaElement) field.value = value;
  }
}

/** @param {Kept} kept */
function put(kept) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // Storage may be full or forbidden: then it is typed again.
  }
}

/** @returns {Kept | null} */
function take() {
  try {
    const text = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}
