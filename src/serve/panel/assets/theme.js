// Light or dark as chosen before, set before anything is painted.
(function () {
  "use strict";
  try {
    const theme = localStorage.getItem("tallgrass-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be forbidden: then the system's choice holds.
  }
})();
