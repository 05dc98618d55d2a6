"""The checkers of chapter 2.3: right answers pass, typical mistakes are named."""

import numpy as np
import pytest
import torch
from graded import check_no_answer, verdict

from minillm.exercises.encoder import check_attention, check_attention_backward, check_multi_head
from minillm.numpy_nn.attention import attention, attention_backward

CHECKS = [check_attention, check_attention_backward, check_multi_head]


def steps(q, k, v, mask, *, root=0.5, fill=-np.inf, axis=-1, stable=True, late=False, swap=False):
    """Attention step by step; each option is one typical mistake."""
    z = q @ k.swapaxes(-1, -2) * q.dtype.type(q.shape[-1] ** -root)
    if mask is not None and not late:
        z = np.where(~mask if swap else mask, z, z.dtype.type(fill))
    if stable:
        z = z - z.max(axis, keepdims=True)
    e = np.exp(z)
    a = e / e.sum(axis, keepdims=True)
    return (a * mask if late and mask is not None else a) @ v


def option(**options):
    return lambda *given: steps(*given, **options)


def by_torch(q, k, v, mask):
    given = [torch.tensor(x) for x in (q, k, v)]
    seen = None if mask is None else torch.tensor(mask)
    return torch.nn.functional.scaled_dot_product_attention(*given, attn_mask=seen).numpy()


def by_loop(q, k, v, mask):
    y, root = np.zeros_like(q), q.dtype.type(q.shape[-1] ** 0.5)
    for place in np.ndindex(q.shape[:-1]):
        batch = place[:-1]
        seen = slice(None) if mask is None else np.flatnonzero(mask[place])
        z = k[batch][seen] @ q[place] / root
        e = np.exp(z - z.max())
        y[place] = e @ v[batch][seen] / e.sum()
    return y


def by_einsum(q, k, v, mask):
    z = np.einsum("...tk,...sk->...ts", q, k) / np.sqrt(q.shape[-1], dtype=q.dtype)
    z = z if mask is None else z + np.where(mask, 0, -np.inf).astype(q.dtype)
    a = np.exp(z - z.max(-1, keepdims=True))
    return np.einsum("...ts,...sk->...tk", a / a.sum(-1)[..., None], v)


def in_place(q, k, v, mask):
    q *= q.dtype.type(q.shape[-1] ** -0.5)
    return steps(q, k, v, mask, root=0)


ATTENTIONS_RIGHT = [lambda *given: attention(*given)[0], steps, by_torch, by_loop, by_einsum]
ATTENTIONS_WRONG = [
    (option(root=0), "not divided by sqrt"),
    (option(root=1), "square root"),
    (lambda q, k, v, mask: steps(q, k, v, None), "not used"),
    (option(swap=True), "exchanged"),
    (option(late=True), "after the softmax"),
    (option(fill=0), "e**0 = 1"),
    (option(fill=-1e3), "looks large"),
    (option(axis=-2), "axis"),
    (option(stable=False), "extreme"),
    (in_place, "purity"),
    (lambda *given: steps(*given).astype(np.float64), "dtype"),
    (lambda *given: steps(*given).tolist(), "type"),
    (lambda *given: steps(*given)[..., :1], "shape"),
    (lambda q, k, v, mask: steps(q, k.T.swapaxes(-1, -2), v, mask), "last two axes alone"),
    (
        lambda q, k, v, mask: steps(q * np.sqrt(q.shape[-1]), k, v, mask, root=1),
        "makes float32 wider",
    ),
    (lambda q, k, v, mask: steps(q, k, v, mask) * 2, "output"),
]


def grads(dy, q, k, v, mask, *, scale=True, rows=True, stable=True, sign=1):
    root = q.dtype.type(q.shape[-1] ** 0.5)
    z = q @ k.swapaxes(-1, -2) / root
    z = z if mask is None else np.where(mask, z, z.dtype.type(-np.inf))
    e = np.exp(z - z.max(-1, keepdims=True) if stable else z)
    a = e / e.sum(-1, keepdims=True)
    da = dy @ v.swapaxes(-1, -2)
    dz = a * (da - (a * da).sum(-1, keepdims=True) if rows else da) / (root if scale else 1)
    return dz @ k * sign, dz.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ dy


def graded(**options):
    return lambda *given: grads(*given, **options)


def torch_grads(dy, q, k, v, mask):
    leaves = [torch.tensor(x, requires_grad=True) for x in (q, k, v)]
    z = leaves[0] @ leaves[1].mT / q.shape[-1] ** 0.5
    z = z if mask is None else z.masked_fill(~torch.tensor(mask), -torch.inf)
    (torch.softmax(z, -1) @ leaves[2]).backward(torch.tensor(dy))
    return tuple(x.grad.numpy() for x in leaves)


def package_grads(dy, q, k, v, mask):
    return attention_backward(dy, attention(q, k, v, mask)[1])


def grads_in_place(dy, q, k, v, mask):
    result = grads(dy, q, k, v, mask)
    dy *= 0
    return result


GRADIENTS_RIGHT = [package_grads, grads, torch_grads]
GRADIENTS_WRONG = [
    (graded(scale=False), "lacks the factor"),
    (graded(rows=False), "row sums"),
    (graded(sign=-1), "dq has the wrong sign"),
    (graded(stable=False), "extreme"),
    (lambda *given: grads(*given)[:2], "three"),
    (lambda *given: grads(*given)[::-1], "dv"),
    (lambda dy, q, k, v, mask: grads(dy, q, k, v, None), "mask: it is not used"),
    (lambda *given: [grads(*given)[i] for i in (1, 0, 2)], "changed places"),
    (lambda dy, q, k, v, mask: (*grads(dy, q, k, v, mask)[:2], v * 0 + dy.sum(-2, keepdims=True)), "dv"),
    (lambda *given: tuple(x.astype(np.float64) for x in grads(*given)), "dtype"),
    (grads_in_place, "purity"),
]  # fmt: skip


def heads(
    x, wq, wk, wv, wo, n_head, mask, *, cut=False, joined=True, transpose=True, out=True,
    wide=False, masked=True, spread=True,
):  # fmt: skip
    B, T, C = x.shape
    maps = [w.T if transpose else w for w in (wq, wk, wv, wo)]
    q, k, v = (x @ w for w in maps[:3])
    if cut:
        q, k, v = (z.reshape(B, n_head, T, -1) for z in (q, k, v))
    else:
        q, k, v = (z.reshape(B, T, n_head, -1).swapaxes(1, 2) for z in (q, k, v))
    q = q * (n_head**-0.5 if wide else 1)
    if mask is not None:
        mask = mask[:, None] if spread else mask
    y = steps(q, k, v, mask if masked else None)
    y = (y.swapaxes(1, 2) if joined and not cut else y).reshape(B, T, C)
    return y @ maps[3] if out else y


def heads_by_loop(x, wq, wk, wv, wo, n_head, mask):
    K, parts = x.shape[-1] // n_head, []
    for h in range(n_head):
        own = slice(h * K, (h + 1) * K)
        parts.append(steps(*(x @ w[own].T for w in (wq, wk, wv)), mask))
    return np.concatenate(parts, -1) @ wo.T


def heads_by_torch(x, wq, wk, wv, wo, n_head, mask):
    layer = torch.nn.MultiheadAttention(
        x.shape[-1], n_head, bias=False, batch_first=True, dtype=torch.float64
    )
    layer.in_proj_weight.data = torch.tensor(np.concatenate([wq, wk, wv]))
    layer.out_proj.weight.data = torch.tensor(wo)
    hidden = None if mask is None else torch.tensor(~mask.repeat(n_head, 0))
    x = torch.tensor(x)
    return layer(x, x, x, attn_mask=hidden)[0].detach().numpy()


def headed(**options):
    return lambda *given: heads(*given, **options)


HEADS_RIGHT = [heads, heads_by_loop, heads_by_torch]
HEADS_WRONG = [
    (headed(cut=True), "reshape"),
    (headed(joined=False), "reshape"),
    (headed(transpose=False), "weights"),
    (headed(out=False), "fourth matrix"),
    (headed(wide=True), "C / H"),
    (headed(masked=False), "mask"),
    (headed(spread=False), "axis for the heads"),
    (lambda x, q, k, v, o, n, mask: heads(x, q, k, v, o, 1, mask), "one head"),
    (lambda *given: heads(*given)[0], "shape"),
]

RIGHT = [ATTENTIONS_RIGHT, GRADIENTS_RIGHT, HEADS_RIGHT]
WRONG = [ATTENTIONS_WRONG, GRADIENTS_WRONG, HEADS_WRONG]


@pytest.mark.parametrize(
    ("check", "answer"), [(c, a) for c, answers in zip(CHECKS, RIGHT) for a in answers]
)
def test_right_answers_of_any_style_pass(check, answer, capsys):
    said = verdict(check, answer, capsys)
    assert said.startswith("✓"), said
    check.solved(answer)


@pytest.mark.parametrize(
    ("check", "answer", "word"), [(c, *case) for c, cases in zip(CHECKS, WRONG) for case in cases]
)
def test_a_typical_mistake_is_named(check, answer, word, capsys):
    said = verdict(check, answer, capsys)
    assert said.startswith("✗") and word in said, said


@pytest.mark.parametrize("check", CHECKS)
def test_no_answer_and_an_answer_that_raises(check, capsys):
    check_no_answer(check, capsys)
