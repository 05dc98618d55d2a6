"""`make execute`: what it stores, and when it stores nothing."""

import base64
import io

import nbformat
import pytest
from nbformat import v4
from PIL import Image

from tools import execute, lint_outputs, stored

BAR = """\
import sys

from tqdm import tqdm

for i in tqdm(range(99), file=sys.stdout, mininterval=0):
    pass"""
SLIDER = "from ipywidgets import interact\n\ninteract(lambda x: x, x=(0, 3));"
WARNS = 'import warnings\n\nwarnings.warn("no")'


@pytest.fixture
def write(tmp_path):
    """Write a notebook with the given code cells, as an editor leaves it, and give its path."""

    def write(*sources, **metadata):
        cells = [v4.new_code_cell(source, metadata=metadata) for source in sources]
        cells[0].metadata.execution = {"started": "2026-11-24T06:00:00"}
        path = tmp_path / "x.ipynb"
        nbformat.write(v4.new_notebook(cells=cells), path)
        return path

    return write


def test_a_second_run_changes_nothing(write):
    path = write("x = 1 + 1", "print(x)\nx", SLIDER)
    assert execute.execute(path) == ""
    first = path.read_bytes()
    assert execute.execute(path) == ""
    assert path.read_bytes() == first
    notebook = nbformat.read(path, as_version=4)
    for rule in (lint_outputs.outputs_are_fresh, lint_outputs.form_is_stored):
        assert rule(notebook, path) == []
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3]
    assert [output.output_type for output in notebook.cells[1].outputs] == [
        "stream",
        "execute_result",
    ]
    assert notebook.cells[2].outputs == []  # no control without a kernel
    assert "widgets" not in notebook.metadata


def test_of_a_progress_bar_the_last_state_is_stored(write):
    path = write(BAR)
    assert execute.execute(path) == ""
    (output,) = nbformat.read(path, as_version=4).cells[0].outputs
    assert output.text.startswith("100%|")
    assert output.text.count("\n") == 1


def test_what_is_hidden_in_the_page_is_hidden_in_the_notebook(write):
    path = write("1", tags=["hide-input"])
    assert execute.execute(path) == ""
    metadata = nbformat.read(path, as_version=4).cells[0].metadata
    assert metadata == {
        "tags": ["hide-input"],
        "jupyter": {"source_hidden": True},
        "cellView": "form",
    }


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import os\n\nos._exit(1)", "died"),
        (WARNS, "stderr is stored"),
    ],
)
def test_a_run_that_fails_or_warns_stores_nothing(write, source, problem):
    path = write("print(1)", source)
    before = path.read_bytes()
    assert problem in execute.execute(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["x.ipynb"]


def test_nothing_is_stored_that_stand_in_data_gave(write, monkeypatch):
    monkeypatch.setenv("MINILLM_OFFLINE", "1")
    path = write('from minillm import data\n\nprint(data.load("sonnets")[:9])')
    before = path.read_bytes()
    assert "stand-in for sonnets" in execute.execute(path)
    assert path.read_bytes() == before


def test_a_digest_knows_code_and_outputs_but_not_the_address():
    output = v4.new_output("stream", text="2")
    cells = [v4.new_code_cell('REPOSITORY = ""  # x'), v4.new_code_cell("1", outputs=[output])]
    notebook = v4.new_notebook(cells=cells)
    digest = stored.digest(notebook)
    cells[0].source = 'REPOSITORY = "https://example.org"  # x'
    assert stored.digest(notebook) == digest
    cells[0].source += " y"
    assert stored.digest(notebook) != digest
    digest = stored.digest(notebook)
    cells[1].outputs[0].text = "3"
    assert stored.digest(notebook) != digest


def test_figures_are_stored_small_and_once(write):
    path = write(
        "import matplotlib.pyplot as plt",
        "%matplotlib inline\nplt.imshow([[i * j for i in range(99)] for j in range(99)])\nplt.show()",
    )
    assert execute.execute(path) == ""
    (output,) = nbformat.read(path, as_version=4).cells[1].outputs
    png = output.data["image/png"]
    figure = Image.open(io.BytesIO(base64.b64decode(png)))
    assert figure.mode == "P"
    assert len(figure.convert("RGB").getcolors(256)) > 50  # and not a picture of one color
    assert stored.small_figure(png) == png
