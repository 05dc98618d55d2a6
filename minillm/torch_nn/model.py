"""The few calls that every language model answers, so that training, evaluation and generation
are written once, for both halves and all models; and what makes them fast in PyTorch.

A model defines `forward`, `new_cache` and `next_logits`; the rest follows from them.

Shape letters: B batch, T position, V vocabulary.
"""

import math
import warnings
from contextlib import nullcontext
from types import FunctionType

import torch
from torch import nn

from minillm.batches import check_batch, check_config, check_next, check_to_learn
from minillm.checks import check_range
from minillm.torch_nn import functional as F

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
LARGEST_SCALE = 2.0**24  # of the loss in float16, which starts at 2**16
GROW_AFTER = 2000  # calls without overflow


class LanguageModel(nn.Module):
    """What all models share: loss, gradients, logits.

    A subclass defines `forward`, `new_cache` and `next_logits`, as told there. If it
    is recurrent, its `forward` takes ``state=`` as well; if it reads a source, it has a method
    ``encode(source, source_mask=None)``, which gives a cache as `new_cache` does elsewhere.

    Parameters
    ----------
    config : ModelConfig
        The record of the model's options, kept as `model.config`.

    Raises
    ------
    TypeError
        If it is no such record, or that of another model.

    Examples
    --------
    >>> from minillm.batches import Batch
    >>> from minillm.config import ModelConfig
    >>> class ConstantConfig(ModelConfig):
    ...     pass  # one score for each token
    >>> class Constant(LanguageModel):  # the frequencies of tokens, whatever came before
    ...     def __init__(self, config):
    ...         super().__init__(config)
    ...         self.scores = nn.Parameter(torch.zeros(config.vocab_size))
    ...     def forward(self, batch, *, rng=None):
    ...         return torch.zeros((*batch.ids.shape, 1)) + self.scores
    >>> model = Constant(ConstantConfig(vocab_size=4))
    >>> batch = Batch(torch.tensor([[0, 1]]), targets=torch.tensor([[1, 1]]))
    >>> model.loss_and_grads(batch)  # ln 4
    tensor(1.3863)
    >>> model.scores.grad
    tensor([ 0.2500, -0.7500,  0.2500,  0.2500])
    """

    array = torch.Tensor  # what it reads

    def __init__(self, config):
        super().__init__()
        check_config(self, config)
        self.config = config
        self.register_buffer("loss_scale", None, persistent=False)
        self._precision, self._mean_loss, self._through = None, _mean_loss, None

    @property
    def device(self):
        """Where the parameters are, and batches must be: ``batch.to(model.device)``."""
        return next(self.parameters()).device

    def forward(self, batch, *, rng=None):
        """Give the logits, (B, T, V) or of labels (B, classes).

        An `rng` draws what dropout drops; without, nothing is.
        """
        raise NotImplementedError

    def new_cache(self, batch_size):
        """What generation remembers of each text, before the first token: a `batches.Cache`."""
        raise NotImplementedError

    def next_logits(self, ids, cache, *, mask=None):
        """The logits after the last of new ids: ids (B, t), mask as in a batch -> (B, V).

        What was read before is in the cache, to which the new ids are added.
        """
        raise NotImplementedError

    def speed_up(
        self, *, precision="float32", compile=False, checkpointing=False, sdpa=True, through=None
    ):
        """Make `loss_and_grads` faster, or smaller, with the same result but for rounding.

        Every call sets all of these, so that ``speed_up(sdpa=False)`` turns everything off. First
        bring the model to its device.

        Parameters
        ----------
        precision : str
            That of products, in `loss` too: "float32", or "bfloat16" or "float16", where weights,
            gradients and the loss stay in float32. In float16 what is below 6e-8 is lost: so the
            loss is multiplied by a scale, and gradients divided by it. After an overflow they are
            not finite (take no step then) and the scale is halved; after 2000 calls without, it is
            doubled. The tensor `model.loss_scale` is the scale and the count of these calls: who
            wants to go on later as if nothing had been, saves it and copies it back.
        compile : bool or str
            Whether the model and its loss become one program, made at the first batch of each
            shape, which takes a while. A str names a backend of `torch.compile`.
        checkpointing : bool
            A Transformer's: keep less for the backward pass, and compute it again.
        sdpa : bool
            A Transformer's: attention by PyTorch's own kernels, wherever nothing is dropped.
        through : nn.Module, optional
            What is called in place of the model and calls it: ``DistributedDataParallel(model)``.

        Returns
        -------
        LanguageModel
            The model itself.

        Raises
        ------
        TypeError
            If a switch is neither True nor False, or `through` no module.
        ValueError
            If there is no such precision or not on this device, no such backend, or there are no
            blocks to checkpoint.

        References
        ----------
        Micikevicius et al. 2018, section 3. `checkpointing`: Chen et al. 2016.

        Examples
        --------
        >>> from minillm.config import BigramConfig
        >>> from minillm.torch_nn.models import Bigram
        >>> model = Bigram(BigramConfig(vocab_size=65)).speed_up(precision="bfloat16")
        """
        _check_switches(compile, checkpointing=checkpointing, sdpa=sdpa)
        _check_precision(precision, next(self.parameters()))
        if through is not None and not isinstance(through, nn.Module):
            raise TypeError(f"through is a {type(through).__name__}, expected an nn.Module")
        if checkpointing and not hasattr(self, "checkpointing"):
            name = type(self).__name__
            raise ValueError(f"checkpointing = True, expected False: {name} has no blocks")
        if hasattr(self, "checkpointing"):
            self.checkpointing, self.sdpa = checkpointing, sdpa
        self._precision, self._mean_loss = PRECISIONS[precision], _mean_loss
        if compile:
            backend = "inductor" if compile is True else compile
            mean_loss = _copy_of(_mean_loss)
            self._mean_loss = torch.compile(mean_loss, backend=backend, dynamic=False)
        self.__dict__["_through"] = through  # as a child it would hold its own parent
        self.loss_scale = None
        if precision == "float16":
            self.loss_scale = torch.tensor([2.0**16, 0.0], device=self.device)
        return self

    def loss_and_grads(
        self, batch, *, scale=1.0, rng=None, label_smoothing=0.0, z_loss=0.0, state=None
    ):
        """The mean loss over a batch, in nats per target; add its gradients to the parameters'.

        Parameters
        ----------
        batch : Batch
            With targets.
        scale : float
            What the gradients (not the loss that is returned) are multiplied by: to accumulate
            over several batches, the share of each in all targets.
        rng : torch.Generator, optional
            Draws what dropout drops; without, nothing is.
        label_smoothing, z_loss : float
            As in `functional.cross_entropy`.
        state : from `new_cache`, optional
            Recurrent models only: where the text before left off, overwritten with where this
            batch does. Gradients stop here (truncated backpropagation through time).

        Returns
        -------
        loss : scalar tensor, nats

        Raises
        ------
        TypeError
            If `batch` is no Batch of tensors, `state` none of this model, or `scale` no number.
        ValueError
            If the batch has no targets, or does not fit the model.
        """
        if not torch.is_tensor(scale):
            scale = check_range("scale", scale, low=-math.inf)
        inputs = {"rng": rng, **check_to_learn(self, batch, state)}
        options = {"label_smoothing": label_smoothing, "z_loss": z_loss}
        # From the batch to the loss is one call, for a compiler to see all of it. In there, what
        # must see the model being called stands in its place: DistributedDataParallel, which
        # hooks into gradients then. (FSDP2 has its hooks in the model itself.)
        loss = self._mean_loss(self._through or self, batch, self._precision, inputs, options)
        if self.loss_scale is None:
            (scale * loss).backward()
        else:
            self._backward_scaled(scale * loss)
        return loss.detach()

    @torch.no_grad()
    def loss(self, batch, *, state=None):
        """The mean loss over a batch, in nats per target, for evaluation: no dropout, no gradients.

        Arguments as in `loss_and_grads`.
        """
        return _mean_loss(self, batch, self._precision, check_to_learn(self, batch, state), {})

    @torch.no_grad()
    def logits(self, batch):
        """The scores of what may come next at each position: (B, T, V); of labels: (B, classes)."""
        check_batch(self, batch)
        return self(batch)

    def _check_next(self, ids, cache, mask):
        """Raise unless `next_logits` can read `ids`, and go on from `cache`."""
        check_next(self, ids, cache, mask)

    def _backward_scaled(self, loss):
        """Add the gradients of a loss by way of `loss_scale` times it, and adapt that.

        All of it on the device, which is not waited for.
        """
        scale, n_fine = self.loss_scale.clone()
        fine_before = self._multiply_grads(scale)  # to add in one unit
        (scale * loss).backward()
        fine = self._multiply_grads(1 / scale)
        n_fine = torch.where(fine, n_fine + 1, 0)
        grown = n_fine >= GROW_AFTER
        factor = torch.where(grown, 2.0, torch.where(fine_before & ~fine, 0.5, 1.0))
        scale = (scale * factor).clamp(1, LARGEST_SCALE)
        self.loss_scale.copy_(torch.stack([scale, torch.where(grown, 0, n_fine)]))

    @torch.no_grad()
    def _multiply_grads(self, factor):
        """Multiply all gradients, and say whether they are finite: a bool on the device."""
        if hasattr(self, "reshard"):  # FSDP2: back to the shards, whose gradients these are
            self.reshard()
        grads = [p.grad for p in self.parameters() if p.grad is not None]
        norms = [self.loss_scale.new_zeros(())]
        for g in grads:
            g *= factor
            norms.append(torch.linalg.vector_norm(g))
        norm = torch.linalg.vector_norm(torch.stack(norms))
        return (norm.full_tensor() if hasattr(norm, "full_tensor") else norm).isfinite()


def _mean_loss(model, batch, precision, inputs, options):
    """The mean loss of a model over a batch, with products in `precision`."""
    mixed = torch.autocast(batch.ids.device.type, precision) if precision else nullcontext()
    with mixed:
        logits = model(batch, **inputs)
    half = logits.element_size() == 2  # a sum of many needs more digits
    return F.cross_entropy(logits.float() if half else logits, batch.targets, **options)


def _copy_of(function):
    """A function with code of its own: what is compiled is kept with the code, 8 times at most.

    So each model compiles a copy, and takes no place from the others.
    """
    return FunctionType(function.__code__.replace(), globals())


def _check_switches(compile, **switches):
    """Raise unless all are True or False, or `compile` is a backend that there is."""
    for name, value in {"compile": compile, **switches}.items():
        if not isinstance(value, bool) and not (name == "compile" and isinstance(value, str)):
            raise TypeError(f"{name} = {value!r}, expected True or False")
    backends = torch.compiler.list_backends(exclude_tags=()) if isinstance(compile, str) else ()
    if isinstance(compile, str) and compile not in backends:
        raise ValueError(f"compile = {compile!r}, expected True, False or one of {backends}")


def _check_precision(precision, weight):
    """Raise unless there can be products of this precision, with such weights on their device."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision = {precision!r}, expected one of {list(PRECISIONS)}")
    if precision != "float32" and not _multiplies(PRECISIONS[precision], weight):
        found = f"weights of {weight.dtype} on {weight.device}"
        raise ValueError(f"precision = {precision!r}, expected another: none such for {found}")


def _multiplies(dtype, weight):
    """Whether autocast makes products of `dtype` out of such weights."""
    device = weight.device
    if device.type == "cuda" and dtype == torch.bfloat16 and not torch.version.hip:
        return torch.cuda.get_device_capability(device) >= (8, 0)  # older ones only imitate it
    x = torch.ones(2, 2, device=device, dtype=weight.dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what autocast says where it will do nothing
            with torch.autocast(device.type, dtype):
                return (x @ x).dtype == dtype
    except (RuntimeError, UserWarning):
        return False


__all__ = ["LanguageModel"]
