"""The book's one figure style: colors, and one way to draw each kind of thing.

This is the only module of the package that imports matplotlib.

Every axis of a tensor has one color in the whole book, in figures, in equations
(``\\color{#0072B2}{T}``) and in live controls; a reader sees from the color which
axis is summed over. The colors are taken from Okabe and Ito's palette, which is safe
for color-blind readers, darkened to a contrast of 4.5 to 1 on white; since they are
close in grayscale, a letter always stands beside the color.
"""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import TwoSlopeNorm

# One color an axis. Axes of one kind share a hue: S is another T, and K and F are other Cs.
AXIS = {
    "B": "#7A6200",  # batch: ochre
    "T": "#0072B2",  # positions: blue
    "S": "#0072B2",  # source positions
    "C": "#00785A",  # channels: green
    "K": "#00785A",  # channels of one head
    "F": "#00785A",  # channels of the feed-forward layer
    "H": "#9A3E77",  # heads: purple
    "V": "#B84A00",  # vocabulary: vermilion
}

# Whose result it is: dark, light and mid gray, so that grayscale tells them apart too.
NUMPY, TORCH, BASELINE = "#1F3A5F", "#E69F00", "#8A8F98"

# A sequence for anything else, ordered so that neighbors differ in lightness.
CYCLE = ["#0072B2", "#E69F00", "#00785A", "#CC79A7", "#B84A00", "#56B4E9", "#4D4D4D"]

VALUES = "viridis"  # a perceptually uniform map for values
SIGNED = "RdBu_r"  # a diverging map, centered on zero, for signed values

WIDTH = 7.0  # inches: the page's text width, so that 10 pt in a figure is 10 pt on the page


def use_style():
    """Set matplotlib's defaults to the book's style. Called by `minillm.notebook.setup`."""
    mpl.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3.2),
            "figure.dpi": 120,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": False,
            "axes.prop_cycle": mpl.cycler(color=CYCLE),
            "lines.linewidth": 1.8,
            "image.cmap": VALUES,
            "svg.hashsalt": "minillm",
        }
    )


def _ink(rgba):
    """Black or white, whichever reads better on the color `rgba` (WCAG relative luminance)."""
    channels = np.asarray(rgba[:3])
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.18 else "white"


def _map(ax, values, signed, limits):
    """Draw `values` (rows, columns) as an image; return it, with its color scale set."""
    low, high = limits or (None, None)
    if signed:
        reach = float(np.abs(limits or values).max()) or 1.0
        return ax.imshow(values, cmap=SIGNED, norm=TwoSlopeNorm(0, -reach, reach), aspect="auto")
    return ax.imshow(values, cmap=VALUES, vmin=low, vmax=high, aspect="auto")


def _edge_letters(ax, axes):
    """Write the letters of a tensor's two axes on its edges, in their colors."""
    rows, columns = axes
    ax.set_ylabel(rows, color=AXIS.get(rows, "black"), fontweight="bold", rotation=0, labelpad=12)
    ax.set_xlabel(columns, color=AXIS.get(columns, "black"), fontweight="bold")
    ax.xaxis.set_label_position("top")
    ax.spines[:].set_visible(False)


def tensor(
    ax,
    values,
    axes,
    *,
    rows=None,
    columns=None,
    fmt="{:.2f}",
    signed=False,
    limits=None,
    title=None,
):
    """Draw a small matrix as the book draws every tensor: a grid with its letters on its edges.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    values : array (rows, columns), or (columns,) for a vector
    axes : str
        The letters of the two axes, ``"TC"`` for positions by channels; for a vector one letter.
    rows, columns : list of str, optional
        What stands beside each row and below each column (tokens, say).
    fmt : str
        How a cell's number is written; ``""`` writes none.
    signed : bool
        Use the diverging map, centered on zero.
    limits : (low, high), optional
        The values at the ends of the color scale, for grids that are to be compared.

    Raises
    ------
    ValueError
        If `axes` does not name each axis of `values` with one letter.
    """
    values = np.asarray(values)
    if values.ndim not in (1, 2) or len(axes) != values.ndim:
        raise ValueError(
            f"axes = {axes!r} must hold one letter for each axis of values, of shape {values.shape}"
        )
    grid, axes = (values[None], " " + axes) if values.ndim == 1 else (values, axes)
    image = _map(ax, grid, signed, limits)
    _edge_letters(ax, axes)
    ax.set_xticks(range(grid.shape[1]), columns if columns is not None else [])
    ax.set_yticks(range(grid.shape[0]), rows if rows is not None else [])
    ax.tick_params(which="both", length=0)
    if fmt:  # a cell with a number gets a border
        ax.set_xticks(np.arange(1, grid.shape[1]) - 0.5, minor=True)
        ax.set_yticks(np.arange(1, grid.shape[0]) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=1)
        for (i, j), value in np.ndenumerate(grid):
            ink = _ink(image.cmap(image.norm(value)))
            number = fmt.format(round(float(value), 9) + 0.0)  # never -0.00
            ax.text(j, i, number, ha="center", va="center", color=ink, fontsize=9)
    if title:
        ax.set_title(title)
    return image


def matrix(ax, values, axes, *, rows=None, columns=None, signed=False, title=None, label=None):
    """Draw a large matrix without numbers, with a color bar; arguments as in `tensor`.

    `label` names what the colors measure, with its unit. Attention maps use this too:
    queries on rows, keys on columns.
    """
    image = tensor(ax, values, axes, rows=rows, columns=columns, fmt="", signed=signed, title=title)
    ax.figure.colorbar(image, ax=ax, label=label or "")
    return image


def bars(ax, p, labels, *, color=AXIS["V"], fmt="{:.2f}", title=None, highlight=None):
    """Draw a distribution p (V,) as the book draws every distribution: bars with their values.

    `labels` stand below the bars, and each value above its bar as `fmt` writes it; `color` is
    V's. `highlight` is the index of one bar to be drawn solid while the others are paler.
    """
    p = np.asarray(p)
    alpha = [1.0 if highlight is None or i == highlight else 0.4 for i in range(len(p))]
    drawn = ax.bar(range(len(p)), p, color=[mpl.colors.to_rgba(color, a) for a in alpha])
    ax.set_xticks(range(len(p)), labels)
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel("probability")
    if fmt:
        ax.bar_label(drawn, [fmt.format(value) for value in p], padding=2, fontsize=9)
        ax.margins(y=0.15)
    if title:
        ax.set_title(title)
    return drawn


def graph(ax, nodes, edges, *, title=None):
    """Draw a computation graph: values in boxes, operations on arrows, left to right.

    Parameters
    ----------
    nodes : dict of str to (x, y, text)
        Where each box stands, and what is written in it (lines: the name, the value, the gradient).
    edges : list of (from, to) or (from, to, text)
    """
    box = {"boxstyle": "round,pad=0.35", "facecolor": "#F4F6F8", "edgecolor": "#4D4D4D"}
    for edge in edges:
        (x0, y0, _), (x1, y1, _) = nodes[edge[0]], nodes[edge[1]]
        arrow = {"arrowstyle": "-|>", "color": "#4D4D4D", "shrinkA": 28, "shrinkB": 28}
        ax.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
        if len(edge) > 2:
            ax.text((x0 + x1) / 2, (y0 + y1) / 2, edge[2], ha="center", va="bottom", fontsize=9)
    for x, y, text in nodes.values():
        ax.text(x, y, text, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
    xs, ys = zip(*[(x, y) for x, y, _ in nodes.values()], strict=True)
    ax.set_xlim(min(xs) - 0.5, max(xs) + 0.5)
    ax.set_ylim(min(ys) - 0.5, max(ys) + 0.5)
    ax.axis("off")
    if title:
        ax.set_title(title)


def learning_curve(ax, curves, *, smooth=1, xlabel="step", ylabel="loss (nats per token)"):
    """Draw losses over steps, one line a name; a moving mean of `smooth` steps for noisy ones.

    Parameters
    ----------
    curves : dict of str to list of float, or to (steps, losses)
    xlabel, ylabel : str
        What the axes show, with units.
    """
    for name, curve in curves.items():
        steps, losses = curve if isinstance(curve, tuple) else (np.arange(len(curve)), curve)
        losses = np.convolve(losses, np.ones(smooth) / smooth, mode="valid")
        color = BASELINE if name == "baseline" else None
        ax.plot(np.asarray(steps)[smooth - 1 :], losses, label=name, color=color)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.legend()


__all__ = [
    "AXIS", "BASELINE", "CYCLE", "NUMPY", "SIGNED", "TORCH", "VALUES", "WIDTH",
    "bars", "graph", "learning_curve", "matrix", "plt", "tensor", "use_style",
]  # fmt: skip
