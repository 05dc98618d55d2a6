"""Build the rendered book into `_build/html`, warnings as errors, and print the page to open."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    jupyter_book = shutil.which("jupyter-book", path=Path(sys.executable).parent)
    for step in (
        [sys.executable, "tools/assets.py"],
        [jupyter_book, "build", ".", "-W", "-n", "--keep-going"],
    ):
        done = subprocess.run(step, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            sys.stderr.write(done.stdout + done.stderr)
            sys.exit(f"error: the book was not built: {' '.join(step)} failed, see above")
    page = ROOT / "_build" / "html" / "index.html"
    print(f"The book is built. Open {page}")


if __name__ == "__main__":
    main()
