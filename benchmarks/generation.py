"""Writing 1,024 tokens with a small GPT-2: with a cache, without, and by `transformers`.

6 layers, 6 heads, width 384, 65 characters, a context of 1,024, float32; one text, greedy, from a
prompt of one token, with the same weights everywhere. Two texts are written in turn, 64 tokens at
a time, so that both meet the same moods of the machine. Without a cache all of a text is read for
each token, which takes minutes: that is timed once.

    python -m benchmarks.generation
"""

import tempfile
import time
from inspect import signature
from itertools import islice

import torch
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from benchmarks.timing import report, row
from minillm.checkpoints import load
from minillm.generate import stream_ids

N, SLICE, V = 1024, 64, 65  # tokens that are written, and at a time; different tokens
ROUNDS = 5
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
    ours["twin"].speed_up()  # attention by PyTorch's kernels, as in `transformers`
    return ours, theirs


def ours(model, **options):
    """The ids that one of our models writes."""
    yield from (i for (i,) in stream_ids(model, [[0]], N, temperature=0, **options))


def library(model):
    """The ids that `transformers` writes, a slice at a call."""
    ids, parameters = torch.zeros(1, 1, dtype=torch.long), signature(model.forward).parameters
    name = "cache" if "cache" in parameters else "past_key_values"  # its older name
    options = {"do_sample": False, "max_new_tokens": SLICE, "pad_token_id": 0}
    options[name] = DynamicCache(config=model.config)
    for _ in range(N // SLICE):
        ids = model.generate(ids, attention_mask=torch.ones_like(ids), **options)
        yield from ids[0, -SLICE:].tolist()


def in_turn(*texts):
    """The seconds that each of two texts takes."""
    spent = [0.0, 0.0]
    for _ in range(N // SLICE):
        new = []
        for i, text in enumerate(texts):
            start = time.perf_counter()
            new.append(list(islice(text, SLICE)))
            spent[i] += time.perf_counter() - start
        assert new[0] == new[1], "the texts differ"
    return spent


def rows():
    mine, theirs = models()
    for name, model in mine.items():
        list(islice(ours(model), SLICE)), next(library(theirs))  # warm up
        what = f"{N} tokens, 6 layers, width 384, with a cache, {name}"
        times = [in_turn(ours(model), library(theirs)) for _ in range(ROUNDS)]
        yield row(what, "GPT-2 of transformers, with its cache", times)
        yield row(what, "without a cache", [in_turn(ours(model), ours(model, use_cache=False))])


def main():
    results = list(rows())
    report(results)


if __name__ == "__main__":
    main()
