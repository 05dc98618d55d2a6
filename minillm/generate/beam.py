"""Beam search: not one text at random, but the most probable that can be found.

Shape letters: V vocabulary.
"""

import numpy as np

from minillm.checks import check_range, check_sizes
from minillm.numpy_nn import functional as F

from .writing import Reader, check_ids


def beam_search(
    model, prompt, n_tokens, *, n_beam=4, length_penalty=0.0, stop=(), source=None, use_cache=True
):
    """Look for the most probable ways to go on after a prompt.

    Step by step, of all ways to add a token to the `n_beam` best texts, the `n_beam` best are
    kept. Those that end are set aside, so that fewer go on; the others end with `n_tokens`. With
    one beam, it is the greedy text.

    A longer text is less probable, so scores are compared after a division, for n tokens by
    ((5 + n) / 6)**length_penalty. It stops when no text that could still come can be among the
    best.

    Parameters
    ----------
    model : LanguageModel
        Of either half, on any device.
    prompt : list of int
        Ids.
    n_tokens : int
        The most that is added.
    n_beam : int
        How many texts are kept, 4 to 10 as a rule.
    length_penalty : float
        0 compares probabilities, 1 nearly their mean per token; 0.6 to 0.7 is usual in
        translation.
    stop : list of int
        Each of these ends a text. It counts as a token.
    source : list of int, optional
        What an encoder–decoder reads.
    use_cache : bool
        As in `stream_ids`.

    Returns
    -------
    list of (list of int, float)
        Up to `n_beam` texts, the best first, without prompt and stop token; and their scores,
        log-probabilities in nats after the division.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, or the model writes no text.

    References
    ----------
    Sutskever et al. 2014, section 3.2; the length penalty: Wu et al. 2016, eq. 14.

    Examples
    --------
    >>> from minillm.config import BigramConfig
    >>> from minillm.numpy_nn.models import Bigram
    >>> model = Bigram(BigramConfig(vocab_size=3))
    >>> model.table.weight.data[...] = np.log([[0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.9, 0.1, 1e-9]])
    >>> beam_search(model, [0], 2, n_beam=1)[0][0]  # greedy: 0.5 * 0.4
    [1, 2]
    >>> ids, score = beam_search(model, [0], 2, n_beam=3)[0]
    >>> ids, round(float(np.exp(score)), 2)  # 0.4 * 0.9
    ([2, 0], 0.36)
    """
    check_sizes(n_tokens=n_tokens, n_beam=n_beam)
    length_penalty = check_range("length_penalty", length_penalty)
    reader = Reader(model, None if source is None else [source], use_cache=use_cache)
    prompt = check_ids("prompt", prompt, model.config.vocab_size, least=1)
    stop = check_ids("stop", stop, model.config.vocab_size)

    def score(logp, n):
        return logp / ((5 + n) / 6) ** length_penalty

    beams, ended = [([], 0.0)], []  # ids and log-probability; ids and score
    for n in range(1, n_tokens + 1):
        logits = reader.next_logits([prompt + ids for ids, _ in beams])
        added = F.log_softmax(logits.astype(np.float64))  # (number of beams, V)
        total = added + np.array([[logp] for _, logp in beams])
        best = [(row, beams[row][0] + [i], total[row, i]) for row, i in _largest(total, n_beam)]
        done = [n == n_tokens or ids[-1] in stop for _, ids, _ in best]
        ended += [(b[1], float(score(b[2], n))) for b, is_done in zip(best, done) if is_done]
        ended = sorted(ended, key=lambda text: -text[1])[:n_beam]
        best = [b for b, is_done in zip(best, done) if not is_done]
        beams = [(ids, logp) for _, ids, logp in best]
        hope = max((score(logp, n_tokens) for _, logp in beams), default=-np.inf)
        if not beams or len(ended) == n_beam and ended[-1][1] >= hope:
            break
        reader.select([row for row, _, _ in best])
    return [(ids[:-1] if ids[-1] in stop else ids, score) for ids, score in ended]


def _largest(x, n):
    """The places (row, column) of the n largest entries of a matrix, the largest first."""
    flat = -x.ravel()
    n = min(n, flat.size)
    some = np.argpartition(flat, n - 1)[:n]
    some = some[np.lexsort((some, flat[some]))]  # of equals, the first
    return [divmod(int(place), x.shape[1]) for place in some]
