"""What tests/sanitize.cfg blots out before outputs are compared, and what it must leave."""

import re

import pytest
from nbval.plugin import get_sanitize_patterns

from tools.kernel import ROOT

PATTERNS = get_sanitize_patterns((ROOT / "tests/sanitize.cfg").read_text("utf-8"))


def sanitized(text):
    for pattern, replacement in PATTERNS:
        text = re.sub(pattern, replacement, text)
    return text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("took 1.3 s", "took 12 s"),
        ("took 950 ms", "took 1.25 ms"),
        ("1234.5 tokens/s", "99 tokens/s"),
        ("100%|███| 50/50 [00:00<00:00, 98.27it/s]", "100%|███| 50/50 [00:01<00:00, 9.27it/s]"),
        ("<object at 0x7f8fc51e19e0>", "<object at 0x7f8fc50e6480>"),
        ("/tmp/ipykernel_123/456.py:1: x", "/var/ipykernel_7/89.py:1: x"),
        ("<Figure size 840x384 with 1 Axes>", "<Figure size 839x380 with 1 Axes>"),
        ('id="27288a2e8587434d9d377dd9147520da"', 'id="65f3cf4a42134980aa9dae7d66163b10"'),
    ],
)
def test_what_differs_between_runs_is_blotted_out(one, other):
    assert one != other
    assert sanitized(one) == sanitized(other)


@pytest.mark.parametrize(
    "text",
    [
        "loss 2.4631",
        "[0.09, 0.2447, 0.6652]",
        "error < 1e-7: True",
        "3 steps, 2 tokens, 65 characters",
        "step 100: 3.3 nats per token",
        "0.0123456789",
        "quiz-1a2b3c4d",
        "max 3 of 12 samples",
    ],
)
def test_results_are_not(text):
    assert sanitized(text) == text
