"""One color an axis: the same in figures, in equations and in the style sheet, legible on both grounds."""

import re

import pytest
from page_check import ROOT

from minillm.plots import AXIS

CSS = (ROOT / "book" / "_static" / "book.css").read_text(encoding="utf-8")
LIGHT, DARK = ("#ffffff", "#f3f4f5"), ("#121212", "#29313d")  # the page, and a box on it
HUES = {"B": "b", "T": "t", "S": "t", "C": "c", "K": "c", "F": "c", "H": "h", "V": "v"}


def channels(color):
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def luminance(color):
    unit = [c / 255 for c in channels(color)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in unit]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("letter", AXIS)
def test_axis_color_is_one_and_legible(letter):
    light, dark = re.findall(rf"--axis-{HUES[letter]}: (#\w+);", CSS)
    assert light == AXIS[letter].lower()
    assert all(contrast(light, ground) >= 4.5 for ground in LIGHT)
    assert all(contrast(dark, ground) >= 4.5 for ground in DARK)
    inline = "rgb({}, {}, {})".format(*channels(light))
    rule = rf'html\[data-theme="dark"\] mjx-container \[style\*="{re.escape(inline)}"\]'
    assert re.search(rule + r" {\s*color: var\(--axis-" + HUES[letter] + r"\) !important;", CSS)


@pytest.mark.parametrize("letter", AXIS)
def test_axis_color_is_lightened_in_the_browser(chromium, letter):
    red, green, blue = channels(AXIS[letter])
    _, dark = re.findall(rf"--axis-{HUES[letter]}: (#\w+);", CSS)
    with chromium.new_page() as page:
        page.set_content(
            f"""<html data-theme="dark"><style>{CSS}</style><mjx-container><mjx-mstyle
            style="color: rgb({red}, {green}, {blue})">x</mjx-mstyle></mjx-container></html>"""
        )
        color = page.evaluate("getComputedStyle(document.querySelector('mjx-mstyle')).color")
    assert color == "rgb({}, {}, {})".format(*channels(dark))
