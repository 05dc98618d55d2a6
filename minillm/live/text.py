"""Numbers and sentences, written as core.js writes them."""

import math
import re
from decimal import ROUND_HALF_UP, Decimal


def number(x, digits):
    """A number with so many decimals, rounded half away from zero, with a true minus sign.

    What stands beyond 12 digits is rounding noise: it is dropped first, so that 0.0625 is written
    in the same way wherever and however it was computed.

    Examples
    --------
    >>> number(-0.125, 2), number(-0.001, 2), number(2.5e7, 2), number(float("inf"), 1)
    ('−0.13', '0.00', '2.5e7', '∞')
    """
    if math.isnan(x):
        return "nan"
    size = abs(float(f"{x:.12g}"))
    if math.isinf(size):
        body = "∞"
    elif size >= 1e6:
        mantissa, exponent = f"{size:.1e}".split("e")
        body = f"{mantissa}e{int(exponent)}"
    else:
        body = str(Decimal(size).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
    return ("−" if x < 0 and re.search("[1-9∞]", body) else "") + body


def fill(template, fields, words):
    """Fill ``{loss:3}`` with a number of 3 decimals, ``{state}`` with what `words` says for it, filled.

    Examples
    --------
    >>> fill("{p:2}: {verdict}", {"p": 0.5, "verdict": "low"}, {"verdict:low": "not even {p:1}"})
    '0.50: not even 0.5'
    """

    def value(match):
        key, digits = match.groups()
        if digits:
            return number(fields[key], int(digits))
        more = words.get(f"{key}:{fields[key]}")
        return str(fields[key]) if more is None else fill(more, fields, words)

    return re.sub(r"\{(\w+)(?::(\d+))?\}", value, template)
