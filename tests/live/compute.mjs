// Answers tests/test_live.py: from cases on standard input, what each view computes and says.
import { readFileSync } from "node:fs";
import { fill } from "../../minillm/live/core.js";

const answers = [];
for (const { view, data, params, text, words } of JSON.parse(readFileSync(0, "utf8"))) {
  const { compute, draw } = await import(`../../minillm/live/${view}.js`);
  const state = compute(data, params);
  const [svg, height] = draw(data, params, state, 600);
  answers.push({ state, said: fill(text, { ...params, ...state }, words), svg, height });
}
console.log(JSON.stringify(answers));
