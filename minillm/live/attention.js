// One query of attention: weights = softmax(scale × scores), a hidden token's score being −∞.
import { bars, tag, text } from "./core.js";

export function compute({ tokens, scores }, { query, scale, hide }) {
  const z = scores[query].map((s, i) => (i === hide ? -Infinity : s * scale));
  const top = Math.max(...z), e = z.map((v) => Math.exp(v - top));
  const total = e.reduce((a, b) => a + b), w = e.map((v) => v / total);
  const most = Math.max(...w), best = w.indexOf(most);
  return {
    w, best, most, alike: Math.exp(w.reduce((h, v) => (v > 0 ? h - v * Math.log(v) : h), 0)),
    n: tokens.length - (hide >= 0 ? 1 : 0), asks: tokens[query], looked: tokens[best],
    hidden_word: hide >= 0 ? tokens[hide] : "",
    outcome: hide >= 0 ? "hidden" : scale > 1.5 ? "sharp" : scale < 0.67 ? "flat" : "plain",
  };
}

export function draw(data, params, state, width) {
  const first = compute(data, { ...params, scale: 1, hide: -1 }).w;
  const labels = data.tokens.map((word, i) => (i === params.hide ? `(${word})` : word));
  const [svg, height] = bars(state.w, labels, 0, 44, width, 170, { color: "--T", strong: state.best, ghost: first, digits: 2 });
  const key = tag("rect", { x: 0, y: 12, width: 12, height: 12, fill: "var(--T)" })
    + text(18, 23, "weight")
    + tag("rect", { x: 84, y: 12, width: 12, height: 12, fill: "none", stroke: "currentColor", "stroke-dasharray": "3 3" })
    + text(102, 23, "as given, nothing hidden");
  return [key + svg, 44 + height];
}
