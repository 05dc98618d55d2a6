// Gradient descent on a surface over the plane, by the rules of minillm.numpy_nn.optim.
import { tag, text } from "./core.js";

const REACH = 2;
const [COS, SIN] = [Math.sqrt(3) / 2, 0.5];

// A surface: its height, its gradient, its least height, the two curvatures λ at that minimum.
export function surface(name, k) {
  if (name === "bowl") return {
    least: 0, curvature: [1, k], minima: [[0, 0]],
    height(x, y) {
      const u = COS * x + SIN * y, v = COS * y - SIN * x;
      return (u * u + k * v * v) / 2;
    },
    gradient(x, y) {
      const u = COS * x + SIN * y, v = k * (COS * y - SIN * x);
      return [COS * u - SIN * v, SIN * u + COS * v];
    },
  };
  if (name === "saddle") return {
    least: -0.25, curvature: [2, k], minima: [[0, 1], [0, -1]],
    height: (x, y) => (k * x * x - y * y) / 2 + (y * y) * (y * y) / 4,
    gradient: (x, y) => [k * x, y * y * y - y],
  };
  const a = 2 + 8 * k, b = 2 * k, c = -4 * k;
  const steep = (a + b) / 2 + Math.sqrt(((a - b) / 2) ** 2 + c * c);
  return {
    least: 0, curvature: [steep, (a * b - c * c) / steep], minima: [[1, 1]],
    height(x, y) {
      const r = 1 - x, s = y - x * x;
      return r * r + k * (s * s);
    },
    gradient(x, y) {
      const s = y - x * x;
      return [-2 * (1 - x) - 4 * k * x * s, 2 * k * s];
    },
  };
}

// A rule: takes a gradient, keeps its own state, gives what is subtracted from a coordinate.
function rule(name, lr, beta) {
  const m = [0, 0], s = [0, 0], eps = 1e-8;
  let t = 0;
  return (gradient) => {
    t += 1;
    return gradient.map((g, i) => {
      if (name === "SGD") return lr * g;
      if (name === "momentum") return lr * (m[i] = beta * m[i] + g);
      const decay = name === "RMSProp" ? 0.99 : 0.999;
      s[i] = decay * s[i] + (1 - decay) * (g * g);
      if (name === "RMSProp") return lr * g / (Math.sqrt(s[i]) + eps);
      m[i] = beta * m[i] + (1 - beta) * g;
      return lr * (m[i] / (1 - beta ** t)) / (Math.sqrt(s[i] / (1 - decay ** t)) + eps);
    });
  };
}

export function compute({ steps }, { surface: name, optimizer, rate, momentum, condition, x, y }) {
  const { height, gradient, least, curvature } = surface(name, condition);
  const steepest = Math.max(...curvature);
  const update = rule(optimizer, rate, momentum);
  const path = [[x, y]];
  for (let t = 0; t < steps && Math.max(Math.abs(x), Math.abs(y)) < 1e6; t++) {
    const [dx, dy] = update(gradient(x, y));
    path.push([x -= dx, y -= dy]);
  }
  const above = path.map(([a, b]) => height(a, b) - least), last = above[above.length - 1];
  const [gx, gy] = gradient(x, y), late = above.slice(-11);
  // How often one of the last twenty steps turns back on the step before it.
  const step = path.slice(1).map(([a, b], i) => [a - path[i][0], b - path[i][1]]).slice(-21);
  const turns = step.slice(1).filter(([a, b], i) => a * step[i][0] + b * step[i][1] < 0).length;
  let arrived = above.length;
  while (arrived > 0 && above[arrived - 1] <= above[0] / 1000) arrived--;
  return {
    path, above, last, turns, arrived, taken: path.length - 1, ratio: steepest / Math.min(...curvature),
    bound: 2 * (optimizer === "momentum" ? 1 + momentum : 1) / steepest,
    limit: optimizer === "SGD" || optimizer === "momentum" ? optimizer : "adaptive",
    outcome: !(last <= 1e6 && Math.max(Math.abs(x), Math.abs(y)) <= 10) ? "diverges"
      : arrived < above.length - 4 ? "converges"
      : late.length > 10 && late.every((v, i) => i === 0 || v > late[i - 1]) ? "diverges"
      : Math.abs(gx) + Math.abs(gy) < 1e-9 ? "stuck"
      : turns > 9 ? "oscillates" : "creeps",
  };
}

// Contour lines at the given levels, as one path: straight pieces through the cells of a grid.
export function contours(height, levels, size, n = 44) {
  const at = (i) => REACH * (2 * i / n - 1), px = (v) => (v / REACH + 1) * size / 2;
  const grid = Array.from({ length: n + 1 }, (_, j) =>
    Array.from({ length: n + 1 }, (_, i) => height(at(i), at(j))));
  let d = "";
  for (let j = 0; j < n; j++) for (let i = 0; i < n; i++) {
    const corner = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
    for (const level of levels) {
      const cut = [];
      corner.forEach(([a, b], e) => {
        const [c, f] = corner[(e + 1) % 4], from = grid[b][a] - level, to = grid[f][c] - level;
        if (from < 0 === to < 0) return;
        const s = from / (from - to);
        cut.push(`${px(at(a + s * (c - a))).toFixed(1)} ${(size - px(at(b + s * (f - b)))).toFixed(1)}`);
      });
      for (let e = 0; e < cut.length; e += 2) d += `M${cut[e]}L${cut[e + 1]}`;
    }
  }
  return d;
}

const side = (width) => Math.min(width, width < 600 ? 380 : width * 0.5);

export function draw({ steps }, { surface: name, condition }, { path, above }, width) {
  const { height, least, minima } = surface(name, condition);
  const size = side(width), top = 22, beside = width >= 600;
  const far = (v) => Math.max(-9e3, Math.min(9e3, v));
  const P = ([x, y]) => [far((x / REACH + 1) * size / 2), far((1 - y / REACH) * size / 2)];
  const line = (d, more = {}) => tag("path", { d, fill: "none", stroke: "currentColor", ...more });
  const dot = ([cx, cy], r, more) => tag("circle", { cx, cy, r, ...more });
  const highest = Math.max(...[-REACH, REACH].flatMap((a) => [height(a, -REACH), height(a, REACH)])) - least;
  const levels = Array.from({ length: 11 }, (_, i) => least + highest * ((i + 1) / 12) ** 3);
  let map = tag("rect", { width: size, height: size, fill: "none", stroke: "currentColor" });
  map += line(contours(height, levels, size), { "stroke-opacity": 0.35 });
  for (const [x, y] of minima.map(P)) map += line(`M${x - 6} ${y}h12m-6-6v12`, { "stroke-width": 2 });
  const points = path.map(P);
  map += line(`M${points.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L")}`, { stroke: "var(--T)", "stroke-width": 1.5 });
  for (const p of points) map += dot(p, 2.5, { fill: "var(--T)" });
  map += dot(points[0], 8, { fill: "none", stroke: "var(--T)", "stroke-width": 3 });
  map += dot(points[points.length - 1], 5, { fill: "var(--V)", stroke: "currentColor" });
  let svg = text(0, 14, "ring: start, disc: end, +: minimum");
  svg += tag("svg", { x: 0, y: top, width: size, height: size }, map);

  // The height above the minimum at each step, on a logarithmic axis of nine decades.
  const left = beside ? size + 76 : 46, w = width - left - 8, h = beside ? size - 34 : 150;
  const from = beside ? top + 10 : top + size + 40;
  const Y = (v) => from + h * Math.min(1, Math.max(0, (3 - Math.log10(v)) / 9));
  svg += text(left - 44, from - 18, "height above the minimum");
  for (const power of [3, 0, -3, -6]) {
    svg += line(`M${left} ${Y(10 ** power)}h${w}`, { "stroke-opacity": 0.3 });
    svg += text(left - 6, Y(10 ** power) + 4, ["1000", "1", "0.001", "1e−6"][1 - power / 3], { "text-anchor": "end" });
  }
  const run = above.map((v, t) => `${(left + w * t / steps).toFixed(1)} ${Y(v).toFixed(1)}`);
  svg += line(`M${run.join("L")}`, { stroke: "var(--T)", "stroke-width": 2 });
  svg += text(left, from + h + 18, "0", { "text-anchor": "middle" });
  svg += text(left + w, from + h + 18, `${steps} steps`, { "text-anchor": "end" });
  return [svg, Math.max(from + h + 24, top + size + 2)];
}

export function drag(params, x, y, width) {
  const size = side(width), v = [(2 * x / size - 1) * REACH, (1 - 2 * (y - 22) / size) * REACH];
  return Math.max(Math.abs(v[0]), Math.abs(v[1])) > REACH ? null : { x: v[0], y: v[1] };
}
