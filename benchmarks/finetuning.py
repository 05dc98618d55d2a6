"""Accuracy against the number of labels: the long run that chapter 3.1 draws.

A small Transformer is pre-trained once on all English text of the data folder, without labels,
and then classifies film reviews (2 classes) and banking questions (77) from few labels a class:
frozen, in full, by LoRA; beside it the same network from nothing, and a logistic regression on
the counts of words. No test sentence is in the text that is pre-trained on.

    OMP_NUM_THREADS=1 python -m benchmarks.finetuning

writes `finetuning.csv`, one row a run, and may be killed: it goes on with the first missing row.
Pre-trained weights are kept in the folder ``--keep`` (by default the system's temporary one).
"""

import argparse
import csv
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from minillm import data, weights
from minillm.batches import IGNORED, Batch
from minillm.config import TrainConfig, TransformerConfig
from minillm.schedules import linear
from minillm.tokenizer import BPETokenizer
from minillm.torch_nn.lora import add_lora
from minillm.torch_nn.optim import AdamW, clip_grad_norm
from minillm.torch_nn.transformer import Transformer
from minillm.train.parts import new_optimizer

RESULTS = Path(__file__).with_name("finetuning.csv")
FIELDS = ["task", "n", "method", "seed", "accuracy", "lm_loss", "seconds", "machine", "date"]
V, T, N_PRETRAIN, N_TEST = 1000, 64, 700, 1000
SIZES = {"n_layer": 3, "n_head": 4, "d_model": 96}
STEPS = {10: 30, 30: 45, 100: 70, 300: 110, 1000: 200}
BANKING_STEPS = {10: 150, 30: 250}
RATES = {"nothing": 2e-3, "full": 2e-3, "lora": 5e-3}
RANK, ALL = 8, ("query", "key", "value", "output", "up", "down")


def split(name):
    """Texts and labels, shuffled once, parted into train and test; what is in both is dropped."""
    rows = data.load(name)
    order = np.random.default_rng(0).permutation(len(rows))
    if name == "banking77":
        train, test = data.load(name, "train"), data.load(name, "test")
    else:
        test = [rows[i] for i in order[:N_TEST]]
        train = [rows[i] for i in order[N_TEST:]]
    seen = {plain(row.text) for row in test}
    return [row for row in train if plain(row.text) not in seen], test


def plain(text):
    """A text by which two copies are recognized."""
    return "".join(c for c in text.lower() if c.isalnum())


def english(train, test):
    """All English text as a list of documents without those of the tests."""
    texts = [row.text for rows in train.values() for row in rows]
    texts += data.load("tinystories")
    texts += data.load("tinyshakespeare").split("\n\n")
    texts += ["\n".join(poem.lines) for poem in data.load("sonnets")]
    texts += [pair.source for name in ("tatoeba_cmn", "tatoeba_fra") for pair in data.load(name)]
    texts += [f"{r.instruction}\n{r.input}\n{r.output}" for r in data.load("instruction_data")]
    texts += list({q.context for q in data.load("xquad")})
    texts += [message.text for message in data.load("sms_spam")]
    texts += [" ".join(sentence.tokens) for sentence in data.load("wnut17", "train")]
    hidden = {plain(row.text) for rows in test.values() for row in rows}
    texts = sorted({text for text in texts if text.strip() and plain(text) not in hidden})
    return [texts[i] for i in np.random.default_rng(1).permutation(len(texts))]


def lm_batch(ids, starts):
    windows = torch.as_tensor(ids[starts[:, None] + np.arange(T + 1)]).long()
    return Batch(windows[:, :-1], windows[:, 1:])


def pretrain(ids, keep):
    """The language model, from its file if there is one."""
    config = TransformerConfig.recipe(vocab_size=V, context_length=T, **SIZES)
    path = keep / "minillm-finetuning.safetensors"
    if path.exists():
        return weights.load(path, half="torch")
    model = Transformer(config, rng=torch.Generator().manual_seed(0))
    options = TrainConfig.make(
        data="tinyshakespeare", model="recipe", half="torch", optimizer="muon", lr=0.04,
        adam_lr=0.006, weight_decay=0.0, clip=None, **SIZES,
    )  # fmt: skip
    optimizer, rng = new_optimizer(options, model), np.random.default_rng(0)
    for step in range(N_PRETRAIN):
        optimizer.zero_grad()
        loss = model.loss_and_grads(lm_batch(ids, rng.integers(0, len(ids) - T - 1, 32)))
        optimizer.step(0.04 * linear(step, n_steps=N_PRETRAIN, n_warmup=20))
        if step % 100 == 0:
            print(f"pre-training {step:5} {float(loss):.3f}", flush=True)
    weights.save(model, path)
    return model


def text_batch(encoded, labels, rows):
    n = max(len(encoded[i]) for i in rows)
    ids, mask = np.zeros((len(rows), n), np.int64), np.zeros((len(rows), n), bool)
    for row, i in enumerate(rows):
        ids[row, : len(encoded[i])], mask[row, : len(encoded[i])] = encoded[i], True
    return Batch(*map(torch.as_tensor, (ids, np.asarray(labels)[rows], mask)))


def classifier(base, n_class, seed):
    """The trunk of a language model with a new head; without `base`, all of it new."""
    config = TransformerConfig.recipe(vocab_size=V, context_length=T, n_class=n_class, **SIZES)
    model = Transformer(config, rng=torch.Generator().manual_seed(seed))
    if base is not None:
        trunk = {k: v for k, v in base.state_dict().items() if not k.startswith("output.")}
        model.load_state_dict(trunk, strict=False)
    with torch.no_grad():
        model.classify.weight.zero_()
    return model


@torch.no_grad()
def lm_loss(model, base, batch):
    """The loss in nats per token of the trunk of `model` under the head of `base`."""
    x = model._run(model._decoder(), batch.ids, None, causal=True)
    return float(torch.nn.functional.cross_entropy(base.output(x).mT, batch.targets))


@torch.no_grad()
def features(model, encoded):
    """What a classifier's head reads, the mean over the positions: (N, C)."""
    found, order = [], np.argsort([len(ids) for ids in encoded])  # little padding
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        batch = text_batch(encoded, np.zeros(len(encoded), int), rows)
        x = model._run(model._decoder(), batch.ids, batch.mask, causal=True)
        share = batch.mask.float() / batch.mask.sum(1, keepdim=True)
        found.append((share[:, None] @ x)[:, 0])
    return torch.cat(found).numpy()[np.argsort(order)]


def tune(method, base, encoded, labels, n_class, n_steps, seed):
    """A classifier trained on labelled texts."""
    model = classifier(None if method == "nothing" else base, n_class, seed)
    params = list(model.parameters())
    if method == "lora":
        rng = torch.Generator().manual_seed(seed)
        params = add_lora(model, rank=RANK, where=ALL, rng=rng) + list(model.classify.parameters())
    optimizer, rng = AdamW(params, weight_decay=0.01), np.random.default_rng(seed)
    size, order = (16 if n_class == 2 else 32), []
    for step in range(n_steps):
        if len(order) < size:
            order = rng.permutation(len(encoded)).tolist() + order
        rows, order = order[-size:], order[:-size]
        model.zero_grad()
        model.loss_and_grads(text_batch(encoded, labels, rows))
        for p in params:  # what no gradient reaches
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        clip_grad_norm(params, 1.0)
        optimizer.step(RATES[method] * linear(step, n_steps=n_steps, n_warmup=n_steps // 10))
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()))
    keep = parser.parse_args().keep
    torch.set_num_threads(1)
    assert IGNORED == -100
    train, test = {}, {}
    for name in ("sentence_polarity", "banking77"):
        train[name], test[name] = split(name)
    documents = english(train, test)
    held, documents = documents[:500], documents[500:]
    tokenizer = BPETokenizer.train("\n\n".join(documents), V, special_tokens=["<eos>"])
    ids = np.array(tokenizer.encode("<eos>".join(documents)), np.int32)
    held_ids = np.array(tokenizer.encode("<eos>".join(held)), np.int32)
    print(f"{len(documents):,} documents, {len(ids):,} tokens", flush=True)
    base = pretrain(ids, keep)
    held_batch = lm_batch(held_ids, np.arange(0, len(held_ids) - T - 1, T)[:192])
    todo = [
        (task, n, method, seed)
        for seed in range(3)
        for task, sizes in (("sentence_polarity", STEPS), ("banking77", BANKING_STEPS))
        for n in sizes
        for method in ("words", "frozen", "full", "lora", "nothing")
    ]
    done = set()
    if RESULTS.exists():
        with RESULTS.open() as file:
            done = {tuple(row[k] for k in FIELDS[:4]) for row in csv.DictReader(file)}
    else:
        RESULTS.write_text(",".join(FIELDS) + "\n")
    before, cache = lm_loss(base, base, held_batch), {}
    print(f"held-out loss before tuning: {before:.4f}", flush=True)
    for task, n, method, seed in todo:
        if tuple(map(str, (task, n, method, seed))) in done:
            continue
        if task not in cache:
            classes = sorted({row.label for row in train[task]})
            cache = {task: [
                ([tokenizer.encode(row.text)[:T] or [0] for row in rows],
                 np.array([classes.index(row.label) for row in rows]))
                for rows in (train[task], test[task])
            ]}  # fmt: skip
        (texts, labels), (test_texts, test_labels) = cache[task]
        rng, n_class = np.random.default_rng(seed), labels.max() + 1
        chosen = np.concatenate(
            [rng.permutation(np.flatnonzero(labels == c))[:n] for c in range(n_class)]
        )
        some, some_labels = [texts[i] for i in chosen], labels[chosen]
        start, after = time.perf_counter(), before
        if method == "words":
            counts = CountVectorizer(token_pattern=r"[^\s]+", ngram_range=(1, 1))
            x = counts.fit_transform([train[task][i].text for i in chosen])
            rule = LogisticRegression(max_iter=500).fit(x, some_labels)
            guess = rule.predict(counts.transform([row.text for row in test[task]]))
            after = ""
        elif method == "frozen":
            x = features(base, some)
            rule = LogisticRegression(max_iter=2000, C=1.0).fit(x, some_labels)
            guess = rule.predict(features(base, test_texts))
        else:
            steps = (STEPS if task == "sentence_polarity" else BANKING_STEPS)[n]
            model = tune(method, base, some, some_labels, int(n_class), steps, seed)
            head = model.classify
            with torch.no_grad():
                guess = head(torch.as_tensor(features(model, test_texts))).argmax(1).numpy()
            after = "" if method == "nothing" else lm_loss(model, base, held_batch)
        row = [task, n, method, seed, round(float((guess == test_labels).mean()), 4)]
        row += [after if after == "" else round(after, 4), round(time.perf_counter() - start, 1)]
        row += [f"{platform.machine()}, 1 thread", time.strftime("%Y-%m-%d")]
        with RESULTS.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)
        print(*row, flush=True)


if __name__ == "__main__":
    main()
