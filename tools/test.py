"""Run everything that must hold: the book builds; the tests of the package and the pages; each notebook.

    python tools/test.py                                   all of it, as `make test` does
    python tools/test.py package tests/test_metrics.py     one stage, with pytest's arguments
    python tools/test.py notebooks notebooks/04-1-softmax.ipynb -n 0 -x
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKERS = ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile"]
STAGES = {"book": [], "package": ["tests", *WORKERS], "notebooks": ["notebooks", *WORKERS]}
STAGES["notebooks"] += ["--nbval", "--nbval-current-env", "--nbval-cell-timeout", "120"]
STAGES["notebooks"] += ["--nbval-sanitize-with", "tests/sanitize.cfg"]


def run(stage, extra):
    """Run one stage, with one BLAS thread a worker; return its exit status."""
    print(f"\n== {stage} ==", flush=True)
    if stage == "book":
        return subprocess.call([sys.executable, "tools/build.py", *extra], cwd=ROOT)
    (folder, *options), given = STAGES[stage], [arg for arg in extra if (ROOT / arg).exists()]
    command = [sys.executable, "-m", "pytest", *(given or [folder]), *options]
    command += [arg for arg in extra if arg not in given]
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "VECLIB")}
    return subprocess.call(command, cwd=ROOT, env=threads | os.environ)


def main():
    stages, extra = (sys.argv[1:2], sys.argv[2:]) if sys.argv[1:2] else (list(STAGES), [])
    if not set(stages) <= set(STAGES):
        sys.exit(f"error: stage {stages[0]!r} is none of {', '.join(STAGES)}")
    if os.environ.get("MINILLM_DATA"):  # notebooks run in their own folder
        os.environ["MINILLM_DATA"] = os.path.abspath(os.environ["MINILLM_DATA"])
    failed = [stage for stage in stages if run(stage, extra) != 0]
    sys.exit(f"error: failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
