// Draws the page's Mermaid diagrams, and draws them again when the reader changes the theme.
const diagrams = [...document.querySelectorAll(".mermaid")];
const sources = diagrams.map((diagram) => diagram.textContent);

async function drawDiagrams() {
  const dark = document.documentElement.dataset.theme === "dark";
  mermaid.initialize({
    startOnLoad: false,
    flowchart: { useMaxWidth: false, nodeSpacing: 28, rankSpacing: 36, padding: 9 },
    theme: dark ? "dark" : "neutral",
    fontFamily: getComputedStyle(document.body).fontFamily,
  });
  diagrams.forEach((diagram, i) => {
    diagram.removeAttribute("data-processed");
    diagram.textContent = sources[i];
  });
  await mermaid.run({ nodes: diagrams });
}

// One drawing at a time: a change of theme waits until the one before it is done.
let drawing = drawDiagrams();
new MutationObserver(() => {
  drawing = drawing.then(drawDiagrams);
}).observe(document.documentElement, { attributeFilter: ["data-theme"] });
