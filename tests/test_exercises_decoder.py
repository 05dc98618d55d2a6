"""The checkers of chapter 2.4: right answers pass, typical mistakes are named."""

import numpy as np
import pytest
import torch
from graded import check_no_answer, verdict

from minillm.exercises.decoder import (
    check_causal_mask,
    check_cross_attention,
    check_teacher_forcing,
)
from minillm.numpy_nn.attention import attention, attention_backward, causal_mask


def by_comparison(T, S):
    return np.arange(S) <= np.arange(T)[:, None] + S - T


def by_loops(T, S):
    mask = np.zeros((T, S), dtype=bool)
    for t in range(T):
        mask[t, : S - T + t + 1] = True
    return mask


MASKS_RIGHT = [
    causal_mask,
    by_comparison,
    by_loops,
    lambda T, S: ~np.triu(np.ones((T, S), bool), S - T + 1),
]
MASKS_WRONG = [
    (lambda T, S: np.triu(np.ones((T, S), bool), S - T), "leak"),
    (lambda T, S: ~by_loops(T, S), "exchanged"),
    (lambda T, S: np.tri(T, S, S - T), "dtype"),
    (lambda T, S: np.tri(T, S, S - T - 1, dtype=bool), "itself"),
    (lambda T, S: np.tri(T, S, dtype=bool), "offset: T = 2, S = 5"),
    (lambda T, S: np.ones((T, S), bool), "leak"),
    (lambda T, S: np.eye(T, S, S - T, dtype=bool), "blind"),
    (lambda T, S: by_loops(T, T), "shape"),
    (lambda T, S: by_loops(T, S).tolist(), "type"),
]


def by_package(q, k, v, mask, dy):
    y, cache = attention(q, k, v, mask)
    return y, *attention_backward(dy, cache)


def by_steps(
    q, k, v, mask, dy, *, root=0.5, fill=-np.inf, dscale=1.0, stable=True, axis=-1, transpose=True,
    row_sums=True, invert=False,
):  # fmt: skip
    """Attention step by step; each option is one typical mistake."""
    scale = q.dtype.type(q.shape[-1] ** -root)
    seen = ~mask if invert else mask
    s = np.where(seen, q @ k.swapaxes(-1, -2) * scale, fill)
    if stable:
        top = s.max(axis, keepdims=True)
        s = s - np.where(np.isfinite(top), top, 0)
    e = np.exp(s)
    total = e.sum(axis, keepdims=True)
    a = (e / np.where(total > 0, total, 1)).astype(q.dtype)
    da = dy @ v.swapaxes(-1, -2)
    ds = a * (da - (a * da).sum(-1, keepdims=True)) if row_sums else a * da
    dv = a.swapaxes(-1, -2) @ dy
    if not transpose:
        dv = np.zeros_like(v) + dy.sum(-2, keepdims=True)
    return a @ v, ds @ k * (scale * dscale), ds.swapaxes(-1, -2) @ q * (scale * dscale), dv


def by_torch(q, k, v, mask, dy):
    leaves = [torch.tensor(x, requires_grad=True) for x in (q, k, v)]
    some = torch.tensor(mask.any(-1, keepdims=True))
    s = leaves[0] @ leaves[1].mT / q.shape[-1] ** 0.5
    s = s.masked_fill(~torch.tensor(mask), -torch.inf).masked_fill(~some, 0.0)
    y = torch.where(some, torch.softmax(s, -1), 0.0) @ leaves[2]
    y.backward(torch.tensor(dy))
    return y.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)


def by_loop(q, k, v, mask, dy):
    """One query of one text after another."""
    y, dq, dk, dv = np.zeros_like(q), np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    root = q.dtype.type(q.shape[-1] ** 0.5)
    for b, t in np.ndindex(q.shape[:2]):
        seen = np.flatnonzero(mask[b, t])
        if len(seen) == 0:
            continue
        s = k[b, seen] @ q[b, t] / root
        a = np.exp(s - s.max())
        a /= a.sum()
        y[b, t] = a @ v[b, seen]
        da = v[b, seen] @ dy[b, t]
        ds = a * (da - a @ da) / root
        dq[b, t] = ds @ k[b, seen]
        dk[b, seen] += ds[:, None] * q[b, t]
        dv[b, seen] += a[:, None] * dy[b, t]
    return y, dq, dk, dv


def in_place(q, k, v, mask, dy):
    result = by_steps(q, k, v, mask, dy)
    q *= q.shape[-1] ** -0.5
    return result


def option(**options):
    return lambda *given: by_steps(*given, **options)


def float64(*given):
    return tuple(x.astype(np.float64) for x in by_steps(*given))


def nan_when_empty(q, k, v, mask, dy):
    y, *rest = by_steps(q, k, v, mask, dy)
    y[~mask.any(-1)] = np.nan
    return y, *rest


def uniform_when_empty(q, k, v, mask, dy):
    return by_steps(q, k, v, mask, dy, fill=-1e9)


def swapped(*given):
    y, dq, dk, dv = by_steps(*given)
    return y, dq, dv, dk


def not_turned(q, k, v, mask, dy):
    return q @ k, q, k, v


ATTENTIONS_RIGHT = [by_package, by_steps, by_torch, by_loop]
ATTENTIONS_WRONG = [
    (option(root=0.0), "not divided by sqrt"),
    (option(root=1.0), "square root"),
    (lambda q, k, v, mask, dy: by_steps(q, k, v, np.ones_like(mask), dy), "not used"),
    (option(invert=True), "exchanged"),
    (option(fill=0.0), "output"),
    (option(axis=-2), "output"),
    (option(dscale=2.0), "dq"),
    (option(row_sums=False), "row sums"),
    (option(transpose=False), "dv"),
    (option(stable=False), "extreme"),
    (in_place, "purity"),
    (float64, "dtype"),
    (nan_when_empty, "empty source"),
    (uniform_when_empty, "empty source"),
    (lambda *given: by_steps(*given)[0], "four"),
    (swapped, "exchanged"),
    (not_turned, "do not fit"),
    (uniform_when_empty, "large negative number"),
    (lambda *given: by_steps(*given[:4], -given[4]), "sign"),
    (lambda q, k, v, mask, dy: by_steps(q, k, v, mask, dy)[:2] + by_steps(q, k, v, mask, dy)[:2], "shape"),
]  # fmt: skip


def forced(texts, start, end, pad):
    T = max(map(len, texts)) + 1
    ids, targets = np.full((len(texts), T), pad), np.full((len(texts), T), -100)
    mask = np.zeros((len(texts), T), bool)
    for b, text in enumerate(texts):
        n = len(text) + 1
        ids[b, :n], targets[b, :n], mask[b, :n] = [start, *text], [*text, end], True
    return ids, targets, mask


def forced_by_lists(texts, start, end, pad):
    T = max(len(text) for text in texts) + 1
    ids = [([start, *text] + [pad] * T)[:T] for text in texts]
    targets = [([*text, end] + [-100] * T)[:T] for text in texts]
    mask = [[t <= len(text) for t in range(T)] for text in texts]
    return np.array(ids), np.array(targets), np.array(mask)


def forced_by_shift(texts, start, end, pad):
    T = max(map(len, texts)) + 2
    whole = np.array([[start, *text, end, *[pad] * (T - 2 - len(text))] for text in texts])
    real = np.arange(T) < np.array([[len(text) + 2] for text in texts])
    ids = np.where(real[:, 1:], whole[:, :-1], pad)
    return ids, np.where(real[:, 1:], whole[:, 1:], -100), real[:, 1:]


def changed(index, change):
    def answer(texts, start, end, pad):
        result = list(forced(texts, start, end, pad))
        result[index] = change(result, pad)
        return tuple(result)

    return answer


def appends(texts, start, end, pad):
    for text in texts:
        text.append(end)
    return forced([text[:-1] for text in texts], start, end, pad)


def no_end(texts, start, end, pad):
    ids, targets, mask = forced(texts, start, end, pad)
    return ids, np.where(targets == end, pad, targets), mask


def as_lists(*given):
    return tuple(x.tolist() for x in forced(*given))


def as_floats(*given):
    ids, targets, mask = forced(*given)
    return ids.astype(float), targets, mask


FORCINGS_RIGHT = [forced, forced_by_lists, forced_by_shift]
FORCINGS_WRONG = [
    (changed(1, lambda r, pad: r[0]), "shift"),
    (no_end, "end"),
    (changed(1, lambda r, pad: np.where(r[1] == -100, pad, r[1])), "does not count"),
    (changed(2, lambda r, pad: r[0] != pad), "count, do not compare"),
    (changed(2, lambda r, pad: r[2].astype(int)), "dtype: mask"),
    (as_lists, "not an array"),
    (as_floats, "dtype: ids"),
    (changed(1, lambda r, pad: r[1].astype(float)), "dtype: targets"),
    (changed(0, lambda r, pad: np.where(r[2], r[0], -100)), "not pad"),
    (changed(0, lambda r, pad: r[1]), "start"),
    (lambda *given: tuple(x[:, :-1] for x in forced(*given)), "shape"),
    (lambda *given: forced(*given)[:2], "three"),
    (appends, "purity"),
]


@pytest.mark.parametrize(
    ("check", "answer"),
    [(check_causal_mask, a) for a in MASKS_RIGHT]
    + [(check_cross_attention, a) for a in ATTENTIONS_RIGHT]
    + [(check_teacher_forcing, a) for a in FORCINGS_RIGHT],
)
def test_right_answers_of_any_style_pass(check, answer, capsys):
    assert verdict(check, answer, capsys).startswith("✓")
    check.solved(answer)


@pytest.mark.parametrize(
    ("check", "answer", "word"),
    [(check_causal_mask, *case) for case in MASKS_WRONG]
    + [(check_cross_attention, *case) for case in ATTENTIONS_WRONG]
    + [(check_teacher_forcing, *case) for case in FORCINGS_WRONG],
)
def test_a_typical_mistake_is_named(check, answer, word, capsys):
    said = verdict(check, answer, capsys)
    assert said.startswith("✗") and word in said


@pytest.mark.parametrize("check", [check_causal_mask, check_cross_attention, check_teacher_forcing])
def test_no_answer_and_an_answer_that_raises(check, capsys):
    check_no_answer(check, capsys)
