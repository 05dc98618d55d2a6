"""The checkers of chapter 2.2: right answers pass, typical mistakes are named."""

import numpy as np
import pytest
from graded import verdict

from minillm.exercises.embeddings import check_analogy, check_ppmi, check_sgns
from minillm.numpy_nn.functional import sigmoid
from minillm.words import ppmi, solve


def table(counts, *, log=np.log, floor=0.0, over="both", fill=0.0, total=None):
    """PPMI step by step; each option is one typical mistake."""
    n = counts.sum() if total is None else total
    rows, columns = counts.sum(1, keepdims=True), counts.sum(0, keepdims=True)
    if over == "rows":
        columns = np.full_like(columns, n)
    if over == "exchanged":
        counts = counts.T
        rows, columns = columns.T, rows.T
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = log(counts * n / (rows * columns))
    pmi = np.where(counts > 0, pmi, fill) if fill is not None else pmi
    return pmi if floor is None else np.maximum(pmi, floor)


def loops(counts):
    n, out = counts.sum(), np.zeros(counts.shape)
    for i in range(len(counts)):
        for j in range(len(counts)):
            if counts[i, j]:
                p = counts[i, j] / n
                out[i, j] = max(0, np.log(p / (counts[i].sum() / n * counts[:, j].sum() / n)))
    return out


def in_place(counts):
    right = ppmi(counts)
    counts[...] = 0
    return right


PPMI_RIGHT = [ppmi, table, loops]
PPMI_WRONG = [
    (lambda x: table(x, floor=None), "positive"),
    (lambda x: table(x, fill=None), "zeros"),
    (lambda x: table(x, log=np.log2), "units"),
    (lambda x: table(x, over="rows"), "formula"),
    (lambda x: table(x, over="exchanged"), "axes"),
    (lambda x: ppmi(x).sum(0), "shape"),
    (lambda x: ppmi(x).tolist(), "type"),
    (lambda x: ppmi(x + 1), "formula"),
    (in_place, "purity"),
]


def sgns(
    v, u, n, *, mean=True, sign=1, both=True, negatives="sum", large=True, dn_sign=1, scale=1.0,
    wide=False, dtype=None,
):  # fmt: skip
    """Loss and gradients step by step; each option is one typical mistake."""
    s, t = (u * v).sum(1), np.einsum("pkc,pc->pk", n, v)
    if large:
        price, other = np.logaddexp(0, -s), np.logaddexp(0, sign * t)
    else:
        with np.errstate(over="ignore", divide="ignore"):
            price, other = -np.log(sigmoid(s)), -np.log(sigmoid(-sign * t))
    each = price + {"sum": other.sum(1), "mean": other.mean(1), "none": 0 * s}[negatives]
    p = len(v) if mean else 1
    ds, dt = (sigmoid(s) - 1)[:, None] / p * scale, sigmoid(t)[:, :, None] / p * scale
    dv = ds * u + (dt * n).sum(1) * both
    dn = dn_sign * dt * v[:, None]
    arrays = [dv, ds * v, dn]
    if wide:
        arrays = [x.astype(np.float64) for x in arrays]
    return each.mean() if mean else each.sum(), *arrays


def sgns_in_place(v, u, n):
    result = sgns(v, u, n)
    v *= 2
    return result


def one_by_one(v, u, n):
    loss, dv, du, dn = 0.0, np.zeros_like(v), np.zeros_like(u), np.zeros_like(n)
    for p in range(len(v)):
        g = v.dtype.type(1 / len(v)) * (sigmoid(u[p] @ v[p]) - 1)
        loss += np.logaddexp(0, -u[p] @ v[p]) / len(v)
        dv[p] += g * u[p]
        du[p] = g * v[p]
        for k in range(n.shape[1]):
            loss += np.logaddexp(0, n[p, k] @ v[p]) / len(v)
            h = v.dtype.type(1 / len(v)) * sigmoid(n[p, k] @ v[p])
            dv[p] += h * n[p, k]
            dn[p, k] = h * v[p]
    return loss, dv, du, dn


SGNS_RIGHT = [sgns, one_by_one]
SGNS_WRONG = [
    (lambda *x: sgns(*x, mean=False), "loss, mean"),
    (lambda *x: sgns(*x, sign=-1), "loss, sign"),
    (lambda *x: sgns(*x, negatives="mean"), "mean over negatives"),
    (lambda *x: sgns(*x, negatives="none"), "loss, negatives"),
    (lambda *x: sgns(*x, both=False), "gradient dv"),
    (lambda *x: sgns(*x, dn_sign=-1), "gradient dn: the sign"),
    (lambda *x: sgns(*x, scale=-1), "gradient dv: the sign"),
    (lambda *x: sgns(*x, scale=len(x[0])), "times too large"),
    (lambda *x: sgns(*x, large=False), "overflow"),
    (lambda *x: sgns(*x, wide=True), "dtype"),
    (lambda *x: sgns(*x)[:2], "form"),
    (lambda *x: (sgns(*x)[0], *[g.sum(0) for g in sgns(*x)[1:]]), "shape"),
    (sgns_in_place, "purity"),
]


def analogy(vectors, questions, *, order=(0, 1, 2), unit=True, exclude=True):
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if unit else vectors
    a, b, c = questions[:, order].T
    scores = (rows[b] - rows[a] + rows[c]) @ rows.T
    if exclude:
        scores[np.arange(len(scores))[:, None], questions] = -np.inf
    return scores.argmax(1)


def question_by_question(vectors, questions):
    rows = vectors / np.sqrt((vectors**2).sum(1))[:, None]
    found = []
    for a, b, c in questions:
        query = rows[b] - rows[a] + rows[c]
        order = np.argsort(-rows @ query / np.linalg.norm(query))
        found.append(next(i for i in order if i not in (a, b, c)))
    return np.array(found)


ANALOGY_RIGHT = [solve, analogy, question_by_question]
ANALOGY_WRONG = [
    (lambda *x: analogy(*x, exclude=False), "excluded"),
    (lambda *x: analogy(*x, order=(1, 0, 2)), "sign"),
    (lambda *x: analogy(*x, unit=False), "length"),
    (lambda *x: analogy(*x, order=(2, 0, 1)), "wrong"),
    (lambda *x: analogy(*x)[:, None], "shape"),
    (lambda *x: analogy(*x).astype(float), "dtype"),
    (lambda *x: analogy(*x).tolist(), "type"),
]
CHECKS = [
    (check_ppmi, PPMI_RIGHT, PPMI_WRONG),
    (check_sgns, SGNS_RIGHT, SGNS_WRONG),
    (check_analogy, ANALOGY_RIGHT, ANALOGY_WRONG),
]


@pytest.mark.parametrize(
    ("check", "answer"), [(check, answer) for check, right, _ in CHECKS for answer in right]
)
def test_right_answers_pass(check, answer, capsys):
    assert verdict(check, answer, capsys).startswith("✓")


@pytest.mark.parametrize(
    ("check", "answer", "named"),
    [(check, *wrong) for check, _, wrongs in CHECKS for wrong in wrongs],
)
def test_typical_mistakes_are_named(check, answer, named, capsys):
    said = verdict(check, answer, capsys)
    assert said.startswith("✗")
    assert named in said


@pytest.mark.parametrize("check", [check for check, _, _ in CHECKS])
def test_no_answer(check, capsys):
    for nothing in (None, ..., lambda *x: ..., lambda *x: None):
        said = verdict(check, nothing, capsys)
        assert said.startswith("not answered yet") or "returns None" in said
    said = verdict(check, lambda *x: 1 / 0, capsys)
    assert said.startswith("✗")
    assert "ZeroDivisionError" in said
