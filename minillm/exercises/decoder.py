"""Checkers of chapter 2.4: the causal mask, cross-attention with its gradients, teacher forcing.

    from minillm.exercises.decoder import check_causal_mask

    check_causal_mask(my_causal_mask)

Shape letters: B batch, T position, S source position, K = d_head.
"""

import numpy as np

from minillm.batches import IGNORED
from minillm.exercise import Exercise
from minillm.numpy_nn.attention import attention, attention_backward, causal_mask
from minillm.numpy_nn.gradcheck import max_error


def _test_causal_mask(answer):
    """``answer(T, S)``: where each of T positions, the last of S, may look -> bool (T, S)."""
    for T, S in [(3, 3), (1, 1), (2, 5), (1, 4), (6, 6)]:
        mask, right = answer(T, S), causal_mask(T, S)
        where = f"T = {T}, S = {S}"
        assert isinstance(mask, np.ndarray), (
            f"type: {where} gives a {type(mask).__name__}, not an array"
        )
        assert mask.shape == (T, S), f"shape: {where} gives {mask.shape}, expected (T, S)"
        assert mask.dtype == bool, f"dtype: {mask.dtype}, expected bool, True where one may look"
        assert not np.array_equal(mask, ~right), (
            "meaning: True and False are exchanged; here True is where a position may look"
        )
        assert T == S or not np.array_equal(mask, np.tri(T, S, dtype=bool)), (
            f"offset: {where}: row 0 is treated as position 0. Those who ask are the last T of the "
            f"S positions, so row 0 is position S - T = {S - T}"
        )
        itself = mask[np.arange(T), S - T + np.arange(T)]
        assert itself.all(), (
            f"itself: {where}: a position may see itself (what it reads is known; only what it "
            "writes is not). Row t is position S - T + t"
        )
        assert not (mask & ~right).any(), f"leak: {where}: a position looks at a later one"
        assert np.array_equal(mask, right), f"blind: {where}: an earlier position is not seen"


def _draw(rng, B=2, T=3, S=5, K=4, dtype=np.float64):
    """Queries (B, T, K), keys and values (B, S, K), a mask (B, T, S), and dy (B, T, K)."""
    q, dy = rng.normal(size=(2, B, T, K)).astype(dtype)
    k, v = rng.normal(size=(2, B, S, K)).astype(dtype)
    mask = rng.random((B, T, S)) < 0.7
    mask[..., 0] = True  # no query is left with nothing
    return q, k, v, mask, dy


def _outputs(answer, q, k, v, mask, dy):
    """y, dq, dk, dv of an answer; raise unless these are four arrays of the right shapes."""
    given = [x.copy() for x in (q, k, v, mask, dy)]
    try:
        result = answer(*given)
    except ValueError as error:
        shapes = f"q {q.shape}, k and v {k.shape}, mask {mask.shape}, dy {dy.shape}"
        raise AssertionError(
            f"shape: two arrays do not fit. With {shapes}, look at each product; to turn a matrix "
            f"of a batch round, exchange its last two axes. NumPy said: {error}"
        ) from None
    assert isinstance(result, (tuple, list)) and len(result) == 4, (
        "form: return four things, y, dq, dk, dv"
    )
    for name, now, before in zip(("q", "k", "v", "mask", "dy"), given, (q, k, v, mask, dy)):
        assert np.array_equal(now, before), f"purity: {name} was changed in place; work on a copy"
    for name, x, like in zip(("y", "dq", "dk", "dv"), result, (q, q, k, v)):
        assert isinstance(x, np.ndarray), f"type: {name} is a {type(x).__name__}, not an array"
        assert x.shape == like.shape, f"shape: {name} has {x.shape}, expected {like.shape}"
    return result


def _test_cross_attention(answer):
    """``answer(q, k, v, mask, dy)``: attention with T != S, forward and backward."""
    rng = np.random.default_rng(0)
    for shape in [{}, {"T": 4, "S": 2, "K": 3}, {"B": 1, "T": 1, "S": 6, "K": 1}]:
        q, k, v, mask, dy = _draw(rng, **shape)
        y, dq, dk, dv = _outputs(answer, q, k, v, mask, dy)
        right, cache = attention(q, k, v, mask)
        _check_output(y, q, k, v, mask, right)
        rights = attention_backward(dy, cache)
        swapped = max_error(dk, rights[2]) < 1e-8 and max_error(dv, rights[1]) < 1e-8
        assert not swapped, "gradient: dk and dv are exchanged; return y, dq, dk, dv in this order"
        for name, ours, theirs in zip("qkv", (dq, dk, dv), rights):
            _check_gradient(name, ours, theirs, q.shape[-1])
    extreme = _draw(rng)
    extreme[0][...] *= 1e4
    y, *gradients = _outputs(answer, *extreme)
    assert all(np.isfinite(x).all() for x in (y, *gradients)), (
        "extreme scores: nan or inf; subtract each row's largest score before np.exp"
    )
    assert max_error(y, attention(*extreme[:4])[0]) < 1e-9, "extreme scores: y is wrong"
    q, k, v, mask, dy = _draw(rng)
    mask[1] = False  # a source that is nothing but padding
    y, *gradients = _outputs(answer, q, k, v, mask, dy)
    assert all(np.isfinite(x).all() for x in (y, *gradients)), (
        "empty source: a query that may look nowhere gives nan; it should get zeros"
    )
    assert not y[1].any(), (
        "empty source: a query that may look nowhere should get zeros, not a mean of what it may "
        "not see. With a large negative number instead of -inf all its scores are equal: use -inf, "
        "and 0 for the weights of such a row"
    )
    for name, x in zip(("dq", "dk", "dv"), gradients):
        assert not x[1].any(), f"empty source: {name} should be zero where nobody looked"
    single = _draw(rng, dtype=np.float32)
    y, *gradients = _outputs(answer, *single)
    assert all(x.dtype == np.float32 for x in (y, *gradients)), (
        f"dtype: float32 in gives {y.dtype} out; keep the type (np.sqrt of an int is a float64)"
    )


def _check_output(y, q, k, v, mask, right):
    if max_error(y, right) < 1e-9:
        return
    K = q.shape[-1]
    guesses = {
        "scale: the scores are not divided by sqrt(K)": (q * K**0.5, mask),
        "scale: the scores are divided by K, not by its square root": (q * K**-0.5, mask),
        "mask: it is not used; hidden positions get weight": (q, np.ones_like(mask)),
        "mask: True and False are exchanged": (q, ~mask),
    }
    for message, (other_q, other_mask) in guesses.items():
        assert (
            K == 1
            and "scale" in message
            or max_error(y, attention(other_q, k, v, other_mask)[0]) > 1e-9
        ), message
    raise AssertionError(
        "output: y is not softmax(q k^T / sqrt(K)) v; the softmax runs over the S keys, the "
        "last axis of the scores, and hidden scores are -inf before it"
    )


def _check_gradient(name, ours, theirs, K):
    if max_error(ours, theirs) < 1e-8:
        return
    if name in "qk" and K > 1:
        unscaled = max_error(ours * K**-0.5, theirs) < 1e-8
        assert not unscaled, f"gradient: d{name} lacks the factor 1 / sqrt(K) of the scores"
    assert max_error(-ours, theirs) > 1e-8, f"gradient: d{name} has the wrong sign"
    where = {
        "q": "dq = dZ k / sqrt(K), where dZ = A * (dA - the row sums of A * dA), dA = dy v^T",
        "k": "dk = dZ^T q / sqrt(K): a key gets a sum over all T queries",
        "v": "dv = A^T dy: a value gets what each query took of it",
    }[name]
    raise AssertionError(f"gradient: d{name} is wrong; {where}")


def _test_teacher_forcing(answer):
    """``answer(targets, start, end, pad)``: lists of ids -> ids (B, T), targets (B, T), mask."""
    cases = [
        ([[7, 8, 9], [5]], 1, 2, 0),
        ([[4, 4], [6, 3]], 1, 2, 0),
        ([[], [3, 5, 3, 5]], 1, 2, 0),
        ([[7, 8], [9]], 50, 60, 99),
        ([[0, 2, 0], [0]], 1, 3, 0),  # the padding id is a token here
    ]
    for texts, start, end, pad in cases:
        given = [list(text) for text in texts]
        result = answer(given, start, end, pad)
        assert given == texts, "purity: the lists of targets were changed; build new ones"
        assert isinstance(result, (tuple, list)) and len(result) == 3, (
            "form: return three arrays, ids, targets, mask"
        )
        for name, x, kind in zip(("ids", "targets", "mask"), result, ("iu", "iu", "b")):
            assert isinstance(x, np.ndarray), f"type: {name} is a {type(x).__name__}, not an array"
            wanted = "bool, True at real positions" if kind == "b" else "integers"
            assert x.dtype.kind in kind, f"dtype: {name} is {x.dtype}, expected {wanted}"
        _check_batch(*result, texts, start, end, pad)


def _check_batch(ids, targets, mask, texts, start, end, pad):
    B, T = len(texts), max(map(len, texts)) + 1
    for name, x in [("ids", ids), ("targets", targets), ("mask", mask)]:
        assert x.shape == (B, T), (
            f"shape: {name} has {x.shape}, expected {(B, T)}: a text of n tokens has n + 1 "
            "positions, one for each token that is written and one for the end"
        )
    for b, text in enumerate(texts):
        n = len(text) + 1
        shown = f"for the text {text}"
        assert ids[b, 0] == start, f"start: {shown}, ids begin with {ids[b, 0]}, not with start"
        assert not np.array_equal(targets[b, :n], ids[b, :n]), (
            f"shift: {shown}, each position is asked for the token that it reads"
        )
        assert targets[b, n - 1] == end, (
            f"end: {shown}, the last target is {targets[b, n - 1]}, expected end = {end}: else "
            "the model never learns to stop"
        )
        assert ids[b, :n].tolist() == [start, *text], (
            f"ids: {shown}, the model reads {ids[b, :n].tolist()}, expected start and the text"
        )
        assert targets[b, : n - 1].tolist() == list(text), (
            f"targets: {shown}, they are {targets[b, :n].tolist()}, expected the text and end"
        )
        assert (targets[b, n:] == IGNORED).all(), (
            f"padding: {shown}, targets after the end are {targets[b, n:].tolist()}, expected "
            f"{IGNORED}, which does not count"
        )
        assert (ids[b, n:] == pad).all(), f"padding: {shown}, ids after the text are not pad"
        assert mask[b].tolist() == [t < n for t in range(T)], (
            f"mask: {shown}, it is {mask[b].tolist()}; True for start and each token of the "
            "text, also for one that has the padding's number: count, do not compare"
        )


check_causal_mask = Exercise("causal mask", test=_test_causal_mask)
check_cross_attention = Exercise("cross-attention and its gradients", test=_test_cross_attention)
check_teacher_forcing = Exercise("teacher forcing", test=_test_teacher_forcing)

__all__ = ["check_causal_mask", "check_cross_attention", "check_teacher_forcing"]
