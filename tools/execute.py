"""Re-run notebooks from top to bottom and store what they give.

    python -m tools.execute [notebooks/04-1-softmax.ipynb …]

A notebook whose run fails, prints a warning or has no real data keeps the file that it has.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from minillm import data
from tools import lint, stored
from tools.kernel import NOTEBOOKS, data_sets, run, set_environment
from tools.lint_outputs import no_error_is_stored, no_warning_is_stored


def replace(path, text):
    """Write a file whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(text.encode())
    os.replace(unfinished, path)


def execute(path):
    """Run one notebook and store it; return what kept it from being stored, "" for nothing."""
    notebook = nbformat.read(path, as_version=4)
    made_up = [name for name in data_sets(notebook) if not data.is_real(name)]
    if made_up:
        return f"there is only a stand-in for {', '.join(made_up)}"
    try:
        run(notebook, path.parent)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return str(error)
    stored.normalize(notebook)
    wrong = no_error_is_stored(notebook, path) + no_warning_is_stored(notebook, path)
    if wrong:
        return "; ".join(wrong)
    notebook.metadata.minillm = {"executed": stored.digest(notebook)}
    replace(path, stored.text(notebook))
    return ""


def main():
    set_environment()
    failed = []
    for path in [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb")):
        start = time.perf_counter()
        problem = execute(path)
        print(f"{path.name}: {'NOT stored: ' + problem if problem else 'stored'}", end="")
        print(f" ({time.perf_counter() - start:.0f} s)", flush=True)
        failed += [path.name] if problem else []
        for complaint in [] if problem else lint.complaints(path):
            print(f"  {complaint}")
    sys.exit(f"error: not stored: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
