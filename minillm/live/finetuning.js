// Accuracy against the number of labels: lines between recorded points, labels on a log scale.
import { tag, text } from "./core.js";

export function compute({ n: labels, methods, y }, { n: wanted, method }) {
  const n = Math.min(Math.max(wanted, labels[0]), labels[labels.length - 1]);
  let i = 0;
  while (i < labels.length - 2 && labels[i + 1] < n) i += 1;
  const left = labels[i], right = labels[i + 1];
  const share = Math.log(n / left) / Math.log(right / left);
  const at = y.map((row) => row[i] + share * (row[i + 1] - row[i]));
  const best = at.indexOf(Math.max(...at));
  return {
    n, at, here: at[method], top: at[best], lead: at[best] - at[method],
    method: methods[method], best: methods[best], verdict: best === method ? "best" : "behind",
  };
}

export function draw({ n: labels, methods, y }, params, state, width) {
  const left = 40, top = 28, h = 190, w = width - left - 12;
  const all = y.flat(), low = Math.floor(Math.min(...all) / 10) * 10;
  const high = Math.max(low + 10, Math.ceil(Math.max(...all) / 10) * 10);
  const first = Math.log(labels[0]), last = Math.log(labels[labels.length - 1]);
  const X = (n) => left + w * (Math.log(n) - first) / (last - first);
  const Y = (v) => top + h * (1 - (v - low) / (high - low));
  const line = (d, more = {}) => tag("path", { d, fill: "none", stroke: "currentColor", ...more });
  let svg = text(0, 14, "test accuracy (%)");
  for (let v = low; v <= high; v += 10)
    svg += line(`M${left} ${Y(v)}h${w}`, { "stroke-opacity": 0.25 }) + text(left - 8, Y(v) + 4, v, { "text-anchor": "end" });
  labels.forEach((n, i) => {
    const anchor = i === 0 ? "start" : i === labels.length - 1 ? "end" : "middle";
    svg += text(X(n), top + h + 18, n, { "text-anchor": anchor });
  });
  svg += text(left + w / 2, top + h + 36, "labels a class", { "text-anchor": "middle" });
  y.forEach((row, m) => {
    const strong = m === params.method;
    const d = row.map((v, i) => `${i ? "L" : "M"}${X(labels[i]).toFixed(1)} ${Y(v).toFixed(1)}`).join("");
    svg += strong ? line(d, { stroke: "var(--T)", "stroke-width": 3 }) : line(d, { "stroke-opacity": 0.5 });
  });
  svg += line(`M${X(state.n).toFixed(1)} ${top}v${h}`, { "stroke-dasharray": "3 3" });
  svg += tag("circle", { cx: X(state.n), cy: Y(state.here), r: 5, fill: "var(--T)" });
  return [svg, top + h + 46];
}
