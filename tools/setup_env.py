# -*- coding: utf-8 -*-
"""Make the virtual environment `.venv`, or bring it up to date: `python3 tools/setup_env.py book|all`.

`book` installs what building the pages needs (requirements-book.txt, no PyTorch); `all` installs
everything and the package itself. Nothing is done when nothing changed: a stamp file remembers what
was installed. Uses uv where there is one, pip otherwise. In CI the lock file fixes every version.

This file must parse on any Python, so that an old one gets its one clear line.
"""

import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
SCRIPTS = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
PYTHON = os.path.join(SCRIPTS, "python.exe" if os.name == "nt" else "python")
TORCH = "torch==2.13.0"  # as in requirements.txt: tests hold the two equal
NO_COMPILER = ("error: command 'gcc'", "error: command 'cc'", "error: command 'clang'", "Visual C++")


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def fail(line):
    sys.exit("error: " + line)


def stamp_text(files):
    """What decides whether the environment is up to date: the requirements and the Python."""
    digest = hashlib.sha256(sys.version.encode())
    for name in files:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def read(path):
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


def run(command, attempt=False):
    """Run a command, showing its output only if it fails; return whether it succeeded."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT)
    if done.returncode == 0 or attempt:
        return done.returncode == 0
    output = done.stdout.decode(errors="replace")
    sys.stderr.write(output)
    if any(text in output for text in NO_COMPILER):
        fail(
            "a package has no ready-made build for Python {}.{} on this machine and needs a C "
            "compiler: install one (Debian: apt install build-essential python3-dev), or use "
            "Python 3.11, 3.12 or 3.13".format(*sys.version_info)
        )
    fail("this command failed, its output is above: " + " ".join(command))


def make_venv(uv):
    """An empty environment with pip in it."""
    if uv:
        run([uv, "venv", "--quiet", "--seed", "--clear", "--python", sys.executable, VENV])
        return
    try:
        import ensurepip  # noqa: F401  (Debian ships it apart)
    except ImportError:
        version = "{}.{}".format(*sys.version_info)
        fail("this Python cannot make environments: apt install python{}-venv".format(version))
    run([sys.executable, "-m", "venv", "--clear", VENV])


def has_nvidia_gpu():
    return bool(shutil.which("nvidia-smi")) or os.path.exists("/proc/driver/nvidia/version")


def install_torch(uv, pip):
    """PyTorch: the CPU build where there is no GPU, as far as the package index at hand allows.

    Only Linux needs the choice: elsewhere the default build is the CPU's (macOS: the Apple GPU's).
    """
    say("  PyTorch")
    index = os.environ.get("TORCH_INDEX")
    if index:
        run(pip + [TORCH, "--index-url", index])
    elif not sys.platform.startswith("linux") or has_nvidia_gpu():
        run(pip + [TORCH])
    elif uv and run(pip + [TORCH, "--torch-backend", "cpu"], attempt=True):
        return
    elif not run([PYTHON, "-m", "pip", "install", "--quiet", TORCH + "+cpu"], attempt=True):
        say("  (this package index has no CPU build of PyTorch: taking the default, large one;")
        say("   to choose another, see the README: make test TORCH_INDEX=…)")
        run(pip + [TORCH])


def main():
    if sys.version_info < (3, 10):
        found = "{}.{}".format(*sys.version_info)
        fail("Python 3.10 or newer is needed, this is {}: make … PYTHON=python3.12".format(found))
    if len(sys.argv) != 2 or sys.argv[1] not in ("book", "all"):
        fail("usage: python3 tools/setup_env.py book|all")
    everything = sys.argv[1] == "all"

    lock = ["requirements-lock.txt"] if os.environ.get("CI") else []
    book_files = ["requirements-book.txt"] + lock
    all_files = book_files + ["requirements.txt", "pyproject.toml"]
    book_stamp, all_stamp = (os.path.join(VENV, name) for name in ("stamp-book", "stamp-all"))
    book_ok = read(book_stamp) == stamp_text(book_files)
    all_ok = read(all_stamp) == stamp_text(all_files)
    if all_ok if everything else book_ok:
        return

    os.environ.setdefault("PIP_USE_PEP517", "1")  # an old pip fails to build seqeval otherwise
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "--quiet", "--python", PYTHON] if uv else None
    pip = pip or [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraints = ["--constraint", lock[0]] if lock else []

    say("setting up .venv with Python {}.{}.{}".format(*sys.version_info))
    if not os.path.exists(PYTHON) or not (read(book_stamp) or read(all_stamp)):
        make_venv(uv)
    if everything:
        install_torch(uv, pip)
    say("  the book's tools" + (", and everything else" if everything else ""))
    requirements = "requirements.txt" if everything else "requirements-book.txt"
    run(pip + ["--requirement", requirements] + constraints)
    if everything:
        run(pip + ["--no-deps", "--editable", "."])

    stamps = [(book_stamp, book_files)] + ([(all_stamp, all_files)] if everything else [])
    for path, files in stamps:
        with open(path, "w") as file:
            file.write(stamp_text(files))


if __name__ == "__main__":
    main()
