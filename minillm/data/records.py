"""The records that `minillm.data.load` returns: frozen dataclasses of plain values."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Labeled:
    """A text and its class, as in ``banking77``, ``sentence_polarity`` and ``sms_spam``."""

    text: str
    label: str


@dataclass(frozen=True)
class Tagged:
    """A sentence as tokens, and one tag a token (BIO scheme), as in ``wnut17``."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation, as in ``tatoeba_cmn`` and ``tatoeba_fra``.

    `attribution` names the two sentences and their authors where the file does; else it is empty.
    """

    source: str
    target: str
    attribution: str = ""


@dataclass(frozen=True)
class Question:
    """A question about a paragraph, as in ``xquad``; the answer is a piece of the paragraph.

    ``context[start:start + len(answer)] == answer`` holds.
    """

    context: str
    question: str
    answer: str
    start: int
    title: str
    id: str


@dataclass(frozen=True)
class StoryQuestion:
    """A question about a little story, as in ``babi``.

    `story` holds every sentence said before the question, `support` the positions in `story`
    of the sentences that the answer follows from; `task` is bAbI's number of the task.
    """

    story: tuple[str, ...]
    question: str
    answer: str
    support: tuple[int, ...]
    task: int


@dataclass(frozen=True)
class Poem:
    """A poem by lines, as in ``poems`` and ``sonnets``.

    `collection` is ``"tang"``, ``"song"`` or ``"sonnets"``; `title` is the tune's name for ``"song"``.
    """

    lines: tuple[str, ...]
    author: str
    title: str
    collection: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Analogy:
    """``a`` is to ``b`` as ``c`` is to ``d``, as in ``word_analogies``; `section` is the kind."""

    a: str
    b: str
    c: str
    d: str
    section: str


@dataclass(frozen=True)
class Instruction:
    """A task, what it is to be done to (may be empty), and the wanted answer."""

    instruction: str
    input: str
    output: str


@dataclass(frozen=True, repr=False)
class BPEFiles:
    """A byte-level BPE tokenizer's two tables, as in ``gpt2_tokenizer``.

    `vocabulary` maps a token, written in GPT-2's visible bytes, to its id; `merges` are the pairs
    that are joined, the most important first.
    """

    vocabulary: dict[str, int] = field(hash=False)
    merges: tuple[tuple[str, str], ...]

    def __repr__(self):
        return f"BPEFiles({len(self.vocabulary):,} tokens, {len(self.merges):,} merges)"


@dataclass(frozen=True)
class Recording:
    """A spoken digit, as in ``fsdd``: `pcm` holds 16-bit little-endian samples, one channel."""

    digit: int
    speaker: str
    index: int
    rate: int  # samples a second
    pcm: bytes = field(repr=False)

    @property
    def samples(self):
        """The sound as float32 in [-1, 1), shape (n_samples,)."""
        return np.frombuffer(self.pcm, "<i2").astype(np.float32) / 32768

    @property
    def seconds(self):
        """How long the recording lasts."""
        return len(self.pcm) / 2 / self.rate
