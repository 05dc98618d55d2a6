"""Chapter 4.1: what it builds equals the package's, and the numbers in its prose are true."""

import inspect

import numpy as np
import pytest
import torch
from chapters import built, prose

from minillm.numpy_nn import functional as by_hand
from minillm.torch_nn import functional as twin

CHAPTER = "04-1-softmax"
BUILT = built(CHAPTER)
FORWARD = ["logsumexp", "softmax", "log_softmax"]
BACKWARD = ["softmax_backward", "log_softmax_backward"]
CASES = [((5,), -1), ((2, 3, 7), -1), ((2, 3, 7), 0), ((2, 3, 7), 1), ((4, 1), -1)]
SCALES = [1.0, 1e3]  # the second overflows without the shift


def same_parameters(ours, packages):
    return list(inspect.signature(ours).parameters) == list(inspect.signature(packages).parameters)


def test_the_chapter_builds_these_and_no_others():
    names = {name for name, value in BUILT.items() if inspect.isfunction(value)}
    assert names == {*FORWARD, *BACKWARD, *(f"torch_{name}" for name in FORWARD)}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("name", FORWARD)
def test_forward_is_the_packages(name, shape, axis, scale):
    x = scale * np.random.default_rng(0).normal(size=shape)
    ours, packages = BUILT[name], getattr(by_hand, name)
    assert same_parameters(ours, packages)
    np.testing.assert_allclose(ours(x, axis), packages(x, axis), rtol=1e-14, atol=1e-300)
    assert ours(x.astype(np.float32), axis).dtype == np.float32


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("name", BACKWARD)
def test_backward_is_the_packages(name, shape, axis):
    rng = np.random.default_rng(1)
    dy, x = rng.normal(size=shape), rng.normal(size=shape)
    y = getattr(by_hand, name.removesuffix("_backward"))(x, axis)
    ours, packages = BUILT[name], getattr(by_hand, name)
    assert same_parameters(ours, packages)
    np.testing.assert_allclose(ours(dy, y, axis), packages(dy, y, axis), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("name", FORWARD)
def test_twin_and_its_gradient_are_the_packages(name, shape, axis, scale):
    rng = np.random.default_rng(2)
    x, results = scale * rng.normal(size=shape), []
    for f in (BUILT[f"torch_{name}"], getattr(twin, name)):
        leaf = torch.tensor(x, requires_grad=True)
        y = f(leaf, axis)
        y.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape))
        results.append((y.detach(), leaf.grad))
    for ours, packages in zip(*results, strict=True):
        torch.testing.assert_close(ours, packages, rtol=1e-13, atol=1e-15)


def test_numbers_on_paper():
    powers = np.exp([2.0, 1.0, 0.0])
    p = powers / powers.sum()
    J = np.diag(p) - np.outer(p, p)
    said = {
        "7.389": powers[0], "2.718": powers[1], "11.107": powers.sum(),
        "0.665": p[0], "0.245": p[1], "0.090": p[2],
        "0.223": J[0, 0], "0.163": -J[1, 0], "0.060": -J[2, 0],
    }  # fmt: skip
    text = prose(CHAPTER)
    for number, value in said.items():
        assert number in text
        assert f"{value:.3f}" == number


def test_numbers_about_floating_point():
    text = prose(CHAPTER)
    assert "e^{88.7}" in text
    assert np.isclose(np.log(np.finfo(np.float32).max), 88.7, atol=0.05)
    for dtype, gap in [(np.float32, 104), (np.float16, 18)]:  # the smallest gap that gives 0
        with np.errstate(under="ignore"):
            assert np.exp(dtype(-gap)) == 0
            assert np.exp(dtype(1 - gap)) > 0
