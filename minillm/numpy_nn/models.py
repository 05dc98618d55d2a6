"""The two smallest language models, and `build`, which makes any model from its record.

Shape letters: B batch, T position, N = context_length, C = d_model, D = d_hidden, V vocabulary.
"""

import numpy as np

from minillm.batches import Cache
from minillm.numpy_nn import functional as F
from minillm.numpy_nn.layers import Embedding, Linear
from minillm.numpy_nn.model import LanguageModel
from minillm.numpy_nn.recurrent import LSTMEncoderDecoder, Recurrent
from minillm.numpy_nn.transformer import Transformer


class Bigram(LanguageModel):
    """A table with one row of logits for each last token: ids (B, T) -> logits (B, T, V).

    The table starts at zeros, where every token is as likely as any other. Trained to the end,
    it holds the logarithms of how often each token followed each: counting, by gradients.

    Parameters
    ----------
    config : BigramConfig
    rng : numpy.random.Generator, optional
        As for other models; nothing is drawn here.

    References
    ----------
    Shannon 1948, section 3, whose second-order approximation draws from such a table.

    Examples
    --------
    >>> from minillm.batches import Batch
    >>> from minillm.config import BigramConfig
    >>> model = Bigram(BigramConfig(vocab_size=4))
    >>> batch = Batch(np.array([[0, 1, 3]]), targets=np.array([[1, 3, 2]]))
    >>> round(float(model.loss_and_grads(batch)), 4)  # ln 4
    1.3863
    """

    def __init__(self, config, *, rng=None):
        super().__init__(config)
        self.table = Embedding(config.vocab_size, config.vocab_size, std=0.0, rng=rng)

    def forward(self, batch, *, rng=None):
        return self.table.forward(batch.ids)

    def backward(self, dlogits, cache):
        self.table.backward(dlogits, cache)

    def new_cache(self, batch_size):
        """Nothing is remembered but how many texts there are."""
        return Cache(self, batch_size)

    def next_logits(self, ids, cache, *, mask=None):
        """The logits after the last of new ids: ids (B, t) -> (B, V)."""
        self._check_next(ids, cache, mask)
        return self.table.forward(ids[:, -1])[0]


class MLP(LanguageModel):
    """The last N tokens' vectors, side by side, through one hidden layer: (B, T) -> (B, T, V).

    logits = W2 tanh(W1 [x of the last N tokens] + b1) + b2. Positions before the text are zero
    vectors, as is padding; so a text may have any length, and each position is predicted.

    Parameters
    ----------
    config : MLPConfig
    rng : numpy.random.Generator, optional

    References
    ----------
    Bengio et al. 2003, section 2, without the direct connections from vectors to logits.

    Examples
    --------
    >>> from minillm.batches import Batch
    >>> from minillm.config import MLPConfig
    >>> model = MLP(MLPConfig(vocab_size=65, context_length=3, d_model=8, d_hidden=32))
    >>> model.logits(Batch(np.array([[5, 2, 7, 7, 9]]))).shape
    (1, 5, 65)
    """

    def __init__(self, config, *, rng=None):
        super().__init__(config)
        N, C, D, V = config.context_length, config.d_model, config.d_hidden, config.vocab_size
        self.embedding = Embedding(V, C, std=1.0, rng=rng)  # so that tanh starts where it bends
        self.hidden = Linear(N * C, D, rng=rng)
        self.output = Linear(D, V, std=0.02, rng=rng)

    def forward(self, batch, *, rng=None):
        past = self.new_cache(len(batch.ids)).past
        x, ids = self._vectors(batch.ids, batch.mask)
        windows = _windows(np.concatenate([past, x], 1), self.config.context_length)  # (B, T, N C)
        h, hidden = self.hidden.forward(windows)
        h = F.tanh(h)  # (B, T, D)
        logits, output = self.output.forward(h)
        return logits, (ids, batch.mask, hidden, h, output)

    def backward(self, dlogits, cache):
        ids, mask, hidden, h, output = cache
        dh = F.tanh_backward(self.output.backward(dlogits, output), h)
        dwindows = self.hidden.backward(dh, hidden)  # (B, T, N C)
        B, T = dh.shape[:2]
        N, C = self.config.context_length, self.config.d_model
        dx = np.zeros((B, N - 1 + T, C), dh.dtype)
        for i in range(N):  # a token stands in up to N windows
            dx[:, i : i + T] += dwindows[..., i * C : (i + 1) * C]
        dx = dx[:, N - 1 :]  # (B, T, C): before the text is no parameter
        self.embedding.backward(dx if mask is None else dx * mask[..., None], ids)

    def new_cache(self, batch_size):
        """The vectors of the last N - 1 tokens, (B, N - 1, C): zeros, before the text."""
        cache = Cache(self, batch_size)
        shape = (batch_size, self.config.context_length - 1, self.config.d_model)
        cache.past = np.zeros(shape, self.embedding.weight.data.dtype)
        return cache

    def next_logits(self, ids, cache, *, mask=None):
        """The logits after the last of new ids: ids (B, t), mask as in a batch -> (B, V)."""
        self._check_next(ids, cache, mask)
        N = self.config.context_length
        x, _ = self._vectors(ids, mask)
        x = np.concatenate([cache.past, x], 1)[:, -N:]  # (B, N, C)
        cache.past = x[:, 1:]
        h, _ = self.hidden.forward(_windows(x, N)[:, 0])
        return self.output.forward(F.tanh(h))[0]

    def _vectors(self, ids, mask):
        """The tokens' vectors, zeros at padding: (B, T) -> (B, T, C), and the ids."""
        x, ids = self.embedding.forward(ids)
        return x if mask is None else x * mask[..., None], ids


def build(config, *, rng=None):
    """Make the model that a record describes.

    Parameters
    ----------
    config : ModelConfig
        Of any kind in `minillm.config`.
    rng : numpy.random.Generator, optional
        Draws the starting weights.

    Returns
    -------
    LanguageModel

    Raises
    ------
    TypeError
        If `config` is no such record.

    Examples
    --------
    >>> from minillm.config import BigramConfig
    >>> type(build(BigramConfig(vocab_size=65))).__name__
    'Bigram'
    """
    kinds = (Bigram, MLP, Recurrent, LSTMEncoderDecoder, Transformer)
    found = {kind.__name__: kind for kind in kinds}.get(getattr(config, "model", None))
    if not found:
        raise TypeError(f"config is a {type(config).__name__}, expected one of minillm.config")
    return found(config, rng=rng)


def _windows(x, N):
    """Each position's last N vectors side by side: x (B, N - 1 + T, C) -> (B, T, N C)."""
    T = x.shape[1] - N + 1
    return np.concatenate([x[:, i : i + T] for i in range(N)], -1)


__all__ = ["MLP", "Bigram", "build"]
