// A translation step by step: where its writer looks, and what changes if a source word is hidden.
import { number, tag, text } from "./core.js";

export function compute({ source, weights, written, p }, { step, hide }) {
  const t = Math.round(step) - 1, given = weights[hide][t];
  const total = given.reduce((a, b) => a + b);
  const row = given.map((w) => w / total), most = Math.max(...row), best = row.indexOf(most);
  const now = written[hide][t], before = written[0][t];
  return {
    row, best, looked: source[best], most,
    alike: Math.exp(row.reduce((sum, w) => (w > 0 ? sum - w * Math.log(w) : sum), 0)),
    written: now, before, p: p[hide][t], hidden: hide ? source[hide - 1] : "",
    changed: written[hide].map((w, i) => (w === written[0][i] ? 0 : 1)),
    outcome: hide === 0 ? "whole" : now === before ? "same" : "other",
  };
}

export function draw({ source, target, written }, { step, hide }, state, width) {
  const S = source.length, T = target.length, now = Math.round(step) - 1;
  const middle = { "text-anchor": "middle" }, bold = { "font-weight": 700 };
  const pitch = 24, top = 24, name = Math.min(0.4 * width, 16 + 7.6 * Math.max(...source.map((w) => w.length)));
  let svg = text(0, 12, "S: source, and the weight of each word", { style: "fill:var(--T)" });
  source.forEach((word, s) => {
    const y = top + s * pitch, hidden = s + 1 === hide, full = width - name - 50;
    svg += text(name - 8, y + 16, word, { "text-anchor": "end", ...(s === state.best ? bold : {}), ...(hidden ? { "text-decoration": "line-through", "fill-opacity": 0.7 } : {}) });
    svg += tag("rect", { x: name, y: y + 3, width: full * state.row[s], height: 17, fill: "var(--T)", "fill-opacity": s === state.best ? 1 : 0.4 });
    svg += text(name + full * state.row[s] + 6, y + 16, hidden ? "hidden" : number(state.row[s], 2));
  });
  svg += tag("path", { d: `M${name} ${top}v${S * pitch}`, stroke: "currentColor" });
  // What is written: the step's token has a thick edge, a changed one a dashed edge.
  const first = top + S * pitch + 24;
  svg += text(0, first, "T: what it writes (dashed: changed)", { style: "fill:var(--T)" });
  let x = 0, y = first + 10;
  for (let t = 0; t < T; t++) {
    const word = written[hide][t], w = Math.min(width, 18 + 8 * word.length);
    if (x + w > width && x) [x, y] = [0, y + 32];
    const changed = state.changed[t];
    svg += tag("rect", { x: x + 2, y: y + 2, width: w - 4, height: 24, rx: 4, fill: "var(--T)", "fill-opacity": t === now ? 0.3 : 0, stroke: changed ? "var(--V)" : "var(--T)", "stroke-width": t === now ? 3 : 1.5, "stroke-dasharray": changed ? "4 3" : "none" });
    svg += text(x + w / 2, y + 19, word, { ...middle, ...(t === now ? bold : {}) });
    x += w;
  }
  return [svg, y + 34];
}
