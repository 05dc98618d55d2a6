"""Training: it learns, it measures what it says, and what goes wrong is said and costs nothing."""

import errno
import importlib
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minillm import weights
from minillm.batches import Batch
from minillm.config import CHOICES, MODELS, TrainConfig
from minillm.metrics import bits_per_byte
from minillm.tokenizer import CharTokenizer, Tokenizer
from minillm.tokens import write_tokens
from minillm.train import evaluate, folder, gradients, loop, parts, train
from minillm.train.folder import COLUMNS, RunFolder, read_log

HALVES = ("numpy", "torch")
TINY = {
    "n_steps": 12, "batch_size": 4, "context_length": 8, "log_every": 2, "eval_every": 4,
    "save_every": 4, "n_layer": 1, "n_head": 2, "d_model": 8, "device": "cpu", "half": "numpy",
}  # fmt: skip
FEW = {**TINY, "model": "bigram"}
for name in ("n_layer", "n_head", "d_model"):
    FEW.pop(name)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(np.random.default_rng(0).choice(list("abcdé \n"), 1200)), "utf-8")
    return str(path)


@pytest.fixture
def out(tmp_path):
    return str(tmp_path / "run")


def read(path):
    return Path(path).read_text("utf-8")


def write(path, text):
    Path(path).write_text(text, "utf-8")


def array(x):
    return x.detach().numpy() if torch.is_tensor(x) else np.array(x)


def run(config=None, /, **options):
    return train(config or TrainConfig.make(**options), progress=False)


def model_of(half, name="gpt2", **options):
    config = TrainConfig.make(data="-", model=name, half=half, **options)
    return parts.new_model(config, 7), config


# It learns.


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("model", MODELS)
def test_learns_a_text_by_heart(tmp_path, out, model, half):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat. " * 40)
    sizes = {"bigram": {}, "mlp": {"d_model": 8, "d_hidden": 32}}
    sizes |= {name: {"d_model": 16, "d_hidden": 32} for name in ("rnn", "lstm")}
    sizes = sizes.get(model, {"n_layer": 1, "n_head": 2, "d_model": 16})
    recipe = (
        {"optimizer": "muon"} if model == "recipe" else {"lr": 0.3 if model == "bigram" else 0.02}
    )
    common = {**FEW, "n_steps": 80, "log_every": 1, "eval_every": 80, "context_length": 16}
    result = run(
        **common | {"model": model, "half": half} | recipe, data=str(path), out=out, **sizes
    )
    first, last = result.history["train_loss"][0], result.history["val_loss"][-1]
    V = len(result.tokenizer)
    assert abs(first - math.log(V)) < 0.6
    assert last < (1.0 if model == "bigram" else 0.6)  # a bigram cannot know more
    saved = weights.load(os.path.join(out, "last.safetensors"), half="numpy")
    held_out = np.array(result.tokenizer.encode("the cat sat on the mat. " * 40))[-96:]
    assert evaluate(saved, held_out, 16) == pytest.approx(last, abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"optimizer": "muon", "model": "recipe"}])
def test_both_halves_take_the_same_steps(text, monkeypatch, options):
    new_model = parts.new_model

    def same(config, vocab_size):
        model = new_model(config, vocab_size)
        if config.half == "torch":
            by_hand = TrainConfig.make(**config.flat() | {"half": "numpy"})
            weights.copy(new_model(by_hand, vocab_size), model)
        return model

    monkeypatch.setattr(loop, "new_model", same)
    common = {**TINY, **options, "accumulate": 2, "label_smoothing": 0.1, "z_loss": 1e-3}
    runs = [run(**common | {"half": half}, data=text) for half in HALVES]
    for column in ("train_loss", "grad_norm", "val_loss", "lr"):
        a, b = (result.history[column] for result in runs)
        np.testing.assert_allclose(a, b, rtol=2e-4, err_msg=column)


def test_the_same_seed_gives_the_same_run(text):
    losses = [run(**TINY, data=text, seed=seed).history["train_loss"] for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


# Gradients in parts.


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("n_parts", [2, 3, 5, 9])
def test_parts_add_up_to_the_batch(half, n_parts):
    """Rows with few targets, and one with none; more parts than rows."""
    rng = np.random.default_rng(0)
    model, _ = model_of(half, n_layer=1, n_head=2, d_model=8)
    model.to(np.float64 if half == "numpy" else torch.float64)
    ids = rng.integers(7, size=(5, 9))
    targets = np.where(rng.random((5, 8)) < 0.4, -100, ids[:, 1:])
    targets[2], targets[3, 1:] = -100, -100
    batch, found = Batch(ids[:, :-1], targets=targets), []
    for parts_ in (1, n_parts):
        model.zero_grad()
        loss = gradients(model, batch, n_parts=parts_, label_smoothing=0.1, z_loss=1e-2)
        found.append([float(loss), *(array(p.grad).copy() for p in model.parameters())])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_a_batch_without_targets():
    model, _ = model_of("numpy", "bigram")
    nothing = np.full((1, 3), -100)
    with pytest.raises(ValueError, match=r"batch\.targets has none that count"):
        gradients(model, Batch(np.zeros((1, 3), int), targets=nothing))


# Evaluation.


@pytest.mark.parametrize("batch_size", [1, 2, 50])
def test_evaluation_reads_the_whole_text(batch_size):
    rng = np.random.default_rng(0)
    model, _ = model_of("numpy", "bigram")
    model.table.weight.data[...] = rng.normal(size=(7, 7))
    ids = rng.integers(7, size=60)
    logp = model.table.weight.data - np.log(np.exp(model.table.weight.data).sum(1, keepdims=True))
    expected = -np.mean([logp[a, b] for a, b in pairwise(ids)])
    assert evaluate(model, ids, 8, batch_size=batch_size) == pytest.approx(expected, rel=1e-5)


def test_evaluation_needs_two_tokens():
    with pytest.raises(ValueError, match="tokens has 1 ids, expected at least 2"):
        evaluate(model_of("numpy", "bigram")[0], np.array([3]), 8)


@pytest.mark.parametrize("tokenizer", ["char", "word", "bpe:258"])
def test_bits_are_per_byte_of_the_held_out_text(text, tokenizer):
    result = run(**FEW, data=text, tokenizer=tokenizer)
    held_out = read(text)[1080:]
    n = len(result.tokenizer.encode(held_out))
    expected = bits_per_byte(result.history["val_loss"][-1] * (n - 1), len(held_out.encode()))
    assert result.history["val_bits_per_byte"][-1] == pytest.approx(expected)


def test_learns_tokens_from_the_first_part_alone(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("ab " * 300 + "xyz " * 25)
    result = run(**FEW, data=str(path), tokenizer="bpe:258")
    assert result.tokenizer.vocab[256:] == [b"ab", b" ab"]


def test_the_best_model_is_kept(text, out, monkeypatch):
    losses = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(loop, "evaluate", lambda *_, **__: next(losses))
    run(**FEW, data=text, out=out)
    best = weights.load_extra(os.path.join(out, "best.safetensors"))
    assert (best["step"], best["val_loss"]) == (8, 1.0)
    assert weights.load_extra(os.path.join(out, "last.safetensors"))["best"] == 1.0


# The optimizer and its rate.


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
def test_only_matrices_decay(half, optimizer):
    config = TrainConfig.make(data="-", half=half, optimizer=optimizer, weight_decay=0.1,
                              n_layer=2, n_head=2, d_model=8)  # fmt: skip
    model = parts.new_model(config, 7)
    rng = np.random.default_rng(0)
    before = {}
    for name, p in model.named_parameters():
        before[name] = rng.normal(size=tuple(p.shape)).astype(np.float32)
        weights.assign(p, before[name])
    model.zero_grad()
    parts.new_optimizer(config, model).step(0.5)
    for name, p in model.named_parameters():
        after = array(p.data)
        if after.ndim < 2:
            np.testing.assert_array_equal(after, before[name], err_msg=name)
        else:
            assert (np.abs(after) < np.abs(before[name])).all(), name


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("model", MODELS)
def test_muon_moves_the_inner_matrices(half, model):
    config = TrainConfig.make(data="-", model=model, half=half, optimizer="muon")
    model = parts.new_model(config, 7)
    optimizer = parts.new_optimizer(config, model)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {
        names[id(p)]
        for part, _ in optimizer.parts
        if hasattr(part, "ns_steps")
        for p in part.params
    }
    expected = {
        name
        for name, p in model.named_parameters()
        if len(p.shape) == 2 and name.split(".")[0] in ("blocks", "recurrent", "hidden")
    }
    assert found == expected
    assert sorted(names[id(p)] for p in optimizer.params) == sorted(names.values())
    rates = {
        names[id(p)]: factor * config.lr for part, factor in optimizer.parts for p in part.params
    }
    if "output.weight" in rates:
        assert rates["output.weight"] == pytest.approx(config.output_lr)
    embedding = rates.get("embedding.weight", rates.get("table.weight"))
    assert embedding == pytest.approx(config.adam_lr)


@pytest.mark.parametrize("half", HALVES)
def test_muon_by_head(half):
    """In attention, a head's rows of queries, keys and values, and its columns of the output."""
    options = {"data": "-", "model": "llama", "half": half, "optimizer": "muon", "n_layer": 1}
    config = TrainConfig.make(**options, d_model=8, n_head=2, n_kv_head=1, by_head=True)
    model = parts.new_model(config, 7)
    names = {id(p): name.split(".")[-2] for name, p in model.named_parameters() if "." in name}
    optimizer = parts.new_optimizer(config, model)
    blocks = {names[id(p)]: part.block for part, _ in optimizer.parts
              if hasattr(part, "block") for p in part.params}  # fmt: skip
    rows, columns = (4, None), (None, 4)
    assert blocks == {"query": rows, "key": rows, "value": rows, "output": columns,
                      "up": None, "gate": None, "down": None}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"schedule": "linear", "n_warmup": 1}, [0.5, 1, 2 / 3, 1 / 3]),
        ({"schedule": "wsd", "n_decay": 2, "floor": 0.5}, [1, 1, 1, 0.75]),
        ({"schedule": "cosine"}, [1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_the_rate_that_is_logged(text, options, expected):
    result = run(**{**FEW, "n_steps": 4, "log_every": 1}, data=text, lr=0.2, **options)
    np.testing.assert_allclose(result.history["lr"], 0.2 * np.array(expected), rtol=1e-5)


def test_long_gradients_are_cut_and_logged_as_they_were(text, monkeypatch):
    moved = {}
    for clip in (None, 1e-3):
        result = run(**{**FEW, "n_steps": 1}, data=text, optimizer="sgd", lr=1.0, clip=clip)
        table = result.model.table.weight.data
        moved[clip] = np.linalg.norm(table), result.history["grad_norm"][0]
    assert moved[None][1] == moved[1e-3][1] == pytest.approx(moved[None][0], rel=1e-5)
    assert moved[1e-3][0] == pytest.approx(1e-3, rel=1e-4)


# What it leaves behind.


def test_the_log_is_the_history(text, out):
    result = run(**TINY, data=text, out=out)
    rows = read_log(os.path.join(out, "log.csv"))
    assert [row["step"] for row in rows] == result.history["step"] == [2, 4, 6, 8, 10, 12]
    assert [row["tokens"] for row in rows] == [64, 128, 192, 256, 320, 384]
    assert result.curve("val_loss") == ([4, 8, 12], [rows[i]["val_loss"] for i in (1, 3, 5)])
    assert rows[0]["val_loss"] is None
    assert sorted(os.listdir(out))[-4:] == [
        "config.json", "last.safetensors", "log.csv", "tokenizer.json",
    ]  # fmt: skip
    tokenizer = Tokenizer.load(os.path.join(out, "tokenizer.json"))
    assert tokenizer.vocab == result.tokenizer.vocab


def test_nothing_is_written_without_a_folder(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(**FEW, data=text)
    assert os.listdir(tmp_path) == ["text.txt"]


def test_numpy_trains_without_torch(text, out):
    config = TrainConfig.make(**TINY, data=text, out=out)
    program = """
import sys
from minillm.config import TrainConfig
from minillm.train import train
train(TrainConfig.from_json(sys.argv[1]), progress=False)
sys.exit(" ".join({"torch", "matplotlib", "pandas"} & set(sys.modules)) or 0)
"""
    command = [sys.executable, "-c", program, config.to_json()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_token_file_is_a_text_too(text, tmp_path, out):
    whole = read(text)
    path = tmp_path / "text.tokens"
    write_tokens(path, whole, CharTokenizer.train(whole))
    a, b = (run(**TINY, data=data, out=o) for data, o in ((text, None), (str(path), out)))
    for column in ("train_loss", "val_loss", "val_bits_per_byte"):
        np.testing.assert_equal(a.history[column], b.history[column])
    assert Tokenizer.load(os.path.join(out, "tokenizer.json")).vocab == a.tokenizer.vocab


def test_ids_alone_are_enough(tmp_path, out):
    path = tmp_path / "ids.tokens"
    write_tokens(path, np.random.default_rng(0).integers(9, size=500), vocab_size=9)
    result = run(**FEW, data=str(path), out=out)
    assert result.tokenizer is None
    assert math.isnan(result.history["val_bits_per_byte"][-1])
    assert result.history["val_loss"][-1] > 1


def test_tensorboard_is_asked_for_in_one_line(text, out, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="TensorBoard is not installed: python -m pip install"):
        run(**FEW, data=text, out=out, tensorboard=True)


def test_tensorboard_gets_the_log(text, out, monkeypatch):
    events = []
    writer = SimpleNamespace(add_scalar=lambda *event: events.append(event), close=lambda: None)
    made = {}
    fake = SimpleNamespace(SummaryWriter=lambda folder, **options: made.update(options) or writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    result = run(**FEW, data=text, out=out, tensorboard=True)
    steps, losses = result.curve("train_loss")
    assert [(v, s) for n, v, s in events if n == "train_loss"] == list(
        zip(losses, steps, strict=True)
    )
    assert made == {"purge_step": 1}
    run(**FEW, data=text, out=out, tensorboard=True)
    assert made == {"purge_step": 13}


def test_tensorboard_reads_the_log(text, out):
    """With the real package: every number of the log, a run that goes on included."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):
        result = run(**FEW, data=text, out=out, tensorboard=True)
    events = reading.EventAccumulator(out)
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(COLUMNS[2:])
    for name in COLUMNS[2:]:
        steps, values = result.curve(name)
        read = events.Scalars(name)
        assert [event.step for event in read] == steps
        np.testing.assert_allclose([event.value for event in read], values, rtol=1e-6)


# What goes wrong.


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_ends_it(text, out, monkeypatch, half, where):
    model = importlib.import_module(f"minillm.{half}_nn.models").Bigram
    loss_and_grads, calls = model.loss_and_grads, []

    def broken(self, batch, **options):
        loss = loss_and_grads(self, batch, **options)
        calls.append(loss)
        if len(calls) == 7:
            for p in self.parameters():
                p.grad[...] = math.inf
            return loss * math.nan if where == "loss" else loss
        return loss

    monkeypatch.setattr(model, "loss_and_grads", broken)
    with pytest.raises(
        FloatingPointError, match=r"at step 6, expected finite.*last\.safetensors is"
    ):
        run(**FEW | {"half": half}, data=text, out=out)
    assert weights.load_extra(os.path.join(out, "last.safetensors"))["step"] == 4
    saved = weights.load(os.path.join(out, "last.safetensors"))
    assert np.isfinite(saved.table.weight.data).all()


def test_a_device_that_is_not_waited_for_is_looked_at_later(text, out, monkeypatch):
    """As on a GPU: only the lines of the log, and what is saved, ask for numbers."""
    model = importlib.import_module("minillm.torch_nn.models").Bigram
    loss_and_grads, calls = model.loss_and_grads, []

    def broken(self, batch, **options):
        calls.append(loss_and_grads(self, batch, **options))
        return calls[-1] * (math.nan if len(calls) == 6 else 1)

    monkeypatch.setattr(model, "loss_and_grads", broken)
    start_world = parts.start_world

    def elsewhere(config):
        world = start_world(config)
        world.device = "cpu:0"  # for the loop no CPU
        return world

    monkeypatch.setattr(loop, "start_world", elsewhere)
    with pytest.raises(
        FloatingPointError, match=r"loss = nan .* at step 5, .*last\.safetensors is"
    ):
        run(**FEW | {"half": "torch", "log_every": 9}, data=text, out=out)
    assert len(calls) == 8
    assert weights.load_extra(os.path.join(out, "last.safetensors"))["step"] == 4


@pytest.mark.parametrize("half", HALVES)
def test_bad_weights_are_not_saved(text, out, monkeypatch, half):
    """The loss and the gradient were finite; the step that they led to was not."""
    optim = importlib.import_module(f"minillm.{half}_nn.optim")
    step = optim.Together.step

    def explodes(self, lr):
        step(self, lr)
        if self.t == 8:
            self.params[0].data[0, 0] = math.inf

    monkeypatch.setattr(optim.Together, "step", explodes)
    options = FEW | {"half": half, "log_every": 99, "eval_every": 99}
    with pytest.raises(FloatingPointError, match=r"at step 8, .*last\.safetensors is from before"):
        run(**options, data=text, out=out)
    assert weights.load_extra(os.path.join(out, "last.safetensors"))["step"] == 4


@pytest.mark.parametrize("half", HALVES)
def test_a_rate_far_too_high_ends_it(text, half):
    options = {**TINY, "half": half, "optimizer": "sgd", "lr": 1e30, "clip": None}
    with pytest.raises(FloatingPointError, match="no checkpoint was written yet. A smaller lr"):
        run(**options, data=text)


def test_an_overflow_of_float16_costs_a_step_only(text, monkeypatch):
    model = importlib.import_module("minillm.torch_nn.models").Bigram
    loss_and_grads, calls = model.loss_and_grads, []

    def overflows(self, batch, **options):
        loss = loss_and_grads(self, batch, **options)
        calls.append(self.table.weight.detach().clone())
        if len(calls) == 3:
            self.table.weight.grad[0, 0] = math.inf
        return loss

    monkeypatch.setattr(model, "loss_and_grads", overflows)
    options = {**FEW, "half": "torch", "precision": "float16", "data": text}
    try:
        result = run(**options)
    except ValueError as error:
        pytest.skip(str(error))  # an older PyTorch has no float16 on the CPU
    assert result.step == 12
    assert (calls[3] == calls[2]).all()
    assert (calls[2] != calls[1]).any()
    assert np.isfinite(result.history["train_loss"]).all()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9 GiB"),
        RuntimeError("CUDA out of memory. Tried to allocate 9"),
    ],
)
def test_out_of_memory_gives_advice(text, monkeypatch, error):
    model = importlib.import_module("minillm.numpy_nn.models").Bigram

    def full(*_, **__):
        raise error

    monkeypatch.setattr(model, "loss_and_grads", full)
    with pytest.raises(
        MemoryError, match=r"batch_size = 4 does not fit.*accumulate = 2.*\(.*allocate 9"
    ):
        run(**FEW, data=text)


def test_other_errors_stay_as_they_are(text, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("something else")

    monkeypatch.setattr(loop, "gradients", broken)
    with pytest.raises(RuntimeError, match="^something else$"):
        run(**FEW, data=text)


@pytest.mark.parametrize(("name", "which"), [("best", 3), ("last", 4)])
def test_a_full_disk_leaves_the_last_checkpoint(text, out, monkeypatch, name, which):
    config = TrainConfig.make(**FEW, data=text, out=out)
    save, saves = weights.save, []

    def counted(*arguments, **options):
        saves.append(arguments)
        save(*arguments, **options)

    def full(number):
        if len(saves) == which:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(weights, "save", counted)
    monkeypatch.setattr(os, "fsync", full)
    message = rf"{name}\.safetensors could not be written: No space.*is as it was"
    with pytest.raises(OSError, match=message) as caught:
        run(config)
    assert caught.value.errno == errno.ENOSPC
    assert weights.load_extra(os.path.join(out, "last.safetensors"))["step"] == 4
    assert [name for name in os.listdir(out) if name.endswith(".part")] == []
    monkeypatch.undo()
    whole = run(**FEW, data=text)
    np.testing.assert_equal(run(config).history["train_loss"], whole.history["train_loss"])


def test_a_full_disk_while_the_log_is_written(text, out, monkeypatch):
    config = TrainConfig.make(**FEW, data=text, out=out)

    def full(row, line=folder._line):
        if row["step"] == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return line(row)

    monkeypatch.setattr(folder, "_line", full)
    with pytest.raises(OSError, match=r"log\.csv could not be written: No space"):
        run(config)
    monkeypatch.undo()
    whole = run(**FEW, data=text)
    np.testing.assert_equal(run(config).history["train_loss"], whole.history["train_loss"])


def test_one_run_at_a_time_in_a_folder(text, out):
    config = TrainConfig.make(**FEW, data=text, out=out)
    first = RunFolder(config)
    with pytest.raises(BlockingIOError, match="another run is at work there"):
        run(config)
    first.close()
    run(config)


def shrinks(path, out):
    whole = read(path)
    write(path, whole[:1000])


def changes(path, out):
    whole = read(path)
    write(path, whole[::-1])


def has_another_model(path, out):
    run(**{**FEW, "model": "mlp", "d_model": 4, "d_hidden": 4}, data=path, out=f"{out}-other")
    os.replace(f"{out}-other/last.safetensors", f"{out}/last.safetensors")


def is_cut_off(path, out):
    with open(f"{out}/last.safetensors", "r+b") as file:
        file.truncate(200)


def has_no_config(path, out):
    write(f"{out}/config.json", "{")


def has_no_checkpoint(path, out):
    os.remove(f"{out}/last.safetensors")


@pytest.mark.parametrize(
    ("happens", "options", "message"),
    [
        (shrinks, {}, r"data = '.*text.txt': tokens to train on = 900, expected 1080, as when"),
        (changes, {}, r"data = '.*text.txt': sha256 = \w+, expected \w+, as when the checkpoint"),
        (has_another_model, {}, r"last\.safetensors holds MLPConfig\(.*expected BigramConfig\("),
        (is_cut_off, {}, r"last\.safetensors is no whole safetensors file"),
        (has_no_config, {}, r"config\.json: text = '\{', expected JSON"),
        (has_no_checkpoint, {}, r"resume = True, but .*last\.safetensors is not there"),
        (None, {"n_steps": 24}, r"n_steps = 24, expected 12 as in .*config\.json.*another folder"),
        (None, {"lr": 0.5}, r"lr = 0\.5, expected 0\.001 as in"),
        (None, {"half": "torch"}, r"half = 'torch', expected 'numpy'"),
        (
            None,
            {"model": "mlp", "d_model": 4},
            r"model = 'mlp', expected 'bigram'|d_model = 4, exp",
        ),
        (None, {"out": None}, r"resume = True with out = None, expected the folder"),
    ],
)
def test_what_cannot_go_on(text, out, happens, options, message):
    common = {**FEW, "data": text, "out": out}
    run(**common)
    if happens:
        happens(text, out)
    before = {name: os.stat(os.path.join(out, name)).st_mtime_ns for name in os.listdir(out)}
    with pytest.raises(ValueError, match=message):
        train(TrainConfig.make(**common | options), resume=True, progress=False)
    saved = [n for n in before if n.endswith(".safetensors")]
    assert all(os.stat(os.path.join(out, n)).st_mtime_ns == before[n] for n in saved)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"data": "tinyshakespear"},
            r"data = 'tinyshakespear', expected a text file.*tinyshakespeare",
        ),
        ({"data": "banking77"}, r"data = 'banking77' is a list of Labeled, expected text"),
        ({"held_out": 0.001}, r"held_out = 0\.001 leaves 2 tokens|leaves [01] tokens .*at least 2"),
        (
            {"context_length": 2000},
            r"has 1,080 tokens to train on, expected more than window = 2000",
        ),
        ({"tokenizer": "chars"}, r"tokenizer = 'chars', expected 'char', 'word', 'gpt2', 'bpe:N'"),
        ({"tokenizer": "bpe:"}, r"tokenizer = 'bpe:', expected"),
        ({"half": "torch", "device": "cud"}, r"device = 'cud', expected one that PyTorch has"),
        ({"half": "torch", "checkpointing": True}, r"checkpointing = True, expected False: Bigram"),
    ],
)
def test_bad_input(text, options, message):
    if options.get("held_out"):
        write(text, "ab" * 400)
    with pytest.raises((ValueError, OSError), match=message):
        run(**{**FEW, "data": text} | options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_head": 3}, ValueError, r"n_head = 3: model = 'bigram' has no such option"),
        ({"vocab_size": 3}, ValueError, r"vocab_size = 3: model = 'bigram' has no such option"),
        ({"model": "original"}, ValueError, r"model = 'original', expected one of \('bigram'"),
        (
            {"model": "gpt2", "n_head": 3},
            ValueError,
            r"d_model = 128, expected a multiple of n_head",
        ),
        (
            {"model": "gpt2", "kind": "encoder"},
            ValueError,
            r"kind = 'encoder': model = 'gpt2' has no",
        ),
        ({"lr": -1.0}, ValueError, r"lr = -1, expected 0 <= lr"),
        ({"lr": "fast"}, TypeError, r"lr = 'fast', expected a number"),
        ({"n_steps": 0}, ValueError, r"n_steps = 0, expected a positive integer"),
        ({"n_steps": 1.5}, TypeError, r"n_steps = 1\.5, expected a positive integer"),
        ({"seed": -1}, ValueError, r"seed = -1, expected 0 <= seed"),
        ({"seed": 0.5}, TypeError, r"seed = 0\.5, expected"),
        ({"n_warmup": 12}, ValueError, r"n_warmup = 12, expected less than n_steps = 12"),
        ({"schedule": "wsd", "n_decay": 13}, ValueError, r"n_decay = 13, expected at most 12"),
        ({"n_decay": 3}, ValueError, r"n_decay = 3, expected None unless schedule = 'wsd'"),
        ({"adam_lr": 0.1}, ValueError, r"adam_lr = 0\.1, expected None unless optimizer = 'muon'"),
        ({"output_lr": 0.1}, ValueError, r"output_lr = 0\.1, expected None unless optimizer = 'muon'"),
        ({"momentum": 0.5}, ValueError, r"momentum = 0\.5, expected optimizer = 'muon' or 'sgd'"),
        ({"model": "gpt2", "by_head": True}, ValueError, r"by_head = True, expected optimizer ="),
        (
            {"optimizer": "muon", "model": "lstm", "by_head": True},
            ValueError,
            r"by_head = True, expected False with model = 'lstm'",
        ),
        ({"optimizer": "sgd", "beta2": 0.9}, ValueError, r"beta2 = 0\.9, expected optimizer ="),
        ({"accumulate": 3}, ValueError, r"accumulate = 3, expected a divisor of batch_size = 4"),
        ({"held_out": 0}, ValueError, r"held_out = 0\.0, expected more than 0"),
        ({"held_out": 1.0}, ValueError, r"held_out = 1, expected 0 <= held_out < 1"),
        ({"clip": 0.0}, ValueError, r"clip = 0\.0, expected more than 0, or None"),
        ({"precision": "bfloat16"}, ValueError, r"precision = 'bfloat16', expected half = 'torch'"),
        ({"compile": True}, ValueError, r"compile = True, expected half = 'torch'"),
        ({"device": "cuda"}, ValueError, r"device = 'cuda', expected half = 'torch'"),
        ({"compile": 1}, TypeError, r"compile = 1, expected True or False"),
        (
            {"model": "gpt2", "window": 9},
            ValueError,
            r"window = 9, expected at most context_length = 8",
        ),
        ({"schedule": "step"}, ValueError, r"schedule = 'step', expected one of"),
        ({"data": 3}, TypeError, r"data = 3, expected a str"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        TrainConfig.make(**{**FEW, "data": "-"} | options)


@pytest.mark.parametrize("options", [{}, {"model": "llama", "n_kv_head": 2, "clip": None},
                                     {"optimizer": "muon", "schedule": "wsd", "window": 32}])  # fmt: skip
def test_options_come_back_from_json(options):
    config = TrainConfig.make(data="a.txt", **options)
    assert TrainConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "expected JSON"), ("[]", "expected a JSON object"), ("{}", "data is missing"),
     ('{"data": "a", "n_step": 3}', "n_step = 3: model = 'gpt2' has no such option")],
)  # fmt: skip
def test_json_that_is_no_config(text, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_json(text)


def test_a_folder_of_something_else_is_left_alone(text, tmp_path):
    """A folder of Hugging Face's, say, has a config.json and a tokenizer.json too."""
    folder = tmp_path / "gpt2"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match=r"holds config\.json, but no training run, expected a new"):
        run(**FEW, data=text, out=str(folder))
    assert {(folder / name).read_text() for name in ("config.json", "tokenizer.json")} == {
        '{"model_type": "gpt2"}'
    }


def test_the_best_model_of_another_run_is_left_alone(text, out):
    """Also where that run was killed before its first checkpoint."""
    run(**FEW, data=text, out=out)
    has_no_checkpoint(text, out)
    best = Path(out, "best.safetensors")
    before = best.read_bytes()
    with pytest.raises(ValueError, match=r"lr = 0\.5, expected 0\.001 as in"):
        run(**FEW, data=text, out=out, lr=0.5)
    assert best.read_bytes() == before
    run(**FEW, data=text, out=out)  # the same one begins again


def test_a_default_that_is_said_is_the_same_run(text, out):
    common = FEW | {"model": "mlp", "data": text, "out": out}
    run(**common)
    assert run(**common, d_model=128).step == 12
    with pytest.raises(ValueError, match=r"d_model = 8, expected 128 as in"):
        run(**common, d_model=8)


def test_an_empty_text_and_a_file_as_folder(text, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    with pytest.raises(ValueError, match=r"data = '.*empty\.txt' is empty, expected a text"):
        run(**FEW, data=str(empty))
    with pytest.raises(OSError, match=r"out = '.*empty\.txt', expected a folder.*: File exists"):
        run(**FEW, data=text, out=str(empty))


def test_a_config_is_needed():
    with pytest.raises(TypeError, match="config is a dict, expected a TrainConfig"):
        train({"data": "a"})
