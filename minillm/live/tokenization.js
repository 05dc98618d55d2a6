// How a sentence falls into tokens as byte-pair encoding learns more pairs: walls between bytes vanish.
import { tag, text } from "./core.js";

export function compute({ sentences }, { sentence, merges }) {
  const k = Math.round(merges), { bytes, chars, walls } = sentences[sentence];
  const starts = [];
  for (const c of chars) {
    starts.push(c);
    for (let i = 1; i < new TextEncoder().encode(c).length; i++) starts.push("");
  }
  const tokens = [], ids = [];
  for (let a = 0, b; a < bytes.length; a = b) {
    let last = 0, word = "";
    for (b = a + 1; b < bytes.length && walls[b - 1] && walls[b - 1] <= k; b++) last = Math.max(last, walls[b - 1]);
    const whole = starts[a] !== "" && (b === bytes.length || starts[b] !== "");
    for (let i = a; i < b; i++) word += whole ? starts[i] : bytes[i].toString(16).toUpperCase().padStart(2, "0");
    tokens.push(word.replace(/ /g, "␣").replace(/\n/g, "↵"));
    ids.push(last ? 255 + last : bytes[a]);
  }
  const T = tokens.length, V = 256 + k, N = bytes.length;
  return { tokens, ids, T, V, N, each: N / T, bits: (T * Math.log2(V)) / N, state: T === N ? "bytes" : T === 1 ? "one" : "some" };
}

export function draw(data, params, { tokens, ids, T, N }, width) {
  const middle = { "text-anchor": "middle" }, pitch = 52;
  let svg = text(0, 13, "T: tokens, and the id of each in V", { style: "fill:var(--T)" });
  let x = 0, y = 24;
  tokens.forEach((word, t) => {
    const w = Math.min(width, Math.max(34, 12 + 8.6 * Math.max(wide(word), String(ids[t]).length)));
    if (x + w > width && x) [x, y] = [0, y + pitch];
    svg += tag("rect", { x: x + 1, y, width: w - 2, height: 25, rx: 4, fill: "var(--T)", "fill-opacity": t % 2 ? 0.1 : 0.28, stroke: "var(--T)" });
    svg += text(x + w / 2, y + 17, word, middle);
    svg += text(x + w / 2, y + 41, ids[t], { ...middle, style: "fill:var(--V)" });
    x += w;
  });
  // Below: the number of tokens as a share of the number of bytes.
  y += pitch + 18;
  const full = width - 2;
  svg += text(0, y, `${T} tokens of ${N} bytes`);
  svg += tag("rect", { x: 1, y: y + 8, width: full, height: 14, fill: "none", stroke: "currentColor" });
  svg += tag("rect", { x: 1, y: y + 8, width: (full * T) / N, height: 14, fill: "var(--T)" });
  return [svg, y + 30];
}

// The width of a word in letters; Chinese characters are about twice as wide.
function wide(word) {
  let n = 0;
  for (const c of word) n += c > "\u2e7f" ? 1.9 : 1;
  return n;
}
