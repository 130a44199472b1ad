// Sets the theme that was chosen before anything is drawn. It is no module, so the page waits for it.

(() => {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be forbidden: then the theme is the system's.
  }
})();
