"""Weights go from half to half, to the disk and back, unchanged; what is damaged is told."""

import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from minillm import safetensors, weights
from minillm.config import (
    BigramConfig,
    LSTMEncoderDecoderConfig,
    MLPConfig,
    RecurrentConfig,
    TransformerConfig,
)
from minillm.numpy_nn import layers as by_hand
from minillm.numpy_nn.models import build as build_by_hand
from minillm.safetensors import TensorFile, write
from minillm.torch_nn import layers as twin
from minillm.torch_nn.models import build as build_twin

properties = settings(deadline=None, max_examples=60, derandomize=True, database=None)

SIZES = {"vocab_size": 7, "d_model": 4}
GPT = {**SIZES, "context_length": 5, "n_layer": 2, "n_head": 2}
CONFIGS = [
    BigramConfig(vocab_size=7),
    MLPConfig(**SIZES, context_length=3, d_hidden=5),
    RecurrentConfig(**SIZES, d_hidden=4, n_layer=2, tied=True),
    LSTMEncoderDecoderConfig(**SIZES, source_vocab_size=6, d_hidden=5),
    TransformerConfig.gpt2(**GPT),
    TransformerConfig.llama(**GPT, n_kv_head=1),
    TransformerConfig.recipe(**GPT),
    TransformerConfig.original(**GPT),
]
BUILD = {"numpy": build_by_hand, "torch": build_twin}
HALVES = [(a, b) for a in BUILD for b in BUILD]
each_config = pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda c: f"{c.model}{CONFIGS.index(c)}"
)
each_pair = pytest.mark.parametrize(("half", "other"), HALVES, ids=[f"{a}-{b}" for a, b in HALVES])


def random_model(config, half, dtype="float32", seed=0):
    """A model none of whose numbers are zeros or those that it started with."""
    model = BUILD[half](config)
    model.to(dtype if half == "numpy" else getattr(torch, dtype))
    rng = np.random.default_rng(seed)
    for _, p in model.named_parameters():
        x = rng.normal(size=tuple(p.shape))
        p.data[...] = x if half == "numpy" else torch.tensor(x)
    return model


def arrays(model):
    """All weights by name, as exact as they are."""
    named = {name: p.data for name, p in model.named_parameters()}
    return {n: x.double().numpy() if torch.is_tensor(x) else x for n, x in named.items()}


def dtypes(model):
    return {str(p.data.dtype).removeprefix("torch.") for _, p in model.named_parameters()}


def equal(a, b):
    """Whether two models or dicts have the same weights to the last bit."""
    a, b = (x if isinstance(x, dict) else arrays(x) for x in (a, b))
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# Copies.


@each_config
@each_pair
def test_copy(config, half, other):
    source, target = (
        random_model(config, half, "float64"),
        random_model(config, other, "float64", 1),
    )
    assert not equal(source, target)
    weights.copy(source, target)
    assert equal(source, target)  # not one bit lost
    before = arrays(source)
    for _, p in target.named_parameters():
        p.data[...] = 0
    assert equal(source, before)  # copied, not shared


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@each_pair
def test_copy_keeps_the_dtype_of_the_target(half, other, dtype):
    if "numpy" in (half, other) and dtype == "bfloat16" or (half, dtype) == ("numpy", "float16"):
        return
    config = CONFIGS[1]
    source, target = random_model(config, half, dtype), BUILD[other](config)
    weights.copy(source, target)  # up, or down, to float32
    assert dtypes(target) == {"float32"}
    expected = {name: x.astype(np.float32) for name, x in arrays(source).items()}
    assert equal(target, expected)
    back = random_model(config, half, dtype, seed=1)
    weights.copy(target, back)
    assert dtypes(back) == {dtype}
    assert equal(back, source) or dtype == "float64"


def test_copy_of_layers_leaves_gradients():
    layer, other = by_hand.Linear(3, 2), twin.Linear(3, 2)
    layer.weight.grad += 1
    weights.copy(other, layer)
    assert (layer.weight.grad == 1).all()
    assert np.array_equal(layer.weight.data, other.weight.detach())


# Files.


@each_config
@each_pair
def test_saved_by_one_half_loaded_by_the_other(config, half, other, tmp_path):
    for dtype in ("float32", "float64"):
        model = random_model(config, half, dtype)
        weights.save(model, tmp_path / "model.safetensors")
        loaded = weights.load(tmp_path / "model.safetensors", half=other)
        assert type(loaded).__module__.startswith(f"minillm.{other}_nn.")
        assert loaded.config == config and dtypes(loaded) == {dtype}
        assert equal(model, loaded)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("half", "saved", "other", "asked", "got"),
    [
        ("torch", "bfloat16", "torch", None, "bfloat16"),
        ("torch", "bfloat16", "numpy", None, "float32"),
        ("torch", "float16", "torch", None, "float16"),
        ("torch", "float16", "numpy", None, "float32"),
        ("numpy", "float64", "torch", "float32", "float32"),
        ("numpy", "float32", "torch", "bfloat16", "bfloat16"),
        ("torch", "bfloat16", "numpy", "float64", "float64"),
    ],
)
def test_dtypes(half, saved, other, asked, got, tmp_path):
    model = random_model(CONFIGS[1], half, saved)
    weights.save(model, tmp_path / "model")
    loaded = weights.load(tmp_path / "model", half=other, dtype=asked)
    assert dtypes(loaded) == {got}
    if got != "bfloat16" or saved == got:
        expected = {
            name: x.astype(got if got != "bfloat16" else float) for name, x in arrays(model).items()
        }
        assert equal(loaded, expected)


def test_tied_weights_are_written_once(tmp_path):
    for half in BUILD:
        weights.save(random_model(CONFIGS[2], half), tmp_path / "tied")
        file = TensorFile(tmp_path / "tied")
        assert "embedding.weight" in file and "output.weight" not in file


def test_compiled_models(tmp_path):
    """What `torch.compile` wraps keeps the names that it had."""
    model = random_model(CONFIGS[4], "torch")
    weights.save(torch.compile(model, backend="eager"), tmp_path / "model")
    model.blocks[0] = torch.compile(model.blocks[0], backend="eager")
    target = build_by_hand(CONFIGS[4])
    weights.copy(model, target)
    assert equal(weights.load(tmp_path / "model"), target)


def test_extra(tmp_path):
    """What a training run wants back: moments, its generators' states, where it was."""
    rng, generator = np.random.default_rng(5), torch.Generator().manual_seed(5)
    extra = {
        "step": 100,
        "losses": [2.5, 1e-300],
        "rng": rng.bit_generator.state,
        "generator": generator.get_state(),
        "moment": np.arange(6.0).reshape(2, 3),
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    model = random_model(CONFIGS[1], "numpy")
    weights.save(model, tmp_path / "model", extra=extra)
    assert equal(weights.load(tmp_path / "model", half="torch"), model)
    found = weights.load_extra(tmp_path / "model")
    assert {name: found[name] for name in ("step", "losses", "rng")} == {
        name: extra[name] for name in ("step", "losses", "rng")
    }
    assert np.array_equal(found["moment"], extra["moment"]) and found["moment"].dtype == float
    assert found["half"].dtype == np.float32 and (found["half"] == 1).all()
    again, other = np.random.default_rng(), torch.Generator()
    again.bit_generator.state = found["rng"]
    other.set_state(torch.from_numpy(found["generator"]))
    assert again.random() == rng.random()
    assert torch.rand(1, generator=other) == torch.rand(1, generator=generator)


def test_nothing_is_left_of_a_write_that_fails(tmp_path, monkeypatch):
    """The older file stays as it was, wherever the newer one breaks off."""
    path = tmp_path / "model"
    weights.save(random_model(CONFIGS[1], "numpy"), path)
    before = path.read_bytes()

    def fails(*arguments):
        raise OSError("no space left on device")

    for place in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, place, fails)
            with pytest.raises(OSError, match="no space"):
                weights.save(random_model(CONFIGS[1], "numpy", seed=1), path)
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_order_of_writing(tmp_path, monkeypatch):
    """All bytes are on the disk before the name is there."""
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("replace"), replace(*names)))
    write(tmp_path / "file", {"x": np.ones(3)})
    assert done == ["fsync", "replace"]


def test_pytorch_is_not_imported_for_numpy():
    program = """
import sys, tempfile
from minillm import checkpoints, weights
from minillm.config import BigramConfig
from minillm.numpy_nn.models import Bigram
path = tempfile.mkdtemp() + "/model"
weights.save(Bigram(BigramConfig(vocab_size=3)), path)
weights.copy(weights.load(path), Bigram(BigramConfig(vocab_size=3)))
sys.exit("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# The format: what we write the library reads, and the other way round.

DTYPES = [*safetensors.CODES]
SHAPES = st.lists(st.integers(0, 3), max_size=3)


@properties
@given(
    tensors=st.dictionaries(st.text(max_size=5), st.tuples(st.sampled_from(DTYPES), SHAPES)),
    metadata=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    seed=st.integers(0, 99),
)
def test_format(tmp_path_factory, tensors, metadata, seed):
    """Every dtype and shape, empty ones and names in any script included, with every bit."""
    folder = tmp_path_factory.mktemp("format")
    tensors.pop("__metadata__", None)
    generator = torch.Generator().manual_seed(seed)
    given = {
        name: torch.randint(0, 2 if dtype == "bool" else 100, shape, generator=generator)
        .to(getattr(torch, dtype))
        .div(7 if "float" in dtype else 1)
        .to(getattr(torch, dtype))
        for name, (dtype, shape) in tensors.items()
    }
    write(folder / "ours", given, metadata=metadata)
    save_file(given, folder / "theirs", metadata=metadata or None)
    theirs = load_file(folder / "ours")
    with safe_open(folder / "ours", "pt") as file:
        assert metadata.items() <= file.metadata().items()
    for path in ("ours", "theirs"):
        file = TensorFile(folder / path)
        assert file.metadata == metadata
        assert set(file) == set(given) == set(theirs) and len(file) == len(given)
        for name, x in given.items():
            assert theirs[name].dtype == x.dtype and torch.equal(theirs[name], x)
            assert file.shapes[name] == x.shape and file.dtypes[name] == str(x.dtype)[6:]
            found = torch.from_numpy(file[name])
            assert found.dtype == (x.dtype if x.dtype != torch.bfloat16 else torch.float32)
            assert torch.equal(found.to(x.dtype), x)


def test_every_bfloat16(tmp_path):
    """All 65,536 of them, infinities and NaN too, become the float32 that PyTorch makes of them."""
    x = torch.arange(2**16).to(torch.uint16).view(torch.bfloat16)
    write(tmp_path / "all", {"x": x})
    found = TensorFile(tmp_path / "all")["x"]
    assert np.array_equal(found.view(np.uint32), x.float().numpy().view(np.uint32))


def test_arrays_in_any_order(tmp_path):
    """Transposed ones, slices, scalars: what is written is what they hold."""
    x = np.arange(24.0).reshape(2, 3, 4)
    given = {"t": x.T, "s": x[:, ::2, 1:], "0": np.float32(3), "b": np.broadcast_to(x[0], x.shape)}
    write(tmp_path / "file", given)
    file = TensorFile(tmp_path / "file")
    for name, array in given.items():
        assert np.array_equal(file[name], array) and file[name].shape == np.shape(array)


def test_a_large_file_is_not_read_into_memory(tmp_path):
    """Of a file of a gigabyte (sparse on the disk) one tensor is looked at: memory hardly grows."""
    n = 2**28
    header = {"big": {"dtype": "F32", "shape": [n], "data_offsets": [0, 4 * n]}}
    header["small"] = {"dtype": "BF16", "shape": [1000], "data_offsets": [4 * n, 4 * n + 2000]}
    text = json.dumps(header).encode()
    with open(tmp_path / "big", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(file.tell() + 4 * n + 2000)
    program = f"""
import resource
from minillm.safetensors import TensorFile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
file = TensorFile({str(tmp_path / "big")!r})
assert file["small"].sum() == 0 and file["big"][-1] == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 20_000  # kilobytes (on macOS bytes)


# What may be wrong.


def change(path, **changes):
    """Write a file anew with other text in its header."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    for place, value in changes.items():
        *way, last = place.split("__")
        entry = header
        for key in way:
            entry = entry[{"meta": "__metadata__"}.get(key, key.replace("_", "."))]
        entry[last] = value
    del header["__metadata__"]["crc32"]  # so that something else is wrong first
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


def raw_change(edit):
    return lambda path: path.write_bytes(edit(path.read_bytes()))


def flipped(raw, place):
    raw = bytearray(raw)
    raw[place] ^= 4
    return bytes(raw)


def no_model(path, tensors=None, metadata=None):
    save_arrays(tensors or {"x": np.ones(3)}, path, metadata=metadata)


CONFIG = CONFIGS[1].to_json()
DAMAGED = [
    ("empty", raw_change(lambda raw: b""), "no header fits in its 0 bytes"),
    ("three bytes", raw_change(lambda raw: raw[:3]), "no header fits in its 3 bytes"),
    ("half a header", raw_change(lambda raw: raw[:100]), "no header fits in its 100 bytes"),
    ("one byte short", raw_change(lambda raw: raw[:-1]), "follow the header"),
    ("one byte more", raw_change(lambda raw: raw + b"x"), "follow the header"),
    ("half the data", raw_change(lambda raw: raw[: len(raw) - 150]), "follow the header"),
    ("one bit of the data", raw_change(lambda raw: flipped(raw, -5)), "checksum is not"),
    ("length of the header", raw_change(lambda raw: b"\xff" * 8 + raw[8:]), "no header fits"),
    ("header of zeros", raw_change(lambda raw: bytes(8) + raw[8:]), "no header fits"),
    ("no JSON", raw_change(lambda raw: raw[:8] + b"}" + raw[9:]), "Expecting value"),
    ("no text", raw_change(lambda raw: raw[:9] + b"\xff\xfe\xfd" + raw[12:]), "decode"),
    ("one bit of the options", raw_change(lambda raw: flipped(raw, raw.index(b"MLP"))), "checksum is not"),
    ("deep", raw_change(lambda raw: (10**5).to_bytes(8, "little") + b"[" * 10**5), "recursion"),
    ("text", raw_change(lambda raw: b"The quick brown fox jumps over the lazy dog."), "no header fits"),
    ("a list", raw_change(lambda raw: (2).to_bytes(8, "little") + b"[]"), "no whole safetensors"),
    ("dtype", lambda path: change(path, hidden_weight__dtype="F8_E4M3"), "dtype F8_E4M3, expected one of"),
    ("narrower", lambda path: change(path, hidden_weight__dtype="F16"), "hidden.weight has dtype float16"),
    ("shape", lambda path: change(path, hidden_weight__shape=[5, 13]), "hidden.weight has dtype"),
    ("negative", lambda path: change(path, hidden_weight__shape=[-5, -12]), "shape [-5, -12]"),
    ("overlap", lambda path: change(path, hidden_weight__data_offsets=[0, 240]), "after byte"),
    ("no numbers", lambda path: change(path, hidden_weight__data_offsets="all"), "no whole"),
    ("no entry", lambda path: change(path, hidden_weight=None), "no whole"),
    ("pickle", lambda path: path.write_bytes(pickle.dumps({"weight": [1.0] * 50})), "looks like a pickle"),
    ("torch.save", lambda path: torch.save({"weight": torch.ones(9)}, path), "never opened here"),
    ("no model's file", no_model, "holds no record of a model's options"),
    ("other options", lambda path: change(path, meta__config=CONFIGS[0].to_json()), "table.weight is missing"),
    ("options cut off", lambda path: change(path, meta__config=CONFIG[:-5]), "expected JSON"),
    ("an option too many", lambda path: change(path, meta__config=CONFIG[:-1] + ', "n": 1}'), "n = 1"),
    ("a wrong option", lambda path: change(path, meta__config=CONFIG.replace("3", "0")), "context_length = 0"),
    ("wider", lambda path: change(path, meta__config=CONFIG.replace("5", "6")), "shape (5, 12), expected (6, 12)"),
    ("no config", lambda path: no_model(path, metadata={"extra": "{}"}), "no record"),
    ("config only", lambda path: no_model(path, metadata={"config": CONFIG, "extra": "{}"}),
     "embedding.weight is missing; hidden.weight is missing; hidden.bias is missing"),
    ("whole numbers", lambda path: no_model(path, {"x": np.ones(2, np.int8)}, {"config": CONFIG, "extra": ""}),
     "dtypes ['int8']"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "message"), [d[1:] for d in DAMAGED], ids=[d[0] for d in DAMAGED]
)
def test_damaged_files(damage, message, tmp_path):
    path = tmp_path / "model.safetensors"
    weights.save(random_model(CONFIGS[1], "numpy"), path)
    damage(path)
    for half in BUILD:
        with pytest.raises(ValueError) as caught:
            weights.load(path, half=half)
        assert message in str(caught.value) and str(path) in str(caught.value)


@properties
@given(data=st.data())
def test_no_damage_goes_unnoticed(tmp_path_factory, data):
    """Cut anywhere, or with any one bit of header or data turned: an error, or the same weights."""
    path = tmp_path_factory.mktemp("damage") / "model"
    model = random_model(CONFIGS[0], "numpy")
    weights.save(model, path)
    raw = path.read_bytes()
    if data.draw(st.booleans(), label="cut"):
        path.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
    else:
        place = data.draw(st.integers(0, len(raw) - 1))
        damaged = bytearray(raw)
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(damaged)
    try:
        loaded = weights.load(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert equal(loaded, model)


class Bomb:
    """What a pickle can do when it is opened."""

    def __reduce__(self):
        return os.kill, (os.getpid(), signal.SIGTERM)


def test_a_pickle_is_not_opened(tmp_path):
    for version in range(6):
        (tmp_path / "model").write_bytes(pickle.dumps(Bomb(), protocol=version))
        with pytest.raises(ValueError, match="no whole safetensors file"):
            weights.load(tmp_path / "model")


BAD = [
    ("no file", lambda m, p: weights.load(p / "none"), FileNotFoundError, "none"),
    ("folder", lambda m, p: weights.load(p), ValueError, "is a folder, expected a file"),
    ("folder", lambda m, p: weights.save(m, p), OSError, ""),
    ("no folder", lambda m, p: weights.save(m, p / "none" / "m"), FileNotFoundError, "none"),
    ("half", lambda m, p: weights.load(p, half="jax"), ValueError, "half = 'jax', expected 'numpy'"),
    ("dtype", lambda m, p: weights.load(p, dtype="int8"), ValueError, "dtype = 'int8', expected one"),
    ("bfloat16", lambda m, p: weights.load(p, dtype="bfloat16"), ValueError, "dtype = 'bfloat16'"),
    ("a layer", lambda m, p: weights.save(by_hand.Linear(2, 2), p / "m"), TypeError,
     "model is a Linear, expected a model with a config"),
    ("a dict", lambda m, p: weights.save({}, p / "m"), TypeError, "model is a dict"),
    ("extra", lambda m, p: weights.save(m, p / "m", extra={"f": len}), TypeError, "not JSON"),
    ("complex", lambda m, p: write(p / "m", {"z": np.ones(2, complex)}), TypeError, "z is complex128"),
    ("a list", lambda m, p: write(p / "m", {"z": [1.0]}), TypeError, "z is list, expected an array"),
    ("copy", lambda m, p: weights.copy(m, [1]), TypeError, "target is a list, expected a layer"),
    ("from", lambda m, p: weights.copy("model", m), TypeError, "source is a str, expected a layer"),
    ("another", lambda m, p: weights.copy(m, by_hand.Linear(2, 3)), ValueError,
     "source does not fit target: weight is missing; bias is missing; embedding.weight is unknown"),
    ("shapes", lambda m, p: weights.copy(by_hand.Linear(3, 2), twin.Linear(2, 3)), ValueError,
     "weight has shape (2, 3), expected (3, 2); bias has shape (2,), expected (3,)"),
    ("many", lambda m, p: weights.copy(by_hand.Linear(3, 2), m), ValueError, "; and 3 more"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_input(call, error, message, tmp_path):
    with pytest.raises(error) as caught:
        call(random_model(CONFIGS[1], "numpy"), tmp_path)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_nothing_is_copied_where_something_differs():
    ours, theirs = by_hand.Linear(3, 2), twin.Linear(3, 2, bias=False)
    before = theirs.weight.detach().clone()
    with pytest.raises(ValueError, match="bias is unknown"):
        weights.copy(ours, theirs)
    assert torch.equal(theirs.weight, before)
