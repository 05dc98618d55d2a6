"""A pytest plugin beside nbval: the seconds and the peak memory of each notebook, as a table."""

import json
import sys
import threading

import psutil
import pytest

from tools.kernel import ROOT

MAX_SECONDS, MAX_MB = 60, 2048  # of a notebook: more memory fails, more seconds are only marked
TABLE = ROOT / "_build" / "notebooks.json"


def memory(process):
    """What a kernel and its children hold now, or the kernel alone held at most if more: bytes."""
    try:
        family = [process, *process.children(recursive=True)]
        held = sum(member.memory_info().rss for member in family)
    except psutil.Error:  # one of them ended meanwhile
        held = 0
    if sys.platform != "linux" or not process.is_running():
        return held
    with open(f"/proc/{process.pid}/status") as status:
        peaks = [int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM")]
    return max([held, *peaks])


class Table:
    """Watches the cells run, in this process or in the workers of xdist, and sums them up."""

    def __init__(self, not_compared):
        self.not_compared = not_compared  # names of notebooks
        self.rows = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        process = psutil.Process(item.parent.kernel.km.provisioner.pid)
        peak, done = [0], threading.Event()

        def watch():
            while not done.wait(0.1):
                peak[0] = max(peak[0], memory(process))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            return (yield)
        finally:
            done.set()
            watcher.join()
            item.user_properties.append(("peak_mb", max(peak[0], memory(process)) >> 20))

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.split("::")[0].split("/")[-1]
        row = self.rows.setdefault(
            name,
            {"seconds": 0.0, "peak_mb": 0, "failed": 0, "compared": name not in self.not_compared},
        )
        row["seconds"] += report.duration
        row["peak_mb"] = max([row["peak_mb"], *dict(report.user_properties).values()])
        row["failed"] += report.failed

    def pytest_sessionfinish(self, session):
        if any(row["peak_mb"] > MAX_MB for row in self.rows.values()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section("notebooks")
        terminalreporter.line(f"{'notebook':40}{'seconds':>9}{'peak MB':>9}")
        for name, row in sorted(self.rows.items()):
            marks = [f"{row['failed']} cells FAILED"] if row["failed"] else []
            marks += ["not compared: stand-in data"] if not row["compared"] else []
            marks += [f"over {MAX_SECONDS} s"] if row["seconds"] > MAX_SECONDS else []
            marks += [f"FAILED: over {MAX_MB} MB"] if row["peak_mb"] > MAX_MB else []
            line = f"{name:40}{row['seconds']:9.1f}{row['peak_mb']:9}  {', '.join(marks)}"
            terminalreporter.line(line.rstrip())
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(json.dumps(self.rows, indent=1, sort_keys=True) + "\n")
