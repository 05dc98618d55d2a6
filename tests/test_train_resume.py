"""A run that is killed at any moment, or stopped, goes on as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from minillm import weights
from minillm.config import TrainConfig
from minillm.tokens import Windows
from minillm.train import train

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SMALL = {"n_layer": 1, "n_head": 2, "d_model": 8}
TINY = {
    "half": "numpy", "n_steps": 60, "batch_size": 2, "context_length": 8, "log_every": 3,
    "eval_every": 10, "save_every": 4, **SMALL,
}  # fmt: skip

# Trains in children, each of which kills itself at a random moment: at the n-th call or return of
# any function, so that a fast machine is no different from a slow one; every second child at one
# of the calls that write a file. One interpreter, which forks, is started for all.
KILLED = """
import os, pathlib, random, signal, sys
from minillm.config import TrainConfig
from minillm.train import train

straight, killed = (TrainConfig.from_json(pathlib.Path(p).read_text()) for p in sys.argv[1:3])
rng = random.Random(0)

def run(config, last=None, places=None):
    n = 0
    def count(frame, event, what):
        nonlocal n
        if places is None or frame.f_code.co_name in places:
            n += 1
            if n == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(count)
    train(config, progress=False)
    sys.setprofile(None)
    return n

def other(**options):
    return TrainConfig.make(**straight.flat() | {"out": f"{straight.out}-{rng.random()}"} | options)

train(straight, progress=False)  # imports what is imported late
most = {}
for places in (None, ("write", "_write_text", "replacing")):
    begins = run(other(n_steps=1), places=places)
    most[places] = begins + (run(other(), places=places) - begins) // 24
for kill in range(20):
    places = list(most)[kill % 2]
    child = os.fork()
    if child == 0:
        run(killed, rng.randrange(1, most[places]), places)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        sys.exit(f"after {kill} kills it was done: {status}")
    print("part" if list(pathlib.Path(killed.out).glob("*.part")) else "whole", flush=True)
train(killed, progress=False)
"""


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    letters = np.random.default_rng(0).choice(list("abcd \n"), 1500)
    path.write_text("".join(letters))
    return str(path)


def lines(folder):
    """The log without its column of seconds, as text: equal to the last bit, or not."""
    rows = [line.split(",") for line in (Path(folder) / "log.csv").read_text().splitlines()]
    return [row[:2] + row[3:] for row in rows]


def assert_same_run(a, b):
    assert lines(a) == lines(b)
    for name in ("last.safetensors", "best.safetensors"):
        extras = [weights.load_extra(Path(folder) / name) for folder in (a, b)]
        for extra in extras:
            extra.pop("seconds", None)
        np.testing.assert_equal(*extras)
        one, two = (dict(weights.load(Path(f) / name).named_parameters()) for f in (a, b))
        np.testing.assert_equal(*({n: p.data for n, p in x.items()} for x in (one, two)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_killed_twenty_times(text, tmp_path):
    paths = []
    for name in ("straight", "killed"):
        config = TrainConfig.make(
            **TINY | {"n_steps": 120}, data=text, dropout=0.1, out=str(tmp_path / name)
        )
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(config.to_json())
    command = [sys.executable, "-c", KILLED, *map(str, paths)]
    done = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split().count("part") >= 5  # killed while a file was being written
    assert_same_run(tmp_path / "straight", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob("*.part"))


CONFIGS = {
    "adamw, dropout, parts": {"half": "torch", "dropout": 0.2, "accumulate": 2},
    "muon": {"half": "torch", "model": "recipe", "optimizer": "muon", "schedule": "wsd"},
    "muon, by hand": {"half": "numpy", "model": "recipe", "optimizer": "muon"},
    "sgd, lstm": {"half": "torch", "model": "lstm", "optimizer": "sgd", "d_hidden": 8, "n_head": None},
    "fused": {"half": "torch", "fused": True, "clip": None, "z_loss": 1e-3},
    "bfloat16": {"half": "torch", "precision": "bfloat16"},
    "float16": {"half": "torch", "precision": "float16"},
    "checkpointing": {"half": "torch", "dropout": 0.2, "checkpointing": True},
    "words": {"half": "numpy", "tokenizer": "word"},
    "byte pairs": {"half": "numpy", "tokenizer": "bpe:260", "label_smoothing": 0.1},
}  # fmt: skip


def stopping_at(batch, last):
    """`Windows.batch` that crashes at a step."""

    def crash(self, step):
        if step == last:
            raise ZeroDivisionError
        return batch(self, step)

    return crash


@pytest.mark.parametrize("name", CONFIGS)
def test_same_losses_after_a_crash(text, tmp_path, monkeypatch, name):
    options = {**TINY, "n_steps": 20, **CONFIGS[name], "data": text}
    options = {
        name: value for name, value in options.items() if value is not None or name == "clip"
    }
    straight, crashed = (
        TrainConfig.make(**options, out=str(tmp_path / n)) for n in ("straight", "crashed")
    )
    try:
        train(straight, progress=False)
    except ValueError as error:
        pytest.skip(str(error))  # an older PyTorch has no float16 on the CPU
    batch = Windows.batch
    for last in (3, 10, 17):  # before the first checkpoint, and between two lines of the log
        with monkeypatch.context() as patch:
            patch.setattr(Windows, "batch", stopping_at(batch, last))
            with pytest.raises(ZeroDivisionError):
                train(crashed, progress=False)
    result = train(crashed, progress=False)
    assert_same_run(straight.out, crashed.out)
    assert result.history["step"] == [3, 6, 9, 10, 12, 15, 18, 20]
    assert len(lines(crashed.out)) == 9


def test_a_finished_run_is_only_loaded(text, tmp_path):
    config = TrainConfig.make(**TINY, data=text, out=str(tmp_path / "run"))
    first = train(config, progress=False)
    before = (tmp_path / "run/last.safetensors").read_bytes()
    again = train(config, resume=True, progress=False)
    assert (again.step, again.stopped) == (60, None)
    np.testing.assert_equal(again.history, first.history)
    assert (tmp_path / "run/last.safetensors").read_bytes() == before


@pytest.mark.parametrize("cut_off", ["6", "63,1008,0.1"])
def test_a_line_that_was_cut_off_is_left_out(text, tmp_path, cut_off):
    config = TrainConfig.make(**TINY, data=text, out=str(tmp_path / "run"))
    train(config, progress=False)
    log = tmp_path / "run/log.csv"
    whole = log.read_text()
    log.write_text(whole + cut_off)
    train(config, progress=False)
    assert log.read_text() == whole


def test_a_moved_folder_goes_on(text, tmp_path):
    config = TrainConfig.make(**TINY, data=text, out=str(tmp_path / "run"))
    train(config, progress=False)
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = TrainConfig.make(**config.flat() | {"out": str(tmp_path / "moved"), "save_every": 7})
    assert train(moved, resume=True, progress=False).step == 60


def has_fsdp():
    try:
        from torch.distributed.fsdp import fully_shard  # noqa: F401
    except ImportError:
        return False
    return torch.distributed.is_available() and torch.distributed.is_gloo_available()


@pytest.mark.skipif(not has_fsdp(), reason="a PyTorch without FSDP2 or gloo")
def test_two_processes_go_on_where_one_was(text, tmp_path, monkeypatch):
    """Each with a share of the model; and what they leave is loaded as if one had written it."""
    options = {**TINY, "half": "torch", "device": "cpu", "n_steps": 20, "data": text}
    straight, shared = (
        TrainConfig.make(**options, model="recipe", optimizer="muon", out=str(tmp_path / name))
        for name in ("straight", "shared")
    )
    expected = train(straight, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(Windows, "batch", stopping_at(Windows.batch, 10))
        with pytest.raises(ZeroDivisionError):
            train(shared, progress=False)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "minillm.train", "--resume", "--out", shared.out, "--parallel", "fsdp"]
    done = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step     20") == 1  # one of them speaks
    result = train(shared, progress=False)  # which loads the end
    for name in ("train_loss", "grad_norm", "val_loss"):
        np.testing.assert_allclose(result.history[name], expected.history[name], rtol=1e-4)
    assert result.history["step"] == expected.history["step"]


def begun(command, folder, step):
    """A process that trains, once its log has come to a step."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        if (
            process.poll() is not None
            or (folder / "log.csv").exists()
            and len(lines(folder)) > step
        ):
            break
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_checkpoint(text, tmp_path, number):
    config = TrainConfig.make(**{**TINY, "n_steps": 1_000_000, "save_every": 1_000_000,
                                 "eval_every": 1_000_000}, data=text, out=str(tmp_path / "run"))  # fmt: skip
    (tmp_path / "config.json").write_text(config.to_json())
    command = [sys.executable, "-m", "minillm.train", "--config", str(tmp_path / "config.json")]
    process = begun(command, tmp_path / "run", 2)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    step = weights.load_extra(tmp_path / "run/last.safetensors")["step"]
    assert step > 5
    assert said.splitlines()[-1] == f"stopped at step {step}, saved: the same command goes on"
    assert int(lines(tmp_path / "run")[-1][0]) == step - step % 3


def test_a_second_ctrl_c_ends_it_at_once(text, tmp_path, monkeypatch):
    batch = Windows.batch

    def interrupted(self, step):
        if step == 10:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
        return batch(self, step)

    monkeypatch.setattr(Windows, "batch", interrupted)
    config = TrainConfig.make(**TINY, data=text, out=str(tmp_path / "run"))
    with pytest.raises(KeyboardInterrupt):
        train(config, progress=False)
    assert weights.load_extra(tmp_path / "run/last.safetensors")["step"] == 8
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_in_a_notebook_gives_the_result(text, monkeypatch):
    batch = Windows.batch

    def interrupted(self, step):
        if step == 10:
            signal.raise_signal(signal.SIGINT)
        return batch(self, step)

    monkeypatch.setattr(Windows, "batch", interrupted)
    result = train(TrainConfig.make(**TINY, data=text), progress=False)
    assert (result.step, result.stopped) == (11, signal.SIGINT)
    assert result.curve("train_loss")[0] == [3, 6, 9, 10]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
