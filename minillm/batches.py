"""What a model is given, one batch of ids with what it should answer; and what it remembers.

Shape letters: B batch, T position, S position in the source text.
"""

from dataclasses import dataclass, fields
from inspect import signature
from numbers import Integral
from typing import Any

from minillm.checks import is_bool
from minillm.config import ModelConfig

IGNORED = -100  # the target of a position that does not count


@dataclass(frozen=True)
class Batch:
    """One batch for a causal, masked, labelled or sequence-to-sequence model, in either half.

    Arrays of NumPy, or tensors of PyTorch; `to` makes these from those.

    Parameters
    ----------
    ids : array of int (B, T)
        The tokens that the model reads.
    targets : array of int (B, T) or (B,), optional
        What it should answer: the next token or the hidden token at each position, or one label
        for each text. -100 does not count.
    mask : array of bool (B, T), optional
        True at real tokens, False at padding; without it all are real.
    source : array of int (B, S), optional
        The text that is translated, for a model with an encoder and a decoder.
    source_mask : array of bool (B, S), optional
        As `mask`, for `source`.

    Raises
    ------
    TypeError
        If one is neither array nor tensor.
    ValueError
        If shapes disagree, or a mask is not bool.

    Examples
    --------
    >>> import numpy as np
    >>> text = np.array([[5, 2, 7, 7]])
    >>> batch = Batch(text[:, :-1], targets=text[:, 1:])
    >>> batch.targets
    array([[2, 7, 7]])
    """

    ids: Any
    targets: Any = None
    mask: Any = None
    source: Any = None
    source_mask: Any = None

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not hasattr(value, "dtype") and (value is not None or field.name == "ids"):
                raise TypeError(f"{field.name} is {_kind(value)}, expected an array or a tensor")
        if len(self.ids.shape) != 2:
            raise ValueError(f"ids has shape {tuple(self.ids.shape)}, expected (B, T)")
        B, _ = shape = tuple(self.ids.shape)
        if self.targets is not None and tuple(self.targets.shape) not in (shape, (B,)):
            raise ValueError(
                f"targets has shape {tuple(self.targets.shape)}, expected (B, T) = {shape} or ({B},)"
            )
        _check_mask("mask", self.mask, shape)
        if self.source is not None and (len(self.source.shape) != 2 or len(self.source) != B):
            raise ValueError(f"source has shape {tuple(self.source.shape)}, expected ({B}, S)")
        if self.source is not None:
            _check_mask("source_mask", self.source_mask, tuple(self.source.shape))
        elif self.source_mask is not None:
            raise ValueError("source_mask without a source, expected both or neither")

    def to(self, device):
        """The same batch as tensors on a `device` of PyTorch, ids as int64."""
        import torch

        values = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                value = torch.as_tensor(value).to(device, non_blocking=True)
                value = value if "mask" in field.name else value.long()
            values[field.name] = value
        return Batch(**values)


class Cache:
    """What a model remembers of the texts that it has read: made by it, and read on by it alone.

    Parameters
    ----------
    model : LanguageModel
        Who makes it, and then sets whatever it wants to remember as attributes.
    batch_size : int
        How many texts there are.

    Raises
    ------
    TypeError
        If `batch_size` is not an integer.
    ValueError
        If it is negative.

    Examples
    --------
    >>> from minillm.config import BigramConfig
    >>> from minillm.numpy_nn.models import Bigram
    >>> Bigram(BigramConfig(vocab_size=65)).new_cache(3).batch_size
    3
    """

    def __init__(self, model, batch_size):
        if not isinstance(batch_size, Integral) or isinstance(batch_size, bool):
            raise TypeError(f"batch_size = {batch_size!r}, expected an integer")
        if batch_size < 0:
            raise ValueError(f"batch_size = {batch_size}, expected at least 0")
        self.made_by = type(model), model.config
        self.batch_size = batch_size
        self.arrays = ()  # the state of recurrent layers, (L, B, D) each; other arrays are (B, ...)

    def select(self, rows):
        """Go on with these of the texts, a list of int, in their order; one may be there twice."""
        self.batch_size = len(rows)
        self.arrays = tuple(x[:, rows] for x in self.arrays)
        for name, value in vars(self).items():
            if hasattr(value, "dtype"):
                setattr(self, name, value[rows])


class TransformerCache(Cache):
    """The part that both halves share of their own `TransformerCache`: all but making the arrays.

    `new_layer()` makes the `KeyValueCache` of one attention.
    """

    def __init__(self, model, batch_size, new_layer):
        super().__init__(model, batch_size)
        both = model.config.kind == "encoder-decoder"
        n_layer = range(model.config.n_layer)
        self.layers = [(new_layer(), new_layer() if both else None) for _ in n_layer]
        self.mask = None  # (B, length) bool, as soon as there is padding
        self.ids = None  # (B, length), for a model that looks at the ids before each one
        self.source = self.source_mask = None  # (B, 0, C): all there is to know is in the layers

    @property
    def length(self):
        """How many positions have been read."""
        return self.layers[0][0].length

    def select(self, rows):
        """As in `Cache`."""
        super().select(rows)
        for layer in self.layers:
            for kv_cache in filter(None, layer):
                kv_cache.select(rows)


class KeyValueCache:
    """The part that both halves share of their own `KeyValueCache`: all but making the arrays.

    `empty(shape)` makes an array, (B, G, 1, N, K) with room for N positions; the 1 is for the
    query heads, which share it.
    """

    def __init__(self, shape, empty):
        self.empty = empty
        self.keys, self.values = empty(shape), empty(shape)
        self.length = 0

    def append(self, k, v):
        """Add k, v (B, G, 1, T, K); return all so far, (B, G, 1, S, K)."""
        start, end, size = self.length, self.length + k.shape[-2], self.keys.shape[-2]
        if end > size:
            raise ValueError(f"{end} positions, expected at most context_length = {size}")
        self.length = end
        for kept, new in ((self.keys, k), (self.values, v)):
            kept[..., start:end, :] = new
        return self.keys[..., :end, :], self.values[..., :end, :]

    def select(self, rows):
        """Keep these texts, a list of int, in their order; only what is in use is copied."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = self.empty((len(rows), *old.shape[1:]))
            new[..., : self.length, :] = old[..., : self.length, :][rows]
            setattr(self, name, new)


def check_config(model, config):
    """Raise unless a record of options is that of a model's class, or of one it derives from."""
    names = {kind.__name__ for kind in type(model).__mro__}
    if not isinstance(config, ModelConfig) or config.model not in names:
        kind = type(config).__name__
        raise TypeError(f"config is a {kind}, expected a {type(model).__name__}Config")


def check_batch(model, batch, state=None):
    """Raise unless a model of either half can read `batch`, and go on from `state`."""
    if not isinstance(batch, Batch):
        raise TypeError(f"batch is {_kind(batch)}, expected a Batch")
    device = getattr(model, "device", None)  # of PyTorch
    hint = ": batch.to(device)" if device else ""
    for field in fields(batch):
        _check_array(model, f"batch.{field.name}", getattr(batch, field.name), hint)
    if device and batch.ids.device != device:
        found = f"batch.ids is on {batch.ids.device}"
        raise ValueError(f"{found}, expected {device}: batch.to(model.device)")
    name = type(model).__name__
    if batch.source is not None and not hasattr(model, "encode"):
        raise ValueError(f"batch has a source, expected none: {name} reads none")
    if state is not None and "state" not in signature(model.forward).parameters:
        raise ValueError(f"state is {_kind(state)}, expected None: {name} has none")
    ours = isinstance(state, Cache) and state.made_by[0] is type(model)
    if state is not None and not ours:  # whether it fits is asked where it is read
        raise TypeError(f"state is {_kind(state)}, expected one that new_cache of {name} made")


def check_to_learn(model, batch, state):
    """Check a batch that has targets, too; -> the state, if any, as an argument of `forward`."""
    check_batch(model, batch, state)
    if batch.targets is None:
        raise ValueError("batch.targets is None, expected what the model should answer")
    return {} if state is None else {"state": state}


def check_source(model, source, mask, *, least=0):
    """Raise unless a model can read a source (B, S), S at least `least`, with a mask."""
    if source is not None:
        _check_array(model, "source", source)
    if source is None or source.ndim != 2 or source.shape[1] < least:
        found = "None" if source is None else f"of shape {tuple(source.shape)}"
        at_least = f", S at least {least}" if least else ""
        raise ValueError(f"source is {found}, expected ids (B, S){at_least}")
    _check_array(model, "source_mask", mask)
    _check_mask("source_mask", mask, tuple(source.shape))


def check_next(model, ids, cache, mask):
    """Raise unless a model can read new `ids`, and go on from `cache`."""
    if not isinstance(cache, Cache):
        raise TypeError(f"cache is {_kind(cache)}, expected one that new_cache made")
    if cache.made_by != (type(model), model.config):
        maker, other = cache.made_by
        raise ValueError(
            f"cache was made by {maker.__module__}.{maker.__name__} with {other}, expected one by "
            f"{type(model).__module__}.{type(model).__name__} with {model.config}"
        )
    _check_array(model, "ids", ids)
    B = cache.batch_size
    if len(ids.shape) != 2 or len(ids) != B or ids.shape[1] == 0:
        raise ValueError(f"ids has shape {tuple(ids.shape)}, expected ({B}, t), t at least 1")
    _check_array(model, "mask", mask)
    _check_mask("mask", mask, tuple(ids.shape))


def _check_array(model, name, value, hint=""):
    """Raise unless `value` is None, or an array of the model's half."""
    if value is not None and not isinstance(value, model.array):
        expected = model.array.__name__
        raise TypeError(f"{name} is {_kind(value)}, expected a {expected}{hint}")


def _kind(value):
    return "None" if value is None else f"a {type(value).__name__}"


def _check_mask(name, mask, shape):
    """Raise unless `mask` is None, or bool and of the given shape."""
    if mask is not None and (tuple(mask.shape) != shape or not is_bool(mask)):
        raise ValueError(
            f"{name} has shape {tuple(mask.shape)} and dtype {mask.dtype}, expected bool {shape}"
        )


__all__ = ["IGNORED", "Batch", "Cache"]
