"""The formulas: by hand, their twins, PyTorch's own functions and finite differences all agree."""

import inspect
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.numpy_nn import functional as by_hand
from minillm.numpy_nn.gradcheck import gradcheck, max_error
from minillm.torch_nn import functional as twin

SEEDS = st.integers(0, 2**32 - 1)
LEADING = st.lists(st.integers(1, 3), max_size=3).map(tuple)  # any number of leading axes
SCALES = st.sampled_from([1e-3, 1.0, 10.0])
properties = settings(deadline=None, max_examples=60, derandomize=True, database=None)


def autograd(f, *inputs, dy=None):
    """f(*inputs) and its gradients by autograd, with `dy` for the gradient of the output."""
    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    y = f(*leaves)
    y.backward(torch.ones_like(y) if dy is None else torch.tensor(dy))
    return y.detach().numpy(), *[leaf.grad.numpy() for leaf in leaves]


# Functions of one array: what is tested, by name, and PyTorch's own.
UNARY = {
    "softmax": lambda x, axis: torch.softmax(x, axis),
    "log_softmax": lambda x, axis: torch.log_softmax(x, axis),
    "tanh": lambda x, axis: torch.tanh(x),
    "sigmoid": lambda x, axis: torch.sigmoid(x),
}


@pytest.mark.parametrize("name", UNARY)
@properties
@given(seed=SEEDS, leading=LEADING, size=st.integers(1, 6), scale=SCALES, data=st.data())
def test_function_of_one_array(name, seed, leading, size, scale, data):
    rng = np.random.default_rng(seed)
    x = scale * rng.normal(size=(*leading, size))
    dy = rng.normal(size=x.shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1), label="axis")
    options = {"axis": axis} if name.endswith("softmax") else {}

    y = getattr(by_hand, name)(x, **options)
    dx = getattr(by_hand, f"{name}_backward")(dy, y, **options)

    for other in (lambda x: getattr(twin, name)(x, **options), lambda x: UNARY[name](x, axis)):
        other_y, other_dx = autograd(other, x, dy=dy)
        assert max_error(y, other_y) < 1e-10
        assert max_error(dx, other_dx) < 1e-10
    gradcheck(lambda x: (getattr(by_hand, name)(x, **options) * dy).sum(), x, dx)


# Activations, which give back a cache besides: what is tested, by name, and PyTorch's own.
ACTIVATIONS = {
    "relu": torch.relu,
    "relu2": lambda x: torch.relu(x) ** 2,
    "gelu": lambda x: oracle.gelu(x, approximate="tanh"),
    "gelu_exact": oracle.gelu,
    "silu": oracle.silu,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@properties
@given(
    seed=SEEDS,
    shape=st.lists(st.integers(0, 3), max_size=4).map(tuple),  # scalars and empty batches too
    scale=SCALES,
)
def test_activation(name, seed, shape, scale):
    rng = np.random.default_rng(seed)
    x = np.asarray(scale * rng.normal(size=shape))
    x = np.where(np.abs(x) < 1e-4, 1e-4, x)  # away from the kink at 0
    dy = np.asarray(rng.normal(size=shape))

    y, cache = getattr(by_hand, name)(x)
    dx = getattr(by_hand, f"{name}_backward")(dy, cache)

    assert max_error(dx, getattr(by_hand, f"{name}_backward")(dy, cache)) == 0  # twice
    for other in (getattr(twin, name), ACTIVATIONS[name]):
        other_y, other_dx = autograd(other, x, dy=dy)
        assert max_error(y, other_y) < 1e-10
        assert max_error(dx, other_dx) < 1e-10
    gradcheck(lambda x: (getattr(by_hand, name)(x)[0] * dy).sum(), x, np.asarray(dx))


@properties
@given(seed=SEEDS, shape=st.lists(st.integers(0, 3), max_size=3).map(tuple), scale=SCALES)
def test_swiglu(seed, shape, scale):
    rng = np.random.default_rng(seed)
    gate, up, dy = (np.asarray(scale * rng.normal(size=shape)) for _ in range(3))
    y, cache = by_hand.swiglu(gate, up)
    gradients = by_hand.swiglu_backward(dy, cache)
    for other in (twin.swiglu, lambda gate, up: oracle.silu(gate) * up):
        for a, b in zip((y, *gradients), autograd(other, gate, up, dy=dy), strict=True):
            assert max_error(a, b) < 1e-10
    for array, gradient in zip((gate, up), gradients, strict=True):
        gradcheck(lambda _: (by_hand.swiglu(gate, up)[0] * dy).sum(), array, np.asarray(gradient))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float32, 2e-7), (np.float64, 1e-14)], ids=["float32", "float64"]
)
def test_normal_distribution(dtype, tolerance):
    """The exact GELU against the standard library's erfc, one number at a time."""
    x = np.linspace(-40, 40, 20_001).astype(dtype)
    expected = [v * math.erfc(-v / math.sqrt(2)) / 2 for v in x.tolist()]
    y, _ = by_hand.gelu_exact(x)
    assert y.dtype == dtype
    assert max_error(y, expected) < tolerance
    assert max_error(twin.gelu_exact(torch.tensor(x)).numpy(), expected) < tolerance
    assert 2e-4 < np.abs(by_hand.gelu(x)[0] - y).max() < 5e-4  # as its docstring says


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", *ACTIVATIONS])
def test_activation_far_from_zero(name, dtype):
    """Neither overflow, which would warn, nor NaN; and NaN alone gives NaN."""
    x = np.array([-1e9, -1e4, -90.0, 0.0, 90.0, 1e4, 1e9, np.nan], dtype)
    result = getattr(by_hand, name)(x)
    y, cache = result if name in ACTIVATIONS else (result, result)
    dx = getattr(by_hand, f"{name}_backward")(np.ones_like(x), cache)
    other_y, other_dx = autograd(getattr(twin, name), x)
    np.testing.assert_allclose(y, other_y, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(dx[:-1], other_dx[:-1], rtol=1e-6, atol=1e-6)
    assert np.isnan(y).tolist() == np.isnan(x).tolist()


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("half", ["numpy", "torch"])
def test_dropout(half, p):
    if half == "numpy":
        f, x, rng = by_hand, np.ones((100, 200), np.float32), np.random.default_rng(0)
    else:
        f, x, rng = twin, torch.ones(100, 200), torch.Generator().manual_seed(0)
    mask = np.asarray(f.dropout_mask(x, p, rng))
    assert mask.shape == x.shape and mask.dtype == np.float32
    assert set(np.unique(mask).tolist()) == ({0.0, float(np.float32(1 / (1 - p)))} if p else {1.0})
    assert abs(mask.mean() - 1) <= 6 * np.sqrt(p / (1 - p) / mask.size)  # six standard deviations
    assert (mask != np.asarray(f.dropout_mask(x, p, rng))).any() == (p > 0)  # drawn anew


def test_dropout_uses_the_mask(monkeypatch):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    mask = by_hand.dropout_mask(x, 0.5, rng)
    monkeypatch.setattr(by_hand, "dropout_mask", lambda like, p, rng: mask)
    monkeypatch.setattr(twin, "dropout_mask", lambda like, p, rng: torch.tensor(mask))
    y, cache = by_hand.dropout(x, 0.5, rng)
    dx = by_hand.dropout_backward(dy, cache)
    other_y, other_dx = autograd(lambda x: twin.dropout(x, 0.5, torch.Generator()), x, dy=dy)
    assert (y == x * mask).all() and (y == other_y).all()
    assert (dx == dy * mask).all() and (dx == other_dx).all()


def test_no_dropout():
    """Without a generator, or with p = 0, nothing happens and nothing is drawn."""
    x, rng = np.ones(3), np.random.default_rng(0)
    before = rng.bit_generator.state
    for p, given_rng in ((0.0, rng), (0.5, None)):
        y, mask = by_hand.dropout(x, p, given_rng)
        assert y is x and mask is None
        assert by_hand.dropout_backward(x, mask) is x
    assert rng.bit_generator.state == before
    x = torch.ones(3)
    assert twin.dropout(x, 0.0, torch.Generator()) is x
    assert twin.dropout(x, 0.5, None) is x


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # the compiler's
def test_dropout_in_a_compiled_graph():
    """A compiler cannot draw from our generator: it leaves the draw as it is and goes on behind."""

    def f(x, rng):
        return (twin.gelu(twin.dropout(twin.gelu(x), 0.5, rng)) ** 2).sum()

    def run(f):
        x = torch.linspace(-3, 3, 50, requires_grad=True)
        y = f(x, torch.Generator().manual_seed(0))
        y.backward()
        return y, x.grad

    torch._dynamo.reset()
    plain, compiled = run(f), run(torch.compile(f, backend="eager"))
    assert all(torch.equal(a, b) for a, b in zip(plain, compiled, strict=True))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2  # before and behind


@properties
@given(
    seed=SEEDS,
    leading=LEADING,
    T=st.integers(1, 5),
    K=st.sampled_from([2, 4, 10]),
    base=st.sampled_from([1.0, 100.0, 10000.0]),
)
def test_rotation(seed, leading, T, K, base):
    rng = np.random.default_rng(seed)
    positions = rng.integers(0, 5000, size=(*leading, T))
    x, dy = rng.normal(size=(2, *leading, T, K))
    cos, sin = by_hand.rotary_tables(positions, K, base, dtype=np.float64)
    y = by_hand.rotate(x, cos, sin)
    dx = by_hand.rotate_backward(dy, cos, sin)

    twins = twin.rotary_tables(torch.tensor(positions), K, base, dtype=torch.float64)
    assert cos.shape == sin.shape == (*leading, T, K // 2)
    assert max_error(np.stack([cos, sin]), torch.stack(twins).numpy()) < 1e-10
    other_y, other_dx = autograd(lambda x: twin.rotate(x, *twins), x, dy=dy)
    assert max_error(y, other_y) < 1e-10
    assert max_error(dx, other_dx) < 1e-10
    gradcheck(lambda x: (by_hand.rotate(x, cos, sin) * dy).sum(), x, dx)

    # As complex numbers: a turn is a product with exp(i angle).
    turns = np.exp(1j * positions[..., None] * base ** (-np.arange(0, K, 2) / K))
    turned = (x[..., : K // 2] + 1j * x[..., K // 2 :]) * turns
    assert max_error(y, np.concatenate([turned.real, turned.imag], -1)) < 1e-10


def test_rotation_is_that_of_transformers():
    from transformers.models.llama import modeling_llama as llama

    config = llama.LlamaConfig(
        hidden_size=32,
        num_attention_heads=4,
        rope_parameters={"rope_type": "default", "rope_theta": 5e5},
    )
    positions = torch.tensor([[0, 1, 7, 500], [3, 4, 5, 6]])  # (B, T)
    q, k = torch.randn(2, 2, 4, 4, 8, generator=torch.Generator().manual_seed(0))  # (B, H, T, K)
    tables = llama.LlamaRotaryEmbedding(config)(q, positions)
    expected = llama.apply_rotary_pos_emb(q, k, *tables)
    cos, sin = (table[:, None] for table in twin.rotary_tables(positions, 8, 5e5))
    for x, y in zip((q, k), expected, strict=True):
        assert max_error(twin.rotate(x, cos, sin), y) < 1e-4  # theirs finds angles in float32


def test_rotated_vectors_see_distances():
    """The product of a rotated query and key depends on how far apart they are, not on where."""
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 1, 8))

    def product(at, distance):
        turned = [
            by_hand.rotate(x, *by_hand.rotary_tables(np.array([place]), 8, dtype=np.float64))
            for x, place in ((q, at + distance), (k, at))
        ]
        return (turned[0] * turned[1]).sum()

    assert max_error(product(0, 0), (q * k).sum()) < 1e-12
    for distance in (1, 2, 30):
        assert max_error(product(0, distance), product(1000, distance)) < 1e-10
        assert abs(product(0, distance) - product(0, 0)) > 1e-3


@pytest.mark.parametrize("positions", [[0, 1, 2], [[5, 1_000_000]], 7], ids=str)
@pytest.mark.parametrize("d_model", [2, 6])
def test_sinusoidal(positions, d_model):
    positions = np.array(positions)
    table = by_hand.sinusoidal(positions, d_model, dtype=np.float64)
    assert table.shape == (*positions.shape, d_model)
    for place in np.ndindex(positions.shape):
        for i in range(d_model // 2):
            angle = int(positions[place]) / 10000 ** (2 * i / d_model)
            assert np.isclose(table[place][2 * i], math.sin(angle), atol=1e-9)
            assert np.isclose(table[place][2 * i + 1], math.cos(angle), atol=1e-9)
    theirs = twin.sinusoidal(torch.tensor(positions), d_model, dtype=torch.float64)
    assert max_error(table, theirs) < 1e-9
    for half, array in ((by_hand, np.asarray), (twin, torch.tensor)):
        in_float32 = np.asarray(half.sinusoidal(array(positions), d_model))
        assert in_float32.dtype == np.float32  # rounded at the end, so far positions are right too
        assert np.abs(in_float32 - table).max() < 1e-7


@properties
@given(seed=SEEDS, leading=LEADING, size=st.integers(1, 6), scale=SCALES, data=st.data())
def test_logsumexp(seed, leading, size, scale, data):
    x = scale * np.random.default_rng(seed).normal(size=(*leading, size))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1), label="axis")
    y = by_hand.logsumexp(x, axis=axis)
    for f in (twin.logsumexp, torch.logsumexp):
        other_y, other_dx = autograd(lambda x, f=f: f(x, axis), x)
        assert max_error(y, other_y) < 1e-10
        assert max_error(by_hand.softmax(x, axis=axis), other_dx) < 1e-10  # its gradient


@pytest.mark.parametrize("row", [[-np.inf, -np.inf], [0.0, np.inf], [-np.inf, 3.0], [np.nan, 0.0]])
def test_logsumexp_without_a_finite_largest(row):
    x = np.array([row, [1.0, 2.0], [1e4, -np.inf]], np.float32)
    for y in (by_hand.logsumexp(x), twin.logsumexp(torch.tensor(x)).numpy()):
        np.testing.assert_allclose(y, torch.logsumexp(torch.tensor(x), -1).numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.uint16])
def test_ids_of_any_integer_dtype(dtype):
    """In uint8, -100 is 156: a target like any other, and 200 is less than 300."""
    ids = torch.tensor([[156, 3, 200]]).to(dtype)
    logits = torch.arange(300.0).repeat(1, 3, 1)
    expected = oracle.cross_entropy(logits[0], ids[0].long())
    torch.testing.assert_close(twin.cross_entropy(logits, ids), expected)
    numpy_loss, _ = by_hand.cross_entropy(logits.numpy(), ids.numpy())
    assert max_error(np.array(numpy_loss), expected.numpy()) < 1e-5
    table = torch.randn(300, 2)
    torch.testing.assert_close(twin.embedding(ids, table), table[ids.long()])


@properties
@given(
    seed=SEEDS,
    leading=LEADING,
    vocab_size=st.integers(1, 7),
    scale=st.sampled_from([1e-3, 1.0, 10.0, 1e4]),
    ignore_index=st.sampled_from([-100, 0]),
    label_smoothing=st.sampled_from([0.0, 0.1, 0.9]),
    z_loss=st.sampled_from([0.0, 1e-4, 0.5]),
)
def test_cross_entropy(seed, leading, vocab_size, scale, ignore_index, label_smoothing, z_loss):
    rng = np.random.default_rng(seed)
    logits = scale * rng.normal(size=(*leading, vocab_size))
    targets = np.where(
        rng.random(leading) < 0.3, ignore_index, rng.integers(vocab_size, size=leading)
    )
    options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    if (targets == ignore_index).all():
        for half, array in ((by_hand, np.asarray), (twin, torch.as_tensor)):
            with pytest.raises(ValueError, match="no position counts"):
                half.cross_entropy(array(logits), array(targets), **options)
        return

    def own_of_torch(logits):
        flat, right = logits.reshape(-1, vocab_size), torch.as_tensor(targets).reshape(-1)
        log_z = torch.logsumexp(flat, -1)[right != ignore_index]
        return oracle.cross_entropy(flat, right, **options) + z_loss * (log_z**2).mean()

    def with_z_loss(half, logits, targets):
        return half.cross_entropy(logits, targets, **options, z_loss=z_loss)

    loss, cache = with_z_loss(by_hand, logits, targets)
    dlogits = by_hand.cross_entropy_backward(cache)
    half_as_much = by_hand.cross_entropy_backward(cache, scale=0.5)

    assert np.isfinite(loss) and np.isfinite(dlogits).all()
    assert max_error(half_as_much, dlogits / 2) < 1e-15
    assert not dlogits[targets == ignore_index].any()
    if not z_loss:  # p - y sums to zero at each position
        assert np.abs(dlogits.sum(-1)).max() < 1e-12
    for other in (lambda x: with_z_loss(twin, x, torch.as_tensor(targets)), own_of_torch):
        other_loss, other_dlogits = autograd(other, logits)
        assert max_error(loss, other_loss) < 1e-10
        assert max_error(dlogits, other_dlogits) < 1e-10
    if scale <= 10:
        gradcheck(lambda x: with_z_loss(by_hand, x, targets)[0], logits, dlogits)


@properties
@given(
    seed=SEEDS,
    leading=st.lists(st.integers(0, 3), max_size=3).map(tuple),  # empty batches too
    d_in=st.integers(1, 4),
    d_out=st.integers(1, 4),
)
def test_linear(seed, leading, d_in, d_out):
    rng = np.random.default_rng(seed)
    x, weight, bias = (rng.normal(size=s) for s in ((*leading, d_in), (d_out, d_in), (d_out,)))
    dy = rng.normal(size=(*leading, d_out))
    ours = by_hand.linear(x, weight, bias), *by_hand.linear_backward(dy, x, weight)
    for f in (twin.linear, oracle.linear):
        for a, b in zip(ours, autograd(f, x, weight, bias, dy=dy), strict=True):
            assert max_error(a, b) < 1e-10
    assert max_error(by_hand.linear(x, weight), ours[0] - bias) < 1e-12
    arrays = (x, weight, bias)
    for array, gradient in zip(arrays, ours[1:], strict=True):
        gradcheck(lambda _: (by_hand.linear(*arrays) * dy).sum(), array, gradient)


def test_linear_of_one_vector_and_a_large_matrix():
    """Which goes a way of its own."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((by_hand.IN_CACHE // 100, 101))
    x, bias = rng.standard_normal((2, 1, 101)), rng.standard_normal(len(weight))
    expected = by_hand.linear(x, weight, bias)
    for row in (0, 1):
        y = by_hand.linear(x[row], weight, bias)
        np.testing.assert_allclose(y, expected[row], rtol=1e-12, atol=1e-12)
        assert y.shape == (1, len(weight))
    np.testing.assert_allclose(by_hand.linear(x[0, 0], weight), (expected - bias)[0, 0], atol=1e-12)


@properties
@given(
    seed=SEEDS,
    leading=st.lists(st.integers(0, 4), max_size=3).map(tuple),
    vocab_size=st.integers(1, 5),
    width=st.integers(1, 3),
    dtype=st.sampled_from([np.uint8, np.int32, np.int64]),
)
def test_embedding(seed, leading, vocab_size, width, dtype):
    rng = np.random.default_rng(seed)
    ids = rng.integers(vocab_size, size=leading, dtype=dtype)
    weight = rng.normal(size=(vocab_size, width))
    dy = rng.normal(size=(*leading, width))
    y = by_hand.embedding(ids, weight)
    dweight = by_hand.embedding_backward(dy, ids, vocab_size)
    long = torch.tensor(ids).long()
    for f in (lambda w: twin.embedding(torch.tensor(ids), w), lambda w: oracle.embedding(long, w)):
        other_y, other_dweight = autograd(f, weight, dy=dy)
        assert max_error(y, other_y) == 0
        assert max_error(dweight, other_dweight) < 1e-10
    gradcheck(lambda w: (by_hand.embedding(ids, w) * dy).sum(), weight, dweight)


def test_small_integers_as_ids_do_not_overflow():
    ids = np.array([200, 3, 200], dtype=np.uint8)  # times the width they would leave uint8
    dweight = by_hand.embedding_backward(np.ones((3, 50)), ids, 256)
    assert dweight.sum(-1).nonzero()[0].tolist() == [3, 200]
    assert (dweight[200] == 2).all() and (dweight[3] == 1).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_stay(dtype):
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=s).astype(dtype) for s in ((2, 3, 4), (5, 4), (5,)))
    ids = rng.integers(5, size=(2, 3))
    logits = by_hand.linear(x, weight, bias)
    loss, cache = by_hand.cross_entropy(logits, ids, label_smoothing=0.1, z_loss=0.1)
    dlogits = by_hand.cross_entropy_backward(cache, scale=0.5)
    y = by_hand.softmax(x)
    turns = by_hand.rotary_tables(np.arange(3), 4, dtype=dtype)
    results = [
        *turns, by_hand.rotate(x, *turns), by_hand.rotate_backward(x, *turns),
        by_hand.sinusoidal(np.arange(3), 4, dtype=dtype), by_hand.sigmoid(x),
        by_hand.sigmoid_backward(x, y), by_hand.dropout(x, 0.3, rng)[0],
        by_hand.dropout_mask(x, 0.3, rng), by_hand.swiglu(x, x)[0],
        *by_hand.swiglu_backward(x, by_hand.swiglu(x, x)[1]),
        logits, loss, dlogits, y, by_hand.logsumexp(x), by_hand.log_softmax(x), by_hand.tanh(x),
        by_hand.softmax_backward(x, y), by_hand.log_softmax_backward(x, y),
        by_hand.tanh_backward(x, y), by_hand.embedding(ids, weight),
        by_hand.embedding_backward(x, ids, 5), *by_hand.linear_backward(dlogits, x, weight),
    ]  # fmt: skip
    for name in ACTIVATIONS:
        activation, cache = getattr(by_hand, name)(x)
        results += [activation, getattr(by_hand, f"{name}_backward")(x, cache)]
    assert [r.dtype for r in results] == [np.dtype(dtype)] * len(results)
    twins = torch.tensor(logits), torch.tensor(ids)
    assert twin.cross_entropy(*twins, label_smoothing=0.1, z_loss=0.1).dtype == twins[0].dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("at", [-1e4, 1e4])
def test_extreme_logits(dtype, at):
    """A shift changes nothing: neither overflow nor lost digits far from zero."""
    logits = np.array([[0.0, 1.0, 2.5], [3.0, 3.0, -2.0]], dtype)
    targets = np.array([2, 0])
    near, near_cache = by_hand.cross_entropy(logits, targets)
    far, far_cache = by_hand.cross_entropy(logits + dtype(at), targets)
    tol = 4 * float(np.spacing(np.abs(dtype(at))))  # what adding 1e4 itself rounds away
    assert max_error(near, far) < tol
    assert max_error(*map(by_hand.cross_entropy_backward, (near_cache, far_cache))) < tol
    assert (
        max_error(twin.cross_entropy(*map(torch.tensor, (logits + dtype(at), targets))), far) < tol
    )

    both = np.stack([logits[0], logits[0] + dtype(at)])  # each row has its own largest entry
    for half, array in ((by_hand, np.asarray), (twin, torch.tensor)):
        for f in (half.softmax, half.log_softmax):
            assert max_error(*f(array(both))) < tol

    apart = np.array([at, 0.0, -at], dtype)
    assert by_hand.softmax(apart).tolist() == ([1, 0, 0] if at > 0 else [0, 0, 1])
    assert by_hand.log_softmax(apart).min() == -2e4  # where log(softmax) would be -inf
    assert twin.log_softmax(torch.tensor(apart)).tolist() == by_hand.log_softmax(apart).tolist()


def test_entry_ruled_out():
    """A logit of -inf has probability 0, no gradient, and harms nobody else."""
    logits, targets = np.array([[0.0, -np.inf, 1.0], [-np.inf, 0.0, 0.0]]), np.array([2, -100])
    loss, cache = by_hand.cross_entropy(logits, targets)
    dlogits = by_hand.cross_entropy_backward(cache)
    assert by_hand.softmax(logits)[0, 1] == 0
    assert np.isclose(loss, np.log(1 + np.exp(-1)))
    assert dlogits[0, 1] == 0 and not dlogits[1].any()
    other_loss, other_dlogits = autograd(
        lambda x: twin.cross_entropy(x, torch.tensor(targets)), logits
    )
    assert max_error(loss, other_loss) < 1e-10
    assert max_error(dlogits, other_dlogits) < 1e-10


def test_nan_goes_through():
    logits, targets = np.array([[0.0, np.nan], [1.0, 2.0]]), np.array([0, 1])
    loss, cache = by_hand.cross_entropy(logits, targets)
    assert np.isnan(loss)
    assert np.isnan(by_hand.cross_entropy_backward(cache)[0]).all()
    assert twin.cross_entropy(torch.tensor(logits), torch.tensor(targets)).isnan()


# What is wrong, the call that does it (in either half), and what the message must say.
BAD = [
    ("no entries", lambda f, a: f.softmax(a(np.ones((3, 0)))), ValueError, "(3, 0)"),
    ("no axis", lambda f, a: f.log_softmax(a(np.array(1.0))), ValueError, "at least one entry"),
    ("no entries", lambda f, a: f.logsumexp(a(np.ones((0, 3))), axis=0), ValueError, "axis 0"),
    ("target too large", lambda f, a: f.cross_entropy(a(np.ones((2, 3))), a(np.array([0, 3]))),
     ValueError, "targets holds 3, expected 0 <= id < vocab_size = 3"),
    ("target negative", lambda f, a: f.cross_entropy(a(np.ones((2, 3))), a(np.array([0, -1]))),
     ValueError, "targets holds -1"),
    ("targets of another shape", lambda f, a: f.cross_entropy(a(np.ones((2, 3))), a(np.array([0]))),
     ValueError, "targets has shape (1,), expected (2,)"),
    ("class axis second", lambda f, a: f.cross_entropy(
        a(np.ones((2, 5, 7))), a(np.zeros((2, 7), dtype=int))), ValueError, "(2, 5, 7)"),
    ("targets not integers", lambda f, a: f.cross_entropy(a(np.ones((2, 3))), a(np.ones(2))),
     TypeError, "float64, expected integers"),
    ("nothing counts", lambda f, a: f.cross_entropy(
        a(np.ones((2, 3))), a(np.array([7, 7])), ignore_index=7), ValueError, "no position counts"),
    ("empty batch", lambda f, a: f.cross_entropy(a(np.ones((0, 3))), a(np.ones(0, dtype=int))),
     ValueError, "of 0 targets"),
    ("no vocabulary", lambda f, a: f.cross_entropy(a(np.ones((1, 0))), a(np.array([0]))),
     ValueError, "vocab_size = 0"),
    ("smoothing too large", lambda f, a: f.cross_entropy(
        a(np.ones((1, 3))), a(np.array([0])), label_smoothing=1.5), ValueError, "label_smoothing"),
    ("smoothing no number", lambda f, a: f.cross_entropy(
        a(np.ones((1, 3))), a(np.array([0])), label_smoothing="a"), TypeError, "label_smoothing"),
    ("z_loss negative", lambda f, a: f.cross_entropy(
        a(np.ones((1, 3))), a(np.array([0])), z_loss=-1), ValueError, "z_loss = -1"),
    ("weight transposed", lambda f, a: f.linear(a(np.ones((2, 3))), a(np.ones((3, 4)))),
     ValueError, "(2, 3) and weight (3, 4)"),
    ("weight no matrix", lambda f, a: f.linear(a(np.ones((2, 3))), a(np.ones(3))),
     ValueError, "expected (..., d_in) and (d_out, d_in)"),
    ("bias of another size", lambda f, a: f.linear(
        a(np.ones((2, 3))), a(np.ones((4, 3))), a(np.ones(3))), ValueError, "(d_out,) = (4,)"),
    ("id too large", lambda f, a: f.embedding(a(np.array([1, 9])), a(np.ones((9, 2)))),
     ValueError, "ids holds 9, expected 0 <= id < vocab_size = 9"),
    ("id negative", lambda f, a: f.embedding(a(np.array([-1])), a(np.ones((9, 2)))),
     ValueError, "ids holds -1"),
    ("ids not integers", lambda f, a: f.embedding(a(np.array([1.0])), a(np.ones((9, 2)))),
     TypeError, "ids has dtype"),
    ("all dropped", lambda f, a: f.dropout(a(np.ones(3)), 1.0, None), ValueError, "0 <= p < 1"),
    ("dropped more than all", lambda f, a: f.dropout_mask(a(np.ones(3)), 1.5, None),
     ValueError, "p = 1.5"),
    ("dropout no number", lambda f, a: f.dropout(a(np.ones(3)), "a", None), TypeError, "p = 'a'"),
    ("odd head", lambda f, a: f.rotary_tables(a(np.arange(3)), 5), ValueError, "d_head = 5"),
    ("no channels", lambda f, a: f.sinusoidal(a(np.arange(3)), 0), ValueError, "d_model = 0"),
    ("base below 1", lambda f, a: f.rotary_tables(a(np.arange(3)), 4, 0.5),
     ValueError, "base = 0.5"),
    ("tables of another width", lambda f, a: f.rotate(
        a(np.ones((2, 3, 8))), a(np.ones((3, 3))), a(np.ones((3, 3)))),
     ValueError, "x has shape (2, 3, 8) and the tables (3, 3)"),
]  # fmt: skip


@pytest.mark.parametrize("half", [by_hand, twin], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("call", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_input(half, call, error, message):
    with pytest.raises(error) as caught:
        call(half, np.asarray if half is by_hand else torch.as_tensor)
    assert message in str(caught.value)


def test_a_gpu_need_not_wait():
    """No step of the loss looks at values: on the meta device there are none to look at."""
    logits = torch.empty(2, 3, 5, device="meta", requires_grad=True)
    targets = torch.empty(2, 3, dtype=torch.long, device="meta")
    loss = twin.cross_entropy(logits, targets, label_smoothing=0.1, z_loss=1e-4)
    loss.backward()
    assert loss.shape == () and logits.grad.shape == logits.shape
    assert twin.embedding(targets, torch.empty(7, 4, device="meta")).shape == (2, 3, 4)
    assert twin.rotate(logits[..., :4], *twin.rotary_tables(targets, 4)).shape == (2, 3, 4)
    assert twin.sinusoidal(targets, 4).device.type == "meta"


def test_halves_mirror_each_other():
    assert set(twin.__all__) < set(by_hand.__all__)
    assert all(name.endswith("_backward") for name in set(by_hand.__all__) - set(twin.__all__))
    for name in twin.__all__:
        ours, theirs = getattr(by_hand, name), getattr(twin, name)
        assert inspect.signature(ours) == inspect.signature(theirs), name
