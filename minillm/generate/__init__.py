"""Text from a model of either half, token by token: drawn, or searched for.

    ids ─ model ─ logits ─ probabilities ─ token ─ text
     └────────────────────────────────────────┘

`generate` writes texts, a batch of prompts at a time, `stream` shows one while it is written, and
`beam_search` looks for the most probable. `python -m minillm.generate --help` tells how to do so
in a terminal.

    >>> import numpy as np
    >>> from minillm.config import BigramConfig
    >>> from minillm.numpy_nn.models import Bigram
    >>> model = Bigram(BigramConfig(vocab_size=3))
    >>> model.table.weight.data[...] = [[0, 9, 0], [0, 0, 9], [9, 0, 0]]  # 0, 1, 2, 0, 1, 2, ...
    >>> generate(model, [[0], [2, 1]], 4, temperature=0)
    [[1, 2, 0, 1], [2, 0, 1, 2]]

A text longer than a Transformer's context is read from a place that depends on its length alone:
whenever the next token would not fit, the first half of what is read is dropped. So a text goes on
in the same way whether it was written just now or is a prompt, alone or in a batch, with a cache
or without.

In this package: `sampling` holds the steps from logits to a token, `writing` what feeds a model,
`beam` the search.
"""

from .beam import beam_search
from .sampling import (
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize_repetition,
    probabilities,
    scale,
)
from .writing import decode_stream, generate, stream, stream_ids, window_start

__all__ = [
    "beam_search", "decode_stream", "draw", "generate", "keep_min_p", "keep_top_k", "keep_top_p",
    "penalize_repetition", "probabilities", "scale", "stream", "stream_ids", "window_start",
]  # fmt: skip
