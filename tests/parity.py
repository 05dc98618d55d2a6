"""One class in both halves: built alike, given the same weights, run forward and backward.

What a run gives is one dict of plain arrays, ``{"y": ..., "d x": ..., "d weight": ...}``: outputs,
and the gradients of inputs and parameters. So two runs are compared entry by entry.
"""

import importlib
import inspect
import pkgutil
from dataclasses import dataclass

import numpy as np
import torch

import minillm.numpy_nn
import minillm.torch_nn
from minillm import config, weights
from minillm.batches import Batch
from minillm.numpy_nn.gradcheck import gradcheck, max_error
from minillm.numpy_nn.parameter import Parameter

PACKAGES = {"numpy": minillm.numpy_nn, "torch": minillm.torch_nn}
ELSEWHERE = {"LoRALinear"}  # made of another layer, which gets no gradient: tests/test_lora.py


def files(half):
    """The names of a half's modules."""
    return {info.name for info in pkgutil.iter_modules(PACKAGES[half].__path__)}


def module(half, name):
    """One module of a half."""
    return importlib.import_module(f"{PACKAGES[half].__name__}.{name}")


def find(half, *methods):
    """Public classes of a half that have certain methods, their own or inherited, by name."""
    both = [module(half, name) for name in sorted(files("numpy") & files("torch"))]
    return {
        name: thing
        for file in both
        for name in file.__all__
        if name not in ELSEWHERE
        and inspect.isclass(thing := vars(file)[name])
        and all(hasattr(thing, method) for method in methods)
    }


# What a row of the table gives to `forward`, each a function of a random generator.


def floats(*shape):
    """Random numbers, which have a gradient."""
    return lambda rng: rng.normal(size=shape)


def ids(high, *shape):
    """Tokens below `high`."""
    return lambda rng: rng.integers(high, size=shape)


def fixed(array):
    """Just this, such as a mask."""
    return lambda rng: np.array(array)


def padded(*lengths, left=False):
    """A mask (B, T) of texts of these lengths, T the longest."""
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return fixed(mask[:, ::-1] if left else mask)


def causal(T):
    """A mask (T, T) that lets no position see a later one, and the first none at all."""
    return fixed(np.tri(T, k=-1, dtype=bool))


def angles(T, d_head):
    """Tables of cosines and sines, (T, K / 2)."""
    turned = np.random.default_rng(6).uniform(size=(T, d_head // 2))
    return fixed(np.cos(turned)), fixed(np.sin(turned))


def batch(**arrays):
    """A batch of what these functions make."""
    return lambda rng: Batch(**{name: make(rng) for name, make in arrays.items()})


@dataclass(frozen=True)
class Row:
    """One row of the table: a class, how it is made, and what its `forward` is given."""

    name: str
    args: tuple
    options: dict
    inputs: dict
    title: str = ""

    def __str__(self):
        """What pytest calls it."""
        said = [type(a).__name__ if is_config(a) else str(a) for a in self.args]
        said += [f"{n}={v}" for n, v in self.options.items()]
        return self.title or f"{self.name}({', '.join(said)})"

    @property
    def dropout(self):
        """The share that is dropped somewhere in it."""
        (p, *_), options = self.args, self.options
        return p if self.name == "Dropout" else getattr(p, "dropout", options.get("dropout", 0))

    @property
    def cls(self):
        """The class in the NumPy half."""
        return find("numpy", "forward")[self.name]

    def make(self, half, seed=0):
        """The layer or model in float32, with the initial values that it gives itself."""
        cls = find(half, "forward")[self.name]
        make_rng = {"numpy": np.random.default_rng, "torch": torch.Generator().manual_seed}
        rng = make_rng[half](seed)
        takes_rng = "rng" in inspect.signature(cls).parameters
        return cls(*self.args, **self.options, **({"rng": rng} if takes_rng else {}))

    def twins(self, dtype="float64"):
        """The layer or model in both halves, with the same random weights."""
        ours, theirs = self.make("numpy").to(dtype), self.make("torch").to(getattr(torch, dtype))
        randomize(ours)
        weights.copy(ours, theirs)  # raises unless names and shapes agree
        return ours, theirs

    def arrays(self, dtype="float64", seed=1):
        """What `forward` is given, by name."""
        rng = np.random.default_rng(seed)
        made = nested(lambda make: make(rng) if callable(make) else make, self.inputs)
        return nested(lambda x: x.astype(dtype) if is_float(x) else x, made)


def model_row(sizes, name, options, inputs):
    """The row of a model: "Transformer.llama" is made with ``TransformerConfig.llama(...)``."""
    title = ", ".join(f"{n}={v}" for n, v in options.items())
    class_name, _, preset = name.partition(".")
    kind = getattr(config, f"{class_name}Config")
    made = getattr(kind, preset) if preset else kind
    args = (made(**sizes[class_name] | options),)
    return Row(
        class_name, args, {}, {"batch": batch(**inputs)}, f"{name}({title})-{'-'.join(inputs)}"
    )


def is_config(x):
    """Whether `x` is a record of options."""
    return isinstance(x, config.ModelConfig)


def is_float(x):
    """Whether `x` is an array of floating-point numbers."""
    return isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating)


def randomize(layer, seed=2):
    """Random weights everywhere, so that initial ones and zeros hide nothing."""
    rng = np.random.default_rng(seed)
    for _, p in layer.named_parameters():
        fan_in = p.shape[-1] if len(p.shape) > 1 else 2
        p.data[...] = rng.normal(size=p.shape) / np.sqrt(fan_in)


# Running. Inputs and outputs may be nested tuples, such as a state.


def nested(f, x):
    """f of every leaf of nested tuples, lists and dicts, in their form; None stays."""
    if isinstance(x, dict):
        return {name: nested(f, part) for name, part in x.items()}
    if isinstance(x, (tuple, list)):
        return type(x)(nested(f, part) for part in x)
    return None if x is None else f(x)


def flatten(x, name):
    """The leaves of nested tuples by the names of their places: ``{"y.0": ..., "y.1.0": ...}``."""
    if isinstance(x, (tuple, list)):
        parts = [flatten(part, f"{name}.{i}") for i, part in enumerate(x)]
        return {n: leaf for part in parts for n, leaf in part.items()}
    return {} if x is None else {name: x}


def with_gradient(inputs):
    """The leaves of inputs that have a gradient: floats, but for masks and angles."""
    known = {n: x for n, x in inputs.items() if n not in ("mask", "rotary")}
    leaves = [flatten(x, name) for name, x in known.items()]
    return {n: x for part in leaves for n, x in part.items() if is_float(x) or is_leaf(x)}


def is_leaf(x):
    """Whether `x` is a tensor whose gradient is wanted."""
    return torch.is_tensor(x) and x.requires_grad


def random_dy(y, seed=3):
    """A random gradient for every output, of its shape, in float64."""
    rng = np.random.default_rng(seed)
    return nested(lambda part: rng.normal(size=tuple(part.shape)), y)


def run_numpy(layer, inputs, **options):
    """Forward and, with a random dy, backward."""
    layer.zero_grad()
    y, cache = layer.forward(**inputs, **options)
    return results(y, backward(layer, y, cache), layer, inputs)


def backward(layer, y, cache):
    """What `backward` gives for `random_dy`; the state has its own argument, after the cache."""
    first, *others = random_dy_like(y) if isinstance(y, tuple) else (random_dy_like(y),)
    return layer.backward(first, cache, *others)


def random_dy_like(y):
    """`random_dy` in the dtype of what `forward` returned."""
    dtype = next(iter(flatten(y, "y").values())).dtype
    return nested(lambda g: g.astype(dtype), random_dy(y))


def results(y, dx, layer, inputs):
    """Outputs and gradients by name; the gradients of inputs come in the order of the inputs."""
    gradients, names = list(flatten(dx, "dx").values()), list(with_gradient(inputs))
    assert len(names) <= len(gradients), f"{len(gradients)} gradients, expected those of {names}"
    return {
        **flatten(y, "y"),
        **{f"d {name}": g for name, g in zip(names, gradients, strict=False)},
        **{f"d {name}": p.grad.copy() for name, p in layer.named_parameters()},
    }


def tensor(x, dtype):
    """An input for the torch half; floats become leaves of `dtype`, whose gradient is wanted."""
    if isinstance(x, Batch):
        return x.to("cpu")
    if is_float(x):
        return torch.tensor(x, dtype=dtype).requires_grad_()
    return torch.tensor(x) if isinstance(x, np.ndarray) else x


def run_torch(layer, inputs, *, dtype=torch.float64, **options):
    """The same by autograd, with the same dy."""
    leaves = nested(lambda x: tensor(x, dtype), inputs)
    layer.zero_grad()
    y = layer(**leaves, **options)
    outputs = list(flatten(y, "y").values())
    pairs = zip(outputs, flatten(random_dy(y), "dy").values(), strict=True)
    used = [(part, torch.tensor(g).to(part.dtype)) for part, g in pairs if part.requires_grad]
    torch.autograd.backward(*zip(*used, strict=True))
    sources = with_gradient(leaves) | dict(layer.named_parameters())
    return {
        **{name: part.detach() for name, part in flatten(y, "y").items()},
        **{f"d {name}": grad(x) for name, x in sources.items()},
    }


def grad(p):
    """The gradient of a parameter or tensor; none counts as zeros."""
    return torch.zeros_like(p) if p.grad is None else p.grad


# Comparing.


def compare(ours, theirs, tol):
    """Raise unless two dicts of arrays agree: |a - b| <= tol max(1, |a|, |b|) everywhere."""
    assert ours.keys() == theirs.keys()
    errors = {name: max_error(plain(ours[name]), plain(theirs[name])) for name in ours}
    wrong = {name: error for name, error in errors.items() if not error <= tol}
    assert not wrong, f"largest differences above {tol:g}: {wrong}"


def plain(x):
    """An array, tensor, Parameter or number as an array; bfloat16, unknown to NumPy, as float64."""
    if isinstance(x, Parameter):
        return x.data
    if not torch.is_tensor(x):
        return np.asarray(x)
    x = x.detach()
    return (x.double() if x.dtype == torch.bfloat16 else x).numpy()


def check_norms(ours, theirs, tol):
    """Raise unless the norm of a - b is at most tol (1 + norm of a), for each array."""
    assert ours.keys() == theirs.keys()
    norm = np.linalg.norm
    pairs = {n: (plain(ours[n]).astype("f8"), plain(theirs[n]).astype("f8")) for n in ours}
    errors = {n: norm(a - b) / (1 + norm(a)) for n, (a, b) in pairs.items()}
    wrong = {name: error for name, error in errors.items() if not error <= tol}
    assert not wrong, f"relative errors above {tol:g}: {wrong}"


def check_differences(f, array, gradient, *, entries=8, tol=1e-7):
    """Raise unless `gradient` is that of f(), which looks at `array`, by central differences.

    They are taken along one random direction, in which every entry has a part, and at some single
    entries: all of them would take too long. No draw of ours lies within a step of a kink.
    """
    rng = np.random.default_rng(array.size)
    before = array.copy()
    direction = rng.normal(size=array.shape)
    direction /= np.linalg.norm(direction)
    places = np.sort(rng.choice(array.size, size=min(entries, array.size), replace=False))

    def along(step):
        array[...] = before + step * direction
        return f()

    def at(values):
        array[...] = before
        array.flat[places] = values
        return f()

    try:
        gradcheck(along, np.zeros(1), np.sum(gradient * direction, keepdims=True).ravel(), tol=tol)
        gradcheck(at, before.flat[places], gradient.flat[places], tol=tol)
    finally:
        array[...] = before


def cut(batch, where):
    """A part of a batch: the same index of each of its arrays."""
    return Batch(**{name: x if x is None else x[where] for name, x in vars(batch).items()})


def arrays_in(x):
    """All arrays in nested tuples, lists, dicts and objects such as a cache."""
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, (tuple, list)):
        for part in x:
            yield from arrays_in(part)
    elif isinstance(x, dict):
        yield from arrays_in(list(x.values()))
    elif hasattr(x, "__dict__"):
        yield from arrays_in(vars(x))
