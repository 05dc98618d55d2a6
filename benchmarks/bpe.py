"""Byte-pair encoding against Rust's `tokenizers`, `tiktoken` and the textbook's way to train.

The text is all of tiny Shakespeare, 1.1 MB; none of the four makes use of a second thread here.
"""

import os
import sys
from collections import Counter
from itertools import pairwise

import pandas as pd
import tiktoken
import tokenizers
from tiktoken_ext.openai_public import r50k_pat_str

from benchmarks.timing import compare, record
from minillm import data
from minillm.tokenizer import BPETokenizer

N_MERGE = 1000


def recounting(text, n_merge):
    """Train as in Sennrich et al. 2016, algorithm 1: count all pairs anew for every merge."""
    counts = Counter(BPETokenizer.pattern.findall(text))
    words = {tuple(bytes([byte]) for byte in word.encode()): n for word, n in counts.items()}
    merges = []
    for _ in range(n_merge):
        pairs = Counter()
        for word, n in words.items():
            for pair in pairwise(word):
                pairs[pair] += n
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        words = {joined(word, best): n for word, n in words.items()}
    return merges


def joined(word, pair):
    """A word's tokens with every occurrence of the pair made one token."""
    tokens, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            tokens.append(pair[0] + pair[1])
            i += 2
        else:
            tokens.append(word[i])
            i += 1
    return tuple(tokens)


def in_rust(text):
    """The same training by `tokenizers`."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + N_MERGE,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def training_rows(text):
    """From the text to 1,000 merges, splitting and counting its words included."""

    def ours():
        return BPETokenizer.train(text, 256 + N_MERGE).merges

    assert ours()[:20] == recounting(text, 20)
    what = f"BPE training, {N_MERGE:,} merges, 1.1 MB of Shakespeare"
    rust, slow = (lambda: in_rust(text)), (lambda: recounting(text, N_MERGE))
    yield compare(what, ours, "tokenizers (Rust)", rust, rounds=9, repeats=1)
    what = f"{what}, by recounting all pairs each time"
    yield compare(what, slow, "BPETokenizer.train", ours, rounds=2, repeats=1)


def encoding_rows(text):
    """From the text to ids by a tokenizer that has not seen a word before."""
    tokenizer, saved = BPETokenizer.train(text, 256 + N_MERGE), in_rust(text).to_str()

    def ours():
        return BPETokenizer(tokenizer.vocab, tokenizer.merges).encode(text)

    def rust():
        return tokenizers.Tokenizer.from_str(saved).encode(text).ids

    what = f"BPE encoding, {N_MERGE:,} merges, 1.1 MB of Shakespeare, caches cold"
    yield compare(what, ours, "tokenizers (Rust)", rust, rounds=9, repeats=1)

    gpt2 = BPETokenizer.from_gpt2(data.path("gpt2_tokenizer"))
    ranks = {token: i for i, token in enumerate(gpt2.vocab[:-1])}
    theirs = tiktoken.Encoding(
        "gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens=gpt2.special_tokens
    )

    def with_gpt2():
        gpt2._cache.clear()
        return gpt2.encode(text)

    def with_tiktoken():
        return theirs.encode(text)

    assert with_gpt2() == with_tiktoken()
    what = "BPE encoding, GPT-2's tokens, 1.1 MB of Shakespeare, caches cold"
    yield compare(what, with_gpt2, "tiktoken (Rust)", with_tiktoken, rounds=9, repeats=1)


def main():
    os.environ["RAYON_NUM_THREADS"] = "1"  # read at the first use of `tokenizers`
    if not data.is_real("tinyshakespeare"):
        sys.exit("benchmarks.bpe: tinyshakespeare is not here, see `python -m minillm.data`")
    text = data.load("tinyshakespeare")
    rows = [*training_rows(text), *encoding_rows(text)]
    record(rows)
    table = pd.DataFrame(rows)[["what", "against", "ms", "ratio", "low", "high"]]
    table["MB/s"] = [f"{len(text) / 1e3 / float(ms):.2f}" for ms in table["ms"]]
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
