"""How gradients change parameters: SGD, RMSProp, Adam, AdamW and Muon, alone or together.

Every optimizer is made from the parameters, and then called once for each batch::

    optimizer.zero_grad()      # forget the last batch
    ...                        # a backward pass adds into the gradients
    optimizer.step(lr)         # lr is given each time, so that a schedule is a plain function

Parameters are changed in place; each state (a velocity, a mean of squares) has its parameter's
shape and dtype. In the formulas theta is a parameter and g its gradient.
"""

import numpy as np

from minillm.checks import (
    check_betas,
    check_block,
    check_fit,
    check_matrices,
    check_params,
    check_range,
    check_sizes,
    shapes_of,
)
from minillm.numpy_nn.parameter import Parameter


class Optimizer:
    """What all rules share: the parameters, `zero_grad`, and a count of steps.

    A rule is a subclass with one method, ``update(lr)``, that changes every parameter once. What
    it remembers are lists like the parameters, whose names stand in `state_names`.

    Parameters
    ----------
    params : iterable of Parameter

    Raises
    ------
    TypeError
        If one of `params` is not a Parameter.
    ValueError
        If there are none, or one is listed twice: it would be moved twice.

    Examples
    --------
    >>> class SignDescent(Optimizer):
    ...     def update(self, lr):
    ...         for p, g in zip(self.params, self.grads(), strict=True):
    ...             p.data -= lr * np.sign(g)
    >>> x = Parameter(np.array([4.0, -4.0]))
    >>> x.grad = np.array([9.0, -0.1])
    >>> SignDescent([x]).step(lr=0.5)
    >>> x.data
    array([ 3.5, -3.5])
    """

    state_names = ()

    def __init__(self, params):
        self.params = check_params(params)
        self.t = 0  # steps taken
        for p in self.params:
            if not isinstance(p, Parameter):
                raise TypeError(f"params holds {type(p).__name__}, expected Parameter")

    def zero_grad(self):
        """Fill every gradient with zeros."""
        for p in self.params:
            p.zero_grad()

    def step(self, lr):
        """Change every parameter once, with learning rate `lr`.

        Raises
        ------
        TypeError, ValueError
            If `lr` is not a number, negative, infinite or NaN.
        """
        lr = check_range("lr", lr)
        self.t += 1
        self.update(lr)

    def update(self, lr):
        """The rule itself; a subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no update(lr)")

    def grads(self):
        """The gradients, in the order of the parameters and of their shapes."""
        for i, p in enumerate(self.params):
            if p.grad.shape != p.shape:
                raise ValueError(f"params[{i}].grad has shape {p.grad.shape}, expected {p.shape}")
        return [p.grad for p in self.params]

    def zeros(self):
        """A state that starts at zero, one like each parameter."""
        return [np.zeros_like(p.data) for p in self.params]

    def state(self):
        """All that the steps have left behind, copied: -> dict of str to array.

        ``t`` is the count of steps; ``mean.0`` would be the state `mean` of parameter 0. Names
        and shapes are the same in both halves of the package.
        """
        named = {f"{n}.{i}": s for n in self.state_names for i, s in enumerate(getattr(self, n))}
        return {"t": np.array(self.t)} | {name: s.copy() for name, s in named.items()}

    def load_state(self, state):
        """Go on from a `state`, exactly as if there had been no interruption.

        Raises
        ------
        ValueError
            If it is the state of another rule, or of parameters of other number or shapes.
        """
        check_fit("state does not fit", shapes_of(state), shapes_of(self.state()))
        self.restore(state)

    def restore(self, state):
        """Take over a state that fits: `load_state` checks, `restore` copies."""
        self.t = int(state["t"])
        for name in self.state_names:
            for i, s in enumerate(getattr(self, name)):
                s[...] = state[f"{name}.{i}"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum where asked for.

    v <- momentum v + g, then theta <- theta - lr v. With `nesterov`, theta <- theta - lr
    (g + momentum v): the step that the *next* velocity would take for the same gradient.

    Parameters
    ----------
    params : iterable of Parameter
    momentum : float
        How much of the velocity survives a step, in [0, 1).
    nesterov : bool
    weight_decay : float
        Adds weight_decay * theta to the gradient.

    Raises
    ------
    ValueError
        If a number is out of its range, or `nesterov` has no momentum to work with.

    References
    ----------
    Sutskever et al. 2013, eqs. 1-4; with `nesterov`, theta is the point at which they take the
    gradient. As in PyTorch, lr stands outside the velocity.

    Examples
    --------
    >>> x = Parameter(np.array([4.0]))
    >>> optimizer = SGD([x], momentum=0.5)
    >>> for _ in range(2):
    ...     x.grad = 2 * x.data
    ...     optimizer.step(lr=0.1)
    >>> x.data  # 4 - 0.1 * 8 = 3.2, then 3.2 - 0.1 * (0.5 * 8 + 6.4)
    array([2.16])
    """

    state_names = ("velocity",)

    def __init__(self, params, *, momentum=0.0, nesterov=False, weight_decay=0.0):
        super().__init__(params)
        self.momentum = check_range("momentum", momentum, high=1)
        self.weight_decay = check_range("weight_decay", weight_decay)
        self.nesterov = nesterov
        if nesterov and momentum == 0:
            raise ValueError("nesterov = True with momentum = 0, expected momentum > 0")
        self.velocity = self.zeros()

    def update(self, lr):
        for p, g, v in zip(self.params, self.grads(), self.velocity, strict=True):
            if self.weight_decay:
                g = g + self.weight_decay * p.data
            v *= self.momentum
            v += g
            p.data -= lr * (g + self.momentum * v if self.nesterov else v)


class RMSProp(Optimizer):
    """Divide each entry's gradient by its recent root mean square.

    s <- alpha s + (1 - alpha) g**2, then theta <- theta - lr g / (sqrt(s) + eps).

    Parameters
    ----------
    params : iterable of Parameter
    alpha : float
        How much of the mean square survives a step, in [0, 1).
    eps : float
        Keeps the division finite.

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    Tieleman & Hinton 2012, lecture 6.5.

    Examples
    --------
    >>> x = Parameter(np.array([1.0, 1.0]))
    >>> x.grad = np.array([100.0, 0.01])  # very different gradients ...
    >>> RMSProp([x], alpha=0.99).step(lr=0.01)
    >>> x.data.round(4)  # ... and equal steps
    array([0.9, 0.9])
    """

    state_names = ("square",)

    def __init__(self, params, *, alpha=0.99, eps=1e-8):
        super().__init__(params)
        self.alpha = check_range("alpha", alpha, high=1)
        self.eps = check_range("eps", eps)
        self.square = self.zeros()

    def update(self, lr):
        for p, g, s in zip(self.params, self.grads(), self.square, strict=True):
            s *= self.alpha
            s += (1 - self.alpha) * g**2
            p.data -= lr * g / (np.sqrt(s) + self.eps)


class Adam(Optimizer):
    """Momentum over RMSProp, both corrected for having started at zero.

    m <- beta1 m + (1 - beta1) g and s <- beta2 s + (1 - beta2) g**2, then
    theta <- theta - lr m' / (sqrt(s') + eps), where m' = m / (1 - beta1**t) and
    s' = s / (1 - beta2**t) after t steps.

    Parameters
    ----------
    params : iterable of Parameter
    betas : (float, float)
        How much of the mean and of the mean square survive a step, each in [0, 1).
    eps : float
        Keeps the division finite.

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    Kingma & Ba 2015, Algorithm 1.

    Examples
    --------
    >>> x = Parameter(np.array([1.0, 1.0]))
    >>> x.grad = np.array([100.0, -0.01])
    >>> Adam([x]).step(lr=0.01)
    >>> x.data.round(4)  # the first step is lr, in the direction of the gradient's sign
    array([0.99, 1.01])
    """

    state_names = ("mean", "square")

    def __init__(self, params, *, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(params)
        self.betas = check_betas(betas)
        self.eps = check_range("eps", eps)
        self.mean, self.square = self.zeros(), self.zeros()

    def update(self, lr):
        beta1, beta2 = self.betas
        for p, g, m, s in zip(self.params, self.grads(), self.mean, self.square, strict=True):
            m *= beta1
            m += (1 - beta1) * g
            s *= beta2
            s += (1 - beta2) * g**2
            unbiased_m = m / (1 - beta1**self.t)
            unbiased_s = s / (1 - beta2**self.t)
            p.data -= lr * unbiased_m / (np.sqrt(unbiased_s) + self.eps)


class AdamW(Adam):
    """Adam with decoupled weight decay: theta shrinks by lr * weight_decay, then Adam's step.

    Parameters
    ----------
    params : iterable of Parameter
    betas : (float, float)
        As for `Adam`.
    eps : float
        As for `Adam`.
    weight_decay : float
        The share of theta that a step with lr = 1 would take away.

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    Loshchilov & Hutter 2019, Algorithm 2, with alpha = 1 and their schedule multiplier as lr.

    Examples
    --------
    >>> x = Parameter(np.array([1.0]))  # its gradient is zero: only the decay acts
    >>> AdamW([x], weight_decay=0.1).step(lr=0.5)
    >>> x.data
    array([0.95])
    """

    def __init__(self, params, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        super().__init__(params, betas=betas, eps=eps)
        self.weight_decay = check_range("weight_decay", weight_decay)

    def update(self, lr):
        for p in self.params:
            p.data *= 1 - lr * self.weight_decay
        super().update(lr)


class Muon(Optimizer):
    """Momentum for matrices, whose step is made orthogonal: all its directions equally long.

    v <- momentum v + g, then theta <- theta - lr sqrt(max(1, rows / columns)) O, where O is
    `newton_schulz` of v, or of g + momentum v with `nesterov`. All singular values of O are near
    1. A tall matrix spreads such a step over more outputs, for which the factor makes up.

    Parameters
    ----------
    params : iterable of Parameter (rows, columns)
    momentum : float
        How much of the velocity survives a step, in [0, 1).
    nesterov : bool
    ns_steps : int
        Iterations of `newton_schulz`.
    weight_decay : float
        Decoupled, as in `AdamW`.
    block : (int or None, int or None), optional
        Rows and columns of the blocks that matrices are cut into, None for all of them: each
        block's part of O is then orthogonal by itself, as for (d_head, None) the part of each
        head in a matrix of queries. It costs less, since the blocks' x x^T are smaller.

    Raises
    ------
    ValueError
        If a parameter is not a matrix, cannot be cut into such blocks, or a number is out of its
        range.

    References
    ----------
    Jordan et al. 2024; the factor and `nesterov` as in their code.

    Examples
    --------
    >>> w = Parameter(np.zeros((2, 2)))
    >>> w.grad = np.array([[100.0, 0.0], [0.0, 1.0]])  # a hundred times steeper one way ...
    >>> Muon([w]).step(lr=1.0)
    >>> w.data.round(1)  # ... and steps of one length both ways
    array([[-0.7,  0. ],
           [ 0. , -0.7]])
    """

    state_names = ("velocity",)

    def __init__(
        self, params, *, momentum=0.95, nesterov=True, ns_steps=5, weight_decay=0.0, block=None
    ):
        super().__init__(params)
        self.momentum = check_range("momentum", momentum, high=1)
        self.weight_decay = check_range("weight_decay", weight_decay)
        self.nesterov, self.ns_steps = nesterov, ns_steps
        check_sizes(ns_steps=ns_steps)
        check_matrices(self.params)
        self.block = check_block(block, self.params)
        self.velocity = self.zeros()
        self.by_shape = {}  # shape -> which parameters have it: they are worked on as one stack
        for i, p in enumerate(self.params):
            self.by_shape.setdefault(tuple(p.shape), []).append(i)

    def update(self, lr):
        towards = []
        for g, v in zip(self.grads(), self.velocity, strict=True):
            v *= self.momentum
            v += g
            towards.append(g + self.momentum * v if self.nesterov else v)
        for (rows, columns), places in self.by_shape.items():
            stack = np.stack([towards[i] for i in places])
            for i, direction in zip(places, self._orthogonal(stack), strict=True):
                p = self.params[i]
                if self.weight_decay:
                    p.data *= 1 - lr * self.weight_decay
                p.data -= lr * max(1, rows / columns) ** 0.5 * direction

    def _orthogonal(self, stack):
        """The directions of a stack of matrices (n, rows, columns), whole or block by block."""
        if self.block is None:
            return newton_schulz(stack, self.ns_steps)
        n, rows, columns = stack.shape
        r, c = self.block[0] or rows, self.block[1] or columns
        blocks = stack.reshape(n, rows // r, r, columns // c, c).swapaxes(2, 3)
        return newton_schulz(blocks, self.ns_steps).swapaxes(2, 3).reshape(stack.shape)


class Together(Optimizer):
    """Several optimizers as one, each with a factor of its own on the learning rate.

    So one schedule drives Muon for the matrices inside a model and AdamW for the rest.

    Parameters
    ----------
    parts : iterable of (Optimizer, float)
        The optimizers, each with its factor.

    Raises
    ------
    TypeError
        If a part is not a pair of an Optimizer and a number.
    ValueError
        If a factor is negative, there are no parts, or two parts share a parameter.

    Examples
    --------
    >>> a, b = Parameter(np.ones(1)), Parameter(np.ones(1))
    >>> a.grad, b.grad = np.array([1.0]), np.array([1.0])
    >>> Together([(SGD([a]), 1.0), (SGD([b]), 0.5)]).step(lr=0.1)
    >>> a.data, b.data
    (array([0.9]), array([0.95]))
    """

    def __init__(self, parts):
        self.parts = [(optimizer, check_range("factor", factor)) for optimizer, factor in parts]
        for optimizer, _ in self.parts:
            if not isinstance(optimizer, Optimizer):
                raise TypeError(f"parts holds {type(optimizer).__name__}, expected an Optimizer")
        super().__init__(p for optimizer, _ in self.parts for p in optimizer.params)

    def update(self, lr):
        for optimizer, factor in self.parts:
            optimizer.step(factor * lr)

    def state(self):
        """The states of the parts, that of part 0 as ``0.t``, ``0.velocity.0``, ..."""
        parts = enumerate(optimizer.state() for optimizer, _ in self.parts)
        return {f"{i}.{name}": s for i, part in parts for name, s in part.items()}

    def restore(self, state):
        """Hand every part its own."""
        for i, (optimizer, _) in enumerate(self.parts):
            start = f"{i}."
            own = {n.removeprefix(start): s for n, s in state.items() if n.startswith(start)}
            optimizer.restore(own)
        self.t = self.parts[0][0].t


def newton_schulz(g, steps=5):
    """Move the singular values of matrices towards 1, without finding them: -> like g (..., n, m).

    With g = U S V^T the result is U f(S) V^T. Dividing by the Frobenius norm puts S into [0, 1];
    then each iteration applies the odd polynomial 3.4445 s - 4.7750 s**3 + 2.0315 s**5 to all
    singular values at once, by matrix products. Its slope at 0 is steep, so that small ones grow
    quickly; the price is that they do not settle at 1. After five iterations those that were
    above 1/200 of the norm lie between 0.68 and 1.16; far smaller ones are still on their way.

    All iterates are polynomials of x x^T times the first x. Of oblong matrices, therefore, only
    the polynomial is iterated, a small square matrix, and multiplied by x once at the end. In
    float32 that is wrong by up to 5e-4 where singular values are small, instead of 2e-5.

    Parameters
    ----------
    g : matrix (..., n, m)
        Any number of them. A norm below 1e-7 counts as 1e-7: a zero gradient gives zeros.
    steps : int
        Iterations.

    Raises
    ------
    ValueError
        If `g` has fewer than two axes, or there are no steps.

    References
    ----------
    Jordan et al. 2024, newtonschulz5; theirs works in bfloat16, this one in the dtype of `g`.

    Examples
    --------
    >>> newton_schulz(np.diag([50.0, 3.0, 1.0])).diagonal().round(2)
    array([0.7 , 1.  , 0.68])
    """
    if g.ndim < 2:
        raise ValueError(f"g has shape {tuple(g.shape)}, expected a matrix (..., n, m)")
    check_range("steps", steps, low=1)
    tall = g.shape[-2] > g.shape[-1]
    x = g.swapaxes(-1, -2) if tall else g  # wide, so that x x^T is small
    n, m = x.shape[-2:]
    oblong = m >= 2 * n  # otherwise the detour does not pay
    x = x / np.maximum(np.linalg.norm(x, axis=(-2, -1), keepdims=True), 1e-7)
    eye = np.eye(n, dtype=x.dtype)
    a = x @ x.swapaxes(-1, -2)  # (..., n, n)
    y = None if oblong else x  # the iterate is y @ x, or y itself
    for step in range(steps):
        p = 3.4445 * eye - 4.7750 * a + 2.0315 * a @ a
        y = p if y is None else p @ y
        if step + 1 < steps:
            a = p @ a @ p if oblong else y @ y.swapaxes(-1, -2)
    y = y @ x if oblong else y
    return y.swapaxes(-1, -2) if tall else y


def clip_grad_norm(params, max_norm):
    """Scale all gradients together so that their norm is at most `max_norm`; return the old norm.

    Parameters
    ----------
    params : iterable of Parameter
    max_norm : float
        The longest that all gradients, taken as one vector, may be.

    Returns
    -------
    scalar
        The norm before. If it is not finite (a gradient is not, or their squares overflow), the
        gradients are of no use any more: look before you step.

    Raises
    ------
    ValueError
        If there are no parameters, or `max_norm` is below 1e-12.

    References
    ----------
    Pascanu et al. 2013, Algorithm 1.

    Examples
    --------
    >>> x = Parameter(np.zeros(2))
    >>> x.grad = np.array([3.0, 4.0])
    >>> float(clip_grad_norm([x], 1.0))
    5.0
    >>> x.grad
    array([0.6, 0.8])
    """
    grads = Optimizer(params).grads()  # which checks the parameters
    max_norm = check_range("max_norm", max_norm, low=1e-12)
    norm = np.linalg.norm(np.stack([np.linalg.norm(g) for g in grads]))
    for g in grads:
        g *= max_norm / np.maximum(norm, max_norm)
    return norm


__all__ = [
    "SGD", "Adam", "AdamW", "Muon", "Optimizer", "RMSProp", "Together", "clip_grad_norm",
    "newton_schulz",
]  # fmt: skip
