"""BLEU: how much of a translation's wording is also in the references."""

from collections import Counter

import numpy as np

from minillm.checks import check_sizes


def bleu(hypotheses, references, *, max_order=4, smoothing="exp"):
    """BLEU of a corpus, 0 ... 100: -> float.

    The geometric mean of the shares of n-grams, n = 1 ... `max_order`, that are also in a
    reference, times a penalty exp(1 - reference length / length) if the whole is too short. The
    numbers are of the corpus: a mean of the sentences' BLEU is something else.

    It depends on what the tokens are. BLEU of words, of a tokenizer's pieces and of text cut
    otherwise are not comparable, so say how it was cut. As ``sacrebleu --tokenize none`` gives it
    for texts whose tokens stand between spaces; what papers report is of its own cut, "13a".

    Parameters
    ----------
    hypotheses : list of list
        The tokens of each translation; strings or ids.
    references : list of list of list
        Of each item one or more reference translations, each a list of tokens.
    max_order : int
        The longest n-gram that counts.
    smoothing : "exp" or "none"
        With "exp" the first order without a match counts as half a match, the second as a quarter,
        and so on; without smoothing one such order makes BLEU 0. It is 0 anyway if no token
        matches, or every hypothesis is shorter than `max_order`.

    Raises
    ------
    TypeError
        If a translation is not a list of tokens, or `max_order` no integer.
    ValueError
        If there is no item, their numbers differ, an item has no reference, or the smoothing is
        unknown.

    References
    ----------
    Papineni et al. 2002, section 2.3; Post 2018 on tokens; Chen & Cherry 2014, smoothing 3.

    Examples
    --------
    >>> hypotheses = ["the cat sat on the mat".split()]
    >>> references = [["the cat is on the mat".split(), "there is a cat on the mat".split()]]
    >>> round(bleu(hypotheses, references, max_order=2), 1)  # 5 of 6 words, 3 of 5 pairs
    70.7
    """
    counts = bleu_counts(hypotheses, references, max_order=max_order)
    return float(bleu_from_counts(counts.sum(0), smoothing=smoothing))


def bleu_counts(hypotheses, references, *, max_order=4):
    """What BLEU has to know of each of N items: -> int array (N, 2 + 2 * max_order).

    In this order: the hypothesis' length, that of the reference nearest in length, its n-grams that
    are also in a reference (no more often than there) for n = 1 ... `max_order`, all its n-grams.

    Parameters
    ----------
    hypotheses : list of list
    references : list of list of list
    max_order : int
        Arguments as in `bleu`.

    Raises
    ------
    TypeError, ValueError
        As `bleu` does.

    References
    ----------
    Papineni et al. 2002, sections 2.1 and 2.2.

    Examples
    --------
    >>> bleu_counts([["a", "a", "b"]], [[["a", "b", "c", "d"]]], max_order=2)
    array([[3, 4, 2, 1, 3, 2]])
    """
    check_sizes(max_order=max_order)
    if not len(hypotheses) or len(hypotheses) != len(references):
        n = f"{len(hypotheses)} hypotheses and {len(references)} references"
        raise ValueError(f"{n}, expected a list of references for each, and at least one")
    rows = []
    for i, (hypothesis, choices) in enumerate(zip(hypotheses, references)):
        for tokens in (hypothesis, *choices):
            if not isinstance(tokens, (list, tuple)):
                expected = "a list of tokens as hypothesis, a list of such lists as references"
                raise TypeError(f"item {i}: {tokens!r}, expected {expected}")
        if not choices:
            raise ValueError(f"references[{i}] is empty, expected at least one reference")
        length = len(hypothesis)
        nearest = min(map(len, choices), key=lambda n: (abs(n - length), n))  # a tie: the shorter
        found, allowed = _ngrams(hypothesis, max_order), Counter()
        for reference in choices:
            allowed |= _ngrams(reference, max_order)  # the most that one reference has
        matches, totals = [0] * max_order, [max(length - n, 0) for n in range(max_order)]
        for ngram, count in (found & allowed).items():
            matches[len(ngram) - 1] += count
        rows.append([length, nearest, *matches, *totals])
    return np.array(rows)


def bleu_from_counts(counts, *, smoothing="exp"):
    """BLEU from the sums of what `bleu_counts` gives: counts (..., 2 + 2 * max_order) -> (...).

    Parameters
    ----------
    counts : array of int (..., 2 + 2 * max_order)
        Summed over the items of a corpus.
    smoothing : "exp" or "none"
        Arguments as in `bleu`.

    Raises
    ------
    ValueError
        If the smoothing is unknown, or the last axis is not that of `bleu_counts`.

    Examples
    --------
    Counting once is enough for BLEU of many samples of the same items, as a bootstrap needs it:

    >>> from minillm.metrics import paired_bootstrap
    >>> references = [["one way to say it".split()]] * 100
    >>> def bleu_of(hypotheses):
    ...     counts = bleu_counts(hypotheses, references)
    ...     return lambda rows: bleu_from_counts(counts[rows].sum(0))
    >>> all_right = bleu_of(["one way to say it".split()] * 100)
    >>> half_right = bleu_of(["one way to say it".split(), "a way of saying it".split()] * 50)
    >>> rng = np.random.default_rng(0)
    >>> found = paired_bootstrap(all_right, half_right, n_items=100, n_samples=1000, rng=rng)
    >>> print(f"{found.difference:.0f} ({found.low:.0f} ... {found.high:.0f})")
    46 (36 ... 55)
    """
    if smoothing not in ("exp", "none"):
        raise ValueError(f"smoothing = {smoothing!r}, expected 'exp' or 'none'")
    counts = np.asarray(counts)
    if counts.ndim == 0 or counts.shape[-1] < 4 or counts.shape[-1] % 2:
        raise ValueError(f"counts has shape {counts.shape}, expected (..., 2 + 2 * max_order)")
    length, reference_length = counts[..., 0], counts[..., 1]
    matches, totals = np.split(counts[..., 2:], 2, axis=-1)
    defined = (totals > 0).all(-1) & (matches > 0).any(-1)
    if smoothing == "exp":
        matches = np.where(matches > 0, matches, 0.5 ** np.cumsum(matches == 0, axis=-1))
    with np.errstate(divide="ignore"):  # log 0 = -inf, and exp(-inf) is 0
        log_precision = np.log(matches / np.maximum(totals, 1)).mean(-1)
    log_brevity = np.minimum(0, 1 - reference_length / np.maximum(length, 1))
    return np.where(defined, 100 * np.exp(log_brevity + log_precision), 0.0)[()]


def _ngrams(tokens, max_order):
    """How often each n-gram of 1 ... `max_order` tokens occurs."""
    shifted = [tokens[start:] for start in range(max_order)]
    return Counter(ngram for n in range(max_order) for ngram in zip(*shifted[: n + 1]))


__all__ = ["bleu", "bleu_counts", "bleu_from_counts"]
