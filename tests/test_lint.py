"""The rules of the book: a good notebook keeps them all, each finds the faults planted here."""

import nbformat
import pytest
from nbformat import v4

from tools import lint, repository, stored
from tools import lint_code as code
from tools import lint_outputs as outputs
from tools import lint_text as text

TITLE = """# A good notebook

What we build: the [logits](../book/glossary.md#term-logits)
of [Bridle 1990](../book/references.md#bridle1990). See [below](#exercises).

$$ y = {\\color{#0072B2}{T}} + 1 \\tag{1} $$"""
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)
FIGURE = {"image/png": PIXEL, "text/plain": "<Figure size 840x384 with 1 Axes>"}
QUIZ = '<section class="llm-quiz">' + "<li><p>question</p></li>" * 5 + "</section>"


def cell(source, *tags, printed=None, shown=None, **metadata):
    """A code cell as a run leaves it."""
    outputs = [v4.new_output("stream", text=printed)] if printed else []
    outputs += [v4.new_output("display_data", data=shown)] if shown else []
    return v4.new_code_cell(source, metadata={"tags": list(tags), **metadata}, outputs=outputs)


def good_cells():
    yield v4.new_markdown_cell(TITLE)
    yield cell(repository.setup_cell(repository.read_address()))
    yield cell("print(1 + 1)", printed="2\n")
    alt = {"image": {"alt": "a line that rises"}}
    yield cell("ax.plot([1, 2])\nplt.show()", "hide-input", shown=FIGURE, mystnb=alt)
    yield cell("loss = train()\nassert loss < 2", "nbval-ignore-output", printed="1.98\n")
    yield cell("interact(f, x=(0, 3))", "nbval-ignore-output", "remove-output")
    yield v4.new_markdown_cell("## Exercises")
    for n in "1234":
        yield v4.new_markdown_cell(
            f"### Exercise {n}\n\n<details><summary>Hint</summary>\n\nx\n\n</details>"
        )
        yield cell(f'check_{n} = Exercise("x", test=f)', "hide-input")
        yield cell(f"answer = ...\ncheck_{n}(answer)", printed="not answered yet: x\n")
        yield cell(f"check_{n}.solved(2)", "hide-cell", "solution", printed="✓ x\n")
    yield cell("quiz(questions)", shown={"text/html": QUIZ, "text/plain": "<HTML object>"})


def save(notebook, path):
    """Store a notebook as `make execute` does."""
    for n, ran in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        ran.execution_count = n
    stored.normalize(notebook)
    notebook.metadata.minillm = {"executed": stored.digest(notebook)}
    path.write_text(stored.text(notebook), "utf-8")


@pytest.fixture
def path(tmp_path):
    """A good notebook in a small book of its own."""
    for folder in ("book", "notebooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "_toc.yml").write_text("root: book/index\nchapters:\n- file: notebooks/01-1-good\n")
    (tmp_path / "book/glossary.md").write_text("# G\n\n```{glossary}\nlogits\n    Scores.\n```\n")
    (tmp_path / "book/references.md").write_text("# R\n\n```{bibliography}\n```\n")
    (tmp_path / "book/references.bib").write_text("@article{bridle1990,\n}\n")
    path = tmp_path / "notebooks/01-1-good.ipynb"
    save(v4.new_notebook(cells=list(good_cells())), path)
    return path


def find(notebook, source):
    return next(c for c in notebook.cells if source in c.source)


def says(old, new):
    """A fault: `new` stands where `old` stood."""

    def plant(notebook, path):
        found = find(notebook, old)
        found.source = found.source.replace(old, new)

    return plant


def adds(*cells):
    return lambda notebook, path: notebook.cells.extend(cells)


def drops(source):
    return lambda notebook, path: notebook.cells.remove(find(notebook, source))


def tagged(source, *tags):
    def plant(notebook, path):
        find(notebook, source).metadata.tags = list(tags)

    return plant


def markdown(source):
    return adds(v4.new_markdown_cell(source))


def prints(printed, **stream):
    """A fault: the cell that prints 2 prints something else."""

    def plant(notebook, path):
        find(notebook, "1 + 1").outputs = [v4.new_output("stream", text=printed, **stream)]

    return plant


def ran(count):
    def plant(notebook, path):
        find(notebook, "1 + 1").execution_count = count

    return plant


def raises(notebook, path):
    find(notebook, "1 + 1").outputs = [v4.new_output("error", ename="ValueError", evalue="no")]


def has_no_alt_text(notebook, path):
    del find(notebook, "ax.plot").metadata["mystnb"]


def has_two_figures(notebook, path):
    find(notebook, "ax.plot").outputs.append(v4.new_output("display_data", data=FIGURE))


def was_never_run(notebook, path):
    del notebook.metadata["minillm"]


def is_timed(notebook, path):
    find(notebook, "1 + 1").metadata.execution = {"started": "2026-11-24T06:00:00"}
    path.write_text(nbformat.writes(notebook), "utf-8")


def is_open_in_colab(notebook, path):
    del find(notebook, "ax.plot").metadata["cellView"]
    path.write_text(stored.text(notebook), "utf-8")


def is_renamed(notebook, path):
    (path.parent.parent / "_toc.yml").write_text("root: book/index\n")


FAULTS = {
    code.setup_cell_is_the_books: [drops("REPOSITORY"), says("setup(seed=0)", "setup(seed=1)")],
    code.lines_fit: [adds(cell("x = 1  # " + 80 * "x"))],
    code.cells_are_short: [adds(cell("x = 1\n" * 25 + "x = 1"))],
    code.no_cell_is_empty: [adds(cell(" "))],
    code.tags_are_known: [
        tagged("1 + 1", "hide-imput"),
        tagged("1 + 1", "nbval-skip"),
        tagged("1 + 1", "raises-exception"),
    ],
    code.nothing_forbidden: [
        says("1 + 1", "1 + 1)\nfrom tqdm.auto import (tqdm"),
        says("print(1 + 1)", 'import warnings\n\nwarnings.simplefilter("ignore")'),
        says("print(1 + 1)", "%timeit 1 + 1"),
        says("print(1 + 1)", "!pip install numpy"),
        says("print(1 + 1)", "# NBVAL_IGNORE_OUTPUT\nprint(1 + 1)"),
    ],
    code.ignored_outputs_are_asserted: [
        says("assert loss < 2", "print(loss)"),
        says("assert loss < 2", "# assert loss < 2"),
        tagged("1 + 1", "nbval-ignore-output"),
    ],
    code.exercises_are_whole: [
        drops("check_4 = "),
        drops("check_2.solved"),
        drops("check_2(answer)"),
        tagged("check_2 = ", "builds"),
        tagged("check_2.solved", "hide-cell"),
        tagged("check_2.solved", "solution"),
        says("<details>", "<div>"),
        says("check_2 = ", "check_5 = "),
        says("check_2(answer)", "check_3(answer)"),
    ],
    code.quiz_has_five_questions: [drops("quiz(")],
    outputs.outputs_are_fresh: [
        was_never_run,
        says("1 + 1", "1 + 2"),
        prints("3\n"),
        drops("1 + 1"),
        adds(cell("print(1)")),
    ],
    outputs.form_is_stored: [is_timed, is_open_in_colab],
    outputs.cells_ran_in_order: [ran(None), ran(1), ran(3)],
    outputs.no_error_is_stored: [raises],
    outputs.no_warning_is_stored: [prints("UserWarning: no\n", name="stderr")],
    outputs.outputs_are_short: [prints("x\n" * 21)],
    outputs.outputs_are_narrow: [prints(89 * "x")],
    outputs.no_machine_path: [
        prints("saved to /home/ada/x.png"),
        prints("/tmp/x"),
        prints(r"C:\Users\ada"),
        says("1 + 1", 'open("/root/x")'),
        markdown("Open `/Users/ada/x`."),
    ],
    outputs.nothing_stray_is_shown: [
        prints("[<matplotlib.lines.Line2D at 0x7f0a1c2b3d40>]"),
        prints("<function f at 0x7f0a1c2b3d40>"),
        prints("\x1b[31mred\x1b[0m"),
    ],
    outputs.figures_have_alt_text: [has_no_alt_text, has_two_figures],
    text.is_in_the_contents: [is_renamed],
    text.is_plain_markdown: [
        markdown("```{note}\nx\n```"),
        markdown(":::{note}\nx\n:::"),
        markdown("see {ref}`x`"),
        markdown("(label)=\n## x"),
        markdown("it is {{ x }}"),
        markdown("% a comment"),
        markdown("+++"),
    ],
    text.headings_are_in_order: [
        says("# A good notebook", "A good notebook"),
        markdown("# Another title"),
        markdown("##### Too deep"),
        markdown("## Erratum E1: x"),
        markdown("### Erratum 1: x"),
        markdown("### Pitfall"),
    ],
    text.links_lead_somewhere: [
        markdown("[x](04-9-nowhere.ipynb)"),
        markdown("[x](#nowhere)"),
        markdown("[x](../book/glossary.md#term-nowhere)"),
        markdown("[x](../book/references.md#nobody1990)"),
        markdown("![](https://example.org/x.png)"),
    ],
    text.equations_are_numbered: [
        says(r"\tag{1}", r"\tag{2}"),
        markdown(r"$$ x \tag{1} $$"),
        markdown(r"$$ x \tag{3} $$"),
        markdown(r"$$ x \tag{2}"),
    ],
    text.axes_have_their_colors: [
        says("#0072B2", "#B84A00"),
        says("#0072B2", "#0072B3"),
        markdown(r"$\color{red} x$"),
        markdown(r"$\textcolor{#0072B2}{V}$"),
    ],
    text.spelling_is_american: [markdown("the colour"), markdown("Normalised by its centre.")],
}


def test_a_good_notebook_has_no_fault(path):
    assert lint.complaints(path) == []


def test_faults_are_planted_for_every_rule():
    assert set(FAULTS) == set(lint.RULES)


@pytest.mark.parametrize(
    ("rule", "plant"),
    [
        pytest.param(rule, plant, id=f"{rule.__name__}-{n}")
        for rule, plants in FAULTS.items()
        for n, plant in enumerate(plants)
    ],
)
def test_fault_is_found(path, rule, plant):
    notebook = nbformat.read(path, as_version=4)
    plant(notebook, path)
    assert rule(notebook, path) != []
