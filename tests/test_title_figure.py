"""The title page's figure shows counts of the real text: count again."""

import re
from collections import Counter
from math import log

import pytest
from page_check import ROOT

from minillm import data

FIGURE = (ROOT / "book" / "figures" / "next-character.svg").read_text(encoding="utf-8")


def test_numbers_are_those_of_the_text():
    text = data.load("tinyshakespeare")
    if not data.is_real("tinyshakespeare"):
        pytest.skip("the real text is not here")
    counts = Counter(match[1] for match in re.finditer("(?<=the s)(.)", text, re.DOTALL))
    total = counts.total()
    shown = re.findall(r'<text class="token"[^>]*>(\w)</text><rect.*?>(0\.\d\d)', FIGURE)
    assert shown == [(c, f"{n / total:.2f}") for c, n in counts.most_common(7)]
    others = len(set(text)) - 7
    rest = 1 - sum(n for _, n in counts.most_common(7)) / total
    assert re.search(rf">{others} others</text>.*?>{rest:.2f}<", FIGURE)
    p = counts["u"] / total
    assert f"loss = −ln {p:.3f} = {-log(p):.2f} nats" in FIGURE
