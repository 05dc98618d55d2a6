"""Gradient descent on three surfaces by four rules: when it converges, swings, or flies away."""

import math

import numpy as np

from minillm.live.controls import Choice, Slider
from minillm.numpy_nn import optim
from minillm.numpy_nn.parameter import Parameter

SURFACES = {"bowl": "bowl", "saddle": "saddle", "valley": "Rosenbrock’s valley"}
OPTIMIZERS = {"SGD": "SGD", "momentum": "SGD + momentum", "RMSProp": "RMSProp", "Adam": "Adam"}

TITLE = "Gradient descent on a surface"
TEXT = "{outcome} {limit} The condition number λmax/λmin at the minimum is {ratio:1}."
WORDS = {
    "outcome:converges": "Converges: {arrived} steps bring it to a thousandth of its height or less.",
    "outcome:oscillates": "Oscillates: after {taken} steps it still jumps back and forth, "
    "{last:4} above the minimum.",
    "outcome:diverges": "Diverges: after {taken} steps its height above the minimum is {last:1}.",
    "outcome:creeps": "Still on its way: after {taken} steps it is {last:4} above the minimum.",
    "outcome:stuck": "Stuck: the gradient is zero here, {last:4} above the minimum.",
    "limit:SGD": "Near the minimum, SGD is stable for learning rates below 2/λmax = {bound:4}.",
    "limit:momentum": "Near the minimum, this momentum is stable for learning rates below "
    "2(1 + β)/λmax = {bound:4}.",
    "limit:adaptive": "This rule divides each step by the size of recent gradients, so 2/λmax = "
    "{bound:4}, the bound of SGD, does not bind it.",
}


def prepare(
    *, surface="bowl", optimizer="SGD", rate=0.1, condition=10, start=(-1.6, 1.2), steps=60
):
    """Check what `show` was given: how the controls start, and the number of steps (5 to 200)."""
    for name, value, known in [
        ("surface", surface, SURFACES), ("optimizer", optimizer, OPTIMIZERS)
    ]:  # fmt: skip
        if value not in known:
            raise ValueError(f"{name} = {value!r}, expected one of {', '.join(known)}")
    if not 5 <= steps <= 200:
        raise ValueError(f"steps = {steps}, expected 5 to 200: they must fit")
    x, y = map(float, start)
    return {
        "surface": surface, "optimizer": optimizer, "rate": float(rate),
        "condition": float(condition), "x": x, "y": y, "steps": int(steps),
    }  # fmt: skip


def controls(data):
    """The surface and the rule with their numbers, and the starting point."""
    return [
        Choice("surface", "Surface", SURFACES, data["surface"]),
        Choice("optimizer", "Optimizer", OPTIMIZERS, data["optimizer"]),
        Slider("rate", "Learning rate", 0.001, 3, data["rate"], digits=4, log=True),
        Slider("momentum", "Momentum β (Adam: β₁)", 0, 0.99, 0.9),
        Slider("condition", "Curvature κ", 1, 100, data["condition"], digits=1, log=True),
        Slider("x", "Start, x", -2, 2, data["x"], 0.05),
        Slider("y", "Start, y", -2, 2, data["y"], 0.05),
    ]


def bowl(k):
    """(u² + k v²)/2, where u and v are x and y turned by 30°: curvatures 1 and k."""
    turn = np.array([[math.sqrt(3) / 2, 0.5], [-0.5, math.sqrt(3) / 2]])
    curvature = np.array([1, k])

    def height(point):
        return float(curvature @ (turn @ point) ** 2 / 2)

    return height, lambda point: turn.T @ (curvature * (turn @ point)), 0.0, (1, k)


def saddle(k):
    """k x²/2 - y²/2 + y⁴/4: a saddle at the origin between minima of height -1/4 at y = ±1."""

    def height(point):
        x, y = point
        return float(k * x * x / 2 - y * y / 2 + y**4 / 4)

    def gradient(point):
        x, y = point
        return np.array([k * x, y * y * y - y])

    return height, gradient, -0.25, (2, k)


def valley(k):
    """(1 - x)² + k (y - x²)², Rosenbrock's valley: its minimum is 0 at (1, 1)."""
    hessian = np.array([[2 + 8 * k, -4 * k], [-4 * k, 2 * k]])

    def height(point):
        x, y = point
        return float((1 - x) ** 2 + k * (y - x * x) ** 2)

    def gradient(point):
        x, y = point
        return np.array([-2 * (1 - x) - 4 * k * x * (y - x * x), 2 * k * (y - x * x)])

    return height, gradient, 0.0, np.linalg.eigvalsh(hessian)


def compute(data, params):
    """The path (steps + 1, 2) that the rule takes, its heights above the minimum, and a verdict."""
    surface = {"bowl": bowl, "saddle": saddle, "valley": valley}[params["surface"]]
    height, gradient, least, curvature = surface(params["condition"])
    steepest, flattest = float(max(curvature)), float(min(curvature))
    point = Parameter(np.array([params["x"], params["y"]], float))
    optimizer, beta = _optimizer(point, params), params["momentum"]
    path = [point.data.copy()]
    while len(path) <= data["steps"] and np.abs(point.data).max() < 1e6:
        point.grad = gradient(point.data)
        optimizer.step(params["rate"])
        path.append(point.data.copy())

    above = np.array([height(p) - least for p in path])
    moves = np.diff(path, axis=0)[-21:]
    turns = int(((moves[1:] * moves[:-1]).sum(1) < 0).sum())
    high = np.flatnonzero(~(above <= above[0] / 1000))
    arrived = int(high[-1]) + 1 if high.size else 0
    name = params["optimizer"]
    if not (above[-1] <= 1e6 and np.abs(point.data).max() <= 10):
        outcome = "diverges"
    elif arrived < len(path) - 4:
        outcome = "converges"
    elif len(path) > 10 and (np.diff(above[-11:]) > 0).all():
        outcome = "diverges"
    elif np.abs(gradient(point.data)).sum() < 1e-9:
        outcome = "stuck"
    else:
        outcome = "oscillates" if turns > 9 else "creeps"
    return {
        "path": np.array(path).tolist(), "above": above.tolist(), "last": float(above[-1]),
        "turns": turns, "arrived": arrived, "taken": len(path) - 1, "outcome": outcome,
        "ratio": steepest / flattest, "bound": 2 * (1 + beta if name == "momentum" else 1) / steepest,
        "limit": name if name in ("SGD", "momentum") else "adaptive",
    }  # fmt: skip


def _optimizer(point, params):
    beta = params["momentum"]
    return {
        "SGD": lambda: optim.SGD([point]),
        "momentum": lambda: optim.SGD([point], momentum=beta),
        "RMSProp": lambda: optim.RMSProp([point]),
        "Adam": lambda: optim.Adam([point], betas=(beta, 0.999)),
    }[params["optimizer"]]()
