"""Chapter 2.4: what it builds equals the package's, PyTorch's layer, and the numbers it says are true."""

import datetime
import inspect
import math

import numpy as np
import pytest
import torch
from chapters import prose, read

from minillm import weights
from minillm.config import TransformerConfig
from minillm.numpy_nn import attention as by_hand
from minillm.numpy_nn import transformer
from minillm.numpy_nn.gradcheck import gradcheck
from minillm.numpy_nn.layers import LayerNorm, Linear, Module
from minillm.numpy_nn.transformer import FeedForward
from minillm.torch_nn import transformer as twins

CHAPTER = "02-4-decoder"
PARTS = {"Module": Module, "Linear": Linear, "LayerNorm": LayerNorm, "FeedForward": FeedForward}


def built():
    """As `chapters.built`, with the layers of earlier chapters that the classes are made of."""
    namespace = {"np": np, **PARTS}
    for cell in read(CHAPTER).cells:
        if "builds" in cell.metadata.get("tags", []):
            exec(compile(cell.source, f"{CHAPTER}, a built cell", "exec"), namespace)  # noqa: S102
    return namespace


BUILT = built()
MASKS = ["none", "causal", "padding", "all hidden"]


def draw(mask, dtype=np.float64, T=4, S=4):
    """Queries, keys, values and a gradient (B, H, T or S, K), and one kind of mask."""
    rng = np.random.default_rng(0)
    q, dy = rng.normal(size=(2, 2, 3, T, 5)).astype(dtype)
    k, v = rng.normal(size=(2, 2, 3, S, 5)).astype(dtype)
    padding = np.arange(S) < np.array([S, S - 2])[:, None, None, None]
    nobody = padding & np.array([True, False])[:, None, None, None]
    masks = [None, by_hand.causal_mask(T, S), padding, nobody]
    return q, k, v, dy, masks[MASKS.index(mask)]


def blocks(n_head=2):
    """The chapter's block, and the package's two, with the same random weights in float64."""
    config = TransformerConfig.original(
        vocab_size=9, context_length=9, n_layer=1, n_head=n_head, d_model=8, d_ff=16
    )
    ours = BUILT["DecoderBlock"](8, n_head, 16, rng=np.random.default_rng(1)).to(np.float64)
    rng = np.random.default_rng(2)
    for parameter in ours.parameters():
        parameter.data += 0.3 * rng.normal(size=parameter.data.shape)
    package = transformer.Block(config, cross=True).to(np.float64)
    twin = twins.Block(config, cross=True).double()
    weights.copy(ours, package)
    weights.copy(ours, twin)
    return ours, package, twin


def test_the_chapter_builds_these_and_no_others():
    made = {n for n, value in BUILT.items() if inspect.isfunction(value) or inspect.isclass(value)}
    functions = {"causal_mask", "attention", "attention_backward", "merge"}
    assert made - PARTS.keys() == functions | {"Attention", "DecoderBlock"}


@pytest.mark.parametrize(("T", "S"), [(1, None), (4, None), (2, 5), (1, 7)])
def test_the_mask_is_the_packages(T, S):
    np.testing.assert_array_equal(BUILT["causal_mask"](T, S), by_hand.causal_mask(T, S))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("S", [4, 6])
def test_attention_and_its_gradients_are_the_packages(mask, dtype, tolerance, S):
    q, k, v, dy, mask = draw(mask, dtype, S=S)
    y, cache = BUILT["attention"](q, k, v, mask)
    expected, its_cache = by_hand.attention(q, k, v, mask)
    pairs = [(y, expected)]
    gradients = BUILT["attention_backward"](dy, cache), by_hand.attention_backward(dy, its_cache)
    for ours, packages in [*pairs, *zip(*gradients, strict=True)]:
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, packages, rtol=0, atol=tolerance)


@pytest.mark.parametrize("n_head", [1, 2, 4])
def test_the_block_is_the_packages_and_its_twins(n_head):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 3, 5, 8))
    memory = rng.normal(size=(3, 7, 8))
    mask = np.arange(7) < np.array([7, 4, 1])[:, None, None, None]
    ours, package, twin = blocks(n_head)
    y, cache = ours.forward(x, memory, mask)
    expected, its_cache = package.forward(x, memory, source_mask=mask, causal=True)
    dx, dmemory = ours.backward(dy, cache)
    expected_dx, expected_dmemory, _ = package.backward(dy, its_cache)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, memory)]
    twin(*leaves, source_mask=torch.tensor(mask), causal=True).backward(torch.tensor(dy))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
    for found, packages, leaf in zip((dx, dmemory), (expected_dx, expected_dmemory), leaves):
        np.testing.assert_allclose(found, packages, rtol=0, atol=1e-11)
        np.testing.assert_allclose(found, leaf.grad, rtol=0, atol=1e-11)
    theirs, twins_own = dict(package.named_parameters()), dict(twin.named_parameters())
    for name, parameter in ours.named_parameters():
        np.testing.assert_allclose(parameter.grad, theirs[name].grad, rtol=0, atol=1e-11)
        np.testing.assert_allclose(parameter.grad, twins_own[name].grad, rtol=0, atol=1e-11)


def test_the_block_passes_the_gradient_check():
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 1, 3, 8))
    memory = rng.normal(size=(1, 4, 8))
    block, *_ = blocks()
    dx, dmemory = block.backward(dy, block.forward(x, memory)[1])
    for value, gradient in [(x, dx), (memory, dmemory)]:
        gradcheck(lambda _: (block.forward(x, memory)[0] * dy).sum(), value, gradient)


def test_numbers_on_paper():
    text = prose(CHAPTER)
    root = math.sqrt(2) * math.log(3)
    keys, values = np.eye(2), 4 * np.eye(2)
    for query, weight, answer in [
        ((0, root), (1 / 4, 3 / 4), (1, 3)),
        ((root, 0), (3 / 4, 1 / 4), (3, 1)),
    ]:
        y, (w, *_) = by_hand.attention(np.array([query]), keys, values)
        np.testing.assert_allclose(w, [weight])
        np.testing.assert_allclose(y, [answer])
    n_days = (datetime.date(2100, 1, 1) - datetime.date(1900, 1, 1)).days
    assert n_days - n_days // 10 == 65745 and "65,745" in text
    assert round(math.log2(65745)) == 16 and "16\\,k" in text
    assert f"{math.log(10):.3f}" == "2.303" and "2.303" in text
