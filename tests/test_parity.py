"""Every layer and model: both halves agree, and central differences agree with both.

One table says what is tested; a new class, or a new option of an old one, is one more line in it.
"""

import inspect
from copy import deepcopy
from dataclasses import MISSING, fields, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import parity
import pytest
import torch
from parity import Row, angles, causal, compare, find, fixed, floats, ids, model_row, padded

from minillm import weights
from minillm.config import CHOICES, TransformerConfig
from minillm.numpy_nn import functional as by_hand
from minillm.numpy_nn import optim as numpy_optim
from minillm.numpy_nn.gradcheck import max_error
from minillm.numpy_nn.layers import Module
from minillm.numpy_nn.parameter import Parameter
from minillm.torch_nn import functional as twin
from minillm.torch_nn import optim as torch_optim

EXACT = 1e-10  # float64: the halves differ by the order of their sums only
STEPS = 1e-8  # Adam and Muon divide by small numbers, which magnify the order of sums
SINGLE = 2e-4  # float32 against float64
HALF = {torch.bfloat16: 0.2, torch.float16: 0.03}  # by norms, against float32: 8 and 11 bits

STATE = floats(2, 2, 4), floats(2, 2, 4)  # h and c, (L, B, D)
SOME_LOOK_NOWHERE = fixed([[[[True, True, False]]], [[[False, False, False]]]])  # (B, 1, 1, S)
EACH_HEAD = fixed(np.random.default_rng(0).random((4, 5, 5)) < 0.7)  # (H, T, S)
BLOCK = {"vocab_size": 7, "context_length": 5, "n_layer": 2, "n_head": 2, "d_model": 8}
GPT2 = TransformerConfig.gpt2(**BLOCK, dropout=0.3)
LLAMA = TransformerConfig.llama(**BLOCK, n_kv_head=1)
ORIGINAL = TransformerConfig.original(**BLOCK)
RECIPE = TransformerConfig.recipe(**BLOCK)

# The class, the arguments and options of its constructor, and what `forward` is given.
LAYERS = [
    ("Linear", (3, 4), {}, {"x": floats(2, 5, 3)}),
    ("Linear", (3, 4), {"bias": False}, {"x": floats(2, 5, 3)}),
    ("Linear", (1, 1), {"std": 0.5}, {"x": floats(1, 1, 1)}),
    ("Embedding", (7, 4), {}, {"ids": ids(7, 2, 5)}),
    ("Embedding", (7, 4), {"std": 0.5}, {"ids": ids(2, 3, 5)}),  # rows used often, or never
    ("LayerNorm", (4,), {}, {"x": floats(2, 5, 4)}),
    ("LayerNorm", (4,), {"bias": False, "eps": 0.1}, {"x": floats(2, 5, 4)}),
    ("RMSNorm", (4,), {}, {"x": floats(2, 5, 4)}),
    ("RMSNorm", (4,), {"weight": False, "eps": 0.1}, {"x": floats(2, 5, 4)}),
    ("Dropout", (0.5,), {}, {"x": floats(2, 5, 4)}),
    ("RNN", (3, 4), {}, {"x": floats(2, 5, 3)}),
    ("RNN", (3, 4), {"n_layer": 2}, {"x": floats(2, 5, 3), "state": (floats(2, 2, 4),)}),
    ("RNN", (3, 4), {"dropout": 0.3}, {"x": floats(2, 5, 3), "mask": padded(5, 3)}),
    ("LSTM", (3, 4), {}, {"x": floats(2, 5, 3)}),
    ("LSTM", (1, 1), {}, {"x": floats(1, 1, 1)}),
    ("LSTM", (3, 4), {}, {"x": floats(3, 5, 3), "mask": padded(5, 3, 0, left=True)}),
    ("LSTM", (3, 4), {"n_layer": 2}, {"x": floats(2, 5, 3), "state": STATE}),
    ("LSTM", (3, 4), {"n_layer": 2}, {"x": floats(2, 5, 3), "state": STATE, "mask": padded(5, 3)}),
    ("LSTM", (3, 4), {"n_layer": 2, "dropout": 0.3}, {"x": floats(2, 5, 3)}),
    ("LSTM", (3, 4), {"n_layer": 2, "dropout": 0.3, "variational": True}, {"x": floats(2, 5, 3)}),
    ("FeedForward", (4, 6), {}, {"x": floats(2, 5, 4)}),
    ("FeedForward", (4, 6), {"activation": "gelu_exact", "std": 0.5}, {"x": floats(2, 5, 4)}),
    ("FeedForward", (4, 6), {"activation": "relu", "bias": False}, {"x": floats(2, 5, 4)}),
    ("FeedForward", (4, 6), {"activation": "relu2"}, {"x": floats(2, 5, 4)}),
    ("FeedForward", (4, 6), {"activation": "silu"}, {"x": floats(2, 5, 4)}),
    ("FeedForward", (4, 6), {"activation": "swiglu"}, {"x": floats(2, 5, 4)}),
    ("MultiHeadAttention", (8, 2), {}, {"x": floats(2, 5, 8)}),
    ("MultiHeadAttention", (8, 2), {}, {"x": floats(1, 2, 5, 8), "causal": True}),
    ("MultiHeadAttention", (8, 2), {"dropout": 0.3}, {"x": floats(2, 5, 8), "mask": causal(5)}),
    ("MultiHeadAttention", (8, 4), {"n_kv_head": 2, "bias": False},
     {"x": floats(2, 5, 8), "causal": True, "rotary": angles(5, 2)}),
    ("MultiHeadAttention", (8, 4), {"n_kv_head": 1, "d_head": 6, "qk_norm": True, "qk_scale": 2.0},
     {"x": floats(5, 8), "rotary": angles(5, 6), "mask": EACH_HEAD}),
    ("MultiHeadAttention", (8, 2), {"std": 0.1}, {"x": floats(2, 5, 8), "source": floats(2, 3, 8)}),
    ("MultiHeadAttention", (8, 2), {},
     {"x": floats(2, 5, 8), "source": floats(2, 3, 8), "mask": SOME_LOOK_NOWHERE}),
    ("MultiHeadAttention", (8, 2), {"value_residual": True}, {"x": floats(2, 5, 8)}),
    ("MultiHeadAttention", (8, 2), {"value_residual": True},
     {"x": floats(2, 5, 8), "source": floats(2, 3, 8), "first_values": floats(2, 3, 8)}),
    ("MultiHeadAttention", (8, 2), {}, {"x": floats(2, 5, 8), "first_values": floats(2, 5, 8)}),
    ("Block", (GPT2,), {}, {"x": floats(2, 5, 8)}),
    ("Block", (LLAMA,), {"value_residual": True},
     {"x": floats(2, 5, 8), "first_values": floats(2, 5, 4), "rotary": angles(5, 4)}),
    ("Block", (ORIGINAL,), {"cross": True},
     {"x": floats(2, 5, 8), "source": floats(2, 3, 8), "mask": causal(5)}),
    ("Block", (RECIPE,), {"cross": True, "value_residual": True},
     {"x": floats(2, 5, 8), "source": floats(2, 3, 8), "first_values": floats(2, 5, 8),
      "causal": True, "source_mask": SOME_LOOK_NOWHERE}),
]  # fmt: skip

TEXT = {"ids": ids(7, 2, 5), "targets": ids(7, 2, 5)}
PADDED = TEXT | {"mask": padded(5, 3)}
LABELED = PADDED | {"targets": ids(3, 2)}
PAIR = TEXT | {"source": ids(6, 2, 4)}
PADDED_PAIR = PADDED | PAIR | {"source_mask": padded(2, 4)}
SIZES = {
    "Bigram": {"vocab_size": 7},
    "MLP": {"vocab_size": 7, "context_length": 3, "d_model": 4, "d_hidden": 5},
    "Recurrent": {"vocab_size": 7, "d_model": 3, "d_hidden": 4},
    "LSTMEncoderDecoder": {"vocab_size": 7, "source_vocab_size": 6, "d_model": 3, "d_hidden": 4},
    "Transformer": BLOCK,
}
# The model, with the function that makes its config (none: the class), options besides its sizes,
# and a batch.
MODELS = [
    ("Bigram", {}, TEXT),
    ("MLP", {}, TEXT),
    ("MLP", {}, PADDED),
    ("MLP", {"context_length": 1}, TEXT),
    ("MLP", {"context_length": 7}, TEXT),  # longer than the text
    ("Recurrent", {}, TEXT),
    ("Recurrent", {"n_layer": 2, "dropout": 0.3}, PADDED),
    ("Recurrent", {"n_layer": 2, "dropout": 0.3, "variational": True}, TEXT),
    ("Recurrent", {"cell": "rnn", "n_layer": 2, "d_model": 4, "tied": True}, TEXT),
    ("LSTMEncoderDecoder", {"dropout": 0.3}, PAIR),
    ("LSTMEncoderDecoder", {"n_layer": 2}, PADDED_PAIR),
    ("LSTMEncoderDecoder", {"n_layer": 2, "attention": False}, PADDED_PAIR),
    ("Transformer.gpt2", {"dropout": 0.3}, TEXT),
    ("Transformer.gpt2", {"norm_first": False}, PADDED),
    ("Transformer.gpt2", {"n_class": 3, "pool": "last"}, LABELED),
    ("Transformer.llama", {"n_head": 4, "n_kv_head": 2}, TEXT),
    ("Transformer.llama", {"rotary_factor": 8.0, "rotary_context": 4}, TEXT),
    ("Transformer.llama", {"n_kv_head": 1, "d_head": 2, "tied": True, "rotary_base": 9.0}, PADDED),
    ("Transformer.recipe", {"n_gram": 3, "qk_scale": 2.0}, TEXT),
    ("Transformer.llama", {"n_gram": 7, "embedding_scale": True}, PADDED),  # longer than the text
    ("Transformer.recipe", {"n_head": 4, "n_kv_head": 2, "dropout": 0.3}, PADDED),
    ("Transformer.bert", {}, PADDED),
    ("Transformer.bert", {"n_class": 3}, LABELED),
    ("Transformer.bert", {"n_class": 3, "pool": "mean", "norm_eps": 1e-5}, LABELED),
    ("Transformer.original", {"dropout": 0.3}, PAIR),
    ("Transformer.original", {"source_vocab_size": 6, "tied": False}, PADDED_PAIR),
    ("Transformer.original", {"norm_first": True, "position": "rotary"}, PADDED_PAIR),
    ("Transformer.original", {"position": "learned", "value_residual": True, "n_kv_head": 1}, PAIR),
    ("Transformer", {"activation": "silu", "position": "none", "norm": "rmsnorm"}, TEXT),
    ("Transformer", {"embedding_norm": True, "bias": False, "head_transform": True}, TEXT),
]

ROWS = [Row(*row) for row in LAYERS] + [model_row(SIZES, *row) for row in MODELS]
# How many axes mean something; any number may stand before them.
CORE = {
    "Linear": 1, "Embedding": 0, "LayerNorm": 1, "RMSNorm": 1, "Dropout": 0, "FeedForward": 1,
    "MultiHeadAttention": 2, "Block": 2,
}  # fmt: skip
MODEL_ROWS = [row for row in ROWS if "batch" in row.inputs]
ANY_LEADING = [
    row for row in ROWS if row.name in CORE and {*row.inputs} <= {"x", "ids", "causal", "rotary"}
]
TAKES_RNG = [row for row in ROWS if "rng" in inspect.signature(row.cls.forward).parameters]
each_row = pytest.mark.parametrize("row", ROWS, ids=str)
each_model = pytest.mark.parametrize("row", MODEL_ROWS, ids=str)


def test_same_files():
    assert parity.files("numpy") - parity.files("torch") == {"gradcheck", "parameter"}
    assert parity.files("torch") <= parity.files("numpy")


def test_every_class_stands_in_the_table():
    listed = {row.name for row in ROWS}
    bases = {"Module", "LanguageModel", "WordVectors"}
    bases |= {"CBOW", "GloVe", "SkipGram"}  # tests/test_word_vectors.py holds them equal
    assert set(find("numpy", "forward", "backward")) - bases == listed
    assert set(find("torch", "forward")) - bases == listed


def test_every_option_stands_in_the_table():
    """With two values at least, and all that it can be where there are few."""
    for row in MODEL_ROWS:
        (made,) = row.args
        others = [other.args[0] for other in MODEL_ROWS if other.name == row.name]
        for field in fields(made):
            seen = {getattr(other, field.name) for other in others}
            wanted = set(CHOICES.get(field.name, ()))
            missing = wanted - seen if field.default is not MISSING else set()
            assert not missing, f"{row.name}: {field.name} = {missing}"
            assert field.default is MISSING or len(seen) > 1, f"{row.name}: {field.name} = {seen}"


def test_same_names_and_signatures():
    """What the torch half has besides is for its machines; `backward` is what autograd saves."""
    for name in parity.files("torch"):
        ours, theirs = parity.module("numpy", name), parity.module("torch", name)
        gone = {n for n in ours.__all__ if n.endswith("_backward")} | {"Module", "add_rows"}
        both = set(ours.__all__) - gone
        assert set(theirs.__all__) - both <= {"fused_attention"}, name
        assert both <= set(theirs.__all__), name
        for thing in both:
            ours_, theirs_ = vars(ours)[thing], vars(theirs)[thing]
            assert parameters(ours_) == parameters(theirs_), thing
            for method in ("forward", "loss_and_grads", "encode", "next_logits", "new_cache"):
                if (thing, method) == ("WordVectors", "forward"):
                    continue  # a base class: in NumPy it has none of its own
                if hasattr(ours_, method):
                    f, g = getattr(ours_, method), getattr(theirs_, method)
                    assert parameters(f) == parameters(g), (thing, method)


def parameters(f):
    """What a function takes, but for dtypes and what belongs to machines."""
    taken = inspect.signature(f).parameters.values()
    taken = [p for p in taken if p.name not in ("device", "fused")]
    return [(p.name, p.kind, None if p.name == "dtype" else p.default) for p in taken]


@each_row
def test_initial_values(row):
    """Constants are equal; of what is drawn, the mean and the standard deviation, to 6 sigma."""
    weights.copy(row.make("numpy"), row.make("torch"))  # raises unless names and shapes agree
    drawn = {"numpy": {}, "torch": {}}
    for half, found in drawn.items():
        for seed in range(16 if row in MODEL_ROWS else 64):
            for name, p in row.make(half, seed).named_parameters():
                found.setdefault(name, []).append(parity.plain(p))
    for name in drawn["numpy"]:
        ours, theirs = (np.array(found[name]) for found in drawn.values())
        assert ours.dtype == theirs.dtype == np.float32
        if (ours == ours[0]).all():
            assert (theirs == ours).all()
        else:
            assert (theirs != theirs[0]).any()
            assert abs(np.log(ours.std() / theirs.std())) < 6 / np.sqrt(ours.size)
            assert abs(ours.mean() - theirs.mean()) < 6 * ours.std() * np.sqrt(2 / ours.size)


@each_row
def test_both_halves_and_differences(row):
    ours, theirs = row.twins()
    inputs = row.arrays()
    found = parity.run_numpy(ours, inputs)
    compare(found, parity.run_torch(theirs, inputs), EXACT)

    dy = parity.flatten(parity.random_dy(ours.forward(**inputs)[0]), "y")

    def f():
        parts = parity.flatten(ours.forward(**inputs)[0], "y")
        return sum((part * dy[name]).sum() for name, part in parts.items())

    weights = {name: p.data for name, p in ours.named_parameters()}
    for name, array in (parity.with_gradient(inputs) | weights).items():
        entries = 2 if row in MODEL_ROWS else 8
        parity.check_differences(f, array, found[f"d {name}"], entries=entries)


@each_row
def test_float32(row):
    """Near the results in float64, and float32 from end to end."""
    exact = parity.run_numpy(row.twins()[0], row.arrays())
    ours, theirs = row.twins("float32")
    inputs = row.arrays("float32")
    found = parity.run_numpy(ours, inputs)
    other = parity.run_torch(theirs, inputs, dtype=torch.float32)
    _, cache = ours.forward(**inputs)
    kept = [a for a in parity.arrays_in(cache) if parity.is_float(a)]
    assert {a.dtype for a in [*found.values(), *kept]} <= {np.dtype(np.float32)}
    assert {t.dtype for t in other.values()} == {torch.float32}
    compare(found, exact, SINGLE)
    compare(other, exact, SINGLE)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@each_row
def test_half_precision_in_torch(row, dtype):
    _, theirs = row.twins("float32")
    inputs = row.arrays("float32")
    exact = parity.run_torch(theirs, inputs, dtype=torch.float32)
    rounded = parity.run_torch(theirs.to(dtype), inputs, dtype=dtype)
    assert {t.dtype for t in rounded.values()} == {dtype}
    parity.check_norms(exact, rounded, HALF[dtype])


@each_row
def test_forward_and_backward_keep_nothing(row):
    """A layer may be used twice before it is asked for gradients; these add up."""
    ours, _ = row.twins()
    both = row.arrays(seed=1), row.arrays(seed=4)
    before = _everything(ours)
    alone = [parity.run_numpy(ours, inputs) for inputs in both]

    ours.zero_grad()
    runs = [ours.forward(**inputs) for inputs in both]
    found = [
        parity.results(y, parity.backward(ours, y, cache), ours, inputs)
        for (y, cache), inputs in zip(runs, both, strict=True)
    ]
    parameters = [f"d {name}" for name, _ in ours.named_parameters()]
    for one, other in zip(found, alone, strict=True):
        compare(*({n: a for n, a in d.items() if n not in parameters} for d in (one, other)), 0)
    added = {name: alone[0][name] + alone[1][name] for name in parameters}
    compare({name: found[1][name] for name in parameters}, added, EXACT)

    assert _everything(ours) == before
    for inputs, seed in zip(both, (1, 4), strict=True):
        for a, b in zip(*map(parity.arrays_in, (inputs, row.arrays(seed=seed))), strict=True):
            assert (a == b).all()


@each_row
def test_backward_leaves_dy_and_cache(row):
    """So it may be run again, with the same result."""
    ours, _ = row.twins()
    y, cache = ours.forward(**row.arrays())
    dy = parity.random_dy(y)
    first, *others = dy if isinstance(y, tuple) else (dy,)
    runs = []
    for _ in range(2):
        ours.zero_grad()
        dx = ours.backward(first, cache, *others)
        runs.append(parity.results(y, dx, ours, row.arrays()))
        runs[-1] = {name: array.copy() for name, array in runs[-1].items()}
    compare(*runs, 0)
    compare(parity.flatten(dy, "dy"), parity.flatten(parity.random_dy(y), "dy"), 0)


def _everything(layer):
    """All that a layer remembers, but for gradients."""
    if isinstance(layer, (Module, SimpleNamespace)):
        return {name: _everything(value) for name, value in vars(layer).items()}
    if isinstance(layer, (list, tuple)):
        return [_everything(part) for part in layer]
    if isinstance(layer, Parameter):
        return id(layer.data), layer.data.tobytes()
    return layer.tobytes() if isinstance(layer, np.ndarray) else repr(layer)


@pytest.mark.parametrize("row", ANY_LEADING, ids=str)
def test_any_number_of_leading_axes(row):
    ours, theirs = row.twins()
    name, *_ = inputs = row.arrays()
    x, n = inputs[name], inputs[name].ndim - CORE[row.name]
    leading, core = x.shape[:n], x.shape[n:]
    y, _ = ours.forward(**inputs)
    for shape in [(1, *leading, 1), (np.prod(leading),)]:
        other = inputs | {name: x.reshape(*shape, *core)}
        found = parity.run_numpy(ours, other)
        assert max_error(found["y"], y.reshape(*shape, *y.shape[n:])) < EXACT
        compare(found, parity.run_torch(theirs, other), EXACT)
    one = inputs | {name: np.array(x[(0,) * n])}  # no leading axis at all
    found = parity.run_numpy(ours, one)
    assert max_error(found["y"], y[(0,) * n]) < EXACT
    compare(found, parity.run_torch(theirs, one), EXACT)
    none = inputs | {name: x[:0]}  # nothing to do
    found = parity.run_numpy(ours, none)
    assert found["y"].shape == (0, *y.shape[1:])
    compare(found, parity.run_torch(theirs, none), EXACT)


@pytest.fixture
def same_masks(monkeypatch):
    """Both halves' dropout asks a NumPy generator, so that one seed gives both the same masks."""

    def mask(like, p, rng):
        return (rng.random(tuple(like.shape)) >= p) / (1 - p)

    monkeypatch.setattr(by_hand, "dropout_mask", mask)
    monkeypatch.setattr(twin, "dropout_mask", lambda *a: torch.tensor(mask(*a)))


@pytest.mark.parametrize("row", TAKES_RNG, ids=str)
@pytest.mark.usefixtures("same_masks")
def test_dropout(row):
    """The halves agree if they draw the same masks, in the same order; they draw no others."""
    ours, theirs = row.twins()
    inputs = row.arrays()
    drawn = [np.random.default_rng(5) for _ in "ab"]
    found = parity.run_numpy(ours, inputs, rng=drawn[0])
    compare(found, parity.run_torch(theirs, inputs, rng=drawn[1]), EXACT)
    after = [rng.random() for rng in drawn]
    assert after[0] == after[1]
    assert (after[0] != np.random.default_rng(5).random()) == (row.dropout > 0)
    plain = parity.run_numpy(ours, inputs)
    assert any(max_error(found[n], plain[n]) > 1e-3 for n in plain) == (row.dropout > 0)


# Whole models, by the few calls that all of them answer.


def with_targets(row, seed=1):
    """The batch of a row; padding has no targets, nor has the first position of the last text."""
    batch = row.arrays(seed=seed)["batch"]
    targets = batch.targets.copy()
    if targets.ndim == 2:
        targets[-1, 0] = -100
        if batch.mask is not None:
            targets[~batch.mask] = -100
    return replace(batch, targets=targets)


def gradients(model):
    """What has been collected, by name, as arrays."""
    return {f"d {n}": parity.plain(parity.grad(p)).copy() for n, p in model.named_parameters()}


@each_model
def test_loss_and_grads(row):
    options = {"label_smoothing": 0.1, "z_loss": 0.2, "scale": 0.3}
    ours, theirs = row.twins()
    batch = with_targets(row)
    loss = ours.loss_and_grads(batch, **options)
    other = theirs.loss_and_grads(batch.to("cpu"), **options)
    assert isinstance(loss, np.float64) and torch.is_tensor(other) and not other.requires_grad
    found = gradients(ours)
    compare({"loss": loss, **found}, {"loss": other, **gradients(theirs)}, EXACT)

    scale = options.pop("scale")

    def f():
        return scale * by_hand.cross_entropy(ours.logits(batch), batch.targets, **options)[0]

    assert max_error(f(), scale * loss) < EXACT
    for name, p in ours.named_parameters():
        parity.check_differences(f, p.data, found[f"d {name}"], entries=1)

    compare({"logits": ours.logits(batch)}, {"logits": theirs.logits(batch.to("cpu"))}, EXACT)
    compare(gradients(ours), found, 0)  # which `logits` leaves alone
    compare(gradients(theirs), found, EXACT)


@each_model
def test_loss(row):
    """What `loss` gives is what `loss_and_grads` gives, without a trace."""
    batch = with_targets(row)
    for model, given in zip(row.twins(), (batch, batch.to("cpu")), strict=True):
        loss = model.loss(given)
        assert not any(g.any() for g in gradients(model).values())
        assert max_error(loss, model.loss_and_grads(given)) < EXACT
        assert torch.is_tensor(loss) == (given is not batch)


@pytest.mark.parametrize("half", ["numpy", "torch"])
@each_model
def test_two_calls_add_up(row, half):
    """The gradients of a batch are those of its parts, each scaled by its share of the targets."""
    model = row.twins()[half == "torch"]
    whole = with_targets(row)
    parts = [parity.cut(whole, rows) for rows in (slice(0, 1), slice(1, None))]
    shares = [(part.targets != -100).sum() / (whole.targets != -100).sum() for part in parts]

    def run(batch, scale=1.0):
        batch = batch.to("cpu") if half == "torch" else batch
        return float(model.loss_and_grads(batch, scale=scale))

    model.zero_grad()
    once = {"loss": run(whole), **gradients(model)}
    model.zero_grad()
    losses = [run(part, float(share)) for part, share in zip(parts, shares, strict=True)]
    compare({"loss": np.dot(losses, shares), **gradients(model)}, once, EXACT)


def train(model, batch, optimizers):
    """Ten steps: a list of the loss before each of them and the weights after it."""
    seen = []
    for _ in range(10):
        model.zero_grad()
        loss = model.loss_and_grads(batch)
        for optimizer in optimizers:
            optimizer.step(0.01)
        weights = {name: parity.plain(p).copy() for name, p in model.named_parameters()}
        seen.append({"loss": float(loss), **weights})
    return seen


def adamw_and_muon(optim, model):
    """Muon for matrices, AdamW for the rest."""
    parameters = [p for _, p in model.named_parameters()]
    matrices = [p for p in parameters if len(p.shape) == 2]
    rest = [p for p in parameters if len(p.shape) != 2]
    return [make(some) for make, some in ((optim.Muon, matrices), (optim.AdamW, rest)) if some]


@each_model
def test_ten_training_steps(row):
    """Equal in both halves, with PyTorch's own optimizer too; and they help."""
    batch = with_targets(row)
    ours, theirs = row.twins()
    _, third = row.twins()
    own = torch.optim.AdamW(third.parameters(), lr=0.01)
    seen = train(ours, batch, [numpy_optim.AdamW(ours.parameters())])
    other = train(theirs, batch.to("cpu"), [torch_optim.AdamW(theirs.parameters())])
    by_torch = train(third, batch.to("cpu"), [SimpleNamespace(step=lambda lr: own.step())])
    for a, b, c in zip(seen, other, by_torch, strict=True):
        compare(a, b, STEPS)
        compare(a, c, STEPS)
    assert seen[-1]["loss"] < seen[0]["loss"]

    ours, theirs = row.twins()
    seen = train(ours, batch, adamw_and_muon(numpy_optim, ours))
    other = train(theirs, batch.to("cpu"), adamw_and_muon(torch_optim, theirs))
    for a, b in zip(seen, other, strict=True):
        compare(a, b, STEPS)
    assert seen[-1]["loss"] < seen[0]["loss"]


@pytest.mark.parametrize("row", [r for r in MODEL_ROWS if r.dropout], ids=str)
@pytest.mark.usefixtures("same_masks")
def test_dropout_in_training(row):
    ours, theirs = row.twins()
    batch = with_targets(row)
    loss = ours.loss_and_grads(batch, rng=np.random.default_rng(5))
    other = theirs.loss_and_grads(batch.to("cpu"), rng=np.random.default_rng(5))
    compare({"loss": loss, **gradients(ours)}, {"loss": other, **gradients(theirs)}, EXACT)
    assert max_error(loss, ours.loss(batch)) > 1e-3


def loss_after(model, batch, state):
    """The loss over a batch from a state, which stays as it is."""
    return model.loss(batch, state=deepcopy(state))


@pytest.mark.parametrize("row", [r for r in MODEL_ROWS if r.name == "Recurrent"], ids=str)
def test_state(row):
    """A text in two pieces gives the loss of the whole; no gradient goes from one to the other."""
    ours, theirs = row.twins()
    whole = with_targets(row)
    pieces = [parity.cut(whole, np.s_[:, :3]), parity.cut(whole, np.s_[:, 3:])]
    state, other_state = ours.new_cache(2), theirs.new_cache(2)
    losses = []
    for piece in pieces:
        before = deepcopy(state)
        ours.zero_grad(), theirs.zero_grad()
        losses.append(ours.loss_and_grads(piece, state=state))
        found = {"loss": losses[-1], **gradients(ours)}
        other = theirs.loss_and_grads(piece.to("cpu"), state=other_state)
        compare(found, {"loss": other, **gradients(theirs)}, EXACT)
        for name, p in ours.named_parameters():  # whatever the weights, from the same state
            f = partial(loss_after, ours, piece, before)
            parity.check_differences(f, p.data, found[f"d {name}"], entries=1)
    counts = [(piece.targets != -100).sum() for piece in pieces]
    assert max_error(np.average(losses, weights=counts), ours.loss(whole)) < EXACT


@pytest.mark.parametrize("row", [r for r in MODEL_ROWS if r.name == "Transformer"], ids=str)
def test_switches_for_speed(row):
    """PyTorch's own attention, and running blocks twice to save memory, change no result."""
    _, theirs = row.twins()
    batch = with_targets(row).to("cpu")
    found = []
    for sdpa, checkpointing in ((False, False), (True, False), (False, True)):
        theirs.speed_up(sdpa=sdpa, checkpointing=checkpointing).zero_grad()
        plain = theirs.loss_and_grads(batch)
        dropped = theirs.loss_and_grads(batch, rng=torch.Generator().manual_seed(0))
        found.append({"plain": plain, "dropped": dropped, **gradients(theirs)})
    for other in found[1:]:
        compare(other, found[0], EXACT)


@each_model
def test_mixed_precision_in_torch(row):
    """Products in bfloat16; weights, gradients and loss in float32."""
    _, theirs = row.twins("float32")
    batch = with_targets(row).to("cpu")
    found = []
    for precision in ("float32", "bfloat16"):
        theirs.speed_up(precision=precision).zero_grad()
        loss = theirs.loss_and_grads(batch)
        found.append({"loss": loss, **gradients(theirs)})
        assert {x.dtype for x in (loss, *map(parity.grad, theirs.parameters()))} == {torch.float32}
    parity.check_norms(*found, HALF[torch.bfloat16])
    # A Bigram only looks up: there is no product to round.
    assert (found[0]["loss"] != found[1]["loss"]) == (row.name != "Bigram")
