"""The book's address stands in one place, and `make repository` writes it wherever it is used."""

import subprocess
import sys

import nbformat
import pytest

from copies import copy_checkout
from tools import lint_outputs, repository

GITHUB, ELSEWHERE = "https://github.com/ada/book", "https://git.example.org/courses/ada/book.git"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("copy") / "book")


def stamp(root, argument):
    command = [sys.executable, "tools/repository.py", argument]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, encoding="utf-8")


@pytest.mark.parametrize(
    ("argument", "address"), [("ada/book", GITHUB), (ELSEWHERE, ELSEWHERE), (GITHUB, GITHUB)]
)
def test_one_command_sets_the_address_everywhere(root, argument, address):
    assert stamp(root, argument).returncode == 0
    assert repository.read_address(root) == address
    assert list(repository.stale_uses(root, address)) == []
    assert stamp(root, "--check").returncode == 0
    for name in ("README.md", "CITATION.cff", "pyproject.toml"):
        text = (root / name).read_text("utf-8")
        assert address in text
        assert address == GITHUB or GITHUB not in text
    colab = "<https://colab.research.google.com/github/ada/book>"
    assert (colab in (root / "README.md").read_text("utf-8")) == (address == GITHUB)
    for path in (root / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        assert notebook.cells[1].source == repository.setup_cell(address)
        assert lint_outputs.form_is_stored(notebook, path) == []


@pytest.mark.parametrize("argument", ["", "book", "ada book", "http://example.org/x", "a/b/c"])
def test_what_is_no_address_is_refused_and_nothing_written(root, argument):
    before = (root / "pyproject.toml").read_text("utf-8")
    done = stamp(root, argument)
    assert done.returncode != 0
    assert "make repository NAME=owner/name" in done.stderr
    assert (root / "pyproject.toml").read_text("utf-8") == before


@pytest.mark.parametrize("name", ["README.md", "CITATION.cff", "pyproject.toml", "a notebook"])
def test_another_address_is_found(root, name):
    stamp(root, "ada/book")
    path = next((root / "notebooks").glob("*.ipynb")) if name == "a notebook" else root / name
    good = path.read_text("utf-8")
    try:
        path.write_text(good.replace("ada/book", "eve/book"), "utf-8")
        done = stamp(root, "--check")
    finally:
        path.write_text(good, "utf-8")
    assert done.returncode != 0
    assert "another address stands in" in done.stderr
