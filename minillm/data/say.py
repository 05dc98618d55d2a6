"""One line to the reader, on standard error: not a warning, not an output of a notebook's cell."""

import sys


def say(text):
    """Print one line, marked as ours."""
    print(f"minillm.data: {text}", file=sys.stderr, flush=True)
