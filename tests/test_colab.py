"""Each notebook alone in an empty folder of a machine like Colab's: its setup cell does the rest.

The environment is new and holds the versions that Colab has (see `COLAB`), but PyTorch, which is
large: it and what it needs are linked in from the environment of the tests. Nothing that is there
before may change. `minillm` comes from a git repository made of the checkout, files not yet
committed included.
"""

import json
import os
import re
import shutil
import subprocess
import venv
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from packaging.requirements import Requirement

from copies import copy_checkout
from tools import repository
from tools.kernel import NOTEBOOKS, ROOT, run

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

COLAB = {  # in August 2026, on Python 3.13
    "pip": "24.1.2",
    "numpy": "2.1.3",
    "matplotlib": "3.10.0",
    "ipywidgets": "7.7.1",
    "ipykernel": "6.17.1",
    "ipython": "7.34.0",
    "notebook": "6.5.7",
}
ALSO_THERE = {
    "torch": "2.11.0",
    "pandas": "2.2.2",
    "tqdm": "4.67.1",
    "filelock": "3.18.0",
    "regex": "2024.11.6",
    "scikit-learn": "1.6.1",
}
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
PROBE = """
import importlib.metadata, json, sys
versions = {d.name: d.version for d in importlib.metadata.distributions()}
loaded = {name: module.__file__ for name, module in sys.modules.items() if "." not in name
          and name in ("minillm", "numpy", "torch")}
print(json.dumps([versions, loaded]))
"""


def test_what_minillm_asks_for_is_in_colab():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert Requirement(f"python{project['requires-python']}").specifier.contains("3.13")
    there = COLAB | ALSO_THERE
    for requirement in map(Requirement, project["dependencies"]):
        assert requirement.specifier.contains(there[requirement.name])
        assert [clause.operator for clause in requirement.specifier] == [">="]  # a floor, no pin


def closure(name, seen):
    """Add the distributions that `name` needs here, itself included, to `seen`."""
    found = metadata.distribution(name)
    if found.name in seen:
        return
    seen[found.name] = found
    for requirement in map(Requirement, found.requires or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            closure(requirement.name, seen)


def link_torch(folder):
    """Fill a folder with links to PyTorch and what it needs, and to nothing else from here."""
    needed = {}
    closure("torch", needed)
    for found in needed.values():
        tops = {file.parts[0] for file in found.files if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (folder / top).exists():
                (folder / top).symlink_to(found.locate_file(top))


def call(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of a new environment like Colab's."""
    folder = tmp_path_factory.mktemp("colab")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    wanted = [f"{name}=={version}" for name, version in COLAB.items()]
    done = subprocess.run([*install, *wanted], capture_output=True, text=True, encoding="utf-8")
    offline = re.search("(?i)connection|timed out|name resolution", done.stderr)
    if done.returncode and offline and os.environ.get("CI") != "true":
        pytest.skip("no package index can be reached, and Colab's versions must come from one")
    assert done.returncode == 0, done.stderr
    (folder / "torch").mkdir()
    link_torch(folder / "torch")
    site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (Path(site) / "torch.pth").write_text(f"{folder / 'torch'}\n", "utf-8")
    return python


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A git repository that holds the checkout as it is now."""
    folder = copy_checkout(tmp_path_factory.mktemp("git") / "book")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-C", folder]
    call(*git, "init", "-q")
    call(*git, "add", "-A")
    call(*git, "commit", "-q", "-m", "The checkout as it is")
    return folder.as_uri()


@pytest.fixture
def alone(tmp_path, python):
    """An empty folder, and the environment of a kernel that knows nothing of this checkout."""
    subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "minillm"], check=True)
    env = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    env = {key: value for key, value in env.items() if not key.startswith("PYTEST_")}
    return {"folder": tmp_path, "python": python, "env": env | {"MPLBACKEND": "agg"}}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_runs_in_colab(path, alone, python, address):
    before, _ = json.loads(call(python, "-c", PROBE, cwd=alone["folder"], env=alone["env"]))
    shutil.copy(path, alone["folder"])
    notebook = nbformat.read(alone["folder"] / path.name, as_version=4)
    assert notebook.cells[1].source == repository.setup_cell(repository.read_address())
    notebook.cells[1].source = repository.setup_cell(address)
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    # The setup cell downloads and builds. A busy machine may lose the wake-up for a reply, which is
    # then found only when this time is over: so it is not longer than it must be.
    run(notebook, timeout=180, **alone)
    after, loaded = json.loads(notebook.cells[-1].outputs[0].text)
    assert {name: after[name] for name in before} == before
    assert {"numpy", "torch"} <= set(before)
    assert "minillm" not in before
    assert "site-packages" in Path(loaded["minillm"]).parts


def test_without_an_address_the_setup_cell_says_what_to_do(alone):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(repository.setup_cell(""))]
    with pytest.raises(CellExecutionError, match="set REPOSITORY to the address"):
        run(notebook, **alone)
