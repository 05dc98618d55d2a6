"""Every notebook keeps every rule of the book; nothing is run here (nbval does that)."""

import nbformat
import pytest

from tools import lint, repository
from tools.kernel import NOTEBOOKS, ROOT

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("rule", lint.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_rule(path, rule):
    assert rule(nbformat.read(path, as_version=4), path) == []


def test_there_are_notebooks():
    assert PATHS


def test_the_books_address_is_the_same_everywhere():
    stale = repository.stale_uses(ROOT, repository.read_address())
    assert [path.name for path, _ in stale] == []
