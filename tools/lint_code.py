"""Rules about the code cells of a notebook. A rule: notebook, path -> list of complaints."""

import re

from tools import repository

MAX_WIDTH, MAX_LINES = 88, 25
TAGS = {"builds", "hide-cell", "hide-input", "hide-output", "nbval-ignore-output"}
TAGS |= {"remove-output", "solution"}
FORBIDDEN = {
    r"tqdm\.(auto|notebook)": "its bars are widgets, dead in a page: from tqdm import tqdm",
    r"\b(simplefilter|filterwarnings)\(": "a warning is mended, not hidden",
    r"(?m)^\s*[!%](?!pip install -q \"minillm @ )": "the book runs in plain Python: no magics",
    r"(?i)#\s*(NBVAL|PYTEST_VALIDATE)_": "nbval is told by tags",
    r"\bsys\.path\b": "what is needed is installed",
}


def code_cells(notebook):
    """Pairs (where, cell): a code cell and its place, counting all cells from 0."""
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            yield f"cell {i}", cell


def tags(cell):
    return set(cell.metadata.get("tags", []))


def setup_cell_is_the_books(notebook, path):
    """The second cell is the setup cell, the same in every notebook."""
    expected = repository.setup_cell(repository.read_address())
    found = notebook.cells[1].source if len(notebook.cells) > 1 else ""
    return [] if found == expected else ["cell 1 is not the setup cell of tools/repository.py"]


def lines_fit(notebook, path):
    return [
        f"{where}, line {n}: {len(line)} characters, more than {MAX_WIDTH}"
        for where, cell in code_cells(notebook)
        for n, line in enumerate(cell.source.split("\n"), 1)
        if len(line) > MAX_WIDTH and cell is not notebook.cells[1]
    ]


def cells_are_short(notebook, path):
    """A code cell does one thing in at most 25 lines; a quiz is no code."""
    return [
        f"{where}: {n} lines, more than {MAX_LINES}"
        for where, cell in code_cells(notebook)
        if (n := cell.source.count("\n") + 1) > MAX_LINES
        and not re.search(r"\bquiz\(", cell.source)
    ]


def no_cell_is_empty(notebook, path):
    return [
        f"cell {i} is empty" for i, cell in enumerate(notebook.cells) if not cell.source.strip()
    ]


def tags_are_known(notebook, path):
    """A misspelled tag does nothing; and none may switch a cell's test off."""
    return [
        f"cell {i}: unknown tag {tag!r}"
        for i, cell in enumerate(notebook.cells)
        for tag in sorted(tags(cell) - TAGS)
    ]


def nothing_forbidden(notebook, path):
    return [
        f"{where}: {match[0].strip()!r}: {why}"
        for where, cell in code_cells(notebook)
        for pattern, why in FORBIDDEN.items()
        if (match := re.search(pattern, cell.source))
    ]


def ignored_outputs_are_asserted(notebook, path):
    """What is not compared claims something that is; a live control has nothing to claim."""
    return [
        f"{where}: its output is not compared and nothing in it is asserted"
        for where, cell in code_cells(notebook)
        if "nbval-ignore-output" in tags(cell)
        and "remove-output" not in tags(cell)
        and not re.search(r"^\s*assert\b|\.solved\(|\bassert_\w+\(", cell.source, re.M)
    ]


def exercises_are_whole(notebook, path):
    """4 to 6 exercises, each with statement, hint, checker, a cell to answer in, and a solution."""
    cells = list(enumerate(notebook.cells))
    made = [(i, n) for i, cell in cells for n in re.findall(r"^check_(\d+) = ", cell.source, re.M)]
    wrong = []
    if not 4 <= len(made) <= 6:
        wrong += [f"{len(made)} exercises (check_1 = Exercise(…)), not 4 to 6"]
    if [n for _, n in made] != [str(k) for k in range(1, len(made) + 1)]:
        wrong += [f"exercises are numbered {', '.join(n for _, n in made)}"]
    for (start, n), (end, _) in zip(made, [*made[1:], (len(cells), "")], strict=False):
        own = [cell for _, cell in cells[start + 1 : end] if cell.cell_type == "code"]
        solved = [cell for cell in own if re.search(rf"\bcheck_{n}\.solved\(", cell.source)]
        asked = [cell for cell in own if re.search(rf"^check_{n}\(", cell.source, re.M)]
        asked = [cell for cell in asked if cell not in solved]
        if "hide-input" not in tags(notebook.cells[start]):
            wrong.append(f"exercise {n}: the checker's cell is not tagged hide-input")
        if "<details>" not in statement(notebook, start):
            wrong.append(f"exercise {n}: the statement above the checker has no hint (<details>)")
        if not any(shows(cell, "not answered yet") for cell in asked):
            wrong.append(f"exercise {n}: no cell calls check_{n} and shows “not answered yet”")
        if not any(tags(cell) >= {"hide-cell", "solution"} for cell in solved):
            wrong.append(
                f"exercise {n}: no solution tagged hide-cell, solution calls check_{n}.solved"
            )
    return wrong


def statement(notebook, i):
    """The markdown directly above cell `i`."""
    above = ""
    while i and notebook.cells[i - 1].cell_type == "markdown":
        i -= 1
        above = notebook.cells[i].source + above
    return above


def shows(cell, text):
    return any(text in output.get("text", "") for output in cell.outputs)


def quiz_has_five_questions(notebook, path):
    pages = [
        output.data["text/html"]
        for _, cell in code_cells(notebook)
        for output in cell.outputs
        if "llm-quiz" in output.get("data", {}).get("text/html", "")
    ]
    n = sum(page.count("<li><p>") for page in pages)
    return [] if n == 5 else [f"{n} quiz questions, not 5"]


RULES = [
    setup_cell_is_the_books,
    lines_fit,
    cells_are_short,
    no_cell_is_empty,
    tags_are_known,
    nothing_forbidden,
    ignored_outputs_are_asserted,
    exercises_are_whole,
    quiz_has_five_questions,
]
