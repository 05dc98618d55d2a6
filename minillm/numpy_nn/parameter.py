"""What is trained: an array, and beside it the gradient that is collected for it."""

import numpy as np


class Parameter:
    """An array that an optimizer changes, with a gradient of the same shape and dtype.

    Backward passes *add* into `grad`, so that a parameter may be used twice; `zero_grad` is
    called before the next batch. An optimizer changes `data` in place.

    Parameters
    ----------
    data : array of floats, any shape
        Used as it is, not copied.

    Raises
    ------
    TypeError
        If `data` does not hold floating-point numbers.

    Examples
    --------
    >>> weight = Parameter(np.ones((2, 3), dtype=np.float32))
    >>> weight.grad += 5.0
    >>> weight.zero_grad()
    >>> weight.grad
    array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    """

    def __init__(self, data):
        self.data = np.asarray(data)
        if not np.issubdtype(self.data.dtype, np.floating):
            raise TypeError(f"data has dtype {self.data.dtype}, expected floating-point numbers")
        self.grad = np.zeros_like(self.data)

    @property
    def shape(self):
        """The shape of `data`, and of `grad`."""
        return self.data.shape

    def zero_grad(self):
        """Forget the gradient: fill it with zeros, in place."""
        self.grad.fill(0.0)

    def __repr__(self):
        return f"Parameter(shape={self.shape}, dtype={self.data.dtype})"


__all__ = ["Parameter"]
