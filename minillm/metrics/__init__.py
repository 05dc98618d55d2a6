"""How good is a model, and how sure is that?

===============  =======================================================================
probabilities    `surprisal`, `entropy`, `cross_entropy`, `kl_divergence`, `perplexity`,
                 `bits_per_byte`, `bits_per_character`, `calibration_error`
labels           `accuracy`, `class_scores` (precision, recall, F1), `entity_scores`
texts            `bleu`
how sure         `wilson_interval`, `accuracy_interval`, `paired_bootstrap`
===============  =======================================================================

What a model says comes first, what is true second. All need NumPy alone; torch tensors on the CPU
serve as arrays.

In this package: `information` holds what is measured in nats or bits, `labels` what is right or
wrong, `tags` the entities in tagged sentences, `translation` BLEU, `comparison` the bootstrap.
"""

from .comparison import Comparison, paired_bootstrap
from .information import (
    bits_per_byte,
    bits_per_character,
    cross_entropy,
    entropy,
    kl_divergence,
    nats_to_bits,
    perplexity,
    surprisal,
)  # fmt: skip
from .labels import (
    Scores,
    accuracy,
    accuracy_interval,
    calibration_error,
    class_scores,
    wilson_interval,
)  # fmt: skip
from .tags import entities, entity_scores
from .translation import bleu, bleu_counts, bleu_from_counts

__all__ = [
    "Comparison", "Scores", "accuracy", "accuracy_interval", "bits_per_byte", "bits_per_character",
    "bleu", "bleu_counts", "bleu_from_counts", "calibration_error", "class_scores", "cross_entropy",
    "entities", "entity_scores", "entropy", "kl_divergence", "nats_to_bits", "paired_bootstrap",
    "perplexity", "surprisal", "wilson_interval",
]  # fmt: skip
