"""The recurrent networks of `minillm.numpy_nn.recurrent` in PyTorch.

Autograd goes back through the loop over positions: that file's `backward` methods are what it does.

Shape letters: B batch, T position, S source position, C = d_model, D = d_hidden, L = n_layer,
n D the width of n = n_gate gates, V vocabulary.
"""

import torch
from torch import nn

from minillm.batches import Cache, check_source
from minillm.checks import check_range, check_recurrent, check_sizes
from minillm.torch_nn import functional as F
from minillm.torch_nn.layers import Embedding, Linear
from minillm.torch_nn.model import LanguageModel


class Cell(nn.Module):
    """One layer over all positions: x (B, T, d_in), state of (B, D) -> y (B, T, D), state.

    A kind of cell has `n_gate` gates of D units each, `n_state` tensors in its state, and says
    what happens at one position, where `gates` (B, n D) is already W x + b + U h_old::

        step(gates, old) -> new
    """

    def __init__(self, d_in, d_hidden, *, rng=None):
        super().__init__()
        self.input = Linear(d_in, self.n_gate * d_hidden, rng=rng)
        self.hidden = Linear(d_hidden, self.n_gate * d_hidden, bias=False, rng=rng)
        for block in self.hidden.weight.detach().view(-1, d_hidden, d_hidden):  # one for each gate
            q, r = torch.linalg.qr(block)
            block.copy_(q * r.diagonal().sign())

    def forward(self, x, state, padding=None, drop=None):
        """`padding` (T, B, 1) is True where nothing is read; `drop` (B, D) multiplies every h."""
        B, T, d_in = x.shape
        gates = self.input(x.transpose(0, 1).reshape(T * B, d_in))  # all at once
        gates = gates.view(T, B, gates.shape[-1])
        weight = self.hidden.weight.T  # (D, n D)
        y = []
        for t, at_t in enumerate(gates.unbind(0)):
            new = self.step(torch.addmm(at_t, _times(state[0], drop), weight), state)
            if padding is not None:
                new = [torch.where(padding[t], *s) for s in zip(state, new, strict=True)]
            state = new
            y.append(state[0])
        y = torch.stack(y, 1) if y else x.new_zeros(B, 0, weight.shape[0])
        return y if padding is None else y * ~padding.transpose(0, 1), state


class TanhCell(Cell):
    """h = tanh(W x + b + U h_old)."""

    n_gate, n_state = 1, 1

    def step(self, gates, old):
        return [F.tanh(gates)]


class LSTMCell(Cell):
    """c = f c_old + i g and h = o tanh(c), with four gates side by side: i, f, g, o."""

    n_gate, n_state = 4, 2

    def __init__(self, d_in, d_hidden, *, rng=None):
        super().__init__(d_in, d_hidden, rng=rng)
        _, forget, _, _ = self.input.bias.detach().chunk(4)
        forget.fill_(1)

    def step(self, gates, old):
        _, c_old = old
        i, f, g, o = gates.chunk(4, -1)
        c = F.sigmoid(f) * c_old + F.sigmoid(i) * F.tanh(g)
        return [F.sigmoid(o) * F.tanh(c), c]


class RNN(nn.Module):
    """Layers whose state is their last output: x (B, T, d_in), state -> (y (B, T, D), state).

    At every position h = tanh(W x + b + U h_old), and y is the last layer's h.

    ``forward(x, state=None, *, mask=None, rng=None) -> (y, state)`` starts from zeros without a
    state, a tuple of tensors (L, B, D): (h,) here, (h, c) for an `LSTM`. Where a mask (B, T) is
    False nothing is read: the state passes unchanged, and y is 0. Gradients go through the state;
    whoever detaches it truncates backpropagation through time [Williams & Peng 1990].

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
    rng : torch.Generator, optional
        Draws the starting weights: W normal with variance 1 / d_in, U orthogonal, so that at first
        it makes no state longer or shorter [Saxe et al. 2014].

    References
    ----------
    Elman 1990.

    Examples
    --------
    >>> layer = RNN(3, 5, n_layer=2)
    >>> y, (h,) = layer(torch.ones(4, 7, 3))
    >>> y.shape, h.shape
    (torch.Size([4, 7, 5]), torch.Size([2, 4, 5]))
    >>> bool((y[:, -1] == h[-1]).all())
    True
    """

    cell = TanhCell

    def __init__(self, d_in, d_hidden, *, n_layer=1, dropout=0.0, variational=False, rng=None):
        super().__init__()
        check_sizes(d_in=d_in, d_hidden=d_hidden, n_layer=n_layer)
        self.d_in, self.d_hidden = d_in, d_hidden
        self.dropout, self.variational = check_range("dropout", dropout, high=1), variational
        widths = [d_in] + [d_hidden] * (n_layer - 1)
        self.cells = nn.ModuleList(self.cell(width, d_hidden, rng=rng) for width in widths)

    def new_state(self, batch_size):
        """The state before a text, zeros: a tuple of (L, B, D)."""
        shape = (len(self.cells), batch_size, self.d_hidden)
        weight = self.cells[0].hidden.weight
        return tuple(weight.new_zeros(shape) for _ in range(self.cell.n_state))

    def forward(self, x, state=None, *, mask=None, rng=None):
        check_recurrent(self, x, state, mask)
        state = self.new_state(len(x)) if state is None else state
        padding = None if mask is None else ~mask.T[..., None]  # (T, B, 1)
        ends = []
        for cell, *start in zip(self.cells, *state, strict=True):
            drop_x, drop_h = self._dropout_masks(x, start[0], rng)
            x, end = cell(_times(x, drop_x), start, padding, drop_h)
            ends.append(end)
        return x, tuple(torch.stack(s) for s in zip(*ends, strict=True))

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
        Arguments as in `RNN`, and so is `forward`; a state is (h, c).

    References
    ----------
    Hochreiter & Schmidhuber 1997; the forget gate: Gers et al. 2000.

    Examples
    --------
    >>> layer = LSTM(3, 5)
    >>> y, (h, c) = layer(torch.ones(4, 7, 3), mask=lengths_to_mask([7, 2, 5, 1]))
    >>> bool((y[1, 1] == h[0, 1]).all() and (y[1, 2:] == 0).all())  # after each last token
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
    rng : torch.Generator, optional
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
    >>> text, state = torch.tensor([[5, 2, 7, 7, 9]]), model.new_cache(1)
    >>> pieces = [model(Batch(ids), state=state) for ids in (text[:, :2], text[:, 2:])]
    >>> torch.allclose(torch.cat(pieces, 1), model(Batch(text)), atol=1e-6)
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
        y, arrays = self.recurrent(
            self.embedding(batch.ids), state.arrays, mask=batch.mask, rng=rng
        )
        state.arrays = tuple(s.detach() for s in arrays)
        like = y[:, :1] if self.config.variational else y
        drop = _dropout_mask(like, self.config.dropout, rng)
        return self.output(_times(y, drop))

    def new_cache(self, batch_size):
        """The state before a text: its `arrays` are replaced as tokens are read."""
        cache = Cache(self, batch_size)
        cache.arrays = self.recurrent.new_state(batch_size)
        return cache

    @torch.no_grad()
    def next_logits(self, ids, cache, *, mask=None):
        """The logits after the last of new ids: ids (B, t), mask as in a batch -> (B, V)."""
        self._check_next(ids, cache, mask)
        _, cache.arrays = self.recurrent(self.embedding(ids), cache.arrays, mask=mask)
        return self.output(cache.arrays[0][-1])


class LuongAttention(nn.Module):
    """The decoder looks at all outputs of the encoder: h (B, T, D), memory (B, S, D) -> (B, T, D).

    The weights (B, T, S) are the softmax over S of the scores h W_a memory. With them the memory is
    averaged, into the context; and tanh(W_c [context; h]) comes out, with the weights beside it
    [Luong et al. 2015, section 3.1, with the score "general"; eqs. 7 and 5].
    """

    def __init__(self, d_hidden, *, rng=None):
        super().__init__()
        self.score = Linear(d_hidden, d_hidden, bias=False, rng=rng)
        self.combine = Linear(2 * d_hidden, d_hidden, bias=False, rng=rng)

    def forward(self, h, memory, mask):
        """Where `mask` (B, S) is False nobody looks: weights of 0, even if that is everywhere."""
        scores = self.score(h) @ memory.transpose(1, 2)  # (B, T, S)
        if mask is None:
            weights = F.softmax(scores)
        else:
            mask = mask[:, None]  # (B, 1, S)
            weights = F.softmax(torch.where(mask, scores, torch.finfo(scores.dtype).min)) * mask
        y = self.combine(torch.cat([weights @ memory, h], -1))
        return F.tanh(y), weights


class LSTMEncoderDecoder(LanguageModel):
    """One LSTM reads the source, another writes: source (B, S), ids (B, T) -> logits (B, T, V).

    The decoder starts from the encoder's last state. Without attention that is all it learns of
    the source; with it, every position looks at all the encoder's outputs.

    In generation `encode` gives the cache that `new_cache` gives elsewhere.

    Parameters
    ----------
    config : LSTMEncoderDecoderConfig
    rng : torch.Generator, optional
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
    >>> source, ids = torch.tensor([[7, 2, 9]]), torch.tensor([[1, 5, 4, 4]])
    >>> batch = Batch(ids, source=source)
    >>> model.logits(batch).shape, model.attention_weights(batch).shape
    (torch.Size([1, 4, 20]), torch.Size([1, 4, 3]))
    >>> cache = model.encode(source)
    >>> model.next_logits(ids, cache).shape
    torch.Size([1, 20])
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
        encoded = self._encode(batch.source, batch.source_mask, rng)
        x = self.embedding(batch.ids)
        y, _ = self.decoder(x, encoded.arrays, mask=batch.mask, rng=rng)
        y, _ = self._attend(y, encoded)
        return self.output(F.dropout(y, self.config.dropout, rng))

    def new_cache(self, batch_size):
        """There is none without a source: `encode` gives it.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(f"no source for {batch_size} texts: expected a call of encode(source)")

    @torch.no_grad()
    def encode(self, source, source_mask=None):
        """Read source (B, S), masked as in a batch: the cache that `next_logits` begins with."""
        return self._encode(source, source_mask, None)

    @torch.no_grad()
    def next_logits(self, ids, cache, *, mask=None):
        """The logits after the last of new ids: ids (B, t), mask as in a batch -> (B, V)."""
        self._check_next(ids, cache, mask)
        _, cache.arrays = self.decoder(self.embedding(ids), cache.arrays, mask=mask)
        y, _ = self._attend(cache.arrays[0][-1][:, None], cache)  # (B, 1, D)
        return self.output(y[:, 0])

    @torch.no_grad()
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
        y, _ = self.decoder(self.embedding(batch.ids), encoded.arrays, mask=batch.mask)
        return self._attend(y, encoded)[1]

    def _encode(self, source, source_mask, rng):
        """What the decoder is given of the source."""
        check_source(self, source, source_mask, least=1)
        x = self.source_embedding(source)
        memory, state = self.encoder(x, mask=source_mask, rng=rng)
        encoded = Cache(self, len(source))
        encoded.arrays, encoded.memory, encoded.mask = state, memory, source_mask
        return encoded

    def _attend(self, y, encoded):
        if self.attention:
            return self.attention(y, encoded.memory, encoded.mask)
        return y, None


def lengths_to_mask(lengths, size=None):
    """The mask of texts padded on the right: lengths (B,) -> (B, T) bool, True at real tokens.

    Parameters
    ----------
    lengths : tensor of int (B,), or list
    size : int, optional
        T; by default the longest length.

    Raises
    ------
    ValueError
        If a length is negative, above `size`, or no integer.

    Examples
    --------
    >>> lengths_to_mask([3, 1])
    tensor([[ True,  True,  True],
            [ True, False, False]])
    """
    lengths = torch.as_tensor(lengths)
    size = int(max(lengths.flatten().tolist(), default=0)) if size is None else size
    if lengths.ndim != 1 or ((lengths < 0) | (lengths > size) | (lengths % 1 != 0)).any():
        found = lengths.tolist()
        raise ValueError(f"lengths = {found}, expected (B,) integers in 0 ... size = {size}")
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def _dropout_mask(like, p, rng):
    """`functional.dropout_mask`, or None if nothing is dropped."""
    return None if rng is None or p == 0 else F.dropout_mask(like, p, rng)


def _times(x, mask):
    return x if mask is None else x * mask


__all__ = ["LSTM", "RNN", "LSTMEncoderDecoder", "Recurrent", "lengths_to_mask"]
