"""Checkers for the exercises: they print what is wrong and how to go on, and never raise."""

import copy
import functools
import textwrap
import warnings

from minillm.compare import difference, short


class Exercise:
    """A checker for one exercise: call it with the answer, and it prints a verdict.

    Parameters
    ----------
    name : str
        What the reader is asked for; it stands before every verdict.
    cases : sequence of (args, expected, hint)
        `args` is the tuple that the answer, a function, is called with, or ``None`` if the answer
        is itself the value. `expected` is a number, an array or tensor, a string, a bool, or a
        tuple, list or dict of these. `hint` is shown if the case fails.
    test : callable, optional
        Instead of `cases`: ``test(answer)`` raises ``AssertionError(message)`` on a wrong answer.
    rtol, atol : float
        Tolerances of the comparison, as in `numpy.allclose`.

    Raises
    ------
    ValueError
        If neither or both of `cases` and `test` are given, or a case is not such a triple.

    Examples
    --------
    >>> check = Exercise("the sum", [((2, 3), 5, "Use +."), ((2, -2), 0, "Signs count.")])
    >>> check(lambda a, b: a + b)
    ✓ the sum: 2 of 2 cases are right.
    >>> check(lambda a, b: a + abs(b))
    ✗ the sum: case 2 of 2 is wrong.
      input      2, -2
      got        4
      expected   0
      hint       Signs count.
    >>> check(...)
    not answered yet: the sum
    """

    def __init__(self, name, cases=(), *, test=None, rtol=1e-5, atol=1e-8):
        self.name, self.cases, self.test = name, list(cases), test
        self.rtol, self.atol = rtol, atol
        if bool(self.cases) == (test is not None):
            raise ValueError(f"exercise {name!r} needs either cases or a test")
        for case in self.cases:
            triple = len(case) == 3 and isinstance(case[2], str)
            if not triple or not (case[0] is None or isinstance(case[0], tuple)):
                raise ValueError(f"{case!r} is not (tuple of arguments or None, expected, hint)")
            if case[1] is None:
                raise ValueError(f"exercise {name!r}: None cannot be expected, it means no answer")

    def __call__(self, answer):
        """Print the verdict on `answer`; whatever it is or does, nothing is raised."""
        print(self._verdict(answer)[1])

    def solved(self, answer):
        """Print the verdict, and raise AssertionError with it unless `answer` is right."""
        right, report = self._verdict(answer)
        assert right, report
        print(report)

    def _verdict(self, answer):  # -> whether it is right, the report
        if _missing(answer):
            return False, f"not answered yet: {self.name}"
        if self.test is not None:
            return self._run_test(answer)
        for i, (args, expected, hint) in enumerate(self.cases, 1):
            report = self._run_case(answer, args, expected, hint)
            if report == "":
                continue
            if report is None:
                return False, f"not answered yet: {self.name}"
            where = f"case {i} of {len(self.cases)} is wrong" if len(self.cases) > 1 else "wrong"
            return False, f"✗ {self.name}: {where}.{report}"
        n = len(self.cases)
        return True, f"✓ {self.name}: " + (f"{n} of {n} cases are right." if n > 1 else "right.")

    def _run_case(self, answer, args, expected, hint):
        """What is wrong in one case: "" for nothing, None for no answer, else the report's lines."""
        lines = {}
        if args is not None:
            lines["input"] = ", ".join(short(arg) for arg in args)
            if not callable(answer):
                lines["got"] = f"{short(answer)}, which is not a function"
                return _table(lines | {"expected": "a function", "hint": hint})
            answer, error, warned = _call(answer, args)
            if error is not None:
                lines["raised"] = error
                return _table(lines | {"expected": short(expected), "hint": hint})
            if warned:
                lines["warned"] = warned
        if _missing(answer):
            return None
        try:
            problem = difference(answer, expected, self.rtol, self.atol)
        except Exception as error:  # noqa: BLE001 (an answer too odd to be compared)
            problem = f"it cannot be compared: {_error(error)}"
        if problem is None:
            return ""
        lines |= {"got": short(answer), "expected": short(expected), "problem": problem}
        return _table(lines | {"hint": hint})

    def _run_test(self, answer):
        empty = []  # what calls of the answer returned, where that is no answer
        watch = callable(answer) and not isinstance(answer, type)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.test(_watched(answer, empty) if watch else answer)
        except Exception as error:  # noqa: BLE001 (whatever the answer does)
            if any(value is ... for value in empty) or (empty and _does_nothing(answer)):
                return False, f"not answered yet: {self.name}"
            if isinstance(error, AssertionError):
                message = str(error) or "the check failed"
            else:
                message = f"the check stopped with {_error(error)}"
            none = " (The function returns None.)" if empty else ""
            return False, f"✗ {self.name}: {message}{none}"
        return True, f"✓ {self.name}: right."


def _missing(answer):
    return answer is None or answer is ...


def _does_nothing(function):
    """Whether a function's body is but ``...`` or ``pass``, below a docstring perhaps."""
    code = getattr(function, "__code__", None)
    return code is not None and len(code.co_code) == len(_missing_body.__code__.co_code)


def _missing_body(): ...


def _watched(function, empty):
    """`function`, noting in the list `empty` each time that it returns no answer."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        result = function(*args, **kwargs)
        if _missing(result):
            empty.append(result)
        return result

    return call


def _call(function, args):  # -> result, what was raised, what was warned
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*copy.deepcopy(args))  # a case's arrays stay as they are
        except Exception as error:  # noqa: BLE001 (whatever the answer does)
            return None, _error(error), None
    return result, None, str(caught[0].message) if caught else None


def _error(error):
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _table(lines):
    """The lines of a report, each under its name; what is empty is left out."""
    report = ""
    for name, text in lines.items():
        if name in ("hint", "problem", "raised", "warned"):
            text = textwrap.fill(text, 72)
        if text:
            report += f"\n  {name:10} " + text.replace("\n", "\n" + 13 * " ")
    return report


__all__ = ["Exercise"]
