// Before the first paint, so that the page does not flash in the other theme.
"use strict";
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is forbidden here; the system's theme will do.
}
