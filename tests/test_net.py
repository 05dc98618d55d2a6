"""Tests of the tests: faults planted in a copy of the book make the commands of `make test` fail.

The notebook is the opening of a real chapter, up to the first printed number that depends on
NumPy, so that each run takes seconds.
"""

import re

import nbformat
import pytest
from nbformat import v4

from copies import copy_checkout, run_stage
from tools import stored

CHAPTER = "notebooks/04-1-softmax.ipynb"
FUNCTIONS = "minillm/numpy_nn/functional.py"
FORMULAS = {
    "a sign in the softmax's gradient": ("(dy - (dy * y)", "(dy + (dy * y)"),
    "the scale of the cross-entropy's gradient": ("scale * weight[..., None]", "scale"),
    "a softmax over the wrong axis": ("softmax(x, axis=-1)", "softmax(x, axis=0)"),
}


def is_compared(cell):
    """Whether a cell prints a number that nbval compares and that NumPy computes."""
    ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
    printed = "".join(output.get("text", "") for output in cell.get("outputs", []))
    return not ignored and "np." in cell.source and re.search(r"\d", printed)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A copy of the book with the opening of one chapter as its only notebook."""
    root = copy_checkout(tmp_path_factory.mktemp("net") / "book")
    chapter = nbformat.read(root / CHAPTER, as_version=4)
    end = next(i for i, cell in enumerate(chapter.cells) if is_compared(cell))
    chapter.cells = chapter.cells[: end + 1]
    for path in (root / "notebooks").glob("*.ipynb"):
        path.unlink()
    (root / CHAPTER).write_text(stored.text(chapter), "utf-8")
    return root


@pytest.fixture
def plant(root):
    """Replace text in a file of the copy, for one test."""
    kept = {}

    def plant(name, old, new):
        text = kept.setdefault(root / name, (root / name).read_text("utf-8"))
        assert len(re.findall(old, text)) >= 1, f"{old} is no longer in {name}"
        (root / name).write_text(re.sub(old, new, text, count=1), "utf-8")

    yield plant
    for path, text in kept.items():
        path.write_text(text, "utf-8")


def test_without_a_fault_the_notebook_passes(root):
    status, output = run_stage(root, "notebooks")
    assert status == 0, output
    assert re.search(r"04-1-softmax\.ipynb +\d+\.\d +\d+", output)  # the table


def test_a_wrong_stored_number_fails(root, plant):
    chapter = nbformat.read(root / CHAPTER, as_version=4)
    printed = "".join(output.text for output in chapter.cells[-1].outputs if "text" in output)
    digit = re.search(r"\d", printed)[0]
    chapter.cells[-1].outputs[0].text = printed.replace(digit, str(9 - int(digit)), 1)
    plant(CHAPTER, "(?s)^.*$", lambda _: stored.text(chapter))
    status, output = run_stage(root, "notebooks")
    assert status != 0
    assert "Cell outputs differ" in output


def test_a_deleted_import_fails(root, plant):
    plant(CHAPTER, r' *"import numpy as np\\n",\n', "")
    status, output = run_stage(root, "notebooks")
    assert status != 0
    assert "NameError" in output


@pytest.fixture
def small(root):
    """Add a notebook of one cell to the copy, for one test; give its path."""
    path = root / "notebooks/01-1-small.ipynb"

    def small(source, printed):
        outputs = [v4.new_output("stream", text=printed)]
        cell = v4.new_code_cell(source, execution_count=1, outputs=outputs)
        path.write_text(stored.text(v4.new_notebook(cells=[cell])), "utf-8")
        return str(path)

    yield small
    path.unlink()


def test_stand_in_data_are_run_but_not_compared(root, small):
    path = small('from minillm import data\n\nprint(len(data.load("sonnets")))', "-1\n")
    status, output = run_stage(root, "notebooks", path, MINILLM_OFFLINE="1")
    assert status == 0, output
    assert "01-1-small.ipynb: run but not compared" in output
    assert "1 passed" in output


def test_without_data_to_stand_in_for_outputs_are_compared(root, small):
    path = small("print(1)", "-1\n")
    status, output = run_stage(root, "notebooks", path, MINILLM_OFFLINE="1")
    assert status != 0
    assert "Cell outputs differ" in output


def test_a_cell_that_hangs_fails(root, small):
    path = small("while True:\n    pass", "")
    status, output = run_stage(root, "notebooks", path, "--nbval-cell-timeout=2")
    assert status != 0
    assert "Timeout of 2 seconds exceeded" in output


def test_without_a_fault_the_package_passes(root):
    status, output = run_stage(root, "package", "tests/test_functional.py")
    assert status == 0, output


@pytest.mark.parametrize("fault", FORMULAS)
def test_a_wrong_formula_fails(root, plant, fault):
    old, new = FORMULAS[fault]
    plant(FUNCTIONS, re.escape(old), new)
    status, output = run_stage(root, "package", "tests/test_functional.py")
    assert status != 0
    assert "1 failed" in output
