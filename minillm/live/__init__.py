"""Live controls: figures with sliders that answer a what-if question without a kernel.

A view is a pair of files, ``name.py`` and ``name.js``. The JavaScript computes and draws in the
page; the Python half checks the data, describes the controls, and computes the same in NumPy, for
the sentence that stands there before any script has run. A test holds the two halves equal.
"""

import functools
import hashlib
import html
import importlib
import json
import re
from pathlib import Path

from IPython.display import HTML

from minillm.live.controls import KEYS
from minillm.live.text import fill

VIEWS = (
    "softmax",
    "cross_entropy",
    "worked_example",
    "gradient_descent",
    "finetuning",
    "alignment",
    "attention",
    "analogy",
    "tokenization",
    "sampling",
)
HERE = Path(__file__).parent
OFF = (
    "These controls move only where scripts run: in the book's page, or in a notebook that you "
    "have run or trusted. The sentence above tells how they start."
)


def show(view, *, alt, id=None, **data):
    """A live control, for the page and for a notebook.

    Parameters
    ----------
    view : str
        One of `VIEWS`.
    alt : str
        What the picture shows, for those who do not see it.
    id : str, optional
        The figure's id in the page; without it, one made from the view and the data.
    **data
        What the view draws; see ``prepare`` in the view's module.

    Returns
    -------
    IPython.display.HTML
        The same for the same arguments, so that a stored output can be compared.

    Raises
    ------
    ValueError
        If there is no such view, `alt` is empty, or the data do not fit the view.

    Examples
    --------
    >>> page = show("softmax", alt="Three bars", logits=[1.0, 2.0, 3.0], labels=["a", "b", "c"])
    >>> page.data.startswith('<figure class="llm-live')
    True
    """
    if view not in VIEWS:
        raise ValueError(f"view = {view!r}, expected one of {', '.join(VIEWS)}")
    if not alt.strip():
        raise ValueError("alt is empty, expected what the picture shows")
    module = importlib.import_module(f"minillm.live.{view}")
    data = module.prepare(**data)
    setup = {"data": data, "text": module.TEXT, "words": module.WORDS}
    id = id or _default_id(view, alt, setup)
    if not re.fullmatch(r"[A-Za-z][\w-]*", id):
        raise ValueError(f"id = {id!r}, expected a letter, then letters, digits, - or _")
    controls = module.controls(data)
    start = {control.name: control.start for control in controls}
    sentence = fill(module.TEXT, start | module.compute(data, start), module.WORDS)
    return HTML(
        f'<figure class="llm-live mathjax_ignore tex2jax_ignore" id="{id}">\n'
        f"<style>{_style()}</style>\n"
        f"<figcaption>Try it: {html.escape(module.TITLE)}</figcaption>\n"
        '<form autocomplete="off"><fieldset disabled>\n'
        + "\n".join(control.html() for control in controls)
        + f'\n<button type="reset" {KEYS}>Start again</button></fieldset></form>\n'
        f'<svg role="img" style="display:none"><title>{html.escape(module.TITLE)}</title>'
        f"<desc>{html.escape(alt)}</desc><g></g></svg>\n"
        f'<output aria-live="polite">{html.escape(sentence)}</output>\n'
        f'<p class="off">{OFF}</p>\n'
        f"<script>{_script(view, id, setup)}</script>\n</figure>"
    )


def _default_id(view, alt, setup):
    return f"live-{view}-{hashlib.sha256((alt + _json(setup)).encode()).hexdigest()[:8]}"


def _json(value):
    """JSON that may stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _script(view, id, setup):
    source, functions = _bundle(view)
    return f'(() => {{"use strict";\n{source}mount({_json(id)},{_json(setup)},{functions})}})()'


@functools.cache
def _bundle(view):  # -> the view's scripts without imports and comments, what `mount` needs of them
    source = (HERE / f"{view}.js").read_text("utf-8")
    parts = [(HERE / "core.js").read_text("utf-8"), source]
    names = "compute, draw"
    if "export function drag(" in source:
        parts.insert(1, (HERE / "drag.js").read_text("utf-8"))
        names += ", drag, dragging"
    source = re.sub(r"^(import .*|\s*//.*)\n", "", "".join(parts), flags=re.MULTILINE)
    source = re.sub(r"^(export )?\s*", "", source, flags=re.MULTILINE)
    return source, f"{{{names}}}"


@functools.cache
def _style():
    """The style sheet. Axes have the page's colors, and where there is no page, those of plots.py."""
    from minillm import plots  # slow to import, since it imports matplotlib

    colors = {letter: plots.AXIS[letter] for letter in "VCT"}
    light, dark = (
        ";".join(f"--{v}:var(--axis-{v.lower()},{shade(color)})" for v, color in colors.items())
        for shade in (str, _paler)
    )
    style = (HERE / "live.css").read_text("utf-8").replace("LIGHT", light).replace("DARK", dark)
    return re.sub(r"\s*([{};:,])\s+", r"\1", style).strip()


def _paler(color):
    """A color moved halfway to white, to be seen on a dark ground."""
    channels = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{(channel + 255) // 2:02x}" for channel in channels)


__all__ = ["VIEWS", "show"]
