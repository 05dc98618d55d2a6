"""How notebooks are run, the same by `make execute` and by the tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from traitlets import Unicode

from minillm import data

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
CELL_TIMEOUT = 120  # seconds


def set_environment():
    """Prepare this process's environment for the kernels that it starts.

    One BLAS thread each, unless the caller chose otherwise: two kernels with two threads each
    would fight for two cores. And this checkout's `minillm`, whatever is installed.
    """
    for name in ("OMP", "OPENBLAS", "MKL", "VECLIB"):
        os.environ.setdefault(f"{name}_NUM_THREADS", "1")
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in dict.fromkeys(paths) if path)


def data_sets(notebook):
    """The names of the data sets that a notebook loads: its calls ``load("…")``."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return sorted(set(re.findall(r"""\bload\(\s*["']([\w-]+)["']""", code)) & set(data.available()))


class OnePython(KernelSpecManager):
    """Knows one kernel: that of the given Python, whatever is registered under its name."""

    python = Unicode()

    def get_kernel_spec(self, kernel_name):
        argv = [self.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def run(notebook, folder, *, python=sys.executable, timeout=CELL_TIMEOUT, **start):
    """Run all cells of a notebook, in place, in a fresh kernel of `python` working in `folder`.

    `start` is handed on to the kernel's process: ``env``, say. Raises what nbclient raises where a
    cell fails, takes longer than `timeout` seconds, or ends the kernel.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    manager = AsyncKernelManager(kernel_spec_manager=OnePython(python=str(python)))
    client = NotebookClient(notebook, km=manager, timeout=timeout, record_timing=False)
    client.execute(cwd=str(folder), stderr=subprocess.DEVNULL, cleanup_kc=True, **start)
