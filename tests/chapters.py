"""What a chapter builds in the open, taken out of its notebook: its cells tagged `builds`."""

import re

import nbformat
import numpy as np
import torch

from tools.kernel import NOTEBOOKS


def read(stem):
    """The notebook ``notebooks/{stem}.ipynb``."""
    return nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)


def built(stem):
    """The names that the notebook's cells tagged `builds` define, run in order: dict of str."""
    namespace = {"np": np, "torch": torch}
    for cell in read(stem).cells:
        if "builds" in cell.metadata.get("tags", []):
            exec(compile(cell.source, f"{stem}, a built cell", "exec"), namespace)  # noqa: S102
    return namespace


def prose(stem):
    """All markdown of the notebook as one line of text, with single spaces."""
    cells = [cell.source for cell in read(stem).cells if cell.cell_type == "markdown"]
    return re.sub(r"\s+", " ", " ".join(cells))
