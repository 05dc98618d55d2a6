"""Live controls and quizzes in headless Chromium: keyboard, themes, widths, and no other host."""

import os
import re
import shutil
from pathlib import Path

import pytest
from test_live import EXAMPLES

from minillm import live
from minillm.quiz import quiz

AXE = Path(__file__).parent.parent / "book" / "node_modules" / "axe-core" / "axe.min.js"
STYLE = """<style>
html { font-family: sans-serif; background: white; color: #323232; }
html[data-theme=dark] { background: #121212; color: #ced6dd; color-scheme: dark; }
</style>"""
QUESTION = ("What is 2 + 2?", [("4", True, "Count."), ("5", False, "One too many.")])


def chromium():
    """Where a Chromium is; without one the tests are skipped, but fail where CI is true."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    message = "no Chromium here: apt-get install chromium, or the like"
    pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """A function that opens HTML from a file, as a reader would, and fails on any error or request."""
    contexts, wrong = [], []

    def open_page(body, width=800, theme="light", **options):
        file = tmp_path / f"page{len(contexts)}.html"
        head = f'<meta charset="utf-8"><title>Test</title>{STYLE}'
        file.write_text(
            f'<!doctype html><html lang="en" data-theme="{theme}"><head>{head}</head>'
            f"<body><main><h1>Test</h1>{body}</main></body></html>",
            "utf-8",
        )
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda request: wrong.append(request.url))
        page.goto(file.as_uri())
        wrong.remove(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def figure(view, **changes):
    return live.show(view, alt="what is seen", **EXAMPLES[view], **changes).data


ALL = "".join(figure(view) for view in live.VIEWS) + quiz([QUESTION]).data


@pytest.mark.parametrize("width", [360, 800, 1280])
def test_everything_fits_with_text_that_can_be_read(open_page, width):
    page = open_page(ALL, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = page.evaluate(
        """() => [...document.querySelectorAll('.llm-live > svg')].map((svg) => {
            const frame = svg.getBoundingClientRect();
            const texts = [...svg.querySelectorAll('text')].map((t) => t.getBoundingClientRect());
            const size = parseFloat(getComputedStyle(svg.querySelector('text')).fontSize);
            const outside = [...svg.querySelectorAll('text')].filter((_, i) =>
                texts[i].left < frame.left - 1 || texts[i].right > frame.right + 1
                || texts[i].top < frame.top - 1 || texts[i].bottom > frame.bottom + 1)
                .map((t) => t.textContent);
            return [texts.length > 3, outside, size * frame.width / svg.viewBox.baseVal.width];
        })"""
    )
    assert len(drawn) == len(live.VIEWS)
    for has_text, outside, size in drawn:
        assert has_text and outside == [] and size >= 12


@pytest.mark.parametrize("view", live.VIEWS)
def test_the_script_writes_the_sentence_that_stood_there(open_page, view):
    written = re.search(r"<output[^>]*>(.*)</output>", figure(view))[1]
    page = open_page(figure(view))
    assert page.inner_text("output") == written
    assert page.locator(".off").count() == 0 and page.locator("svg").first.is_visible()
    for slider in page.locator("input").all():  # at a step of its own, so the start is kept
        assert float(slider.input_value()) == pytest.approx(float(slider.get_attribute("value")))


@pytest.mark.parametrize("view", live.VIEWS)
def test_the_keyboard_reaches_and_moves_every_control(open_page, view):
    page = open_page(figure(view))
    controls = page.locator("input, select, button").all()
    start = page.inner_html("figure")
    for control in controls[:-1]:
        page.keyboard.press("Tab")
        assert control.evaluate("e => e === document.activeElement")
        assert control.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
        drawing, sentence = page.inner_html("svg g"), page.inner_text("output")
        slider = control.evaluate("e => e.type === 'range'")
        value = control.get_attribute("value")
        at_low_end = slider and value == control.get_attribute("min")
        if slider:
            page.keyboard.press("End" if at_low_end else "Home")
            unseen = control.get_attribute("name") in ("momentum", "shift")  # so they should be
            seen = page.inner_html("svg g"), page.inner_text("output")
            assert unseen or (drawing, sentence) != seen
            control.fill(value)  # at its end it could hide what the next one does
        for key in ("ArrowRight", "ArrowUp") if at_low_end else ("ArrowLeft", "ArrowDown"):
            page.keyboard.press(key)
        if slider:
            assert control.input_value() != value
            said = control.get_attribute("aria-valuetext")
            assert said == control.evaluate("e => e.parentNode.querySelector('b').textContent")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "start => document.querySelector('figure').innerHTML === start", arg=start
    )


def test_two_figures_of_a_kind_do_not_meet_and_a_script_may_run_twice(open_page):
    other = live.show("softmax", alt="another", logits=[0, 0], labels=["a", "b"]).data
    script = re.search(r"<script>.*</script>", figure("softmax"), re.DOTALL)[0]
    page = open_page(figure("softmax") + other + figure("softmax") + script)
    first, second, third = page.locator("output").all()
    before = second.inner_text()
    page.locator("[name=temperature]").first.fill("1")
    assert "0.378" in first.inner_text()  # softmax([0.2, 0.1, -0.1])
    assert second.inner_text() == before and "0.705" in third.inner_text()
    assert (
        len(page.evaluate("[...new Set([...document.querySelectorAll('[id]')].map(e => e.id))]"))
        == 2
    )


def test_it_works_when_inserted_later_as_notebooks_do(open_page):
    page = open_page("<div></div>")
    page.evaluate(
        """html => {
            const div = document.querySelector('div');
            div.innerHTML = html;
            for (const old of div.querySelectorAll('script')) {
                const script = document.createElement('script');
                script.textContent = old.textContent;
                old.replaceWith(script);
            }
        }""",
        figure("softmax"),
    )
    page.locator("[name=raise]").fill("-3")
    assert "“sofa”" in page.inner_text("output")


def test_it_works_in_a_sandboxed_frame(open_page):
    page = open_page(
        "<iframe title='cell' sandbox='allow-scripts' width='700' height='600'></iframe>"
    )
    page.evaluate("html => { document.querySelector('iframe').srcdoc = html }", figure("softmax"))
    frame = page.frame_locator("iframe")
    frame.locator("[name=raise]").fill("-3")
    assert "“sofa”" in frame.locator("output").inner_text()


def test_without_scripts_it_says_so_and_nothing_can_be_moved(open_page):
    page = open_page(figure("softmax"), java_script_enabled=False)
    assert page.locator(".off").is_visible() and page.locator("input").first.is_disabled()
    assert "with 0.705" in page.inner_text("output") and not page.locator("svg").is_visible()


def test_it_is_drawn_again_when_it_is_shown_or_its_width_changes(open_page):
    page = open_page(f"<details><summary>open</summary>{figure('softmax')}</details>")
    page.locator("summary").click()
    page.wait_for_function("document.querySelector('svg').viewBox.baseVal.width !== 600")
    page.set_viewport_size({"width": 360, "height": 800})
    page.wait_for_function("document.querySelector('svg').viewBox.baseVal.width < 360")


def test_pointing_at_the_drawing_moves_the_sliders(open_page):
    page = open_page(figure("gradient_descent"))
    box = page.locator("figure > svg").bounding_box()
    side = box["width"] / 2
    page.mouse.move(box["x"] + side / 2, box["y"] + 22 + side / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + side * 0.75, box["y"] + 22 + side / 4, steps=3)
    page.mouse.up()
    page.mouse.move(box["x"], box["y"])
    assert [float(page.locator(f"[name={name}]").input_value()) for name in "xy"] == [1, 1]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colors_stand_out_from_the_ground(open_page, theme):
    page = open_page(ALL, theme=theme)
    ratios = page.evaluate(
        """() => {
            const rgb = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
            const light = (color) => rgb(color).map((c) => c / 255)
                .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
                .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
            const ground = light(getComputedStyle(document.documentElement).backgroundColor);
            return [...document.querySelectorAll('.llm-live svg [style], .llm-live svg text')]
                .map((e) => light(getComputedStyle(e).fill))
                .concat([...document.querySelectorAll('.llm-live svg [fill^=var]')]
                    .map((e) => light(getComputedStyle(e).fill)))
                .map((l) => (Math.max(l, ground) + 0.05) / (Math.min(l, ground) + 0.05));
        }"""
    )
    assert len(ratios) > 50 and min(ratios) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation(open_page, theme):
    if not AXE.exists():
        message = "no axe-core here: python tools/assets.py installs it"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    page = open_page(ALL, width=360, theme=theme)
    for summary in page.locator("summary").all():
        summary.click()
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations")
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []


def test_a_quiz_opens_by_keyboard(open_page):
    page = open_page(quiz([QUESTION]).data)
    assert not page.get_by_text("One too many.").is_visible()
    for key in ("Tab", "Tab", "Enter"):
        page.keyboard.press(key)
    assert (
        page.get_by_text("One too many.").is_visible()
        and not page.get_by_text("Count.").is_visible()
    )
