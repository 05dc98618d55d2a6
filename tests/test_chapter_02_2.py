"""Chapter 2.2: what it builds equals the package's, and the numbers in its prose are true."""

import inspect

import numpy as np
import pytest
import torch
from chapters import built, prose, read

from minillm import data, words
from minillm.numpy_nn import functional
from minillm.numpy_nn import word_vectors as by_hand
from minillm.torch_nn import word_vectors as twins

CHAPTER = "02-2-embeddings"
BUILT = built(CHAPTER)


def test_the_chapter_builds_these_and_no_others():
    names = {name for name, value in BUILT.items() if inspect.isfunction(value)}
    losses = {"negative_sampling", "negative_sampling_backward", "torch_negative_sampling"}
    assert names == losses | {"ppmi", "sigmoid"}


def test_arguments_are_the_packages():
    pairs = [
        ("ppmi", words.ppmi),
        ("negative_sampling", by_hand.negative_sampling),
        ("negative_sampling_backward", by_hand.negative_sampling_backward),
        ("torch_negative_sampling", twins.negative_sampling),
    ]
    for name, package in pairs:
        assert inspect.signature(BUILT[name]) == inspect.signature(package), name


@pytest.mark.parametrize("seed", range(5))
def test_ppmi_is_the_packages(seed):
    counts = np.random.default_rng(seed).poisson(0.7, (6, 6))
    counts[seed] = 0
    for table in (counts, 1e-3 * counts, np.zeros((3, 3))):
        for shift in (0.0, 0.4):
            expected = words.ppmi(table, shift=shift)
            np.testing.assert_allclose(BUILT["ppmi"](table, shift=shift), expected, rtol=1e-14)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-13)])
@pytest.mark.parametrize("size", [1.0, 1e3])
def test_losses_and_gradients_are_the_packages(dtype, tolerance, size):
    rng = np.random.default_rng(0)
    arrays = [size * rng.normal(size=s) for s in ((4, 3), (4, 3), (4, 5, 3))]
    arrays = [x.astype(dtype) for x in arrays]
    loss, cache = BUILT["negative_sampling"](*arrays)
    expected, its_cache = by_hand.negative_sampling(*arrays)
    np.testing.assert_allclose(loss, expected, rtol=tolerance)
    found = BUILT["negative_sampling_backward"](0.5, cache)
    rights = by_hand.negative_sampling_backward(0.5, its_cache)
    for ours, right in zip(found, rights, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, right, rtol=tolerance, atol=tolerance)
    tensors = [torch.tensor(x) for x in arrays]
    ours, right = BUILT["torch_negative_sampling"](*tensors), twins.negative_sampling(*tensors)
    torch.testing.assert_close(ours, right)
    np.testing.assert_allclose(ours.item(), expected, rtol=10 * tolerance)


def test_sigmoid_is_the_packages():
    s = np.linspace(-800, 800, 33)
    np.testing.assert_allclose(BUILT["sigmoid"](s), functional.sigmoid(s), atol=1e-15)


def test_numbers_in_the_prose():
    text = prose(CHAPTER)
    row = np.array([0, 1, 0]) @ np.array([[1.0, 0.2], [0.8, 0.4], [-0.5, 0.9]])
    assert row.tolist() == [0.8, 0.4]
    assert "\\ln \\tfrac43 \\approx 0.288" in text
    assert round(np.log(4 / 3), 3) == 0.288
    if data.is_real("word_analogies"):
        questions = data.load("word_analogies")
        assert f"{len(questions):,} such questions" in text
        assert f"in {len({q.section for q in questions})} sections" in text


def test_chosen_rates_are_the_best_of_the_recorded():
    """`RATE` in the notebook is where its table of tried rates has the lowest loss."""
    lines = [c.source for c in read(CHAPTER).cells if c.source.lstrip().startswith("How large")]
    rows = [[x.strip() for x in row.split("|")[1:-1]] for row in lines[0].split("\n") if "|" in row]
    tried = [float(x) for x in rows[0][1:]]
    code = next(c.source for c in read(CHAPTER).cells if "RATE = {" in c.source)
    names = {}
    exec("\n".join(x for x in code.split("\n") if x.startswith(("TRIED", "RATE"))), names)  # noqa: S102
    assert list(names["TRIED"]) == tried
    for (name, *losses), rate in zip(rows[2:], names["RATE"].values(), strict=True):
        numbers = [float(x) for x in losses]
        assert tried[int(np.nanargmin(numbers))] == rate, name


def test_gensim_is_optional():
    """The one cell that imports it says what is missing, and goes on."""
    cells = [
        c.source for c in read(CHAPTER).cells if c.cell_type == "code" and "from gensim" in c.source
    ]
    assert len(cells) == 1
    assert "except ImportError" in cells[0]
