"""A text as words for word vectors: counts, windows, co-occurrences, and two ways to be scored.

    text ─ sentences ─ `Corpus` ─ `windows` or `cooccurrences` ─ vectors ─ `nearest`, `solve`

What is here only counts and draws, in NumPy, and serves both halves: `minillm.numpy_nn.word_vectors`
and its twin hold the models that learn from it.

Shape letters: V vocabulary, C = d_model, N words of a text, and for one batch of windows: B pieces
of a text, T words in a piece, S = T + 2 * window words in and around it, M negatives.
"""

import dataclasses
import re
from collections import Counter

import numpy as np

from minillm.checks import check_range, check_rng, check_sizes

PIECE = 32  # words that are trained on together, T, and share their negatives
SHARED = 16  # negatives that a piece shares, M
_END = re.compile(r"[.!?;:]+(?=\s|$)|\n+")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


def sentences(texts):
    """The sentences of texts, each a list of lower-case English words; all else is dropped.

    Parameters
    ----------
    texts : iterable of str

    Returns
    -------
    list of list of str
        A sentence ends at a line's end, or at one of ``.!?;:`` before white space.

    Examples
    --------
    >>> sentences(["To be, or not to be: that is\\nthe question."])
    [['to', 'be', 'or', 'not', 'to', 'be'], ['that', 'is'], ['the', 'question']]
    """
    found = (_WORD.findall(part) for text in texts for part in _END.split(text.lower()))
    return [words for words in found if words]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A text as ids of words, and where its sentences are: `Corpus.build` makes one.

    Examples
    --------
    >>> corpus = Corpus.build([["a", "rose", "is", "a", "rose"], ["a", "thorn"]], min_count=2)
    >>> corpus.vocab, corpus.ids, corpus.sentence
    (['a', 'rose'], array([0, 1, 0, 1, 0]), array([0, 0, 0, 0, 1]))
    >>> corpus.counts
    array([3, 2])
    """

    vocab: list  # V words, the most frequent first
    ids: np.ndarray  # (N,) of the words that are in the vocabulary
    sentence: np.ndarray  # (N,) the number of the sentence that each stands in

    @classmethod
    def build(cls, texts, *, min_count=5, vocab=None):
        """Count the words of `texts`, a list of sentences; drop those seen less than `min_count` times.

        With a `vocab`, a list of words, nothing is counted: its words are kept, in its order.
        """
        if vocab is None:
            counts = Counter(word for words in texts for word in words)
            kept = [word for word, n in counts.items() if n >= min_count]
            vocab = sorted(kept, key=lambda word: (-counts[word], word))
        index = {word: i for i, word in enumerate(vocab)}
        found = [[index[word] for word in words if word in index] for words in texts]
        ids = np.array([i for words in found for i in words], np.int64)
        return cls(list(vocab), ids, np.repeat(np.arange(len(found)), list(map(len, found))))

    @property
    def counts(self):
        """How often each word is there, (V,)."""
        return np.bincount(self.ids, minlength=len(self.vocab))

    def __len__(self):
        return len(self.ids)

    def thinned(self, sample, rng):
        """The corpus with each word left out at random, as `keep_probabilities` says."""
        kept = rng.random(len(self)) < keep_probabilities(self.counts, sample=sample)[self.ids]
        return Corpus(self.vocab, self.ids[kept], self.sentence[kept])


def keep_probabilities(counts, *, sample=1e-3):
    """How likely one occurrence of each word is kept: counts (V,) -> (V,).

    A word that makes up more than the share `sample` of a text is thinned out, in effect to
    about sqrt(sample / share), as the program word2vec does it; rarer words are all kept.

    Raises
    ------
    ValueError
        If `sample` is not positive.

    References
    ----------
    Mikolov et al. 2013b, section 2.3, whose formula differs a little from their program's.

    Examples
    --------
    >>> keep_probabilities(np.array([960, 39, 1]), sample=0.01).round(3)
    array([0.112, 0.763, 1.   ])
    """
    check_range("sample", sample)
    if sample == 0:
        raise ValueError("sample = 0, expected more: no word would be kept")
    counts = np.asarray(counts)
    ratio = sample * max(counts.sum(), 1) / np.maximum(counts, 1)
    return np.minimum(np.sqrt(ratio) + ratio, 1)


def noise_distribution(counts, *, power=0.75):
    """The distribution that negatives are drawn from: counts (V,) -> (V,), summing to 1.

    Proportional to count ** power: rare words come more often than in the text.

    References
    ----------
    Mikolov et al. 2013b, section 2.2.

    Examples
    --------
    >>> noise_distribution(np.array([81, 16, 1])).round(3)
    array([0.75 , 0.222, 0.028])
    """
    weight = np.asarray(counts, np.float64) ** power
    return weight / weight.sum()


def draw(p, shape, rng):
    """Ids drawn by `rng` from the distribution p (V,), as an array of the given shape.

    Examples
    --------
    >>> draw(np.array([0.0, 1.0, 0.0]), (2, 2), np.random.default_rng(0))
    array([[1, 1],
           [1, 1]])
    """
    edges = np.cumsum(p)
    return np.searchsorted(edges, rng.random(shape) * edges[-1], side="right")


@dataclasses.dataclass(frozen=True)
class Windows:
    """A batch for the models of word vectors: pieces of a text, their surroundings, negatives."""

    centers: np.ndarray  # (B, T) ids
    words: np.ndarray  # (B, S) ids: the piece with `window` words on either side
    near: np.ndarray  # (B, T, S) bool: which of the words are in the window of which center
    negatives: np.ndarray  # (B, M) ids, shared by a piece
    n_negative: int = 5  # how many a pair counts for: K
    done: float = 0.0  # the share of all training that lies before this batch

    def to(self, device):
        """The same with tensors on `device` in place of arrays."""
        import torch

        def tensor(x):
            return torch.as_tensor(x, device=device)

        arrays = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Windows(**{k: tensor(v) if k not in SCALARS else v for k, v in arrays.items()})


SCALARS = ("n_negative", "done")


def _places(corpus, window):
    """Positions (N,) that leap at the end of a sentence, so far that no window reaches over."""
    return np.arange(len(corpus)) + (window + 1) * corpus.sentence


def windows(corpus, *, n_epoch=5, window=5, n_negative=5, sample=1e-3, batch_size=None, rng):
    """Batches of windows over a corpus, in random order, its pieces cut anew in each epoch.

    In each epoch frequent words are thinned out, and each center draws its own reach from
    1 ... window, so that near words count more. A piece of 32 words shares 16 negatives.

    Parameters
    ----------
    corpus : Corpus
    n_epoch, window, n_negative : int
        How often the text is gone through, how far a window may reach, negatives for each pair.
    sample : float
        As for `keep_probabilities`.
    batch_size : int, optional
        Words in a batch, rounded down to whole pieces. By default an eighth as many as the vocabulary
        has, at most 1,024: the gradients of one word's occurrences are summed, and too many of
        them in one step make it overshoot.
    rng : numpy.random.Generator

    Yields
    ------
    Windows

    References
    ----------
    Mikolov et al. 2013b, section 2; negatives shared as in Ji et al. 2016.

    Examples
    --------
    >>> corpus = Corpus.build([["a", "b", "c"], ["a", "c"]], min_count=1)
    >>> batch, = windows(corpus, n_epoch=1, window=1, sample=1.0, rng=np.random.default_rng(0))
    >>> batch.centers.shape, batch.words.shape, int(batch.near.sum())
    ((1, 32), (1, 34), 6)
    """
    check_rng(rng, np.random.Generator, "numpy.random.Generator")
    if batch_size is None:
        batch_size = max(min(len(corpus.vocab) // 8, 1024), PIECE)
    check_sizes(n_epoch=n_epoch, window=window, n_negative=n_negative, batch_size=batch_size)
    noise = noise_distribution(corpus.counts)
    at_once = max(batch_size // PIECE, 1)
    for epoch in range(n_epoch):
        text = corpus.thinned(sample, rng)
        n_piece = max(-(-len(text) // PIECE), 1)
        edge = window, window + n_piece * PIECE - len(text)
        ids = np.pad(text.ids, edge)
        # Far from all others: -window - 1 and less before the text, and out of reach behind it.
        place = np.pad(_places(text, window), edge, constant_values=-(2**40))
        reach = np.pad(rng.integers(1, window + 1, len(text)), edge)
        negatives = draw(noise, (n_piece, SHARED), rng)
        order = rng.permutation(n_piece)
        for i in range(0, n_piece, at_once):
            piece = order[i : i + at_once, None]
            around = piece * PIECE + np.arange(PIECE + 2 * window)  # (B, S)
            inside = around[:, window:-window]  # (B, T)
            distance = np.abs(place[inside][:, :, None] - place[around][:, None, :])
            yield Windows(
                ids[inside],
                ids[around],
                (distance <= reach[inside][:, :, None]) & (distance > 0),
                negatives[piece[:, 0]],
                n_negative,
                (epoch + i / n_piece) / n_epoch,
            )


def train(model, corpus, *, lr=0.025, rng, watch=None, **options):
    """Train a model of either half on `windows`, at a rate that falls linearly to zero.

    Parameters
    ----------
    model : SkipGram or CBOW
    corpus : Corpus
    lr : float
        The first rate. Gradients of pairs are summed: much above 0.05, frequent words overshoot.
    rng : numpy.random.Generator
    watch : callable, optional
        Called as ``watch(done)`` before each batch, with the share of the training that is done.
    **options
        As for `windows`.

    Returns
    -------
    SkipGram or CBOW
        The model.

    Raises
    ------
    FloatingPointError
        If the vectors are no longer finite.

    Examples
    --------
    >>> from minillm.numpy_nn.word_vectors import SkipGram
    >>> rng = np.random.default_rng(0)
    >>> corpus = Corpus.build([["salt", "pepper"], ["cup", "saucer"]] * 50)
    >>> model = train(SkipGram(4, 8, rng=rng), corpus, n_epoch=50, sample=1.0, rng=rng)
    >>> bool(model.is_finite())
    True
    """
    for batch in windows(corpus, rng=rng, **options):
        if watch is not None:
            watch(batch.done)
        model.train_step(batch, lr * (1 - batch.done))
    if not model.is_finite():
        raise FloatingPointError(f"training diverged at lr = {lr}: try half of it")
    return model


def pairs(corpus, *, window=5, sample=1e-3, rng):
    """The pairs of center and context that training would see in an epoch: (P,) and (P,) ids.

    Parameters
    ----------
    corpus : Corpus
    window : int
    sample : float
        Frequent words are thinned out, as by `keep_probabilities`.
    rng : numpy.random.Generator

    Examples
    --------
    >>> corpus = Corpus.build([["a", "b", "c"]], min_count=1)
    >>> centers, contexts = pairs(corpus, window=1, sample=1.0, rng=np.random.default_rng(0))
    >>> sorted(zip(centers.tolist(), contexts.tolist()))
    [(0, 1), (1, 0), (1, 2), (2, 1)]
    """
    text = corpus.thinned(sample, rng)
    place, reach = _places(text, window), rng.integers(1, window + 1, len(text))
    found = []
    for step in range(1, window + 1):
        left = np.flatnonzero(place[step:] - place[:-step] == step)  # and left + step, to its right
        for center, context in ((left, left + step), (left + step, left)):
            ok = reach[center] >= step
            found.append((text.ids[center[ok]], text.ids[context[ok]]))
    centers, contexts = zip(*found, strict=True)
    return np.concatenate(centers), np.concatenate(contexts)


def cooccurrences(corpus, *, window=5, weighted=True):
    """How often words stand near each other: ids i (P,), ids j (P,), counts (P,), for pairs that do.

    Parameters
    ----------
    corpus : Corpus
    window : int
    weighted : bool
        Whether a neighbor k words away counts 1 / k, as in GloVe, or 1.

    Returns
    -------
    i, j, x : three arrays (P,)
        Sorted by i, then j; symmetric: with (i, j) comes (j, i).

    References
    ----------
    Pennington et al. 2014, section 4.2.

    Examples
    --------
    >>> corpus = Corpus.build([["a", "b", "c"]], min_count=1)
    >>> i, j, x = cooccurrences(corpus, window=2)
    >>> np.stack([i, j, x], axis=1)[:2]
    array([[0. , 1. , 1. ],
           [0. , 2. , 0.5]])
    """
    check_sizes(window=window)
    V, place = len(corpus.vocab), _places(corpus, window)
    keys, weights = [], []
    for step in range(1, window + 1):
        left = np.flatnonzero(place[step:] - place[:-step] == step)
        a, b = corpus.ids[left], corpus.ids[left + step]
        keys += [a * V + b, b * V + a]
        weights += [np.full(2 * len(left), 1 / step if weighted else 1.0)]
    keys, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    return keys // V, keys % V, np.bincount(inverse, np.concatenate(weights), len(keys))


def ppmi(counts, *, shift=0.0):
    """Positive pointwise mutual information of a table of counts: (V, V) -> (V, V), nats.

    The entry is max(0, ln(p(i, j) / (p(i) p(j))) - shift), and 0 where nothing was counted.

    References
    ----------
    Church & Hanks 1990; Levy & Goldberg 2014a, section 4.1, for the shift ln k.

    Examples
    --------
    >>> ppmi(np.array([[0.0, 2.0], [2.0, 4.0]])).round(4)
    array([[0.    , 0.2877],
           [0.2877, 0.    ]])
    """
    counts = np.asarray(counts, np.float64)
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / (counts.sum() or 1)
    seen = counts > 0
    ratio = np.divide(counts, expected, out=np.ones_like(counts), where=seen)
    return np.where(seen, np.maximum(np.log(ratio) - shift, 0), 0)


def unit_rows(vectors):
    """Every row divided by its length: vectors (V, C) -> (V, C); a row of zeros stays.

    Examples
    --------
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    vectors = np.asarray(vectors)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def nearest(vectors, query, n=5):
    """The words closest to one by the cosine: ids (n,) and cosines (n,), without the word itself.

    Parameters
    ----------
    vectors : array (V, C)
    query : int
        The word's id.
    n : int

    Examples
    --------
    >>> nearest(np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), 2, n=2)
    (array([1, 0]), array([0.8, 0.6]))
    """
    vectors = unit_rows(vectors)
    cosine = vectors @ vectors[query]
    order = np.argsort(-cosine, kind="stable")
    order = order[order != query][:n]
    return order, cosine[order]


def solve(vectors, questions):
    """Answer questions "a is to b as c is to ?": vectors (V, C), ids (Q, 3) -> ids (Q,).

    The answer is the word whose unit vector is closest to b - a + c, the three words of the
    question excepted.

    References
    ----------
    Mikolov et al. 2013a, section 4; Levy & Goldberg 2014b, who name it 3CosAdd.

    Examples
    --------
    >>> man, woman, king, queen = np.array([[1.0, 0, 0], [1, 1, 0], [1, 0, 2], [1, 1, 2]])
    >>> solve(np.stack([man, woman, king, queen]), np.array([[0, 1, 2]]))
    array([3])
    """
    vectors, questions = unit_rows(vectors), np.asarray(questions, np.int64).reshape(-1, 3)
    answers = []
    for some in np.array_split(questions, max(len(questions) // 1000, 1)):
        a, b, c = (vectors[some[:, k]] for k in range(3))
        scores = (b - a + c) @ vectors.T
        np.put_along_axis(scores, some, -np.inf, axis=1)
        answers.append(scores.argmax(1))
    return np.concatenate(answers)
