"""Chapter 4.2: what it builds equals the package's, and the numbers in its prose are true."""

import inspect

import numpy as np
import pytest
import torch
from chapters import built, prose
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import metrics
from minillm.numpy_nn import functional as by_hand
from minillm.torch_nn import functional as twin

CHAPTER = "04-2-cross-entropy"
BUILT = built(CHAPTER)
# Built in the chapter before; this one imports them.
BUILT |= {"log_softmax": by_hand.log_softmax, "logsumexp": by_hand.logsumexp}
OPTIONS = [
    {},
    {"label_smoothing": 0.1},
    {"z_loss": 0.01},
    {"label_smoothing": 0.3, "z_loss": 1e-4, "ignore_index": 2},
]
counts = st.lists(st.integers(0, 5), min_size=4, max_size=4).filter(any)


def batch(options, dtype=np.float64, leading=(2, 5), V=7):
    """Logits (..., V) far apart and targets (...), of which the first counts and the last does not."""
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(*leading, V)) * 5).astype(dtype)
    targets = rng.integers(V, size=leading)
    targets[..., 0], targets[..., -1] = 3, options.get("ignore_index", -100)
    return logits, targets


def test_the_chapter_builds_these_and_no_others():
    names = {name for name, value in BUILT.items() if inspect.isfunction(value)}
    losses = {"cross_entropy", "cross_entropy_backward", "torch_cross_entropy"}
    measures = {"entropy", "kl_divergence", "perplexity", "bits_per_byte"}
    assert names - {"log_softmax", "logsumexp"} == losses | measures


@pytest.mark.parametrize("name", ["cross_entropy", "cross_entropy_backward"])
def test_arguments_are_the_packages(name):
    assert inspect.signature(BUILT[name]) == inspect.signature(getattr(by_hand, name))
    if name == "cross_entropy":
        assert inspect.signature(BUILT[f"torch_{name}"]) == inspect.signature(twin.cross_entropy)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-13)])
@pytest.mark.parametrize("leading", [(4,), (2, 5), (2, 3, 4)], ids=str)
def test_loss_and_gradient_are_the_packages(options, dtype, tolerance, leading):
    logits, targets = batch(options, dtype, leading)
    loss, cache = BUILT["cross_entropy"](logits, targets, **options)
    expected, its_cache = by_hand.cross_entropy(logits, targets, **options)
    np.testing.assert_allclose(loss, expected, rtol=tolerance)
    ours = BUILT["cross_entropy_backward"](cache, scale=0.5)
    assert loss.dtype == ours.dtype == dtype
    expected = by_hand.cross_entropy_backward(its_cache, scale=0.5)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_twin_and_its_gradient_are_the_packages(options):
    logits, targets = batch(options)
    results = []
    for f in (BUILT["torch_cross_entropy"], twin.cross_entropy):
        z = torch.tensor(logits, requires_grad=True)
        loss = f(z, torch.tensor(targets), **options)
        loss.backward()
        results.append((loss.detach(), z.grad))
    for ours, packages in zip(*results, strict=True):
        torch.testing.assert_close(ours, packages, rtol=1e-13, atol=1e-15)


@settings(deadline=None, max_examples=50)
@given(counts, counts)
def test_entropy_and_divergence_are_the_packages(y, p):
    y, p = np.array(y) / sum(y), np.array(p) / sum(p)
    for ours, packages in [
        (BUILT["entropy"](y), metrics.entropy(y)),
        (BUILT["kl_divergence"](y, p), metrics.kl_divergence(y, p)),
    ]:
        np.testing.assert_allclose(ours, packages, atol=1e-14)


def test_entropy_and_divergence_of_many_distributions():
    y, p = np.random.default_rng(2).dirichlet(np.ones(5), size=(2, 3, 4))
    np.testing.assert_allclose(BUILT["entropy"](y), metrics.entropy(y))
    np.testing.assert_allclose(BUILT["kl_divergence"](y, p), metrics.kl_divergence(y, p))


def test_perplexity_and_bits_per_byte_are_the_packages():
    losses = np.array([0.0, 0.7, 4.2])
    np.testing.assert_allclose(BUILT["perplexity"](losses), metrics.perplexity(losses))
    np.testing.assert_allclose(BUILT["bits_per_byte"](123.4, 56), metrics.bits_per_byte(123.4, 56))


def test_numbers_on_paper():
    third = np.log2(3)
    said = {
        "1.585": third, "6.34": 4 * third, "1.75": (2 + 1 + 2 + 2) / 4,
        "1.4427": 1 / np.log(2), "0.933": 0.9 + 0.1 / 3, "0.0015": 0.1 / 65, "0.6931": np.log(2), "18.1": 2 ** np.log(65),
    }  # fmt: skip
    text = prose(CHAPTER)
    for number, value in said.items():
        assert number in text
        assert f"{value:.{len(number.split('.')[1])}f}" == number
