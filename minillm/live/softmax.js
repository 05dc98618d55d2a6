// Softmax: p_i = exp(z_i) / Σ exp(z_j), z = (logits + what is added) / temperature.
import { bars, tag, text } from "./core.js";

export function compute({ logits, labels }, { temperature, word, raise, shift }) {
  const z = logits.map((s, i) => (s + (i === word ? raise : 0) + shift) / temperature);
  const top = Math.max(...z);
  const e = z.map((v) => Math.exp(v - top));
  const total = e.reduce((a, b) => a + b);
  const p = e.map((v) => v / total);
  const entropy = p.reduce((h, v) => (v > 0 ? h - v * Math.log(v) : h), 0);
  const naive = z.reduce((a, v) => a + Math.exp(v), 0);
  const best = p.indexOf(Math.max(...p));
  return {
    z, p, entropy, best, word_best: labels[best], p_best: p[best], alike: Math.exp(entropy),
    naive: naive === Infinity ? "overflows" : naive === 0 ? "underflows" : "works",
  };
}

export function draw(data, params, state, width) {
  const first = compute(data, { ...params, temperature: 1, raise: 0, shift: 0 }).p;
  const [svg, height] = bars(state.p, data.labels, 0, 44, width, 170, { strong: state.best, ghost: first });
  const key = tag("rect", { x: 0, y: 12, width: 12, height: 12, fill: "var(--V)" })
    + text(18, 23, "probability")
    + tag("rect", { x: 104, y: 12, width: 12, height: 12, fill: "none", stroke: "currentColor", "stroke-dasharray": "3 3" })
    + text(122, 23, "as given, at temperature 1");
  return [key + svg, 44 + height];
}
