"""Copies of the checkout to plant faults in, and pytest run in them as `make test` does."""

import os
import shutil
import subprocess
import sys

from tools.kernel import ROOT


def copy_checkout(folder):
    """Copy what belongs to the book, tracked or not yet, and leave what `.gitignore` names."""
    ignored = (ROOT / ".gitignore").read_text("utf-8").split()
    ignored = shutil.ignore_patterns(".git", *(name.strip("/") for name in ignored))
    shutil.copytree(ROOT, folder, ignore=ignored)
    return folder


def run_stage(root, stage, *arguments, **environment):
    """Run one stage of tools/test.py in a copy, on its own package; return (status, output)."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    env |= {"PYTHONPATH": str(root), **environment}
    command = [
        sys.executable,
        "tools/test.py",
        stage,
        *arguments,
        "-n0",
        "-x",
        "-pno:cacheprovider",
    ]
    done = subprocess.run(
        command, cwd=root, env=env, capture_output=True, text=True, encoding="utf-8"
    )
    return done.returncode, done.stdout + done.stderr
