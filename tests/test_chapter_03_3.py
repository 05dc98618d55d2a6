"""Chapter 3.3: what it builds equals the package's, its engine PyTorch's, and its numbers are true."""

import inspect

import numpy as np
import pytest
import torch
from chapters import built, prose, read

from minillm.numpy_nn import gradcheck as checks
from minillm.numpy_nn import optim
from minillm.numpy_nn.parameter import Parameter

CHAPTER = "03-3-gradient-descent"
BUILT = built(CHAPTER)
CHECKS = {"numerical_gradient", "max_error", "gradcheck"}
RULES = {"SGD", "RMSProp", "Adam", "AdamW", "Muon"}
OPTIONS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("RMSProp", {}),
    ("RMSProp", {"alpha": 0.5, "eps": 1e-3}),
    ("Adam", {}),
    ("Adam", {"betas": (0.5, 0.7), "eps": 1e-3}),
    ("AdamW", {}),
    ("AdamW", {"betas": (0.5, 0.7), "eps": 1e-3, "weight_decay": 0.3}),
    ("Muon", {}),
    ("Muon", {"momentum": 0.5}),
]


def engine():
    """The names that the engine's cells define, from `class Node` to `def matmul`."""
    cells = [c.source for c in read(CHAPTER).cells if c.cell_type == "code"]
    first = next(i for i, source in enumerate(cells) if source.startswith("class Node"))
    last = next(i for i, source in enumerate(cells) if source.startswith("def matmul"))
    namespace = {"np": np}
    for source in cells[first : last + 1]:
        exec(compile(source, "the engine", "exec"), namespace)  # noqa: S102
    return namespace


def test_the_chapter_builds_these_and_no_others():
    names = {n for n, v in BUILT.items() if inspect.isfunction(v) or inspect.isclass(v)}
    others = {"Parameter", "Optimizer", "newton_schulz", "clip_grad_norm"}
    assert names == CHECKS | RULES | others


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 4)])
def test_gradient_check_is_the_packages(shape):
    x = np.random.default_rng(0).normal(size=shape)

    def f(x):
        return float((np.sin(x) * np.exp(x)).sum())

    ours, packages = BUILT["numerical_gradient"], checks.numerical_gradient
    before = x.copy()
    np.testing.assert_array_equal(ours(f, x), packages(f, x))
    np.testing.assert_array_equal(x, before)  # put back
    right = np.exp(x) * (np.sin(x) + np.cos(x))
    assert BUILT["gradcheck"](f, x, right) == checks.gradcheck(f, x, right)
    for check in (BUILT["gradcheck"], checks.gradcheck):
        with pytest.raises(AssertionError, match="the gradient is wrong"):
            check(f, x, right + 1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_max_error_is_the_packages(scale):
    a, b = scale * np.random.default_rng(1).normal(size=(2, 3, 4))
    assert BUILT["max_error"](a, b) == checks.max_error(a, b)


def steps(module, name, options, dtype, shapes):
    """Where ten steps lead: `module` names the rule and its Parameter."""
    rng = np.random.default_rng(2)
    params = [module["Parameter"](rng.normal(size=s).astype(dtype)) for s in shapes]
    rule = module[name](params, **options)
    for step in range(10):
        for p in params:
            p.grad[...] = rng.normal(size=p.data.shape) * 10 ** rng.uniform(-2, 1) + p.data**3
        rule.step(0.1 / (1 + step))
    return [p.data for p in params]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_rules_are_the_packages(name, options, dtype):
    shapes = [(3, 4), (4, 3)] + ([(5,)] if name != "Muon" else [])
    package = vars(optim) | {"Parameter": Parameter}
    ours = steps(BUILT, name, options, dtype, shapes)
    packages = steps(package, name, options, dtype, shapes)
    tol = 1e-12 if dtype == np.float64 else 1e-5
    for a, b in zip(ours, packages, strict=True):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


@pytest.mark.parametrize("name", sorted(RULES))
def test_rules_have_the_packages_defaults(name):
    ours = inspect.signature(BUILT[name]).parameters
    packages = inspect.signature(getattr(optim, name)).parameters
    for option, parameter in ours.items():
        assert parameter.default == packages[option].default
        assert parameter.kind == packages[option].kind


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (6, 1)])
@pytest.mark.parametrize("steps", [1, 5])
def test_newton_schulz_is_the_packages(shape, steps):
    g = np.random.default_rng(3).normal(size=shape)
    ours, packages = BUILT["newton_schulz"], optim.newton_schulz
    np.testing.assert_allclose(ours(g, steps), packages(g, steps), rtol=1e-12, atol=1e-12)
    assert not ours(np.zeros(shape)).any()
    if steps == 5:
        values = np.linalg.svd(ours(g), compute_uv=False)
        assert values.min() > 0.3 and values.max() < 1.3


@pytest.mark.parametrize("max_norm", [0.1, 1e3])
def test_clipping_is_the_packages(max_norm):
    grads = [np.random.default_rng(4).normal(size=s) for s in ((3, 4), (5,))]
    results = []
    for make, clip in (
        (BUILT["Parameter"], BUILT["clip_grad_norm"]),
        (Parameter, optim.clip_grad_norm),
    ):
        params = [make(np.zeros_like(g)) for g in grads]
        for p, g in zip(params, grads, strict=True):
            p.grad[...] = g
        results.append((clip(params, max_norm), [p.grad for p in params]))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


EXPRESSIONS = {
    "arithmetic": ("(a + b) * a - 2.0 * b + (1.0 - a)", [(2, 3), (2, 3)]),
    "broadcasting": ("a * b + c", [(2, 3), (3,), (2, 1)]),
    "scalars": ("a * b + b * b", [(2, 3), ()]),
    "functions": ("tanh(a) * exp(b) + log(exp(a) + 1.0)", [(2, 3), (3,)]),
    "matrices": ("matmul(tanh(a), transpose(b)) + c", [(4, 3), (2, 3), (2,)]),
    "sums": ("total(a * b, axis=-1) + total(a)", [(2, 3), (3,)]),
    "picked twice": ("reshape(pick(a, [1, 0, 1]), -1) * 3.0", [(2, 4)]),
}
OF_TORCH = {
    "tanh": torch.tanh, "exp": torch.exp, "log": torch.log, "matmul": torch.matmul,
    "transpose": torch.t, "reshape": lambda a, *shape: a.reshape(shape),
    "pick": lambda a, index: a[index],
    "total": lambda a, axis=None: a.sum() if axis is None else a.sum(axis, keepdim=True),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_engine_is_pytorchs_autograd(name):
    expression, shapes = EXPRESSIONS[name]
    ours, rng = engine(), np.random.default_rng(5)
    values = [rng.normal(size=shape) for shape in shapes]
    nodes = [ours["Node"](value) for value in values]
    leaves = [torch.tensor(value, requires_grad=True) for value in values]
    letters = "abc"[: len(shapes)]
    y = eval(expression, ours | dict(zip(letters, nodes, strict=True)))
    z = eval(expression, OF_TORCH | dict(zip(letters, leaves, strict=True)))
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-13)
    weight = rng.normal(size=y.data.shape)
    for _ in range(2):  # a second backward pass adds the same again
        ours["total"](y * weight).backward()
    (2 * z * torch.tensor(weight)).sum().backward()
    for node, leaf in zip(nodes, leaves, strict=True):
        assert node.grad.shape == node.data.shape
        np.testing.assert_allclose(node.grad, leaf.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_numbers_on_paper():
    text = prose(CHAPTER)
    w, visited = 0.0, []
    for _ in range(3):
        w -= 0.1 * (8 * w - 24)
        visited.append(w)
    for number, value in zip(("2.4", "2.88", "2.976"), visited, strict=True):
        assert number in text
        assert np.isclose(value, float(number))
    first = 3.4445 * 0.1 - 4.7750 * 0.1**3 + 2.0315 * 0.1**5
    assert "0.34445 - 0.004775 + 0.00002 \\approx 0.340" in text
    assert f"{first:.3f}" == "0.340"
    V, T, C, F = 65, 8, 16, 128
    assert "25,937 weights" in text
    assert V * C + F * T * C + F + V * F + V == 25_937
    assert f"{np.log(V):.2f}" == "4.17"
