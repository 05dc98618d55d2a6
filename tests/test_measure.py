"""The table of the notebooks: seconds, memory of a kernel and its children; too much fails."""

import subprocess
import sys
import types

import psutil
import pytest

from tools.measure import MAX_MB, Table, memory

HOLD = "held = bytearray(b'x') * (64 << 20); print('held', flush=True); input()"


def report(name, seconds, peak_mb=None, failed=False):
    properties = [] if peak_mb is None else [("peak_mb", peak_mb)]
    return types.SimpleNamespace(
        nodeid=f"notebooks/{name}::Cell 0",
        duration=seconds,
        failed=failed,
        user_properties=properties,
    )


def finish(table):
    session = types.SimpleNamespace(exitstatus=pytest.ExitCode.OK)
    table.pytest_sessionfinish(session)
    return session.exitstatus


def test_rows_sum_up_seconds_and_keep_the_peak():
    table = Table(not_compared={"b.ipynb"})
    for given in (
        report("a.ipynb", 1.0),
        report("a.ipynb", 2.0, 300),
        report("a.ipynb", 0.5, 200, failed=True),
        report("b.ipynb", 1.0, 10),
    ):
        table.pytest_runtest_logreport(given)
    assert table.rows["a.ipynb"] == {"seconds": 3.5, "peak_mb": 300, "failed": 1, "compared": True}
    assert table.rows["b.ipynb"]["compared"] is False
    assert finish(table) == pytest.ExitCode.OK


def test_a_notebook_that_takes_too_much_memory_fails():
    table = Table(not_compared=set())
    table.pytest_runtest_logreport(report("a.ipynb", 1.0, MAX_MB + 1))
    assert finish(table) == pytest.ExitCode.TESTS_FAILED


def test_memory_counts_children():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD], **pipes) as child:
        child.stdout.readline()
        alone, both = psutil.Process().memory_info().rss, memory(psutil.Process())
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdin.close()
        child.wait()
    assert child.returncode == 0
    assert both > alone + (60 << 20)
