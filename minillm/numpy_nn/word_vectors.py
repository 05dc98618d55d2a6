"""Word vectors by hand: skip-gram and CBOW with negative sampling, and GloVe.

A model has two tables, `vectors` for a word in itself and `out_vectors` for a word as another's
neighbor. A batch touches few rows of them, so there are two ways to learn::

    loss = model.loss_and_grads(batch)   # adds to the gradients of the whole tables
    model.train_step(batch, lr)          # changes the rows that the batch touched: fast

The loss is the *sum* over the pairs of a batch, in nats: word2vec takes a step for each pair, and
so a sum leaves the meaning of its learning rate as it is.

Shape letters: V vocabulary, C = d_model, K negatives for each pair, P pairs; and for the batches of
`minillm.words`: B pieces, T words in a piece, S words in and around it, M shared negatives.
"""

import numpy as np

from minillm.checks import check_range, check_rng, check_sizes
from minillm.numpy_nn.functional import sigmoid
from minillm.numpy_nn.layers import Module
from minillm.numpy_nn.parameter import Parameter


def negative_sampling(center, context, negatives):
    """Mean loss of pairs: center (P, C), context (P, C), negatives (P, K, C) -> loss, cache.

    For one pair of vectors v and u and negatives n_k it is
    -ln sigmoid(u . v) - sum_k ln sigmoid(-n_k . v), in nats.

    References
    ----------
    Mikolov et al. 2013b, equation 4.

    Examples
    --------
    >>> zeros = np.zeros((2, 3))
    >>> loss, _ = negative_sampling(zeros, zeros, np.zeros((2, 5, 3)))
    >>> round(float(loss), 4)  # 6 ln 2
    4.1589
    """
    positive = (center * context).sum(-1)  # (P,)
    negative = (negatives @ center[:, :, None])[:, :, 0]  # (P, K)
    each = np.logaddexp(0, -positive) + np.logaddexp(0, negative).sum(-1)
    return each.mean(), (center, context, negatives, positive, negative)


def negative_sampling_backward(dloss, cache):
    """From `dloss`, the loss's own gradient, to dcenter, dcontext, dnegatives, shaped as they are.

    Examples
    --------
    >>> v, u, n = np.ones((1, 2)), np.ones((1, 2)), np.zeros((1, 1, 2))
    >>> loss, cache = negative_sampling(v, u, n)
    >>> negative_sampling_backward(1.0, cache)[2]  # sigmoid(0) v
    array([[[0.5, 0.5]]])
    """
    center, context, negatives, positive, negative = cache
    share = dloss / len(center)
    dpositive = share * (sigmoid(positive) - 1)[:, None]  # (P, 1)
    dnegative = share * sigmoid(negative)[:, :, None]  # (P, K, 1)
    dcenter = dpositive * context + (dnegative * negatives).sum(1)
    return dcenter, dpositive * center, dnegative * center[:, None]


class WordVectors(Module):
    """What the models share: two tables (V, C), and steps that change but a few of their rows.

    A subclass defines ``forward(batch) -> loss, cache`` and ``backward(dloss, cache)``, which
    gives a list of (parameter, ids, gradient of the rows that these ids name).

    Parameters
    ----------
    vocab_size, d_model : int
    rng : numpy.random.Generator, optional

    Examples
    --------
    >>> model = WordVectors(4, 2)
    >>> model.vectors.shape, model.out_vectors.shape
    ((4, 2), (4, 2))
    """

    def __init__(self, vocab_size, d_model, *, rng=None):
        check_sizes(vocab_size=vocab_size, d_model=d_model)
        rng = np.random.default_rng(0) if rng is None else rng
        check_rng(rng, np.random.Generator, "numpy.random.Generator")
        shape = (vocab_size, d_model)
        start = rng.uniform(-0.5, 0.5, shape) / d_model
        self.vectors = Parameter(start.astype(np.float32))
        self.out_vectors = Parameter(np.zeros(shape, np.float32))

    def loss_and_grads(self, batch, *, scale=1.0):
        """The loss of a batch; adds `scale` times its gradient to that of every parameter."""
        loss, cache = self.forward(batch)
        for parameter, ids, rows in self.backward(scale, cache):
            add_rows(parameter.grad, ids, rows)
        return loss

    def train_step(self, batch, lr):
        """Step downhill on a batch: plain SGD on the rows that it touches."""
        for parameter, ids, rows in self.backward(-lr, self.scores(batch)):
            add_rows(parameter.data, ids, rows)

    def is_finite(self):
        """Whether no entry of a parameter is infinite or NaN."""
        return all(np.isfinite(p.data).all() for p in self.parameters())


def add_rows(table, ids, rows):
    """Add rows to a table in place, one for each id, repeated or not.

    Shapes: table (V, ...), ids of any shape, rows that shape and the rest of the table's.

    One flat index and `numpy.add.at` on one axis: several times as fast as on two.

    Examples
    --------
    >>> table = np.zeros((3, 2))
    >>> add_rows(table, np.array([1, 1]), np.array([[1.0, 2.0], [10.0, 20.0]]))
    >>> table[1]
    array([11., 22.])
    """
    width = table[0].size
    flat = ids.reshape(-1, 1) * width + np.arange(width)
    np.add.at(table.reshape(-1), flat.ravel(), rows.ravel())


class SkipGram(WordVectors):
    """From a word to each word in its window, one at a time: `minillm.words.Windows` -> loss.

    The scores of a piece of text with all words in and around it, and with its negatives, are
    one matrix product. What is in no window has weight 0; each negative weighs so much that each
    pair has `n_negative` of them.

    Parameters
    ----------
    vocab_size, d_model : int
    rng : numpy.random.Generator, optional

    References
    ----------
    Mikolov et al. 2013b, section 2.2; as matrix products, Ji et al. 2016.

    Examples
    --------
    >>> from minillm.words import Corpus, windows
    >>> corpus = Corpus.build([["a", "rose", "is", "a", "rose"]], min_count=1)
    >>> batch, = windows(corpus, n_epoch=1, sample=1.0, rng=np.random.default_rng(0))
    >>> loss = SkipGram(3, 8).loss_and_grads(batch)
    >>> round(float(loss) / int(batch.near.sum()), 4)  # at first, 6 ln 2 for each pair
    4.1589
    """

    def scores(self, batch):
        """All that the gradient needs."""
        ids = np.concatenate([batch.words, batch.negatives], axis=1)  # (B, S + M)
        v, u = self.vectors.data[batch.centers], self.out_vectors.data[ids]
        score = v @ u.transpose(0, 2, 1)  # (B, T, S + M)
        return batch, ids, v, u, score

    def forward(self, batch):
        cache = batch, _, _, _, score = self.scores(batch)
        positive, negative = np.split(score, [batch.words.shape[1]], axis=-1)
        loss = (np.logaddexp(0, -positive) * batch.near).sum()
        return loss + (np.logaddexp(0, negative) * _weight(batch, score.dtype)).sum(), cache

    def backward(self, dloss, cache):
        batch, ids, v, u, score = cache
        S = batch.words.shape[1]
        g = sigmoid(score)
        g[:, :, :S] -= 1
        g[:, :, :S] *= batch.near
        g[:, :, S:] *= _weight(batch, g.dtype)
        g *= np.asarray(dloss, g.dtype)
        dv, du = g @ u, g.transpose(0, 2, 1) @ v
        return [(self.vectors, batch.centers, dv), (self.out_vectors, ids, du)]


def _weight(batch, dtype):
    """How much each shared negative counts for each center: (B, T, 1)."""
    n_pair = batch.near.sum(2, keepdims=True, dtype=dtype)
    return n_pair * np.asarray(batch.n_negative / batch.negatives.shape[1], dtype)


class CBOW(WordVectors):
    """From the mean of the words in a window to the word in its middle: `Windows` -> loss.

    CBOW stands for "continuous bag of words". A center without neighbors has weight 0.

    Parameters
    ----------
    vocab_size, d_model : int
    rng : numpy.random.Generator, optional

    References
    ----------
    Mikolov et al. 2013a, section 3.1.

    Examples
    --------
    >>> from minillm.words import Corpus, windows
    >>> corpus = Corpus.build([["a", "rose", "is", "a", "rose"]], min_count=1)
    >>> batch, = windows(corpus, n_epoch=1, sample=1.0, rng=np.random.default_rng(0))
    >>> round(float(CBOW(3, 8).loss_and_grads(batch)), 4)  # 5 words times 6 ln 2
    20.7944
    """

    def scores(self, batch):
        """All that the gradient needs."""
        x = self.vectors.data[batch.words]  # (B, S, C)
        n_near = batch.near.sum(2, keepdims=True, dtype=x.dtype)  # (B, T, 1)
        mix = batch.near / np.maximum(n_near, 1)  # (B, T, S) rows sum to 1, or are 0
        bag = mix @ x  # (B, T, C)
        u, n = self.out_vectors.data[batch.centers], self.out_vectors.data[batch.negatives]
        positive = (bag * u).sum(2, keepdims=True)  # (B, T, 1)
        negative = bag @ n.transpose(0, 2, 1)  # (B, T, M)
        return batch, mix, bag, u, n, positive, negative, n_near > 0

    def forward(self, batch):
        cache = batch, _, _, _, _, positive, negative, counted = self.scores(batch)
        each = np.logaddexp(0, negative).sum(2, keepdims=True)
        each = each * (batch.n_negative / batch.negatives.shape[1]) + np.logaddexp(0, -positive)
        return (each * counted).sum(), cache

    def backward(self, dloss, cache):
        batch, mix, bag, u, n, positive, negative, counted = cache
        weight = np.asarray(dloss, bag.dtype) * counted  # (B, T, 1)
        dpositive = (sigmoid(positive) - 1) * weight
        share = np.asarray(batch.n_negative / batch.negatives.shape[1], bag.dtype)
        dnegative = sigmoid(negative) * (weight * share)
        dbag = dpositive * u + dnegative @ n
        return [
            (self.vectors, batch.words, mix.transpose(0, 2, 1) @ dbag),
            (self.out_vectors, batch.centers, dpositive * bag),
            (self.out_vectors, batch.negatives, dnegative.transpose(0, 2, 1) @ bag),
        ]


class GloVe(WordVectors):
    """Logarithms of co-occurrence counts as inner products: batch (i, j, x), each (P,) -> loss.

    The loss is the sum of f(x) (w_i . u_j + b_i + c_j - ln x)^2, with f(x) = min(1, (x / x_max)^0.75).
    `train_step` is AdaGrad, as in the paper. The vectors to use are the sum of both tables.

    Parameters
    ----------
    vocab_size, d_model : int
    x_max : float
        From this count on, all pairs count alike.
    rng : numpy.random.Generator, optional

    References
    ----------
    Pennington et al. 2014, equations 8 and 9.

    Examples
    --------
    >>> model, e = GloVe(2, 3, x_max=1.0), np.e
    >>> batch = np.array([0, 1]), np.array([1, 0]), np.array([e, e])
    >>> round(float(model.loss_and_grads(batch)), 3)  # both are 1 off
    2.0
    """

    def __init__(self, vocab_size, d_model, *, x_max=10.0, rng=None):
        super().__init__(vocab_size, d_model, rng=rng)
        self.x_max = check_range("x_max", x_max, low=1e-30)
        self.bias = Parameter(np.zeros(vocab_size, np.float32))
        self.out_bias = Parameter(np.zeros(vocab_size, np.float32))
        self._squares = {}  # AdaGrad's sums, by parameter

    def forward(self, batch):
        i, j, x = batch
        w, u = self.vectors.data[i], self.out_vectors.data[j]
        error = (w * u).sum(1) + self.bias.data[i] + self.out_bias.data[j]
        error = error - np.log(x).astype(w.dtype)
        weight = np.minimum((x / self.x_max) ** 0.75, 1).astype(w.dtype)
        return (weight * error**2).sum(), (i, j, w, u, error, weight)

    def backward(self, dloss, cache):
        i, j, w, u, error, weight = cache
        g = np.asarray(2 * dloss, w.dtype) * weight * error
        rows = [(self.vectors, i, g[:, None] * u), (self.out_vectors, j, g[:, None] * w)]
        return [*rows, (self.bias, i, g), (self.out_bias, j, g)]

    def train_step(self, batch, lr):
        """Take a step of AdaGrad, each entry's rate falling with the squares of its gradients."""
        _, cache = self.forward(batch)
        for p, ids, rows in self.backward(1.0, cache):
            squares = self._squares.setdefault(id(p), np.ones_like(p.data))
            add_rows(squares, ids, rows**2)
            add_rows(p.data, ids, -lr * rows / np.sqrt(squares[ids]))


__all__ = [
    "CBOW",
    "GloVe",
    "SkipGram",
    "WordVectors",
    "add_rows",
    "negative_sampling",
    "negative_sampling_backward",
]
