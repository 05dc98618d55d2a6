"""What every notebook does first: one seed for everything random, one figure style."""

import random

import numpy as np


def setup(seed=0):
    """Seed everything random, set the book's figure style, and return a generator.

    Parameters
    ----------
    seed : int
        Seeds Python's `random`, NumPy's legacy global state, PyTorch, and the generator returned.

    Returns
    -------
    numpy.random.Generator
        The notebook's own source of randomness, passed on to whatever draws.

    Examples
    --------
    >>> int(setup(seed=0).integers(100))
    85
    """
    import torch
    from IPython import get_ipython

    from minillm import plots

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    plots.use_style()
    shell = get_ipython()
    if shell is not None:  # a figure's size is what its code says, not what its content needs
        shell.run_line_magic("matplotlib", "inline")
        shell.run_line_magic("config", "InlineBackend.print_figure_kwargs = {'bbox_inches': None}")
    return np.random.default_rng(seed)


def device():
    """The device that PyTorch should use here: ``cuda``, else ``mps``, else ``cpu``.

    Examples
    --------
    >>> device().type in ("cuda", "mps", "cpu")
    True
    """
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
