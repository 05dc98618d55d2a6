"""The judge of gradients is judged: it passes what is right and names the place of what is wrong."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.numpy_nn.gradcheck import gradcheck, max_error, numerical_gradient

SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)  # scalars and empty arrays too
properties = settings(deadline=None, max_examples=60, derandomize=True, database=None)


def f(x):
    """A function with a different gradient at each place: cos(x) * (1, 2, 3, ...)."""
    return (np.sin(x) * np.arange(1, x.size + 1).reshape(x.shape)).sum()


def df(x):
    return np.cos(x) * np.arange(1, x.size + 1).reshape(x.shape)


@properties
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES)
def test_right_gradient_passes(seed, shape):
    x = np.asarray(np.random.default_rng(seed).normal(size=shape))
    before = x.copy()
    assert gradcheck(f, x, df(x)) < 1e-7
    assert numerical_gradient(f, x).shape == shape
    assert np.array_equal(x, before)


@properties
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    wrong=st.sampled_from([lambda g: g + 1e-5, lambda g: -g, lambda g: 2 * g, lambda g: np.nan]),
    data=st.data(),
)
def test_planted_fault_is_named(seed, shape, wrong, data):
    """One entry of the gradient is wrong: the message names that one."""
    x = np.asarray(np.random.default_rng(seed).uniform(-1, 1, size=shape))  # cos(x) > 0.5
    place = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    dx = np.asarray(df(x))
    dx[place] = wrong(dx[place])
    with pytest.raises(AssertionError, match=re.escape(f"wrong at {list(place)}: given")):
        gradcheck(f, x, dx)


def test_worst_of_several_faults_is_named():
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    dx = df(x)
    dx[0, 0] += 0.1
    dx[1, 2] += 1.0  # of 4.2, where an error counts in proportion
    with pytest.raises(AssertionError, match=r"wrong at \[1, 2\]"):
        gradcheck(f, x, dx)
    assert np.isclose(gradcheck(f, x, dx, tol=0.3), 1 / dx[1, 2])  # tolerated, and reported


def test_function_may_look_at_the_array_elsewhere():
    """As a layer does, whose parameter is not an argument; a view of every second row, say."""
    weight = np.arange(8.0).reshape(4, 2)
    half = weight[::2]
    assert max_error(numerical_gradient(lambda _: (weight**2).sum(), half), 2 * half) < 1e-7


def test_error_is_second_order_in_the_step():
    x = np.array(1.0)
    coarse, fine = (abs(numerical_gradient(np.exp, x, h=h) - np.e) for h in (1e-2, 1e-3))
    assert 90 < coarse / fine < 110


def test_x_is_put_back_when_the_function_fails():
    x = np.ones(3)

    def fails(x):
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        numerical_gradient(fails, x)
    assert (x == 1).all()


def test_max_error():
    assert max_error([1.0, 0.0], [1.0, 0.5]) == 0.5  # absolute where both are small
    assert np.isclose(max_error([1e6], [1e6 + 1]), 1e-6)  # relative where they are large
    assert max_error([], []) == 0
    assert np.isnan(max_error([np.nan], [0.0]))


BAD = [
    ("float32", lambda: gradcheck(f, np.ones(2, np.float32), np.ones(2)), TypeError, "float32"),
    ("a list", lambda: numerical_gradient(f, [1.0]), TypeError, "list, expected a NumPy array"),
    ("another shape", lambda: gradcheck(f, np.ones(2), np.ones(3)), ValueError, "(3,) and (2,)"),
    ("broadcast", lambda: max_error(np.ones((2, 1)), np.ones(2)), ValueError, "shapes differ"),
    ("no scalar", lambda: gradcheck(np.sin, np.ones(2), np.ones(2)), ValueError, "one finite"),
    ("nan", lambda: gradcheck(lambda x: np.nan, np.ones(2), np.ones(2)), ValueError, "nan"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_input(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
