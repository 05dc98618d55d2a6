"""A small book, built with the book's own settings and extensions: widgets, a diagram, buttons.

The real pages may hold no stored widget at some time; this one always does.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from page_check import ROOT, look, opened

ADDRESS = "https://github.com/somebody/some-book"
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"

INDEX = """# A book

```{mermaid}
flowchart LR
  accTitle: From text to loss
  accDescr: Text goes to a model, which gives a loss
  text --> model --> loss
```

The [term](page.md#term-logits), the [work](page.md#bridle1990), the [heading](page.md#a-heading).
"""

PAGE = """# A page

## A heading

```{glossary}
logits
    Scores.
```

```{bibliography}
:all:
```
"""


def notebook_with_widgets():
    """A notebook as `jupyter nbconvert --execute` stores it: a slider tied to a text, and Play."""
    import ipywidgets
    from ipywidgets import embed

    slider = ipywidgets.IntSlider(description="steps", value=3)
    text = ipywidgets.IntText(description="the same")
    play = ipywidgets.Play()
    links = [ipywidgets.jslink((one, "value"), (slider, "value")) for one in (text, play)]
    box = ipywidgets.VBox([slider, text, play])
    state = embed.dependency_state([box, *links])
    output = nbformat.v4.new_output(
        "display_data", {"text/plain": "VBox(…)", VIEW: {"model_id": box.model_id}}
    )
    cells = [
        nbformat.v4.new_markdown_cell("# A notebook"),
        nbformat.v4.new_code_cell("box", outputs=[output], execution_count=1),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    widgets = {STATE: {"version_major": 2, "version_minor": 0, "state": state}}
    return nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "widgets": widgets}
    )


def build(folder, index=INDEX, address=""):
    """Build the small book in `folder`; return the finished process."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["sphinx"]["config"]["repository_address"] = address
    (folder / "book").mkdir()
    for name in ("_ext", "_static", "references.bib"):
        os.symlink(ROOT / "book" / name, folder / "book" / name)
    (folder / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    toc = {"format": "jb-book", "root": "index"}
    toc["chapters"] = [{"file": "page"}, {"file": "notebook"}]
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc))
    (folder / "index.md").write_text(index, encoding="utf-8")
    (folder / "page.md").write_text(PAGE, encoding="utf-8")
    nbformat.write(notebook_with_widgets(), folder / "notebook.ipynb")
    jupyter_book = Path(sys.executable).parent / "jupyter-book"
    command = [jupyter_book, "build", ".", "-W", "-n", "--keep-going"]
    return subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, encoding="utf-8"
    )


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    done = build(folder, address=ADDRESS)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "_build" / "html"


@pytest.mark.parametrize("page", ["index", "page", "notebook"])
def test_page_needs_no_network(chromium, book, page):
    url = (book / f"{page}.html").as_uri()
    assert look(chromium, url, width=360, base=book.as_uri()) == []


def test_widgets_answer_without_kernel(chromium, book):
    url = (book / "notebook.html").as_uri()
    with opened(chromium, url, 1280, book.as_uri()) as (page, complaints):
        page.fill("input[type=number]", "42")
        page.press("input[type=number]", "Enter")
        page.wait_for_function("document.querySelector('.widget-readout').textContent == '42'")
        assert complaints == []


def test_widget_and_diagram_scripts_only_where_needed(book):
    html = {name: (book / f"{name}.html").read_text() for name in ("index", "page", "notebook")}
    assert [name for name in html if "widgets/embed.js" in html[name]] == ["notebook"]
    assert [name for name in html if "mermaid.tiny.js" in html[name]] == ["index"]
    assert not any("thebe" in text for text in html.values())


def test_buttons_need_an_address(book):
    html = {name: (book / f"{name}.html").read_text() for name in ("index", "page", "notebook")}
    colab = "https://colab.research.google.com/github/somebody/some-book/blob/main/notebook.ipynb"
    assert [name for name in html if "colab.research.google.com" in html[name]] == ["notebook"]
    assert f'href="{colab}"' in html["notebook"]
    assert all(f'href="{ADDRESS}"' in text for text in html.values())
    assert all(f'href="{ADDRESS}/issues/new' in text for text in html.values())


def test_broken_link_fails_the_build(tmp_path):
    links = ["page.md#term-unknown", "page.md#nobody1900", "page.md#no-heading", "nowhere.md"]
    done = build(tmp_path, index="# A book\n\n" + "\n\n".join(f"[Broken]({x})" for x in links))
    assert done.returncode != 0
    for link in links:
        assert f"{link.split('#')[-1]}' [myst.xref_missing]" in done.stdout + done.stderr


def test_address_is_read_from_pyproject(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    import buttons

    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "x"\n\n[tool.x]\nRepository = "no"\n')
    assert buttons.repository(file) == ""
    file.write_text(f'[project.urls]\nHome = "h"\nRepository = "{ADDRESS}.git"\n\n[tool.x]\n')
    assert buttons.repository(file) == ADDRESS
