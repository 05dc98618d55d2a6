"""The formulas: by hand, their twins, PyTorch's own functions and finite differences all agree."""

import inspect

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
}


@pytest.mark.parametrize("name", UNARY)
@properties
@given(seed=SEEDS, leading=LEADING, size=st.integers(1, 6), scale=SCALES, data=st.data())
def test_function_of_one_array(name, seed, leading, size, scale, data):
    rng = np.random.default_rng(seed)
    x = scale * rng.normal(size=(*leading, size))
    dy = rng.normal(size=x.shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1), label="axis")
    options = {} if name == "tanh" else {"axis": axis}

    y = getattr(by_hand, name)(x, **options)
    dx = getattr(by_hand, f"{name}_backward")(dy, y, **options)

    for other in (lambda x: getattr(twin, name)(x, **options), lambda x: UNARY[name](x, axis)):
        other_y, other_dx = autograd(other, x, dy=dy)
        assert max_error(y, other_y) < 1e-10
        assert max_error(dx, other_dx) < 1e-10
    gradcheck(lambda x: (getattr(by_hand, name)(x, **options) * dy).sum(), x, dx)


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
    results = [
        logits, loss, dlogits, y, by_hand.logsumexp(x), by_hand.log_softmax(x), by_hand.tanh(x),
        by_hand.softmax_backward(x, y), by_hand.log_softmax_backward(x, y),
        by_hand.tanh_backward(x, y), by_hand.embedding(ids, weight),
        by_hand.embedding_backward(x, ids, 5), *by_hand.linear_backward(dlogits, x, weight),
    ]  # fmt: skip
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


def test_halves_mirror_each_other():
    assert set(twin.__all__) < set(by_hand.__all__)
    assert all(name.endswith("_backward") for name in set(by_hand.__all__) - set(twin.__all__))
    for name in twin.__all__:
        ours, theirs = getattr(by_hand, name), getattr(twin, name)
        assert inspect.signature(ours) == inspect.signature(theirs), name
