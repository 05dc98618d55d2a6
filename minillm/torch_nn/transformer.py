"""The Transformer of `minillm.numpy_nn.transformer` in PyTorch, with two switches for speed.

Each block adds to a residual stream x (B, T, C), by attention what positions learn from others,
by a feed-forward layer what each makes of it.

Shape letters: B batch, T position, S source position, C = d_model, F = d_ff, H heads,
G key/value heads, K = d_head, V vocabulary, ``...`` any leading axes.
"""

from contextlib import nullcontext

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from minillm import batches
from minillm.batches import check_source
from minillm.config import CHOICES
from minillm.torch_nn import functional as F
from minillm.torch_nn.attention import KeyValueCache, MultiHeadAttention
from minillm.torch_nn.layers import Embedding, LayerNorm, Linear, RMSNorm
from minillm.torch_nn.model import LanguageModel


class FeedForward(nn.Module):
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
    rng : torch.Generator, optional

    References
    ----------
    Vaswani et al. 2017, section 3.3. With a gate: Shazeer 2020.

    Examples
    --------
    >>> FeedForward(8, 32)(torch.ones(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, d_model, d_ff, *, activation="gelu", bias=True, std=None, rng=None):
        super().__init__()
        self.activate = _activation(activation)
        options = {"bias": bias, "std": std, "rng": rng}
        self.up = Linear(d_model, d_ff, **options)
        self.gate = Linear(d_model, d_ff, **options) if activation == "swiglu" else None
        self.down = Linear(d_ff, d_model, **options)

    def forward(self, x):
        h = self.up(x)  # (..., F)
        h = F.swiglu(self.gate(x), h) if self.gate else self.activate(h)
        return self.down(h)


class Block(nn.Module):
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
    rng : torch.Generator, optional

    References
    ----------
    Vaswani et al. 2017, section 3.1. With the norm first: Xiong et al. 2020.

    Examples
    --------
    >>> from minillm.config import TransformerConfig
    >>> config = TransformerConfig(vocab_size=9, context_length=5, n_layer=1, n_head=2, d_model=8)
    >>> Block(config)(torch.ones(3, 5, 8), causal=True).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, config, *, cross=False, value_residual=False, rng=None):
        super().__init__()
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
        x : tensor (..., T, C)
        source : tensor (..., S, C), optional
            What the block with `cross` looks at besides.
        mask, causal, rotary, first_values
            For the attention of x to itself, as in `MultiHeadAttention.forward`.
        source_mask : tensor (T, S) or (..., 1 or H, T, S), optional
            As `mask`, for the source.
        kv_caches : (KeyValueCache, KeyValueCache), optional
            In generation: of x, and of the source.
        rng : torch.Generator, optional
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
        x = self._add(x, self.norm1, self.attention, own, rng)
        if self.cross:
            other = {"source": source, "mask": source_mask, "kv_cache": kv_caches[1], "rng": rng}
            x = self._add(x, self.norm_cross, self.cross, other, rng)
        return self._add(x, self.norm2, self.feed_forward, {}, rng)

    def values(self, x):
        """The values that the attention would take from x: (..., T, C) -> (..., T, G K)."""
        return self.attention.value(self.norm1(x) if self.norm_first else x)

    def _add(self, x, norm, sublayer, inputs, rng):
        """Add to x what a sublayer makes of it."""
        h = sublayer(norm(x) if self.norm_first else x, **inputs)
        h = F.dropout(h, self.dropout, rng) + x
        return h if self.norm_first else norm(h)


class TransformerCache(batches.TransformerCache):
    """What generation remembers: keys and values of each layer, and which positions are padding.

    Parameters
    ----------
    model : Transformer
        Keys and values have the dtype of its weights, and are on their device.
    batch_size : int

    Examples
    --------
    >>> from minillm.config import TransformerConfig
    >>> config = TransformerConfig(vocab_size=9, context_length=5, n_layer=1, n_head=2, d_model=8)
    >>> cache = Transformer(config).new_cache(1)
    >>> logits = Transformer(config).next_logits(torch.tensor([[3, 1, 4]]), cache)
    >>> cache.length
    3
    """

    def __init__(self, model, batch_size):
        c, like = model.config, model.embedding.weight
        sizes = batch_size, c.n_kv_head, c.context_length, c.d_head
        super().__init__(model, batch_size, lambda: KeyValueCache(*sizes, like.dtype, like.device))


class Transformer(LanguageModel):
    """Reads ids (B, T), and perhaps a source (B, S); logits (B, T, V), or (B, n_class) for labels.

    Padding may stand anywhere: it is not looked at, and positions are counted without it. In
    generation, `encode` gives an encoder–decoder the cache that `new_cache` gives a decoder.

    With `config.n_gram` = n, what enters the first block at a position is the sum of its token's
    embedding and of those of the n - 1 tokens before it, from a table of its own for each place.
    In `before` these stand one below the other, the nearest first. Where there is no such token,
    nothing is added.

    Two switches, off at first, change the speed and not the result: `sdpa`, to use
    `fused_attention` wherever nothing is dropped, and `checkpointing`, to keep of each block only
    what goes in, and run it again in the backward pass: less memory for a third more time.

    Parameters
    ----------
    config : TransformerConfig
        All options, one line each.
    rng : torch.Generator, optional
        Draws the starting weights.

    References
    ----------
    Vaswani et al. 2017. The starting weights of what blocks add: Radford et al. 2019, section
    2.3, counting two sublayers a block, or zeros. Tied output: Press & Wolf 2017. `checkpointing`:
    Chen et al. 2016.

    Examples
    --------
    >>> from minillm.batches import Batch
    >>> from minillm.config import TransformerConfig
    >>> config = TransformerConfig.gpt2(
    ...     vocab_size=65, context_length=64, n_layer=2, n_head=4, d_model=32
    ... )
    >>> model, ids = Transformer(config), torch.tensor([[7, 2, 9, 4]])
    >>> model.logits(Batch(ids)).shape
    torch.Size([1, 4, 65])
    >>> cache = model.new_cache(1)
    >>> model.next_logits(ids[:, :3], cache).shape  # the last position's alone
    torch.Size([1, 65])
    >>> later = model.next_logits(ids[:, 3:], cache)  # looks at the three before in the cache
    >>> torch.allclose(later, model.logits(Batch(ids))[:, -1], atol=1e-5)
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
            return nn.ModuleList(Block(c, cross=cross, value_residual=m, rng=rng) for m in mixed)

        self.checkpointing = False
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
            self.activate = _activation(c.activation)
            self.transform = Linear(c.d_model, c.d_model, bias=c.bias, std=c.init_std, rng=rng)
            self.transform_norm = _norm(c)
        self.output = Linear(c.d_model, c.vocab_size, bias=c.head_transform, std=std, rng=rng)
        if c.tied:
            self.output.weight = self.embedding.weight

    @property
    def sdpa(self):
        """Whether attention runs on PyTorch's own kernels."""
        return self.blocks[0].attention.sdpa

    @sdpa.setter
    def sdpa(self, value):
        for layer in self.modules():
            if isinstance(layer, MultiHeadAttention):
                layer.sdpa = value

    def forward(self, batch, *, rng=None):
        c, memory = self.config, None
        if c.kind == "encoder-decoder":
            memory = self._encode(batch.source, batch.source_mask, rng)
        elif batch.source is not None:
            raise ValueError(f"batch has a source, expected none with kind = {c.kind!r}")
        x = self._run(
            self._decoder(), batch.ids, batch.mask, memory, batch.source_mask,
            causal=c.kind != "encoder", rng=rng,
        )  # fmt: skip
        return self._head(x, batch.mask)

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

    @torch.no_grad()
    def encode(self, source, source_mask=None):
        """Read source (B, S), masked as in a batch: what `next_logits` starts from.

        Raises
        ------
        ValueError
            If the model has no encoder besides its decoder, or the source does not fit it.
        """
        memory = self._encode(source, source_mask)
        cache = TransformerCache(self, len(source))
        cache.source, cache.source_mask = memory[:, :0], source_mask
        for block, (_, kv_cache) in zip(self.blocks, cache.layers, strict=True):
            # An empty query (B, 0, C): this only fills the cache with the source's keys and values.
            block.cross(cache.source, memory, kv_cache=kv_cache)
        return cache

    @torch.no_grad()
    def next_logits(self, ids, cache, *, mask=None):
        """Read new ids (B, t); the logits after the last: (B, V).

        Parameters
        ----------
        ids : tensor of int (B, t)
        cache : TransformerCache
            Updated, if nothing is raised.
        mask : tensor of bool (B, t), optional
            False at padding: texts of different lengths are padded on the left.

        Raises
        ------
        ValueError
            If the model does not write a text, or `ids` do not fit it or the cache.
        """
        self._check_writes()
        self._check_next(ids, cache, mask)
        if mask is not None or cache.mask is not None:
            size = len(ids), cache.length + ids.shape[1]
            real = torch.ones(size, dtype=torch.bool, device=ids.device)
            old = real[:, : cache.length] if cache.mask is None else cache.mask
            new = real[:, cache.length :] if mask is None else mask
            mask = torch.cat([old, new], 1)
        x = self._run(
            self._decoder(), ids, mask, cache.source, cache.source_mask, causal=True, cache=cache
        )
        cache.mask, cache.ids = mask, _seen(ids, cache) if self.before else None
        return self._head(x[:, -1])

    def _encode(self, source, source_mask, rng=None):
        """The encoder's output (B, S, C)."""
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
        """Embed ids and lead them through the blocks: (B, T) -> (B, T, C)."""
        c, (embedding, table, blocks, norm) = self.config, parts
        start, T = cache.length if cache else 0, ids.shape[1]
        if start + T > c.context_length:
            raise ValueError(
                f"ids has {T} positions, after {start} read before, "
                f"expected at most context_length = {c.context_length} in all"
            )
        positions = _positions(mask, start + T, ids.device)[..., start:]  # (T,) or (B, T)
        x = embedding(ids)
        if c.n_gram > 1:
            x = x + self._embed_before(ids, mask, cache)
        if c.embedding_scale:
            x = x * c.d_model**0.5
        if table:
            x = x + table(positions)
        if c.position == "sinusoidal":
            x = x + F.sinusoidal(positions, c.d_model, dtype=x.dtype)
        x = self.embedding_norm(x) if self.embedding_norm else x
        x = F.dropout(x, c.dropout, rng)

        rotary = first_values = None
        if c.position == "rotary":
            scaling = {"factor": c.rotary_factor, "context": c.rotary_context}
            rotary = F.rotary_tables(positions, c.d_head, c.rotary_base, **scaling, dtype=x.dtype)
        if c.value_residual:
            first_values = blocks[0].values(x)
        options = {"causal": causal, "rotary": rotary, "first_values": first_values, "rng": rng}
        options |= {"mask": _for_keys(mask), "source_mask": _for_keys(source_mask)}
        for i, block in enumerate(blocks):
            if self.checkpointing and torch.is_grad_enabled():
                x = _checkpoint(block, x, source, **options)
            else:
                kv_caches = cache.layers[i] if cache else (None, None)
                x = block(x, source, kv_caches=kv_caches, **options)
        return norm(x) if norm else x

    def _embed_before(self, ids, mask, cache):
        """The sums of the embeddings of the tokens before each: ids (B, T) -> (B, T, C)."""
        before = _before(_seen(ids, cache), mask, self.config.n_gram - 1)
        before = before[:, before.shape[1] - ids.shape[1] :]  # (B, T, N)
        tables = torch.arange(before.shape[-1], device=ids.device)
        y = self.before(before.clamp(min=0) + self.config.vocab_size * tables)  # (B, T, N, C)
        return (y * (before >= 0)[..., None]).sum(-2)

    def _head(self, x, mask=None):
        """Scores for the vocabulary, (..., C) -> (..., V), or for classes, (B, T, C) -> (B, n)."""
        if self.config.n_class:
            weights = _pool_weights(self.config.pool, mask, x)  # (B, T)
            return self.classify((weights[:, None] @ x)[:, 0])
        if not self.config.head_transform:
            return self.output(x)
        return self.output(self.transform_norm(self.activate(self.transform(x))))

    def _check_writes(self):
        """Raise unless the model predicts the next token."""
        c = self.config
        if c.kind == "encoder" or c.n_class:
            raise ValueError(
                f"kind = {c.kind!r} and n_class = {c.n_class}, "
                "expected a decoder without classes: this model writes no text"
            )


def _activation(name):
    """The activation of a feed-forward layer; of "swiglu", that in its gate."""
    if name not in CHOICES["activation"]:
        raise ValueError(f"activation = {name!r}, expected one of {CHOICES['activation']}")
    return getattr(F, "silu" if name == "swiglu" else name)


def _norm(config):
    """The norm that a config asks for."""
    if config.norm == "rmsnorm":
        return RMSNorm(config.d_model, weight=config.norm_weight, eps=config.norm_eps)
    return LayerNorm(config.d_model, bias=config.bias, eps=config.norm_eps)


def _seen(ids, cache):
    """All ids read so far, with those of a cache."""
    return ids if cache is None or cache.ids is None else torch.cat([cache.ids, ids], 1)


def _before(ids, mask, n):
    """The n ids before each, the nearest first: (B, T) -> (B, T, n); -1 where there is none."""
    nobody = ids.new_zeros(len(ids), 1)  # stands at place 0, and the ids from place 1 on
    place = torch.arange(1, ids.shape[1] + 1, device=ids.device).expand(ids.shape)
    place = place if mask is None else place * mask  # padding is nobody
    last = place.cummax(1).values[:, :-1]
    ids = torch.cat([nobody - 1, ids], 1)
    before = torch.cat([nobody, nobody, last], 1)[:, : ids.shape[1]]  # whose place is before
    at, found = before[:, 1:], []
    for _ in range(n):
        found.append(ids.gather(1, at))
        at = before.gather(1, at)
    return torch.stack(found, -1)


def _positions(mask, T, device):
    """The positions of tokens in their texts, without padding: -> (T,), or (B, T) with a mask."""
    return torch.arange(T, device=device) if mask is None else (mask.cumsum(-1) - 1).clamp(min=0)


def _for_keys(mask):
    """A mask of texts (B, S) as one of attention, (B, H, T, S) with H = T = 1."""
    return None if mask is None else mask[:, None, None]


def _pool_weights(pool, mask, x):
    """How much each position of x (B, T, C) counts for its text: (B, T), padding not at all."""
    mask = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None else mask
    place = mask.cumsum(-1)  # 1 at the first real token
    n = place[:, -1:]  # (B, 1)
    if pool == "mean":
        return mask.to(x.dtype) / n.clamp(min=1)
    return (mask & (place == (1 if pool == "first" else n))).to(x.dtype)


def _checkpoint(block, *args, rng, **options):
    """Run a block without keeping what is between; in the backward pass, run it again."""
    run, replay = checkpoint, {}
    if rng is not None and block.dropout:  # drop the second time what was dropped the first time
        replay = {"context_fn": lambda: (nullcontext(), _Replay(rng, rng.get_state()))}
        if torch.compiler.is_compiling():  # which cannot do that, and leaves this block as it is
            run = torch.compiler.disable(checkpoint)
    options |= {"rng": rng, "use_reentrant": False, "preserve_rng_state": False}
    return run(block, *args, **options, **replay)


class _Replay:
    """Within, a generator draws the numbers that followed a state; after it, it goes on as before."""

    def __init__(self, rng, state):
        self.rng, self.state = rng, state

    def __enter__(self):
        self.now = self.rng.get_state()
        self.rng.set_state(self.state)

    def __exit__(self, *_):
        self.rng.set_state(self.now)


__all__ = ["Block", "FeedForward", "Transformer", "TransformerCache"]
