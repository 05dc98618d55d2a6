// The views: edge cases of what they compute, and drawings that stay within their frame.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as alignment from "../../minillm/live/alignment.js";
import * as analogy from "../../minillm/live/analogy.js";
import * as attention from "../../minillm/live/attention.js";
import * as crossEntropy from "../../minillm/live/cross_entropy.js";
import * as finetuning from "../../minillm/live/finetuning.js";
import * as descent from "../../minillm/live/gradient_descent.js";
import * as sampling from "../../minillm/live/sampling.js";
import * as softmax from "../../minillm/live/softmax.js";
import * as tokenization from "../../minillm/live/tokenization.js";
import * as worked from "../../minillm/live/worked_example.js";

const near = (a, b, tolerance = 1e-12) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);
const sum = (values) => values.reduce((a, b) => a + b);

const scores = { logits: [2, 1, -1], labels: ["a", "b", "<c>"] };
const calm = { temperature: 1, word: 0, raise: 0, shift: 0 };

test("softmax: a constant added to all scores changes nothing but the naive formula's fate", () => {
  const first = softmax.compute(scores, calm);
  assert.equal(first.naive, "works");
  for (const [shift, naive] of [[1000, "overflows"], [-1000, "underflows"]]) {
    const moved = softmax.compute(scores, { ...calm, shift });
    moved.p.forEach((v, i) => near(v, first.p[i]));
    assert.equal(moved.naive, naive);
  }
});

test("softmax: cold is an argmax, hot is uniform, equal scores are uniform at any temperature", () => {
  const cold = softmax.compute(scores, { ...calm, temperature: 0.001 });
  assert.deepEqual([cold.p, cold.entropy], [[1, 0, 0], 0]);
  near(softmax.compute(scores, { ...calm, temperature: 1e9 }).entropy, Math.log(3), 1e-8);
  near(softmax.compute({ logits: [5, 5], labels: ["a", "b"] }, { ...calm, temperature: 0.05 }).alike, 2);
});

const model = { p: [0.2, 0.5, 0.3], labels: ["a", "b", "c"] };

test("cross-entropy: without smoothing it is -ln p, with a gradient of p - 1 at the right word", () => {
  const state = crossEntropy.compute(model, { right: 2, probability: 0.25, smoothing: 0 });
  near(state.loss, Math.log(4));
  near(state.bits, 2);
  near(state.pull, -0.75);
  near(sum(state.p), 1);
  near(state.p[0] / state.p[1], 0.4);
  assert.deepEqual([state.floor, state.push], [0, "up"]);
});

test("cross-entropy: with smoothing, the loss is least at the target, and beyond it falls back", () => {
  const even = { p: [0.4, 0.3, 0.3], labels: ["a", "b", "c"] };
  const at = (probability) => crossEntropy.compute(even, { right: 0, probability, smoothing: 0.3 });
  near(at(0.8).loss, at(0.8).floor);
  assert.deepEqual([at(0.7).push, at(0.8).push, at(0.9).push], ["up", "still", "down"]);
  assert.ok(at(0.7).loss > at(0.8).loss && at(0.9).loss > at(0.8).loss);
});

const example = {
  tokens: ["Hello", ",", "world!"], vocabulary: ["Hello", ",", "world!"],
  context: [[1, 0], [0, 1], [1, 1]], output: [[0, 1], [1, 0], [0.5, 0.5]], targets: [1, 2, null],
};
const still = { position: 0, weight: 0, add: 0, temperature: 1 };

test("worked example: scores are W h, and the loss is -ln of the target's probability", () => {
  const state = worked.compute(example, still);
  assert.deepEqual(state.scores, [0, 1, 0.5]);
  assert.deepEqual([state.word_best, state.outcome], [",", "right"]);
  near(state.loss, -Math.log(state.p[1]));
  assert.equal(worked.compute(example, { ...still, position: 1 }).outcome, "wrong");
});

test("worked example: one weight can be changed, the data stay as they are", () => {
  const state = worked.compute(example, { ...still, weight: 4, add: 3 });
  assert.deepEqual([state.W[2], state.scores[2], state.word_best], [[3.5, 0.5], 3.5, "world!"]);
  assert.deepEqual(example.output[2], [0.5, 0.5]);
});

test("worked example: after the last word there is no target and no loss", () => {
  const state = worked.compute(example, { ...still, position: 2 });
  assert.deepEqual([state.outcome, state.loss, state.read], ["none", null, "Hello , world!"]);
});

const walk = { surface: "bowl", optimizer: "SGD", rate: 0.1, momentum: 0.9, condition: 10, x: -1.6, y: 1.2 };
const descend = (changes) => descent.compute({ steps: 60 }, { ...walk, ...changes });

test("descent: SGD converges below 2/λmax, diverges above it, and swings for ever on it", () => {
  near(descend({}).bound, 0.2);
  assert.equal(descend({ rate: 0.19 }).outcome, "converges");
  assert.equal(descend({ rate: 0.2 }).outcome, "oscillates");
  assert.equal(descend({ rate: 0.203 }).outcome, "diverges");
  assert.equal(descend({ rate: 3 }).outcome, "diverges");
  assert.equal(descend({ rate: 0.001 }).outcome, "creeps");
});

test("descent: momentum nearly doubles the bound", () => {
  near(descend({ optimizer: "momentum" }).bound, 0.38);
  assert.equal(descend({ optimizer: "momentum", momentum: 0.5, rate: 0.28 }).outcome, "converges");
  assert.equal(descend({ optimizer: "momentum", momentum: 0.5, rate: 0.32 }).outcome, "diverges");
});

test("descent: on the ridge of the saddle it is stuck, beside it it falls to a minimum", () => {
  assert.equal(descend({ surface: "saddle", y: 0 }).outcome, "stuck");
  const { path, outcome } = descend({ surface: "saddle", y: 0.05, rate: 0.15 });
  assert.equal(outcome, "converges");
  near(path[60][1], 1, 1e-3);
});

test("descent: in the valley the bound is that of the curvature at (1, 1)", () => {
  const { curvature } = descent.surface("valley", 100);
  near(curvature[0], 1001.6006, 1e-3);
  near(curvature[0] * curvature[1], 400, 1e-8);
});

test("descent: a start at the minimum stays there, and a step that explodes ends the walk", () => {
  assert.deepEqual(descend({ x: 0, y: 0 }).path[60].map(Math.abs), [0, 0]);
  const flown = descend({ surface: "valley", rate: 3, condition: 100 });
  assert.ok(flown.taken < 10 && flown.outcome === "diverges");
});

test("descent: each gradient is the slope of its surface", () => {
  for (const name of ["bowl", "saddle", "valley"]) {
    const { height, gradient } = descent.surface(name, 7), h = 1e-6, [x, y] = [0.7, -1.1];
    const [gx, gy] = gradient(x, y);
    near(gx, (height(x + h, y) - height(x - h, y)) / (2 * h), 1e-6);
    near(gy, (height(x, y + h) - height(x, y - h)) / (2 * h), 1e-6);
  }
});

test("descent: a contour line of the round bowl is a circle", () => {
  const d = descent.contours(descent.surface("bowl", 1).height, [0.5], 400);
  const points = d.match(/[\d.]+ [\d.]+/g).map((pair) => pair.split(" ").map(Number));
  assert.ok(points.length > 80);
  for (const [x, y] of points) near(Math.hypot(x - 200, y - 200), 100, 0.6);
});

test("descent: pointing at the map gives a start there, beside it nothing", () => {
  assert.deepEqual(descent.drag({}, 200, 22 + 200, 800), { x: 0, y: 0 });
  assert.equal(descent.drag({}, 401, 222, 800), null);
  assert.equal(descent.drag({}, 200, 10, 800), null);
});

test("cross-entropy: pointing at the curve gives that probability, beside it nothing", () => {
  near(crossEntropy.drag({}, 34 + 0.3 * (800 * 0.46 - 46), 100, 800).probability, 0.3);
  assert.equal(crossEntropy.drag({}, 600, 100, 800), null);
});

const pair = {
  source: ["two", "cats"], target: ["deux", "chats"],
  weights: [[[0.5, 0.5], [0.25, 0.75]], [[0, 1], [0, 1]], [[1, 0], [1, 0]]],
  written: [["deux", "chats"], ["les", "chats"], ["deux", "mots"]], p: [[0.9, 0.8], [0.5, 0.8], [0.9, 0.2]],
};

test("alignment: even weights look at all words, a hidden word may change what is written", () => {
  const first = alignment.compute(pair, { step: 1, hide: 0 });
  near(first.alike, 2);
  assert.deepEqual([first.outcome, first.changed], ["whole", [0, 0]]);
  const without = alignment.compute(pair, { step: 1, hide: 1 });
  assert.deepEqual([without.outcome, without.hidden, without.looked], ["other", "two", "cats"]);
  near(without.alike, 1);
  assert.equal(alignment.compute(pair, { step: 2, hide: 1 }).outcome, "same");
});

const square = { // unit vectors at 0, 90, 45 and 225 degrees
  cosines: [[1, 0, 0.6, -0.6], [0, 1, 0.8, -0.8], [0.6, 0.8, 1, -1], [-0.6, -0.8, -1, 1]], labels: ["a", "b", "c", "d"],
};
const asked = { a: 0, b: 1, c: 2, amount: 1, own: "out" };

test("analogy: with nothing added the answer is c, unless it is left out; opposites cancel safely", () => {
  const still = analogy.compute(square, { ...asked, amount: 0, own: "in" });
  assert.deepEqual([still.word, still.rule], ["c", "own"]);
  near(still.most, 1);
  assert.deepEqual([analogy.compute(square, asked).word, analogy.compute(square, asked).rule], ["d", "saved"]);
  const gone = analogy.compute(square, { a: 2, b: 3, c: 2, amount: 0.5, own: "out" });
  assert.ok(gone.scores.every(Number.isFinite));
});

const moon = {
  sentences: [{ bytes: [32, 97, 98, 230, 156, 136], chars: [" ", "a", "b", "月"], walls: [3, 1, 0, 2, 4] }],
};

test("tokenization: walls vanish, part of a character is shown in hexadecimal", () => {
  const said = (merges) => { const { tokens, ids, state } = tokenization.compute(moon, { sentence: 0, merges }); return [tokens, ids, state]; };
  assert.deepEqual(said(0), [["␣", "a", "b", "E6", "9C", "88"], [32, 97, 98, 230, 156, 136], "bytes"]);
  assert.deepEqual(said(2), [["␣", "ab", "E69C", "88"], [32, 256, 257, 136], "some"]);
  assert.deepEqual(said(4), [["␣ab", "月"], [258, 259], "some"]);
  const one = { sentences: [{ bytes: [97, 98], chars: ["a", "b"], walls: [1] }] };
  assert.equal(tokenization.compute(one, { sentence: 0, merges: 1 }).state, "one");
});

test("sampling: rules cut in turn, ties stay together, one is always left", () => {
  const data = { logits: [2, 2, 1, 0], labels: ["a", "b", "c", "d"] };
  const still = { temperature: 1, top_k: 4, top_p: 1, min_p: 0 };
  assert.deepEqual(["none", 4], [sampling.compute(data, still).cut, sampling.compute(data, still).n_kept]);
  assert.equal(sampling.compute(data, { ...still, top_k: 1 }).n_kept, 2);
  assert.equal(sampling.compute(data, { ...still, min_p: 0.95 }).n_kept, 2);
  const one = sampling.compute({ ...data, logits: [9, 0, 0, 0] }, { ...still, top_p: 0.05 });
  assert.deepEqual([one.cut, one.p], ["greedy", [1, 0, 0, 0]]);
  near(sampling.compute(data, { ...still, top_k: 3 }).mass, 1 - sampling.compute(data, still).p[3]);
});

const cat = { tokens: ["the", "cat", "it"], scores: [[0, 0, 0], [1, 0, -1], [Math.log(6), Math.log(3), 0]], query: 2 };

test("attention: weights of one query; a hidden token's share goes to the others", () => {
  const plain = attention.compute(cat, { query: 2, scale: 1, hide: -1 });
  [0.6, 0.3, 0.1].forEach((w, i) => near(plain.w[i], w));
  assert.equal(plain.outcome, "plain");
  const hidden = attention.compute(cat, { query: 2, scale: 1, hide: 0 });
  [0, 0.75, 0.25].forEach((w, i) => near(hidden.w[i], w));
  near(attention.compute(cat, { query: 0, scale: 7, hide: -1 }).alike, 3);
  assert.ok(attention.compute(cat, { query: 2, scale: 20, hide: -1 }).most > 0.99);
});

const longest = ["refrigerator", "of", "<unknown>", "world!", "a", "b", "c", "d", "e", "f", "g", "h"];
const many = { logits: longest.map((_, i) => i), labels: longest };
const drawings = [
  ["softmax", softmax, scores, calm],
  ["softmax, twelve words", softmax, many, { ...calm, temperature: 0.05, shift: 1000 }],
  ["cross-entropy", crossEntropy, model, { right: 2, probability: 0.995, smoothing: 0.5 }],
  ["cross-entropy, unlikely", crossEntropy, model, { right: 0, probability: 0.005, smoothing: 0 }],
  ["worked example", worked, example, { ...still, weight: 5, add: -5 }],
  ["worked example, end", worked, example, { ...still, position: 2 }],
  ...["bowl", "saddle", "valley"].map((surface) => [surface, descent, { steps: 60 }, { ...walk, surface }]),
  ["analogy", analogy, square, asked],
  ["analogy, twelve words", analogy, { cosines: longest.map((_, i) => longest.map((_, j) => (i === j ? 1 : -0.9))), labels: longest }, { ...asked, amount: 2 }],
  ["attention", attention, cat, { query: 2, scale: 1, hide: 1 }],
  ["attention, twelve words", attention, { tokens: longest, scores: longest.map(() => longest.map((_, i) => i)), query: 0 }, { query: 0, scale: 20, hide: 0 }],
  ["alignment", alignment, pair, { step: 2, hide: 2 }],
  ["alignment, long words", alignment, { ...pair, source: ["refrigerators", "b"], written: [longest.slice(0, 2), longest.slice(0, 2), ["<unknown>", "refrigerator"]] }, { step: 1, hide: 2 }],
  ["sampling", sampling, many, { temperature: 2, top_k: 5, top_p: 0.9, min_p: 0.1 }],
  ["bowl, flown away", descent, { steps: 60 }, { ...walk, rate: 3, condition: 100 }],
  ["tokenization, bytes", tokenization, { sentences: [{ bytes: Array(70).fill(97), chars: Array(70).fill("a"), walls: Array(69).fill(0) }] }, { sentence: 0, merges: 1 }],
  ["tokenization", tokenization, moon, { sentence: 0, merges: 4 }],
  ["bowl, at rest", descent, { steps: 60 }, { ...walk, x: 0, y: 0 }],
];

for (const [name, view, data, params] of drawings) {
  test(`drawing: ${name}`, () => {
    for (const width of [270, 360, 559, 560, 736]) {
      const [svg, height] = view.draw(data, params, view.compute(data, params), width);
      assert.ok(!/NaN|undefined|Infinity|null/.test(svg), svg.match(/.{40}(NaN|undefined|Infinity|null).{9}/)?.[0]);
      assert.ok(height > 100 && height < 900);
      const open = svg.match(/<[a-z]+/g).length, close = svg.match(/<\/[a-z]+>/g).length;
      assert.equal(open, close);
      const rects = [...svg.matchAll(/<rect x="([-\d.]+)" y="([-\d.]+)" width="([-\d.]+)" height="([-\d.]+)"/g)];
      for (const [x, y, w, h] of rects.map((match) => match.slice(1).map(Number))) {
        assert.ok(x >= 0 && x + w <= width + 0.1, `from ${x} to ${x + w} in a width of ${width}`);
        assert.ok(y >= 0 && h >= 0 && y + h <= height, `from ${y} to ${y + h} in a height of ${height}`);
      }
    }
  });
}

test("drawing: words are escaped", () => {
  const [svg] = softmax.draw(scores, calm, softmax.compute(scores, calm), 400);
  assert.ok(svg.includes("&#60;c&#62;") && !svg.includes("<c>"));
});

test("finetuning: recorded points are kept, and outside of them the nearest counts", () => {
  const data = { n: [10, 100], methods: ["words", "full"], y: [[50, 70], [60, 65]] };
  near(finetuning.compute(data, { n: 10, method: 0 }).here, 50);
  near(finetuning.compute(data, { n: 1000, method: 0 }).here, 70);
  const state = finetuning.compute(data, { n: Math.sqrt(1000), method: 0 });
  near(state.here, 60, 1e-9);
  assert.equal(state.best, "full");
  const [svg, height] = finetuning.draw(data, { n: 10, method: 0 }, state, 320);
  assert.ok(height < 300 && !svg.includes("NaN"));
});
