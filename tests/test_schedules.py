"""The schedules: PyTorch's and nanoGPT's where they coincide, and what their docstrings promise."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.schedules import cosine, linear, wsd

N = 20
properties = settings(deadline=None, max_examples=100, derandomize=True, database=None)


def own_of_torch(make, n_steps):
    """The rates that one of PyTorch's schedulers sets, from a peak of 1, and the one after."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(n_steps + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_without_warmup_as_in_pytorch(floor):
    schedulers = torch.optim.lr_scheduler
    steps = range(N + 1)
    assert [cosine(step, n_steps=N, floor=floor) for step in steps] == pytest.approx(
        own_of_torch(lambda o: schedulers.CosineAnnealingLR(o, T_max=N, eta_min=floor), N)
    )
    assert [linear(step, n_steps=N, floor=floor) for step in steps] == pytest.approx(
        own_of_torch(lambda o: schedulers.LinearLR(o, 1.0, floor, total_iters=N), N)
    )


@pytest.mark.parametrize("n_warmup", [1, 4])
def test_warmup_as_in_pytorch(n_warmup):
    """One of PyTorch's schedulers after another, each over its own stretch."""
    schedulers = torch.optim.lr_scheduler

    def warm_up(optimizer):
        first = 1 / (n_warmup + 1)
        return schedulers.LinearLR(optimizer, first, 1.0, total_iters=n_warmup)

    expected = own_of_torch(warm_up, n_warmup)
    for schedule in (
        lambda step: cosine(step, n_steps=N, n_warmup=n_warmup),
        lambda step: linear(step, n_steps=N, n_warmup=n_warmup),
        lambda step: wsd(step, n_steps=N, n_warmup=n_warmup, n_decay=5),
    ):
        assert [schedule(step) for step in range(n_warmup + 1)] == pytest.approx(expected)

    decay = own_of_torch(lambda o: schedulers.LinearLR(o, 1.0, 0.0, total_iters=5), 5)
    for step in range(N + 1):
        stable = n_warmup <= step <= N - 5
        share = wsd(step, n_steps=N, n_warmup=n_warmup, n_decay=5)
        if step >= n_warmup:
            assert share == pytest.approx(1.0 if stable else decay[step - (N - 5)])


@properties
@given(n_warmup=st.integers(0, 9), more=st.integers(1, 20), step=st.integers(0, 40))
def test_cosine_as_in_nanogpt(n_warmup, more, step):
    """The function get_lr of nanoGPT's train.py, with its names for the arguments."""
    warmup_iters, lr_decay_iters, learning_rate, min_lr = n_warmup, n_warmup + more, 1.0, 0.1
    if step < warmup_iters:
        expected = learning_rate * (step + 1) / (warmup_iters + 1)
    elif step > lr_decay_iters:
        expected = min_lr
    else:
        ratio = (step - warmup_iters) / (lr_decay_iters - warmup_iters)
        coeff = 0.5 * (1.0 + math.cos(math.pi * ratio))
        expected = min_lr + coeff * (learning_rate - min_lr)
    share = cosine(step, n_steps=lr_decay_iters, n_warmup=warmup_iters, floor=min_lr)
    assert share == pytest.approx(expected)


@properties
@given(
    n_warmup=st.integers(0, 5),
    n_stable=st.integers(0, 5),
    n_decay=st.integers(1, 5),
    floor=st.sampled_from([0.0, 0.3]),
)
def test_shape(n_warmup, n_stable, n_decay, floor):
    n_steps = n_warmup + n_stable + n_decay
    options = {"n_steps": n_steps, "n_warmup": n_warmup, "floor": floor}
    for schedule in (cosine, linear, lambda step, **o: wsd(step, n_decay=n_decay, **o)):
        shares = [schedule(step, **options) for step in range(n_steps + 3)]
        peak = shares.index(max(shares))
        assert peak == n_warmup and shares[peak] == 1  # exactly
        assert shares[: peak + 1] == sorted(shares[: peak + 1])
        assert shares[peak:] == sorted(shares[peak:], reverse=True)
        assert all(share > floor for share in shares[peak:n_steps])  # no step is wasted
        assert shares[0] > 0
        assert shares[n_steps:] == [pytest.approx(floor, abs=1e-15)] * 3


def test_wsd_can_go_on():
    """Until the decay begins, a longer run is the same run."""
    short = [wsd(step, n_steps=30, n_decay=10, n_warmup=5) for step in range(20)]
    long = [wsd(step, n_steps=300, n_decay=10, n_warmup=5) for step in range(20)]
    assert short == long


BAD = [
    (lambda: cosine(-1, n_steps=5), ValueError, "step = -1"),
    (lambda: cosine("a", n_steps=5), TypeError, "step = 'a'"),
    (lambda: linear(0, n_steps=0), ValueError, "n_steps = 0, expected 1 <= n_steps"),
    (lambda: linear(0, n_steps=5, n_warmup=5), ValueError, "0 <= n_warmup < 5"),
    (lambda: cosine(0, n_steps=5, floor=1.0), ValueError, "0 <= floor < 1"),
    (lambda: wsd(0, n_steps=5, n_decay=0), ValueError, "n_decay = 0"),
    (lambda: wsd(0, n_steps=5, n_decay=4, n_warmup=2), ValueError, "1 <= n_decay < 4"),
    (lambda: wsd(0, n_steps="a", n_decay=4), TypeError, "n_steps = 'a'"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[b[2] for b in BAD])
def test_bad_input(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
