"""Chapter 2.5: what it builds equals the package's, and the numbers in its prose are true."""

import heapq
import inspect
import itertools

import numpy as np
import pytest
import torch
from chapters import built, prose, read

from minillm import generate
from minillm.batches import Batch
from minillm.config import BigramConfig, TransformerConfig
from minillm.numpy_nn import functional as by_hand
from minillm.numpy_nn.attention import KeyValueCache, attention
from minillm.numpy_nn.layers import Embedding, Linear
from minillm.numpy_nn.models import Bigram
from minillm.numpy_nn.transformer import Transformer

CHAPTER = "02-5-output"
BUILT = built(CHAPTER)
# Built in the chapters before; this one imports them.
IMPORTED = ("softmax", "cross_entropy", "cross_entropy_backward")
BUILT |= {name: getattr(by_hand, name) for name in IMPORTED}
RULES = {
    "scale": (0, 0.5, 1.0, 3.0),
    "keep_top_k": (1, 3, 7, 100),
    "keep_top_p": (1e-6, 0.3, 0.9, 1.0),
    "keep_min_p": (0.0, 0.05, 0.5, 0.99),
}


def test_the_chapter_builds_these_and_no_others():
    names = {n for n, v in BUILT.items() if inspect.isfunction(v) or inspect.isclass(v)}
    output = {"project", "project_backward", "tied_loss_and_grad", "torch_tied_loss"}
    rules = {*RULES, "penalize_repetition", "draw", "torch_keep_top_p"}
    writing = {"beam_search", "KeyValueCache", "attend"}
    assert names - {*IMPORTED} == output | rules | writing


@pytest.mark.parametrize("shape", [(4,), (2, 5, 4)], ids=str)
def test_projection_and_its_gradients_are_the_packages(shape):
    rng = np.random.default_rng(0)
    x, dz = rng.normal(size=shape), rng.normal(size=(*shape[:-1], 7))
    layer = Linear(4, 7, bias=False, rng=rng).to(np.float64)
    z, cache = layer.forward(x)
    np.testing.assert_allclose(BUILT["project"](x, layer.weight.data), z)
    dx = layer.backward(dz, cache)
    ours, dW = BUILT["project_backward"](dz, x, layer.weight.data)
    np.testing.assert_allclose(ours, dx)
    np.testing.assert_allclose(dW, layer.weight.grad, atol=1e-14)


def test_a_tied_gradient_is_that_of_the_packages_layers_and_of_the_twin():
    rng = np.random.default_rng(1)
    ids, targets = rng.integers(6, size=(2, 3, 8))  # with repeated ids
    embedding, output = Embedding(6, 3, rng=rng).to(np.float64), Linear(3, 6, bias=False)
    output.weight = embedding.weight
    e, cache = embedding.forward(ids)
    x = np.tanh(e)
    z, output_cache = output.forward(x)
    loss, loss_cache = by_hand.cross_entropy(z, targets)
    dx = output.backward(by_hand.cross_entropy_backward(loss_cache), output_cache)
    embedding.backward(dx * (1 - x**2), cache)
    E = embedding.weight.data
    ours, dE = BUILT["tied_loss_and_grad"](E, ids, targets)
    np.testing.assert_allclose(ours, loss)
    np.testing.assert_allclose(dE, embedding.weight.grad, atol=1e-14)
    twin = torch.tensor(E, requires_grad=True)
    theirs = BUILT["torch_tied_loss"](twin, torch.tensor(ids), torch.tensor(targets))
    theirs.backward()
    np.testing.assert_allclose(theirs.item(), loss)
    np.testing.assert_allclose(twin.grad, dE, atol=1e-14)


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in RULES.items() for v in vs])
@pytest.mark.parametrize("spread", [0.1, 3.0, 50.0])
def test_rules_are_the_packages(name, value, spread):
    z = np.random.default_rng(2).normal(size=(5, 40)) * spread
    ours, packages = BUILT[name](z, value), getattr(generate, name)(z, value)
    np.testing.assert_allclose(ours, packages, rtol=1e-13)


def test_a_tie_is_kept_as_in_the_package():
    z = np.log([[0.3, 0.3, 0.2, 0.1, 0.1]])
    for name, value in [("keep_top_k", 1), ("keep_top_k", 4), ("keep_min_p", 0.5)]:
        ours = np.isfinite(BUILT[name](z, value))
        assert (ours == np.isfinite(getattr(generate, name)(z, value))).all()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.95, 1.0])
def test_the_twin_of_top_p_is_the_packages(p):
    z = np.random.default_rng(3).normal(size=(4, 30)) * 3
    twin = BUILT["torch_keep_top_p"](torch.tensor(z), p).numpy()
    np.testing.assert_array_equal(np.isfinite(twin), np.isfinite(generate.keep_top_p(z, p)))


def test_penalty_and_drawing_are_the_packages():
    rng = np.random.default_rng(4)
    z, texts = rng.normal(size=(3, 9)), [[1, 2, 2], [], [8]]
    ours = BUILT["penalize_repetition"](z, texts, 1.3)
    np.testing.assert_array_equal(ours, generate.penalize_repetition(z, texts, 1.3))
    p = by_hand.softmax(z)
    drawn = [
        f(p, [np.random.default_rng(i) for i in range(3)]).tolist()
        for f in (BUILT["draw"], generate.draw)
    ]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("n_beam", [1, 2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_beam_search_is_the_packages(seed, n_beam):
    V = 6
    model = Bigram(BigramConfig(vocab_size=V))
    table = np.random.default_rng(seed).normal(size=(V, V)).astype(np.float32) * 2
    model.table.weight.data[...] = table
    log_p = by_hand.log_softmax(table.astype(np.float64))
    ids, total = BUILT["beam_search"](lambda text: log_p[text[-1]], [1, 0], 5, n_beam, V - 1)
    expected, score = generate.beam_search(model, [1, 0], 5, n_beam=n_beam, stop=[V - 1])[0]
    assert ids == expected
    np.testing.assert_allclose(total, score, rtol=1e-5)


@pytest.mark.parametrize("n_at_once", [1, 4, 32])
@pytest.mark.parametrize("seed", range(4))
def test_exact_search_finds_what_trying_all_texts_finds(seed, n_at_once):
    V, n, stop = 4, 4, 3
    table = np.random.default_rng(seed).normal(size=(V, V, V)) * 2
    table = by_hand.log_softmax(table)

    def score(ids):
        text = [1, 0, *ids]
        return sum(table[a, b, c] for a, b, c in zip(text, text[1:], text[2:]))

    whole = [
        ids
        for m in range(1, n + 1)
        for ids in itertools.product(range(V), repeat=m)
        if stop not in ids[:-1] and (m == n or ids[-1] == stop)
    ]
    best = max(whole, key=score)
    namespace = {"np": np, "heapq": heapq}
    [cell] = [c.source for c in read(CHAPTER).cells if c.source.startswith("def exact_search")]
    exec(cell, namespace)  # noqa: S102
    ids, found = namespace["exact_search"](
        lambda texts: np.array([table[text[-2], text[-1]] for text in texts]),
        [1, 0], n, stop, n_at_once,
    )  # fmt: skip
    assert ids == [i for i in best if i != stop]
    np.testing.assert_allclose(found, score(best))


def test_the_cache_is_the_packages_and_gives_what_attention_gives():
    q, k, v = np.random.default_rng(5).normal(size=(3, 2, 4, 9, 8)).astype(np.float32)
    ours, packages = BUILT["KeyValueCache"](2, 4, 9, 8), KeyValueCache(2, 4, 9, 8)
    for start, end in [(0, 3), (3, 4), (4, 9)]:
        new = [x[..., start:end, :] for x in (k, v)]
        for a, b in zip(ours.append(*new), packages.append(*(x[:, :, None] for x in new))):
            np.testing.assert_array_equal(a, b[:, :, 0])
    assert ours.length == packages.length == 9
    cache = BUILT["KeyValueCache"](2, 4, 9, 8)
    parts = [
        BUILT["attend"](*(x[..., start:end, :] for x in (q, k, v)), cache)
        for start, end in [(0, 3), (3, 4), (4, 9)]
    ]
    right = attention(q, k, v, causal=True)[0]
    np.testing.assert_allclose(np.concatenate(parts, -2), right, atol=1e-6)


def test_tying_saves_one_table_and_nothing_else():
    counts, logits = {}, Batch(np.array([[1, 2]]))
    for tied in (True, False):
        config = TransformerConfig.recipe(
            vocab_size=512, context_length=64, n_layer=2, n_head=4, d_model=64, tied=tied
        )
        model = Transformer(config)
        counts[tied] = sum(p.data.size for _, p in model.named_parameters())
        assert model.logits(logits).shape == (1, 2, 512)
    assert counts[False] - counts[True] == 512 * 64 == 32_768
    assert r"512 \times 64 = 32{,}768" in prose(CHAPTER)
    assert round(32_768 / counts[False], 1) == 0.2  # a fifth of all


def test_numbers_in_the_prose():
    text = prose(CHAPTER)
    z = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 1.0]]) @ [1.0, 2.0]
    p = by_hand.softmax(z)
    gradient = p - [0, 1, 0]
    said = {
        "0.576": gradient[0], "−0.788": gradient[1], "0.212": gradient[2],
        "38.6 million": 50_257 * 768 / 1e6, "0.6%": 100 * 0.95**100,
        "4.29 GB": 2 * 32 * 8192 * 32 * 128 * 2 / 1e9, "0.36": 0.4 * 0.9,
    }  # fmt: skip
    for number, value in said.items():
        assert number in text
        digits = number.split()[0].rstrip("%").replace("−", "-")
        assert f"{value:.{len(digits.split('.')[1])}f}" == digits
