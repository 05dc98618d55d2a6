"""The set-up of `make book` and `make test`: what it installs, and what it says when it cannot."""

import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools import setup_env

ROOT = Path(setup_env.ROOT)


def requirements(name):
    """The requirements of a file, those of files that it includes as well."""
    for line in (ROOT / name).read_text("utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("-r "):
            yield from requirements(line[3:])
        elif line:
            yield Requirement(line)


def locked():
    lines = (ROOT / "requirements-lock.txt").read_text("utf-8").splitlines()
    return dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)


def test_one_version_of_torch_is_named():
    (torch,) = [r for r in requirements("requirements.txt") if r.name == "torch"]
    assert str(torch) == setup_env.TORCH


def test_the_book_needs_no_torch():
    assert "torch" not in {r.name for r in requirements("requirements-book.txt")}


def test_the_lock_holds_a_version_of_each_requirement():
    versions = locked()
    for requirement in requirements("requirements.txt"):
        assert requirement.specifier.contains(versions[requirement.name.lower()]), requirement


def test_the_package_states_floors_and_never_pins():
    for text in requires("minillm"):
        assert {s.operator for s in Requirement(text).specifier} == {">="}, text


def test_an_old_python_gets_one_clear_line(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit, match=r"Python 3\.10 or newer is needed, this is 3\.9"):
        setup_env.main()


@pytest.mark.parametrize("what", ["book", "all"])
def test_nothing_is_done_when_nothing_changed(monkeypatch, tmp_path, what):
    files = ["requirements-book.txt"]
    files += ["requirements.txt", "pyproject.toml"] if what == "all" else []
    (tmp_path / f"stamp-{what}").write_text(setup_env.stamp_text(files))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(setup_env, "VENV", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["setup_env.py", what])
    monkeypatch.setattr(setup_env, "run", lambda *_, **__: pytest.fail("something was installed"))
    setup_env.main()


def test_a_changed_requirement_is_noticed(monkeypatch, tmp_path):
    (tmp_path / "requirements-book.txt").write_text("one")
    monkeypatch.setattr(setup_env, "ROOT", str(tmp_path))
    before = setup_env.stamp_text(["requirements-book.txt"])
    (tmp_path / "requirements-book.txt").write_text("two")
    assert setup_env.stamp_text(["requirements-book.txt"]) != before


@pytest.mark.parametrize(
    ("output", "line"),
    [("error: command 'gcc' failed", "needs a C compiler"), ("no network", "this command failed")],
)
def test_a_failed_installation_is_explained(capfd, output, line):
    with pytest.raises(SystemExit, match=line):
        setup_env.run([sys.executable, "-c", f"import sys; sys.exit({output!r})"])
    assert output in capfd.readouterr().err


def test_a_python_without_venv_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit, match=r"apt install python3\.\d+-venv"):
        setup_env.make_venv(uv=None)


def test_every_command_of_the_readme_is_in_the_makefile():
    make = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    known = {line.split()[0] for line in make.stdout.splitlines() if line.strip()}
    assert {"book", "test", "lab", "serve", "bench", "execute", "repository", "clean"} <= known
