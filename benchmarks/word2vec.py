"""Skip-gram with negative sampling in NumPy against gensim (Cython), at equal held-out loss.

The text is all English of the book's data sets, about 1.2 million words; every tenth sentence is
held out. Both sides get the same sentences, words, window, negatives, thinning and width, gensim with
its own defaults for the rest (rate 0.025, 5 epochs) and one worker. The held-out loss is that of
negative sampling, in nats per pair, over fixed pairs with fixed negatives, by one function for both,
from the two tables of each side. Ours goes through the text as often as it takes to be at least as
good, in the very runs that are timed. Timed is the training alone: no counting, no evaluation.
"""

import os
import sys
import time

import numpy as np
import pandas as pd
import torch
from gensim.models import Word2Vec

from benchmarks.timing import record, row
from minillm import data
from minillm.numpy_nn.word_vectors import SkipGram, negative_sampling
from minillm.words import Corpus, draw, noise_distribution, pairs, sentences, train

SETS = (
    "tinystories", "tinyshakespeare", "sentence_polarity", "sms_spam", "banking77", "wnut17",
    "xquad", "sonnets", "instruction_data", "tatoeba_cmn", "tatoeba_fra",
)  # fmt: skip
WIDTH, WINDOW, NEGATIVES = 100, 5, 5
N_HELD = 50_000  # pairs
SAME, TUNED = {"n_epoch": 5, "lr": 0.025}, {"n_epoch": 2, "lr": 0.05}


def english():
    """All English of the data sets as sentences, lists of words; each once, or some were held out
    and trained on."""
    texts = [data.load("tinyshakespeare"), *data.load("tinystories")]
    for name in ("sentence_polarity", "sms_spam", "banking77"):
        texts += [item.text for item in data.load(name)]
    texts += [" ".join(item.tokens) for item in data.load("wnut17")]
    texts += list(dict.fromkeys(item.context for item in data.load("xquad")))
    texts += ["\n".join(poem.lines) for poem in data.load("sonnets")]
    texts += [f"{i.instruction}\n{i.input}\n{i.output}" for i in data.load("instruction_data")]
    texts += [pair.source for name in ("tatoeba_cmn", "tatoeba_fra") for pair in data.load(name)]
    return list(map(list, dict.fromkeys(map(tuple, sentences(texts)))))


class Task:
    """The text, and the pairs that both sides are scored on."""

    def __init__(self):
        found = english()
        training = [words for i, words in enumerate(found) if i % 10]
        self.corpus = Corpus.build(training, min_count=5)
        known = set(self.corpus.vocab)
        self.sentences = [[word for word in words if word in known] for words in training]
        held = Corpus.build(found[::10], vocab=self.corpus.vocab)
        rng = np.random.default_rng(99)
        centers, contexts = pairs(held, window=WINDOW, rng=rng)
        some = rng.permutation(len(centers))[:N_HELD]
        self.pairs = centers[some], contexts[some]
        noise = noise_distribution(self.corpus.counts)
        self.negatives = draw(noise, (len(some), NEGATIVES), rng)

    def loss(self, vectors, out_vectors):
        """Nats per held-out pair."""
        centers, contexts = self.pairs
        v, u, n = vectors[centers], out_vectors[contexts], out_vectors[self.negatives]
        return float(negative_sampling(v, u, n)[0])


def ours(task, seed, n_epoch, lr):
    """Seconds, and the held-out loss."""
    rng = np.random.default_rng(seed)
    model = SkipGram(len(task.corpus.vocab), WIDTH, rng=rng)
    start = time.perf_counter()
    options = {"window": WINDOW, "n_negative": NEGATIVES, "n_epoch": n_epoch}
    train(model, task.corpus, lr=lr, rng=rng, **options)
    seconds = time.perf_counter() - start
    return seconds, task.loss(model.vectors.data, model.out_vectors.data)


def theirs(task, seed):
    """The same of gensim."""
    options = {"vector_size": WIDTH, "window": WINDOW, "negative": NEGATIVES, "min_count": 1}
    model = Word2Vec(sg=1, workers=1, seed=seed, **options)
    model.build_vocab(task.sentences)
    start = time.perf_counter()
    model.train(task.sentences, total_examples=len(task.sentences), epochs=model.epochs)
    seconds = time.perf_counter() - start
    order = [model.wv.key_to_index[word] for word in task.corpus.vocab]
    return seconds, task.loss(model.wv.vectors[order], model.syn1neg[order])


def main(rounds=5):
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # what `row` records
    if not all(map(data.is_real, SETS)):
        sys.exit("benchmarks.word2vec: data sets are missing, see `python -m minillm.data`")
    task = Task()
    print(
        f"{len(task.corpus):,} words of {len(task.corpus.vocab):,}, and {N_HELD:,} pairs held out"
    )
    sides = {"gensim": [], "same": [], "tuned": []}
    for seed in range(rounds):
        sides["gensim"].append(theirs(task, seed + 1))
        sides["same"].append(ours(task, seed, **SAME))
        sides["tuned"].append(ours(task, seed, **TUNED))
    seconds, losses = (
        {name: np.array([run[k] for run in runs]) for name, runs in sides.items()} for k in (0, 1)
    )
    assert losses["tuned"].max() <= losses["gensim"].min(), losses
    rows, table = [], []
    for name, recipe in (("tuned", TUNED), ("same", SAME)):
        loss, other = losses[name].mean(), losses["gensim"].mean()
        what = f"word2vec in NumPy, {recipe['n_epoch']} epochs from rate {recipe['lr']}"
        against = f"gensim, 1 worker, 5 epochs from rate 0.025: {other:.3f} nats, ours {loss:.3f}"
        rows.append(row(what, against, np.stack([seconds[name], seconds["gensim"]], axis=1)))
    record(rows)
    print(
        pd.DataFrame(rows)[["threads", "what", "against", "ms", "ratio", "low", "high"]].to_string()
    )
    for name, epochs in (("gensim", 5), ("same", SAME["n_epoch"]), ("tuned", TUNED["n_epoch"])):
        median = np.median(seconds[name])
        speed = epochs * len(task.corpus) / median / 1e3
        spread = f"{losses[name].min():.4f} ... {losses[name].max():.4f}"
        table.append((name, f"{median:.2f}", f"{speed:.0f}", spread))
    print(pd.DataFrame(table, columns=["side", "s", "1,000 words/s", "nats per pair"]).to_string())


if __name__ == "__main__":
    main()
