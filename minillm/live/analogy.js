// An analogy: the cosine of every word with c + amount (b - a), from the table of all cosines.
import { number, tag, text } from "./core.js";

export function compute({ cosines: G, labels }, { a, b, c, amount, own }) {
  const row = G[c].map((g, i) => g + amount * (G[b][i] - G[a][i]));
  const square = row[c] + amount * (row[b] - row[a]);
  const scores = row.map((v) => v / Math.sqrt(Math.max(square, 1e-12)));
  const asked = [a, b, c];
  let best = -1, first = 0;
  scores.forEach((v, i) => {
    if (v > scores[first]) first = i;
    if ((own === "in" || !asked.includes(i)) && (best < 0 || v > scores[best])) best = i;
  });
  return {
    scores, best, most: scores[best], word: labels[best], amount,
    a: labels[a], b: labels[b], c: labels[c],
    rule: asked.includes(best) ? "own" : first === best ? "other" : "saved",
  };
}

export function draw({ labels }, { a, b, c, own }, { scores, best }, width) {
  const pitch = 24, name = Math.min(0.36 * width, 16 + 7.6 * Math.max(...labels.map((w) => w.length)));
  const room = width - name - 52, zero = name + 0.3 * room, scale = 0.7 * room;
  let svg = text(0, 12, "cosine with the sum (dashed: a, b and c)");
  labels.forEach((word, i) => {
    const y = 24 + i * pitch, asked = [a, b, c].includes(i), out = asked && own === "out";
    const v = Math.min(Math.max(scores[i], -0.42), 1), w = Math.abs(v) * scale;
    svg += text(name - 8, y + 16, word, { "text-anchor": "end", ...(i === best ? { "font-weight": 700 } : {}), ...(out ? { "text-decoration": "line-through" } : {}) });
    svg += tag("rect", {
      x: v < 0 ? zero - w : zero, y: y + 3, width: w, height: 17, fill: "var(--C)", "fill-opacity": i === best ? 1 : asked ? 0.1 : 0.4,
      ...(asked ? { stroke: "currentColor", "stroke-dasharray": "3 3" } : {}),
    });
    svg += text(zero + Math.max(v, 0) * scale + 6, y + 16, number(scores[i], 2));
  });
  const foot = 24 + labels.length * pitch;
  svg += tag("path", { d: `M${zero} 24V${foot}`, stroke: "currentColor" });
  return [svg, Math.max(foot + 8, 110)];
}
