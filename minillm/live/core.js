// What all live controls share: numbers, sentences, SVG as strings, and `mount`, which wires a figure.
// Python inlines this file and one view into the page (see bundle in __init__.py): so one-line
// imports, no default exports, and comments on lines of their own.

// A number with so many decimals, rounded half away from zero, as number() in text.py writes it;
// what stands beyond 12 digits is rounding noise and does not count.
export function number(x, digits) {
  if (Number.isNaN(x)) return "nan";
  const size = Math.abs(+x.toPrecision(12));
  const body = size === Infinity ? "∞"
    : size >= 1e6 ? size.toExponential(1).replace("e+", "e") : size.toFixed(digits);
  return (x < 0 && /[1-9∞]/.test(body) ? "−" : "") + body;
}

// "{loss:3} nats. {end}" with fields.loss to 3 decimals, and what `words` says for fields.end, filled.
export function fill(template, fields, words = {}) {
  return template.replace(/\{(\w+)(?::(\d+))?\}/g, (_, key, digits) => {
    if (digits) return number(fields[key], +digits);
    const more = words[`${key}:${fields[key]}`];
    return more === undefined ? fields[key] : fill(more, fields, words);
  });
}

export function tag(name, attributes, inside = "") {
  const pairs = Object.entries(attributes).map(([key, value]) =>
    ` ${key}="${typeof value === "number" ? +value.toFixed(2) : value}"`);
  return `<${name}${pairs.join("")}>${inside}</${name}>`;
}

export function text(x, y, words, more = {}) {
  const safe = String(words).replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
  return tag("text", { x, y, ...more }, safe);
}

// A distribution, or signed values: one bar a word. o: color (a CSS variable), low, high, strong
// (the index of the solid bar), ghost (values outlined behind), digits. Returns [svg, height used].
export function bars(values, labels, x, y, width, height, o) {
  const { color = "--V", low = 0, high = 1, strong = -1, ghost = [], digits = 3 } = o;
  const slot = width / values.length, w = Math.min(slot * 0.7, 90);
  const longest = 7.6 * Math.max(...labels.map((label) => label.length));
  const turned = longest > slot - 4, room = turned ? Math.min(100, 0.64 * longest) + 18 : 22;
  const at = (v) => y + height * (1 - (Math.min(Math.max(v, low), high) - low) / (high - low));
  const box = (v, left, more) =>
    tag("rect", { x: left, y: Math.min(at(v), at(0)), width: w, height: Math.abs(at(v) - at(0)), ...more });
  let svg = "";
  values.forEach((v, i) => {
    const middle = x + slot * (i + 0.5), left = middle - w / 2;
    svg += box(v, left, { fill: `var(${color})`, "fill-opacity": strong < 0 || i === strong ? 1 : 0.4 });
    if (ghost.length) svg += box(ghost[i], left, { fill: "none", stroke: "currentColor", "stroke-dasharray": "3 3" });
    svg += text(middle, v < 0 ? at(v) + 15 : at(v) - 5, number(v, slot < 44 ? 2 : digits), { "text-anchor": "middle" });
    const foot = y + height + 16;
    svg += turned
      ? text(middle + 4, foot, labels[i], { "text-anchor": "end", transform: `rotate(-38 ${middle + 4} ${foot})` })
      : text(middle, foot, labels[i], { "text-anchor": "middle" });
  });
  svg += tag("path", { d: `M${x} ${at(0)}h${width}`, stroke: "currentColor" });
  return [svg, height + room];
}

// Wire every figure of this id once: read the controls, compute, draw to the figure's width, say it.
// `drag`, where a view has it, turns a point of the drawing into params; `dragging` is in drag.js.
export function mount(id, { data, text: template, words }, { compute, draw, drag, dragging }) {
  for (const figure of document.querySelectorAll(`figure[id="${id}"]`)) {
    if (figure.live) continue;
    figure.live = true;
    const find = (selector) => figure.querySelector(selector);
    const form = find("form"), svg = find("svg"), controls = form.querySelectorAll("input,select");
    let params, drawn;
    const update = () => {
      params = {};
      for (const c of controls) {
        const value = c.value === "" || isNaN(c.value) ? c.value : +c.value;
        params[c.name] = "log" in c.dataset ? 10 ** value : value;
        if (c.type !== "range") continue;
        const shown = number(params[c.name], +c.dataset.digits);
        c.setAttribute("aria-valuetext", shown);
        c.parentNode.querySelector("b").textContent = shown;
      }
      const state = compute(data, params);
      drawn = Math.round(svg.getBoundingClientRect().width) || 600;
      const [inside, height] = draw(data, params, state, drawn);
      svg.setAttribute("viewBox", `0 0 ${drawn} ${Math.ceil(height)}`);
      svg.querySelector("g").innerHTML = inside;
      find("output").textContent = fill(template, { ...params, ...state }, words);
    };
    const set = (changes) => {
      for (const [name, value] of Object.entries(changes)) {
        const c = form.elements[name];
        c.value = "log" in c.dataset ? Math.log10(value) : value;
      }
      update();
    };
    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(update));
    if (drag) dragging(svg, (x, y) => drag(params, x, y, drawn), set);
    find("fieldset").disabled = false;
    find(".off").remove();
    svg.style.display = "block";
    update();
    new ResizeObserver(() => {
      const width = Math.round(svg.getBoundingClientRect().width);
      if (width && width !== drawn) update();
    }).observe(figure);
  }
}
