// Cross-entropy -Σ q_j ln p_j of a model p against a target q, and its gradient p - q at the scores.
import { bars, tag, text } from "./core.js";

const TOP = 5;

export function compute({ labels, p: first }, { right, probability, smoothing }) {
  const others = first.reduce((sum, v, j) => (j === right ? sum : sum + v), 0);
  const rest = (1 - probability) / others;
  const p = first.map((v, j) => (j === right ? probability : v * rest));
  const q = first.map((_, j) => (j === right ? 1 - smoothing : 0) + smoothing / first.length);
  const loss = q.reduce((sum, v, j) => sum - v * Math.log(p[j]), 0);
  const floor = q.reduce((sum, v) => (v > 0 ? sum - v * Math.log(v) : sum), 0);
  const gradient = p.map((v, j) => v - q[j]), pull = gradient[right];
  return {
    p, q, gradient, loss, floor, pull, bits: loss / Math.LN2, perplexity: Math.exp(loss),
    word: labels[right], push: Math.abs(pull) < 5e-4 ? "still" : pull < 0 ? "up" : "down",
  };
}

// The curve's box: beside the bars where there is room, else above them.
function layout(width) {
  return { left: 34, top: 26, w: (width < 560 ? width : width * 0.46) - 46, h: 190 };
}

export function draw(data, params, state, width) {
  const { left, top, w, h } = layout(width), beside = width >= 560;
  const X = (p) => left + w * p, Y = (loss) => top + h * (1 - Math.min(loss, TOP) / TOP);
  const curve = (smoothing) => {
    let d = "";
    for (let i = 1; i < 200; i++) {
      const { loss } = compute(data, { ...params, smoothing, probability: i / 200 });
      if (loss <= TOP) d += `${d ? "L" : "M"}${X(i / 200).toFixed(1)} ${Y(loss).toFixed(1)}`;
    }
    return d;
  };
  const line = (d, more = {}) => tag("path", { d, fill: "none", stroke: "currentColor", ...more });
  const faint = { "stroke-opacity": 0.3 };
  let svg = text(0, 14, "loss (nats)");
  for (let v = 0; v <= TOP; v++)
    svg += line(`M${left} ${Y(v)}h${w}`, faint) + text(left - 8, Y(v) + 4, v, { "text-anchor": "end" });
  for (const v of [0, 0.5, 1]) svg += text(X(v), top + h + 18, v, { "text-anchor": "middle" });
  svg += text(left + w / 2, top + h + 36, "probability of the right word", { "text-anchor": "middle" });
  if (params.smoothing) svg += line(curve(0), { "stroke-dasharray": "4 4" });
  svg += line(curve(params.smoothing), { stroke: "var(--V)", "stroke-width": 2.5 });
  const [x, y] = [X(params.probability), Y(state.loss)];
  svg += line(`M${left} ${y}H${x}V${top + h}`, { "stroke-dasharray": "2 3" });
  svg += tag("circle", { cx: x, cy: y, r: 7, fill: "var(--V)", stroke: "currentColor" });

  const from = beside ? width * 0.52 : 0, room = width - from;
  let below = beside ? 14 : top + h + 62;
  svg += text(from, below, "model p (solid), target y (dashed)");
  const [upper, used] = bars(state.p, data.labels, from, below + 22, room, 90,
    { strong: params.right, ghost: state.q });
  below += 22 + used + 20;
  svg += text(from, below, "gradient at the scores: p − y");
  const [lower, more] = bars(state.gradient, data.labels, from, below + 18, room, 110,
    { strong: params.right, low: -1.2, high: 1.2 });
  return [svg + upper + lower, Math.max(below + 18 + more, top + h + 44)];
}

export function drag(params, x, y, width) {
  const { left, top, w, h } = layout(width);
  if (x < left - 9 || x > left + w + 9 || y < top || y > top + h) return null;
  return { probability: (x - left) / w };
}
