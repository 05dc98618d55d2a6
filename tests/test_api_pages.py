"""The pages about `minillm`: all of it is there, as it is, and every example on them is run."""

import doctest
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import types
from html import unescape
from inspect import Parameter
from pathlib import Path

import pytest
import yaml
from page_check import ROOT
from test_public_api import HELPERS, MODULES, PUBLIC_MODULES

from book._ext import api_source
from tools import lint_text

PAGES = sorted((ROOT / "book" / "api").glob("*.md"))
DIRECTIVES = [
    modules.split()
    for page in PAGES
    for modules in re.findall(r"(?m)^```\{api\} (.*)$", page.read_text("utf-8"))
]
THINGS = {
    f"{module}.{thing.name}": thing
    for module in api_source.public_modules()
    for thing in api_source.members(module)
}


def real(name):
    """What a full name stands for when the package is imported; of a method, its function."""
    module = next(m for m in reversed(api_source.public_modules()) if name.startswith(f"{m}."))
    thing = importlib.import_module(module)
    for part in name.removeprefix(f"{module}.").split("."):
        thing = inspect.getattr_static(thing, part)
    return getattr(thing, "__func__", None) or getattr(thing, "fget", None) or thing


def docs(thing):
    return "\n".join(line for _, lines in thing.docs for line in lines)


# Is everything on a page?


def test_every_public_module_has_its_page():
    """A new module needs a page in book/api: `{api} module`, below an introduction."""
    shown = [module for modules in DIRECTIVES for module in modules]
    assert sorted(shown) == sorted(api_source.public_modules())
    assert set(shown) == {"minillm", *PUBLIC_MODULES}
    assert api_source.HELPERS == HELPERS


def test_every_page_is_in_the_contents():
    contents = (ROOT / "_toc.yml").read_text("utf-8")
    assert [page.stem for page in PAGES if f"file: book/api/{page.stem}\n" not in contents] == []


def test_notebooks_may_link_to_every_name():
    anchors = {anchor for page in PAGES for anchor in lint_text.anchors(page)}
    assert set(THINGS) <= anchors


def test_twins_stand_beside_each_other():
    twins = {name for name in api_source.public_modules() if name.startswith("minillm.torch_nn")}
    pairs = {modules[1]: modules[0] for modules in DIRECTIVES if len(modules) == 2}
    assert pairs == {name: name.replace("torch_nn", "numpy_nn") for name in twins}


@pytest.mark.parametrize("name", api_source.public_modules())
def test_every_public_name_is_read(name):
    module = importlib.import_module(name)
    things = {thing.name: thing for thing in api_source.things(name)}
    assert set(things) == set(getattr(module, "__all__", things))
    for thing in (thing for thing in things.values() if thing.kind == "class"):
        own = vars(getattr(module, thing.name))
        methods = (types.FunctionType, staticmethod, classmethod, property)
        public = {n for n, value in own.items() if isinstance(value, methods) and n[0] != "_"}
        assert public <= thing.methods, thing.name


# Is it as it is?


def written(parameters):
    """Arguments as the reader writes them down, up to the values of defaults."""
    stars = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}
    names = [stars.get(p.kind, "") + p.name + "=" * (p.default is not p.empty) for p in parameters]
    kinds = [p.kind for p in parameters]
    if Parameter.KEYWORD_ONLY in kinds and Parameter.VAR_POSITIONAL not in kinds:
        names.insert(kinds.index(Parameter.KEYWORD_ONLY), "*")
    return names


def test_arguments_are_those_of_the_code():
    for name, thing in THINGS.items():
        if thing.kind not in ("data", "property"):
            parameters = list(inspect.signature(real(name)).parameters.values())
            parameters = parameters[thing.kind in ("method", "classmethod") :]  # without self
            read = [re.sub("=.*", "=", argument) for argument in thing.arguments]
            assert read == written(parameters), name


def test_docstrings_are_those_of_the_code():
    for name, thing in THINGS.items():
        if thing.docs and thing.kind != "data":
            assert thing.docs == api_source.sections(inspect.getdoc(real(name))), name


def test_works_that_are_named_are_in_the_references():
    bibliography = (ROOT / "book" / "references.bib").read_text("utf-8")
    keys = set(re.findall(r"(?m)^@\w+\{([^,\s]+),", bibliography))
    texts = {name: docs(thing) for name, thing in THINGS.items()}
    texts |= {name: api_source.source(name).docs for name in api_source.public_modules()}
    unknown = [
        (name, text[start:end])
        for name, text in texts.items()
        for start, end, key in api_source.works(text, keys)
        if key is None
    ]
    assert unknown == []


# Do the examples run?


def test_every_example_on_the_pages_is_run():
    """By test_public_api, whose doctests find it under its full name."""
    find = doctest.DocTestFinder().find
    tests = [test for name in MODULES for test in find(importlib.import_module(name))]
    run = {test.name for test in tests if test.examples}
    for thing in THINGS.values():
        if ">>> " in docs(thing):
            parts = thing.path.relative_to(ROOT).with_suffix("").parts
            assert ".".join([*(p for p in parts if p != "__init__"), thing.name]) in run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_of_an_introduction_run(page, monkeypatch, capsys):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    text = page.read_text("utf-8")
    examples = "\n".join(re.findall(r"(?ms)^```pycon\n(.*?)^```", text))
    test = doctest.DocTestParser().get_doctest(examples, {}, page.name, str(page), 0)
    assert len(test.examples) == text.count(">>> ")
    assert doctest.DocTestRunner().run(test).failed == 0, capsys.readouterr().out


# Does the page say what the source says? A small package with all that may stand in one.

NUMPY = '''"""Formulas; `double` is one.

Both halves say this. See `minillm.records`.
"""

import nowhere  # never imported by the book

from minillm import records

LIMIT, LEAST = 3, 1  # how far and how near


def double(x, /, y="a", *rest, z=1e-5, **more):
    """Twice |x|: x (B, T) -> (B, T).

    Parameters
    ----------
    x : array (B, T)
    y, z : float
        As in `records.Record`; `x` is no link, `nothing` neither.

    Raises
    ------
    ValueError
        If x_ is odd.

    References
    ----------
    See Bridle 1990, and Nobody 1900.

    Examples
    --------
    >>> double(1)
    2
    """
    return 2 * x  # the code


class Base(nowhere.Class):
    """A base."""

    def __init__(self, size):
        """Is not told."""

    def update(self):
        """Change."""


class Derived(Base):
    """Calls `update`."""

    @property
    def size(self):
        """How large."""

    @staticmethod
    def make(text):
        """From `text`."""

    @nowhere.decorated(1)
    def update(self):
        return self.size


__all__ = ["Base", "Derived", "LEAST", "LIMIT", "double"]
'''
TORCH = '''"""The twins.

Both halves say this. See `minillm.records`.
"""


def double(x, y="a", *, z=1e-5):
    """Twice |x|: x (B, T) -> (B, T).

    Parameters
    ----------
    x : tensor (B, T)
    y, z : float
        As in `records.Record`; `x` is no link, `nothing` neither.

    Raises
    ------
    ValueError
        If x is even.

    Examples
    --------
    >>> double(2)
    4
    """


def alone():
    """No twin."""
'''
RECORDS = '''"""Records."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Record:
    """One."""

    size: int | None = None  # how *many*
    names: list = field(default_factory=list)
'''
PAGE = """# Page

[`double`](#minillm.numpy_nn.odd.double)

```{api} minillm.numpy_nn.odd minillm.torch_nn.odd
```

## Records

```{api} minillm.records
```

```{bibliography}
:all:
```
"""


def build(folder, **changes):
    """Build a page about that package; return the finished process, and the page."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    shutil.copytree(ROOT / "book/_ext", folder / "book/_ext")
    for name in (
        "book/_static",
        "book/references.bib",
        "book/node_modules",
        "tools",
        "pyproject.toml",
    ):
        os.symlink(ROOT / name, folder / name)
    files = {f"minillm{part}/__init__.py": '"""One."""' for part in ("", "/numpy_nn", "/torch_nn")}
    files |= {"minillm/numpy_nn/odd.py": NUMPY, "minillm/torch_nn/odd.py": TORCH}
    files |= {"minillm/records.py": RECORDS}
    files |= {"_config.yml": yaml.safe_dump(config), "book/10-references.md": PAGE}
    files |= {"_toc.yml": "format: jb-book\nroot: book/10-references\n"}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(*changes.get(path.stem, ("", ""))), encoding="utf-8")
    command = [
        Path(sys.executable).parent / "jupyter-book",
        "build",
        ".",
        "-W",
        "-n",
        "--keep-going",
    ]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    page = folder / "_build/html/book/10-references.html"
    return done, page.read_text("utf-8") if page.exists() else ""


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    done, html = build(tmp_path_factory.mktemp("book"))
    assert done.returncode == 0, done.stdout + done.stderr
    return html


def text(html):
    """What a reader sees of a piece of a page, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", html)).split())


def entry(html, name):
    """One entry of the page, as text, without the entries in it."""
    start = html.index(f'id="minillm.{name}"')
    return text(re.split(r'<dl class="py|</section>', html[html.index(">", start) :])[0][1:])


def test_an_entry_shows_the_whole_docstring_and_the_code(html):
    shown = entry(html, "numpy_nn.odd.double")
    assert shown.startswith('NumPydouble(x, /, y="a", *rest, z=1e-5, **more)# Twice |x|: x (B, T)')
    for part in (
        "Parameters x",
        "y, z",
        "Raises ValueErrorIf x_ is odd.",
        "References",
        "Examples",
    ):
        assert part in shown, part
    assert "return 2 * x # the code" in shown
    assert shown.count("Twice") == 1  # the code is shown without it


def test_a_twin_says_what_differs(html):
    shown = entry(html, "torch_nn.odd.double")
    assert shown.startswith("PyTorchdouble(x, y") and "As in NumPy, above, but for this:" in shown
    assert "If x is even." in shown and "double(2)" in shown
    assert "Twice" not in shown and "Parameters" not in shown
    assert "No twin." in entry(html, "torch_nn.odd.alone")
    assert text(html).count("Both halves say this.") == 1


def test_names_and_works_are_links(html):
    article = html[html.index("<article") : html.index("</article>")]
    links = re.findall(r'<a class="reference internal" href="#([^"]*)"[^>]*>(.*?)</a>', article)
    links = {(target, text(label)) for target, label in links}
    assert {
        ("minillm.numpy_nn.odd.double", "double"),
        ("minillm.records.Record", "records.Record"),
        ("module-minillm.records", "minillm.records"),
        ("minillm.numpy_nn.odd.Base", "Base"),
        ("bridle1990", "Bridle 1990"),
    } <= links
    assert not {"x", "text", "nothing", "Nobody 1900"} & {label for _, label in links}


def test_classes_records_and_values(html):
    shown = entry(html, "numpy_nn.odd.Derived")
    assert shown.startswith("NumPyclass Derived(size)") and "Inherits from Base." in shown
    assert "numpy_nn.odd.Derived.update" not in html  # said where it is inherited from
    assert entry(html, "numpy_nn.odd.Derived.size").startswith("property size")
    assert entry(html, "numpy_nn.odd.Derived.make").startswith("static make(text)")
    shown = entry(html, "records.Record")
    assert "Record(*, size=None, names=list())" in shown
    assert "sizeint | None, default Nonehow many" in shown
    assert 'id="minillm.numpy_nn.odd.LEAST"' in html
    assert "How far and how near. LIMIT, LEAST = 3, 1" in entry(html, "numpy_nn.odd.LIMIT")


def test_faults_fail_the_build_and_say_where(tmp_path):
    faults = {
        "records": ('"""One."""', '"""A *star and :py:func:`no.such`."""'),
        "10-references": ("odd.double)", "odd.triple)\n\n```{api} minillm.nothing\n```\n\n"),
    }
    done, _ = build(tmp_path, **faults)
    assert done.returncode != 0
    for message in (
        r"minillm/records\.py:\d+: WARNING: Inline emphasis",
        r"minillm/records\.py.*no\.such",
        r"10-references\.md:\d+: WARNING: .*minillm\.numpy_nn\.odd\.triple",
        r"10-references\.md:\d+: ERROR: .*there is no module minillm\.nothing",
    ):
        assert re.search(message, done.stderr), (message, done.stderr)
