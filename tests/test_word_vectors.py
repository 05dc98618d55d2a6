"""Word vectors: the halves agree, the gradients are right, what is drawn has the right shares."""

import numpy as np
import parity
import pytest
import torch
from scipy import sparse

from minillm.numpy_nn import word_vectors as by_hand
from minillm.numpy_nn.gradcheck import gradcheck, max_error
from minillm.torch_nn import word_vectors as twins
from minillm.weights import copy
from minillm.words import (
    Corpus,
    Windows,
    cooccurrences,
    draw,
    keep_probabilities,
    nearest,
    noise_distribution,
    pairs,
    ppmi,
    sentences,
    solve,
    train,
    windows,
)

EXACT = 1e-10
V, C = 12, 5


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def corpus(rng):
    texts = [[f"w{i}" for i in rng.integers(0, V, n)] for n in (1, 7, 40, 2, 25)]
    return Corpus.build(texts, vocab=[f"w{i}" for i in range(V)])


def a_batch(name, corpus, rng):
    if name == "GloVe":
        return cooccurrences(corpus, window=3)
    return next(windows(corpus, window=3, batch_size=64, sample=1.0, rng=rng))


def both(name, rng, dtype="float64"):
    """The model in both halves, with the same random weights."""
    ours = getattr(by_hand, name)(V, C, rng=rng).to(np.dtype(dtype))
    for parameter in ours.parameters():
        parameter.data += rng.normal(size=parameter.shape).astype(dtype)
    theirs = getattr(twins, name)(V, C).to(getattr(torch, dtype))
    copy(ours, theirs)
    return ours, theirs


def gradients(model):
    return {name: parity.plain(parity.grad(p)) for name, p in model.named_parameters()}


each_model = pytest.mark.parametrize("name", ["SkipGram", "CBOW", "GloVe"])


@each_model
def test_halves_agree(name, corpus, rng):
    batch = a_batch(name, corpus, rng)
    ours, theirs = both(name, rng)
    for scale in (1.0, 0.25):  # gradients add up
        loss, other = (model.loss_and_grads(batch, scale=scale) for model in (ours, theirs))
        assert max_error(loss, other.numpy()) < EXACT
    found, expected = gradients(ours), gradients(theirs)
    assert set(found) == set(expected)
    for key, gradient in found.items():
        assert gradient.any(), key
        assert max_error(gradient, expected[key]) < EXACT, key


@each_model
def test_finite_differences(name, corpus, rng):
    batch = a_batch(name, corpus, rng)
    ours, _ = both(name, rng)
    ours.loss_and_grads(batch)
    for _, parameter in ours.named_parameters():
        start = parameter.data.copy()

        def f(x, parameter=parameter):
            parameter.data[...] = x
            return ours.forward(batch)[0]

        gradcheck(f, start, parameter.grad, tol=1e-6)
        parameter.data[...] = start


@each_model
def test_steps_agree_and_help(name, corpus, rng):
    batch = a_batch(name, corpus, rng)
    ours, theirs = both(name, rng)
    before = ours.forward(batch)[0]
    for _ in range(5):
        ours.train_step(batch, 0.01), theirs.train_step(batch, 0.01)
    for (key, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert max_error(p.data, q.detach().numpy()) < EXACT, key
    assert ours.forward(batch)[0] < before


@pytest.mark.parametrize("name", ["SkipGram", "CBOW"])
def test_a_step_is_sgd(name, corpus, rng):
    """The fast step equals that with the whole gradient; float32 stays float32."""
    batch = a_batch(name, corpus, rng)
    ours, theirs = both(name, rng, "float32")
    ours.loss_and_grads(batch)
    expected = [p.data - 0.01 * p.grad for p in ours.parameters()]
    ours.train_step(batch, 0.01)
    for p, after in zip(ours.parameters(), expected, strict=True):
        assert p.data.dtype == np.float32
        assert np.allclose(p.data, after, atol=1e-5)
    theirs.train_step(batch, 0.01)
    assert theirs.vectors.dtype == torch.float32


def textbook(name, batch, ours):
    """The loss with a loop for each center and each neighbor."""
    v, u = ours.vectors.data, ours.out_vectors.data

    def price(score):
        return np.log1p(np.exp(-score))

    loss, share = 0.0, batch.n_negative / batch.negatives.shape[1]
    for piece, around, near, negatives in zip(
        batch.centers, batch.words, batch.near, batch.negatives, strict=True
    ):
        for center, is_near in zip(piece, near, strict=True):
            context = around[is_near]
            if name == "CBOW" and len(context):
                bag = v[context].mean(0)
                loss += price(bag @ u[center])
                loss += share * sum(price(-bag @ u[k]) for k in negatives)
            if name == "SkipGram":
                for word in context:
                    loss += price(v[center] @ u[word])
                    loss += share * sum(price(-v[center] @ u[k]) for k in negatives)
    return loss


@pytest.mark.parametrize("name", ["SkipGram", "CBOW"])
def test_against_loops(name, corpus, rng):
    batch = a_batch(name, corpus, rng)
    ours, _ = both(name, rng)
    assert np.isclose(ours.forward(batch)[0], textbook(name, batch, ours), rtol=1e-12)


def test_negative_sampling(rng):
    v, u, n = rng.normal(size=(4, C)), rng.normal(size=(4, C)), rng.normal(size=(4, 3, C))
    loss, cache = by_hand.negative_sampling(v, u, n)
    grads = by_hand.negative_sampling_backward(1.0, cache)
    leaves = [torch.tensor(x, requires_grad=True) for x in (v, u, n)]
    other = twins.negative_sampling(*leaves)
    other.backward()
    assert max_error(loss, other.item()) < EXACT
    for k, (found, leaf) in enumerate(zip(grads, leaves, strict=True)):
        assert max_error(found, leaf.grad.numpy()) < EXACT

        def f(x, k=k):
            return by_hand.negative_sampling(
                *(x if j == k else y for j, y in enumerate((v, u, n)))
            )[0]

        gradcheck(f, [v, u, n][k], found)
    huge, _ = by_hand.negative_sampling(1e3 * v, 1e3 * u, n)
    assert np.isfinite(huge)


def test_windows_are_the_pairs(corpus, rng):
    """Every pair inside a window comes once in an epoch, and none across sentences."""
    limited = {}
    for reach in (1, 4):
        found = {}
        for batch in windows(corpus, n_epoch=1, window=reach, sample=1.0, batch_size=32, rng=rng):
            b, t, s = np.nonzero(batch.near)
            for pair in zip(batch.centers[b, t], batch.words[b, s], strict=True):
                found[pair] = found.get(pair, 0) + 1
        limited[reach] = found
    expected = {}
    for k in range(len(corpus) - 1):
        if corpus.sentence[k] == corpus.sentence[k + 1]:
            a, b = corpus.ids[k], corpus.ids[k + 1]
            for pair in ((a, b), (b, a)):
                expected[pair] = expected.get(pair, 0) + 1
    assert limited[1] == expected
    n_pair = sum(limited[4].values())
    assert sum(expected.values()) < n_pair < 4 * sum(expected.values())


def test_pairs_and_windows_have_the_same_shares():
    """Neighbors at distance k come with probability (window - k + 1) / window in both."""
    corpus = Corpus.build([["a"] * 4000 + ["b"] * 4000], min_count=1)
    rng = np.random.default_rng(0)
    n = sum(int(b.near.sum()) for b in windows(corpus, n_epoch=1, sample=1.0, rng=rng))
    m = len(pairs(corpus, sample=1.0, rng=rng)[0])
    assert abs(n / 48_000 - 1) < 0.02  # 2 * (1 + 2 + 3 + 4 + 5) / 5 = 6 for each word
    assert abs(m / 48_000 - 1) < 0.02


def test_pairs_stay_in_sentences():
    corpus = Corpus.build([["a", "b"], ["c", "d"], ["e"]], min_count=1)
    centers, contexts = pairs(corpus, window=5, sample=1.0, rng=np.random.default_rng(0))
    assert min(zip(centers.tolist(), contexts.tolist(), strict=True)) == (0, 1)
    assert {tuple(sorted(p)) for p in zip(centers, contexts, strict=True)} == {(0, 1), (2, 3)}


def test_thinning_and_noise(rng):
    counts = np.array([10_000, 500, 5, 0])
    kept = keep_probabilities(counts, sample=1e-2)
    assert (np.diff(kept) >= 0).all()
    assert kept[2] == kept[3] == 1
    p = noise_distribution(counts)
    assert np.isclose(p.sum(), 1)
    assert p[3] == 0
    shares = np.bincount(draw(p, 100_000, rng), minlength=4) / 100_000
    assert np.abs(shares - p).max() < 0.01
    corpus = Corpus.build([["the"] * 9000 + ["rare"] * 9], min_count=1)
    thin = corpus.thinned(1e-3, rng)
    assert abs(thin.counts[0] / (9000 * keep_probabilities(corpus.counts)[0]) - 1) < 0.3
    assert thin.counts[1] == 9


def test_cooccurrences_against_loops(corpus):
    table = np.zeros((V, V))
    for a in range(len(corpus)):
        for b in range(max(a - 3, 0), min(a + 4, len(corpus))):
            if a != b and corpus.sentence[a] == corpus.sentence[b]:
                table[corpus.ids[a], corpus.ids[b]] += 1 / abs(a - b)
    i, j, x = cooccurrences(corpus, window=3)
    found = sparse.coo_array((x, (i, j)), shape=(V, V)).toarray()
    assert np.allclose(found, table)
    assert np.allclose(found, found.T)
    assert (np.diff(i * V + j) > 0).all()
    _, _, plain = cooccurrences(corpus, window=3, weighted=False)
    assert (plain == plain.round()).all()


def test_ppmi(rng):
    independent = np.outer([1.0, 2, 3], [4.0, 5, 6])
    assert np.allclose(ppmi(independent), 0)
    counts = rng.poisson(1.0, (6, 6)).astype(float)
    found = ppmi(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.log(counts * counts.sum() / np.outer(counts.sum(1), counts.sum(0)))
    assert np.allclose(found, np.maximum(np.nan_to_num(expected, neginf=0), 0))
    assert np.allclose(ppmi(counts, shift=0.5), np.maximum(found - 0.5, 0))
    assert (ppmi(np.zeros((2, 2))) == 0).all()


def test_scoring(rng):
    vectors = rng.normal(size=(50, 8))
    ids, cosines = nearest(vectors, 7, n=49)
    assert sorted([*ids.tolist(), 7]) == list(range(50))
    assert (np.diff(cosines) <= 0).all()
    assert len(solve(vectors, np.zeros((0, 3)))) == 0
    questions = rng.integers(0, 50, (2500, 3))
    answers = solve(vectors, questions)
    assert not (answers[:, None] == questions).any()  # never a word of the question
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    a, b, c = questions[0]
    scores = unit @ (unit[b] - unit[a] + unit[c])
    scores[[a, b, c]] = -np.inf
    assert answers[0] == scores.argmax()


def test_sentences_and_vocabulary():
    found = sentences(["It's one. Two!\nThree 4 five"])
    assert found == [["it's", "one"], ["two"], ["three", "five"]]
    corpus = Corpus.build(found, min_count=2)
    assert corpus.vocab == []
    assert len(corpus) == 0
    other = Corpus.build(found, vocab=["two", "one"])
    assert other.ids.tolist() == [1, 0]
    assert other.counts.tolist() == [1, 1]


TWO = [["taste", "salt"], ["taste", "pepper"], ["break", "cup"], ["break", "plate"]] * 40


@pytest.mark.parametrize("half", [by_hand, twins])
@pytest.mark.parametrize("name", ["SkipGram", "CBOW"])
def test_learns_who_goes_with_whom(half, name):
    corpus = Corpus.build(TWO)
    make = getattr(half, name)
    model = make(6, 8)
    rng = np.random.default_rng(0)
    seen = []
    train(model, corpus, n_epoch=60, sample=1.0, rng=rng, watch=seen.append)
    assert seen[0] == 0
    assert (np.diff(seen) > 0).all()
    vectors = parity.plain(model.vectors)
    for word, other in (("salt", "pepper"), ("cup", "plate")):  # the same neighbors
        ids, cosines = nearest(vectors, corpus.vocab.index(word), n=1)
        assert corpus.vocab[ids[0]] == other
        assert cosines[0] > 0.8


@pytest.mark.parametrize("half", [by_hand, twins])
def test_glove_fits_the_logarithms(half, rng):
    corpus = Corpus.build(TWO)
    i, j, x = cooccurrences(corpus)
    model = half.GloVe(6, 8)
    batch = (i, j, x) if half is by_hand else tuple(map(torch.tensor, (i, j, x)))
    first = float(model.loss_and_grads(batch))
    for _ in range(300):
        model.train_step(batch, 0.1)
    assert float(model.loss_and_grads(batch)) < first / 100


def test_errors(corpus, rng):
    with pytest.raises(ValueError, match="sample = 0"):
        keep_probabilities([1, 2], sample=0)
    with pytest.raises(ValueError, match="window = 0"):
        next(windows(corpus, window=0, rng=rng))
    with pytest.raises(TypeError, match="rng is an int"):
        next(windows(corpus, rng=3))
    with pytest.raises(ValueError, match="d_model = 0"):
        by_hand.SkipGram(3, 0)
    with pytest.raises(TypeError, match="rng"):
        twins.SkipGram(3, 2, rng=np.random.default_rng(0))
    model = by_hand.SkipGram(V, C)
    model.vectors.data[0] = np.nan
    with pytest.raises(FloatingPointError, match="try half"):
        train(model, corpus, lr=0.025, n_epoch=1, rng=rng)


def test_to_device(corpus, rng):
    batch = next(windows(corpus, rng=rng)).to("cpu")
    assert isinstance(batch, Windows)
    assert batch.near.dtype == torch.bool
    assert isinstance(batch.done, float)
