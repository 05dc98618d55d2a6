"""Writing 1,024 tokens with a small GPT-2: with a cache, without, and by `transformers`.

6 layers, 6 heads, width 384, 65 characters, a context of 1,024, float32; one text, greedy, from a
prompt of one token, with the same weights everywhere. Without a cache a text is read 1,024 times,
which takes minutes; that is timed once.

    python -m benchmarks.generation
"""

import sys
import tempfile

import pandas as pd
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from benchmarks.timing import compare, record
from minillm.checkpoints import load
from minillm.generate import generate

N, V = 1024, 65  # tokens that are written, and from how many
HALVES = {"NumPy": "numpy", "twin": "torch"}


def models():
    """A GPT-2 of `transformers` with its starting weights, and the same in both halves."""
    logging.disable_progress_bar()
    torch.manual_seed(0)
    sizes = {"vocab_size": V, "n_positions": N, "n_embd": 384, "n_layer": 6, "n_head": 6}
    config = GPT2Config(**sizes, bos_token_id=None, eos_token_id=None)
    theirs = GPT2LMHeadModel(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = {name: load(folder, half=half) for name, half in HALVES.items()}
    ours["twin"].speed_up()  # PyTorch's kernels for attention, as `transformers` uses them
    return ours, theirs


def rows():
    ours, theirs = models()

    def write(model, **options):
        return generate(model, [[0]], N, temperature=0, **options)[0]

    def library():
        ids = torch.zeros(1, 1, dtype=torch.long)
        options = {"do_sample": False, "use_cache": True, "pad_token_id": 0}
        found = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=N, **options
        )
        return found[0, 1:].tolist()

    what = f"{N} tokens, 6 layers, width 384, cache"
    for name, model in ours.items():
        assert write(model)[:64] == library()[:64]
        against = "GPT-2 of transformers, with its cache"
        yield compare(
            f"{what}, {name}", lambda model=model: write(model), against, library, rounds=5, repeats=1
        )
        yield compare(
            f"{what}, {name}", lambda model=model: write(model),
            "itself, without", lambda model=model: write(model, use_cache=False),
            rounds=1, repeats=1, warm_up=False,
        )  # fmt: skip


def main():
    results = list(rows())
    record(results)
    columns = ["threads", "what", "against", "ms", "ratio", "low", "high"]
    print(pd.DataFrame(results)[columns].to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
