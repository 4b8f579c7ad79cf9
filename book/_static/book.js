"use strict";

// A formula in a line cannot break: where it is wider than its paragraph it gets a box of its own that scrolls.
function boxWideFormulas() {
  for (const formula of document.querySelectorAll("span.math mjx-container")) {
    formula.classList.remove("wide");
    const block = formula.closest("p, li, td, dd, h1, h2, h3, h4, div");
    formula.classList.toggle("wide", formula.getBoundingClientRect().width > block.clientWidth);
  }
}

window.addEventListener("load", () => {
  const ready = window.MathJax?.startup?.promise;
  if (ready) ready.then(boxWideFormulas);
});
window.addEventListener("resize", boxWideFormulas);

// Paper is white, and shows what is folded on the screen.
let shown = null;
window.addEventListener("beforeprint", () => {
  const folded = [...document.querySelectorAll("details:not([open])")];
  shown = { theme: document.documentElement.dataset.theme, folded };
  document.documentElement.dataset.theme = "light";
  for (const details of folded) details.open = true;
});
window.addEventListener("afterprint", () => {
  if (shown === null) return;
  document.documentElement.dataset.theme = shown.theme;
  for (const details of shown.folded) details.open = false;
});
