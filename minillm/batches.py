"""What a model is given: one batch of ids, with what it should answer.

Shape letters: B batch, T position, S position in the source text.
"""

from dataclasses import dataclass, fields
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


def _kind(value):
    return "None" if value is None else f"a {type(value).__name__}"


def _check_mask(name, mask, shape):
    """Raise unless `mask` is None, or bool and of the given shape."""
    if mask is not None and (tuple(mask.shape) != shape or "bool" not in str(mask.dtype)):
        raise ValueError(
            f"{name} has shape {tuple(mask.shape)} and dtype {mask.dtype}, expected bool {shape}"
        )


__all__ = ["Batch"]
