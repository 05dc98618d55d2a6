"""The few calls that every language model answers, so that training, evaluation and generation
are written once, for both halves and all models.

A model defines `forward`, `backward`, `new_cache` and `next_logits`; the rest follows from them.

Shape letters: B batch, T position, V vocabulary.
"""

from minillm.config import ModelConfig
from minillm.numpy_nn import functional as F
from minillm.numpy_nn.layers import Module


class LanguageModel(Module):
    """What all models share: loss, gradients, logits.

    A subclass has four methods::

        forward(batch, *, rng=None) -> (logits, cache)   # (B, T, V), or (B, classes) for labels
        backward(dlogits, cache)                         # adds to the parameters' gradients
        new_cache(batch_size) -> cache                   # what generation remembers, empty
        next_logits(ids, cache) -> (B, V)                # reads new ids, and updates the cache

    A recurrent model's `forward` takes `state=` as well.

    Examples
    --------
    >>> import numpy as np
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

    def __init__(self, config):
        if not isinstance(config, ModelConfig) or config.model not in _names(self):
            kind = type(config).__name__
            raise TypeError(f"config is a {kind}, expected a {type(self).__name__}Config")
        self.config = config

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
        ValueError
            If the batch has no targets, or does not fit the model.
        """
        carried = {} if state is None else {"state": state}
        logits, cache = self.forward(batch, rng=rng, **carried)
        options = {"label_smoothing": label_smoothing, "z_loss": z_loss}
        loss, loss_cache = F.cross_entropy(logits, _targets(batch), **options)
        self.backward(F.cross_entropy_backward(loss_cache, scale=scale), cache)
        return loss

    def loss(self, batch, *, state=None):
        """The mean loss over a batch, in nats per target, for evaluation: no dropout, no gradients.

        Arguments as in `loss_and_grads`.
        """
        carried = {} if state is None else {"state": state}
        return F.cross_entropy(self.forward(batch, **carried)[0], _targets(batch))[0]

    def logits(self, batch):
        """The scores of what may come next at each position: (B, T, V); of labels: (B, classes)."""
        return self.forward(batch)[0]


def _names(model):
    """The names of a model's class and of those that it derives from."""
    return {kind.__name__ for kind in type(model).__mro__}


def _targets(batch):
    if batch.targets is None:
        raise ValueError("batch.targets is None, expected what the model should answer")
    return batch.targets


__all__ = ["LanguageModel"]
