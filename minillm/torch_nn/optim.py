"""How gradients change parameters: SGD, RMSProp, Adam, AdamW and Muon, alone or together.

Every optimizer is made from the parameters, and then called once for each batch::

    optimizer.zero_grad()      # forget the last batch
    ...                        # a backward pass adds into the gradients
    optimizer.step(lr)         # lr is given each time, so that a schedule is a plain function

Parameters are changed in place; each state (a velocity, a mean of squares) has its parameter's
shape and dtype. In the formulas theta is a parameter and g its gradient.

With ``fused=True`` a step is taken by PyTorch's own optimizer, on the states kept here: the same
numbers up to rounding, in one or a few kernels for all parameters instead of several for each.
"""

import torch

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
        If one of `params` is not a tensor, or the result of a computation.
    ValueError
        If there are none, or one is listed twice: it would be moved twice.

    Examples
    --------
    >>> class SignDescent(Optimizer):
    ...     def update(self, lr):
    ...         for p, g in zip(self.params, self.grads(), strict=True):
    ...             p -= lr * torch.sign(g)
    >>> x = torch.nn.Parameter(torch.tensor([4.0, -4.0]))
    >>> x.grad = torch.tensor([9.0, -0.1])
    >>> SignDescent([x]).step(lr=0.5)
    >>> x.data
    tensor([ 3.5000, -3.5000])
    """

    state_names = ()
    builtin = None  # with `fused`, PyTorch's optimizer

    def __init__(self, params):
        self.params = check_params(params)
        self.t = 0  # steps taken
        for p in self.params:
            if not isinstance(p, torch.Tensor) or not p.is_leaf:
                raise TypeError(f"params holds {type(p).__name__}, expected a leaf tensor")

    def zero_grad(self):
        """Forget every gradient; none counts as zeros."""
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self, lr):
        """Change every parameter once, with learning rate `lr`.

        Raises
        ------
        TypeError, ValueError
            If `lr` is not a number, negative, infinite or NaN.
        """
        lr = check_range("lr", lr)
        self.t += 1
        if self.builtin is None:
            self.update(lr)
        else:
            _builtin_step(self, lr)

    def update(self, lr):
        """The rule itself; a subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no update(lr)")

    def grads(self):
        """The gradients, in the order of the parameters; where there is none, zeros."""
        return [torch.zeros_like(p) if p.grad is None else p.grad for p in self.params]

    def zeros(self):
        """A state that starts at zero, one like each parameter."""
        return [torch.zeros_like(p) for p in self.params]

    def state(self):
        """All that the steps have left behind, copied: -> dict of str to tensor.

        ``t`` is the count of steps; ``mean.0`` would be the state `mean` of parameter 0. Names
        and shapes are the same in both halves of the package.
        """
        named = {f"{n}.{i}": s for n in self.state_names for i, s in enumerate(getattr(self, n))}
        return {"t": torch.tensor(self.t)} | {name: s.clone() for name, s in named.items()}

    def load_state(self, state):
        """Go on from a `state`, exactly as if there had been no interruption.

        Raises
        ------
        ValueError
            If it is the state of another rule, or of parameters of other number or shapes.
        """
        check_fit("state does not fit", shapes_of(state), shapes_of(self.state()))
        self.restore(state)

    @torch.no_grad()
    def restore(self, state):
        """Take over a state that fits: `load_state` checks, `restore` copies."""
        self.t = int(state["t"])
        for name in self.state_names:
            for i, s in enumerate(getattr(self, name)):
                s.copy_(torch.as_tensor(state[f"{name}.{i}"]))


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
    fused : bool
        Let PyTorch's own kernels take the steps; see the top of this module.

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
    >>> x = torch.nn.Parameter(torch.tensor([4.0]))
    >>> optimizer = SGD([x], momentum=0.5)
    >>> for _ in range(2):
    ...     x.grad = 2 * x.data
    ...     optimizer.step(lr=0.1)
    >>> x.data  # 4 - 0.1 * 8 = 3.2, then 3.2 - 0.1 * (0.5 * 8 + 6.4)
    tensor([2.1600])
    """

    state_names = ("velocity",)

    def __init__(self, params, *, momentum=0.0, nesterov=False, weight_decay=0.0, fused=False):
        super().__init__(params)
        self.momentum = check_range("momentum", momentum, high=1)
        self.weight_decay = check_range("weight_decay", weight_decay)
        self.nesterov = nesterov
        if nesterov and momentum == 0:
            raise ValueError("nesterov = True with momentum = 0, expected momentum > 0")
        self.velocity = self.zeros()
        if fused:
            options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
            builtin = torch.optim.SGD(self.params, lr=0.0, foreach=True, **options)
            _hand_over(self, builtin, momentum_buffer=self.velocity)

    def update(self, lr):
        for p, g, v in zip(self.params, self.grads(), self.velocity, strict=True):
            if self.weight_decay:
                g = g + self.weight_decay * p
            v *= self.momentum
            v += g
            p -= lr * (g + self.momentum * v if self.nesterov else v)


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
    fused : bool
        Let PyTorch's own kernels take the steps; see the top of this module.

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    Tieleman & Hinton 2012, lecture 6.5.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    >>> x.grad = torch.tensor([100.0, 0.01])  # very different gradients ...
    >>> RMSProp([x], alpha=0.99).step(lr=0.01)
    >>> x.data  # ... and equal steps
    tensor([0.9000, 0.9000])
    """

    state_names = ("square",)

    def __init__(self, params, *, alpha=0.99, eps=1e-8, fused=False):
        super().__init__(params)
        self.alpha = check_range("alpha", alpha, high=1)
        self.eps = check_range("eps", eps)
        self.square = self.zeros()
        if fused:
            builtin = torch.optim.RMSprop(self.params, lr=0.0, alpha=alpha, eps=eps, foreach=True)
            _hand_over(self, builtin, square_avg=self.square)

    def update(self, lr):
        for p, g, s in zip(self.params, self.grads(), self.square, strict=True):
            s *= self.alpha
            s += (1 - self.alpha) * g**2
            p -= lr * g / (torch.sqrt(s) + self.eps)


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
    fused : bool
        Let PyTorch's own kernels take the steps; see the top of this module.

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    Kingma & Ba 2015, Algorithm 1.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    >>> x.grad = torch.tensor([100.0, -0.01])
    >>> Adam([x]).step(lr=0.01)
    >>> x.data  # the first step is lr, in the direction of the gradient's sign
    tensor([0.9900, 1.0100])
    """

    state_names = ("mean", "square")

    def __init__(self, params, *, betas=(0.9, 0.999), eps=1e-8, fused=False):
        super().__init__(params)
        self.betas = check_betas(betas)
        self.eps = check_range("eps", eps)
        self.mean, self.square = self.zeros(), self.zeros()
        if fused:
            options = {"betas": self.betas, "eps": self.eps}
            builtin = torch.optim.Adam(self.params, lr=0.0, fused=True, **options)
            _hand_over(self, builtin, exp_avg=self.mean, exp_avg_sq=self.square)

    def update(self, lr):
        beta1, beta2 = self.betas
        for p, g, m, s in zip(self.params, self.grads(), self.mean, self.square, strict=True):
            m *= beta1
            m += (1 - beta1) * g
            s *= beta2
            s += (1 - beta2) * g**2
            unbiased_m = m / (1 - beta1**self.t)
            unbiased_s = s / (1 - beta2**self.t)
            p -= lr * unbiased_m / (torch.sqrt(unbiased_s) + self.eps)


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
    fused : bool
        Let PyTorch's own kernels take the steps; see the top of this module.

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    Loshchilov & Hutter 2019, Algorithm 2, with alpha = 1 and their schedule multiplier as lr.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.tensor([1.0]))  # no gradient: only the decay acts
    >>> AdamW([x], weight_decay=0.1).step(lr=0.5)
    >>> x.data
    tensor([0.9500])
    """

    def __init__(self, params, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, fused=False):
        super().__init__(params, betas=betas, eps=eps)
        self.weight_decay = check_range("weight_decay", weight_decay)
        if fused:
            options = {"betas": self.betas, "eps": self.eps, "weight_decay": self.weight_decay}
            builtin = torch.optim.AdamW(self.params, lr=0.0, fused=True, **options)
            _hand_over(self, builtin, exp_avg=self.mean, exp_avg_sq=self.square)

    def update(self, lr):
        for p in self.params:
            p *= 1 - lr * self.weight_decay
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
    >>> w = torch.nn.Parameter(torch.zeros(2, 2))
    >>> w.grad = torch.tensor([[100.0, 0.0], [0.0, 1.0]])  # a hundred times steeper one way ...
    >>> Muon([w]).step(lr=1.0)
    >>> w.data.round(decimals=1)  # ... and steps of one length both ways
    tensor([[-0.7000,  0.0000],
            [ 0.0000, -0.7000]])
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
            towards.append(torch.add(g, v, alpha=self.momentum) if self.nesterov else v)
        for (rows, columns), places in self.by_shape.items():
            stack = torch.stack([_whole(towards[i]) for i in places])
            for i, direction in zip(places, self._orthogonal(stack), strict=True):
                p = self.params[i]
                if self.weight_decay:
                    p *= 1 - lr * self.weight_decay
                p -= lr * max(1, rows / columns) ** 0.5 * _share(direction, p)

    def _orthogonal(self, stack):
        """The directions of a stack of matrices (n, rows, columns), whole or block by block."""
        if self.block is None:
            return newton_schulz(stack, self.ns_steps)
        n, rows, columns = stack.shape
        r, c = self.block[0] or rows, self.block[1] or columns
        blocks = stack.reshape(n, rows // r, r, columns // c, c).transpose(2, 3)
        return newton_schulz(blocks, self.ns_steps).transpose(2, 3).reshape(stack.shape)


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
    >>> a, b = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    >>> a.grad, b.grad = torch.ones(1), torch.ones(1)
    >>> Together([(SGD([a]), 1.0), (SGD([b]), 0.5)]).step(lr=0.1)
    >>> a.data, b.data
    (tensor([0.9000]), tensor([0.9500]))
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
    >>> newton_schulz(torch.tensor([50.0, 3.0, 1.0]).diag()).diagonal().round(decimals=2)
    tensor([0.7000, 1.0000, 0.6800])
    """
    if g.ndim < 2:
        raise ValueError(f"g has shape {tuple(g.shape)}, expected a matrix (..., n, m)")
    check_range("steps", steps, low=1)
    shape, tall = g.shape, g.shape[-2] > g.shape[-1]
    x = g.reshape(-1, *shape[-2:])
    x = x.mT if tall else x  # wide, so that x x^T is small
    n, m = x.shape[-2:]
    oblong = m >= 2 * n  # otherwise the detour does not pay
    x = x / torch.clamp(torch.linalg.norm(x, dim=(-2, -1), keepdim=True), 1e-7)
    a = x @ x.mT  # (..., n, n)
    y = None if oblong else x  # the iterate is y @ x, or y itself
    for step in range(steps):
        p = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        p.diagonal(dim1=-2, dim2=-1).add_(3.4445)
        y = p if y is None else p @ y
        if step + 1 < steps:
            a = p @ a @ p if oblong else y @ y.mT
    y = y @ x if oblong else y
    return (y.mT if tall else y).reshape(shape)


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
    >>> x = torch.nn.Parameter(torch.zeros(2))
    >>> x.grad = torch.tensor([3.0, 4.0])
    >>> float(clip_grad_norm([x], 1.0))
    5.0
    >>> x.grad
    tensor([0.6000, 0.8000])
    """
    grads = Optimizer(params).grads()  # which checks the parameters
    max_norm = check_range("max_norm", max_norm, low=1e-12)
    norm = _whole(torch.linalg.norm(torch.stack([torch.linalg.norm(g) for g in grads])))
    for g in grads:
        g *= max_norm / torch.clamp(norm, max_norm)
    return norm


def _whole(x):
    """A tensor, also where FSDP2 has given each process a share of it."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def _share(x, p):
    """Of a tensor that each process has, the share that it has of a parameter."""
    if not hasattr(p, "full_tensor"):
        return x
    from torch.distributed.tensor import DTensor, Replicate

    everywhere = DTensor.from_local(x, p.device_mesh, [Replicate()], run_check=False)
    return everywhere.redistribute(placements=p.placements)


def _hand_over(optimizer, builtin, **states):
    """Give PyTorch's optimizer `builtin` our states to work on, under its names for them."""
    params = optimizer.params
    optimizer.builtin_steps = torch.zeros(len(params), device=params[0].device)
    for i, p in enumerate(params):
        builtin.state[p] = {name: state[i] for name, state in states.items()}
        builtin.state[p]["step"] = optimizer.builtin_steps[i]
    optimizer.builtin = builtin


def _builtin_step(optimizer, lr):
    """Take step number `optimizer.t` by PyTorch's optimizer, for which no gradient is zeros too."""
    optimizer.builtin_steps.fill_(optimizer.t - 1)  # it counts up itself
    optimizer.builtin.param_groups[0]["lr"] = lr
    for p, g in zip(optimizer.params, optimizer.grads(), strict=True):
        p.grad = g
    optimizer.builtin.step()


__all__ = [
    "SGD", "Adam", "AdamW", "Muon", "Optimizer", "RMSProp", "Together", "clip_grad_norm",
    "newton_schulz",
]  # fmt: skip
