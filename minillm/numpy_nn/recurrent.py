"""Recurrent networks by hand: a state is carried from token to token.

A layer reads a text from left to right and changes its state at every position. What depends on
the inputs alone is computed for all positions at once; only what needs the state before waits for
it. The gradient goes the same way back, from the last position to the first (backpropagation
through time): a state has an influence through the output beside it and through the next state.

A state is a tuple of arrays (L, B, D), one for each kind: (h,) of an `RNN`, (h, c) of an `LSTM`.

Shape letters: B batch, T position, S source position, C = d_model, D = d_hidden, L = n_layer,
n D the width of n = n_gate gates, V vocabulary.
"""

import numpy as np

from minillm.batches import Cache, check_source
from minillm.checks import check_range, check_recurrent, check_sizes
from minillm.numpy_nn import functional as F
from minillm.numpy_nn.layers import Embedding, Linear, Module
from minillm.numpy_nn.model import LanguageModel


class Cell(Module):
    """One layer over all positions: x (B, T, d_in), state of (B, D) -> y (B, T, D), state.

    A kind of cell has `n_gate` gates of D units each, `n_state` arrays in its state, and says what
    happens at one position, where `gates` (B, n D) is already W x + b + U h_old::

        step(gates, old, new)          # apply the gates in place; write the new state
        step_backward(dgates, dnew, gates, old, new) -> dold    # write dgates

    The second gives the gradient at the old state without h, which reaches it through U alone and
    is added by `backward`. Inside, axes are (T, B, ...), so that what belongs to one position lies
    together.
    """

    def __init__(self, d_in, d_hidden, *, rng=None):
        self.input = Linear(d_in, self.n_gate * d_hidden, rng=rng)
        self.hidden = Linear(d_hidden, self.n_gate * d_hidden, bias=False, rng=rng)
        for block in self.hidden.weight.data.reshape(-1, d_hidden, d_hidden):  # one for each gate
            q, r = np.linalg.qr(block)
            block[...] = q * np.sign(np.diag(r))

    def forward(self, x, state, padding=None, drop=None):
        """`padding` (T, B, 1) is True where nothing is read; `drop` (B, D) multiplies every h."""
        B, T, d_in = x.shape
        gates, inputs = self.input.forward(x.swapaxes(0, 1).reshape(T * B, d_in))  # all at once
        gates = gates.reshape(T, B, gates.shape[-1])
        weight = _transposed(self.hidden.weight.data)  # (D, n D)
        states = [np.empty((T + 1, *s.shape), gates.dtype) for s in state]  # (T + 1, B, D)
        for s, start in zip(states, state, strict=True):
            s[0] = start
        for t in range(T):
            gates[t] += _times(states[0][t], drop) @ weight
            self.step(gates[t], [s[t] for s in states], [s[t + 1] for s in states])
            if padding is not None:  # the state goes by
                for s in states:
                    np.copyto(s[t + 1], s[t], where=padding[t])
        y = states[0][1:] if padding is None else states[0][1:] * ~padding
        return y.swapaxes(0, 1), [s[T] for s in states], (inputs, gates, states, padding, drop)

    def backward(self, dy, dstate, cache):
        inputs, gates, states, padding, drop = cache
        T, B, width = gates.shape
        weight, dgates = self.hidden.weight, np.empty_like(gates)
        dy = dy.swapaxes(0, 1) if padding is None else dy.swapaxes(0, 1) * ~padding
        for t in reversed(range(T)):
            dstate = [dstate[0] + dy[t], *dstate[1:]]  # h went on, and out
            old, new = [s[t] for s in states], [s[t + 1] for s in states]
            others = self.step_backward(dgates[t], dstate, gates[t], old, new)  # all but h
            if padding is not None:
                dgates[t] *= ~padding[t]
            dold = [_times(dgates[t] @ weight.data, drop), *others]
            if padding is not None:  # the state went by
                dold = [np.where(padding[t], *d) for d in zip(dstate, dold, strict=True)]
            dstate = dold
        dgates = dgates.reshape(T * B, width)
        weight.grad += dgates.T @ _times(states[0][:-1], drop).reshape(T * B, weight.shape[-1])
        dx = self.input.backward(dgates, inputs)
        return dx.reshape(T, B, dx.shape[-1]).swapaxes(0, 1), dstate


class TanhCell(Cell):
    """h = tanh(W x + b + U h_old)."""

    n_gate, n_state = 1, 1

    def step(self, gates, old, new):
        (h,) = new
        h[...] = F.tanh(gates)

    def step_backward(self, dgates, dnew, gates, old, new):
        (dh,), (h,) = dnew, new
        dgates[...] = F.tanh_backward(dh, h)
        return []


class LSTMCell(Cell):
    """c = f c_old + i g and h = o tanh(c), with four gates side by side: i, f, g, o."""

    n_gate, n_state = 4, 2

    def __init__(self, d_in, d_hidden, *, rng=None):
        super().__init__(d_in, d_hidden, rng=rng)
        _, forget, _, _ = _four(self.input.bias.data)
        forget[...] = 1

    def step(self, gates, old, new):
        (_, c_old), (h, c) = old, new
        i, f, g, o = _four(gates)
        for gate in (i, f, o):
            gate[...] = F.sigmoid(gate)
        g[...] = F.tanh(g)
        c[...] = f * c_old + i * g
        h[...] = o * F.tanh(c)

    def step_backward(self, dgates, dnew, gates, old, new):
        (dh, dc), (_, c_old), (_, c) = dnew, old, new
        (i, f, g, o), (di, df, dg, do) = _four(gates), _four(dgates)
        tanh_c = F.tanh(c)
        dc = dc + F.tanh_backward(dh * o, tanh_c)
        di[...] = F.sigmoid_backward(dc * g, i)
        df[...] = F.sigmoid_backward(dc * c_old, f)
        dg[...] = F.tanh_backward(dc * i, g)
        do[...] = F.sigmoid_backward(dh * tanh_c, o)
        return [dc * f]


class RNN(Module):
    """Layers whose state is their last output: x (B, T, d_in), state -> (y (B, T, D), state).

    At every position h = tanh(W x + b + U h_old), and y is the last layer's h.

    ``forward(x, state=None, *, mask=None, rng=None) -> (y, state), cache`` starts from zeros
    without a state. Where a mask (B, T) is False nothing is read: the state passes unchanged, and
    y is 0. ``backward(dy, cache, dstate=None) -> dx, dstate`` takes the gradient at the state that
    came out, if it was used, and gives that at the state that went in. Whoever passes the state
    on, but not its gradient, truncates backpropagation through time [Williams & Peng 1990].

    Parameters
    ----------
    d_in, d_hidden : int
        Width of an input, and of the state.
    n_layer : int
        Each layer reads the one below.
    dropout : float
        Share of what enters each layer that is dropped, in [0, 1): if `forward` is handed an `rng`,
        with a new mask at each position.
    variational : bool
        Dropout with one mask for all positions, and another on the state that enters each position
        [Gal & Ghahramani 2016, section 4; all gates share them].
    rng : numpy.random.Generator, optional
        Draws the starting weights: W normal with variance 1 / d_in, U orthogonal, so that at first
        it makes no state longer or shorter [Saxe et al. 2014].

    References
    ----------
    Elman 1990.

    Examples
    --------
    >>> layer = RNN(3, 5, n_layer=2)
    >>> (y, (h,)), _ = layer.forward(np.ones((4, 7, 3), np.float32))
    >>> y.shape, h.shape
    ((4, 7, 5), (2, 4, 5))
    >>> bool((y[:, -1] == h[-1]).all())
    True
    """

    cell = TanhCell

    def __init__(self, d_in, d_hidden, *, n_layer=1, dropout=0.0, variational=False, rng=None):
        check_sizes(d_in=d_in, d_hidden=d_hidden, n_layer=n_layer)
        self.d_in, self.d_hidden = d_in, d_hidden
        self.dropout, self.variational = check_range("dropout", dropout, high=1), variational
        widths = [d_in] + [d_hidden] * (n_layer - 1)
        self.cells = [self.cell(width, d_hidden, rng=rng) for width in widths]

    def new_state(self, batch_size):
        """The state before a text, zeros: a tuple of (L, B, D)."""
        shape = (len(self.cells), batch_size, self.d_hidden)
        dtype = self.cells[0].hidden.weight.data.dtype
        return tuple(np.zeros(shape, dtype) for _ in range(self.cell.n_state))

    def forward(self, x, state=None, *, mask=None, rng=None):
        check_recurrent(self, x, state, mask)
        state = self.new_state(len(x)) if state is None else state
        padding = None if mask is None else ~mask.T[..., None]  # (T, B, 1)
        ends, caches = [], []
        for cell, *start in zip(self.cells, *state, strict=True):
            drop_x, drop_h = self._dropout_masks(x, start[0], rng)
            x, end, cache = cell.forward(_times(x, drop_x), start, padding, drop_h)
            ends.append(end)
            caches.append((cache, drop_x))
        state = tuple(np.stack(s) for s in zip(*ends, strict=True))
        return (x.copy(), state), caches  # a copy: who changes y does not change the cache

    def backward(self, dy, cache, dstate=None):
        dstate = self.new_state(len(dy)) if dstate is None else dstate
        layers = list(zip(self.cells, cache, *dstate, strict=True))
        dstarts = []
        for cell, (kept, drop_x), *dend in reversed(layers):
            dx, dstart = cell.backward(dy, dend, kept)
            dy = _times(dx, drop_x)  # dx of this layer is dy of the one below
            dstarts.insert(0, dstart)
        return dy, tuple(np.stack(s) for s in zip(*dstarts, strict=True))

    def _dropout_masks(self, x, h, rng):
        """What multiplies the inputs x (B, T, d_in) of a layer, and its h (B, D); None: nothing."""
        drop_h = _dropout_mask(h, self.dropout, rng) if self.variational else None
        return _dropout_mask(x[:, :1] if self.variational else x, self.dropout, rng), drop_h


class LSTM(RNN):
    """Layers with a memory: x (B, T, d_in), state -> (y (B, T, D), state).

    At every position four gates look at the input and the last output, each with its own rows of
    W, b and U, in the order of PyTorch::

        i, f, o = sigmoid(W x + b + U h_old)    # input, forget and output gate
        g = tanh(W x + b + U h_old)             # what may be stored
        c = f c_old + i g                       # the memory
        h = o tanh(c)                           # y is the last layer's h

    PyTorch adds two biases where there is one here. That of the forget gate starts at 1, so that
    the memory lasts at first [Jozefowicz et al. 2015].

    Parameters
    ----------
    d_in, d_hidden, n_layer, dropout, variational, rng
        Arguments as in `RNN`, and so are `forward` and `backward`; a state is (h, c).

    References
    ----------
    Hochreiter & Schmidhuber 1997; the forget gate: Gers et al. 2000.

    Examples
    --------
    >>> layer = LSTM(3, 5)
    >>> x = np.ones((4, 7, 3), np.float32)
    >>> (y, state), _ = layer.forward(x, mask=lengths_to_mask([7, 2, 5, 1]))
    >>> h, c = state  # after the last token of each text
    >>> bool((y[1, 1] == h[0, 1]).all() and (y[1, 2:] == 0).all())
    True
    """

    cell = LSTMCell


class Recurrent(LanguageModel):
    """A recurrent language model: ids (B, T) -> logits (B, T, V).

    Token vectors, an RNN or LSTM, and a linear map to the logits, with dropout on what enters it.

    `loss_and_grads`, `loss` and `forward` take ``state=``, what `new_cache` gives: they start from
    it and leave in it where the batch ends, so that a long text can be read in pieces.

    Parameters
    ----------
    config : RecurrentConfig
    rng : numpy.random.Generator, optional
        Draws the starting weights.

    References
    ----------
    Mikolov et al. 2010; with LSTM and dropout: Zaremba et al. 2014. Tied weights: Press & Wolf
    2017.

    Examples
    --------
    >>> from minillm.batches import Batch
    >>> from minillm.config import RecurrentConfig
    >>> model = Recurrent(RecurrentConfig(vocab_size=65, d_model=8, d_hidden=16))
    >>> text, state = np.array([[5, 2, 7, 7, 9]]), model.new_cache(1)
    >>> pieces = [model.forward(Batch(ids), state=state)[0] for ids in (text[:, :2], text[:, 2:])]
    >>> bool(np.allclose(np.concatenate(pieces, 1), model.logits(Batch(text)), atol=1e-6))
    True
    """

    def __init__(self, config, *, rng=None):
        super().__init__(config)
        C, D, V = config.d_model, config.d_hidden, config.vocab_size
        layers = LSTM if config.cell == "lstm" else RNN
        options = {"dropout": config.dropout, "variational": config.variational}
        std = C**-0.5 if config.tied else 1.0  # small where it makes the logits too
        self.embedding = Embedding(V, C, std=std, rng=rng)
        self.recurrent = layers(C, D, n_layer=config.n_layer, **options, rng=rng)
        self.output = Linear(D, V, rng=rng)
        if config.tied:
            self.output.weight = self.embedding.weight

    def forward(self, batch, *, rng=None, state=None):
        state = self.new_cache(len(batch.ids)) if state is None else state
        x, ids = self.embedding.forward(batch.ids)
        (y, state.arrays), recurrent = self.recurrent.forward(
            x, state.arrays, mask=batch.mask, rng=rng
        )
        like = y[:, :1] if self.config.variational else y
        drop = _dropout_mask(like, self.config.dropout, rng)
        logits, output = self.output.forward(_times(y, drop))
        return logits, (ids, recurrent, drop, output)

    def backward(self, dlogits, cache):
        ids, recurrent, drop, output = cache
        dy = _times(self.output.backward(dlogits, output), drop)
        dx, _ = self.recurrent.backward(dy, recurrent)
        self.embedding.backward(dx, ids)

    def new_cache(self, batch_size):
        """The state before a text: its `arrays` are replaced as tokens are read."""
        cache = Cache(self, batch_size)
        cache.arrays = self.recurrent.new_state(batch_size)
        return cache

    def next_logits(self, ids, cache, *, mask=None):
        """The logits after the last of new ids: ids (B, t), mask as in a batch -> (B, V)."""
        self._check_next(ids, cache, mask)
        x, _ = self.embedding.forward(ids)
        (_, cache.arrays), _ = self.recurrent.forward(x, cache.arrays, mask=mask)
        return self.output.forward(cache.arrays[0][-1])[0]


class LuongAttention(Module):
    """The decoder looks at all outputs of the encoder: h (B, T, D), memory (B, S, D) -> (B, T, D).

    The weights (B, T, S) are the softmax over S of the scores h W_a memory. With them the memory is
    averaged, into the context; and tanh(W_c [context; h]) comes out, with the weights beside it
    [Luong et al. 2015, section 3.1, with the score "general"; eqs. 7 and 5].
    """

    def __init__(self, d_hidden, *, rng=None):
        self.score = Linear(d_hidden, d_hidden, bias=False, rng=rng)
        self.combine = Linear(2 * d_hidden, d_hidden, bias=False, rng=rng)

    def forward(self, h, memory, mask):
        """Where `mask` (B, S) is False nobody looks: weights of 0, even if that is everywhere."""
        query, asked = self.score.forward(h)
        scores = query @ memory.swapaxes(1, 2)  # (B, T, S)
        if mask is None:
            weights = F.softmax(scores)
        else:
            mask = mask[:, None]  # (B, 1, S)
            weights = F.softmax(np.where(mask, scores, np.finfo(scores.dtype).min)) * mask
        y, combined = self.combine.forward(np.concatenate([weights @ memory, h], -1))
        y = F.tanh(y)
        return (y, weights), (query, asked, memory, weights, combined, y)

    def backward(self, dy, cache):
        """Give dh and dmemory; nothing is asked of the weights."""
        query, asked, memory, weights, combined, y = cache
        dboth = self.combine.backward(F.tanh_backward(dy, y), combined)
        dcontext, dh = np.split(dboth, 2, -1)
        dscores = F.softmax_backward(dcontext @ memory.swapaxes(1, 2), weights)  # (B, T, S)
        dmemory = weights.swapaxes(1, 2) @ dcontext + dscores.swapaxes(1, 2) @ query
        return dh + self.score.backward(dscores @ memory, asked), dmemory


class LSTMEncoderDecoder(LanguageModel):
    """One LSTM reads the source, another writes: source (B, S), ids (B, T) -> logits (B, T, V).

    The decoder starts from the encoder's last state. Without attention that is all it learns of
    the source; with it, every position looks at all the encoder's outputs.

    In generation `encode` gives the cache that `new_cache` gives elsewhere.

    Parameters
    ----------
    config : LSTMEncoderDecoderConfig
    rng : numpy.random.Generator, optional
        Draws the starting weights.

    References
    ----------
    Sutskever et al. 2014; with attention: Luong et al. 2015, section 3.1, without input feeding.

    Examples
    --------
    >>> from minillm.batches import Batch
    >>> from minillm.config import LSTMEncoderDecoderConfig
    >>> sizes = {"vocab_size": 20, "source_vocab_size": 30, "d_model": 8, "d_hidden": 16}
    >>> model = LSTMEncoderDecoder(LSTMEncoderDecoderConfig(**sizes))
    >>> source, ids = np.array([[7, 2, 9]]), np.array([[1, 5, 4, 4]])
    >>> batch = Batch(ids, source=source)
    >>> model.logits(batch).shape, model.attention_weights(batch).shape
    ((1, 4, 20), (1, 4, 3))
    >>> cache = model.encode(source)
    >>> model.next_logits(ids, cache).shape
    (1, 20)
    """

    def __init__(self, config, *, rng=None):
        super().__init__(config)
        C, D = config.d_model, config.d_hidden
        options = {"n_layer": config.n_layer, "dropout": config.dropout, "rng": rng}
        self.source_embedding = Embedding(config.source_vocab_size, C, std=1.0, rng=rng)
        self.encoder = LSTM(C, D, **options)
        self.embedding = Embedding(config.vocab_size, C, std=1.0, rng=rng)
        self.decoder = LSTM(C, D, **options)
        self.attention = LuongAttention(D, rng=rng) if config.attention else None
        self.output = Linear(D, config.vocab_size, rng=rng)

    def forward(self, batch, *, rng=None):
        encoded, encoder = self._encode(batch.source, batch.source_mask, rng)
        x, ids = self.embedding.forward(batch.ids)
        (y, _), decoder = self.decoder.forward(x, encoded.arrays, mask=batch.mask, rng=rng)
        (y, _), attended = self._attend(y, encoded)
        y, drop = F.dropout(y, self.config.dropout, rng)
        logits, output = self.output.forward(y)
        return logits, (encoder, ids, decoder, attended, drop, output)

    def backward(self, dlogits, cache):
        (source, encoder), ids, decoder, attended, drop, output = cache
        dy = F.dropout_backward(self.output.backward(dlogits, output), drop)
        dmemory = np.zeros((), dy.dtype)  # without attention nobody looked
        if self.attention:
            dy, dmemory = self.attention.backward(dy, attended)
        dx, dstate = self.decoder.backward(dy, decoder)
        self.embedding.backward(dx, ids)
        dmemory = np.broadcast_to(dmemory, (*source.shape, self.config.d_hidden))
        dx, _ = self.encoder.backward(dmemory, encoder, dstate)
        self.source_embedding.backward(dx, source)

    def new_cache(self, batch_size):
        """There is none without a source: `encode` gives it.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(f"no source for {batch_size} texts: expected a call of encode(source)")

    def encode(self, source, source_mask=None):
        """Read source (B, S), masked as in a batch: the cache that `next_logits` begins with."""
        return self._encode(source, source_mask, None)[0]

    def next_logits(self, ids, cache, *, mask=None):
        """The logits after the last of new ids: ids (B, t), mask as in a batch -> (B, V)."""
        self._check_next(ids, cache, mask)
        x, _ = self.embedding.forward(ids)
        (_, cache.arrays), _ = self.decoder.forward(x, cache.arrays, mask=mask)
        (y, _), _ = self._attend(cache.arrays[0][-1][:, None], cache)  # (B, 1, D)
        return self.output.forward(y[:, 0])[0]

    def attention_weights(self, batch):
        """How much each position looks at each of the source: (B, T, S), rows that sum to 1.

        Raises
        ------
        ValueError
            If the model has no attention.
        """
        if not self.attention:
            raise ValueError("attention = False in the config, expected True: there are no weights")
        encoded = self.encode(batch.source, batch.source_mask)
        x, _ = self.embedding.forward(batch.ids)
        (y, _), _ = self.decoder.forward(x, encoded.arrays, mask=batch.mask)
        return self._attend(y, encoded)[0][1]

    def _encode(self, source, source_mask, rng):
        """What the decoder is given of the source, and what `backward` needs."""
        check_source(self, source, source_mask, least=1)
        x, ids = self.source_embedding.forward(source)
        (memory, state), cache = self.encoder.forward(x, mask=source_mask, rng=rng)
        encoded = Cache(self, len(source))
        encoded.arrays, encoded.memory, encoded.mask = state, memory, source_mask
        return encoded, (ids, cache)

    def _attend(self, y, encoded):
        if self.attention:
            return self.attention.forward(y, encoded.memory, encoded.mask)
        return (y, None), None


def lengths_to_mask(lengths, size=None):
    """The mask of texts padded on the right: lengths (B,) -> (B, T) bool, True at real tokens.

    Parameters
    ----------
    lengths : array of int (B,)
    size : int, optional
        T; by default the longest length.

    Raises
    ------
    ValueError
        If a length is negative, above `size`, or no integer.

    Examples
    --------
    >>> lengths_to_mask([3, 1])
    array([[ True,  True,  True],
           [ True, False, False]])
    """
    lengths = np.asarray(lengths)
    size = int(lengths.max(initial=0)) if size is None else size
    if lengths.ndim != 1 or ((lengths < 0) | (lengths > size) | (lengths % 1 != 0)).any():
        raise ValueError(f"lengths = {lengths}, expected (B,) integers in 0 ... size = {size}")
    return np.arange(size) < lengths[:, None]


def _four(x):
    """The four gates of an LSTM, each a view of a part of the last axis."""
    D = x.shape[-1] // 4
    return [x[..., k * D : (k + 1) * D] for k in range(4)]


def _transposed(weight):
    """A copy (D, n D) of weight (n D, D), as BLAS reads it fastest, step after step.

    Rows that lie a power of two apart share few places in the processor's cache; so each is 16
    entries longer than it seems.
    """
    rows, columns = weight.shape
    copy = np.empty((columns, rows + 16), weight.dtype)[:, :rows]
    copy[...] = weight.T
    return copy


def _dropout_mask(like, p, rng):
    """`functional.dropout_mask`, or None if nothing is dropped."""
    return None if rng is None or p == 0 else F.dropout_mask(like, p, rng)


def _times(x, mask):
    return x if mask is None else x * mask


__all__ = ["LSTM", "RNN", "LSTMEncoderDecoder", "Recurrent", "lengths_to_mask"]
