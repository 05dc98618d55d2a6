// The rules in their order: temperature, top-k, top-p, min-p; each cuts what the one before left.
import { bars, tag, text } from "./core.js";

function softmax(z) {
  const top = Math.max(...z);
  const e = z.map((v) => Math.exp(v - top));
  const total = e.reduce((a, b) => a + b);
  return e.map((v) => v / total);
}

export function compute({ logits, labels }, { temperature, top_k, top_p, min_p }) {
  const top = Math.max(...logits);
  let z = logits.map((v) => (v - top) / temperature);
  const before = softmax(z);
  const least = [...z].sort((a, b) => b - a)[Math.min(top_k, z.length) - 1];
  z = z.map((v) => (v >= least ? v : -Infinity));
  if (top_p < 1) {
    const p = softmax(z), rising = [...p].sort((a, b) => a - b);
    let total = 0, cut = 0;
    for (const v of rising) if ((total += v) <= 1 - top_p) cut += 1;
    const floor = rising[Math.min(cut, p.length - 1)];
    z = z.map((v, i) => (p[i] >= floor ? v : -Infinity));
  }
  const low = Math.max(...z) + Math.log(min_p);
  z = z.map((v) => (v >= low ? v : -Infinity));
  const p = softmax(z);
  const entropy = p.reduce((h, v) => (v > 0 ? h - v * Math.log(v) : h), 0);
  const n_kept = p.filter((v) => v > 0).length, best = p.indexOf(Math.max(...p));
  return {
    before, p, n_kept, n: p.length, mass: before.reduce((a, v, i) => (p[i] > 0 ? a + v : a), 0),
    best, word_best: labels[best], p_best: p[best], entropy, alike: Math.exp(entropy),
    cut: n_kept === p.length ? "none" : n_kept === 1 ? "greedy" : "some",
  };
}

export function draw(data, params, state, width) {
  const [svg, height] = bars(state.p, data.labels, 0, 44, width, 170, { strong: state.best, ghost: state.before });
  const key = tag("rect", { x: 0, y: 12, width: 12, height: 12, fill: "var(--V)" })
    + text(18, 23, "drawn with")
    + tag("rect", { x: 104, y: 12, width: 12, height: 12, fill: "none", stroke: "currentColor", "stroke-dasharray": "3 3" })
    + text(122, 23, "before the cut");
  return [key + svg, 44 + height];
}
