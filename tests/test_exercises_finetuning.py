"""The checkers of chapter 3.1: right answers pass, typical mistakes are named."""

import numpy as np
import pytest
from graded import verdict

from minillm.exercises.finetuning import check_lora, check_shifted_loss


def lora(x, W, A, B, scale, dy, *, y_scale=1, base=1, through=1, w=1, a_scale=1, b_scale=1, swap=0):
    """A LoRA step; each option is one typical mistake."""
    s = x.dtype.type(scale)
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    y = base * (x @ W.T) + (s if y_scale else x.dtype.type(1)) * (x @ A.T @ B.T)
    dx = w * (dy @ W) + through * s * (dy @ B @ A)
    dA = (s if a_scale else 1) * ((drows @ B).T @ rows)
    dB = (s if b_scale else 1) * (drows.T @ (rows @ A.T))
    return y, dx, dA, (-dB if swap else dB)


def by_einsum(x, W, A, B, scale, dy):
    s = x.dtype.type(scale)
    y = np.einsum("...i,oi->...o", x, W + s * B @ A)
    dx = np.einsum("...o,oi->...i", dy, W + s * B @ A)
    x, dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    dA = s * np.einsum("no,or,ni->ri", dy, B, x)
    dB = s * np.einsum("no,ni,ri->or", dy, x, A)
    return y, dx, dA, dB


def by_merged_gradient(x, W, A, B, scale, dy):
    merged = W + x.dtype.type(scale) * B @ A
    dW = dy.reshape(-1, len(W)).T @ x.reshape(-1, W.shape[1])
    return [
        x @ merged.T,
        dy @ merged,
        x.dtype.type(scale) * B.T @ dW,
        x.dtype.type(scale) * dW @ A.T,
    ]


def in_place(x, W, A, B, scale, dy):
    W += x.dtype.type(scale) * B @ A
    return x @ W.T, dy @ W, A, B


LORA_WRONG = [
    (lambda *a: lora(*a, y_scale=0), "scale"),
    (lambda *a: lora(*a, base=0), "base"),
    (lambda *a: lora(*a, through=0), "through A and B"),
    (lambda *a: lora(*a, w=0), "through W"),
    (lambda *a: lora(*a, a_scale=0), "dA lacks the factor"),
    (lambda *a: lora(*a, b_scale=0), "dB lacks the factor"),
    (lambda *a: lora(*a, swap=1), "dB is wrong"),
    (lambda *a: lora(*a)[:2], "form"),
    (lambda *a: (*lora(*a)[:2], lora(*a)[2].T, lora(*a)[3]), "shape"),
    (lambda *a: tuple(v.astype(np.float64) for v in lora(*a)), "dtype"),
    (in_place, "purity"),
]


@pytest.mark.parametrize("answer", [lora, by_einsum, by_merged_gradient])
def test_right_lora_passes(answer, capsys):
    assert "✓" in verdict(check_lora, answer, capsys)


@pytest.mark.parametrize(("answer", "word"), LORA_WRONG)
def test_wrong_lora_is_named(answer, word, capsys):
    report = verdict(check_lora, answer, capsys)
    assert report.startswith("✗") and word in report


def shifted(
    logits, ids, mask, *, shift=1, padding=0, total=0, everywhere=0, grad_n=1, stable=1, last=0
):
    """The shifted loss; each option is one typical mistake."""
    B, T, V = logits.shape
    targets = np.roll(ids, -1, 1) if shift else ids
    counts = np.zeros((B, T), bool)
    counts[:, :-1] = True if padding else mask[:, 1:]
    counts = mask.copy() if not shift else counts
    if last:
        counts[:, -1] = mask[:, -1]
    z = logits - logits.max(-1, keepdims=True) if stable else logits
    logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
    n = mask.size if everywhere else counts.sum()
    each = -np.take_along_axis(logp, targets[..., None], -1)[..., 0] * counts
    d = (np.exp(logp) - np.eye(V)[targets]) * counts[..., None]
    return each.sum() / (1 if total else n), d / (n if grad_n else 1)


def by_loops(logits, ids, mask):
    loss, n, d = 0.0, 0, np.zeros_like(logits)
    for b in range(len(ids)):
        for t in range(ids.shape[1] - 1):
            if mask[b, t + 1]:
                e = np.exp(logits[b, t] - logits[b, t].max())
                p = e / e.sum()
                z = logits[b, t] - logits[b, t].max()
                loss, n = loss + np.log(e.sum()) - z[ids[b, t + 1]], n + 1
                p[ids[b, t + 1]] -= 1
                d[b, t] = p
    return loss / n, d / n


def by_package(logits, ids, mask):
    from minillm.numpy_nn.functional import cross_entropy, cross_entropy_backward

    targets = np.full_like(ids, -100)
    targets[:, :-1] = np.where(mask[:, 1:], ids[:, 1:], -100)
    loss, cache = cross_entropy(logits, targets)
    return loss, cross_entropy_backward(cache)


def scribbling(logits, ids, mask):
    result = shifted(logits, ids, mask)
    logits -= logits.max()
    return result


SHIFTED_WRONG = [
    (lambda *a: shifted(*a, shift=0), "shift"),
    (lambda *a: shifted(*a, padding=1), "padding"),
    (lambda *a: shifted(*a, total=1), "mean"),
    (lambda *a: shifted(*a, everywhere=1), "mean"),
    (lambda *a: shifted(*a, grad_n=0), "not divided"),
    (lambda *a: shifted(*a, stable=0), "extreme"),
    (lambda *a: shifted(*a, last=1), "loss"),
    (lambda *a: shifted(*a)[0], "form"),
    (lambda *a: (shifted(*a)[0], shifted(*a)[1][:, :-1]), "shape"),
    (lambda *a: (shifted(*a)[0], -shifted(*a)[1]), "p - y"),
    (scribbling, "purity"),
]


@pytest.mark.parametrize("answer", [shifted, by_loops, by_package])
def test_right_loss_passes(answer, capsys):
    assert "✓" in verdict(check_shifted_loss, answer, capsys)


@pytest.mark.parametrize(("answer", "word"), SHIFTED_WRONG)
def test_wrong_loss_is_named(answer, word, capsys):
    report = verdict(check_shifted_loss, answer, capsys)
    assert report.startswith("✗") and word in report


@pytest.mark.parametrize("check", [check_lora, check_shifted_loss])
def test_no_answer_and_an_answer_that_raises(check, capsys):
    assert "not answered yet" in verdict(check, ..., capsys)
    assert "not answered yet" in verdict(check, None, capsys)
    assert "not answered yet" in verdict(check, lambda *a: None, capsys)
    assert "ZeroDivisionError" in verdict(check, lambda *a: 1 / 0, capsys)
