"""The two smallest models: they count, look back as far as they say, and learn; in both halves."""

import numpy as np
import parity
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import weights
from minillm.batches import Batch
from minillm.config import BigramConfig, MLPConfig, TransformerConfig
from minillm.numpy_nn import functional as F
from minillm.numpy_nn import models as by_hand
from minillm.numpy_nn import optim as by_hand_optim
from minillm.numpy_nn.gradcheck import gradcheck, max_error
from minillm.torch_nn import models as twin
from minillm.torch_nn import optim as twin_optim

properties = settings(deadline=None, max_examples=40, derandomize=True, database=None)

BIGRAM = BigramConfig(vocab_size=5)
MLPS = [
    MLPConfig(vocab_size=5, context_length=N, d_model=C, d_hidden=D)
    for N, C, D in [(1, 3, 4), (3, 2, 5), (4, 1, 1)]
]
CONFIGS = [BIGRAM, *MLPS]


def twins(config, seed=0):
    """The model in both halves in float64, with the same random weights."""
    ours, theirs = by_hand.build(config).to(np.float64), twin.build(config).to(torch.float64)
    parity.randomize(ours, seed)
    weights.copy(ours, theirs)
    return ours, theirs


def random_batch(config, rng, B, T, *, padded=False):
    """Ids and targets; with `padded`, texts of random lengths >= 1 that end at the right."""
    ids, targets = rng.integers(config.vocab_size, size=(2, B, T))
    mask = np.arange(T) >= rng.integers(T, size=(B, 1)) if padded else None
    return Batch(ids, targets if mask is None else np.where(mask, targets, -100), mask)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@properties
@given(
    seed=st.integers(0, 2**32 - 1), B=st.integers(1, 3), T=st.integers(1, 6), padded=st.booleans()
)
def test_halves_and_differences_agree(config, seed, B, T, padded):
    ours, theirs = twins(config, seed)
    batch = random_batch(config, np.random.default_rng(seed), B, T, padded=padded)
    options = {"scale": 0.5, "label_smoothing": 0.1, "z_loss": 1e-3}
    loss = ours.loss_and_grads(batch, **options)
    assert max_error(loss, theirs.loss_and_grads(batch.to("cpu"), **options)) < 1e-10
    assert max_error(ours.logits(batch), theirs.logits(batch.to("cpu"))) < 1e-10
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert max_error(p.grad, q.grad) < 1e-10, name
    name, p = ours.named_parameters()[seed % len(ours.parameters())]
    p.grad.fill(0.0)
    ours.loss_and_grads(batch)
    gradcheck(lambda _: ours.loss(batch), p.data, p.grad)


@properties
@given(seed=st.integers(0, 2**32 - 1), vocab_size=st.integers(1, 6), size=st.integers(2, 40))
def test_bigram_learns_to_count(seed, vocab_size, size):
    """Where its own gradient leaves nothing to do, its loss is the table of counts' own."""
    text = np.random.default_rng(seed).integers(vocab_size, size=(1, size))
    before, after = text[0, :-1], text[0, 1:]
    counts = np.zeros((vocab_size, vocab_size))
    np.add.at(counts, (before, after), 1)
    p = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    entropy = -np.log(p[before, after]).mean()

    model = by_hand.Bigram(BigramConfig(vocab_size=vocab_size)).to(np.float64)
    batch = Batch(text[:, :-1], targets=text[:, 1:])
    assert np.isclose(model.loss(batch), np.log(vocab_size))  # at first it knows nothing

    with np.errstate(divide="ignore"):
        logp = np.where(counts.sum(1, keepdims=True) > 0, np.log(p), 0)
    model.table.weight.data[...] = np.maximum(logp, -40)
    assert np.isclose(model.loss_and_grads(batch), entropy)
    assert np.abs(model.table.weight.grad).max() < 1e-12


def test_bigram_trained_by_its_gradient():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(4, 10), size=4)
    text = [0]
    for _ in range(300):
        text.append(rng.choice(4, p=p[text[-1]]))
    before, after = np.array(text[:-1]), np.array(text[1:])
    counts = np.zeros((4, 4))
    np.add.at(counts, (before, after), 1)
    counted = np.log(counts / counts.sum(1, keepdims=True))

    model = by_hand.Bigram(BigramConfig(vocab_size=4)).to(np.float64)
    batch = Batch(before[None], targets=after[None])
    optimizer = by_hand_optim.SGD(model.parameters(), momentum=0.9)
    for _ in range(500):
        optimizer.zero_grad()
        model.loss_and_grads(batch)
        optimizer.step(2.0)
    assert np.isclose(model.loss(batch), -counted[before, after].mean(), rtol=1e-9)
    assert max_error(F.log_softmax(model.table.weight.data), counted) < 1e-6


def written_out(model, ids):
    """The logits of an MLP after the last of `ids`, in a plain loop over one text [Bengio]."""
    N, C = model.config.context_length, model.config.d_model
    vectors = [model.embedding.weight.data[i] for i in ids[-N:]]
    x = np.concatenate([np.zeros(C)] * (N - len(vectors)) + vectors)
    h = np.tanh(model.hidden.weight.data @ x + model.hidden.bias.data)
    return model.output.weight.data @ h + model.output.bias.data


@pytest.mark.parametrize("config", MLPS, ids=str)
def test_mlp_written_out(config):
    model, _ = twins(config)
    ids = np.random.default_rng(0).integers(5, size=(2, 7))
    logits = model.logits(Batch(ids))
    for b, t in np.ndindex(ids.shape):
        assert max_error(logits[b, t], written_out(model, ids[b, : t + 1])) < 1e-12


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_looks_back_as_far_as_it_says(config):
    """Another token changes the logits of its own position and of the N - 1 after it, no others."""
    model, _ = twins(config)
    N = getattr(config, "context_length", 1)
    ids = np.random.default_rng(0).integers(5, size=(1, 9))
    logits = model.logits(Batch(ids))
    for t in range(9):
        other = ids.copy()
        other[0, t] = (ids[0, t] + 1) % 5
        changed = np.abs(model.logits(Batch(other)) - logits).max(-1)[0] > 0
        assert changed.nonzero()[0].tolist() == list(range(t, min(t + N, 9)))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
@properties
@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(1, 6)))
def test_reading_on_equals_reading_at_once(config, padded, seed, cuts):
    """A text in pieces, with a cache between; and in both halves."""
    ours, theirs = twins(config, seed)
    batch = random_batch(config, np.random.default_rng(seed), 2, 7, padded=padded)
    logits, ends = ours.logits(batch), [*sorted(cuts), 7]
    for model, data in ((ours, batch), (theirs, batch.to("cpu"))):
        cache = model.new_cache(2)
        for start, end in zip([0, *ends], ends, strict=False):
            mask = None if data.mask is None else data.mask[:, start:end]
            found = model.next_logits(data.ids[:, start:end], cache, mask=mask)
            assert max_error(found, logits[:, end - 1]) < 1e-12


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_padding_at_the_left_changes_nothing(config):
    """A text among longer ones is read as it is read alone."""
    rng = np.random.default_rng(0)
    for model, make in zip(twins(config), (np.asarray, torch.as_tensor), strict=True):
        ids = rng.integers(5, size=(1, 4))
        padded, mask = np.pad(ids, ((0, 0), (3, 0))), np.arange(7)[None] >= 3
        alone = model.logits(Batch(make(ids)))
        assert max_error(model.logits(Batch(make(padded), mask=make(mask)))[:, 3:], alone) < 1e-12


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_shapes_at_the_edge(config):
    for model, make in zip(twins(config), (np.asarray, torch.as_tensor), strict=True):
        for B, T in [(0, 3), (2, 0), (1, 1), (2, 9)]:
            logits = model.logits(Batch(make(np.zeros((B, T), np.int64))))
            assert tuple(logits.shape) == (B, T, 5)
        cache = model.new_cache(0)
        assert tuple(model.next_logits(make(np.zeros((0, 2), int)), cache).shape) == (0, 5)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_first_loss_is_that_of_guessing(config):
    model = by_hand.build(config, rng=np.random.default_rng(0))
    batch = random_batch(config, np.random.default_rng(0), 8, 16)
    loss = model.loss(batch)
    assert loss.dtype == np.float32 and abs(loss - np.log(5)) < 0.02


@pytest.mark.parametrize(("half", "optim"), [(by_hand, by_hand_optim), (twin, twin_optim)])
def test_mlp_learns_a_text_by_heart(half, optim):
    """Where three tokens say for sure what comes next; "1, 2" alone goes on in two ways."""
    text = np.array([[0, 1, 2, 3, 1, 2, 0]])
    batch = Batch(text[:, :-1], targets=text[:, 1:])
    losses = {}
    for N in (3, 2):
        config = MLPConfig(vocab_size=4, context_length=N, d_model=4, d_hidden=16)
        rng = np.random.default_rng(0) if half is by_hand else torch.Generator().manual_seed(0)
        model = half.MLP(config, rng=rng)
        data = batch if half is by_hand else batch.to("cpu")
        optimizer = optim.Adam(model.parameters())
        for _ in range(200):
            optimizer.zero_grad()
            model.loss_and_grads(data)
            optimizer.step(0.03)
        losses[N] = float(model.loss(data))
    undecided = 2 / 6 * np.log(2)  # a bit at two of six positions
    assert losses[3] < 0.005 and undecided < losses[2] < undecided + 0.005


def test_build_makes_what_the_record_says():
    rngs = np.random.default_rng(0), torch.Generator().manual_seed(0)
    for config in [
        *CONFIGS,
        TransformerConfig(vocab_size=5, context_length=4, n_layer=1, n_head=1, d_model=4),
    ]:
        for half, rng in zip((by_hand, twin), rngs, strict=True):
            model = half.build(config, rng=rng)
            assert type(model).__name__ == config.model and model.config is config
            assert type(model).__module__.startswith(half.__name__.rpartition(".")[0])


BAD = [
    ("no record", lambda f, a, m: f.build({"model": "MLP"}), TypeError, "config is a dict"),
    ("one axis", lambda f, a, m: m.logits(Batch(a([1, 2]))), ValueError, "ids has shape (2,)"),
    ("id", lambda f, a, m: m.logits(Batch(a([[1, 5]]))), ValueError, "0 <= id < vocab_size = 5"),
    ("negative", lambda f, a, m: m.logits(Batch(a([[-1]]))), ValueError, "ids holds -1"),
    ("floats", lambda f, a, m: m.logits(Batch(a([[1.0]]))), TypeError, "float64, expected integers"),
    ("no targets", lambda f, a, m: m.loss(Batch(a([[1]]))), ValueError, "batch.targets is None"),
    ("labels", lambda f, a, m: m.loss(Batch(a([[1, 2]]), a([1]))), ValueError, "targets has shape"),
    ("nothing new", lambda f, a, m: m.next_logits(a([[]]), m.new_cache(1)), ValueError, "(1, 0)"),
    ("fewer texts", lambda f, a, m: m.next_logits(a([[1]]), m.new_cache(2)), ValueError, "(2, t)"),
]  # fmt: skip


@pytest.mark.parametrize("half", [by_hand, twin], ids=["numpy", "torch"])
@pytest.mark.parametrize("config", CONFIGS[:2], ids=str)
@pytest.mark.parametrize(
    ("call", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_input(half, config, call, error, message):
    def array(x):
        return np.array(x) if half is by_hand else torch.as_tensor(np.array(x))

    with pytest.raises(error) as caught:
        call(half, array, half.build(config))
    assert message in str(caught.value)
