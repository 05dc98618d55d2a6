"""Chapter 2.3: what it builds equals the package's, and the numbers in its prose are true."""

import inspect

import numpy as np
import pytest
from chapters import built, prose

from minillm.config import TransformerConfig
from minillm.numpy_nn import attention as package
from minillm.numpy_nn.layers import LayerNorm
from minillm.numpy_nn.transformer import Block

CHAPTER = "02-3-encoder"
BUILT = built(CHAPTER)
TOLERANCES = {np.float32: 1e-5, np.float64: 1e-13}
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def draw(*shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def masks(kind, B, T, S):
    """None, or a mask (B, T, S) of some places, or one whose first row hides everything."""
    mask = np.random.default_rng(7).random((B, T, S)) < 0.6
    mask[:, 0] = kind == "some"
    return None if kind == "none" else mask


def test_the_chapter_builds_these_and_no_others():
    functions = {name for name, value in BUILT.items() if inspect.isfunction(value)}
    assert functions == {
        "attention", "attention_backward", "split", "merge", "layer_norm", "layer_norm_backward",
        "feed_forward_backward", "add", "add_backward",
    }  # fmt: skip
    classes = {n for n, v in BUILT.items() if inspect.isclass(v) and v.__module__ == "builtins"}
    assert classes <= {"MultiHeadAttention", "EncoderBlock"}


@dtypes
@pytest.mark.parametrize("kind", ["none", "some", "empty row"])
@pytest.mark.parametrize("scale", [1, 1e4])
def test_attention_and_its_gradients_are_the_packages(dtype, kind, scale):
    q, dy = draw(2, 3, 4, dtype=dtype) * dtype(scale), draw(2, 3, 4, dtype=dtype, seed=1)
    k, v = draw(2, 2, 5, 4, dtype=dtype, seed=2)
    mask, tolerance = masks(kind, 2, 3, 5), TOLERANCES[dtype] * (100 if scale > 1 else 1)
    ours, cache = BUILT["attention"](q, k, v, mask)
    theirs, its_cache = package.attention(q, k, v, mask)
    pairs = [(ours, theirs)]
    pairs += zip(
        BUILT["attention_backward"](dy, cache), package.attention_backward(dy, its_cache),
        strict=True,
    )  # fmt: skip
    for a, b in pairs:
        assert a.dtype == dtype
        size = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * size)


def copy(source, target):
    """The weights of one layer into another, by name."""
    values = dict(source.named_parameters())
    for name, p in target.named_parameters():
        name = name.replace("feed_forward.", "")
        p.data[...] = np.random.default_rng(len(name)).normal(size=p.data.shape) * 0.5
        values[name].data[...] = p.data
    assert len(values) == len(dict(target.named_parameters()))


def same_gradients(ours, theirs):
    values = dict(ours.named_parameters())
    for name, p in theirs.named_parameters():
        grad = values[name.replace("feed_forward.", "")].grad
        np.testing.assert_allclose(grad, p.grad, rtol=0, atol=1e-10, err_msg=name)


def same_with_a_mask(ours, theirs, kind, *, atol):
    """Assert that layers with the same weights give the same, forward and backward."""
    copy(ours, theirs)
    x, dy = draw(2, 2, 5, 8, dtype=np.float64)
    mask = masks(kind, 2, 5, 5)
    mask = None if mask is None else mask[:, None]
    y, cache = ours.forward(x, mask)
    expected, its_cache = theirs.forward(x, mask=mask)
    np.testing.assert_allclose(y, expected, atol=1e-12)
    dx, *_ = theirs.backward(dy, its_cache)
    np.testing.assert_allclose(ours.backward(dy, cache), dx, atol=atol)
    same_gradients(ours, theirs)


@pytest.mark.parametrize("n_head", [1, 2, 4])
@pytest.mark.parametrize("kind", ["none", "some", "empty row"])
def test_many_heads_are_the_packages(n_head, kind):
    ours = BUILT["MultiHeadAttention"](8, n_head).to(np.float64)
    theirs = package.MultiHeadAttention(8, n_head).to(np.float64)
    same_with_a_mask(ours, theirs, kind, atol=1e-12)


@dtypes
@pytest.mark.parametrize("eps", [1e-5, 1e-12])
def test_layer_norm_is_the_packages(dtype, eps):
    layer = LayerNorm(6, eps=eps).to(dtype)
    layer.weight.data[...], layer.bias.data[...] = draw(2, 6, dtype=dtype)
    x, dy = draw(2, 3, 4, 6, dtype=dtype, seed=1)
    y, cache = BUILT["layer_norm"](x, layer.weight.data, layer.bias.data, eps)
    expected, its_cache = layer.forward(x)
    np.testing.assert_allclose(y, expected, atol=TOLERANCES[dtype])
    grads = BUILT["layer_norm_backward"](dy, cache)
    dx = layer.backward(dy, its_cache)
    for ours, theirs in zip(grads, (dx, layer.weight.grad, layer.bias.grad), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=10 * TOLERANCES[dtype])


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("kind", ["none", "some", "empty row"])
def test_the_block_is_the_packages(norm_first, kind):
    config = TransformerConfig(
        vocab_size=2, context_length=5, n_layer=1, n_head=2, d_model=8, d_ff=12,
        activation="relu", norm_first=norm_first,
    )  # fmt: skip
    ours = BUILT["EncoderBlock"](8, 2, 12, norm_first=norm_first).to(np.float64)
    theirs = Block(config).to(np.float64)
    same_with_a_mask(ours, theirs, kind, atol=1e-11)


def test_numbers_on_paper():
    key = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    y, (weights, *_) = BUILT["attention"](np.sqrt(2) * np.log([[6.0, 3.0]]), key, 10 * key)
    np.testing.assert_allclose(weights, [[0.6, 0.3, 0.1]])
    np.testing.assert_allclose(y, [[6, 3]])
    text = prose(CHAPTER)
    for said in ("$0.6$, $0.3$, $0.1$", "(6, 3)", "$6 : 3 : 1$"):
        assert said in text


def test_numbers_that_are_reckoned_in_the_prose():
    text = prose(CHAPTER)
    gate = [1 / (1 + np.exp(-b)) for b in (1, 5)]
    assert f"{gate[0]:.2f}" == "0.73" and "$\\sigma(1) = 0.73$" in text
    assert f"{gate[0] ** 32:.0e}" == "4e-05" and "$0.73^{32} = 4 \\cdot 10^{-5}$" in text
    assert f"{gate[1] ** 32:.2f}" == "0.81" and "$\\sigma(5)^{32} = 0.81$" in text
    growth = np.prod([1 + 0.5 / (1 + layer / 2) for layer in range(47)])
    np.testing.assert_allclose(growth, 24.5)  # what the pre-norm stack is expected to give, squared
    assert "$\\sqrt{24.5}$" in text
    w, distance = 10, 1000
    assert f"{-(-distance // w) * (2 * w + 1):,}" == "2,100" and "$2{,}100" in text
