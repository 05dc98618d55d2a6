"""Rules about the prose of a notebook. A rule: notebook, path -> list of complaints."""

import re

import nbformat
import yaml

from book._ext.api_source import members
from minillm.plots import AXIS

MYST = {
    r"(?m)^\s*(`{3,}|~{3,}|:{3,})\s*\{": "a directive",
    r"\{[\w:+-]+\}`": "a role",
    r"(?m)^\([\w:.-]+\)=\s*$": "a target",
    r"\{\{ .*? \}\}": "a substitution",
    r"(?m)^(%|\+\+\+)": "a comment or a break",
}
ISE = "(?:normal|optim|initial|general|regular|token|vector|real)is(?:e[ds]?|er|ing|ation)"
BRITISH = rf"""(?ix)\b\w*(?:colour|centre[ds]?|neighbour|behaviour|favour|{ISE}|
    labell(?:ed|ing)|modell(?:ed|ing)|analys(?:ed|ing|e(?!s))|\bgrey)s?\b"""
COLOR = re.compile(r"\\(?:text)?color\{([^}]*)\}\s*\{?\s*(?:([A-Za-z])\s*\})?")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)[^)]*\)")


def markdown(notebook):
    """Pairs (where, source) of the markdown cells."""
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            yield f"cell {i}", cell.source


def without_code(source):
    """Markdown without its code, fenced or between backquotes."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"(?ms)^\s*```.*?^\s*```", "", source))


def prose(source):
    """Markdown without code and maths."""
    return re.sub(r"(?s)\$\$.*?\$\$|\$[^$]*\$", "", without_code(source))


def headings(notebook):
    """Pairs (level, title), in order."""
    for _, source in markdown(notebook):
        for marks, title in re.findall(r"(?m)^(#+) (.*)$", re.sub(r"(?ms)^```.*?^```", "", source)):
            yield len(marks), title.strip()


def slug(title):
    """The anchor that a heading gets on its page."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def anchors(path):
    """The anchors of a page: headings, a glossary's terms, a bibliography's entries, names."""
    if path.suffix == ".ipynb":
        return {slug(title) for _, title in headings(nbformat.read(path, as_version=4))}
    text = path.read_text("utf-8")
    found = {slug(title) for title in re.findall(r"(?m)^#+ (.*)$", text)}
    found |= set(re.findall(r"(?m)^\(([\w:.-]+)\)=", text))
    for terms in re.findall(r"(?ms)^```\{glossary\}\n(.*?)^```", text):
        found |= {"term-" + slug(term) for term in re.findall(r"(?m)^(\w.*)$", terms)}
    for modules in re.findall(r"(?m)^```\{api\} (.*)$", text):
        found |= {f"{m}.{thing.name}" for m in modules.split() for thing in members(m)}
    if "{bibliography}" in text:
        entries = (path.parent / "references.bib").read_text("utf-8")
        found |= set(re.findall(r"(?m)^@\w+\{([^,\s]+),", entries))
    return found


def is_in_the_contents(notebook, path):
    contents = yaml.safe_load((path.parent.parent / "_toc.yml").read_text("utf-8"))
    name = f"{path.parent.name}/{path.stem}"
    listed = re.findall(r"'file': '([^']*)'", repr(contents))
    wrong = [] if name in listed else [f"{name} is not in _toc.yml"]
    if not re.fullmatch(r"\d\d-\d-[a-z0-9-]+", path.stem):
        wrong.append(f"{path.stem} is not named as PP-N-name")
    return wrong


def is_plain_markdown(notebook, path):
    """CommonMark and maths only: the page reads the same in Colab, in JupyterLab and on GitHub."""
    return [
        f"{where}: {what} of MyST: {match[0].strip()!r}"
        for where, source in markdown(notebook)
        for pattern, what in MYST.items()
        if (match := re.search(pattern, re.sub(r"(?s)\$\$.*?\$\$|\$[^$]*\$", "", source)))
    ]


def headings_are_in_order(notebook, path):
    """One title, at the top; no level is left out; errata and pitfalls are named alike."""
    found = list(headings(notebook))
    levels = [level for level, _ in found]
    wrong = []
    if levels[:1] != [1] or levels.count(1) != 1 or not notebook.cells[0].source.startswith("# "):
        wrong.append("the notebook does not start with its one title, # …")
    for (above, _), (level, title) in zip(found, found[1:], strict=False):
        if level > above + 1:
            wrong.append(f"heading {title!r} leaves out a level")
    for level, title in found:
        if re.search(r"(?i)\berratum\b", title) and not (
            level == 3 and re.match(r"Erratum E\d+: \S", title)
        ):
            wrong.append(f"heading {title!r} is not ### Erratum E1: …")
        if re.match(r"(?i)pitfall\b", title) and not (level == 3 and title.startswith("Pitfall: ")):
            wrong.append(f"heading {title!r} is not ### Pitfall: …")
    return wrong


def links_lead_somewhere(notebook, path):
    """Each link to a file of the book finds it, and what it points at in there."""
    wrong = []
    for where, source in markdown(notebook):
        for image, text, target in LINK.findall(without_code(source)):
            if image and len(text.split()) < 3:
                wrong.append(f"{where}: picture {target} has no alt text")
            if re.match(r"(https?|mailto):", target):
                continue
            name, _, anchor = target.partition("#")
            page = (path.parent / name).resolve() if name else path
            if not page.is_file():
                wrong.append(f"{where}: no such file: {target}")
            elif anchor and anchor not in anchors(page):
                wrong.append(f"{where}: no such place on the page: {target}")
    return wrong


def equations_are_numbered(notebook, path):
    text = "\n".join(source for _, source in markdown(notebook))
    found = re.findall(r"\\tag\*?\{([^}]*)\}", text)
    expected = [str(n) for n in range(1, len(found) + 1)]
    wrong = [] if found == expected else [f"equations are numbered {', '.join(found)}"]
    return wrong + [
        f"{where}: $$ is not closed"
        for where, source in markdown(notebook)
        if without_code(source).count("$$") % 2
    ]


def axes_have_their_colors(notebook, path):
    wrong = []
    for where, source in markdown(notebook):
        for color, letter in COLOR.findall(source):
            if color not in AXIS.values():
                wrong.append(f"{where}: color {color} is not one of minillm.plots.AXIS")
            elif letter in AXIS and AXIS[letter] != color:
                wrong.append(f"{where}: axis {letter} has color {AXIS[letter]}, not {color}")
    return wrong


def spelling_is_american(notebook, path):
    return [
        f"{where}: {word!r}"
        for where, source in markdown(notebook)
        for word in re.findall(BRITISH, LINK.sub("", prose(source)))
    ]


RULES = [
    is_in_the_contents,
    is_plain_markdown,
    headings_are_in_order,
    links_lead_somewhere,
    equations_are_numbered,
    axes_have_their_colors,
    spelling_is_american,
]
