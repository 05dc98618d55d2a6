"""The optimizers: by hand, their twins and PyTorch's own take the same steps; Muon an SVD's."""

import inspect

import numpy as np
import pytest
import torch

from minillm.numpy_nn import optim as by_hand
from minillm.numpy_nn.gradcheck import max_error
from minillm.numpy_nn.parameter import Parameter
from minillm.torch_nn import optim as twin

SHAPES = [(3, 4), (5,), ()]  # a matrix, a vector, a scalar
STEPS = 12


def gradient(theta, noise):
    """The gradient of a bumpy bowl, so that every step depends on all the steps before it."""
    return theta**3 + noise


def problem(shapes, seed=0):
    """Starting points and each step's noise, in float64."""
    rng = np.random.default_rng(seed)
    start = [rng.normal(size=shape) for shape in shapes]
    noise = [[rng.normal(size=shape) for shape in shapes] for _ in range(STEPS)]
    return start, noise


def schedule(t):
    return 0.05 * (1 - t / STEPS) if t else 0.0  # a first step of length 0: a warm-up


def run_by_hand(make, start, noise):
    params = [Parameter(x.copy()) for x in start]
    optimizer = make(params)
    for t, noises in enumerate(noise):
        optimizer.zero_grad()
        for p, n in zip(params, noises, strict=True):
            p.grad += gradient(p.data, n)
        optimizer.step(schedule(t))
    return [p.data for p in params]


def run_in_torch(make, start, noise):
    """The same with tensors; `make` gives a twin, or an optimizer of PyTorch's own."""
    params = [torch.nn.Parameter(torch.tensor(x)) for x in start]
    optimizer = make(params)
    for t, noises in enumerate(noise):
        optimizer.zero_grad()
        for p, n in zip(params, noises, strict=True):
            p.grad = gradient(p.detach(), torch.tensor(n))
        if isinstance(optimizer, torch.optim.Optimizer):
            for group in optimizer.param_groups:
                group["lr"] = schedule(t)
            optimizer.step()
        else:
            optimizer.step(schedule(t))
    return [p.detach().numpy() for p in params]


# Rules that PyTorch has too, with arguments of the same names.
RULES = [
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("RMSProp", {}),
    ("RMSProp", {"alpha": 0.9, "eps": 1e-3}),
    ("Adam", {}),
    ("Adam", {"betas": (0.8, 0.95), "eps": 1e-3}),
    ("AdamW", {}),
    ("AdamW", {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.5}),
]
MUONS = [
    {},
    {"momentum": 0.5, "nesterov": False, "ns_steps": 3},
    {"momentum": 0.0, "weight_decay": 0.5},
]
NAMES = ["SGD", "RMSProp", "Adam", "AdamW", "Muon"]


@pytest.mark.parametrize(("name", "options"), RULES, ids=str)
def test_same_steps(name, options):
    own_of_torch = {"RMSProp": "RMSprop"}.get(name, name)
    start, noise = problem(SHAPES)
    ours = run_by_hand(lambda p: getattr(by_hand, name)(p, **options), start, noise)
    others = [
        run_in_torch(lambda p: getattr(twin, name)(p, **options), start, noise),
        run_in_torch(lambda p: getattr(twin, name)(p, **options, fused=True), start, noise),
        run_in_torch(lambda p: getattr(torch.optim, own_of_torch)(p, **options), start, noise),
    ]
    for theirs in others:
        for a, b, x in zip(ours, theirs, start, strict=True):
            assert max_error(a, b) < 1e-10
            assert max_error(a, x) > 1e-2  # it has moved


def orthogonalized_by_svd(g, steps):
    """What `newton_schulz` should give, with the polynomial applied to the singular values."""
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    s = s / np.linalg.norm(s)
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u * s @ vt


def muon_by_svd(
    w, noise, *, momentum=0.95, nesterov=True, ns_steps=5, weight_decay=0.0, factor=1.0
):
    """Muon as its authors describe it, on one matrix, one step after another."""
    velocity = 0.0
    for t, (n,) in enumerate(noise):
        g = gradient(w, n)
        velocity = momentum * velocity + g
        o = orthogonalized_by_svd(g + momentum * velocity if nesterov else velocity, ns_steps)
        scale = factor * np.sqrt(max(1, w.shape[0] / w.shape[1]))
        w = w - schedule(t) * (scale * o + weight_decay * w)
    return w


@pytest.mark.parametrize("options", MUONS, ids=str)
@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (1, 5), (5, 1), (1, 1)], ids=str)
def test_muon(shape, options):
    start, noise = problem([shape])
    (ours,) = run_by_hand(lambda p: by_hand.Muon(p, **options), start, noise)
    (theirs,) = run_in_torch(lambda p: twin.Muon(p, **options), start, noise)
    assert max_error(ours, theirs) < 1e-10
    assert max_error(ours, muon_by_svd(start[0], noise, **options)) < 1e-10
    assert max_error(ours, start[0]) > 1e-2


@pytest.mark.parametrize("block", [(2, None), (None, 3), (3, 2)], ids=str)
def test_muon_block_by_block(block):
    """Each block's step is that of a matrix of its own, but for the factor, which is the whole's."""
    start, noise = problem([(6, 6), (6, 6)])
    (ours, _) = run_by_hand(lambda p: by_hand.Muon(p, block=block), start, noise)
    (theirs, _) = run_in_torch(lambda p: twin.Muon(p, block=block), start, noise)
    assert max_error(ours, theirs) < 1e-10
    r, c = block[0] or 6, block[1] or 6
    factor = np.sqrt(max(1, r / c))  # which a block alone has
    for i in range(0, 6, r):
        for j in range(0, 6, c):
            own = np.s_[i : i + r, j : j + c]
            alone = muon_by_svd(start[0][own], [[n[0][own]] for n in noise], factor=1 / factor)
            assert max_error(ours[own], alone) < 1e-10


def test_muon_beside_that_of_pytorch():
    """PyTorch's own iterates in bfloat16 (8 bits), so that the steps agree to about a percent."""
    start, noise = problem([(6, 3)])
    make = {"momentum": 0.9, "weight_decay": 0.1}
    (ours,) = run_by_hand(lambda p: by_hand.Muon(p, **make), start, noise)
    (theirs,) = run_in_torch(lambda p: torch.optim.Muon(p, **make), start, noise)
    assert np.linalg.norm(ours - theirs) < 0.02 * np.linalg.norm(ours - start[0])


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)], ids=str)
def test_newton_schulz(shape):
    rng = np.random.default_rng(0)
    u = np.linalg.qr(rng.normal(size=(shape[0], min(shape))))[0]
    v = np.linalg.qr(rng.normal(size=(shape[1], min(shape))))[0]
    g = u * np.geomspace(1, 1 / 100, min(shape)) @ v.T  # all above 1/200 of the norm
    o = by_hand.newton_schulz(g)

    s = np.linalg.svd(o)[1]
    assert 0.68 < s.min() and s.max() < 1.16
    assert max_error(o, orthogonalized_by_svd(g, 5)) < 1e-10
    assert max_error(o, by_hand.newton_schulz(1e3 * g)) < 1e-10  # the length does not matter
    assert max_error(o.T, by_hand.newton_schulz(g.T)) < 1e-10
    assert max_error(o, twin.newton_schulz(torch.tensor(g))) < 1e-10
    in_float32 = by_hand.newton_schulz(g.astype(np.float32))
    assert in_float32.dtype == np.float32 and max_error(o, in_float32) < 1e-4


@pytest.mark.parametrize("shape", [(4, 4), (3, 8), (8, 3), (5, 4), (1, 6)], ids=str)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_stacks_of_matrices(shape, steps):
    """A stack is as good as one after another; its matrices have lengths of their own."""
    g = (
        np.random.default_rng(0).normal(size=(2, 3, *shape))
        * np.array([1e-3, 1.0, 1e3])[:, None, None]
    )
    stacked = by_hand.newton_schulz(g, steps)
    assert max_error(stacked, twin.newton_schulz(torch.tensor(g), steps)) < 1e-10
    for place in np.ndindex(2, 3):
        assert max_error(stacked[place], orthogonalized_by_svd(g[place], steps)) < 1e-10


@pytest.mark.parametrize("shape", [(64, 64), (64, 256), (256, 64)], ids=str)
@pytest.mark.parametrize("smallest", [1.0, 1e-2, 1e-8])
@pytest.mark.parametrize("half", [by_hand, twin], ids=["numpy", "torch"])
def test_newton_schulz_in_float32(shape, smallest, half):
    """Singular values far apart, or nearly zero, do no harm: also where x x^T is what is iterated."""
    rng = np.random.default_rng(0)
    u = np.linalg.qr(rng.normal(size=(shape[0], 64)))[0]
    v = np.linalg.qr(rng.normal(size=(shape[1], 64)))[0]
    g = u * np.geomspace(1, smallest, 64) @ v.T
    array = np.asarray if half is by_hand else torch.tensor
    o = np.asarray(half.newton_schulz(array(g.astype(np.float32))))
    assert o.dtype == np.float32
    assert np.linalg.norm(o - orthogonalized_by_svd(g, 5), 2) < 2e-3  # the largest singular value


def test_muon_works_on_stacks_of_one_shape(monkeypatch):
    shapes = [(3, 4), (4, 3), (3, 4), (2, 2), (3, 4)]
    start, noise = problem(shapes)
    seen = []
    newton_schulz = by_hand.newton_schulz
    monkeypatch.setattr(
        by_hand, "newton_schulz", lambda g, steps: seen.append(g.shape) or newton_schulz(g, steps)
    )
    together = run_by_hand(by_hand.Muon, start, noise)
    assert set(seen) == {(3, 3, 4), (1, 4, 3), (1, 2, 2)} and len(seen) == 3 * STEPS
    for i, a in enumerate(together):
        (alone,) = run_by_hand(by_hand.Muon, [start[i]], [[n[i]] for n in noise])
        assert max_error(a, alone) < 1e-12


def test_no_gradient_no_step():
    zeros = np.zeros((3, 2))
    assert not by_hand.newton_schulz(zeros).any()
    assert not twin.newton_schulz(torch.tensor(zeros)).any()
    for name in NAMES:
        w = Parameter(np.ones((3, 2)))
        options = {} if name != "AdamW" else {"weight_decay": 0.0}
        getattr(by_hand, name)([w], **options).step(1.0)
        assert (w.data == 1).all(), name


def test_decay_is_decoupled():
    """In AdamW and Muon decay is independent of the gradient; in SGD it is part of it."""
    for rule in (by_hand.AdamW, by_hand.Muon):
        w = Parameter(np.full((2, 2), 8.0))
        optimizer = rule([w], weight_decay=0.5)
        for _ in range(2):
            optimizer.step(1.0)
        assert (w.data == 2).all()


@pytest.mark.parametrize("name", NAMES)
def test_goes_down(name):
    """Every rule finds the bottom of a bowl that is ten times steeper one way than the other."""
    steepness = np.array([[1.0, 10.0]])
    w = Parameter(np.array([[3.0, -2.0]]))
    optimizer = getattr(by_hand, name)([w])
    for t in range(300):
        w.grad[:] = steepness * w.data
        optimizer.step(0.1 * (1 - t / 300))
    assert np.abs(w.data).max() < 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_and_arrays_are_changed_in_place(name):
    data = np.ones((2, 3), dtype=np.float32)
    w = Parameter(data)
    optimizer = getattr(by_hand, name)([w])
    for _ in range(2):
        w.grad += np.float32(0.5)
        optimizer.step(np.float64(0.1))  # as a schedule computed by NumPy would give it
    assert w.data is data and (data < 1).all()
    states = [state for states in vars(optimizer).values() for state in _arrays(states)]
    assert len(states) >= 3  # the parameter, its gradient and at least one state
    assert {state.dtype for state in states} == {np.dtype(np.float32)}
    by_hand.clip_grad_norm([w], 0.1)
    assert w.grad.dtype == np.float32


def _arrays(value):
    """All arrays in a list of arrays and Parameters."""
    if not isinstance(value, list):
        return []
    return [a for v in value for a in ((v.data, v.grad) if isinstance(v, Parameter) else (v,))]


def test_tensors_keep_their_dtype_and_graph():
    for name in NAMES:
        w = torch.nn.Parameter(torch.ones(2, 3))
        optimizer = getattr(twin, name)([w])
        for _ in range(2):
            optimizer.zero_grad()
            (w**2).sum().backward()
            optimizer.step(np.float64(0.1))
        assert w.dtype == torch.float32 and w.is_leaf and w.requires_grad
        assert (w < 1).all()


@pytest.mark.parametrize("fused", [False, True])
def test_no_gradient_counts_as_zeros(fused):
    """A parameter that a loss does not use: PyTorch has None for its gradient, NumPy zeros."""
    a, b = Parameter(np.ones(2)), torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    ours, theirs = by_hand.Adam([a]), twin.Adam([b], fused=fused)
    for g in (3.0, None, -1.0):
        ours.zero_grad(), theirs.zero_grad()
        if g is not None:
            a.grad += g
            b.grad = torch.full_like(b, g)
        ours.step(0.1), theirs.step(0.1)
    assert max_error(a.data, b.detach()) < 1e-10


def fused(half):
    """The option, where there is one."""
    return {"fused": True} if half is twin else {}


# What can be saved and resumed, in either half, for three matrices.
RESUMABLE = {
    "SGD": lambda f, p: f.SGD(p, momentum=0.9),
    "RMSProp": lambda f, p: f.RMSProp(p),
    "Adam": lambda f, p: f.Adam(p),
    "AdamW": lambda f, p: f.AdamW(p),
    "SGD, fused": lambda f, p: f.SGD(p, momentum=0.9, **fused(f)),
    "RMSProp, fused": lambda f, p: f.RMSProp(p, **fused(f)),
    "AdamW, fused": lambda f, p: f.AdamW(p, **fused(f)),
    "Muon": lambda f, p: f.Muon(p),
    "Muon, in blocks": lambda f, p: f.Muon(p[2:], block=(1, None)),
    "Together": lambda f, p: f.Together([(f.Muon(p[:2]), 1.0), (f.AdamW(p[2:]), 0.2)]),
}
MATRICES = [(3, 4), (4, 3), (2, 2)]


def params_of(half, arrays):
    if half is by_hand:
        return [Parameter(a.copy()) for a in arrays]
    return [torch.nn.Parameter(torch.tensor(a)) for a in arrays]


def array_of(half):
    return np.asarray if half is by_hand else torch.as_tensor


def set_gradients(half, params, noises):
    for p, n in zip(params, noises, strict=True):
        p.grad = gradient(p.data if half is by_hand else p.detach(), array_of(half)(n))


def go_on(half, optimizer, params, noise):
    """Take a step for each element of `noise`."""
    for t, noises in enumerate(noise):
        set_gradients(half, params, noises)
        optimizer.step(0.05 / (1 + t))


@pytest.mark.parametrize("other_half", [False, True], ids=["same half", "other half"])
@pytest.mark.parametrize("half", [by_hand, twin], ids=["numpy", "torch"])
@pytest.mark.parametrize("name", RESUMABLE)
def test_resumed_is_uninterrupted(name, half, other_half):
    """Bit for bit; carried across to the other half, up to rounding."""
    start, noise = problem(MATRICES)
    params = params_of(half, start)
    optimizer = RESUMABLE[name](half, params)
    go_on(half, optimizer, params, noise[:4])
    saved, at = optimizer.state(), [np.asarray(p.data).copy() for p in params]
    go_on(half, optimizer, params, noise[4:])

    new = (twin if half is by_hand else by_hand) if other_half else half
    resumed = params_of(new, at)
    fresh = RESUMABLE[name](new, resumed)
    fresh.load_state({n: array_of(new)(s) for n, s in saved.items()})
    go_on(new, fresh, resumed, noise[4:])

    pairs = [(p.data, q.data) for p, q in zip(params, resumed, strict=True)]
    end, its_end = optimizer.state(), fresh.state()
    assert list(end) == list(its_end)
    for a, b in [*pairs, *((end[n], its_end[n]) for n in end)]:
        assert max_error(np.asarray(a), np.asarray(b)) <= (1e-10 if other_half else 0)
    assert any((np.asarray(saved[n]) != np.asarray(end[n])).any() for n in saved)  # it is a copy


def test_names_of_a_state():
    params = params_of(by_hand, [np.ones((2, 3)), np.ones(4)])
    assert list(by_hand.Adam(params).state()) == ["t", "mean.0", "mean.1", "square.0", "square.1"]
    both = by_hand.Together([(by_hand.Muon(params[:1]), 1.0), (by_hand.SGD(params[1:]), 0.5)])
    assert {n: s.shape for n, s in both.state().items()} == {
        "0.t": (), "0.velocity.0": (2, 3), "1.t": (), "1.velocity.0": (4,)
    }  # fmt: skip


@pytest.mark.parametrize("half", [by_hand, twin], ids=["numpy", "torch"])
def test_together(half):
    """Each part moves as it would alone, with its share of the learning rate."""
    start, noise = problem(MATRICES)
    apart, joined = params_of(half, start), params_of(half, start)
    muon, adamw = half.Muon(apart[:2]), half.AdamW(apart[2:])
    together = half.Together([(half.Muon(joined[:2]), 1.0), (half.AdamW(joined[2:]), 0.2)])
    for noises in noise:
        for params in (apart, joined):
            set_gradients(half, params, noises)
        muon.step(0.1), adamw.step(0.02), together.step(0.1)
    for a, b, x in zip(apart, joined, start, strict=True):
        assert max_error(np.asarray(a.data), np.asarray(b.data)) < 1e-12
        assert max_error(np.asarray(a.data), x) > 1e-2
    together.zero_grad()
    assert not any(p.grad is not None and np.asarray(p.grad).any() for p in joined)


@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 1e3])
def test_clip_grad_norm(max_norm):
    (grads,) = problem(SHAPES)[1][:1]
    norm = np.sqrt(sum((g**2).sum() for g in grads))
    ours = [Parameter(np.zeros(shape)) for shape in SHAPES]
    twins, own = ([torch.nn.Parameter(torch.zeros(s).double()) for s in SHAPES] for _ in "ab")
    for p, q, r, g in zip(ours, twins, own, grads, strict=True):
        p.grad += g
        q.grad, r.grad = torch.tensor(g), torch.tensor(g)
    assert np.isclose(by_hand.clip_grad_norm(ours, max_norm), norm, rtol=1e-12)
    assert np.isclose(twin.clip_grad_norm(twins, max_norm), norm, rtol=1e-12)
    torch.nn.utils.clip_grad_norm_(own, max_norm)  # which divides by norm + 1e-6
    for p, q, r, g in zip(ours, twins, own, grads, strict=True):
        assert max_error(p.grad, g * min(1, max_norm / norm)) < 1e-14
        assert max_error(p.grad, q.grad) < 1e-14
        assert max_error(p.grad, r.grad) < 1e-6


def test_clip_grad_norm_shows_what_is_not_finite():
    for value in (np.inf, np.nan):
        w = Parameter(np.zeros(2))
        w.grad[0] = value
        with np.errstate(invalid="ignore"):
            norm = by_hand.clip_grad_norm([w], 1.0)
        assert not np.isfinite(norm)
        assert not np.isfinite(w.grad).all()


BAD = [
    ("no parameters", lambda f, p: f.SGD([]), ValueError, "params is empty"),
    ("twice", lambda f, p: f.Adam([p, p]), ValueError, "same Parameter twice"),
    ("a list of numbers", lambda f, p: f.SGD([1.0]), TypeError, "params holds float"),
    ("momentum", lambda f, p: f.SGD([p], momentum=1.0), ValueError, "0 <= momentum < 1"),
    ("decay", lambda f, p: f.SGD([p], weight_decay=-1), ValueError, "weight_decay = -1"),
    ("nesterov", lambda f, p: f.SGD([p], nesterov=True), ValueError, "momentum > 0"),
    ("alpha", lambda f, p: f.RMSProp([p], alpha=2), ValueError, "alpha = 2"),
    ("eps", lambda f, p: f.RMSProp([p], eps=-1e-8), ValueError, "eps = -1e-08"),
    ("betas", lambda f, p: f.Adam([p], betas=0.9), TypeError, "betas = 0.9"),
    ("one beta", lambda f, p: f.Adam([p], betas=(0.9,)), TypeError, "betas = (0.9,)"),
    ("beta1", lambda f, p: f.Adam([p], betas=(-0.1, 0.9)), ValueError, "beta1 = -0.1"),
    ("beta2", lambda f, p: f.AdamW([p], betas=(0.9, 1.0)), ValueError, "beta2 = 1"),
    ("decay", lambda f, p: f.AdamW([p], weight_decay=float("nan")), ValueError, "nan"),
    ("vector", lambda f, p: f.Muon([p]), ValueError, "params[0] has shape (4,), expected a matrix"),
    ("what else", lambda f, p: f.Muon([p]), ValueError, "AdamW"),
    ("iterations", lambda f, p: f.Muon([p], ns_steps=0), ValueError, "ns_steps = 0"),
    ("no matrix", lambda f, p: f.newton_schulz(p.data), ValueError, "(4,)"),
    ("no steps", lambda f, p: f.newton_schulz(p.data[None], 0), ValueError, "steps = 0"),
    ("lr negative", lambda f, p: f.SGD([p]).step(-0.1), ValueError, "lr = -0.1"),
    ("lr infinite", lambda f, p: f.SGD([p]).step(np.inf), ValueError, "lr = inf"),
    ("lr no number", lambda f, p: f.SGD([p]).step("fast"), TypeError, "lr = 'fast'"),
    ("norm", lambda f, p: f.clip_grad_norm([p], 0.0), ValueError, "max_norm = 0"),
    ("state of another rule", lambda f, p: f.SGD([p]).load_state(f.Adam([p]).state()),
     ValueError, "mean.0 is unknown"),
    ("state of too few", lambda f, p: f.SGD([p]).load_state({"t": f.SGD([p]).state()["t"]}),
     ValueError, "state does not fit: velocity.0 is missing"),
    ("state of another shape", lambda f, p: f.SGD([p]).load_state(
        f.SGD([p]).state() | {"velocity.0": p.data[:3]}),
     ValueError, "velocity.0 has shape (3,), expected (4,)"),
    ("state of one part", lambda f, p: f.Together([(f.SGD([p]), 1.0)]).load_state(
        f.SGD([p]).state()), ValueError, "state does not fit: 0.t is missing"),
    ("no parts", lambda f, p: f.Together([]), ValueError, "params is empty"),
    ("shared", lambda f, p: f.Together([(f.SGD([p]), 1.0), (f.Adam([p]), 1.0)]),
     ValueError, "same Parameter twice"),
    ("factor", lambda f, p: f.Together([(f.SGD([p]), -1.0)]), ValueError, "factor = -1"),
    ("part", lambda f, p: f.Together([(p, 1.0)]), TypeError, "expected an Optimizer"),
    ("no rule", lambda f, p: f.Optimizer([p]).step(0.1), NotImplementedError, "no update(lr)"),
]  # fmt: skip


@pytest.mark.parametrize("half", [by_hand, twin], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("call", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_input(half, call, error, message):
    p = Parameter(np.ones(4)) if half is by_hand else torch.nn.Parameter(torch.ones(4))
    with pytest.raises(error) as caught:
        call(half, p)
    assert message in str(caught.value)


@pytest.mark.parametrize("half", [by_hand, twin], ids=["NumPy", "PyTorch"])
@pytest.mark.parametrize(
    ("block", "error", "message"),
    [
        (2, TypeError, "block = 2, expected (rows, columns)"),
        ((2,), TypeError, "block = (2,), expected (rows, columns)"),
        ((0, None), ValueError, "block[0] = 0"),
        ((None, 3), ValueError, "block = (None, 3), expected divisors of (2, 4), the shape of pa"),
    ],
)
def test_blocks_that_do_not_fit(half, block, error, message):
    with pytest.raises(error) as caught:
        half.Muon(params_of(half, [np.ones((2, 4))]), block=block)
    assert message in str(caught.value)


def test_parameters():
    with pytest.raises(TypeError, match="int64"):
        Parameter(np.arange(3))
    with pytest.raises(TypeError, match="leaf tensor"):
        twin.SGD([torch.ones(3, requires_grad=True) * 2])
    p = Parameter(np.ones((2, 3)))
    p.grad = np.ones(3)  # would be broadcast
    with pytest.raises(ValueError, match=r"params\[0\].grad has shape \(3,\), expected \(2, 3\)"):
        by_hand.SGD([p]).step(0.1)
    assert repr(p) == "Parameter(shape=(2, 3), dtype=float64)"


def test_halves_mirror_each_other():
    assert twin.__all__ == by_hand.__all__
    for name in twin.__all__:
        ours, theirs = getattr(by_hand, name), getattr(twin, name)
        arguments = [p for p in inspect.signature(theirs).parameters.values() if p.name != "fused"]
        assert list(inspect.signature(ours).parameters.values()) == arguments, name
        if inspect.isclass(ours):
            assert [n for n in vars(ours) if n != "__doc__"] == [
                n for n in vars(theirs) if n not in ("__doc__", "builtin")
            ]
