"""Quizzes that need no JavaScript: each option opens to say whether, and why, it is right."""

import hashlib
import html
import re

from IPython.display import HTML

from minillm.live.controls import KEYS

# The page and JupyterLab differ about $…$ in an output, so maths here is Unicode and these tags.
ALLOWED = re.compile(r"&lt;(/?(?:sub|sup|i|b|em|strong|code))&gt;")

STYLE = """<style>
.llm-quiz { max-width: 46rem; line-height: 1.45; }
.llm-quiz > ol { padding-left: 1.6em; }
.llm-quiz ul { list-style: none; margin: .3em 0 1.2em; padding: 0; }
.llm-quiz li > p { margin: .2em 0; }
.llm-quiz details { margin: .35em 0; padding: 0 .7em; border: 1px solid #80808099; \
border-left: 4px solid #808080; border-radius: 4px; background: none; color: inherit; }
.llm-quiz summary { padding: .35em 0; cursor: pointer; color: inherit; }
.llm-quiz summary:focus-visible { outline: 3px solid #2f81d6; outline-offset: 3px; }
.llm-quiz details[open].right { border-left-color: #00966f; }
.llm-quiz details[open].wrong { border-left-color: #d15a10; }
.llm-quiz details > p { margin: 0 0 .5em; }
</style>"""


def quiz(questions):
    """A quiz as HTML: every option is a native ``<details>`` that opens to its explanation.

    Parameters
    ----------
    questions : list of (question, options)
        `options` is a list of (option, is_right, explanation). Texts are escaped, but for
        ``<sub> <sup> <i> <b> <em> <strong> <code>`` and text in backquotes, which is code.

    Returns
    -------
    IPython.display.HTML
        The same for the same questions, so that a stored output can be compared.

    Raises
    ------
    ValueError
        If a question has fewer than two options, has no right or no wrong one, an explanation is
        missing, or a text holds TeX, which not every reader of a notebook draws in an output.

    Examples
    --------
    >>> page = quiz([("2 + 2 = ?", [("4", True, "Count."), ("5", False, "One too many.")])])
    >>> page.data.count("<details")
    2
    """
    ident = "quiz-" + hashlib.sha256(repr(questions).encode()).hexdigest()[:8]
    items = "\n".join(
        _question(text, options, f"{ident}-{i}") for i, (text, options) in enumerate(questions, 1)
    )
    return HTML(
        f'<section class="llm-quiz mathjax_ignore tex2jax_ignore" id="{ident}" aria-label="Quiz">\n'
        f"{STYLE}\n<ol>\n{items}\n</ol>\n</section>"
    )


def _question(text, options, ident):
    right = [bool(is_right) for _, is_right, _ in options]
    if len(options) < 2 or all(right) or not any(right):
        raise ValueError(f"question {text!r} needs at least one right and one wrong option")
    rows = "\n".join(
        _option(*option, f"{ident}-{letter}")
        for option, letter in zip(options, "abcdefghij"[: len(options)], strict=True)
    )
    return f"<li><p>{_safe(text)}</p>\n<ul>\n{rows}\n</ul></li>"


def _option(text, is_right, explanation, ident):
    if not explanation:
        raise ValueError(f"option {text!r} has no explanation")
    kind, verdict = ("right", "✓ Right.") if is_right else ("wrong", "✗ Not so.")
    return (
        f'<li><details class="{kind}" id="{ident}"><summary {KEYS}>{_safe(text)}</summary>'
        f"<p><strong>{verdict}</strong> {_safe(explanation)}</p></details></li>"
    )


def _safe(text):
    """`text` as HTML: escaped, with the allowed tags put back, and backquotes made code."""
    parts = re.split(r"`([^`]+)`", text)  # text, code, text, code, ..., text
    if any(part.count("$") > 1 for part in parts[::2]):
        raise ValueError(f"{text!r} holds TeX: write Unicode, or <sub> and <sup>, instead")
    parts = [html.escape(part, quote=False) for part in parts]
    parts[::2] = [ALLOWED.sub(r"<\1>", part) for part in parts[::2]]
    parts[1::2] = [f"<code>{part}</code>" for part in parts[1::2]]
    return "".join(parts)


__all__ = ["quiz"]
