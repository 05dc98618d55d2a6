// One position of a tiny model: context vector h → scores W h → softmax → the predicted word.
import { number, tag, text } from "./core.js";

export function compute({ tokens, context, output, vocabulary, targets }, { position, weight, add, temperature }) {
  const h = context[position], C = h.length;
  const W = output.map((row, v) => row.map((w, c) => (v * C + c === weight ? w + add : w)));
  const scores = W.map((row) => row.reduce((sum, w, c) => sum + w * h[c], 0));
  const top = Math.max(...scores);
  const e = scores.map((s) => Math.exp((s - top) / temperature));
  const total = e.reduce((a, b) => a + b);
  const p = e.map((v) => v / total);
  const best = p.indexOf(Math.max(...p)), target = targets[position];
  return {
    h, W, scores, p, best, target, read: tokens.slice(0, position + 1).join(" "),
    word_best: vocabulary[best], p_best: p[best],
    word_target: target === null ? null : vocabulary[target],
    p_target: target === null ? null : p[target],
    loss: target === null ? null : Math.log(total) - (scores[target] - top) / temperature,
    outcome: target === null ? "none" : target === best ? "right" : "wrong",
  };
}

export function draw({ tokens, vocabulary }, { position, weight }, state, width) {
  const line = (d, more = {}) => tag("path", { d, fill: "none", stroke: "currentColor", ...more });
  const middle = { "text-anchor": "middle" }, bold = { "font-weight": 700 };
  const cell = 44, C = state.h.length;
  const name = Math.min(120, 12 + 7.6 * Math.max(...vocabulary.map((word) => word.length)));
  const score = name + C * cell, bar = score + 66;
  const wide = width - bar >= 200, pitch = wide ? 36 : 60;
  let svg = "", x = 0, y = 0;

  // The text: what is read up to the position is solid, what comes later is pale.
  tokens.forEach((token, t) => {
    const w = 18 + 8 * token.length;
    if (x + w > width && x) [x, y] = [0, y + 32];
    const read = t <= position;
    svg += tag("rect", { x: x + 1, y: y + 1, width: w - 2, height: 24, rx: 4, fill: "var(--T)", "fill-opacity": read ? 0.25 : 0, stroke: "var(--T)", "stroke-width": t === position ? 3 : 1, "stroke-dasharray": read ? "none" : "3 3" });
    svg += text(x + w / 2, y + 18, token, middle);
    x += w + 6;
  });

  // A row of C numbers in the channels' color, `changed` with a thick edge.
  const cells = (row, top, changed = -1) => row.map((v, c) => {
    const left = name + c * cell;
    return tag("rect", { x: left, y: top, width: cell, height: 26, fill: "var(--C)", "fill-opacity": 0.2, stroke: c === changed ? "currentColor" : "var(--C)", "stroke-width": c === changed ? 3 : 1 })
      + text(left + cell / 2, top + 18, number(v, 2), middle);
  }).join("");
  const h = y + 44;
  svg += text(name - 8, h + 18, "h", { ...bold, "text-anchor": "end" }) + cells(state.h, h);
  svg += text(score + 8, h + 18, "context vector");
  const head = h + 56;
  svg += text(0, head, "W", bold)
    + text(name - 8, head, "V", { ...bold, "text-anchor": "end", style: "fill:var(--V)" })
    + text(name + C * cell / 2, head, "C", { ...bold, ...middle, style: "fill:var(--C)" })
    + text(score + 8, head, "W h");
  if (wide) svg += text(bar, head, "probability (dashed: target)");

  vocabulary.forEach((word, v) => {
    const top = head + 10 + v * pitch, foot = top + 18, best = v === state.best;
    svg += text(name - 8, foot, word, { "text-anchor": "end", ...(best ? bold : {}) });
    svg += cells(state.W[v], top, weight >= v * C && weight < v * C + C ? weight - v * C : -1);
    svg += text(score + 8, foot, `= ${number(state.scores[v], 2)}`);
    const [left, t, full] = wide ? [bar, top + 2, width - bar - 52] : [name, top + 32, width - name - 52];
    svg += tag("rect", { x: left, y: t, width: full * state.p[v], height: 20, fill: "var(--V)", "fill-opacity": best ? 1 : 0.4 });
    if (v === state.target) svg += tag("rect", { x: left, y: t, width: full, height: 20, fill: "none", stroke: "currentColor", "stroke-dasharray": "3 3" });
    svg += line(`M${left} ${t - 3}v26`) + text(left + full + 8, t + 15, number(state.p[v], 3), best ? bold : {});
  });
  return [svg, head + 14 + vocabulary.length * pitch];
}
