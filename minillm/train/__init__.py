"""From a text to a trained model: one loop for both halves, which can be killed and goes on.

    text ─ tokens ─ windows ─ gradients ─ step ─ ... ─ evaluation ─ checkpoint

A run is described by one record, `minillm.config.TrainConfig`, and trained by `train` or by
``python -m minillm.train``. It leaves a folder behind:

====================  =========================================================================
config.json           all options
tokenizer.json        the tokenizer
log.csv               a line every few steps: losses in nats per token, bits per byte of the
                      held-out text, the gradient's norm, seconds of training
last.safetensors      the model, and all that the next step depends on
best.safetensors      the model with the lowest loss on the held-out text
====================  =========================================================================

In this package: `loop` holds the loop, `parts` what a run is put together from, `folder` what it
leaves behind.
"""

from .loop import TrainResult, evaluate, gradients, train

__all__ = ["TrainResult", "evaluate", "gradients", "train"]
