"""The metrics against closed forms, their own laws, and PyTorch's divergence and loss."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import metrics
from minillm.numpy_nn import functional

properties = settings(deadline=None, max_examples=60, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32 - 1)
LEADING = st.lists(st.integers(1, 3), max_size=2).map(tuple)


def distribution(rng, shape):
    """A random distribution that rules out some outcomes, but never all of them."""
    weights = rng.random(shape) * (rng.random(shape) < 0.7)
    weights[..., 0] += 0.1
    return weights / weights.sum(-1, keepdims=True)


def test_closed_forms():
    assert metrics.surprisal(1.0) == 0
    assert metrics.surprisal(0.0) == np.inf
    assert np.isclose(metrics.surprisal(1 / 8, unit="bits"), 3)
    for n in (1, 2, 65, 50257):  # a uniform distribution has log n, a certain one nothing
        assert np.isclose(metrics.entropy(np.full(n, 1 / n)), np.log(n))
        assert metrics.entropy(np.eye(1, n)[0]) == 0
    p = np.array([0.9, 0.1])  # a bent coin
    assert np.isclose(metrics.entropy(p), -0.9 * np.log(0.9) - 0.1 * np.log(0.1))
    assert np.isclose(metrics.entropy(p, unit="bits"), 0.4689956)
    assert np.isclose(metrics.kl_divergence(p, [0.5, 0.5], unit="bits"), 1 - 0.4689956)
    assert metrics.cross_entropy([0.5, 0.5], [1.0, 0.0]) == np.inf
    assert metrics.kl_divergence([0.5, 0.5], [1.0, 0.0]) == np.inf
    assert metrics.kl_divergence([1.0, 0.0], [0.5, 0.5], unit="bits") == 1


@properties
@given(seed=SEEDS, leading=LEADING, size=st.integers(1, 6))
def test_laws(seed, leading, size):
    rng = np.random.default_rng(seed)
    p, q = distribution(rng, (*leading, size)), distribution(rng, (*leading, size))
    q = (q + p) / 2  # rules out nothing that p does not
    entropy, divergence = metrics.entropy(p), metrics.kl_divergence(p, q)
    assert entropy.shape == divergence.shape == leading
    assert np.all(entropy >= 0) and np.all(entropy <= np.log(size) + 1e-12)
    assert np.all(divergence >= -1e-12)  # Gibbs
    assert np.allclose(metrics.kl_divergence(p, p), 0, atol=1e-12)
    assert np.allclose(metrics.cross_entropy(p, q), entropy + divergence)
    for f in (metrics.cross_entropy, metrics.kl_divergence):
        assert np.allclose(f(p, q, unit="bits"), f(p, q) / np.log(2))
        assert np.allclose(f(p, q), f(p, np.broadcast_to(q, (2, *q.shape)))[0])
    own_of_torch = torch.nn.functional.kl_div(
        torch.tensor(q).log(), torch.tensor(p), reduction="none"
    )
    assert np.allclose(divergence, own_of_torch.nansum(-1))  # 0 log(0 / 0) is nan there


@properties
@given(seed=SEEDS, n=st.integers(1, 8), vocab_size=st.integers(1, 6))
def test_the_loss_is_a_cross_entropy(seed, n, vocab_size):
    """The training loss is the mean cross-entropy of one-hot targets and the softmax."""
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(size=(n, vocab_size)), rng.integers(vocab_size, size=n)
    loss, _ = functional.cross_entropy(logits, targets)
    p, q = np.eye(vocab_size)[targets], functional.softmax(logits)
    assert np.isclose(loss, metrics.cross_entropy(p, q).mean())
    assert np.isclose(loss, metrics.surprisal(q[np.arange(n), targets]).mean())
    geometric_mean = np.prod(q[np.arange(n), targets]) ** (1 / n)
    assert np.isclose(metrics.perplexity(loss), 1 / geometric_mean)


def test_perplexity_of_a_uniform_guess_is_the_vocabulary():
    losses = metrics.surprisal(np.full(10, 1 / 65))
    assert np.isclose(metrics.perplexity(losses.mean()), 65)
    assert metrics.perplexity(0.0) == 1
    assert np.allclose(metrics.perplexity(np.log([2, 4])), [2, 4])


def test_bits_do_not_depend_on_the_tokens():
    """One text cut into characters or into pairs of them; the same probability, the same bits."""
    text, p = "abcdefgh", 1 / 16
    by_characters = metrics.surprisal(np.full(8, p)).sum()
    by_pairs = metrics.surprisal(np.full(4, p**2)).sum()
    for nats in (by_characters, by_pairs):
        assert np.isclose(metrics.bits_per_byte(nats, len(text.encode())), 4)
        assert np.isclose(metrics.bits_per_character(nats, len(text)), 4)
    assert not np.isclose(*map(metrics.perplexity, (by_characters / 8, by_pairs / 4)))

    nats = metrics.surprisal(1 / 4)
    assert np.isclose(metrics.bits_per_character(nats, len("é")), 2)
    assert np.isclose(metrics.bits_per_byte(nats, len("é".encode())), 1)
    assert np.allclose(metrics.nats_to_bits(np.log([1, 2, 4])), [0, 1, 2])


def test_accuracy():
    targets = np.array([[1, 2, -100], [0, -100, 1]])
    assert metrics.accuracy(targets, targets) == 1
    assert metrics.accuracy(targets + 1, targets) == 0
    assert metrics.accuracy([[1, 2, 9], [9, 9, 9]], targets) == 0.5
    assert metrics.accuracy([0, 5], [0, 1], ignore_index=0) == 0
    assert isinstance(metrics.accuracy([1], [1]), float)


BAD = [
    ("a sum of 0.9", lambda: metrics.entropy([0.5, 0.4]), "expected probabilities"),
    ("negative", lambda: metrics.kl_divergence([0.5, 0.5], [1.5, -0.5]), "q is [ 1.5 -0.5]"),
    ("nan", lambda: metrics.entropy([np.nan, 1.0]), "sums to 1"),
    ("nothing", lambda: metrics.entropy([]), "sums to 1"),
    ("a number", lambda: metrics.entropy(1.0), "p is 1.0"),
    ("sizes", lambda: metrics.cross_entropy([1.0], [0.5, 0.5]), "1 outcomes and q 2"),
    ("unit", lambda: metrics.entropy([1.0], unit="bans"), "unit = 'bans'"),
    ("above 1", lambda: metrics.surprisal(1.5), "0 ... 1"),
    ("below 0", lambda: metrics.surprisal([0.5, -0.5]), "0 ... 1"),
    ("nan", lambda: metrics.surprisal(np.nan), "p = nan"),
    ("negative loss", lambda: metrics.perplexity(-0.1), "nats_per_token = -0.1"),
    ("negative loss", lambda: metrics.bits_per_byte(-1.0, 3), "nats_total = -1.0"),
    ("no bytes", lambda: metrics.bits_per_byte(1.0, 0), "n_bytes = 0"),
    ("no characters", lambda: metrics.bits_per_character(1.0, 0), "n_characters = 0"),
    ("shapes", lambda: metrics.accuracy([1, 2], [1]), "(2,), expected that of targets, (1,)"),
    ("nothing counts", lambda: metrics.accuracy([1], [-100]), "no position counts"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert message in str(caught.value)
