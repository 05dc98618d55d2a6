"""What a model is given, one batch of ids with what it should answer; and what it remembers.

Shape letters: B batch, T position, S position in the source text.
"""

from dataclasses import dataclass, fields
from inspect import signature
from numbers import Integral
from typing import Any


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

    def select(self, rows):
        """Go on with these of the texts, a list of int, in their order; one may be there twice."""
        self.batch_size = len(rows)
        for name, value in vars(self).items():
            if hasattr(value, "dtype"):
                setattr(self, name, value[rows])  # (B, ...)
            elif name == "arrays":  # the state of recurrent layers, (L, B, D) each
                self.arrays = tuple(x[:, rows] for x in value)


def check_batch(model, batch, state=None):
    """Raise unless a model of either half can read `batch`, and go on from `state`."""
    if not isinstance(batch, Batch):
        raise TypeError(f"batch is {_kind(batch)}, expected a Batch")
    hint = ": batch.to(device)" if model.array.__name__ == "Tensor" else ""
    for field in fields(batch):
        _check_array(model, f"batch.{field.name}", getattr(batch, field.name), hint)
    name = type(model).__name__
    if batch.source is not None and not hasattr(model, "encode"):
        raise ValueError(f"batch has a source, expected none: {name} reads none")
    if state is not None and "state" not in signature(model.forward).parameters:
        raise ValueError(f"state is {_kind(state)}, expected None: {name} has none")
    ours = isinstance(state, Cache) and state.made_by[0] is type(model)
    if state is not None and not ours:  # whether it fits is asked where it is read
        raise TypeError(f"state is {_kind(state)}, expected one that new_cache of {name} made")


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
    if mask is not None and (tuple(mask.shape) != shape or "bool" not in str(mask.dtype)):
        raise ValueError(
            f"{name} has shape {tuple(mask.shape)} and dtype {mask.dtype}, expected bool {shape}"
        )


__all__ = ["Batch", "Cache"]
