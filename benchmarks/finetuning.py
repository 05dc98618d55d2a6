"""Accuracy against the number of labels: the long run that chapter 3.1 draws.

A small Transformer is pre-trained once on all English text of the data folder, without labels.
Then it classifies film reviews (2 classes) and banking questions (77) from few labels a class:
frozen, in full, by LoRA; beside it the same network from scratch, and a logistic regression on
counts of words. All networks learn by hand, in NumPy, which is the faster half at this size.

Every method has settings: learning rates and a number of steps, or the penalty of a logistic
regression. All are chosen in the same way, on a validation part of the training rows, for one draw
of labels that is not used again. The test is looked at once, with the settings chosen. Neither
test nor validation texts are in the text that is pre-trained on.

    OMP_NUM_THREADS=1 python -m benchmarks.finetuning

writes `finetuning.csv`, one row a run, and may be killed: it goes on with the first missing row.
The pre-trained model is kept in the folder ``--keep`` (by default in the system's temporary one).

Shape letters: N texts, B batch, T position, C = d_model, K classes.
"""

import argparse
import copy
import csv
import platform
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from minillm import data
from minillm.batches import Batch
from minillm.config import TrainConfig
from minillm.numpy_nn.lora import add_lora, merge_lora
from minillm.numpy_nn.optim import AdamW, Together, clip_grad_norm
from minillm.numpy_nn.transformer import Transformer
from minillm.schedules import linear
from minillm.tokenizer import BPETokenizer
from minillm.tokens import TokenFile, write_tokens
from minillm.train import evaluate, train

RESULTS = Path(__file__).with_name("finetuning.csv")
KEY = ["part", "task", "n", "method", "settings", "seed"]
FIELDS = [*KEY, "accuracy", "lm_loss", "seconds", "machine", "date"]
MACHINE = f"{platform.machine()}, 1 thread"
V, T = 3000, 64
SIZES = {"n_layer": 2, "n_head": 4, "d_model": 96}
PRETRAINING = {
    "half": "numpy", "model": "recipe", "context_length": T, "n_steps": 2500, "batch_size": 32,
    "optimizer": "muon", "lr": 0.04, "adam_lr": 0.006, "weight_decay": 0.0, "clip": None,
    "schedule": "linear", "n_warmup": 50, "held_out": 0.007,
}  # fmt: skip
TASKS = {  # validation texts a class; texts in a batch; labels a class -> steps
    "sentence_polarity": (500, 16, {10: 50, 30: 70, 100: 100, 300: 150, 1000: 300}),
    "banking77": (5, 32, {10: 300, 30: 500}),
}
TUNED_AT = {"sentence_polarity": 300, "banking77": 10}  # labels a class, where settings are chosen
N_DRAW, TUNING_SEED = 5, 100
NETWORKS = ("full", "lora", "scratch")
RATES = (1e-3, 3e-3, 1e-2, 3e-2)  # of the trunk
HEADS = (10, 1)  # times that: the rate of the head
LENGTHS = (1, 2)  # times the steps above
PENALTIES = (0.1, 1, 10, 100, 1000)  # scikit-learn's C: larger means a smaller penalty
RANK, WHERE = 8, ("query", "key", "value", "output", "up", "down")


@dataclass
class Part:
    """Texts of one task: rows as loaded, ids (a list for each), labels (N,)."""

    rows: list
    ids: list
    labels: np.ndarray

    def take(self, which):
        """Some of it, by their places."""
        return Part([self.rows[i] for i in which], [self.ids[i] for i in which], self.labels[which])


def plain(text):
    """What two copies of a text share: its letters and digits."""
    return "".join(c for c in text.lower() if c.isalnum())


def split(name):
    """The rows of a task: train, validation, test; a text of a later part is in no earlier one."""
    rows, n_val = data.load(name), TASKS[name][0]
    order = np.random.default_rng(0).permutation(len(rows))
    if name == "banking77":
        rows, test = data.load(name, "train"), data.load(name, "test")
    else:
        rows, test = [rows[i] for i in order[1000:]], [rows[i] for i in order[:1000]]
    hidden = {plain(row.text) for row in test}
    by_class = defaultdict(list)
    for row in rows:
        if plain(row.text) not in hidden:
            by_class[row.label].append(row)
    validation = [row for found in by_class.values() for row in found[:n_val]]
    hidden |= {plain(row.text) for row in validation}
    rest = [row for found in by_class.values() for row in found if plain(row.text) not in hidden]
    return rest, validation, test


def english(splits):
    """All English text of the data folder as documents, in random order; tests are left out."""
    texts = [row.text for train, _, _ in splits.values() for row in train]
    texts += data.load("tinystories")
    texts += data.load("tinyshakespeare").split("\n\n")
    texts += ["\n".join(poem.lines) for poem in data.load("sonnets")]
    texts += [pair.source for name in ("tatoeba_cmn", "tatoeba_fra") for pair in data.load(name)]
    texts += [f"{r.instruction}\n{r.input}\n{r.output}" for r in data.load("instruction_data")]
    texts += [question.context for question in data.load("xquad")]
    texts += [message.text for message in data.load("sms_spam")]
    texts += [" ".join(sentence.tokens) for sentence in data.load("wnut17", "train")]
    texts += [f"{' '.join(q.story)} {q.question} {q.answer}" for q in longest_stories()]
    hidden = {plain(row.text) for _, *others in splits.values() for rows in others for row in rows}
    texts = sorted({text for text in texts if text.strip() and plain(text) not in hidden})
    return [texts[i] for i in np.random.default_rng(1).permutation(len(texts))]


def longest_stories():
    """The questions of bAbI, without those whose story goes on in another question."""
    found = {q.story: q for q in data.load("babi")}
    stories = sorted(found)
    following = [*stories[1:], ()]
    return [found[a] for a, b in zip(stories, following, strict=True) if b[: len(a)] != a]


def pretrain(splits, keep):
    """The language model, its tokenizer, and held-out ids; an interrupted run goes on."""
    path = keep / "english.tokens"
    if not path.exists():
        text = "<eos>".join(english(splits))
        learned = text[: int(0.99 * len(text))].replace("<eos>", "\n\n")
        tokenizer = BPETokenizer.train(learned, V, special_tokens=["<eos>"])
        write_tokens(path, text, tokenizer)
    tokens = TokenFile(path)
    config = TrainConfig.make(data=str(path), out=str(keep / "run"), **PRETRAINING, **SIZES)
    print(f"{len(tokens):,} tokens", flush=True)
    result = train(config, progress="lines")
    held = tokens.part(int(len(tokens) * (1 - config.held_out)), len(tokens))
    return result.model, BPETokenizer.load(tokens.tokenizer), held


def encode(rows, classes, tokenizer):
    """A part of a task, its texts cut after T tokens."""
    ids = [tokenizer.encode(row.text)[:T] or [0] for row in rows]
    return Part(rows, ids, np.array([classes.index(row.label) for row in rows]))


def draw(part, n, seed):
    """A part with n texts of each class."""
    rng = np.random.default_rng(seed)
    of_class = [np.flatnonzero(part.labels == k) for k in range(part.labels.max() + 1)]
    return part.take(np.concatenate([rng.permutation(found)[:n] for found in of_class]))


def batch_of(part, which):
    """Padded ids (B, T), labels (B,) and mask (B, T) of some texts."""
    n = max(len(part.ids[i]) for i in which)
    ids, mask = np.zeros((len(which), n), np.int64), np.zeros((len(which), n), bool)
    for row, i in enumerate(which):
        ids[row, : len(part.ids[i])], mask[row, : len(part.ids[i])] = part.ids[i], True
    return Batch(ids, part.labels[which], mask)


def batches(part, size, n_steps, rng):
    """Places of the texts of each batch (size,), pass after pass, texts of like length together."""
    lengths, queue = np.array([len(ids) for ids in part.ids]), []
    for _ in range(n_steps):
        if not queue:
            order = rng.permutation(len(lengths))
            pools = [order[i : i + 8 * size] for i in range(0, len(order), 8 * size)]
            order = np.concatenate([pool[np.argsort(lengths[pool])] for pool in pools])
            queue = [order[i : i + size] for i in range(0, len(order), size)]
            rng.shuffle(queue)
        yield queue.pop()


def outputs(model, part):
    """The logits of a classifier: (N, K)."""
    order = np.argsort([len(ids) for ids in part.ids])  # little padding
    chunks = [order[i : i + 64] for i in range(0, len(order), 64)]
    found = np.concatenate([model.logits(batch_of(part, chunk)) for chunk in chunks])
    return found[np.argsort(order)]


def give_trunk(source, target):
    """Copy all weights that two models share, that is, all but the heads."""
    found = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        if name in found and not name.startswith(("classify", "output")):
            parameter.data[...] = found[name].data


def classifier(base, n_class, *, seed=0, pretrained=True):
    """The trunk of a language model, or a new one like it, with a head that is zero."""
    config = replace(base.config, n_class=n_class)
    model = Transformer(config, rng=np.random.default_rng(seed))
    if pretrained:
        give_trunk(base, model)
    model.classify.weight.data[...] = 0
    return model


def features(base, part):
    """What a head reads, the mean of the last vectors: (N, C), by a head that passes it on."""
    C = base.config.d_model
    model = classifier(base, C)
    model.classify.weight.data[...] = np.eye(C)
    return outputs(model, part)


def tune(method, base, part, settings, *, n_steps, size, seed):
    """A classifier trained on labelled texts."""
    rate, faster, length = settings
    n_class, n_steps = int(part.labels.max()) + 1, n_steps * length
    model = classifier(base, n_class, seed=seed, pretrained=method != "scratch")
    head = [p for _, p in model.classify.named_parameters()]
    trunk = [p for name, p in model.named_parameters() if not name.startswith("classify")]
    rng = np.random.default_rng(seed)
    if method == "lora":
        trunk = add_lora(model, rank=RANK, where=WHERE, rng=rng)
    optimizer = Together([(AdamW(trunk), 1.0), (AdamW(head), faster)])
    for step, which in enumerate(batches(part, size, n_steps, rng)):
        model.zero_grad()
        model.loss_and_grads(batch_of(part, which))
        clip_grad_norm(trunk + head, 1.0)
        optimizer.step(rate * linear(step, n_steps=n_steps, n_warmup=n_steps // 10))
    return model


def words(part, test, settings):
    """The labels of test texts, by a logistic regression on counts of words and marks."""
    penalty, longest = settings
    counts = CountVectorizer(token_pattern=r"\w+|[^\w\s]", ngram_range=(1, longest))
    x = counts.fit_transform([row.text for row in part.rows])
    rule = LogisticRegression(C=penalty, max_iter=1000).fit(x, part.labels)
    return rule.predict(counts.transform([row.text for row in test.rows]))


def frozen(base, part, test, settings):
    """The same, on the features of the pre-trained trunk."""
    rule = LogisticRegression(C=settings[0], max_iter=3000).fit(features(base, part), part.labels)
    return rule.predict(features(base, test))


def forgetting(base, model, held):
    """The loss on held-out text, nats per token, of a tuned trunk under the head of `base`."""
    reader = copy.deepcopy(base)
    merge_lora(model)
    give_trunk(model, reader)
    return round(evaluate(reader, held, T), 4)


class Contest:
    """The base, the tasks, and the table of what has been run."""

    def __init__(self, base, tokenizer, held, *, splits, results):
        self.base, self.held, self.results, self.parts = base, held, results, {}
        for task, rows in splits.items():
            classes = sorted({row.label for row in rows[0]})
            self.parts[task] = [encode(part, classes, tokenizer) for part in rows]
        self.before, self.done = round(evaluate(base, held, T), 4), {}
        if not results.exists():
            results.write_text(",".join(FIELDS) + "\n")
        with results.open() as file:
            for row in csv.DictReader(file):
                self.done[tuple(row[name] for name in KEY)] = float(row["accuracy"])

    def accuracy(self, part, task, n, method, settings, seed):
        """That of one run, which is run and written down if it is not yet there."""
        key = tuple(map(str, (part, task, n, method, " ".join(map(str, settings)), seed)))
        if key not in self.done:
            start = time.perf_counter()
            texts, validation, test = self.parts[task]
            asked = test if part == "test" else validation
            guess, lm_loss = self.run(task, method, settings, draw(texts, n, seed), asked, n, seed)
            self.done[key] = round(float((guess == asked.labels).mean()), 4)
            seconds, today = round(time.perf_counter() - start, 1), time.strftime("%Y-%m-%d")
            row = [*key, self.done[key], lm_loss, seconds, MACHINE, today]
            with self.results.open("a", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow(row)
            print(*row, flush=True)
        return self.done[key]

    def run(self, task, method, settings, some, asked, n, seed):
        """The labels that a method gives to the texts that are asked for, and its loss on text."""
        if method == "words":
            return words(some, asked, settings), ""
        if method == "frozen":
            return frozen(self.base, some, asked, settings), self.before
        _, size, steps = TASKS[task]
        model = tune(method, self.base, some, settings, n_steps=steps[n], size=size, seed=seed)
        guess = outputs(model, asked).argmax(1)
        return guess, "" if method == "scratch" else forgetting(self.base, model, self.held)

    def choose(self, task, method):
        """The settings that do best on validation texts; for a network, one after the other."""

        def on_validation(settings):
            where = task, TUNED_AT[task], method
            return self.accuracy("validation", *where, settings, TUNING_SEED)

        if method == "words":
            return max([(c, n) for c in PENALTIES for n in (1, 2)], key=on_validation)
        if method == "frozen":
            return max([(c,) for c in PENALTIES], key=on_validation)
        best = 0, HEADS[0], LENGTHS[0]
        best = max([(rate, *best[1:]) for rate in RATES], key=on_validation)
        best = max([(best[0], head, best[2]) for head in HEADS], key=on_validation)
        return max([(*best[:2], length) for length in LENGTHS], key=on_validation)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = Path(tempfile.gettempdir()) / "minillm-finetuning"
    parser.add_argument("--keep", type=Path, default=folder)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    splits = {task: split(task) for task in TASKS}
    contest = Contest(*pretrain(splits, options.keep), splits=splits, results=options.results)
    methods = ("words", "frozen", *NETWORKS)
    chosen = {(task, m): contest.choose(task, m) for task in TASKS for m in methods}
    for seed in range(N_DRAW):
        for task, (_, _, steps) in TASKS.items():
            for n in steps:
                for method in methods:
                    settings = chosen[task, method]
                    contest.accuracy("test", task, n, method, settings, seed)


if __name__ == "__main__":
    main()
