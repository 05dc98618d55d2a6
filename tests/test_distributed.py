"""Two processes, started by `torchrun`, train as one does: the same losses, the same files.

They run this file itself, as a script (see its end), and write down what came out.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import distributed

from minillm import weights
from minillm.batches import Batch
from minillm.config import RecurrentConfig, TransformerConfig
from minillm.distributed import World, start
from minillm.tokens import Windows, evaluation_windows
from minillm.torch_nn import optim
from minillm.torch_nn.models import build

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="a PyTorch without gloo",
)
SIZES = {"vocab_size": 11, "d_model": 8}
GPT = {**SIZES, "context_length": 6, "n_layer": 2, "n_head": 2}
CASES = {  # the model, its optimizer, the dtype
    "gpt2": (TransformerConfig.gpt2(**GPT), "adamw", torch.float64),
    "recipe": (TransformerConfig.recipe(**GPT), "muon", torch.float64),
    "lstm": (RecurrentConfig(**SIZES, d_hidden=6), "fused", torch.float32),
}
try:
    from torch.distributed.fsdp import fully_shard  # noqa: F401

    KINDS = ("ddp", "fsdp")
except ImportError:
    KINDS = ("ddp",)
TOKENS = np.arange(200) ** 2 % 11
B, T, N_STEP, SAVED = 4, 6, 4, 2
IGNORED = -100


def train(world, kind, case, folder=None, resume=None):
    """Some steps of training: -> losses and norms, also that of the whole text, and the end."""
    config, rule, dtype = CASES[case]
    if resume:
        model, saved = weights.load(resume, half="torch"), weights.load_extra(resume)
    else:
        model, saved = build(config, rng=torch.Generator().manual_seed(1)).to(dtype), {"step": 0}
    world.wrap(model, kind)
    optimizer = make(rule, model)
    if resume:
        state = {
            n.removeprefix("state."): torch.from_numpy(x) for n, x in saved.items() if "." in n
        }
        world.load_state(optimizer, state)
    windows = Windows(TOKENS, T, B, seed=2, rank=world.rank, world=world.size)
    losses, norms = [], []
    for step in range(saved["step"], N_STEP):
        optimizer.zero_grad()
        batch = windows.batch(step).to("cpu")
        half = len(batch.ids) // 2
        if step % 2:  # in two parts
            with world.accumulating(model):
                loss = model.loss_and_grads(
                    Batch(batch.ids[:half], batch.targets[:half]), scale=0.5
                )
            last = model.loss_and_grads(Batch(batch.ids[half:], batch.targets[half:]), scale=0.5)
            loss = (loss + last) / 2
        else:
            loss = model.loss_and_grads(batch)
        norms.append(float(optim.clip_grad_norm(optimizer.params, 0.1)))
        optimizer.step(0.02)
        losses.append(world.mean(loss))
        if step + 1 == SAVED and folder:
            path = folder / f"{case}.{kind}.{world.size}.safetensors"
            state = {f"state.{n}": x for n, x in world.state(optimizer).items()}
            model_of_all = world.full(model)
            if world.is_main:
                weights.save(model_of_all, path, extra={"step": SAVED, **state})
            world.barrier()
    end = {n: p.tolist() for n, p in world.full(model).named_parameters()}
    return {"losses": losses, "norms": norms, "all": evaluate(world, model), "end": end}


def make(rule, model):
    """An optimizer."""
    params = list(model.parameters())
    if rule == "muon":
        matrices, rest = (
            [p for p in params if (len(p.shape) == 2) is kind] for kind in (True, False)
        )
        return optim.Together([(optim.Muon(matrices), 1.0), (optim.AdamW(rest), 0.2)])
    return optim.AdamW(params, fused=rule == "fused")


def evaluate(world, model):
    """The mean loss on the whole text, of which each process reads its share."""
    total, count = 0.0, 0
    for batch in evaluation_windows(TOKENS[:85], T, 4, rank=world.rank, world=world.size):
        n = int((batch.targets != IGNORED).sum())
        batch = batch.to("cpu")
        if n:
            total, count = total + n * float(model.loss(batch)), count + n
        else:  # with FSDP each must run the model as often as the others
            model.logits(batch)
    total, count = world.sum(total, count)
    assert count == 84
    return total / count


def run(*args, folder, n=2, timeout=120):
    """Let `torchrun` start this file twice."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}",
        __file__, *args, str(folder),
    ]  # fmt: skip
    root = Path(__file__).parent.parent
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one process gives, what two give, and what each gives that goes on where the other was."""
    folder = tmp_path_factory.mktemp("runs")
    alone = World("cpu")
    one = {case: train(alone, "ddp", case, folder) for case in CASES}
    done = run("train", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    two = [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]
    back = {
        (case, kind): train(alone, "ddp", case, resume=folder / f"{case}.{kind}.2.safetensors")
        for case in CASES
        for kind in KINDS
    }
    return SimpleNamespace(one=one, two=two, back=back, folder=folder)


def near(found, expected, case):
    """Whether numbers agree."""
    tol = 1e-10 if CASES[case][2] == torch.float64 else 1e-6
    return np.allclose(found, expected, rtol=tol, atol=tol)


each_case = pytest.mark.parametrize("case", CASES)
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_case
@each_kind
def test_two_processes_train_as_one(results, case, kind):
    one, two = results.one[case], results.two[0][f"{case} {kind}"]
    assert len(two["losses"]) == N_STEP and one["losses"][-1] < one["losses"][0]
    assert min(one["norms"]) > 0.1  # so that all were clipped
    for name in ("losses", "norms", "all"):
        assert near(two[name], one[name], case), name
    assert two["end"].keys() == one["end"].keys()
    assert all(near(two["end"][n], one["end"][n], case) for n in one["end"])
    other = results.two[1][f"{case} {kind}"]
    assert other["end"] == {} and all(other[n] == two[n] for n in ("losses", "norms", "all"))


@each_case
@each_kind
def test_two_go_on_where_one_was(results, case, kind):
    found = results.two[0][f"{case} {kind} resumed"]
    for name in ("losses", "norms"):
        assert near(found[name], results.one[case][name][SAVED:], case), name
    assert near(found["all"], results.one[case]["all"], case)


@each_case
@each_kind
def test_one_goes_on_where_two_were(results, case, kind):
    found = results.back[case, kind]
    for name in ("losses", "norms"):
        assert near(found[name], results.one[case][name][SAVED:], case), name


@each_case
def test_checkpoints_do_not_tell_how_many_wrote_them(results, case):
    one = weights.load_extra(results.folder / f"{case}.ddp.1.safetensors")
    for kind in KINDS:
        two = weights.load_extra(results.folder / f"{case}.{kind}.2.safetensors")
        assert two.keys() == one.keys()
        shapes = {n: np.shape(x) for n, x in two.items()}
        assert shapes == {n: np.shape(x) for n, x in one.items()}


def test_rows_are_shared_without_overlap(results):
    """The windows start at different places, so that their rows differ."""
    windows = Windows(TOKENS, T, B, seed=2)
    for step, shares in enumerate(zip(*(two["rows"] for two in results.two), strict=True)):
        rows = [tuple(row) for share in shares for row in share]
        assert len(rows) == B and sorted(rows) == sorted(
            map(tuple, windows.batch(step).ids.tolist())
        )


def test_each_has_its_number_and_its_share(results):
    assert [(two["rank"], two["size"], two["main"]) for two in results.two] == [
        (0, 2, True), (1, 2, False),
    ]  # fmt: skip
    if "fsdp" in KINDS:
        whole = sum(p.numel() for p in build(CASES["gpt2"][0]).parameters())
        shares = [two["n_local"] for two in results.two]
        assert sum(shares) == whole and max(shares) < 0.6 * whole


# When one of them is no more.


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("what", "message"),
    [("killed", f"Signal {signal.SIGKILL.value}|SIGKILL"), ("silent", "(?i)timed? ?out")],
)
def test_the_other_does_not_wait_forever(tmp_path, what, message):
    """A process is killed, or says no more: `torchrun` ends the run, with what happened."""
    begun = time.monotonic()
    done = run(what, folder=tmp_path)
    assert done.returncode != 0 and re.search(message, done.stderr), done.stderr
    assert time.monotonic() - begun < 60
    for rank in (0, 1):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"{rank}.pid").read_text()), 0)


# Alone, and what cannot be.


def test_alone_all_of_it_does_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = start("cpu")
    model = build(CASES["gpt2"][0])
    assert world.wrap(model, "fsdp", precision="bfloat16") is model and world.full(model) is model
    assert model._precision == torch.bfloat16
    assert world.sum(1, 2.5) == [1.0, 2.5] and world.mean(torch.tensor(3.0)) == 3
    world.barrier()
    world.close()
    assert not distributed.is_initialized()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: World("cpu").wrap(None, "pipeline"),
            "kind = 'pipeline', expected 'ddp' or 'fsdp'",
        ),
        (lambda: start("mps"), "device = 'mps' with 2 processes, expected 'cpu' or 'cuda'"),
        (lambda: start("cpu", timeout=0), "timeout = 0"),
        (lambda: start(), r"LOCAL_RANK = 1, expected less than the number of GPUs, 1"),
    ],
)
def test_what_cannot_be(monkeypatch, call, message):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=message):
        call()


def test_a_pytorch_without_fsdp2(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", SimpleNamespace())
    with pytest.raises(ValueError, match=r"kind = 'fsdp', expected 'ddp': PyTorch .* 2\.6 has"):
        World("cpu", 0, 2).wrap(build(CASES["gpt2"][0]), "fsdp")


# The page of numbers.

MODELS = {
    "124 M": TransformerConfig.gpt2(
        vocab_size=50257, context_length=1024, n_layer=12, n_head=12, d_model=768
    ),
    "7 B": TransformerConfig.llama(
        vocab_size=32000, context_length=2048, n_layer=32, n_head=32, d_model=4096, d_ff=11008
    ),
}
F, NEAR, FAR, OFFICE = 400e12, 450e9, 50e9, 1.25e9  # operations and bytes a second


def numbers():
    """What the page says, as it says it."""
    for name, c in MODELS.items():
        with torch.device("meta"):
            model = build(c)
        N, block = (sum(p.numel() for p in m.parameters()) for m in (model, model.blocks[0]))
        parts = " | ".join(f"{gb(k * N)}" for k in (4, 4, 8, 16))
        yield f"| {name}, $N$ = {N:,} | {parts} |"
        rows = 8 if name == "124 M" else 1
        n_token = rows * c.context_length
        kept = [k * n_token * c.d_model * c.n_layer for k in (34, 2)]
        kept = " | ".join(map(gb, [*kept, 4 * n_token * c.vocab_size]))
        yield f"| {name} | {rows} × {c.context_length:,} tokens | {kept} |"
        ddp, fsdp = (passes * 7 / 8 * 4 * N for passes in (2, 3))
        computing = ms(6 * N * n_token / F)
        yield (
            f"| {name}, {n_token:,} tokens each | {gb(16 * N)} | {gb(2 * N)} "
            f"| {gb(ddp)} in {ms(ddp / NEAR)} | {gb(fsdp)} in {ms(fsdp / NEAR)} | {computing} |"
        )
    yield f"two of them are {gb(2 * 4 * block)} of weights"
    bounds = [[f"{k * F / b:,.0f}" for k in (4 / 3, 2)] for b in (NEAR, FAR, OFFICE)]
    yield "Within a machine that is {} and {} tokens, between machines {} and {},".format(
        *bounds[0], *bounds[1]
    )
    yield "10 Gbit/s, 1.25 GB/s, {} and {}.".format(*bounds[2])
    sent = 3 * 999 / 1000 * 4 * N
    yield f"each keeps {gb(16 * N / 1000)}, and"
    yield f"{gb(sent)} take {ms(sent / FAR)}. To hide them, {2 * F / FAR:,.0f} tokens"
    yield f"a batch of {1000 * 2 * F / FAR / 1e6:.0f} million tokens"
    shared = 2 * 124 / 125 * 4 * N / 8
    yield f"$16N/8$ = {gb(2 * N)}, the fetching"
    yield f"averaged: {gb(shared)} in {ms(shared / FAR)}, less than the {computing} of computing 2,048"
    values = 2 * 2048 * c.d_model  # bytes
    cut = c.n_layer * 4 * 2 * 7 / 8 * values
    yield f"that is {gb(cut)} in {c.n_layer} blocks, {ms(cut / NEAR)} within a machine and {ms(cut / FAR)}"
    yield f"{values / 1e6:.1f} MB for each 2,048 tokens and border"
    yield f"{7 / 32:.0%} with $p = 8$ and $m = 32$".replace("%", " %")
    yield f"fails every {5 * 365.25 * 24 / 1000:.0f} hours"


def gb(n_byte):
    return f"{n_byte / 1e9:.2f} GB"


def ms(seconds):
    return f"{1000 * seconds:,.1f} ms"


def test_numbers_on_the_page():
    page = Path(__file__).parent.parent / "book/api/devices.md"
    text = " ".join(page.read_text("utf-8").split())
    assert [number for number in numbers() if number not in text] == []


# What each of the two does.


def main(what, folder):
    """Run in each process."""
    torch.set_num_threads(1)
    folder = Path(folder)
    (folder / f"{os.environ['RANK']}.pid").write_text(str(os.getpid()))
    while len(list(folder.glob("*.pid"))) < 2:  # so that the time-out can be short
        time.sleep(0.05)
    world = start("cpu", timeout=4 if what == "silent" else 100)
    if what == "train":
        found = {"rank": world.rank, "size": world.size, "main": world.is_main}
        for case in CASES:
            one = folder / f"{case}.ddp.1.safetensors"
            for kind in KINDS:
                found[f"{case} {kind}"] = train(world, kind, case, folder)
                found[f"{case} {kind} resumed"] = train(world, kind, case, resume=one)
        windows = Windows(TOKENS, T, B, seed=2, rank=world.rank, world=world.size)
        found["rows"] = [windows.batch(step).ids.tolist() for step in range(N_STEP)]
        if "fsdp" in KINDS:
            model = world.wrap(build(CASES["gpt2"][0]), "fsdp")
            found["n_local"] = sum(p.to_local().numel() for p in model.parameters())
        (folder / f"{world.rank}.json").write_text(json.dumps(found))
    world.barrier()
    if world.rank == 1 and what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if world.rank == 1 and what == "silent":
        time.sleep(100)
    world.barrier()
    world.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
