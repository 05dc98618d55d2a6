"""Rules about the stored outputs of a notebook. A rule: notebook, path -> list of complaints."""

import copy
import re

from tools import stored
from tools.lint_code import MAX_WIDTH, code_cells

MAX_LINES = 20
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:home|root|work|tmp|Users|usr|opt|var|private|content)/[\w.]|\b[A-Z]:\\+Users\b"
)
STRAY = re.compile(r"<matplotlib\.|<Axes|<function |<bound method | object at 0x|\x1b\[")


def texts(cell):
    """The texts among a cell's outputs: what was printed, and every text form of what was shown."""
    for output in cell.outputs:
        yield output.get("text", "")
        for kind, value in output.get("data", {}).items():
            if isinstance(value, str) and not kind.startswith("image/"):
                yield value


def plain_lines(cell):
    """The lines of text that a reader sees, an HTML table's as its plain text has them."""
    for output in cell.outputs:
        shown = output.get("text") or output.get("data", {}).get("text/plain", "")
        yield from shown.rstrip("\n").split("\n") if shown else []


def outputs_are_fresh(notebook, path):
    """Code and outputs are those of the last `make execute`; the form is the stored one."""
    if notebook.metadata.get("minillm", {}).get("executed") != stored.digest(notebook):
        return ["code or outputs changed since they were stored: run make execute NB=" + path.name]
    return []


def form_is_stored(notebook, path):
    """The file is what `make execute` writes: nothing volatile, hidden cells hidden everywhere."""
    if path.read_text("utf-8") != stored.text(stored.normalize(copy.deepcopy(notebook))):
        return ["not in the stored form: run make execute NB=" + path.name]
    return []


def cells_ran_in_order(notebook, path):
    counts = [cell.execution_count for _, cell in code_cells(notebook)]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"cells were run as {counts}"]


def no_error_is_stored(notebook, path):
    return [
        f"{where}: {output.ename} is stored"
        for where, cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "error"
    ]


def no_warning_is_stored(notebook, path):
    return [
        f"{where}: stderr is stored: {output.text.strip()[:80]}"
        for where, cell in code_cells(notebook)
        for output in cell.outputs
        if output.get("name") == "stderr"
    ]


def outputs_are_short(notebook, path):
    return [
        f"{where}: {n} lines of output, more than {MAX_LINES}"
        for where, cell in code_cells(notebook)
        if (n := len(list(plain_lines(cell)))) > MAX_LINES
    ]


def outputs_are_narrow(notebook, path):
    return [
        f"{where}: an output line of {len(line)} characters, more than {MAX_WIDTH}"
        for where, cell in code_cells(notebook)
        for line in plain_lines(cell)
        if len(line) > MAX_WIDTH
    ]


def no_machine_path(notebook, path):
    wrong = [
        f"{where}: a path of one machine is stored: {match[0]}"
        for where, cell in code_cells(notebook)
        for text in texts(cell)
        if (match := MACHINE_PATH.search(text))
    ]
    return wrong + [
        f"cell {i}: a path of one machine: {match[0]}"
        for i, cell in enumerate(notebook.cells)
        if (match := MACHINE_PATH.search(cell.source))
    ]


def nothing_stray_is_shown(notebook, path):
    """No addresses, and no objects that a last call happens to return (end with plt.show())."""
    return [
        f"{where}: stray output {match[0]!r}"
        for where, cell in code_cells(notebook)
        for text in texts(cell)
        if (match := STRAY.search(text))
    ]


def figures_have_alt_text(notebook, path):
    """A figure says in words what is seen; one figure a cell, as a cell has one such text."""
    wrong = []
    for where, cell in code_cells(notebook):
        shown = [kind for output in cell.outputs for kind in output.get("data", {})]
        n = sum(kind.startswith("image/") for kind in shown)
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if n and len(alt.split()) < 3:
            wrong.append(f"{where}: a figure without alt text (metadata mystnb.image.alt)")
        if n > 1:
            wrong.append(f"{where}: {n} figures share one alt text")
    return wrong


RULES = [
    outputs_are_fresh,
    form_is_stored,
    cells_ran_in_order,
    no_error_is_stored,
    no_warning_is_stored,
    outputs_are_short,
    outputs_are_narrow,
    no_machine_path,
    nothing_stray_is_shown,
    figures_have_alt_text,
]
