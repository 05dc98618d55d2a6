"""Checkers of chapter 2.2: PPMI, negative sampling with its gradients, solving analogies.

    from minillm.exercises.embeddings import check_ppmi

    check_ppmi(my_ppmi)

Shape letters: V vocabulary, C channels, P pairs, K negatives for each pair, Q questions.
"""

import numpy as np

from minillm.exercise import Exercise
from minillm.numpy_nn.gradcheck import max_error
from minillm.numpy_nn.word_vectors import negative_sampling, negative_sampling_backward
from minillm.words import ppmi, solve


def _unchanged(names, given, before):
    for name, now, then in zip(names, given, before, strict=True):
        assert np.array_equal(now, then), f"purity: {name} was changed in place; work on a copy"


def _array(name, x, shape):
    assert isinstance(x, np.ndarray), f"type: {name} is a {type(x).__name__}, not an array"
    assert x.shape == shape, f"shape: {name} has {x.shape}, expected {shape}"


def _test_ppmi(answer):
    """``answer(counts)``: counts (V, V) -> positive PMI (V, V), in nats."""
    rng = np.random.default_rng(0)
    uneven = rng.poisson(1.5, (5, 5)) * np.arange(1, 6)[:, None]  # not symmetric, some zeros
    uneven[0, 0], uneven[4, 4] = 0, 50
    isolated = np.array([[0, 3, 0], [3, 1, 0], [0, 0, 0]])
    for counts in (uneven.astype(float), uneven, 1e-3 * uneven, isolated):
        given = counts.copy()
        found, right = answer(given), ppmi(counts)
        _unchanged(["counts"], [given], [counts])
        _array("the table", found, counts.shape)
        assert np.isfinite(found).all(), (
            "zeros: nan or inf; a pair never seen, or a word without neighbors, gets 0"
        )
        assert (found >= 0).all(), "positive: an entry is below 0; what is below 0 becomes 0"
        assert not np.allclose(found, right / np.log(2)) or not right.any(), (
            "units: these are bits; use the natural logarithm"
        )
        transposed = ppmi(counts.T)
        assert np.allclose(found, right) or not np.allclose(found, transposed), (
            "axes: rows and columns are exchanged"
        )
        assert not (found[counts == 0] > 0).any(), "zeros: a pair that was never seen has PPMI 0"
        assert np.allclose(found, right, atol=1e-10), (
            "formula: wrong where PMI is positive; p(i, j) = x / N, p(i) is a row's sum over N, "
            f"p(j) a column's, N the sum of all; the largest difference is {np.abs(found - right).max():.3g}"
        )


def _pairs(P, K, C, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    v, u = rng.normal(size=(2, P, C)).astype(dtype)
    return v, u, rng.normal(size=(P, K, C)).astype(dtype)


def _test_sgns(answer):
    """``answer(v, u, n)``: (P, C), (P, C), (P, K, C) -> loss, dv, du, dn; the loss is the mean."""
    for shape in ((3, 4, 5), (1, 1, 2), (4, 2, 4)):
        arrays = _pairs(*shape)
        given = [x.copy() for x in arrays]
        result = answer(*given)
        assert isinstance(result, (tuple, list)) and len(result) == 4, (
            "form: return four things: loss, dv, du, dn"
        )
        _unchanged("vun", given, arrays)
        loss, cache = negative_sampling(*arrays)
        _check_loss(result[0], loss, cache, shape)
        rights = negative_sampling_backward(1.0, cache)
        for name, x, right in zip(("dv", "du", "dn"), result[1:], rights, strict=True):
            _array(name, x, right.shape)
            _check_gradient(name, x, right, shape, rights)
    v, u, n = _pairs(2, 3, 4)
    found = answer(1e3 * v, 1e3 * u, 1e3 * n)
    assert all(np.isfinite(x).all() for x in found), (
        "overflow: nan or inf for large vectors; -ln sigmoid(s) is np.logaddexp(0, -s)"
    )
    small = answer(*_pairs(2, 3, 4, np.float32))
    assert all(x.dtype == np.float32 for x in small[1:]), (
        "dtype: the gradients of float32 vectors are float64"
    )


def _check_loss(found, right, cache, shape):
    assert np.ndim(found) == 0, f"shape: the loss has {np.shape(found)}, expected ()"
    P = shape[0]
    positive, negative = cache[3], cache[4]
    kept = np.logaddexp(0, -positive)
    names = {
        "mean": right * P,  # the sum over the pairs
        "mean over negatives": (kept + np.logaddexp(0, negative).mean(-1)).mean(),
        "negatives": kept.mean(),
        "sign": (kept + np.logaddexp(0, -negative).sum(-1)).mean(),
    }
    hints = {
        "mean": "the loss is the sum over the pairs, not their mean",
        "mean over negatives": "add the K negatives up; only the pairs are averaged",
        "negatives": "the negatives add nothing",
        "sign": "a negative's score should fall: its part is -ln sigmoid(minus the score)",
    }
    if np.isclose(found, right, rtol=1e-8):
        return
    for name, wrong in names.items():
        if not np.isclose(wrong, right):
            assert not np.isclose(found, wrong), f"loss, {name}: {hints[name]}"
    raise AssertionError(f"loss: {float(found):.4f}, expected {float(right):.4f}")


def _check_gradient(name, found, right, shape, rights):
    if max_error(found, right) < 1e-9:
        return
    message = f"gradient {name}"
    assert max_error(found, -right) > 1e-9, f"{message}: the sign is wrong"
    P = shape[0]
    assert P == 1 or max_error(found, right * P) > 1e-9, (
        f"{message}: {P} times too large; the loss is a mean over the pairs"
    )
    hints = {
        "dv": "the center gets two parts: (sigmoid(u . v) - 1) u, and sigmoid(n . v) n of each negative",
        "du": "the context gets (sigmoid(u . v) - 1) v",
        "dn": "each negative gets sigmoid(n . v) v",
    }
    raise AssertionError(
        f"{message}: wrong by up to {np.abs(found - right).max():.3g}; {hints[name]}"
    )


def _test_analogy(answer):
    """``answer(vectors, questions)``: (V, C), (Q, 3) -> ids (Q,)."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(40, 6)) * rng.uniform(0.2, 5, size=(40, 1))
    questions = np.array([rng.permutation(40)[:3] for _ in range(60)])
    given = vectors.copy(), questions.copy()
    found, right = answer(*given), solve(vectors, questions)
    _unchanged(("vectors", "questions"), given, (vectors, questions))
    _array("the answer", found, (60,))
    assert np.issubdtype(found.dtype, np.integer), f"dtype: {found.dtype}, expected integers: ids"
    assert not (found[:, None] == questions).any(), (
        "excluded: an answer is a word of its own question; these three may not win"
    )
    a, b, c = questions.T
    assert not np.array_equal(found, solve(vectors, questions[:, [1, 0, 2]])), (
        "sign: that is a - b + c; a : b = c : ? asks for b - a + c"
    )
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[b] - vectors[a] + vectors[c]
    for scores in (query @ vectors.T, (unit[b] - unit[a] + unit[c]) @ vectors.T, query @ unit.T):
        np.put_along_axis(scores, questions, -np.inf, axis=1)
        assert not np.array_equal(found, scores.argmax(1)), (
            "length: long vectors win; divide every row by its length first"
        )
    assert np.array_equal(found, right), (
        f"wrong: {(found != right).sum()} of 60 answers; the best is the largest cosine with b - a + c"
    )


check_ppmi = Exercise("ppmi", test=_test_ppmi)
check_sgns = Exercise("negative sampling, loss and gradients", test=_test_sgns)
check_analogy = Exercise("solving analogies", test=_test_analogy)

__all__ = ["check_analogy", "check_ppmi", "check_sgns"]
