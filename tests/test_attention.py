"""Attention: PyTorch's own, a loop over single queries, and what must hold for any weights."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import randomize

from minillm import weights
from minillm.numpy_nn import attention as by_hand
from minillm.numpy_nn import functional as F
from minillm.numpy_nn.gradcheck import gradcheck, max_error
from minillm.torch_nn import attention as twin

HALVES = {"numpy": by_hand, "torch": twin}
each_half = pytest.mark.parametrize("half", HALVES)
properties = settings(deadline=None, max_examples=100, derandomize=True, database=None)


def one_query_at_a_time(q, k, v, mask, causal):
    """Attention in float64 without a matrix: what each query may look at, and its softmax alone."""
    S, y = k.shape[-2], np.zeros(q.shape)
    k, v = (np.broadcast_to(x, (*q.shape[:-2], *x.shape[-2:])) for x in (k, v))
    added = (
        np.zeros(1) if mask is None else np.where(mask, 0, -np.inf) if mask.dtype == bool else mask
    )
    added = np.broadcast_to(added, (*q.shape[:-1], S))
    for place in np.ndindex(q.shape[:-1]):
        *leading, t = place
        seen = [s for s in range(S) if added[(*place, s)] > -np.inf]
        seen = [s for s in seen if not causal or s - S <= t - q.shape[-2]]
        scores = [
            q[place] @ k[(*leading, s)] / math.sqrt(q.shape[-1]) + added[(*place, s)] for s in seen
        ]
        powers = [math.exp(score) for score in scores]
        for s, power in zip(seen, powers, strict=True):
            y[place] += power / sum(powers) * v[(*leading, s)]
    return y


def torch_run(f, q, k, v, mask, causal, dy):
    """The result and the gradients by autograd; none counts as zeros."""
    leaves = [torch.tensor(x, requires_grad=True) for x in (q, k, v)]
    y = f(*leaves, None if mask is None else torch.tensor(mask), causal=causal)
    if y.requires_grad:
        y.backward(torch.tensor(dy))
    grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]
    return [x.detach().numpy() for x in (y, *grads)]


@st.composite
def shapes(draw):
    """Of q, of k and v, and of a mask: the latter two have fewer leading axes, or ones there."""

    def smaller(shape):
        shape = [draw(st.sampled_from([1, n])) for n in shape]
        return tuple(shape[draw(st.integers(0, len(shape))) :])

    leading = draw(st.lists(st.integers(0, 3), max_size=3).map(tuple))
    T, S, K = draw(st.integers(0, 4)), draw(st.integers(0, 4)), draw(st.integers(1, 3))
    return (*leading, T, K), (*smaller(leading), S, K), smaller((*leading, T, S))


@properties
@given(
    seed=st.integers(0, 2**32 - 1),
    shapes=shapes(),
    kind=st.sampled_from([None, "bool", "float", "both"]),
    causal=st.booleans(),
    scale=st.sampled_from([0.1, 1.0, 10.0]),
)
def test_attention(seed, shapes, kind, causal, scale):
    """Both halves, PyTorch's kernels and the loop agree on any shapes and masks."""
    rng = np.random.default_rng(seed)
    q, k, v = (scale * rng.normal(size=shape) for shape in (shapes[0], shapes[1], shapes[1]))
    dy, hidden, added = (
        rng.normal(size=q.shape),
        rng.random(shapes[2]) < 0.4,
        rng.normal(size=shapes[2]),
    )
    mask = {None: None, "bool": ~hidden, "float": added, "both": np.where(hidden, -np.inf, added)}[
        kind
    ]

    y, cache = by_hand.attention(q, k, v, mask, causal=causal)
    dq, dk, dv = by_hand.attention_backward(dy, cache)

    assert max_error(y, one_query_at_a_time(q, k, v, mask, causal)) < 1e-12
    assert cache[0].shape == (*q.shape[:-1], k.shape[-2])  # the weights
    for f in (twin.attention, twin.fused_attention):
        for a, b in zip((y, dq, dk, dv), torch_run(f, q, k, v, mask, causal, dy), strict=True):
            assert max_error(a, b) < 1e-10
    for array, gradient in ((q, dq), (k, dk), (v, dv)):
        gradcheck(
            lambda _: (by_hand.attention(q, k, v, mask, causal=causal)[0] * dy).sum(),
            array, gradient, tol=1e-6 if scale > 1 else 1e-7,
        )  # fmt: skip


def test_attention_of_pytorch():
    """Its own function, with its own masks; it has no rows that may look nowhere."""
    rng = np.random.default_rng(0)
    q, k, v, dy = (rng.normal(size=(2, 3, 5, 4)) for _ in range(4))
    mask = rng.random((2, 1, 5, 5)) < 0.5
    mask[..., 0] = True
    oracle = torch.nn.functional.scaled_dot_product_attention
    for given_ in ({}, {"attn_mask": torch.tensor(mask)}, {"is_causal": True}):
        theirs = torch_run(
            lambda q, k, v, _mask, causal, given_=given_: oracle(q, k, v, **given_),
            q, k, v, None, False, dy,
        )  # fmt: skip
        causal = "is_causal" in given_
        y, cache = by_hand.attention(
            q, k, v, mask if "attn_mask" in given_ else None, causal=causal
        )
        for a, b in zip((y, *by_hand.attention_backward(dy, cache)), theirs, strict=True):
            assert max_error(a, b) < 1e-12


@pytest.mark.parametrize("f", [twin.attention, twin.fused_attention])
def test_large_scores(f):
    """Scores that float32 cannot exponentiate; a query that may look nowhere; no warning, no NaN."""
    q = np.array([[300.0, 0.0], [0.0, 300.0], [-300.0, 0.0]], np.float32)
    k, v = q[:2].copy(), np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    mask = np.array([[True, True], [False, True], [False, False]])
    y, cache = by_hand.attention(q, k, v, mask)
    assert y.tolist() == [[1, 2], [3, 4], [0, 0]] and y.dtype == np.float32
    grads = by_hand.attention_backward(np.ones_like(y), cache)
    assert np.isfinite(grads[0]).all() and not grads[0][2].any()
    for a, b in zip((y, *grads), torch_run(f, q, k, v, mask, False, np.ones_like(y)), strict=True):
        assert max_error(a, b) < 1e-6


@each_half
def test_causal_mask(half):
    for T, S in [(1, 1), (3, 3), (2, 5), (1, 4), (0, 2)]:
        mask = np.asarray(HALVES[half].causal_mask(T, S))
        assert mask.shape == (T, S) and mask.dtype == bool
        for t, s in np.ndindex(T, S):
            assert mask[t, s] == (s - (S - T) <= t)
    assert np.asarray(HALVES[half].causal_mask(3)).tolist() == np.tri(3, dtype=bool).tolist()


def test_dropout_of_weights():
    """Rows no longer sum to 1, but do on average; without an rng nothing is dropped."""
    q = k = np.zeros((200, 10, 4))
    v = np.ones((200, 10, 4))
    y, cache = by_hand.attention(q, k, v, dropout=0.5, rng=np.random.default_rng(0))
    assert set(np.unique((5 * y).round(6))) <= set(range(11))  # tenths, doubled where kept
    assert abs(y.mean() - 1) < 0.02
    assert np.allclose(by_hand.attention(q, k, v, dropout=0.5)[0], 1)
    dv = by_hand.attention_backward(np.ones_like(y), cache)[2]
    assert np.isclose(dv.sum(), y.sum())  # y is linear in v = 1


# The layer.


def layers(*args, **options):
    """The same layer in both halves, with random weights, in float64."""
    ours = by_hand.MultiHeadAttention(*args, **options).to(np.float64)
    theirs = twin.MultiHeadAttention(*args, **options).double()
    randomize(ours)
    weights.copy(ours, theirs)
    return ours, theirs


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("crossing", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_multi_head_attention_of_pytorch(bias, crossing):
    """Weights copied: the same result and gradients, with its two kinds of masks."""
    B, T, S, C, H = 3, 5, 4 if crossing else 5, 8, 2
    ours, _ = layers(C, H, bias=bias)
    oracle = torch.nn.MultiheadAttention(C, H, bias=bias, batch_first=True).double()
    parts = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(torch.tensor(np.concatenate([p.weight.data for p in parts])))
        oracle.out_proj.weight.copy_(torch.tensor(ours.output.weight.data))
        if bias:
            oracle.in_proj_bias.copy_(torch.tensor(np.concatenate([p.bias.data for p in parts])))
            oracle.out_proj.bias.copy_(torch.tensor(ours.output.bias.data))
    x, source, dy = normal(B, T, C), normal(B, S, C, seed=1), normal(B, T, C, seed=2)
    real = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], bool)[:, :S]
    seen = np.random.default_rng(3).random((T, S)) < 0.7
    seen[:, 0] = True

    y, cache = ours.forward(x, source if crossing else None, mask=real[:, None, None] & seen)
    dx, dsource, _ = ours.backward(dy, cache)

    a = torch.tensor(x, requires_grad=True)
    b = torch.tensor(source, requires_grad=True) if crossing else a
    other, _ = oracle(a, b, b, key_padding_mask=torch.tensor(~real), attn_mask=torch.tensor(~seen))
    other.backward(torch.tensor(dy))
    pairs = [(y, other.detach()), (dx, a.grad)]
    pairs += [(dsource, b.grad)] if crossing else []
    pairs += [(np.concatenate([p.weight.grad for p in parts]), oracle.in_proj_weight.grad)]
    pairs += [(ours.output.weight.grad, oracle.out_proj.weight.grad)]
    if bias:
        pairs += [(np.concatenate([p.bias.grad for p in parts]), oracle.in_proj_bias.grad)]
    for found, right in pairs:
        assert max_error(found, right.numpy()) < 1e-12


@pytest.mark.parametrize("n_kv_head", [1, 2])
def test_shared_heads_are_repeated_heads(n_kv_head):
    """Sharing keys and values is attention whose heads have equal weights there."""
    H, K = 4, 3
    shared, _ = layers(8, H, n_kv_head=n_kv_head, d_head=K)
    full, _ = layers(8, H, d_head=K)
    for name in ("query", "output"):
        for kind in ("weight", "bias"):
            getattr(getattr(full, name), kind).data[:] = getattr(getattr(shared, name), kind).data
    for name in ("key", "value"):
        for kind in ("weight", "bias"):
            heads = getattr(getattr(shared, name), kind).data
            heads = heads.reshape(n_kv_head, K, *heads.shape[1:]).repeat(H // n_kv_head, 0)
            target = getattr(getattr(full, name), kind).data
            target[:] = heads.reshape(target.shape)
    x, mask = (
        normal(2, 5, 8),
        np.random.default_rng(1).random((2, H, 5, 5)) < 0.5,
    )  # one for each head
    assert max_error(shared.forward(x, mask=mask)[0], full.forward(x, mask=mask)[0]) < 1e-12


@pytest.mark.parametrize(
    "options", [{}, {"n_kv_head": 2}, {"n_kv_head": 1, "qk_norm": True}], ids=str
)
def test_kernels_of_pytorch_in_the_layer(options):
    """`sdpa` changes nothing: with groups, any mask, no mask, no future."""
    _, layer = layers(8, 4, **options)
    rng = np.random.default_rng(0)
    masks = [
        None,
        rng.random((3, 1, 1, 5)) < 0.5,
        rng.random((1, 4, 5, 5)) < 0.5,
        rng.random((5, 5)) < 0.5,
    ]
    masks += [rng.normal(size=(3, 4, 5, 5)), np.zeros((5, 5), bool)]
    masks.append(np.full((5, 5), -1e4))  # all keys are equally unlikely
    for mask in masks:
        for causal in (False, True):
            runs = []
            for sdpa in (False, True):
                layer.sdpa = sdpa
                layer.zero_grad()
                x = torch.tensor(normal(3, 5, 8), requires_grad=True)
                y = layer(x, mask=None if mask is None else torch.tensor(mask), causal=causal)
                (y * torch.tensor(normal(3, 5, 8, seed=1))).sum().backward()
                runs.append([y, x.grad, *(p.grad for p in layer.parameters())])
            for a, b in zip(*runs, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@each_half
def test_order_does_not_matter_without_positions(half):
    """Positions in another order: the same results, in that order."""
    run, order = runner(half, 8, 2), [3, 0, 4, 1, 2]
    x = normal(2, 5, 8)
    assert max_error(run(x[:, order]), run(x)[:, order]) < 1e-12
    assert max_error(run(x, causal=True)[:, order], run(x[:, order], causal=True)) > 0.1


@each_half
def test_rotary_positions_count_relatively(half):
    """All positions later by seven: nothing changes. One of them later: something does."""
    run, x = runner(half, 8, 2), normal(2, 5, 8)

    def turned(positions):
        cos, sin = F.rotary_tables(positions, 4, dtype=np.float64)
        return run(x, rotary=(cos, sin))

    here = turned(np.arange(5))
    assert max_error(turned(np.arange(5) + 7), here) < 1e-12
    assert max_error(turned(np.arange(5) * 2), here) > 1e-3
    rows = np.stack([np.arange(5), np.arange(5) + 7])  # each text has positions of its own
    assert max_error(turned(rows), here) < 1e-12


@each_half
def test_value_residual(half):
    """value_mix = 0 is the layer's own values, 1 the first layer's; a layer without takes those."""
    x, first = normal(2, 5, 8), normal(2, 5, 8, seed=1)
    found = {}
    for mix in (0.0, 1.0):
        found[mix] = runner(half, 8, 2, value_residual=True, value_mix=mix)(x, first_values=first)
    plain = runner(half, 8, 2)
    assert max_error(found[0.0], plain(x)) < 1e-12
    assert max_error(found[1.0], plain(x, first_values=first)) < 1e-12
    assert max_error(found[1.0], found[0.0]) > 0.1


@each_half
def test_norm_of_queries_and_keys(half):
    """Longer queries ask no louder."""
    x, runs = normal(2, 5, 8), {}
    for qk_norm in (False, True):
        for size in (1.0, 10.0):
            runs[qk_norm, size] = runner(half, 8, 2, bias=False, qk_norm=qk_norm, query=size)(x)
    assert max_error(runs[True, 1.0], runs[True, 10.0]) < 1e-4  # eps
    assert max_error(runs[False, 1.0], runs[False, 10.0]) > 0.1


@each_half
def test_scale_of_normed_scores(half):
    """Only with the norm; at 0 all answer alike."""
    x, rest = normal(2, 5, 8), {"bias": False, "qk_norm": True}
    runs = {scale: runner(half, 8, 2, **rest, qk_scale=scale)(x) for scale in (0.0, 1.0, 2.0)}
    assert np.ptp(runs[0.0], axis=1).max() < 1e-12  # over the positions
    assert max_error(runs[1.0], runner(half, 8, 2, **rest)(x)) == 0
    assert max_error(runs[1.0], runs[2.0]) > 0.01
    plain = {"bias": False, "qk_norm": False}
    assert max_error(runner(half, 8, 2, **plain, qk_scale=2.0)(x), runner(half, 8, 2, **plain)(x)) == 0


def runner(half, *args, value_mix=None, query=1.0, **options):
    """A function from arrays to an array: the layer of one half, the same weights in both."""
    ours, theirs = layers(*args, **options)
    ours.query.weight.data *= query
    if value_mix is not None:  # the same weights as without it
        plain, _ = layers(*args, **options | {"value_residual": False})
        for name, p in plain.named_parameters():
            dict(ours.named_parameters())[name].data[...] = p.data
        ours.value_mix.data[...] = value_mix
    weights.copy(ours, theirs)

    def tensors(x):
        if isinstance(x, tuple):
            return tuple(map(tensors, x))
        return torch.tensor(x) if isinstance(x, np.ndarray) else x

    def run(x, **inputs):
        if half == "numpy":
            return ours.forward(x, **inputs)[0]
        with torch.no_grad():
            return theirs(tensors(x), **{n: tensors(v) for n, v in inputs.items()}).numpy()

    return run


@each_half
@pytest.mark.parametrize("lengths", [(6,), (1, 1, 1, 1, 1, 1), (3, 2, 1), (2, 0, 4)], ids=str)
def test_key_value_cache(half, lengths):
    """In pieces, with a cache, as all at once: causally, with groups."""
    run, x = runner(half, 8, 4, n_kv_head=2), normal(3, sum(lengths), 8)
    dtype = {"numpy": np.float64, "torch": torch.float64}[half]
    cache = HALVES[half].KeyValueCache(3, 2, 6, 2, dtype=dtype)
    ends = np.cumsum(lengths)
    pieces = [x[:, end - n : end] for n, end in zip(lengths, ends, strict=True)]
    found = [run(piece, causal=True, kv_cache=cache) for piece in pieces]
    assert max_error(np.concatenate(found, 1), run(x, causal=True)) < 1e-12
    assert cache.length == 6
    with pytest.raises(ValueError, match="7 positions, expected at most context_length = 6"):
        run(x[:, :1], kv_cache=cache)
    assert cache.length == 6


# What is wrong, the call that does it (in either half), and what the message must say.
ONES = {n: np.ones((2, 3, n)) for n in (2, 4)}
BAD = [
    ("keys of another width", lambda m, a: m.attention(a(ONES[4]), a(ONES[2]), a(ONES[2])), ValueError,
     "q has shape (2, 3, 4), k (2, 3, 2) and v (2, 3, 2), expected (..., T, K), (..., S, K)"),
    ("fewer values than keys", lambda m, a: m.attention(a(ONES[4]), a(ONES[4]), a(ONES[4][:, :2])),
     ValueError, "v (2, 2, 4)"),
    ("more texts in keys", lambda m, a: m.attention(a(ONES[4][0]), a(ONES[4]), a(ONES[4])), ValueError,
     "q has shape (3, 4), k (2, 3, 4)"),
    ("mask of another shape", lambda m, a: m.attention(*[a(ONES[4])] * 3, a(np.ones((3, 2), bool))),
     ValueError, "mask has shape (3, 2), expected (..., T, S) = (2, 3, 3)"),
    ("mask with too many axes", lambda m, a: m.attention(*[a(ONES[4])] * 3, a(np.ones((1, 1, 3, 3), bool))),
     ValueError, "mask has shape (1, 1, 3, 3)"),
    ("mask of ones and zeros", lambda m, a: m.attention(*[a(ONES[4])] * 3, a(np.ones((3, 3), int))),
     TypeError, "mask has dtype"),
    ("all is dropped", lambda m, a: m.MultiHeadAttention(4, 2, dropout=1), ValueError, "dropout = 1"),
    ("heads do not divide", lambda m, a: m.MultiHeadAttention(8, 3), ValueError,
     "d_model = 8, expected a multiple of n_head = 3"),
    ("groups do not divide", lambda m, a: m.MultiHeadAttention(8, 4, n_kv_head=3), ValueError,
     "n_kv_head = 3, expected a divisor of n_head = 4"),
    ("more groups than heads", lambda m, a: m.MultiHeadAttention(8, 2, n_kv_head=4), ValueError,
     "n_kv_head = 4"),
    ("no heads", lambda m, a: m.MultiHeadAttention(8, 0), ValueError, "n_head = 0"),
    ("half a head", lambda m, a: m.MultiHeadAttention(8, 2.5), TypeError, "n_head = 2.5"),
    ("x of another width", lambda m, a: call(m.MultiHeadAttention(8, 2), a(ONES[4])), ValueError,
     "(2, 3, 4)"),
    ("source of another width",
     lambda m, a: call(m.MultiHeadAttention(4, 2), a(ONES[4]), source=a(ONES[2])), ValueError, "(2, 3, 2)"),
    ("mask with the texts where heads should be",
     lambda m, a: call(m.MultiHeadAttention(4, 2), a(np.ones((2, 5, 4))), mask=a(np.ones((2, 5, 5), bool))),
     ValueError, "mask has shape (2, 5, 5), expected (T, S) or (..., 1 or H, T, S)"),
]  # fmt: skip


def call(layer, x, **inputs):
    return layer.forward(x, **inputs)


@each_half
@pytest.mark.parametrize(("do", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(half, do, error, message):
    def array(x):
        x = x.astype(np.float32) if x.dtype == float else x
        return x if half == "numpy" else torch.tensor(x)

    with pytest.raises(error) as caught:
        do(HALVES[half], array)
    assert message in str(caught.value)
