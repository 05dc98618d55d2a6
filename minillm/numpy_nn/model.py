"""The few calls that every language model answers, so that training, evaluation and generation
are written once, for both halves and all models.

A model defines `forward`, `backward`, `new_cache` and `next_logits`; the rest follows from them.

Shape letters: B batch, T position, V vocabulary.
"""

import math

import numpy as np

from minillm.batches import check_batch, check_config, check_next, check_to_learn
from minillm.checks import check_range
from minillm.numpy_nn import functional as F
from minillm.numpy_nn.layers import Module


class LanguageModel(Module):
    """What all models share: loss, gradients, logits.

    A subclass defines `forward`, `backward`, `new_cache` and `next_logits`, as told there. If it
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
    >>> from minillm.numpy_nn.parameter import Parameter
    >>> from minillm.config import ModelConfig
    >>> class ConstantConfig(ModelConfig):
    ...     pass  # one score for each token
    >>> class Constant(LanguageModel):  # the frequencies of tokens, whatever came before
    ...     def __init__(self, config):
    ...         super().__init__(config)
    ...         self.scores = Parameter(np.zeros(config.vocab_size))
    ...     def forward(self, batch, *, rng=None):
    ...         return np.zeros((*batch.ids.shape, 1)) + self.scores.data, None
    ...     def backward(self, dlogits, cache):
    ...         self.scores.grad += dlogits.sum((0, 1))
    >>> model = Constant(ConstantConfig(vocab_size=4))
    >>> batch = Batch(np.array([[0, 1]]), targets=np.array([[1, 1]]))
    >>> float(round(model.loss_and_grads(batch), 4))  # ln 4
    1.3863
    >>> model.scores.grad
    array([ 0.25, -0.75,  0.25,  0.25])
    """

    array = np.ndarray  # what it reads

    def __init__(self, config):
        check_config(self, config)
        self.config = config

    def forward(self, batch, *, rng=None):
        """Give the logits, (B, T, V) or of labels (B, classes), and a cache for `backward`.

        An `rng` draws what dropout drops; without, nothing is.
        """
        raise NotImplementedError

    def backward(self, dlogits, cache):
        """Add to the gradient of each parameter; ids have none, so nothing is given back."""
        raise NotImplementedError

    def new_cache(self, batch_size):
        """What generation remembers of each text, before the first token: a `batches.Cache`."""
        raise NotImplementedError

    def next_logits(self, ids, cache, *, mask=None):
        """The logits after the last of new ids: ids (B, t), mask as in a batch -> (B, V).

        What was read before is in the cache, to which the new ids are added.
        """
        raise NotImplementedError

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
        rng : numpy.random.Generator, optional
            Draws what dropout drops; without, nothing is.
        label_smoothing, z_loss : float
            As in `functional.cross_entropy`.
        state : from `new_cache`, optional
            Recurrent models only: where the text before left off, overwritten with where this
            batch does. Gradients stop here (truncated backpropagation through time).

        Returns
        -------
        loss : scalar, nats

        Raises
        ------
        TypeError
            If `batch` is no Batch of arrays, `state` none of this model, or `scale` no number.
        ValueError
            If the batch has no targets, or does not fit the model.
        """
        scale = check_range("scale", scale, low=-math.inf)
        logits, cache = self.forward(batch, rng=rng, **check_to_learn(self, batch, state))
        options = {"label_smoothing": label_smoothing, "z_loss": z_loss}
        loss, loss_cache = F.cross_entropy(logits, batch.targets, **options)
        self.backward(F.cross_entropy_backward(loss_cache, scale=scale), cache)
        return loss

    def loss(self, batch, *, state=None):
        """The mean loss over a batch, in nats per target, for evaluation: no dropout, no gradients.

        Arguments as in `loss_and_grads`.
        """
        logits, _ = self.forward(batch, **check_to_learn(self, batch, state))
        return F.cross_entropy(logits, batch.targets)[0]

    def logits(self, batch):
        """The scores of what may come next at each position: (B, T, V); of labels: (B, classes)."""
        check_batch(self, batch)
        return self.forward(batch)[0]

    def _check_next(self, ids, cache, mask):
        """Raise unless `next_logits` can read `ids`, and go on from `cache`."""
        check_next(self, ids, cache, mask)


__all__ = ["LanguageModel"]
