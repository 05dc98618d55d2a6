"""Word vectors with autograd: skip-gram and CBOW with negative sampling, and GloVe.

The twins of `minillm.numpy_nn.word_vectors`. A model has two tables, `vectors` for a word in itself
and `out_vectors` for a word as another's neighbor, and two ways to learn::

    loss = model.loss_and_grads(batch)   # adds to the gradients of the whole tables
    model.train_step(batch, lr)          # changes the rows that the batch touched

The loss is the *sum* over the pairs of a batch, in nats. Batches are those of `minillm.words`, after
``batch.to(device)``, or NumPy's own, which are then carried to where the model is.

Shape letters: V vocabulary, C = d_model, K negatives for each pair, P pairs; and for the batches of
`minillm.words`: B pieces, T words in a piece, S words in and around it, M shared negatives.
"""

import torch
from torch import nn
from torch.nn.functional import softplus

from minillm.checks import check_range, check_rng, check_sizes


def negative_sampling(center, context, negatives):
    """Mean loss of pairs: center (P, C), context (P, C), negatives (P, K, C) -> loss.

    For one pair of vectors v and u and negatives n_k it is
    -ln sigmoid(u . v) - sum_k ln sigmoid(-n_k . v), in nats.

    References
    ----------
    Mikolov et al. 2013b, equation 4.

    Examples
    --------
    >>> zeros = torch.zeros(2, 3)
    >>> loss = negative_sampling(zeros, zeros, torch.zeros(2, 5, 3))
    >>> round(float(loss), 4)  # 6 ln 2
    4.1589
    """
    positive = (center * context).sum(-1)  # (P,)
    negative = (negatives @ center[:, :, None])[:, :, 0]  # (P, K)
    return (softplus(-positive) + softplus(negative).sum(-1)).mean()


class WordVectors(nn.Module):
    """What the models share: two tables (V, C), and steps that change but a few of their rows.

    A subclass defines ``loss(batch, rows)``, where ``rows(parameter, ids)`` looks up; so that the
    looked-up rows, few, can be what the gradient is taken for.

    Parameters
    ----------
    vocab_size, d_model : int
    rng : torch.Generator, optional

    Examples
    --------
    >>> model = WordVectors(4, 2)
    >>> model.vectors.shape, model.out_vectors.shape
    (torch.Size([4, 2]), torch.Size([4, 2]))
    """

    def __init__(self, vocab_size, d_model, *, rng=None):
        super().__init__()
        check_sizes(vocab_size=vocab_size, d_model=d_model)
        rng = torch.Generator().manual_seed(0) if rng is None else rng
        check_rng(rng, torch.Generator, "torch.Generator")
        start = (torch.rand(vocab_size, d_model, generator=rng) - 0.5) / d_model
        self.vectors = nn.Parameter(start)
        self.out_vectors = nn.Parameter(torch.zeros(vocab_size, d_model))

    def forward(self, batch):
        """The loss of a batch, a scalar tensor."""
        return self.loss(self._here(batch), _lookup)

    def loss_and_grads(self, batch, *, scale=1.0):
        """The loss of a batch; adds `scale` times its gradient to that of every parameter."""
        loss = self.forward(batch)
        (scale * loss).backward()
        return loss.detach()

    def train_step(self, batch, lr):
        """Step downhill on a batch: plain SGD on the rows that it touches."""
        for parameter, ids, rows in self._row_grads(batch):
            parameter.data.index_add_(0, ids.reshape(-1), rows.flatten(0, ids.ndim - 1), alpha=-lr)

    def _row_grads(self, batch):
        """A list of (parameter, ids, gradient of the rows that these ids name)."""
        found = []

        def rows(parameter, ids):
            found.append((parameter, ids, parameter.data[ids].requires_grad_()))
            return found[-1][2]

        loss = self.loss(self._here(batch), rows)
        grads = torch.autograd.grad(loss, [looked_up for _, _, looked_up in found])
        return [(p, ids, g) for (p, ids, _), g in zip(found, grads, strict=True)]

    def _here(self, batch):
        return batch.to(self.vectors.device)

    def is_finite(self):
        """Whether no entry of a parameter is infinite or NaN."""
        return all(bool(p.isfinite().all()) for p in self.parameters())


def _lookup(parameter, ids):
    return parameter[ids]


class SkipGram(WordVectors):
    """From a word to each word in its window, one at a time: `minillm.words.Windows` -> loss.

    The scores of a piece of text with all words in and around it, and with its negatives, are
    one matrix product. What is in no window has weight 0; each negative weighs so much that each
    pair has `n_negative` of them.

    Parameters
    ----------
    vocab_size, d_model : int
    rng : torch.Generator, optional

    References
    ----------
    Mikolov et al. 2013b, section 2.2; as matrix products, Ji et al. 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from minillm.words import Corpus, windows
    >>> corpus = Corpus.build([["a", "rose", "is", "a", "rose"]], min_count=1)
    >>> batch, = windows(corpus, n_epoch=1, sample=1.0, rng=np.random.default_rng(0))
    >>> loss = SkipGram(3, 8).loss_and_grads(batch)
    >>> round(float(loss) / int(batch.near.sum()), 4)  # at first, 6 ln 2 for each pair
    4.1589
    """

    def loss(self, batch, rows):
        """The summed loss, with rows looked up by ``rows(parameter, ids)``."""
        ids = torch.cat([batch.words, batch.negatives], 1)  # (B, S + M)
        v, u = rows(self.vectors, batch.centers), rows(self.out_vectors, ids)
        score = v @ u.transpose(1, 2)  # (B, T, S + M)
        S = batch.words.shape[1]
        n_pair = batch.near.sum(2, keepdim=True)
        weight = n_pair * (batch.n_negative / batch.negatives.shape[1])  # (B, T, 1)
        positive = (softplus(-score[:, :, :S]) * batch.near).sum()
        return positive + (softplus(score[:, :, S:]) * weight).sum()


class CBOW(WordVectors):
    """From the mean of the words in a window to the word in its middle: `Windows` -> loss.

    CBOW stands for "continuous bag of words". A center without neighbors has weight 0.

    Parameters
    ----------
    vocab_size, d_model : int
    rng : torch.Generator, optional

    References
    ----------
    Mikolov et al. 2013a, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from minillm.words import Corpus, windows
    >>> corpus = Corpus.build([["a", "rose", "is", "a", "rose"]], min_count=1)
    >>> batch, = windows(corpus, n_epoch=1, sample=1.0, rng=np.random.default_rng(0))
    >>> round(float(CBOW(3, 8).loss_and_grads(batch)), 3)  # 5 words times 6 ln 2
    20.794
    """

    def loss(self, batch, rows):
        """The summed loss, with rows looked up by ``rows(parameter, ids)``."""
        x = rows(self.vectors, batch.words)  # (B, S, C)
        n_near = batch.near.sum(2, keepdim=True)  # (B, T, 1)
        mix = batch.near.to(x.dtype) / n_near.clamp(min=1)  # (B, T, S) rows sum to 1, or are 0
        bag = mix @ x  # (B, T, C)
        u, n = rows(self.out_vectors, batch.centers), rows(self.out_vectors, batch.negatives)
        positive = (bag * u).sum(2, keepdim=True)  # (B, T, 1)
        negative = bag @ n.transpose(1, 2)  # (B, T, M)
        each = softplus(negative).sum(2, keepdim=True)
        each = each * (batch.n_negative / batch.negatives.shape[1]) + softplus(-positive)
        return (each * (n_near > 0)).sum()


class GloVe(WordVectors):
    """Logarithms of co-occurrence counts as inner products: batch (i, j, x), each (P,) -> loss.

    The loss is the sum of f(x) (w_i . u_j + b_i + c_j - ln x)^2, with f(x) = min(1, (x / x_max)^0.75).
    `train_step` is AdaGrad, as in the paper. The vectors to use are the sum of both tables.

    Parameters
    ----------
    vocab_size, d_model : int
    x_max : float
        From this count on, all pairs count alike.
    rng : torch.Generator, optional

    References
    ----------
    Pennington et al. 2014, equations 8 and 9.

    Examples
    --------
    >>> model = GloVe(2, 3, x_max=1.0)
    >>> batch = torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([2.71828, 2.71828])
    >>> round(float(model.loss_and_grads(batch)), 2)  # both are 1 off
    2.0
    """

    def __init__(self, vocab_size, d_model, *, x_max=10.0, rng=None):
        super().__init__(vocab_size, d_model, rng=rng)
        self.x_max = check_range("x_max", x_max, low=1e-30)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.out_bias = nn.Parameter(torch.zeros(vocab_size))
        self._squares = {}  # AdaGrad's sums, by parameter

    def loss(self, batch, rows):
        """The summed loss, with rows looked up by ``rows(parameter, ids)``."""
        i, j, x = batch
        w, u = rows(self.vectors, i), rows(self.out_vectors, j)
        error = (w * u).sum(1) + rows(self.bias, i) + rows(self.out_bias, j)
        error = error - torch.log(x).to(w.dtype)
        weight = ((x / self.x_max) ** 0.75).clamp(max=1).to(w.dtype)
        return (weight * error**2).sum()

    def train_step(self, batch, lr):
        """Take a step of AdaGrad, each entry's rate falling with the squares of its gradients."""
        for p, ids, rows in self._row_grads(batch):
            squares = self._squares.setdefault(id(p), torch.ones_like(p.data))
            squares.index_add_(0, ids, rows**2)
            p.data.index_add_(0, ids, rows / squares[ids].sqrt(), alpha=-lr)

    def _here(self, batch):
        return tuple(torch.as_tensor(x, device=self.vectors.device) for x in batch)


__all__ = ["CBOW", "GloVe", "SkipGram", "WordVectors", "negative_sampling"]
