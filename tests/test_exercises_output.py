"""The checkers of chapter 2.5: right answers pass, typical mistakes are named."""

import numpy as np
import pytest
import torch
from graded import check_no_answer, verdict

from minillm import generate
from minillm.exercises.output import check_beam_search, check_cached_attention, check_top_p
from minillm.numpy_nn.attention import attention
from minillm.numpy_nn.functional import softmax


def by_order(
    z, p, *, crossing=True, best=True, back=True, fill=-np.inf, more=0, stable=True, keep_type=True
):
    """Top-p by sorting from the best; each option is one typical mistake."""
    order = np.argsort(-z, axis=-1, kind="stable")
    falling = np.take_along_axis(z, order, -1)
    falling = (
        softmax(falling) if stable else np.exp(falling) / np.exp(falling).sum(-1, keepdims=True)
    )
    total = falling.cumsum(-1)
    keep = (total - falling < p) if crossing else (total <= p)
    keep[:, 1 : 1 + more] = True
    if best:
        keep[:, 0] = True
    kept = keep.copy()
    if back:
        np.put_along_axis(kept, order, keep, -1)
    result = np.where(kept, z, fill)
    return result.astype(z.dtype) if keep_type else result.astype(np.float64)


def by_loop(z, p):
    result = np.full_like(z, -np.inf)
    for row, out in zip(z, result, strict=True):
        e, total = np.exp(row - row.max()), 0.0
        for i in sorted(range(len(row)), key=lambda i: -row[i]):
            out[i] = row[i]
            total += e[i] / e.sum()
            if total >= p:
                break
    return result


def by_torch(z, p):
    rising, order = torch.tensor(z).softmax(-1).sort(-1)
    cut = torch.zeros_like(rising, dtype=torch.bool).scatter(-1, order, rising.cumsum(-1) <= 1 - p)
    cut[torch.arange(len(z)), order[:, -1]] = False
    return torch.tensor(z).masked_fill(cut, -torch.inf).numpy()


def top_p_in_place(z, p):
    z[...] = by_order(z, p)
    return z


def option(**options):
    return lambda z, p: by_order(z, p, **options)


TOP_P_RIGHT = [generate.keep_top_p, by_order, by_loop, by_torch]
TOP_P_WRONG = [
    (option(crossing=False), "crossing"),
    (option(crossing=False, best=False), "best"),
    (option(back=False), "order"),
    (option(fill=0.0), "cut tokens are 0"),
    (option(more=3), "fewest"),
    (option(stable=False), "extreme"),
    (option(keep_type=False), "dtype"),
    (lambda z, p: softmax(by_order(z, p)), "probabilities"),
    (top_p_in_place, "purity"),
    (lambda z, p: by_order(z, p)[0], "shape"),
    (lambda z, p: by_order(z, p).tolist(), "type"),
    (lambda z, p: by_order(z * 2, p) / 2 if p < 1 else z, "crossing"),
]


def beams(
    log_p, prompt, n_tokens, n_beam, stop, *, mean=False, living=True, ending=True, each=False,
    keep_stop=False, with_prompt=False, probability=False, divide=False, drop_end=False,
    places=True, counts=True,
):  # fmt: skip
    alive, ended = [([], 0.0)], []
    for _ in range(n_tokens):
        groups = [
            [(ids + [i], s + x) for i, x in enumerate(log_p(prompt + ids))] for ids, s in alive
        ]
        if each and len(groups) > 1:
            longer = [max(group, key=lambda b: b[1]) for group in groups]
        else:
            longer = sorted((b for g in groups for b in g), key=lambda b: -b[1])
            if counts:
                longer = longer[: n_beam if places else max(n_beam - len(ended), 0)]
        for ids, s in longer:
            if ids[-1] == stop:
                last = log_p(prompt + ids[:-1])[stop] if drop_end else 0.0
                ended.append((ids if keep_stop else ids[:-1], s - last))
        alive = [b for b in longer if b[0][-1] != stop][:n_beam]
    pool = (ended if ending else []) + (alive if living else [])
    if not pool:
        return [], -np.inf
    ids, s = max(pool, key=lambda b: b[1] / max(len(b[0]), 1) if mean else b[1])
    s = np.exp(s) if probability else s / max(len(ids), 1) if divide else s
    return (prompt + ids if with_prompt else ids), s


def recursive(log_p, prompt, n_tokens, n_beam, stop):
    def go(alive, n, best):
        if n == 0 or not alive:
            return max([best, *((s, ids) for ids, s in alive)], key=lambda b: b[0])
        table = np.array([log_p(prompt + ids) + s for ids, s in alive])
        flat = np.argsort(-table.ravel(), kind="stable")[:n_beam]
        new = [
            (alive[i // table.shape[1]][0], int(i % table.shape[1]), table.ravel()[i]) for i in flat
        ]
        best = max([best, *((s, ids) for ids, i, s in new if i == stop)], key=lambda b: b[0])
        return go([(ids + [i], s) for ids, i, s in new if i != stop], n - 1, best)

    score, ids = go([([], 0.0)], n_tokens, (-np.inf, []))
    return ids, score


def never_stops(log_p, prompt, n_tokens, n_beam, stop):
    return beams(log_p, prompt, n_tokens, n_beam, -1)


def prompt_grows(log_p, prompt, n_tokens, n_beam, stop):
    result = beams(log_p, list(prompt), n_tokens, n_beam, stop)
    prompt.extend(result[0])
    prompt.append(stop)
    return result


def without_prompt(log_p, prompt, n_tokens, n_beam, stop):
    return beams(lambda text: log_p(text[2:] or prompt), prompt, n_tokens, n_beam, stop)


def searching(**options):
    return lambda *given: beams(*given, **options)


BEAMS_RIGHT = [beams, recursive]
BEAMS_WRONG = [
    (lambda log_p, prompt, n, k, stop: beams(log_p, prompt, n, 1, stop), "greedy"),
    (searching(each=True), "each"),
    (searching(mean=True), "length"),
    (searching(divide=True), "length"),
    (searching(living=False), "living"),
    (searching(ending=False), "ended"),
    (searching(keep_stop=True), "stop"),
    (never_stops, "stop"),
    (searching(with_prompt=True), "prompt"),
    (searching(probability=True), "probability"),
    (searching(drop_end=True), "stop token included"),
    (prompt_grows, "purity"),
    (searching(places=False), "take the places"),
    (searching(counts=False), "counts among"),
    (without_prompt, "prompt: log_p was given"),
    (lambda *given: beams(*given)[0], "form"),
]


def stepping(
    q, k, v, cache, *, root=0.5, itself=True, memory=True, swap=False, stable=True, axis=-1,
    keep_type=True,
):  # fmt: skip
    old = cache if cache is not None and memory else (k[..., :0, :], v[..., :0, :])
    new = tuple(np.concatenate(pair, -2) for pair in zip(old, (k, v), strict=True))
    keys, values = new if itself or cache is None else old
    if swap:
        keys, values = values, keys
    scores = q @ keys.swapaxes(-1, -2) * q.dtype.type(q.shape[-1] ** -root)
    if stable:
        scores = scores - scores.max(-1, keepdims=True)
    e = np.exp(scores)
    y = (e / e.sum(axis, keepdims=True)) @ values
    return (y.astype(q.dtype) if keep_type else y.astype(np.float64)), new


def by_lists(q, k, v, cache):
    keys, values = ([*old, x] for old, x in zip(cache or ([], []), (k, v), strict=True))
    y, _ = attention(q, np.concatenate(keys, -2), np.concatenate(values, -2))
    return y, (keys, values)


def by_dict(q, k, v, cache):
    cache = dict(cache or {}) | {len(cache or {}): (k, v)}
    keys, values = (np.concatenate(x, -2) for x in zip(*cache.values(), strict=True))
    weights = softmax(np.einsum("bhtk,bhsk->bhts", q, keys) / np.sqrt(q.dtype.type(q.shape[-1])))
    return np.einsum("bhts,bhsk->bhtk", weights, values), cache


def growing_lists(q, k, v, cache):
    cache = ([], []) if cache is None else cache
    cache[0].append(k)
    cache[1].append(v)
    return attention(q, *(np.concatenate(x, -2) for x in cache))[0], cache


def scales_in_place(q, k, v, cache):
    result = stepping(q, k, v, cache)
    q *= q.shape[-1] ** -0.5
    return result


def taking(**options):
    return lambda *given: stepping(*given, **options)


STEPS_RIGHT = [stepping, by_lists, by_dict]
STEPS_WRONG = [
    (taking(root=0.0), "not divided by sqrt"),
    (taking(root=1.0), "square root"),
    (taking(itself=False), "itself"),
    (taking(memory=False), "memory"),
    (taking(swap=True), "exchanged"),
    (taking(stable=False), "extreme"),
    (taking(axis=-2), "output"),
    (taking(keep_type=False), "dtype"),
    (growing_lists, "purity"),
    (scales_in_place, "purity"),
    (lambda *given: stepping(*given)[0], "form"),
    (lambda *given: (stepping(*given)[0][..., 0, :], stepping(*given)[1]), "shape"),
]

CASES = [
    (check_top_p, TOP_P_RIGHT, TOP_P_WRONG),
    (check_beam_search, BEAMS_RIGHT, BEAMS_WRONG),
    (check_cached_attention, STEPS_RIGHT, STEPS_WRONG),
]


@pytest.mark.parametrize(("check", "answer"), [(c, a) for c, right, _ in CASES for a in right])
def test_right_answers_of_any_style_pass(check, answer, capsys):
    assert verdict(check, answer, capsys).startswith("✓")
    check.solved(answer)


@pytest.mark.parametrize(
    ("check", "answer", "word"), [(c, *case) for c, _, wrong in CASES for case in wrong]
)
def test_a_typical_mistake_is_named(check, answer, word, capsys):
    said = verdict(check, answer, capsys)
    assert said.startswith("✗") and word in said


@pytest.mark.parametrize("check", [c for c, _, _ in CASES])
def test_no_answer_and_an_answer_that_raises(check, capsys):
    check_no_answer(check, capsys)
