"""The checkers of exercises: never an exception, always a line that helps."""

import warnings

import numpy as np
import pytest
import torch

from minillm.compare import difference, short
from minillm.exercise import Exercise


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


SCORES = np.array([1.0, 2.0, 3.0])
LARGE = np.array([1000.0, 0.0])
CASES = [
    ((SCORES,), softmax(SCORES), "Divide by the sum."),
    ((LARGE,), np.array([1.0, 0.0]), "Subtract the largest score first."),
]
check = Exercise("softmax", CASES)


def said(capsys, checker, answer):
    """What the checker prints, by the name of each line; its first line as "verdict"."""
    assert checker(answer) is None
    first, *rest = capsys.readouterr().out.rstrip("\n").split("\n")
    lines, name = {"verdict": first}, "verdict"
    for line in rest:
        name = line[2:12].strip() or name
        lines[name] = (lines.get(name, "") + " " + line[13:].strip()).strip()
    return lines


def test_right(capsys):
    assert said(capsys, check, softmax) == {"verdict": "✓ softmax: 2 of 2 cases are right."}
    assert said(capsys, Exercise("half", [(None, 0.5, "")]), 0.5) == {"verdict": "✓ half: right."}


def stub(z): ...


def stub_with_doc(z):
    """Softmax of z (V,)."""
    return ...


@pytest.mark.parametrize("answer", [None, ..., stub, stub_with_doc])
def test_unanswered(capsys, answer):
    assert said(capsys, check, answer) == {"verdict": "not answered yet: softmax"}


def test_wrong_names_the_case_what_came_what_was_expected_and_a_hint(capsys):
    assert said(capsys, check, lambda z: np.exp(z)) == {
        "verdict": "✗ softmax: case 1 of 2 is wrong.",
        "input": "[1. 2. 3.]",
        "got": "[ 2.7183  7.3891 20.0855]",
        "expected": "[0.09   0.2447 0.6652]",
        "problem": "first wrong at [0]: 2.71828 for 0.0900306",
        "hint": "Divide by the sum.",
    }


def test_nan_and_the_warning_that_came_with_it(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lines = said(capsys, check, lambda z: np.exp(z) / np.exp(z).sum())
    assert lines["verdict"] == "✗ softmax: case 2 of 2 is wrong."
    assert lines["warned"] == "overflow encountered in exp"
    assert lines["got"] == "[nan 0.]" or lines["got"] == "[nan  0.]"
    assert lines["problem"].startswith("first wrong at [0]: nan for 1")


def test_raising(capsys):
    def broken(z):
        return z[7]

    lines = said(capsys, check, broken)
    assert lines["raised"].startswith("IndexError: index 7 is out of bounds")
    assert lines["hint"] == "Divide by the sum."
    assert "TypeError" in said(capsys, check, lambda: 1)["raised"]


def test_not_a_function(capsys):
    lines = said(capsys, check, 3.0)
    assert (lines["got"], lines["expected"]) == ("3, which is not a function", "a function")


@pytest.mark.parametrize(
    ("got", "expected", "problem"),
    [
        (np.ones((1, 3)), np.ones(3), "its shape is (1, 3), not (3,)"),
        (1.0, np.ones(3), "its shape is (), not (3,)"),
        (np.ones(1), 1.0, "its shape is (1,), not ()"),
        ([1, 2], [1, 2, 3], "its shape is (2,), not (3,)"),
        (np.array([[1.0, 2], [3, 5]]), [[1, 2], [3, 4]], "first wrong at [1, 1]: 5 for 4"),
        ("0.5", 0.5, "it is a str, not a number"),
        (True, 1, "it is a bool, not a number"),
        (1, True, "it is a number, not a bool"),
        (len, 0.5, "it is a builtin_function_or_method, not a number"),
        (float("nan"), 0.5, ""),
        (0.4, 0.5, ""),
        (0.4, np.inf, ""),
        ([1, "a"], [1, 2], "it is not made of numbers only, or its rows differ in length"),
        ([[1], [1, 2]], [1, 2], "it is not made of numbers only, or its rows differ in length"),
        ([[[1], [1, 2]], [3, 4]], [1, 2], "it is not made of numbers only, or its rows differ in length"),
        ("dog", "cat", ""),
        (3, "cat", "it is a number, not a str"),
        (["a", "c"], ["a", "b"], "at place 1"),
        (["a"], ["a", "b"], "it holds 1 values, not 2"),
        ("ab", ["a", "b"], "it is a str, not a list"),
        ((np.ones(2), np.ones(2)), (np.ones(2), np.zeros(2)), "at place 1 first wrong at [0]: 1 for 0"),
        (np.ones((2, 2)), (np.ones(2), np.ones(2)), "it is an array of float64, not a tuple"),
        ({"a": 2}, {"a": 1}, "at key 'a'"),
        ({"b": 1}, {"a": 1}, "its keys are ['b'], not ['a']"),
        ([1], {"a": 1}, "it is a list, not a dict"),
        (np.array([True, True]), np.array([True, False]), "first wrong at [1]: True for False"),
        (torch.ones(3), torch.ones(2), "its shape is (3,), not (2,)"),
    ],
)  # fmt: skip
def test_problems_in_words(got, expected, problem):
    assert difference(got, expected, 1e-5, 1e-8) == problem


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (np.float32(0.5), 0.5),
        (1, 1.0),
        ((1, 2), np.array([1.0, 2.0])),
        (torch.ones(2, requires_grad=True), np.ones(2)),
        (torch.ones(2, dtype=torch.bfloat16), [1, 1]),
        ([torch.tensor(1.0), torch.tensor(2.0)], np.array([1, 2])),
        (np.nan, np.nan),
        (np.inf, np.inf),
        (np.bool_(True), True),
        ([True, False], np.array([True, False])),
        ([np.ones(2), np.ones(3)], (np.ones(2), np.ones(3))),
        ({"a": [1, 2]}, {"a": np.array([1, 2])}),
        ({1, 2}, {2, 1}),
        (1 + 1e-7, 1.0),
    ],
)
def test_equal_enough(got, expected):
    assert difference(got, expected, 1e-5, 1e-8) is None


class Odd:
    def __repr__(self):
        raise RuntimeError("no words")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


@pytest.mark.parametrize("expected", [0.5, np.ones(2), "a", True, [1, 2], ["a"], {"a": 1}, Odd()])
@pytest.mark.parametrize(
    "answer", [Odd(), [Odd()], {"a": Odd()}, np.array([Odd()]), "", [], 1j, {}]
)
def test_nothing_odd_raises(capsys, expected, answer):
    lines = said(capsys, Exercise("odd", [(None, expected, "Think.")]), answer)
    assert lines["verdict"] == "✗ odd: wrong." and lines["hint"] == "Think."


def test_the_cases_stay_as_they_were(capsys):
    def in_place(z):
        z -= z.max()
        np.exp(z, out=z)
        z /= z.sum()
        return z

    for _ in range(2):
        assert said(capsys, check, in_place)["verdict"].startswith("✓")
    assert SCORES.tolist() == [1, 2, 3]


def test_lines_fit_the_page(capsys):
    long = Exercise("long", [((np.arange(1000.0),), "x" * 500, "word " * 60)])
    long(lambda a: list(range(500)))
    assert max(map(len, capsys.readouterr().out.split("\n"))) <= 88


def test_solved_raises_the_report_and_prints_the_success(capsys):
    check.solved(softmax)
    assert capsys.readouterr().out == "✓ softmax: 2 of 2 cases are right.\n"
    with pytest.raises(AssertionError, match="case 1 of 2 is wrong"):
        check.solved(lambda z: z)
    with pytest.raises(AssertionError, match="not answered yet"):
        check.solved(...)


def halves_in_place(answer):
    z = np.ones(2)
    answer(z)
    if z.tolist() != [0.5, 0.5]:  # no assert, which pytest would add lines to
        raise AssertionError(f"after the call z is {short(z)}, not [0.5 0.5].")


def test_free_form_checks(capsys):
    halve = Exercise("halve z", test=halves_in_place)

    def right(z):
        z /= 2

    def wrong(z):
        z /= 4

    assert said(capsys, halve, right)["verdict"] == "✓ halve z: right."
    assert said(capsys, halve, stub_with_doc)["verdict"] == "not answered yet: halve z"
    assert said(capsys, halve, stub)["verdict"] == "not answered yet: halve z"
    verdict = said(capsys, halve, wrong)["verdict"]
    message = "after the call z is [0.25 0.25], not [0.5 0.5]. (The function returns None.)"
    assert verdict == f"✗ halve z: {message}"
    assert said(capsys, halve, ...)["verdict"] == "not answered yet: halve z"
    assert "stopped with TypeError" in said(capsys, halve, 3)["verdict"]
    halve.solved(right)
    with pytest.raises(AssertionError):
        halve.solved(wrong)


def test_a_class_is_given_to_a_free_form_check_as_it_is(capsys):
    def is_int(answer):
        assert isinstance(answer, type), "not a class"

    assert said(capsys, Exercise("a class", test=is_int), int)["verdict"].startswith("✓")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either cases or a test"),
        ({"cases": CASES, "test": print}, "either cases or a test"),
        ({"cases": [(1, 2)]}, "is not"),
        ({"cases": [([1], 2, "list of arguments")]}, "is not"),
        ({"cases": [((1,), 2, None)]}, "is not"),
        ({"cases": [((1,), None, "")]}, "None cannot be expected"),
    ],
)
def test_a_malformed_exercise_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Exercise("x", **arguments)
