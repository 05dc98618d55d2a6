"""Checkers of chapter 3.1: a low-rank adapter with its gradients, and the loss of pre-training.

    from minillm.exercises.finetuning import check_lora

    check_lora(my_lora)

Shape letters: B batch, T position, V vocabulary, R rank.
"""

import numpy as np

from minillm.batches import IGNORED
from minillm.exercise import Exercise
from minillm.numpy_nn import functional as F
from minillm.numpy_nn.gradcheck import max_error
from minillm.numpy_nn.layers import Linear
from minillm.numpy_nn.lora import LoRALinear


def _package_lora(x, W, A, B, scale, dy):
    """What the package's layer says: y, dx, dA, dB."""
    base = Linear(W.shape[1], W.shape[0], bias=False).to(W.dtype)
    base.weight.data = W
    layer = LoRALinear(base, rank=len(A), alpha=scale * len(A))
    layer.A.data, layer.B.data = A, B
    layer.zero_grad()
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    return y, dx, layer.A.grad.copy(), layer.B.grad.copy()


def _run(answer, given, names, outputs):
    """The outputs of an answer; raise unless they are arrays of the right shapes, inputs kept."""
    copies = [x.copy() if isinstance(x, np.ndarray) else x for x in given]
    result = answer(*copies)
    assert isinstance(result, (tuple, list)) and len(result) == len(outputs), (
        f"form: return {len(outputs)} things, {', '.join(outputs)}"
    )
    for name, now, before in zip(names, copies, given, strict=True):
        assert now is before or np.array_equal(now, before), (
            f"purity: {name} was changed in place; work on a copy"
        )
    for (name, shape), value in zip(outputs.items(), result, strict=True):
        assert np.shape(value) == shape, f"shape: {name} has {np.shape(value)}, expected {shape}"
    return result


def _test_lora(answer):
    """``answer(x, W, A, B, scale, dy)`` -> y, dx, dA, dB, for y = x W^T + scale x A^T B^T."""
    rng = np.random.default_rng(0)
    for leading, d_in, d_out, R, dtype in [
        ((6,), 4, 3, 2, np.float64),
        ((2, 5), 3, 4, 1, np.float64),
        ((), 3, 2, 2, np.float64),
        ((2, 3), 4, 4, 2, np.float32),
    ]:
        shapes = [(*leading, d_in), (d_out, d_in), (R, d_in), (d_out, R), (*leading, d_out)]
        x, W, A, B, dy = (rng.normal(size=shape).astype(dtype) for shape in shapes)
        given = x, W, A, B, 0.5, dy
        outputs = {"y": dy.shape, "dx": x.shape, "dA": A.shape, "dB": B.shape}
        results = _run(answer, given, ("x", "W", "A", "B", "scale", "dy"), outputs)
        _check_lora(results, given, 1e-9 if dtype == np.float64 else 1e-4)
        kinds = {np.asarray(value).dtype for value in results}
        assert kinds == {np.dtype(dtype)}, f"dtype: {np.dtype(dtype)} in gives {kinds} out"
    zero = np.zeros_like(B)
    y, _, dA, dB = answer(x.copy(), W.copy(), A.copy(), zero, 0.5, dy.copy())
    assert max_error(y, x @ W.T) < 1e-4, "start: with B = 0 the output must be the base's"
    assert not np.any(dA) and np.any(dB), "start: with B = 0, dA is zero and dB is not"


def _check_lora(results, given, tol):
    x, W, A, B, scale, dy = given
    right = _package_lora(*given)
    y, dx, dA, dB = results
    if max_error(y, right[0]) > tol:
        for message, other in {
            "base: x W^T is missing from y": right[0] - x @ W.T,
            "scale: y lacks the factor `scale` of the narrow map": x @ W.T + x @ A.T @ B.T,
            "scale: it belongs to the narrow map alone, not to x W^T": scale
            * (x @ W.T + x @ A.T @ B.T),
        }.items():
            assert max_error(y, other) > tol, message
        raise AssertionError("output: y is not x W^T + scale * x A^T B^T")
    formulas = {
        "dx": "dy W + scale (dy B) A",
        "dA": "scale (dy B)^T x, summed over all leading axes",
        "dB": "scale dy^T (x A^T), summed over all leading axes",
    }
    for (name, formula), ours, theirs in zip(
        formulas.items(), (dx, dA, dB), right[1:], strict=True
    ):
        if max_error(ours, theirs) <= tol:
            continue
        if name == "dx":
            assert max_error(ours, dy @ W) > tol, "gradient: dx lacks the way through A and B"
            assert max_error(ours, theirs - dy @ W) > tol, "gradient: dx lacks the way through W"
        assert max_error(np.multiply(ours, scale), theirs) > tol, (
            f"gradient: {name} lacks the factor `scale`"
        )
        raise AssertionError(f"gradient: {name} is wrong; it is {formula}")


def _package_shifted(logits, ids, mask):
    targets = np.full(ids.shape, IGNORED)
    targets[:, :-1] = np.where(mask[:, 1:] & mask[:, :-1], ids[:, 1:], IGNORED)
    loss, cache = F.cross_entropy(logits, targets)
    return loss, F.cross_entropy_backward(cache)


def _test_shifted(answer):
    """``answer(logits, ids, mask)`` -> loss, dlogits: each position predicts the next token."""
    rng = np.random.default_rng(1)
    for B, T, V in [(2, 5, 7), (1, 2, 3), (4, 4, 4)]:
        logits, ids = rng.normal(size=(B, T, V)), rng.integers(V, size=(B, T))
        full = np.ones((B, T), bool)
        padded = full.copy()
        padded[0, max(2, T - 2) :] = False
        for mask in (full, padded):
            given = logits, ids, mask
            outputs = {"loss": (), "dlogits": logits.shape}
            loss, dlogits = _run(answer, given, ("logits", "ids", "mask"), outputs)
            _check_shifted(loss, dlogits, given)
    logits = logits * 1e4
    loss, dlogits = answer(logits.copy(), ids.copy(), full.copy())
    assert np.isfinite(loss) and np.isfinite(dlogits).all(), (
        "extreme logits: inf or nan; subtract the largest logit before np.exp, and take no "
        "logarithm of a probability"
    )


def _check_shifted(loss, dlogits, given):
    logits, ids, mask = given
    right, gradient = _package_shifted(*given)
    if not np.isclose(loss, right, rtol=1e-9):
        own, _ = F.cross_entropy(logits, np.where(mask, ids, IGNORED))
        assert not np.isclose(loss, own), (
            "shift: each position is asked for its own token, which it has just read"
        )
        every, _ = F.cross_entropy(logits[:, :-1], ids[:, 1:])
        assert mask.all() or not np.isclose(loss, every), (
            "padding: targets that are padding count; leave them out of sum and count"
        )
        n = (mask[:, 1:] & mask[:, :-1]).sum()
        assert not np.isclose(loss, right * n), "mean: this is the sum, divide by what counts"
        wrong = n / mask.size, n / mask[:, 1:].size
        assert not any(np.isclose(loss, right * w) for w in wrong if w < 1), (
            "mean: divided by all positions, not by those that count"
        )
        raise AssertionError("loss: not the mean of -ln p(next token) over the real targets")
    assert not np.any(dlogits[:, -1]), (
        "gradient: the last position has no next token, its gradient must be 0"
    )
    assert not np.any(dlogits[:, :-1][~mask[:, 1:]]), (
        "gradient: a position whose target is padding must have gradient 0"
    )
    if max_error(dlogits, gradient) > 1e-9:
        n = (mask[:, 1:] & mask[:, :-1]).sum()
        assert n == 1 or max_error(dlogits / n, gradient) > 1e-9, (
            "gradient: p - y is not divided by the number of targets that count"
        )
        raise AssertionError("gradient: at a position that counts it is (p - y) / n")


check_lora = Exercise("LoRA, forward and backward", test=_test_lora)
check_shifted_loss = Exercise("the loss of pre-training", test=_test_shifted)

__all__ = ["check_lora", "check_shifted_loss"]
