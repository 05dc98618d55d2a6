"""Quizzes: sound, deterministic HTML that works without JavaScript."""

import re
from html.parser import HTMLParser

import pytest

from minillm.quiz import quiz

QUESTIONS = [
    ("What is 2 + 2?", [("4", True, "Count."), ("5 < 6", False, "One too many.")]),
    ("Where is `e^x` < 1?", [("x<sub>0</sub> & more", False, "No."), ("x < 0", True, "Yes.")]),
]


class Tree(HTMLParser):
    """The open elements at each moment; fails where one is closed that is not the last opened."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.append("/".join(self.open))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_structure():
    tree = Tree()
    tree.feed(quiz(QUESTIONS).data)
    assert tree.open == []
    details = "section/ol/li/ul/li/details"
    assert tree.seen.count(details) == tree.seen.count(f"{details}/summary") == 4
    assert tree.seen.count("section/ol/li") == 2
    assert len(set(tree.ids)) == len(tree.ids) == 5


def test_each_option_says_whether_it_is_right():
    kinds = re.findall(r'<details class="(\w+)".*?<strong>(.*?)</strong>', quiz(QUESTIONS).data)
    right, wrong = ("right", "✓ Right."), ("wrong", "✗ Not so.")
    assert kinds == [right, wrong, wrong, right]


def test_it_is_deterministic_and_ids_differ_between_quizzes():
    assert quiz(QUESTIONS).data == quiz(QUESTIONS).data
    assert quiz(QUESTIONS[:1]).data[:120] != quiz(QUESTIONS[1:]).data[:120]


def test_text_is_escaped_but_for_simple_tags_and_code():
    page = quiz(QUESTIONS).data
    assert "5 &lt; 6" in page and "x<sub>0</sub> &amp; more" in page
    assert "<code>e^x</code> &lt; 1?" in page
    attack = '<img src=x onerror="alert(1)"><sub onclick="x">'
    page = quiz([(attack, [(attack, True, attack), ("b", False, "c")])]).data
    assert "<img" not in page and "<sub " not in page
    assert "<script" not in page


def test_code_keeps_what_it_holds():
    page = quiz([("`a < <b>`?", [("a", True, "b"), ("c", False, "d")])]).data
    assert "<code>a &lt; &lt;b&gt;</code>" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([("a", True, "x")], "at least one right and one wrong"),
        ([("a", True, "x"), ("b", True, "x")], "at least one right and one wrong"),
        ([("a", False, "x"), ("b", False, "x")], "at least one right and one wrong"),
        ([("a", True, "x"), ("b", False, "")], "no explanation"),
        ([("$x$", True, "x"), ("b", False, "y")], "holds TeX"),
    ],
)
def test_a_malformed_quiz_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        quiz([("q", options)])


def test_prices_are_no_tex():
    assert "$5" in quiz([("It costs $5", [("a", True, "x"), ("b", False, "y")])]).data
