"""The few calls that every language model answers, so that training, evaluation and generation
are written once, for both halves and all models; and what makes them fast in PyTorch.

A model defines `forward`, `new_cache` and `next_logits`; the rest follows from them.

Shape letters: B batch, T position, V vocabulary.
"""

import torch
from torch import nn

from minillm.config import ModelConfig
from minillm.torch_nn import functional as F


class LanguageModel(nn.Module):
    """What all models share: loss, gradients, logits.

    A subclass has three methods::

        forward(batch, *, rng=None) -> logits   # (B, T, V), or (B, classes) for labels
        new_cache(batch_size) -> cache          # what generation remembers, empty
        next_logits(ids, cache) -> (B, V)       # reads new ids, and updates the cache

    A recurrent model's `forward` takes `state=` as well.

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

    def __init__(self, config):
        super().__init__()
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
        ValueError
            If the batch has no targets, or does not fit the model.
        """
        carried = {} if state is None else {"state": state}
        logits = self(batch, rng=rng, **carried)
        options = {"label_smoothing": label_smoothing, "z_loss": z_loss}
        loss = F.cross_entropy(logits, _targets(batch), **options)
        (scale * loss).backward()
        return loss.detach()

    @torch.no_grad()
    def loss(self, batch, *, state=None):
        """The mean loss over a batch, in nats per target, for evaluation: no dropout, no gradients.

        Arguments as in `loss_and_grads`.
        """
        carried = {} if state is None else {"state": state}
        return F.cross_entropy(self(batch, **carried), _targets(batch))

    @torch.no_grad()
    def logits(self, batch):
        """The scores of what may come next at each position: (B, T, V); of labels: (B, classes)."""
        return self(batch)


def _names(model):
    """The names of a model's class and of those that it derives from."""
    return {kind.__name__ for kind in type(model).__mro__}


def _targets(batch):
    if batch.targets is None:
        raise ValueError("batch.targets is None, expected what the model should answer")
    return batch.targets


__all__ = ["LanguageModel"]
