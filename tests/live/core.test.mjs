// core.js: numbers, sentences, bars, and `mount` on a figure small enough to see through.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bars, fill, mount, number, tag, text } from "../../minillm/live/core.js";
import { dragging } from "../../minillm/live/drag.js";

test("numbers round half away from zero and have a true minus sign", () => {
  const said = [[0.125, 2], [-0.125, 2], [-0.001, 2], [2.5e7, 2], [Infinity, 1], [-Infinity, 1], [NaN, 3], [0, 0]]
    .map(([x, digits]) => number(x, digits));
  assert.deepEqual(said, ["0.13", "−0.13", "0.00", "2.5e7", "∞", "−∞", "nan", "0"]);
});

test("a sentence is filled with numbers, words, and words that are sentences", () => {
  const words = { "end:good": "it is {loss:1}" };
  assert.equal(fill("{name} {loss:3}; {end}", { name: "a", loss: 0.25, end: "good" }, words), "a 0.250; it is 0.3");
  assert.equal(fill("{end}", { end: "bad" }, words), "bad");
  assert.equal(fill("{name}", { name: "{loss:1}", loss: 1 }), "{loss:1}");
});

test("text is escaped, and coordinates are short", () => {
  assert.equal(text(1 / 3, 2, "<b> & c"), '<text x="0.33" y="2">&#60;b&#62; &#38; c</text>');
  assert.equal(tag("rect", { width: 0, fill: "none" }), '<rect width="0" fill="none"></rect>');
});

const rects = (svg) => [...svg.matchAll(/<rect ([^>]*)>/g)].map((match) =>
  Object.fromEntries([...match[1].matchAll(/([\w-]+)="([^"]*)"/g)].map((pair) => pair.slice(1))));

test("bars: heights are in proportion, the strong one is solid, labels stand below", () => {
  const [svg, height] = bars([0.25, 0.75], ["a", "b"], 10, 20, 200, 100, { strong: 1 });
  const [a, b] = rects(svg);
  assert.deepEqual([+a.height, +b.height], [25, 75]);
  assert.deepEqual([a["fill-opacity"], b["fill-opacity"]], ["0.4", "1"]);
  assert.equal(+a.y + +a.height, 120);
  assert.equal(height, 122);
});

test("bars: signed values hang from the axis, values beyond the box are cut", () => {
  const [a, b] = rects(bars([0.5, -9], ["a", "b"], 0, 0, 100, 100, { low: -1, high: 1 })[0]);
  assert.deepEqual([+a.y, +a.height, +b.y, +b.height], [25, 25, 50, 50]);
});

test("bars: long labels are turned where they do not fit, and given room", () => {
  const labels = ["refrigerator", "cat"];
  const [wide, low] = bars([0.5, 0.5], labels, 0, 0, 400, 100, {});
  const [narrow, tall] = bars([0.5, 0.5], labels, 0, 0, 120, 100, {});
  assert.ok(!wide.includes("rotate") && narrow.includes("rotate") && tall > low);
});

// The least of a page that `mount` needs: a form with a slider and a list, a drawing, an output.
class Element {
  constructor(more = {}) {
    Object.assign(this, { attributes: {}, dataset: {}, style: {}, listeners: {}, parts: {}, ...more });
  }
  addEventListener(name, listener) { (this.listeners[name] ??= []).push(listener); }
  fire(name, event = {}) { for (const listener of this.listeners[name] ?? []) listener({ preventDefault() {}, ...event }); }
  setAttribute(name, value) { this.attributes[name] = value; }
  querySelector(selector) { return this.parts[selector] ?? null; }
  querySelectorAll() { return this.controls; }
  getBoundingClientRect() { return { left: 100, top: 50, width: this.width }; }
  setPointerCapture(id) { this.captured = id; }
  hasPointerCapture(id) { return this.captured === id; }
  remove() { this.removed = true; }
}

function page(width = 300) {
  const shown = new Element(), slider = new Element({ name: "rate", type: "range", value: "-1", dataset: { log: "", digits: "3" }, parentNode: new Element({ parts: { b: shown } }) });
  const list = new Element({ name: "word", type: "select-one", value: "2" });
  const form = new Element({ controls: [slider, list], elements: { rate: slider, word: list } });
  const g = new Element(), svg = new Element({ width, parts: { g }, viewBox: { baseVal: { width } } });
  const output = new Element(), off = new Element(), fieldset = new Element({ disabled: true });
  const figure = new Element({ parts: { form, svg, output, fieldset, ".off": off } });
  const watched = [];
  globalThis.document = { querySelectorAll: (selector) => (selector === 'figure[id="f"]' ? [figure] : []) };
  globalThis.ResizeObserver = class {
    constructor(callback) { this.callback = callback; }
    observe() { watched.push(this.callback); }
  };
  return { figure, form, slider, list, svg, g, output, off, fieldset, shown, watched };
}

const view = {
  compute: (data, { rate, word }) => ({ product: data.factor * rate, word }),
  draw: (data, params, state, width) => [tag("rect", { width }), 40.2],
};
const setup = { data: { factor: 50 }, text: "{word}: {product:2} at {rate:1}", words: {} };

test("mount draws, says and enables; a slider with a logarithmic scale gives its power of ten", () => {
  const { figure, svg, g, output, off, fieldset, slider, shown } = page();
  mount("f", setup, view);
  assert.equal(output.textContent, "2: 5.00 at 0.1");
  assert.equal(g.innerHTML, '<rect width="300"></rect>');
  assert.equal(svg.attributes.viewBox, "0 0 300 41");
  assert.deepEqual([slider.attributes["aria-valuetext"], shown.textContent], ["0.100", "0.100"]);
  assert.ok(off.removed && !fieldset.disabled && figure.live);
});

test("moving a control redraws; a reset redraws once the browser has put the values back", async () => {
  const { form, slider, list, output } = page();
  mount("f", setup, view);
  [slider.value, list.value] = ["0", "cat"];
  form.fire("input");
  assert.equal(output.textContent, "cat: 50.00 at 1.0");
  form.fire("reset");
  slider.value = "1";
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(output.textContent, "cat: 500.00 at 10.0");
});

test("a script that runs twice wires its figure once, and an absent figure is no error", () => {
  const { form } = page();
  mount("f", setup, view);
  mount("f", setup, view);
  mount("elsewhere", setup, view);
  assert.equal(form.listeners.input.length, 1);
});

test("a figure without width yet is drawn at a width of 600, and again when it has one", () => {
  const { svg, watched } = page(0);
  mount("f", setup, view);
  assert.equal(svg.attributes.viewBox, "0 0 600 41");
  watched[0]();
  assert.equal(svg.attributes.viewBox, "0 0 600 41");
  svg.width = 280;
  watched[0]();
  assert.equal(svg.attributes.viewBox, "0 0 280 41");
});

test("dragging sets the sliders from the first press until the pointer is let go", () => {
  const { svg, slider, output } = page();
  const drag = (params, x, y, width) => (y < 0 ? null : { rate: x / width });
  mount("f", setup, { ...view, drag, dragging });
  svg.fire("pointermove", { clientX: 130, clientY: 60, pointerId: 1 });
  assert.equal(slider.value, "-1");
  svg.fire("pointerdown", { clientX: 130, clientY: 40, pointerId: 1 });
  assert.equal(svg.captured, undefined);
  svg.fire("pointerdown", { clientX: 130, clientY: 60, pointerId: 1 });
  assert.equal(slider.value, -1);
  svg.fire("pointermove", { clientX: 400, clientY: 60, pointerId: 1 });
  assert.equal(output.textContent, "2: 50.00 at 1.0");
});
