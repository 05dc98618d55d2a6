"""The rules that every notebook keeps, checked without running anything.

    python -m tools.lint [notebooks/04-1-softmax.ipynb …]

A rule takes a notebook and its path, and returns a list of complaints.
"""

import sys
from pathlib import Path

import nbformat

from tools import lint_code, lint_outputs, lint_text
from tools.kernel import NOTEBOOKS

RULES = [*lint_code.RULES, *lint_outputs.RULES, *lint_text.RULES]


def complaints(path):
    """Everything that is wrong with the notebook at `path`, each complaint with its rule's name."""
    notebook = nbformat.read(path, as_version=4)
    return [f"{rule.__name__}: {text}" for rule in RULES for text in rule(notebook, Path(path))]


def main():
    wrong = 0
    for path in sys.argv[1:] or sorted(NOTEBOOKS.glob("*.ipynb")):
        for complaint in complaints(path):
            print(f"{path}: {complaint}")
            wrong += 1
    sys.exit(f"{wrong} complaints" if wrong else 0)


if __name__ == "__main__":
    main()
