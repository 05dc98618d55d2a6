"""Write requirements-lock.txt: the exact versions of the tested set, which CI installs."""

import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements-lock.txt"
HEAD = "# The tested set, written by `make lock` on Python {}.{}; CI installs these versions.\n"


def main():
    freeze = [sys.executable, "-m", "pip", "freeze", "--exclude-editable"]
    lines = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout.splitlines()
    # "torch==2.13.0+cpu" names one build: the lock is for every build of that version. A package
    # installed from a file ("name @ file:…") has no version that another machine could use.
    versions = [line.split("+")[0] for line in lines if "==" in line and " @ " not in line]
    LOCK.write_text(HEAD.format(*sys.version_info) + "\n".join(versions) + "\n")
    print(f"{LOCK.name}: {len(versions)} packages")


if __name__ == "__main__":
    main()
