"""How two implementations are compared: in turn, in one run, as a ratio with its spread."""

import csv
import datetime
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

RESULTS = Path(__file__).with_name("results.csv")
FIELDS = ["date", "machine", "threads", "versions", "what", "against", "ms", "ratio", "low", "high"]


def seconds(f, repeats):
    """The mean time of one call of f() over `repeats` calls, in seconds."""
    start = time.perf_counter()
    for _ in range(repeats):
        f()
    return (time.perf_counter() - start) / repeats


def compare(what, ours, against, theirs, *, rounds=15, repeats=20):
    """Time both in turn, `rounds` times, and return one row of the results.

    The ratio is ours / theirs, so less than 1 is faster: its median over the rounds, and the
    quartiles `low` and `high`. A single ratio is worth little on a shared machine.
    """
    ours(), theirs()  # warm up: caches, allocators, lazy imports
    times = np.array([(seconds(ours, repeats), seconds(theirs, repeats)) for _ in range(rounds)])
    return row(what, against, times)


def row(what, against, times):
    """One row of the results, from the seconds of both, ours and theirs, in each round (n, 2)."""
    times = np.asarray(times)
    low, ratio, high = np.percentile(times[:, 0] / times[:, 1], (25, 50, 75))
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{_processor()}, {platform.system()}",
        "threads": torch.get_num_threads(),
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}, "
        f"PyTorch {torch.__version__}",
        "what": what,
        "against": against,
        "ms": f"{1e3 * np.median(times[:, 0]):.3f}",
        "ratio": f"{ratio:.2f}",
        "low": f"{low:.2f}",
        "high": f"{high:.2f}",
    }


def report(rows):
    """Append rows to the results file, and print them as a table."""
    record(rows)
    columns = ["threads", "what", "against", "ms", "ratio", "low", "high"]
    print(pd.DataFrame(rows)[columns].to_string(index=False))


def record(rows):
    """Append rows to the results file, with its header where it is new."""
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def _processor():
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
