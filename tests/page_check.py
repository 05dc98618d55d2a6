"""What must hold on every page, checked in the browser: `look(…)` returns a list of complaints."""

from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AXE = ROOT / "book" / "node_modules" / "axe-core" / "axe.min.js"
MAX_BYTES = 1_500_000
MAX_SHIFT = 0.1  # cumulative layout shift that browsers call good

# Resolves when the page has done all that it does by itself.
SETTLED = """async (patience) => {
  await document.fonts.ready;
  await window.MathJax?.startup?.promise;
  const until = async (done) => {
    const end = performance.now() + patience;
    while (!done() && performance.now() < end) await new Promise((go) => setTimeout(go, 50));
  };
  const images = [...document.images];
  images.forEach((image) => (image.loading = "eager"));
  await until(() => images.every((image) => image.complete));
  await until(() => [...document.querySelectorAll(".mermaid")].every((d) => d.querySelector("svg")));
  const widgets = document.querySelectorAll("script[type*='jupyter.widget-view']").length;
  await until(() => document.querySelectorAll(".widget-subarea .jupyter-widgets").length >= widgets);
  await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));
}"""

# Complaints about what a page shows, at the width and in the theme at hand.
COMPLAINTS = r"""() => {
  const say = [];
  const where = (e) => (e.outerHTML || "").slice(0, 120).replace(/\s+/g, " ");
  const article = document.querySelector("article") || document.querySelector("main");

  const wide = document.scrollingElement.scrollWidth;
  if (wide > innerWidth) say.push(`page is ${wide} px wide at ${innerWidth}`);
  const scrolls = (e) => {
    for (; e && e !== document.body; e = e.parentElement)
      if (/auto|scroll/.test(getComputedStyle(e).overflowX)) return true;
    return false;
  };
  for (const e of article.querySelectorAll("*")) {
    if (e.closest("mjx-assistive-mml, svg, .visually-hidden, .sr-only")) continue;
    const box = e.getBoundingClientRect();
    const cut = box.width > 1 && (box.right > innerWidth + 1 || box.left < -1);
    if (cut && !scrolls(e.parentElement)) say.push(`reaches out of the page: ${where(e)}`);
    const moves = e.scrollWidth > e.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(e).overflowX);
    const reach = e.tabIndex >= 0 || e.querySelector("a, button, input, [tabindex='0']");
    if (moves && !reach) say.push(`scrolls, but not by keyboard: ${where(e)}`);
  }

  for (const e of document.querySelectorAll("span.math, div.math"))
    if (!e.querySelector("mjx-container")) say.push(`equation not rendered: ${where(e)}`);
  for (const e of document.querySelectorAll("mjx-merror, [data-mml-node='merror']"))
    say.push(`error in an equation: ${e.textContent.slice(0, 80)} ${where(e)}`);
  const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.data.includes("$") && !node.parentElement.closest("pre, code, script, style"))
      say.push(`raw $ in the text: ${node.data.trim().slice(0, 80)}`);
  }

  for (const e of document.querySelectorAll(".mermaid")) {
    if (!e.querySelector("svg")) say.push(`diagram not drawn: ${where(e)}`);
    if (e.querySelector(".error-icon")) say.push(`error in a diagram: ${where(e)}`);
  }
  for (const e of document.querySelectorAll("script[type*='jupyter.widget-view']"))
    if (!e.parentElement.querySelector(".jupyter-widgets")) say.push("widget not drawn");

  for (const e of document.images) {
    if (!e.complete || !e.naturalWidth) say.push(`image not loaded: ${where(e)}`);
    const alt = e.alt.trim();
    if (!alt || /\.(png|svg|jpe?g|gif)$/.test(alt)) say.push(`image without alt text: ${where(e)}`);
  }
  return say;
}"""

# The glyphs of formulas are hidden from screen readers, who get MathML; they are also too many to
# look at one by one. Their colors are checked in test_colors.py.
VIOLATIONS = """async (theme) => {
  const found = await axe.run({exclude: [["mjx-math"]]}, {
    resultTypes: ["violations"],
    preload: false,  // it would fetch the style sheets again, which file:// forbids
    // The theme changes colors and nothing else.
    runOnly: theme === "dark" ? ["color-contrast"] : [
      "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice",
    ],
  });
  return found.violations
    .filter((v) => v.impact === "serious" || v.impact === "critical")
    .flatMap((v) => v.nodes.map((n) => `${v.impact}: ${v.id}: ${n.html.slice(0, 160)}`));
}"""

SHIFTS = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) sum += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 60);
})"""

SET_THEME = """async (theme) => {
  document.documentElement.dataset.theme = theme;
  await new Promise((go) => setTimeout(go, 350));  // colors fade
}"""


@contextmanager
def opened(browser, url, width, base, patience=10_000):
    """A fresh page at `url`, `width` wide; yields it and the list of complaints about its loading.

    `patience` is how many milliseconds a diagram or a widget may take.
    Requests that do not begin with `base` go to another host, and are complaints too.
    """
    complaints = []
    with browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="light", reduced_motion="reduce"
    ) as context:
        page = context.new_page()

        def request(r):
            if not r.url.startswith((base, "data:", "blob:", "about:")):
                complaints.append(f"request to another place: {r.url}")

        def response(r):
            if r.status >= 400:
                complaints.append(f"answered {r.status}: {r.url}")

        def console(message):
            if message.type == "error":
                complaints.append(f"console: {message.text}")

        page.on("request", request)
        page.on("response", response)
        page.on("requestfailed", lambda r: complaints.append(f"request failed: {r.url}"))
        page.on("console", console)
        page.on("pageerror", lambda e: complaints.append(f"script error: {e}"))
        page.goto(url, wait_until="load")
        page.evaluate(SETTLED, patience)
        yield page, complaints


def look(browser, url, *, width, base, axe=("light", "dark"), sent=None, patience=10_000):
    """Open `url` at `width` px, look at it in both themes, and return all complaints.

    `axe` names the themes in which axe-core looks too. `sent` is a function that counts the bytes
    served so far; given, a heavy page is a complaint.
    """
    before = sent() if sent else 0
    with opened(browser, url, width, base, patience) as (page, complaints):
        if sent and (weight := sent() - before) > MAX_BYTES:
            complaints.append(f"{weight:,} bytes transferred, more than {MAX_BYTES:,}")
        if (shift := page.evaluate(SHIFTS)) > MAX_SHIFT:
            complaints.append(f"layout shift of {shift:.3f}, more than {MAX_SHIFT}")
        if axe:
            page.evaluate(AXE.read_text(encoding="utf-8"))
        for theme in ("light", "dark"):
            page.evaluate(SET_THEME, theme)
            page.evaluate(SETTLED, patience)
            complaints += [f"{theme}: {text}" for text in page.evaluate(COMPLAINTS)]
            if theme in axe:
                complaints += [f"{theme}: {text}" for text in page.evaluate(VIOLATIONS, theme)]
        return complaints
