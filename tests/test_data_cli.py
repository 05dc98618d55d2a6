"""``python -m minillm.data``: what it prints, and its exit status."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from data_server import Server, isolate, serve

from minillm.data import registry
from minillm.data.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
FILES = {"tang300.json": b"[]", "song300.json": b"[ ]"}


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def server(monkeypatch):
    with Server() as running:
        monkeypatch.setitem(registry.DATA_SETS, "poems", serve(running, "poems", FILES))
        yield running


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def usage_error(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_list(server, capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(registry.DATA_SETS)
    assert all("not here" in line for line in lines[1:])
    assert main(["get", "poems"]) == 0
    capsys.readouterr()
    assert main(["list"]) == 0
    (poems,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("poems")]
    assert poems.split()[1:4] == ["0.00", "MIT", "cache"]


def test_get(server, cache, capsys):
    assert main(["get", "poems"]) == 0
    assert capsys.readouterr().out == f"poems: {cache / 'poems'} (new)\n"
    assert main(["get", "poems"]) == 0
    assert capsys.readouterr().out == f"poems: {cache / 'poems'} (cache)\n"
    assert len(server.log) == 2


def test_get_goes_on_after_a_set_that_cannot_be_had(server, cache, capsys):
    assert main(["get", "sonnets", "poems"]) == 1
    out, err = capsys.readouterr()
    assert "poems: " in out
    assert err.startswith("sonnets: no connection to raw.githubusercontent.com")


def test_get_never_makes_a_stand_in(server, cache, capsys, monkeypatch):
    monkeypatch.setenv("MINILLM_OFFLINE", "1")
    assert main(["get", "poems"]) == 1
    assert "MINILLM_OFFLINE is set: nothing is downloaded" in capsys.readouterr().err
    assert not cache.exists() and server.log == []


def test_get_into_a_cache_that_cannot_be_written(server, cache, capsys):
    cache.write_text("in the way")
    assert main(["get", "poems"]) == 1
    assert str(cache) in capsys.readouterr().err


def test_verify(server, cache, capsys):
    assert main(["verify"]) == 0  # nothing is here, and nothing had to be
    assert main(["verify", "poems"]) == 1
    assert "poems: not here" in capsys.readouterr().out
    main(["get", "poems"])
    capsys.readouterr()
    assert main(["verify", "poems"]) == 0
    assert capsys.readouterr().out == f"poems: ok (2 files in {cache / 'poems'})\n"
    for raw, why in ((b"[?]", "SHA-256"), (b"[", "1 bytes, expected 3"), (None, "missing")):
        path = cache / "poems" / "song300.json"
        path.write_bytes(raw) if raw else path.unlink()
        assert main(["verify"]) == 1
        out, err = capsys.readouterr()
        assert "poems: damaged" in out and err.startswith(f"{path}: {why}")
        assert err.count("\n") == 1
    assert main(["get", "poems"]) == 0  # fetches what is missing, and only that
    assert main(["verify", "poems"]) == 0
    assert [path for path, _, _ in server.log[2:]] == ["poems/song300.json"]


def test_verify_looks_at_the_readers_folder_and_the_cache(server, cache, capsys, monkeypatch):
    main(["get", "poems"])
    own = cache.with_name("own")
    (own / "poems").mkdir(parents=True)
    (own / "poems" / "tang300.json").write_bytes(b"??")
    monkeypatch.setenv("MINILLM_DATA", str(own))
    capsys.readouterr()
    assert main(["verify", "poems"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"poems: damaged (2 files in {own / 'poems'})",
        f"poems: ok (2 files in {cache / 'poems'})",
    ]
    assert err.count("\n") == 2


def test_describe(capsys):
    assert main(["describe", "sonnets", "fsdd"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("sonnets: ") and "\n\nfsdd: " in out and "CC-BY-SA-4.0" in out


def test_wrong_usage(capsys, monkeypatch):
    assert "required" in usage_error(capsys)
    assert "invalid choice: 'fetch'" in usage_error(capsys, "fetch")
    assert "did you mean 'sonnets'?" in usage_error(capsys, "get", "sonets")
    assert "expected names of sets, or --all" in usage_error(capsys, "get")
    assert "expected names of sets, or --all" in usage_error(capsys, "get", "--all", "sonnets")
    monkeypatch.setenv("MINILLM_DATA", "no/such/folder")
    assert "MINILLM_DATA" in usage_error(capsys, "list")


def test_as_a_process(cache):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "minillm.data", *arguments],
            cwd=ROOT,
            env={**os.environ, "MINILLM_OFFLINE": "1"},
            capture_output=True,
            check=False,
            encoding="utf-8",
        )

    helped = run("--help")
    assert helped.returncode == 0 and "MINILLM_CACHE=folder" in helped.stdout
    got = run("get", "sonnets")
    assert got.returncode == 1 and got.stdout == "" and got.stderr.count("\n") == 1
    assert run("nonsense").returncode == 2
