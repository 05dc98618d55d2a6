"""Recurrent networks: PyTorch's own, differences, and what must hold of a state; in both halves."""

import numpy as np
import parity
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from minillm.batches import Batch
from minillm.config import LSTMEncoderDecoderConfig, RecurrentConfig
from minillm.numpy_nn import functional as by_hand_functional
from minillm.numpy_nn import optim as by_hand_optim
from minillm.numpy_nn import recurrent as by_hand
from minillm.numpy_nn.gradcheck import gradcheck, max_error
from minillm.torch_nn import functional as twin_functional
from minillm.torch_nn import optim as twin_optim
from minillm.torch_nn import recurrent as twin
from minillm.weights import copy

EXACT = 1e-10
KINDS = ["RNN", "LSTM"]
HALVES = {"numpy": by_hand, "torch": twin}
each_kind = pytest.mark.parametrize("kind", KINDS)
each_half = pytest.mark.parametrize("half", HALVES)
properties = settings(deadline=None, max_examples=40, derandomize=True, database=None)


def twins(kind, *args, seed=0, **options):
    """A layer or a model in both halves in float64, with the same random weights."""
    ours, theirs = (getattr(module, kind)(*args, **options) for module in HALVES.values())
    ours.to(np.float64)
    parity.randomize(ours, seed)
    copy(ours, theirs.to(torch.float64))
    return ours, theirs


def random_state(kind, rng, L, B, D):
    return tuple(rng.normal(size=(L, B, D)) for _ in range(1 + (kind == "LSTM")))


def run_by_hand(layer, x, state, dy, dstate, **options):
    """Outputs and gradients of the NumPy half, by name."""
    layer.zero_grad()
    (y, end), cache = layer.forward(x, state, **options)
    dx, dstart = layer.backward(dy, cache, dstate)
    found = {"y": y, "dx": dx}
    for i, (s, d) in enumerate(zip(end, dstart, strict=True)):
        found |= {f"state {i}": s, f"dstate {i}": d}
    return found | {f"d {name}": p.grad.copy() for name, p in layer.named_parameters()}


def run_in_torch(layer, x, state, dy, dstate, *, forward=None, **options):
    """The same by autograd; `forward` is called instead of the layer, if it uses its weights."""
    layer.zero_grad()
    x, *state = (torch.tensor(a, requires_grad=True) for a in (x, *state))
    y, end = (forward or layer)(x, tuple(state), **options)
    ends = [(s, torch.tensor(d)) for s, d in zip((y, *end), (dy, *dstate), strict=True)]
    torch.autograd.backward(*zip(*[e for e in ends if e[0].requires_grad], strict=True))
    found = {"y": y.detach(), "dx": parity.grad(x)}
    for i, (s, start) in enumerate(zip(end, state, strict=True)):
        found |= {f"state {i}": s.detach(), f"dstate {i}": start.grad}
    return found | {f"d {name}": parity.grad(p) for name, p in layer.named_parameters()}


class Library(torch.nn.Module):
    """`torch.nn.RNN` or `torch.nn.LSTM`, given our weights and called as we call ours."""

    def __init__(self, kind, ours):
        super().__init__()
        L = len(ours.cells)
        make = getattr(torch.nn, kind)
        self.layer = make(ours.d_in, ours.d_hidden, L, batch_first=True, dtype=torch.float64)
        self.names = {}
        with torch.no_grad():
            for i, cell in enumerate(ours.cells):
                for name, theirs in [("input.weight", "weight_ih"), ("hidden.weight", "weight_hh")]:
                    self.set(f"cells.{i}.{name}", f"{theirs}_l{i}", ours)
                self.set(f"cells.{i}.input.bias", f"bias_ih_l{i}", ours)
                split = getattr(self.layer, f"bias_hh_l{i}")  # two biases: what counts is their sum
                getattr(self.layer, f"bias_ih_l{i}").sub_(split)

    def set(self, name, theirs, ours):
        self.names[name] = getattr(self.layer, theirs)
        self.names[name].copy_(torch.tensor(dict(ours.named_parameters())[name].data))

    def named_parameters(self, **options):
        return super().named_parameters(**options) if options else self.names.items()

    def forward(self, x, state, lengths=None):
        one = state if len(state) > 1 else state[0]
        if lengths is None:
            y, end = self.layer(x, one)
        else:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            y, end = self.layer(packed, one)
            y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
        return y, end if len(state) > 1 else (end,)


@each_kind
@properties
@given(
    seed=st.integers(0, 2**32 - 1),
    B=st.integers(1, 4),
    T=st.integers(1, 6),
    sizes=st.tuples(*[st.integers(1, 4)] * 2),
    L=st.integers(1, 3),
    padded=st.booleans(),
)
def test_against_the_library(kind, seed, B, T, sizes, L, padded):
    rng = np.random.default_rng(seed)
    ours, theirs = twins(kind, *sizes, n_layer=L, seed=seed)
    x, dy = rng.normal(size=(B, T, sizes[0])), rng.normal(size=(B, T, sizes[1]))
    state, dstate = (random_state(kind, rng, L, B, sizes[1]) for _ in "ab")
    lengths = rng.integers(1, T + 1, B) if padded else None
    mask = by_hand.lengths_to_mask(lengths, T) if padded else None
    torch_mask = twin.lengths_to_mask(lengths, T) if padded else None
    packed = {"lengths": torch.tensor(lengths)} if padded else {}

    found = run_by_hand(ours, x, state, dy, dstate, mask=mask)
    parity.compare(found, run_in_torch(theirs, x, state, dy, dstate, mask=torch_mask), EXACT)
    library = run_in_torch(Library(kind, ours), x, state, dy, dstate, **packed)
    assert set(library) == set(found)
    parity.compare(found, {name: library[name] for name in found}, EXACT)


@each_kind
@pytest.mark.parametrize("variational", [False, True])
def test_against_differences(kind, variational):
    """Padding on either side and inside, dropout, a state that goes in and out."""
    rng = np.random.default_rng(0)
    options = {"n_layer": 2, "dropout": 0.4, "variational": variational}
    layer, _ = twins(kind, 3, 4, **options)
    mask = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
    x, dy = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5, 4))
    state, dstate = (random_state(kind, rng, 2, 4, 4) for _ in "ab")

    def f(_):
        drawn = np.random.default_rng(7)  # the same masks every time
        (y, end), _ = layer.forward(x, state, mask=mask, rng=drawn)
        return (y * dy).sum() + sum((s * d).sum() for s, d in zip(end, dstate, strict=True))

    drawn = np.random.default_rng(7)
    found = run_by_hand(layer, x, state, dy, dstate, mask=mask, rng=drawn)
    gradcheck(f, x, found["dx"])
    for i, s in enumerate(state):
        gradcheck(f, s, found[f"dstate {i}"])
    for name, p in layer.named_parameters():
        gradcheck(f, p.data, found[f"d {name}"])


@each_kind
def test_padding_on_either_side_changes_nothing(kind):
    """A text gives the same alone, before padding and after it; a text of padding keeps its state."""
    rng = np.random.default_rng(0)
    layer, _ = twins(kind, 3, 4, n_layer=2)
    x, noise = rng.normal(size=(1, 3, 3)), rng.normal(size=(3, 5, 3))
    state = random_state(kind, rng, 2, 3, 4)
    noise[0, :3], noise[1, 2:] = x, x
    mask = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
    (y, end), _ = layer.forward(noise, state, mask=mask)
    for i, where in [(0, slice(0, 3)), (1, slice(2, 5))]:
        (alone, last), _ = layer.forward(x, tuple(s[:, i : i + 1] for s in state))
        assert max_error(y[i, where], alone[0]) < EXACT
        for s, other in zip(end, last, strict=True):
            assert max_error(s[:, i], other[:, 0]) < EXACT
    assert not y[~mask].any()
    assert all((s[:, 2] == start[:, 2]).all() for s, start in zip(end, state, strict=True))


@each_kind
def test_two_halves_of_a_text(kind):
    """With state and gradient handed on they are the whole; without the gradient, truncated."""
    rng = np.random.default_rng(0)
    ours, theirs = twins(kind, 3, 4, n_layer=2)
    x, dy = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 6, 4))
    state, dstate = (random_state(kind, rng, 2, 2, 4) for _ in "ab")
    whole = run_by_hand(ours, x, state, dy, dstate)

    def in_two(truncated):
        ours.zero_grad()
        (y1, middle), first = ours.forward(x[:, :4], state)
        (y2, end), second = ours.forward(x[:, 4:], middle)
        dx2, dmiddle = ours.backward(dy[:, 4:], second, dstate)
        dx1, dstart = ours.backward(dy[:, :4], first, None if truncated else dmiddle)
        found = {"y": np.concatenate([y1, y2], 1), "dx": np.concatenate([dx1, dx2], 1)}
        for i, (s, d) in enumerate(zip(end, dstart, strict=True)):
            found |= {f"state {i}": s, f"dstate {i}": d}
        return found | {f"d {name}": p.grad.copy() for name, p in ours.named_parameters()}

    def in_torch(x, start, *, truncated):
        y1, middle = theirs(x[:, :4], start)
        y2, end = theirs(x[:, 4:], tuple(s.detach() for s in middle) if truncated else middle)
        return torch.cat([y1, y2], 1), end

    parity.compare(in_two(truncated=False), whole, EXACT)
    for truncated in (False, True):
        options = {"forward": in_torch, "truncated": truncated}
        other = run_in_torch(theirs, x, state, dy, dstate, **options)
        parity.compare(in_two(truncated), other, EXACT)
    cut = in_two(truncated=True)
    assert max_error(cut["dx"][:, 4:], whole["dx"][:, 4:]) < EXACT
    assert max_error(cut["dx"][:, :4], whole["dx"][:, :4]) > 1e-3


@each_kind
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0), (1, 1)], ids=str)
def test_empty_and_single(kind, shape):
    ours, theirs = twins(kind, 3, 4, n_layer=2)
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(*shape, 3)), rng.normal(size=(*shape, 4))
    state, dstate = (random_state(kind, rng, 2, shape[0], 4) for _ in "ab")
    for mask in (None, np.ones(shape, bool)):
        torch_mask = None if mask is None else torch.tensor(mask)
        found = run_by_hand(ours, x, state, dy, dstate, mask=mask)
        assert found["y"].shape == dy.shape
        parity.compare(found, run_in_torch(theirs, x, state, dy, dstate, mask=torch_mask), EXACT)
        if shape[1] == 0:
            assert all((found[f"state {i}"] == s).all() for i, s in enumerate(state))


@each_kind
@pytest.mark.parametrize("B", [1, 2])
def test_inputs_stay_as_they_are(kind, B):
    """Neither inputs nor cache are changed, whatever happens to the outputs: backward runs twice."""
    rng = np.random.default_rng(0)
    layer, _ = twins(kind, 3, 4, n_layer=2)
    x, dy = rng.normal(size=(B, 5, 3)), rng.normal(size=(B, 5, 4))
    state, dstate = (random_state(kind, rng, 2, B, 4) for _ in "ab")
    before = [a.copy() for a in (x, dy, *state, *dstate)]
    for mask in (None, np.arange(5) < np.array([[4], [2]])[:B]):
        (y, end), cache = layer.forward(x, state, mask=mask)
        for output in (y, *end):
            output.fill(np.nan)
        first, second = (layer.backward(dy, cache, dstate)[0] for _ in "ab")
        assert (first == second).all() and np.isfinite(first).all()
        for a, b in zip(before, (x, dy, *state, *dstate), strict=True):
            assert (a == b).all()


# Dropout.


@pytest.fixture
def masks(monkeypatch):
    """Both halves draw what a NumPy generator says; a list of all masks that were drawn."""
    drawn = []

    def mask(like, p, rng):
        drawn.append((rng.random(tuple(like.shape)) >= p) / (1 - p))
        return drawn[-1]

    monkeypatch.setattr(by_hand_functional, "dropout_mask", mask)
    monkeypatch.setattr(twin_functional, "dropout_mask", lambda *a: torch.tensor(mask(*a)))
    return drawn


@each_kind
@pytest.mark.parametrize("variational", [False, True])
def test_dropout_in_both_halves(kind, variational, masks):
    rng = np.random.default_rng(0)
    options = {"n_layer": 2, "dropout": 0.4, "variational": variational}
    ours, theirs = twins(kind, 3, 4, **options)
    x, dy = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 4))
    state, dstate = (random_state(kind, rng, 2, 2, 4) for _ in "ab")
    found = run_by_hand(ours, x, state, dy, dstate, rng=np.random.default_rng(7))
    other = run_in_torch(theirs, x, state, dy, dstate, rng=np.random.default_rng(7))
    parity.compare(found, other, EXACT)
    expected = [(2, 4), (2, 1, 3), (2, 4), (2, 1, 4)] if variational else [(2, 5, 3), (2, 5, 4)]
    assert [m.shape for m in masks] == 2 * expected
    parity.compare(run_by_hand(ours, x, state, dy, dstate), run_by_hand(
        twins(kind, 3, 4, n_layer=2)[0], x, state, dy, dstate), 0)  # fmt: skip


@each_kind
def test_variational_dropout_is_a_network_with_fewer_weights(kind, masks):
    """For one text, masks for all positions are columns of zeros in W and U: PyTorch agrees."""
    rng = np.random.default_rng(1)
    layer, _ = twins(kind, 6, 8, n_layer=2, dropout=0.5, variational=True)
    x, state = rng.normal(size=(1, 7, 6)), random_state(kind, rng, 2, 1, 8)
    (y, end), _ = layer.forward(x, state, rng=np.random.default_rng(3))
    (drop_h0, drop_x0, drop_h1, drop_x1) = masks
    for cell, drop_x, drop_h in zip(
        layer.cells, (drop_x0, drop_x1), (drop_h0, drop_h1), strict=True
    ):
        assert 0 < (drop_x == 0).mean() < 1 and 0 < (drop_h == 0).mean() < 1
        cell.input.weight.data *= drop_x[0]
        cell.hidden.weight.data *= drop_h[0]
    other, last = Library(kind, layer)(torch.tensor(x), tuple(map(torch.tensor, state)))
    assert max_error(y, other.detach()) < EXACT
    for s, theirs in zip(end, last, strict=True):
        assert max_error(s, theirs.detach()) < EXACT


@each_half
def test_which_features_are_dropped(half):
    """By its own generator: other features at each position, or the same for all [variational]."""
    for variational in (False, True):
        layer = HALVES[half].RNN(40, 3, dropout=0.5, variational=variational)
        x = np.ones((2, 6, 40), np.float32)
        if half == "numpy":
            (y, _), cache = layer.forward(x, rng=np.random.default_rng(0))
            dx, _ = layer.backward(np.ones_like(y), cache)
        else:
            x = torch.tensor(x, requires_grad=True)
            y, _ = layer(x, rng=torch.Generator().manual_seed(0))
            dx = torch.autograd.grad(y.sum(), x)[0].numpy()
        dropped = dx == 0  # (B, T, 40)
        assert 0.3 < dropped.mean() < 0.7
        assert (dropped == dropped[:, :1]).all() == variational
        assert (dropped[0] != dropped[1]).any()  # each text its own


# How layers start.


@each_half
def test_starting_weights(half):
    module, as_array = HALVES[half], lambda p: p.detach().numpy() if half == "torch" else p.data
    layer = module.LSTM(5, 7, n_layer=2)
    for cell in layer.cells:
        for block in as_array(cell.hidden.weight).reshape(4, 7, 7):
            assert max_error(block @ block.T, np.eye(7)) < 1e-5
        assert (as_array(cell.input.bias) == np.repeat([0, 1, 0, 0], 7)).all()
    assert not as_array(module.RNN(5, 7).cells[0].input.bias).any()


def test_orthogonal_weights_have_no_preferred_direction():
    """Uniform among the orthogonal matrices: entries have mean 0, which a bare QR would not give."""
    for half in HALVES.values():
        first = [float(half.RNN(1, 2).cells[0].hidden.weight.data[0, 0]) for _ in range(200)]
        assert abs(np.mean(first)) < 6 * np.sqrt(0.5 / 200)


# The language model.

LM = {"vocab_size": 7, "d_model": 3, "d_hidden": 4, "n_layer": 2}
each_cell = pytest.mark.parametrize("cell", ["rnn", "lstm"])


def tensors(batch, half):
    return batch if half == "numpy" else batch.to("cpu")


def array(half, x):
    return x if half == "numpy" else torch.as_tensor(x)


def logits_of(model, half, batch, **options):
    """`forward` of either half as an array."""
    batch = tensors(batch, half)
    return (
        model.forward(batch, **options)[0]
        if half == "numpy"
        else model(batch, **options).detach().numpy()
    )


@each_half
@each_cell
def test_state_carried_is_one_long_text(cell, half):
    model = dict(zip(HALVES, twins("Recurrent", RecurrentConfig(**LM, cell=cell)), strict=True))[
        half
    ]
    ids = np.random.default_rng(0).integers(7, size=(2, 9))
    whole = logits_of(model, half, Batch(ids))
    state, cache = model.new_cache(2), model.new_cache(2)
    for start, end in [(0, 4), (4, 5), (5, 9)]:
        piece = ids[:, start:end]
        found = logits_of(model, half, Batch(piece), state=state)
        assert max_error(found, whole[:, start:end]) < EXACT
        found = model.next_logits(array(half, piece), cache)
        assert max_error(found, whole[:, end - 1]) < EXACT
    for ours, theirs in zip(state.arrays, cache.arrays, strict=True):
        assert max_error(ours, theirs) < EXACT
    assert max_error(logits_of(model, half, Batch(ids)), whole) == 0  # nothing stays in the model


@each_half
@pytest.mark.parametrize("left", [True, False])
def test_prompts_of_several_lengths(left, half):
    """The logits after each text's last real token, on whichever side the padding is."""
    model = dict(zip(HALVES, twins("Recurrent", RecurrentConfig(**LM)), strict=True))[half]
    ids = np.random.default_rng(0).integers(7, size=(3, 5))
    lengths = [5, 2, 1]
    mask = by_hand.lengths_to_mask(lengths)
    mask = mask[:, ::-1].copy() if left else mask
    cache = model.new_cache(3)
    found = model.next_logits(array(half, ids), cache, mask=array(half, mask))
    later = model.next_logits(array(half, ids[:, :1]), cache)
    for i in range(3):
        text = ids[i : i + 1, mask[i]]
        assert max_error(found[i], logits_of(model, half, Batch(text))[0, -1]) < EXACT
        text = np.concatenate([text, ids[i : i + 1, :1]], 1)
        assert max_error(later[i], logits_of(model, half, Batch(text))[0, -1]) < EXACT


@each_cell
def test_truncated_training(cell):
    """The second half of a text, its state carried: the loss goes on, the gradients do not."""
    ours, theirs = twins("Recurrent", RecurrentConfig(**LM, cell=cell))
    ids = np.random.default_rng(0).integers(7, size=(2, 7))
    first = Batch(ids[:, :3], targets=ids[:, 1:4])
    second = Batch(ids[:, 3:6], targets=ids[:, 4:7])
    state, other = ours.new_cache(2), theirs.new_cache(2)
    ours.loss_and_grads(first, state=state)
    theirs.loss_and_grads(first.to("cpu"), state=other)
    middle = tuple(s.copy() for s in state.arrays)
    ours.zero_grad(), theirs.zero_grad()
    loss = ours.loss_and_grads(second, state=state)
    assert max_error(loss, theirs.loss_and_grads(second.to("cpu"), state=other)) < EXACT
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert max_error(p.grad, q.grad) < EXACT, name

        def f(_):  # what goes in is a constant
            state.arrays = middle
            return ours.loss(second, state=state)

        gradcheck(f, p.data, p.grad)
    whole = ours.loss(Batch(ids[:, :6], targets=np.where(np.arange(6) < 3, -100, ids[:, 1:7])))
    assert max_error(loss, whole) < EXACT


@each_cell
@pytest.mark.parametrize("variational", [False, True])
def test_dropout_in_the_language_model(cell, variational, masks):
    """On what enters each layer and leaves the last: at each position anew, or once [variational]."""
    config = RecurrentConfig(**LM, cell=cell, dropout=0.4, variational=variational)
    ours, theirs = twins("Recurrent", config)
    ids = np.random.default_rng(0).integers(7, size=(2, 6))
    batch = Batch(ids[:, :-1], targets=ids[:, 1:])
    loss = ours.loss_and_grads(batch, rng=np.random.default_rng(1))
    other = theirs.loss_and_grads(batch.to("cpu"), rng=np.random.default_rng(1))
    assert max_error(loss, other) < EXACT
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert max_error(p.grad, q.grad) < EXACT
    once = [(2, 4), (2, 1, 3), (2, 4), (2, 1, 4), (2, 1, 4)]
    anew = [(2, 5, 3), (2, 5, 4), (2, 5, 4)]
    assert [m.shape for m in masks] == 2 * (once if variational else anew)


@each_half
@each_cell
@pytest.mark.parametrize("tied", [False, True])
def test_first_loss_and_one_text_learned_by_heart(half, cell, tied):
    config = RecurrentConfig(vocab_size=11, d_model=24, d_hidden=24, cell=cell, tied=tied)
    rng = np.random.default_rng(0) if half == "numpy" else torch.Generator().manual_seed(0)
    model = HALVES[half].Recurrent(config, rng=rng)
    optimizer = (by_hand_optim if half == "numpy" else twin_optim).Adam(model.parameters())
    text = np.random.default_rng(0).integers(11, size=(1, 25))
    batch = tensors(Batch(text[:, :-1], targets=text[:, 1:]), half)
    assert abs(float(model.loss(batch)) - np.log(11)) < 0.5
    for _ in range(120):
        optimizer.zero_grad()
        loss = model.loss_and_grads(batch)
        optimizer.step(0.02)
    assert float(loss) < 0.1


# The encoder and the decoder.

PAIR = {"vocab_size": 7, "source_vocab_size": 6, "d_model": 3, "d_hidden": 4}
each_attention = pytest.mark.parametrize("attention", [True, False])


def pair(rng, B=2, T=5, S=4, **masks):
    ids = rng.integers(7, size=(B, T + 1))
    source = rng.integers(6, size=(B, S))
    return Batch(ids[:, :-1], targets=ids[:, 1:], source=source, **masks)


def translators(attention, **options):
    return twins(
        "LSTMEncoderDecoder", LSTMEncoderDecoderConfig(**PAIR, attention=attention, **options)
    )


@each_attention
def test_encoder_decoder_against_differences(attention, masks):
    ours, theirs = translators(attention, n_layer=2, dropout=0.3)
    source_mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    batch = pair(np.random.default_rng(0), B=3, source_mask=source_mask)
    loss = ours.loss_and_grads(batch, rng=np.random.default_rng(1))
    other = theirs.loss_and_grads(batch.to("cpu"), rng=np.random.default_rng(1))
    assert max_error(loss, other) < EXACT
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert max_error(p.grad, q.grad) < EXACT, name

        def f():
            logits, _ = ours.forward(batch, rng=np.random.default_rng(1))
            return by_hand_functional.cross_entropy(logits, batch.targets)[0]

        parity.check_differences(f, p.data, p.grad)


@each_half
@each_attention
def test_generation_equals_reading(attention, half):
    model = dict(zip(HALVES, translators(attention, n_layer=2), strict=True))[half]
    source_mask = by_hand.lengths_to_mask([4, 2])
    batch = pair(np.random.default_rng(0), source_mask=source_mask)
    whole = logits_of(model, half, batch)
    t = tensors(batch, half)
    cache = model.encode(t.source, t.source_mask)
    for start, end in [(0, 2), (2, 3), (3, 5)]:
        found = model.next_logits(t.ids[:, start:end], cache)
        assert max_error(found, whole[:, end - 1]) < EXACT


@each_half
@each_attention
def test_what_a_logit_depends_on(attention, half):
    """Not on later tokens of the target, nor on the source's padding; on all the rest."""
    model = dict(zip(HALVES, translators(attention), strict=True))[half]
    source_mask = by_hand.lengths_to_mask([2, 4])
    batch = pair(np.random.default_rng(0), source_mask=source_mask)
    before = logits_of(model, half, batch)

    def change(name, place):
        x = getattr(batch, name).copy()
        x[place] = (x[place] + 1) % 6
        return logits_of(model, half, Batch(**{**vars(batch), name: x}))

    assert max_error(change("source", (0, 2)), before) == 0
    for s in (0, 1):
        assert max_error(change("source", (0, s))[0], before[0]) > 1e-6
    for t in range(5):
        after = change("ids", (0, t))
        assert max_error(after[:, :t], before[:, :t]) == 0
        assert max_error(after[0, t:], before[0, t:]) > 1e-6
        assert max_error(after[1], before[1]) == 0
    short = Batch(batch.ids[:1], source=batch.source[:1, :2])
    assert max_error(logits_of(model, half, short), before[:1]) < EXACT


@each_half
@each_attention
def test_attention_reaches_what_the_state_has_forgotten(attention, half):
    """With an encoder that forgets everything at once, only attention sees the first tokens."""
    model = dict(zip(HALVES, translators(attention), strict=True))[half]
    cell = model.encoder.cells[0]
    parts = [cell.input.bias.data[4:8], cell.input.weight.data[4:8], cell.hidden.weight.data]
    for part, value in zip(parts, (-1e3, 0, 0), strict=True):
        part[...] = value  # the forget gate is shut, and no gate sees the last output
    source = np.array([[0, 1, 2, 3, 4, 5]])
    batch = Batch(np.array([[1, 2]]), targets=np.array([[2, 3]]), source=source)
    model.loss_and_grads(tensors(batch, half))
    rows = np.asarray(model.source_embedding.weight.grad)
    assert rows.any(-1).tolist() == [attention] * 5 + [True]


@each_half
def test_attention_weights(half):
    """Rows sum to 1, padding gets none; the context is PyTorch's own, without the scale."""
    model = dict(zip(HALVES, translators(True), strict=True))[half]
    source_mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    batch = pair(np.random.default_rng(0), B=3, source_mask=source_mask)
    weights = np.asarray(model.attention_weights(tensors(batch, half)))
    assert weights.shape == (3, 5, 4)
    assert np.allclose(weights.sum(-1), source_mask.any(-1)[:, None])
    assert not weights[~np.broadcast_to(source_mask[:, None], weights.shape)].any()
    assert np.isfinite(logits_of(model, half, batch)).all()  # even with nothing to look at

    ours, _ = translators(True)
    rng = np.random.default_rng(1)
    h, memory = torch.tensor(rng.normal(size=(3, 5, 4))), torch.tensor(rng.normal(size=(3, 4, 4)))
    query = h @ torch.tensor(ours.attention.score.weight.data).T
    mask = torch.tensor(source_mask)[:2, None]
    context = torch.nn.functional.scaled_dot_product_attention(
        query[:2], memory[:2], memory[:2], attn_mask=mask, scale=1.0
    )
    combine = torch.tensor(ours.attention.combine.weight.data).T
    expected = torch.tanh(torch.cat([context, h[:2]], -1) @ combine)
    found = _output(model.attention, half, h[:2], memory[:2], torch.tensor(source_mask)[:2])
    assert max_error(found, expected) < EXACT


def _output(layer, half, *inputs):
    if half == "torch":
        return layer(*inputs)[0].detach()
    return layer.forward(*(x.numpy() for x in inputs))[0][0]


@each_half
def test_copying_is_learned(half):
    """Random words are written again, backward: a new one each step, so nothing is learned by heart."""
    config = LSTMEncoderDecoderConfig(vocab_size=6, source_vocab_size=6, d_model=16, d_hidden=32)
    drawn = np.random.default_rng(0)
    rng = drawn if half == "numpy" else torch.Generator().manual_seed(0)
    model = HALVES[half].LSTMEncoderDecoder(config, rng=rng)
    optimizer = (by_hand_optim if half == "numpy" else twin_optim).Adam(model.parameters())
    for _ in range(250):
        source = drawn.integers(1, 6, size=(32, 4))
        target = source[:, ::-1].copy()
        ids = np.concatenate([np.zeros((32, 1), int), target[:, :-1]], 1)  # 0 begins
        optimizer.zero_grad()
        loss = model.loss_and_grads(tensors(Batch(ids, targets=target, source=source), half))
        optimizer.step(0.01)
    assert float(loss) < 0.1


# What may go wrong.


def bad(call, error, *messages):
    return call, error, messages


F32 = np.float32
BAD = {
    "no width": bad(lambda m, a: m.RNN(0, 3), ValueError, "d_in = 0"),
    "no layer": bad(lambda m, a: m.LSTM(2, 3, n_layer=0), ValueError, "n_layer = 0"),
    "width in words": bad(lambda m, a: m.LSTM(2, "3"), TypeError, "d_hidden = '3'"),
    "all is dropped": bad(lambda m, a: m.LSTM(2, 3, dropout=1.0), ValueError, "dropout = 1"),
    "x too wide": bad(lambda m, a: m.LSTM(2, 3).forward(a(np.ones((1, 4, 3), F32))), ValueError,
                      "x has shape (1, 4, 3), expected (B, T, 2)"),
    "x in a row": bad(lambda m, a: m.RNN(2, 3).forward(a(np.ones((4, 2), F32))), ValueError,
                      "x has shape (4, 2), expected (B, T, 2)"),
    "a state of another batch": bad(
        lambda m, a: m.RNN(2, 3).forward(a(np.ones((2, 4, 2), F32)), m.RNN(2, 3).new_state(1)),
        ValueError, "state has shape (1, 1, 3), expected (1, 2, 3)"),
    "a state of another width": bad(
        lambda m, a: m.LSTM(2, 3).forward(a(np.ones((2, 4, 2), F32)), m.LSTM(2, 4).new_state(2)),
        ValueError, "state has shape (1, 2, 4), expected (1, 2, 3)"),
    "a state of fewer layers": bad(
        lambda m, a: m.LSTM(2, 3, n_layer=2).forward(
            a(np.ones((2, 4, 2), F32)), m.LSTM(2, 3).new_state(2)),
        ValueError, "state has shape (1, 2, 3), expected (2, 2, 3)"),
    "a state without memory": bad(
        lambda m, a: m.LSTM(2, 3).forward(a(np.ones((2, 4, 2), F32)), m.RNN(2, 3).new_state(2)),
        ValueError, "state has 1 ", "expected 2"),
    "mask of another length": bad(
        lambda m, a: m.LSTM(2, 3).forward(a(np.ones((2, 4, 2), F32)), mask=a(np.ones((2, 3), bool))),
        ValueError, "mask has shape (2, 3), expected (2, 4)"),
    "mask of numbers": bad(
        lambda m, a: m.LSTM(2, 3).forward(a(np.ones((2, 4, 2), F32)), mask=a(np.ones((2, 4), F32))),
        ValueError, "mask has dtype", "float32, expected bool"),
    "length too large": bad(lambda m, a: m.lengths_to_mask(a(np.array([3, 5])), 4), ValueError,
                            "[3", "5]", "expected (B,) integers in 0 ... size = 4"),
    "length negative": bad(lambda m, a: m.lengths_to_mask(a(np.array([3, -1]))), ValueError, "-1]"),
    "lengths of a square": bad(lambda m, a: m.lengths_to_mask(a(np.ones((2, 2), int)), 4), ValueError,
                               "expected (B,)"),
    "half a length": bad(lambda m, a: m.lengths_to_mask(a(np.array([3, 1.5]))), ValueError, "1.5]"),
    "id too large": bad(lambda m, a: lm(m).forward(Batch(a(np.array([[7]])))), ValueError,
                        "ids holds 7, expected 0 <= id < vocab_size = 7"),
    "next id too large": bad(lambda m, a: lm(m).next_logits(a(np.array([[-1]])), lm(m).new_cache(1)),
                             ValueError, "ids holds -1"),
    "a cache of another batch": bad(
        lambda m, a: lm(m).next_logits(a(np.array([[1]])), lm(m).new_cache(2)), ValueError,
        "ids has shape (1, 1), expected (2, t)"),
    "no source": bad(lambda m, a: translator(m).forward(Batch(a(np.array([[1]])))), ValueError,
                     "source is None, expected ids (B, S)"),
    "nothing to read": bad(lambda m, a: translator(m).encode(a(np.zeros((2, 0), int))), ValueError,
                           "source is of shape (2, 0)", "S at least 1"),
    "source id too large": bad(lambda m, a: translator(m).encode(a(np.array([[6]]))), ValueError,
                               "ids holds 6, expected 0 <= id < vocab_size = 6"),
    "source mask of another length": bad(
        lambda m, a: translator(m).encode(a(np.ones((1, 3), int)), a(np.ones((1, 2), bool))),
        ValueError, "source_mask has shape (1, 2)", "expected bool (1, 3)"),
    "a cache from nowhere": bad(lambda m, a: translator(m).new_cache(2), ValueError,
                                "expected a call of encode(source)"),
    "no weights": bad(lambda m, a: translator(m, attention=False).attention_weights(None), ValueError,
                      "attention = False"),
    "config of another model": bad(
        lambda m, a: m.Recurrent(LSTMEncoderDecoderConfig(**PAIR)), TypeError, "RecurrentConfig"),
}  # fmt: skip


def lm(module):
    return module.Recurrent(RecurrentConfig(**LM))


def translator(module, **options):
    return module.LSTMEncoderDecoder(LSTMEncoderDecoderConfig(**PAIR, **options))


@each_half
@pytest.mark.parametrize(("call", "error", "messages"), BAD.values(), ids=list(BAD))
def test_bad_input(half, call, error, messages):
    with pytest.raises(error) as caught:
        call(HALVES[half], lambda x: array(half, x))
    assert type(caught.value) is error
    assert [m for m in messages if m not in str(caught.value)] == [], str(caught.value)


# Of PyTorch alone.


def test_a_gpu_need_not_wait():
    """No step looks at values: on the meta device there are none to look at."""
    model = translator(twin).to("meta")
    ids = torch.zeros(2, 3, dtype=torch.long, device="meta")
    mask = torch.ones(2, 3, dtype=torch.bool, device="meta")
    batch = Batch(ids, targets=ids, mask=mask, source=ids, source_mask=mask)
    model.loss_and_grads(batch)
    cache = model.encode(ids, mask)
    assert model.next_logits(ids, cache, mask=mask).shape == (2, 7)
    assert model.decoder.cells[0].hidden.weight.grad.shape == (16, 4)


@each_cell
def test_mixed_precision(cell):
    """Products in bfloat16, the state in float32 where it is summed up: near the exact result."""
    model = twin.Recurrent(RecurrentConfig(**LM, cell=cell), rng=torch.Generator().manual_seed(0))
    ids = np.random.default_rng(0).integers(7, size=(2, 6))
    batch = Batch(ids[:, :-1], targets=ids[:, 1:], mask=by_hand.lengths_to_mask([5, 3])).to("cpu")
    exact = model.loss(batch)
    state = model.new_cache(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = [model.loss_and_grads(batch, state=state), model.loss(batch, state=state)]
    assert abs(losses[0] - exact) < 0.02
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
