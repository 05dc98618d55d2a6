"""The Transformer by hand: encoder, decoder, or both, and every option of its record.

Each block adds to a residual stream x (B, T, C), by attention what positions learn from others,
by a feed-forward layer what each makes of it.

Shape letters: B batch, T position, S source position, C = d_model, F = d_ff, H heads,
G key/value heads, K = d_head, V vocabulary, ``...`` any leading axes.
"""

import numpy as np

from minillm import batches
from minillm.batches import check_source
from minillm.config import CHOICES
from minillm.numpy_nn import functional as F
from minillm.numpy_nn.attention import KeyValueCache, MultiHeadAttention
from minillm.numpy_nn.layers import Embedding, LayerNorm, Linear, Module, RMSNorm
from minillm.numpy_nn.model import LanguageModel


class FeedForward(Module):
    """Two linear maps with an activation between, for each position: x (..., C) -> y (..., C).

    y = down(activation(up(x))), or with "swiglu" down(silu(gate(x)) * up(x)).

    Parameters
    ----------
    d_model, d_ff : int
    activation : str
        "gelu", "gelu_exact", "relu", "relu2", "silu" or "swiglu".
    bias : bool
        In each linear map.
    std : float, optional
        Of the starting weights, as in `Linear`.
    rng : numpy.random.Generator, optional

    References
    ----------
    Vaswani et al. 2017, section 3.3. With a gate: Shazeer 2020.

    Examples
    --------
    >>> y, _ = FeedForward(8, 32).forward(np.ones((3, 5, 8), np.float32))
    >>> y.shape
    (3, 5, 8)
    """

    def __init__(self, d_model, d_ff, *, activation="gelu", bias=True, std=None, rng=None):
        self.activate, self.activate_backward = _activation(activation)
        options = {"bias": bias, "std": std, "rng": rng}
        self.up = Linear(d_model, d_ff, **options)
        self.gate = Linear(d_model, d_ff, **options) if activation == "swiglu" else None
        self.down = Linear(d_ff, d_model, **options)

    def forward(self, x):
        h, up_cache = self.up.forward(x)  # (..., F)
        if self.gate:
            gate, gate_cache = self.gate.forward(x)
            h, cache = F.swiglu(gate, h)
        else:
            gate_cache = None
            h, cache = self.activate(h)
        y, down_cache = self.down.forward(h)
        return y, (up_cache, gate_cache, cache, down_cache)

    def backward(self, dy, cache):
        up_cache, gate_cache, cache, down_cache = cache
        dh = self.down.backward(dy, down_cache)
        if self.gate:
            dgate, dh = F.swiglu_backward(dh, cache)
            return self.up.backward(dh, up_cache) + self.gate.backward(dgate, gate_cache)
        return self.up.backward(self.activate_backward(dh, cache), up_cache)


class Block(Module):
    """Attention, perhaps to a source too, and a feed-forward layer: x (..., T, C) -> same.

    Each is a sublayer on the residual stream: x + sublayer(norm(x)), or where
    `config.norm_first` is False norm(x + sublayer(x)).

    Parameters
    ----------
    config : TransformerConfig
    cross : bool
        Whether there is a second attention, to a source.
    value_residual : bool
        As in `MultiHeadAttention`; the first block mixes no values.
    rng : numpy.random.Generator, optional

    References
    ----------
    Vaswani et al. 2017, section 3.1. With the norm first: Xiong et al. 2020.

    Examples
    --------
    >>> from minillm.config import TransformerConfig
    >>> config = TransformerConfig(vocab_size=9, context_length=5, n_layer=1, n_head=2, d_model=8)
    >>> y, _ = Block(config).forward(np.ones((3, 5, 8), np.float32), causal=True)
    >>> y.shape
    (3, 5, 8)
    """

    def __init__(self, config, *, cross=False, value_residual=False, rng=None):
        c = config
        self.norm_first, self.dropout = c.norm_first, c.dropout
        options = {"bias": c.bias, "std": c.init_std, "rng": rng}
        heads = {"n_kv_head": c.n_kv_head, "d_head": c.d_head, "qk_norm": c.qk_norm}
        heads |= {"qk_scale": c.qk_scale, "dropout": c.dropout, **options}
        self.norm1 = _norm(c)
        self.attention = MultiHeadAttention(
            c.d_model, c.n_head, value_residual=value_residual, **heads
        )
        self.norm_cross = _norm(c) if cross else None
        self.cross = MultiHeadAttention(c.d_model, c.n_head, **heads) if cross else None
        self.norm2 = _norm(c)
        self.feed_forward = FeedForward(c.d_model, c.d_ff, activation=c.activation, **options)
        if c.zero_init or c.norm_first:  # where nothing rescales the stream, keep it from growing
            scale = 0.0 if c.zero_init else (2 * c.n_layer) ** -0.5
            for layer in (self.attention, self.cross):
                if layer:
                    layer.output.weight.data *= scale
            self.feed_forward.down.weight.data *= scale

    def forward(
        self, x, source=None, *, mask=None, source_mask=None, causal=False, rotary=None,
        first_values=None, kv_caches=(None, None), rng=None,
    ):  # fmt: skip
        """Run the sublayers, one after another.

        Parameters
        ----------
        x : array (..., T, C)
        source : array (..., S, C), optional
            What the block with `cross` looks at besides.
        mask, causal, rotary, first_values
            For the attention of x to itself, as in `MultiHeadAttention.forward`.
        source_mask : array (T, S) or (..., 1 or H, T, S), optional
            As `mask`, for the source.
        kv_caches : (KeyValueCache, KeyValueCache), optional
            In generation: of x, and of the source.
        rng : numpy.random.Generator, optional
            Draws what is dropped.

        Raises
        ------
        ValueError
            If there is no source for a block with `cross`.
        """
        if self.cross and source is None:
            raise ValueError("source is None, expected (..., S, C) for a block with cross = True")
        own = {"mask": mask, "causal": causal, "rotary": rotary, "first_values": first_values}
        own |= {"kv_cache": kv_caches[0], "rng": rng}
        x, cache1 = self._add(x, self.norm1, self.attention, own, rng)
        cross_cache = None
        if self.cross:
            other = {"source": source, "mask": source_mask, "kv_cache": kv_caches[1], "rng": rng}
            x, cross_cache = self._add(x, self.norm_cross, self.cross, other, rng)
        x, cache2 = self._add(x, self.norm2, self.feed_forward, {}, rng)
        return x, (cache1, cross_cache, cache2)

    def backward(self, dy, cache):
        """Give dx, dsource, dfirst_values; None for what `forward` was not given."""
        cache1, cross_cache, cache2 = cache
        dx, *_ = self._add_backward(dy, self.norm2, self.feed_forward, cache2)
        dsource = None
        if self.cross:
            dx, dsource, _ = self._add_backward(dx, self.norm_cross, self.cross, cross_cache)
        dx, _, dfirst = self._add_backward(dx, self.norm1, self.attention, cache1)
        return dx, dsource, dfirst

    def values(self, x):
        """The values that the attention would take from x: (..., T, C) -> (..., T, G K), cache."""
        x, norm_cache = self.norm1.forward(x) if self.norm_first else (x, None)
        values, cache = self.attention.value.forward(x)
        return values, (norm_cache, cache)

    def values_backward(self, dvalues, cache):
        """The gradient of `values`: (..., T, G K) -> dx (..., T, C)."""
        norm_cache, cache = cache
        dx = self.attention.value.backward(dvalues, cache)
        return self.norm1.backward(dx, norm_cache) if self.norm_first else dx

    def _add(self, x, norm, sublayer, inputs, rng):
        """Add to x what a sublayer makes of it."""
        h, norm_cache = norm.forward(x) if self.norm_first else (x, None)
        h, cache = sublayer.forward(h, **inputs)
        h, dropped = F.dropout(h, self.dropout, rng)
        h += x
        if not self.norm_first:
            h, norm_cache = norm.forward(h)
        return h, (norm_cache, cache, dropped)

    def _add_backward(self, dy, norm, sublayer, cache):
        """-> dx, and the gradients at what else went into the sublayer."""
        norm_cache, cache, dropped = cache
        if not self.norm_first:
            dy = norm.backward(dy, norm_cache)
        dx = sublayer.backward(F.dropout_backward(dy, dropped), cache)
        dx, *others = dx if isinstance(dx, tuple) else (dx,)  # attention gives several
        if self.norm_first:
            dx = norm.backward(dx, norm_cache)
        dx += dy
        return dx, *others


class TransformerCache(batches.TransformerCache):
    """What generation remembers: keys and values of each layer, and which positions are padding.

    Parameters
    ----------
    model : Transformer
        Keys and values have the dtype of its weights.
    batch_size : int

    Examples
    --------
    >>> from minillm.config import TransformerConfig
    >>> config = TransformerConfig(vocab_size=9, context_length=5, n_layer=1, n_head=2, d_model=8)
    >>> cache = Transformer(config).new_cache(1)
    >>> logits = Transformer(config).next_logits(np.array([[3, 1, 4]]), cache)
    >>> cache.length
    3
    """

    def __init__(self, model, batch_size):
        c, dtype = model.config, model.embedding.weight.data.dtype
        sizes = batch_size, c.n_kv_head, c.context_length, c.d_head
        super().__init__(model, batch_size, lambda: KeyValueCache(*sizes, dtype))


class Transformer(LanguageModel):
    """Reads ids (B, T), and perhaps a source (B, S); logits (B, T, V), or (B, n_class) for labels.

    Padding may stand anywhere: it is not looked at, and positions are counted without it. In
    generation, `encode` gives an encoder–decoder the cache that `new_cache` gives a decoder.

    With `config.n_gram` = n, what enters the first block at a position is the sum of its token's
    embedding and of those of the n - 1 tokens before it, from a table of its own for each place.
    In `before` these stand one below the other, the nearest first. Where there is no such token,
    nothing is added.

    Parameters
    ----------
    config : TransformerConfig
        All options, one line each.
    rng : numpy.random.Generator, optional
        Draws the starting weights.

    References
    ----------
    Vaswani et al. 2017. The starting weights of what blocks add: Radford et al. 2019, section
    2.3, counting two sublayers a block, or zeros. Tied output: Press & Wolf 2017.

    Examples
    --------
    >>> from minillm.batches import Batch
    >>> from minillm.config import TransformerConfig
    >>> config = TransformerConfig.gpt2(
    ...     vocab_size=65, context_length=64, n_layer=2, n_head=4, d_model=32
    ... )
    >>> model, ids = Transformer(config), np.array([[7, 2, 9, 4]])
    >>> model.logits(Batch(ids)).shape
    (1, 4, 65)
    >>> cache = model.new_cache(1)
    >>> model.next_logits(ids[:, :3], cache).shape  # the last position's alone
    (1, 65)
    >>> later = model.next_logits(ids[:, 3:], cache)  # looks at the three before in the cache
    >>> bool(np.allclose(later, model.logits(Batch(ids))[:, -1], atol=1e-5))
    True
    """

    def __init__(self, config, *, rng=None):
        super().__init__(config)
        c, both = config, config.kind == "encoder-decoder"
        std = c.d_model**-0.5 if c.init_std is None else c.init_std

        def table(size):
            return Embedding(size, c.d_model, std=std, rng=rng)

        def blocks(cross):
            mixed = [c.value_residual and i > 0 for i in range(c.n_layer)]
            return [Block(c, cross=cross, value_residual=m, rng=rng) for m in mixed]

        self.embedding = table(c.vocab_size)
        self.before = table((c.n_gram - 1) * c.vocab_size) if c.n_gram > 1 else None
        self.positions = table(c.context_length) if c.position == "learned" else None
        self.embedding_norm = _norm(c) if c.embedding_norm else None
        if both:
            own = c.source_vocab_size is not None
            self.source_embedding = table(c.source_vocab_size) if own else self.embedding
            self.source_positions = table(c.context_length) if c.position == "learned" else None
            self.encoder = blocks(cross=False)
            self.encoder_norm = _norm(c) if c.norm_first else None
        self.blocks = blocks(cross=both)
        self.norm = _norm(c) if c.norm_first else None
        if c.n_class:
            self.classify = Linear(c.d_model, c.n_class, std=c.init_std, rng=rng)
            return
        if c.head_transform:
            self.activate, self.activate_backward = _activation(c.activation)
            self.transform = Linear(c.d_model, c.d_model, bias=c.bias, std=c.init_std, rng=rng)
            self.transform_norm = _norm(c)
        self.output = Linear(c.d_model, c.vocab_size, bias=c.head_transform, std=std, rng=rng)
        if c.tied:
            self.output.weight = self.embedding.weight

    def forward(self, batch, *, rng=None):
        c, memory, encoder_cache = self.config, None, None
        if c.kind == "encoder-decoder":
            memory, encoder_cache = self._encode(batch.source, batch.source_mask, rng)
        elif batch.source is not None:
            raise ValueError(f"batch has a source, expected none with kind = {c.kind!r}")
        x, cache = self._run(
            self._decoder(), batch.ids, batch.mask, memory, batch.source_mask,
            causal=c.kind != "encoder", rng=rng,
        )  # fmt: skip
        logits, head_cache = self._head(x, batch.mask)
        return logits, (encoder_cache, cache, head_cache)

    def backward(self, dlogits, cache):
        encoder_cache, cache, head_cache = cache
        dx = self._head_backward(dlogits, head_cache)
        dmemory = self._run_backward(self._decoder(), dx, cache)
        if encoder_cache:
            self._run_backward(self._encoder(), dmemory, encoder_cache)

    def new_cache(self, batch_size):
        """What generation remembers: nothing yet.

        Raises
        ------
        ValueError
            If the model does not write a text; if it has a source, for which there is `encode`.
        """
        self._check_writes()
        if self.config.kind == "encoder-decoder":
            raise ValueError("kind = 'encoder-decoder': expected encode(source), not new_cache")
        return TransformerCache(self, batch_size)

    def encode(self, source, source_mask=None):
        """Read source (B, S), masked as in a batch: what `next_logits` starts from.

        Raises
        ------
        ValueError
            If the model has no encoder besides its decoder, or the source does not fit it.
        """
        memory, _ = self._encode(source, source_mask)
        cache = TransformerCache(self, len(source))
        cache.source, cache.source_mask = memory[:, :0], source_mask
        for block, (_, kv_cache) in zip(self.blocks, cache.layers, strict=True):
            # An empty query (B, 0, C): this only fills the cache with the source's keys and values.
            block.cross.forward(cache.source, memory, kv_cache=kv_cache)
        return cache

    def next_logits(self, ids, cache, *, mask=None):
        """Read new ids (B, t); the logits after the last: (B, V).

        Parameters
        ----------
        ids : array of int (B, t)
        cache : TransformerCache
            Updated, if nothing is raised.
        mask : array of bool (B, t), optional
            False at padding: texts of different lengths are padded on the left.

        Raises
        ------
        ValueError
            If the model does not write a text, or `ids` do not fit it or the cache.
        """
        self._check_writes()
        self._check_next(ids, cache, mask)
        if mask is not None or cache.mask is not None:
            old = np.ones((len(ids), cache.length), bool) if cache.mask is None else cache.mask
            new = np.ones(ids.shape, bool) if mask is None else mask
            mask = np.concatenate([old, new], 1)
        x, _ = self._run(
            self._decoder(), ids, mask, cache.source, cache.source_mask, causal=True, cache=cache
        )
        cache.mask, cache.ids = mask, _seen(ids, cache) if self.before else None
        return self._head(x[:, -1])[0]

    def _encode(self, source, source_mask, rng=None):
        """The encoder's output (B, S, C), and its cache."""
        if self.config.kind != "encoder-decoder":
            raise ValueError(f"kind = {self.config.kind!r}, expected 'encoder-decoder'")
        check_source(self, source, source_mask)
        return self._run(self._encoder(), source, source_mask, rng=rng)

    def _decoder(self):
        """Its parts: the embeddings of tokens and of positions, the blocks, the last norm."""
        return self.embedding, self.positions, self.blocks, self.norm

    def _encoder(self):
        """As `_decoder`."""
        return self.source_embedding, self.source_positions, self.encoder, self.encoder_norm

    def _run(
        self, parts, ids, mask, source=None, source_mask=None, *, causal=False, cache=None, rng=None
    ):
        """Embed ids and lead them through the blocks: (B, T) -> (B, T, C), cache."""
        c, (embedding, table, blocks, norm) = self.config, parts
        start, T = cache.length if cache else 0, ids.shape[1]
        if start + T > c.context_length:
            raise ValueError(
                f"ids has {T} positions, after {start} read before, "
                f"expected at most context_length = {c.context_length} in all"
            )
        positions = _positions(mask, start + T)[..., start:]  # (T,) or (B, T)
        x, ids_cache = embedding.forward(ids)
        before_cache = None
        if c.n_gram > 1:
            more, before_cache = self._embed_before(ids, mask, cache)
            x += more
        if c.embedding_scale:
            x *= c.d_model**0.5
        if table:
            x += table.forward(positions)[0]
        if c.position == "sinusoidal":
            x += F.sinusoidal(positions, c.d_model, dtype=x.dtype)
        x, norm0_cache = self.embedding_norm.forward(x) if self.embedding_norm else (x, None)
        x, dropped = F.dropout(x, c.dropout, rng)
        embed_cache = ids_cache, before_cache, positions, norm0_cache, dropped

        rotary = first_values = first_cache = None
        if c.position == "rotary":
            scaling = {"factor": c.rotary_factor, "context": c.rotary_context}
            rotary = F.rotary_tables(positions, c.d_head, c.rotary_base, **scaling, dtype=x.dtype)
        if c.value_residual:
            first_values, first_cache = blocks[0].values(x)
        options = {"causal": causal, "rotary": rotary, "first_values": first_values, "rng": rng}
        options |= {"mask": _for_keys(mask), "source_mask": _for_keys(source_mask)}
        caches = []
        for i, block in enumerate(blocks):
            kv_caches = cache.layers[i] if cache else (None, None)
            x, block_cache = block.forward(x, source, kv_caches=kv_caches, **options)
            caches.append(block_cache)
        x, norm_cache = norm.forward(x) if norm else (x, None)
        return x, (embed_cache, first_cache, caches, norm_cache)

    def _run_backward(self, parts, dx, cache):
        """Back to the embeddings; -> dsource, or None if there was no source."""
        c, (embedding, table, blocks, norm) = self.config, parts
        embed_cache, first_cache, caches, norm_cache = cache
        dx = norm.backward(dx, norm_cache) if norm else dx
        dsources, dfirsts = [], []  # from each block, at the source and at the first values
        for block, block_cache in zip(reversed(blocks), reversed(caches), strict=True):
            dx, dsource, dfirst = block.backward(dx, block_cache)
            dsources.append(dsource)
            dfirsts.append(dfirst)
        if c.value_residual:
            dx += blocks[0].values_backward(sum(dfirsts), first_cache)

        ids_cache, before_cache, positions, norm0_cache, dropped = embed_cache
        dx = F.dropout_backward(dx, dropped)
        dx = self.embedding_norm.backward(dx, norm0_cache) if self.embedding_norm else dx
        if table:
            table.backward(dx.sum(0) if positions.ndim == 1 else dx, positions)
        dx = dx * c.d_model**0.5 if c.embedding_scale else dx
        if c.n_gram > 1:
            self._embed_before_backward(dx, before_cache)
        embedding.backward(dx, ids_cache)
        return sum(dsources) if blocks[0].cross else None

    def _embed_before(self, ids, mask, cache):
        """The sums of the embeddings of the tokens before each: ids (B, T) -> (B, T, C), cache."""
        before = _before(_seen(ids, cache), mask, self.config.n_gram - 1)
        before = before[:, before.shape[1] - ids.shape[1] :]  # (B, T, N)
        rows = np.maximum(before, 0) + self.config.vocab_size * np.arange(before.shape[-1])
        y, _ = self.before.forward(rows)  # (B, T, N, C)
        there = (before >= 0).astype(y.dtype)
        return np.einsum("btnc,btn->btc", y, there), (rows, there)

    def _embed_before_backward(self, dy, cache):
        rows, there = cache
        self.before.backward(dy[:, :, None] * there[..., None], rows)

    def _head(self, x, mask=None):
        """Scores for the vocabulary, (..., C) -> (..., V), or for classes, (B, T, C) -> (B, n)."""
        if self.config.n_class:
            weights = _pool_weights(self.config.pool, mask, x)  # (B, T)
            logits, cache = self.classify.forward((weights[:, None] @ x)[:, 0])
            return logits, (weights, cache)
        if not self.config.head_transform:
            return self.output.forward(x)
        x, transform_cache = self.transform.forward(x)
        x, cache = self.activate(x)
        x, norm_cache = self.transform_norm.forward(x)
        logits, output_cache = self.output.forward(x)
        return logits, (transform_cache, cache, norm_cache, output_cache)

    def _head_backward(self, dlogits, cache):
        if self.config.n_class:
            weights, cache = cache
            dx = self.classify.backward(dlogits, cache)  # (B, C)
            return weights[:, :, None] * dx[:, None]
        if not self.config.head_transform:
            return self.output.backward(dlogits, cache)
        transform_cache, cache, norm_cache, output_cache = cache
        dx = self.output.backward(dlogits, output_cache)
        dx = self.transform_norm.backward(dx, norm_cache)
        return self.transform.backward(self.activate_backward(dx, cache), transform_cache)

    def _check_writes(self):
        """Raise unless the model predicts the next token."""
        c = self.config
        if c.kind == "encoder" or c.n_class:
            raise ValueError(
                f"kind = {c.kind!r} and n_class = {c.n_class}, "
                "expected a decoder without classes: this model writes no text"
            )


def _activation(name):
    """The activation of a feed-forward layer, and its gradient; of "swiglu", that in its gate."""
    if name not in CHOICES["activation"]:
        raise ValueError(f"activation = {name!r}, expected one of {CHOICES['activation']}")
    name = "silu" if name == "swiglu" else name
    return getattr(F, name), getattr(F, f"{name}_backward")


def _norm(config):
    """The norm that a config asks for."""
    if config.norm == "rmsnorm":
        return RMSNorm(config.d_model, weight=config.norm_weight, eps=config.norm_eps)
    return LayerNorm(config.d_model, bias=config.bias, eps=config.norm_eps)


def _seen(ids, cache):
    """All ids read so far, with those of a cache."""
    return ids if cache is None or cache.ids is None else np.concatenate([cache.ids, ids], 1)


def _before(ids, mask, n):
    """The n ids before each, the nearest first: (B, T) -> (B, T, n); -1 where there is none."""
    nobody = np.zeros((len(ids), 1), np.int64)  # stands at place 0, and the ids from place 1 on
    place = np.broadcast_to(np.arange(1, ids.shape[1] + 1), ids.shape)
    place = place if mask is None else place * mask  # padding is nobody
    last = np.maximum.accumulate(place, 1)[:, :-1]
    ids = np.concatenate([nobody - 1, ids], 1)
    before = np.concatenate([nobody, nobody, last], 1)[:, : ids.shape[1]]  # whose place is before
    at, found = before[:, 1:], []
    for _ in range(n):
        found.append(np.take_along_axis(ids, at, 1))
        at = np.take_along_axis(before, at, 1)
    return np.stack(found, -1)


def _positions(mask, T):
    """The positions of tokens in their texts, without padding: -> (T,), or (B, T) with a mask."""
    return np.arange(T) if mask is None else np.maximum(mask.cumsum(-1) - 1, 0)


def _for_keys(mask):
    """A mask of texts (B, S) as one of attention, (B, H, T, S) with H = T = 1."""
    return None if mask is None else mask[:, None, None]


def _pool_weights(pool, mask, x):
    """How much each position of x (B, T, C) counts for its text: (B, T), padding not at all."""
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    place = mask.cumsum(-1)  # 1 at the first real token
    n = place[:, -1:]  # (B, 1)
    if pool == "mean":
        return mask.astype(x.dtype) / np.maximum(n, 1).astype(x.dtype)
    return (mask & (place == (1 if pool == "first" else n))).astype(x.dtype)


__all__ = ["Block", "FeedForward", "Transformer", "TransformerCache"]
