// What the stock theme leaves undone: names and keyboard stops for those who need them.

// From a folder (file://) the search cannot read pages to quote from them: it lists titles only.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// A box that scrolls sideways can be reached and scrolled with the keyboard.
const BOXES =
  "div.math, mjx-container, pre, .cell_output, .cell_output .output, .table-wrapper, .mermaid";
function markScrollingBoxes() {
  for (const box of document.querySelectorAll(BOXES)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
}

// A wide table scrolls inside a box of its own.
function wrapTables() {
  for (const table of document.querySelectorAll("article table")) {
    if (table.closest(".table-wrapper, .cell_output .output")) continue;
    const box = document.createElement("div");
    box.className = "table-wrapper";
    table.replaceWith(box);
    box.append(table);
  }
}

// Widgets name their sliders and players only beside them: say the name in them too.
function nameWidgets(root) {
  for (const part of root.querySelectorAll(".noUi-handle, .widget-play button")) {
    const label = part.closest(".jupyter-widgets")?.querySelector(".widget-label");
    const name = part.title || label?.textContent || "value";
    if (!part.ariaLabel) part.ariaLabel = name;
  }
}

// The line above a folded cell says what is folded.
function nameFolds() {
  for (const summary of document.querySelectorAll("div.cell details.hide > summary")) {
    summary.removeAttribute("aria-label");
    if (!summary.closest(".tag_solution")) continue;
    summary.querySelector(".collapsed").textContent = "Show the solution";
    summary.querySelector(".expanded").textContent = "Hide the solution";
  }
}

addEventListener("DOMContentLoaded", () => {
  wrapTables();
  nameFolds();
  // The arrow that opens a part of the contents has no words.
  for (const arrow of document.querySelectorAll("summary:has(> .toctree-toggle)")) {
    arrow.ariaLabel = `Pages of ${arrow.closest("li").querySelector("a").textContent.trim()}`;
  }
  // Visible text and name of the search button must agree.
  for (const button of document.querySelectorAll(".search-button-field, .search-button__button")) {
    if (button.textContent.trim()) button.removeAttribute("aria-label");
  }
  // The bibliography is marked up as a list whose entries are not list items.
  for (const list of document.querySelectorAll(".citation-list, [role='list'].citation-list")) {
    list.removeAttribute("role");
  }
  for (const entry of document.querySelectorAll("[role='doc-biblioentry']")) {
    entry.removeAttribute("role");
  }
  nameWidgets(document);
  const widgets = document.querySelectorAll(".cell_output");
  const observer = new MutationObserver(() => nameWidgets(document));
  for (const output of widgets) observer.observe(output, { childList: true, subtree: true });

  // Widgets typeset their labels by MathJax 2's call.
  if (window.MathJax) {
    const typeset = (call) =>
      MathJax.startup.promise.then(() => MathJax.typesetPromise([call[2]].filter(Boolean)));
    MathJax.Hub = { Queue: typeset };
  }
});

addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  markScrollingBoxes();
});
addEventListener("resize", markScrollingBoxes);
addEventListener("toggle", markScrollingBoxes, true);
