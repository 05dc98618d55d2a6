"""Checkers of chapter 2.3: attention with a mask, its gradients, many heads.

    from minillm.exercises.encoder import check_attention

    check_attention(my_attention)

Shape letters: B batch, T position, S source position, C = d_model, H heads, K = d_head.
"""

import numpy as np

from minillm.exercise import Exercise
from minillm.numpy_nn.attention import attention, attention_backward
from minillm.numpy_nn.gradcheck import max_error

KEEP = "np.sqrt(K) is a float64 and makes float32 wider, K**0.5 does not"
HEADS = "the mask (B, T, T) needs an axis for the heads, mask[:, None]; heads are (B, H, T, K)"
SHAPES = (((), 3, 3, 4), ((2,), 3, 5, 4), ((2, 3), 4, 2, 6), ((), 1, 6, 1))


def _draw(rng, leading=(), T=3, S=5, K=4, dtype=np.float64):
    """Queries (..., T, K), keys and values (..., S, K), and a mask (..., T, S)."""
    q = rng.normal(size=(*leading, T, K)).astype(dtype)
    k, v = rng.normal(size=(2, *leading, S, K)).astype(dtype)
    mask = rng.random((*leading, T, S)) < 0.6
    mask[..., 0] = True  # no query is left with nothing
    return q, k, v, mask


def _called(answer, *given, hint="transpose the last two axes alone, x.swapaxes(-1, -2)"):
    """What an answer gives; raise if it changed what it was given, or if shapes did not fit."""
    own = [x if x is None or isinstance(x, int) else x.copy() for x in given]
    try:
        result = answer(*own)
    except ValueError as error:  # what NumPy raises where shapes do not fit
        shapes = ", ".join(str(x.shape) for x in given if isinstance(x, np.ndarray))
        raise AssertionError(f"shape: given {shapes}, it stopped ({error}); {hint}") from error
    for now, before in zip(own, given):
        assert before is None or np.array_equal(now, before), (
            "purity: an argument was changed in place; work on a copy"
        )
    return result


def _check_array(name, x, like):
    assert isinstance(x, np.ndarray), f"type: {name} is a {type(x).__name__}, not an array"
    assert x.shape == like.shape, f"shape: {name} has {x.shape}, expected {like.shape}"


def _test_attention(answer):
    """``answer(q, k, v, mask)``: mask of bool, True where a query may look, or None -> y."""
    rng = np.random.default_rng(0)
    for leading, T, S, K in SHAPES:
        q, k, v, mask = _draw(rng, leading, T, S, K)
        for seen in (None, mask):
            y, right = _called(answer, q, k, v, seen), attention(q, k, v, seen)[0]
            _check_array("y", y, q)
            if max_error(y, right) > 1e-9:
                _blame_output(y, q, k, v, seen)
    q, k, v, mask = _draw(rng)
    y = _called(answer, q * 1e4, k, v, mask)
    assert np.isfinite(y).all(), (
        "extreme scores: nan or inf at scores near 1e4; subtract each row's largest before np.exp"
    )
    low = _called(answer, np.full_like(q, -1e4), np.abs(k), v, mask)
    assert np.isfinite(low).all(), "extreme scores: nan where all scores are near -1e4"
    right = attention(np.full_like(q, -1e4), np.abs(k), v, mask)[0]
    assert max_error(low, right) < 1e-9, (
        "mask: with scores near -1e4 a hidden place wins; fill with -inf, and not with a number "
        "that looks large"
    )
    assert max_error(y, attention(q * 1e4, k, v, mask)[0]) < 1e-9, "extreme scores: y is wrong"
    y = _called(answer, *_draw(rng, dtype=np.float32))
    assert y.dtype == np.float32, f"dtype: float32 in gives {y.dtype} out; {KEEP}"


def _blame_output(y, q, k, v, mask):
    """Say what is wrong: guess by what a typical mistake would have given."""
    K = q.shape[-1]
    said = "with a mask" if mask is not None else "without a mask"
    if K > 1:
        for power, message in [
            (0.5, "scale: the scores are not divided by sqrt(K)"),
            (-0.5, "scale: the scores are divided by K, not by its square root"),
        ]:
            other = attention(q * K**power, k, v, mask)[0]
            assert max_error(y, other) > 1e-9, message
    if mask is not None:
        message = "mask: it is not used; hidden positions get weight"
        assert max_error(y, attention(q, k, v)[0]) > 1e-9, message
        message = "mask: True and False are exchanged; True is where a query may look"
        with np.errstate(all="ignore"):
            assert max_error(y, attention(q, k, v, ~mask)[0]) > 1e-9, message
        a = attention(q, k, v)[1][0] * mask
        message = (
            "mask: weights are set to 0 after the softmax, so that a row no longer adds up to 1; "
            "set scores to -inf before it"
        )
        assert max_error(y, a @ v) > 1e-9, message
        scores = np.where(mask, q @ k.swapaxes(-1, -2) / K**0.5, 0)
        e = np.exp(scores)
        message = "mask: a hidden score of 0 still has weight, since e**0 = 1; it must be -inf"
        assert max_error(y, e / e.sum(-1, keepdims=True) @ v) > 1e-9, message
    e = np.exp(q @ k.swapaxes(-1, -2) / K**0.5)
    if mask is None:
        message = "axis: the softmax runs over the queries; over the keys, the last axis, it must"
        assert max_error(y, e / e.sum(-2, keepdims=True) @ v) > 1e-9, message
    raise AssertionError(
        f"output: y is wrong {said}, q {q.shape}, k {k.shape}; y = A v, A = softmax(q k^T / "
        "sqrt(K)) over the last axis, and hidden scores are -inf before it"
    )


def _test_backward(answer):
    """``answer(dy, q, k, v, mask)`` -> dq, dk, dv."""
    rng = np.random.default_rng(1)
    for leading, T, S, K in SHAPES:
        q, k, v, mask = _draw(rng, leading, T, S, K)
        dy = rng.normal(size=q.shape)
        for seen in (None, mask):
            _check_gradients(_called(answer, dy, q, k, v, seen), dy, q, k, v, seen)
    q, k, v, mask = _draw(rng)
    extreme = _called(answer, np.ones_like(q), q * 1e4, k, v, mask)
    assert all(np.isfinite(x).all() for x in extreme), (
        "extreme scores: nan or inf at scores near 1e4; subtract each row's largest before np.exp"
    )
    q, k, v, mask = _draw(rng, dtype=np.float32)
    for name, x in zip("qkv", _called(answer, np.ones_like(q), q, k, v, mask)):
        assert x.dtype == np.float32, f"dtype: float32 in gives d{name} of {x.dtype}; {KEEP}"


def _check_gradients(result, dy, q, k, v, mask):
    assert isinstance(result, (tuple, list)) and len(result) == 3, (
        "form: return three things, dq, dk, dv"
    )
    K, (_, cache) = q.shape[-1], attention(q, k, v, mask)
    right = attention_backward(dy, cache)
    where = {
        "q": "dq = dZ k / sqrt(K), with dZ = A * (dA - the row sums of A * dA)",
        "k": "dk = dZ^T q / sqrt(K): a key gets a sum over all queries",
        "v": "dv = A^T dy: a value gets what each query took of it",
    }
    for name, x, like in zip("qkv", result, (q, k, v)):
        _check_array(f"d{name}", x, like)
    dq, dk, _ = result
    if q.shape == k.shape and max_error(dq, right[0]) > 1e-8:
        message = "gradient: dq and dk have changed places; return dq, dk, dv"
        assert max(max_error(dq, right[1]), max_error(dk, right[0])) > 1e-8, message
    if mask is not None:
        open_to_all = attention_backward(dy, attention(q, k, v)[1])
        message = "mask: it is not used; A is the weights of the forward pass, zeros where hidden"
        assert max(map(max_error, result, open_to_all)) > 1e-8, message
    for name, ours, theirs in zip("vqk", _vqk(result), _vqk(right)):
        if max_error(ours, theirs) < 1e-8:
            continue
        assert max_error(-ours, theirs) > 1e-8, f"gradient: d{name} has the wrong sign"
        if name in "qk":
            message = f"gradient: d{name} lacks the factor 1 / sqrt(K) of the scores"
            assert K == 1 or max_error(ours * K**-0.5, theirs) > 1e-8, message
            a, da = cache[0], dy @ v.swapaxes(-1, -2)
            dz = a * da * K**-0.5
            short = dz @ k if name == "q" else dz.swapaxes(-1, -2) @ q
            message = f"gradient: d{name}: the softmax's row sums are not subtracted; {where['q']}"
            assert max_error(ours, short) > 1e-8, message
        raise AssertionError(f"gradient: d{name} is wrong; {where[name]}")


def _vqk(three):
    return three[2], three[0], three[1]


def _heads(x, n_head):
    return x.reshape(*x.shape[:-1], n_head, -1).swapaxes(-3, -2)


def _multi_head(x, wq, wk, wv, wo, n_head, mask=None):
    q, k, v = (_heads(x @ w.T, n_head) for w in (wq, wk, wv))
    y = attention(q, k, v, None if mask is None else mask[:, None])[0]
    return y.swapaxes(-3, -2).reshape(x.shape) @ wo.T


def _test_multi_head(answer):
    """``answer(x, wq, wk, wv, wo, n_head, mask)``: x (B, T, C), w (C, C), mask (B, T, T) or None."""
    rng = np.random.default_rng(2)
    for B, T, C, H in [(2, 3, 4, 1), (2, 3, 6, 2), (1, 5, 8, 4), (3, 2, 6, 6)]:
        x = rng.normal(size=(B, T, C))
        w = rng.normal(size=(4, C, C))
        mask = (rng.random((B, T, T)) < 0.6) | np.eye(T, dtype=bool)
        for seen in (None, mask):
            y = _called(answer, x, *w, H, seen, hint=HEADS)
            _check_array("y", y, x)
            right = _multi_head(x, *w, H, seen)
            if max_error(y, right) > 1e-9:
                _blame_heads(y, x, w, H, seen)


def _blame_heads(y, x, w, H, mask):
    said = f"B, T, C = {x.shape}, H = {H}, {'with' if mask is not None else 'without'} a mask"
    wq, wk, wv, wo = w
    if mask is not None:
        message = f"mask: it is not used; {said}"
        assert max_error(y, _multi_head(x, *w, H)) > 1e-9, message
    guesses = {
        "weights: y = x W^T, as in the chapter; W itself was multiplied": (wq.T, wk.T, wv.T, wo.T),
        "output: the fourth matrix, which mixes the heads, is missing": (
            wq,
            wk,
            wv,
            np.eye(len(wo)),
        ),
    }
    for message, other in guesses.items():
        assert max_error(y, _multi_head(x, *other, H, mask)) > 1e-9, f"{message}; {said}"
    message = f"heads: this is one head of C channels; each of H looks for itself; {said}"
    assert H == 1 or max_error(y, _multi_head(x, *w, 1, mask)) > 1e-9, message
    C, K = x.shape[-1], x.shape[-1] // H
    wide = _multi_head(x, wq * (K / C) ** 0.5, wk, wv, wo, H, mask)
    message = f"scale: a head has K = C / H channels; divide by sqrt(K), not by sqrt(C); {said}"
    assert H == 1 or max_error(y, wide) > 1e-9, message

    q, k, v = (x @ m.T for m in (wq, wk, wv))
    q, k, v = (z.reshape(len(x), H, x.shape[1], K) for z in (q, k, v))
    cut = attention(q, k, v, None if mask is None else mask[:, None])[0].reshape(x.shape) @ wo.T
    y_heads = attention(*(_heads(x @ m.T, H) for m in (wq, wk, wv)),
                        None if mask is None else mask[:, None])[0]  # fmt: skip
    for wrong in (cut, y_heads.reshape(x.shape) @ wo.T):
        assert H == 1 or max_error(y, wrong) > 1e-9, (
            "reshape: positions and heads are mixed up; (B, T, C) becomes (B, T, H, K) and only "
            f"then (B, H, T, K) by exchanging axes, and back the same way; {said}"
        )
    raise AssertionError(f"output: y is wrong; {said}")


check_attention = Exercise("attention with a mask", test=_test_attention)
check_attention_backward = Exercise("the gradients of attention", test=_test_backward)
check_multi_head = Exercise("many heads", test=_test_multi_head)

__all__ = ["check_attention", "check_attention_backward", "check_multi_head"]
