"""Every public name says what it takes, gives and raises, and shows it in an example that runs."""

import ast
import dataclasses
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import minillm

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(minillm.__path__, "minillm.")
    if not info.name.endswith("__main__")
)


def is_inner(name):
    """Whether a module serves only its package, whose `__all__` says what readers may use."""
    parts = name.split(".")
    packages = [".".join(parts[:n]) for n in range(2, len(parts))]
    return any(hasattr(importlib.import_module(package), "__all__") for package in packages)


HELPERS = {  # serve other modules, not readers
    "minillm.checks", "minillm.compare", "minillm.files", "minillm.terminal",
}  # fmt: skip
PUBLIC_MODULES = [name for name in MODULES if not is_inner(name) and name not in HELPERS]
DRAWN = {"minillm.plots"}  # its examples are the book's figures; test_plots.py draws each kind
OBVIOUS = {"ax", "title"}  # need no explanation where everything draws


def things(modules):
    """The functions and classes that modules offer, as ``{"module.name": thing}``."""
    found = {}
    for module in map(importlib.import_module, modules):
        offered = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
        for name in offered:
            thing = vars(module)[name]
            ours = getattr(thing, "__module__", "").startswith(module.__name__)
            if ours and (inspect.isfunction(thing) or inspect.isclass(thing)):
                found[f"{module.__name__}.{name}"] = thing
    return found


def documentation(thing):
    """The docstring of a function or class, with those that it says to explain its arguments."""
    text = inspect.getdoc(thing) or ""
    for other in re.findall(r"[Aa](?:rguments as in|s for) `(\w+)`", text):
        text += inspect.getdoc(getattr(inspect.getmodule(thing), other))
    return text


def raised_by(thing):
    """The names of the exceptions that the body of a function (of `__init__`) raises itself."""
    first = "__post_init__" if dataclasses.is_dataclass(thing) else "__init__"
    body = getattr(thing, first, None) if inspect.isclass(thing) else thing
    if not inspect.isfunction(body):
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(body)))
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
    calls = [exc.func if isinstance(exc, ast.Call) else exc for exc in raised]
    return {call.id for call in calls if isinstance(call, ast.Name)}


# What may be wrong with the documentation of one thing. Each gives a list of complaints.


def methods_without_docstring(thing):
    """Everything whose name does not start with an underscore; methods inherit a docstring."""
    methods = vars(thing) if inspect.isclass(thing) else {}
    public = [n for n, m in methods.items() if inspect.isfunction(m) and not n.startswith("_")]
    return [n for n in public if not inspect.getdoc(getattr(thing, n))]


def arguments_not_explained(thing):
    """A record's fields need no more than their types and comments, which stand in its source."""
    record = dataclasses.is_dataclass(thing)
    names = [] if record else set(inspect.signature(thing).parameters) - OBVIOUS
    return [n for n in names if not re.search(rf"\b{n}\b", documentation(thing))]


def arrays_without_shape(thing):
    """``x : array (..., V)``: a parameter that is an array says how its axes are laid out."""
    lines = re.findall(
        r"^[\w, ]+ : .*\b(?:array|tensor|matrix)\b.*$", documentation(thing), re.MULTILINE
    )
    return [line for line in lines if not re.search(r"\(.*\)|any shape|shape of|like ", line)]


def errors_not_told(thing):
    section = documentation(thing).partition("\nRaises\n------\n")[2]
    return [name for name in raised_by(thing) if name not in section]


def sections_badly_underlined(thing):
    sections = re.findall(r"^(\w[\w ]*)\n(-{3,})$", documentation(thing), re.MULTILINE)
    return [section for section, line in sections if len(section) != len(line)]


def no_example(thing):
    """Records need none: they come from `minillm.data.load`, whose example shows one."""
    shown = dataclasses.is_dataclass(thing) or ">>> " in documentation(thing)
    return [] if shown else ["no example"]


@pytest.mark.parametrize(
    "complaints_about",
    [
        arguments_not_explained,
        arrays_without_shape,
        errors_not_told,
        sections_badly_underlined,
        no_example,
    ],
)
def test_documentation(complaints_about):
    found = {name: complaints_about(thing) for name, thing in things(PUBLIC_MODULES).items()}
    if complaints_about is no_example:
        found = {name: c for name, c in found.items() if name.rpartition(".")[0] not in DRAWN}
    assert {name: complaints for name, complaints in found.items() if complaints} == {}


def test_everything_has_a_docstring():
    """Public or inner: modules, functions, classes, methods."""
    assert [m for m in MODULES if not importlib.import_module(m).__doc__] == []
    found = things(MODULES).items()
    assert [name for name, thing in found if not documentation(thing)] == []
    assert [name for name, thing in found if methods_without_docstring(thing)] == []


def test_the_walk_finds_the_package():
    """What it did not find would be tested by nobody."""
    assert {
        "minillm.numpy_nn.functional.softmax_backward",
        "minillm.torch_nn.optim.Muon",
        "minillm.metrics.perplexity",
        "minillm.plots.tensor",
        "minillm.notebook.setup",
        "minillm.data.load",
        "minillm.live.show",
        "minillm.exercise.Exercise",
        "minillm.quiz.quiz",
    } <= set(things(PUBLIC_MODULES))
    for name in MODULES:
        module = importlib.import_module(name)
        assert [n for n in getattr(module, "__all__", []) if not hasattr(module, n)] == [], name


def test_the_package_lists_its_parts():
    parts = {".".join(name.split(".")[:2]) for name in MODULES} - HELPERS
    assert [part for part in sorted(parts) if f"`{part}`" not in minillm.__doc__] == []


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, capsys, monkeypatch):
    if not os.environ.get("MINILLM_DATA"):  # a test downloads nothing
        monkeypatch.setenv("MINILLM_OFFLINE", "1")
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0, capsys.readouterr().out


def imports(path):
    """The packages that a file imports, and whether it does so under a star."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in froms if node.module and not node.level]
    stars = [node for node in froms for alias in node.names if alias.name == "*"]
    return {name.partition(".")[0] for name in names}, bool(stars)


def test_who_imports_what():
    root = Path(minillm.__file__).parent
    for path in root.rglob("*.py"):
        packages, stars = imports(path)
        place = path.relative_to(root).as_posix()
        assert not stars, place
        assert "matplotlib" not in packages or place == "plots.py", place
        assert "torch" not in packages or not place.startswith("numpy_nn/"), place
        assert "numpy" not in packages or not place.startswith("torch_nn/"), place


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("minillm", "numpy torch matplotlib pandas IPython"),
        ("minillm.numpy_nn.functional minillm.numpy_nn.optim", "torch matplotlib pandas IPython"),
        ("minillm.numpy_nn.gradcheck minillm.metrics", "torch matplotlib pandas IPython"),
        ("minillm.torch_nn.functional minillm.torch_nn.optim", "matplotlib pandas IPython"),
    ],
)
def test_importing_is_light(modules, heavy):
    program = f"""
import importlib, sys
for name in {modules.split()!r}:
    importlib.import_module(name)
sys.exit(" ".join(set({heavy.split()!r}) & set(sys.modules)) or 0)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, ""), "imports what it need not"
