"""Texts that grow: a model reads them, a token is drawn for each, and again.

Shape letters: B batch, T position, V vocabulary.
"""

import codecs
from operator import index

import numpy as np

from minillm.batches import Batch
from minillm.checks import check_sizes

from .sampling import draw, probabilities


def generate(model, prompts, n_tokens, **options):
    """Write on, after each prompt, until a stop token comes or `n_tokens` are there.

    A text is the same alone and in a batch, with a cache and without, if the generator that draws
    for it is.

    Parameters
    ----------
    model : LanguageModel
        Of either half, on any device.
    prompts : list of B lists of int
        Ids; of different lengths if you like, but none empty.
    n_tokens : int
        The most that is added to each.
    **options
        As in `stream_ids`: `sources`, `stop`, `rng`, `use_cache`, and how to draw.

    Returns
    -------
    list of B lists of int
        The new ids, without the prompt and the stop token: one with less than `n_tokens` was
        stopped.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, or the model writes no text.

    Examples
    --------
    >>> from minillm.config import BigramConfig
    >>> from minillm.numpy_nn.models import Bigram
    >>> model = Bigram(BigramConfig(vocab_size=3))
    >>> generate(model, [[0, 1]], 5, rng=np.random.default_rng(0))
    [[2, 0, 2, 0, 1]]
    >>> model.table.weight.data[...] = [[0, 9, 0], [0, 0, 9], [9, 0, 0]]
    >>> generate(model, [[0], [2]], 5, temperature=0, stop=[2])
    [[1], [0, 1]]
    """
    steps = list(stream_ids(model, prompts, n_tokens, **options))
    texts = [[i for i in text if i is not None] for text in zip(*steps, strict=True)]
    return texts or [[] for _ in prompts]


def stream(model, tokenizer, prompt, n_tokens, **options):
    """Write on after a prompt, and give the text in pieces, as soon as each is there.

    Parameters
    ----------
    model : LanguageModel
    tokenizer : Tokenizer
        That which the model was trained with.
    prompt : str
    n_tokens : int
        The most that is added.
    **options
        As in `stream_ids`.

    Yields
    ------
    str
        Whole characters: what belongs to half a character waits for the other half.

    Raises
    ------
    TypeError, ValueError
        As in `generate`, when the first piece is asked for.

    Examples
    --------
    >>> from minillm.config import BigramConfig
    >>> from minillm.numpy_nn.models import Bigram
    >>> from minillm.tokenizer import CharTokenizer
    >>> model, tokenizer = Bigram(BigramConfig(vocab_size=3)), CharTokenizer("abc")
    >>> model.table.weight.data[...] = [[0, 9, 0], [0, 0, 9], [9, 0, 0]]
    >>> list(stream(model, tokenizer, "ab", 4, temperature=0))
    ['c', 'a', 'b', 'c']
    """
    prompt = tokenizer.encode(prompt)
    new = (i for (i,) in stream_ids(model, [prompt], n_tokens, **options))
    yield from decode_stream(tokenizer, new, after=prompt)


def stream_ids(
    model, prompts, n_tokens, *, sources=None, stop=(), rng=None, use_cache=True, **sampling
):
    """Write on, and give the new ids of each step.

    Parameters
    ----------
    model, prompts, n_tokens
        Arguments as in `generate`.
    sources : list of B lists of int, optional
        What an encoder–decoder reads; `prompts` are then how its texts begin.
    stop : list of int
        Each of these ends a text.
    rng : numpy.random.Generator, or list of B of them, optional
        Draws the tokens, also for a model of PyTorch. From one, a generator is spawned for each
        text; so the first text of a batch is drawn as if it were alone.
    use_cache : bool
        False: read all of a text again for each token, which is slower and gives the same.
    **sampling
        As in `probabilities`: `temperature` (0: always the best), `top_k`, `top_p`, `min_p`,
        `repetition_penalty`. By default, tokens are drawn as the model says.

    Yields
    ------
    list of B, int or None
        One new id for each text, None after it was stopped. It ends with the last text.

    Raises
    ------
    TypeError, ValueError
        As in `generate`, when the first step is asked for.

    Examples
    --------
    >>> from minillm.config import BigramConfig
    >>> from minillm.numpy_nn.models import Bigram
    >>> model = Bigram(BigramConfig(vocab_size=3))
    >>> model.table.weight.data[...] = [[0, 9, 0], [0, 0, 9], [9, 0, 0]]
    >>> for step in stream_ids(model, [[0], [2]], 5, temperature=0, stop=[2]):
    ...     print(step)
    [1, 0]
    [None, 1]
    """
    reader = Reader(model, sources, use_cache=use_cache)
    check_sizes(n_tokens=n_tokens)
    texts = check_texts("prompts", prompts, model.config.vocab_size)
    if sources is not None and len(sources) != len(texts):
        raise ValueError(f"sources has {len(sources)} texts, expected {len(texts)}, as prompts")
    stop = check_ids("stop", stop, model.config.vocab_size)
    rngs = _generators(rng, len(texts))
    rows = range(len(texts))  # the texts that are not finished
    for _ in range(n_tokens):
        current = [texts[row] for row in rows]
        weights = probabilities(reader.next_logits(current), current, **sampling)
        ids = draw(weights, [rngs[row] for row in rows]).tolist()
        new = {row: i for row, i in zip(rows, ids, strict=True) if i not in stop}
        if not new:
            return
        if len(new) < len(rows):
            reader.select([place for place, row in enumerate(rows) if row in new])
        rows = list(new)
        for row, i in new.items():
            texts[row].append(i)
        yield [new.get(row) for row in range(len(texts))]


def decode_stream(tokenizer, ids, *, after=()):
    """Decode ids one by one: give each piece of text when its characters are whole.

    Parameters
    ----------
    tokenizer : Tokenizer
    ids : iterable of int
    after : list of int
        What was decoded before, whose end may matter: words are separated by spaces.

    Yields
    ------
    str
        Never empty. All together are what the tokenizer's `decode` adds to that of `after`.

    Examples
    --------
    >>> from minillm.tokenizer import BPETokenizer, WordTokenizer
    >>> tokenizer = BPETokenizer.train("no pairs", 256)
    >>> ids = tokenizer.encode("a é")
    >>> ids, list(decode_stream(tokenizer, ids))
    ([97, 32, 195, 169], ['a', ' ', 'é'])
    >>> list(decode_stream(WordTokenizer(["is", "it"]), [3, 2], after=[2]))
    [' it', ' is']
    """
    if hasattr(tokenizer, "decode_bytes"):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pieces = (decoder.decode(tokenizer.decode_bytes([i])) for i in ids)
        yield from filter(None, pieces)
        yield from filter(None, [decoder.decode(b"", final=True)])
        return
    before = list(after)[-1:]
    for i in ids:
        yield tokenizer.decode([*before, i])[len(tokenizer.decode(before)) :]
        before = [i]


def window_start(n, limit):
    """Where, in a text of n tokens, a model with room for `limit` starts to read.

    At 0, until the next token would not fit. Then the last limit // 2 are kept (or one), more
    are added, until it is full again: so it is a matter of the text's length alone.

    Parameters
    ----------
    n : int
    limit : int or None
        The context length; None for a model that reads texts of any length.

    Examples
    --------
    >>> [n - window_start(n, 6) for n in range(1, 16)]  # how many are read
    [1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 3, 4, 5, 6, 3]
    """
    if limit is None or n <= limit:
        return 0
    dropped = limit + 1 - max(limit // 2, 1)  # at once
    return dropped * -(-(n - limit) // dropped)


class Reader:
    """A model that reads texts as they grow, and says what may come next.

    With a cache only what is new is read; until a text has outgrown the context: then the cache
    is made anew.
    """

    def __init__(self, model, sources=None, *, use_cache=True):
        if not hasattr(model, "next_logits"):
            raise TypeError(f"model is a {type(model).__name__}, expected a language model")
        c, name = model.config, type(model).__name__
        pair = hasattr(c, "source_vocab_size") and getattr(c, "kind", "") in ("", "encoder-decoder")
        if pair and sources is None:
            raise ValueError(f"sources is None, expected a text for each prompt: {name} needs them")
        if not pair and sources is not None:
            raise ValueError(f"sources is given, expected None: this {name} reads none")
        if pair:
            size = c.source_vocab_size or c.vocab_size
            self.sources = check_texts("sources", sources, size)
        self.model, self.pair, self.use_cache = model, pair, use_cache
        self.limit = c.context_length if c.model == "Transformer" else None
        self.starts = None  # where, in each text, the cache begins

    def next_logits(self, texts):
        """The logits after each text: -> float32 (B, V).

        The texts are those of the last time, each with one token more.
        """
        starts = [window_start(len(text), self.limit) for text in texts]
        full = starts != self.starts or self.n_read == self.limit  # a text, or all with padding
        if full or not self.use_cache:
            texts = [text[start:] for text, start in zip(texts, starts, strict=True)]
            self.cache, self.starts, self.n_read = self._new_cache(len(texts)), starts, 0
        else:
            texts = [text[-1:] for text in texts]
        batch = self._batch(texts)
        self.n_read += batch.ids.shape[1]
        logits = self.model.next_logits(batch.ids, self.cache, mask=batch.mask)
        logits = logits.float().cpu().numpy() if hasattr(logits, "cpu") else logits
        return logits.astype(np.float32, copy=False)

    def select(self, rows):
        """Go on with these texts, in this order; one may be there twice."""
        self.cache.select(rows)
        self.starts = [self.starts[row] for row in rows]
        if self.pair:
            self.sources = [self.sources[row] for row in rows]

    def _new_cache(self, B):
        if not self.pair:
            return self.model.new_cache(B)
        batch = self._batch(self.sources)
        return self.model.encode(batch.ids, batch.mask)

    def _batch(self, texts):
        """Texts as a batch of the model's half, padded on the left."""
        T = max(map(len, texts))
        ids = np.array([[0] * (T - len(text)) + text for text in texts])  # (B, T)
        lengths = np.array([[len(text)] for text in texts])  # (B, 1)
        mask = None if (lengths == T).all() else np.arange(T) >= T - lengths
        batch, device = Batch(ids, mask=mask), getattr(self.model, "device", None)
        return batch if device is None else batch.to(device)


def check_texts(name, texts, vocab_size):
    """Texts as a list of lists of int; raise unless there is one, and in each an id or more."""
    if not hasattr(texts, "__len__") or isinstance(texts, (str, bytes)):
        raise TypeError(f"{name} is a {type(texts).__name__}, expected a list of lists of ids")
    if len(texts) == 0:
        raise ValueError(f"{name} is empty, expected at least one text")
    return [check_ids(f"{name}[{b}]", text, vocab_size, least=1) for b, text in enumerate(texts)]


def check_ids(name, ids, vocab_size, *, least=0):
    """Ids as a list of int; raise unless all are in the vocabulary, and there are enough."""
    try:
        ids = list(map(index, ids))
    except TypeError:
        raise TypeError(f"{name} = {ids!r:.60}, expected a list of ids") from None
    for i in ids:
        if not 0 <= i < vocab_size:
            raise ValueError(f"{name} holds {i}, expected 0 <= id < vocab_size = {vocab_size}")
    if len(ids) < least:
        raise ValueError(f"{name} is empty, expected at least one id")
    return ids


def _generators(rng, B):
    """One generator for each of B texts."""
    if rng is None or isinstance(rng, np.random.Generator):
        return (np.random.default_rng() if rng is None else rng).spawn(B)
    if not isinstance(rng, (list, tuple)) or not all(hasattr(r, "random") for r in rng):
        raise TypeError(f"rng = {rng!r:.60}, expected a numpy.random.Generator or a list of them")
    if len(rng) != B:
        raise ValueError(f"rng has {len(rng)} generators, expected {B}, one for each prompt")
    return rng
