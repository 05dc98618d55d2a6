"""Hands formulas to MathJax as they are written, and keeps their place until it has set them.

Sphinx wraps a display with a `\\\\` in it, be it a matrix's, in an environment that forbids `\\tag`.
A formula in a line gets a width estimated from its TeX (fitted to 400 formulas of the book: right
to 0.4 em on average); the style sheet uses it while the formula is not set, so no text jumps.
"""

import html
import re

from docutils import nodes

INLINE = re.compile(
    r'<span class="math notranslate nohighlight">(?P<tex>\\\(.*?\\\))</span>', re.DOTALL
)
UNSEEN = re.compile(r"\\color\{[^}]*\}|\\[,;:! ]|\\q?quad|\\(?:left|right|[bB]igg?[lr]?)(?![a-z])")
NAMED = re.compile(r"\\(?:operatorname|text\w*|math\w+)\*?\s*\{([^{}]*)\}")
SCRIPT = re.compile(r"[_^](?:\{((?:[^{}]|\{[^{}]*\})*)\}|(\\[a-zA-Z]+|[^\s{}]))")
SPACED = re.compile(r"[=<>+\-]|\\(?:in|to|approx|leq?|geq?|times|cdot|sum|log|exp|ln)(?![a-z])")


def glyphs(tex):
    """How many signs `tex` shows, a command counted as one."""
    return len(re.sub(r"[{}\s\\]", "", re.sub(r"\\[a-zA-Z]+", "x", tex)))


def width(tex):
    """About how wide an inline formula is, in em."""
    tex = NAMED.sub(r"\1", UNSEEN.sub("", tex))
    scripts = 0
    while found := SCRIPT.search(tex):
        scripts += glyphs(SCRIPT.sub("", found[1] or found[2]))
        tex = tex[: found.start()] + tex[found.end() :]
    return 0.65 * glyphs(tex) + 0.58 * scripts + 0.67 * len(SPACED.findall(tex))


def unwrap(app, doctree):
    """Keep Sphinx from wrapping displays."""
    for display in doctree.findall(nodes.math_block):
        if not display.get("nowrap"):
            tex = display.astext()
            display["nowrap"] = True
            display.children = []
            display += nodes.Text(f"\\[{tex}\\]")


def add_widths(app, pagename, templatename, context, doctree):
    def reserved(match):
        em = width(html.unescape(match["tex"])[2:-2])
        return match[0].replace("<span ", f'<span style="--em: {em:.1f}em" ', 1)

    if "body" in context:
        context["body"] = INLINE.sub(reserved, context["body"])


def setup(app):
    app.connect("doctree-read", unwrap)
    app.connect("html-page-context", add_widths)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
