"""Every kind of figure is drawn, without a warning, with the axes' letters and legible colors."""

import inspect

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")  # before pyplot is imported: draw into memory, not on a screen

from minillm import plots

GRID = np.array([[-1.0, 0.0, 2.0], [0.5, 1.5, -2.0]])
WORDS = ["The", "cat", "sat"]

# One or more figures of each kind.
FIGURES = {
    "tensor": [
        lambda ax: plots.tensor(ax, GRID, "TC", rows=WORDS[:2], columns=WORDS, title="a tensor"),
        lambda ax: plots.tensor(ax, GRID[0], "V", columns=WORDS, signed=True),
        lambda ax: plots.tensor(ax, np.zeros((2, 2)), "BT", signed=True, fmt=""),
    ],
    "matrix": [
        lambda ax: plots.matrix(ax, GRID, "TV", label="logit", title="a matrix"),
        lambda ax: plots.matrix(ax, GRID, "TS", signed=True, rows=WORDS[:2], columns=WORDS),
    ],
    "bars": [
        lambda ax: plots.bars(ax, [0.2, 0.5, 0.3], WORDS, title="a distribution"),
        lambda ax: plots.bars(ax, [0.2, 0.5, 0.3], WORDS, highlight=1, fmt=""),
    ],
    "graph": [
        lambda ax: plots.graph(
            ax,
            {"x": (0, 0, "x = 2"), "y": (1, 0, "y = 4\ngradient 1")},
            [("x", "y", "square"), ("x", "y")],
            title="a graph",
        )
    ],
    "learning_curve": [
        lambda ax: plots.learning_curve(ax, {"ours": [3.0, 2.0, 1.0], "baseline": [3.0] * 3}),
        lambda ax: plots.learning_curve(ax, {"ours": ([0, 10, 20, 30], [4, 3, 2, 1])}, smooth=2),
    ],
}


@pytest.fixture(autouse=True)
def ax():
    """One empty panel in the book's style; what a test changes of matplotlib is put back."""
    with mpl.rc_context():
        plots.use_style()
        figure, ax = plots.plt.subplots()
        yield ax
        plots.plt.close(figure)


def luminance(color):
    """Relative luminance, by the definition of WCAG 2.2."""
    channels = np.array(mpl.colors.to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("kind", FIGURES)
def test_draws(kind, ax):
    for draw in FIGURES[kind]:
        ax.figure.clear()
        draw(ax := ax.figure.subplots())
        ax.figure.canvas.draw()
        for text in ax.figure.findobj(mpl.text.Text):
            assert text.get_fontsize() >= 9 or not text.get_text(), text


def test_every_kind_is_drawn_here():
    functions = {n for n in plots.__all__ if inspect.isfunction(getattr(plots, n))}
    assert set(FIGURES) == functions - {"use_style"}


def test_axes_have_letters_in_their_colors(ax):
    plots.tensor(ax, GRID, "TC")
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("T", "C")
    assert ax.yaxis.label.get_color() == plots.AXIS["T"]
    assert ax.xaxis.label.get_color() == plots.AXIS["C"]


@pytest.mark.parametrize(("values", "axes"), [(GRID, "T"), (GRID[0], "TC"), (GRID[None], "BTC")])
def test_axes_that_do_not_fit(values, axes, ax):
    with pytest.raises(ValueError, match="one letter for each axis"):
        plots.tensor(ax, values, axes)


def test_cells_can_be_read(ax):
    """Each number stands out from the color of its cell."""
    image = plots.tensor(ax, np.linspace(-1, 1, 40).reshape(4, 10), "TC")
    for cmap in (plots.VALUES, plots.SIGNED):
        image.set_cmap(cmap)
        for value in np.linspace(0, 1, 50):
            cell = image.cmap(value)
            assert contrast(plots._ink(cell), cell) >= 4.5
    for text in ax.texts:
        column, row = (round(c) for c in text.get_position())
        value = np.linspace(-1, 1, 40).reshape(4, 10)[row, column]
        assert text.get_text() == f"{value:.2f}"


@pytest.mark.parametrize("letter", plots.AXIS)
def test_colors_of_axes_can_be_read_on_white(letter):
    assert contrast(plots.AXIS[letter], "white") >= 4.5


def test_owners_differ_in_greyscale():
    """NumPy's results, PyTorch's and the baseline can be told apart without color."""
    lightness = sorted(luminance(c) ** (1 / 3) for c in (plots.NUMPY, plots.TORCH, plots.BASELINE))
    assert np.diff(lightness).min() > 0.08


def test_signed_values_are_centered_on_zero(ax):
    image = plots.tensor(ax, GRID, "TC", signed=True)
    assert image.norm(0.0) == 0.5
    assert (image.norm.vmin, image.norm.vmax) == (-2, 2)


def test_smoothing_is_a_moving_mean(ax):
    plots.learning_curve(ax, {"ours": [4.0, 2.0, 6.0, 4.0]}, smooth=2)
    x, y = ax.lines[0].get_data()
    assert x.tolist() == [1, 2, 3] and y.tolist() == [3, 4, 5]
