"""Text to ids and back: characters, words, and byte-pair encoding (BPE).

    text ─ special tokens set apart ─ words ─ tokens ─ ids

Three classes with one interface, `Tokenizer`. Each is made by ``train(source)`` from a text (a
``str``), a file in UTF-8 (a ``pathlib.Path``; a ``str`` is never taken for a file's name) or an
iterable of separate texts, and read again by ``load(path)``.

    >>> text = "the cat sat on the mat"
    >>> tokenizers = CharTokenizer.train(text), WordTokenizer.train(text), BPETokenizer.train(text, 260)
    >>> for tokenizer in tokenizers:
    ...     ids = tokenizer.encode(text)
    ...     print(f"{len(ids)} of {tokenizer.vocab_size} ids:", tokenizer.decode(ids))
    22 of 10 ids: the cat sat on the mat
    6 of 7 ids: the cat sat on the mat
    14 of 260 ids: the cat sat on the mat

In this package: `base` holds the interface, `table` characters and words, `bpe` byte-pair encoding,
`stream` what makes a text of any length fit into memory.
"""

from .base import Tokenizer
from .bpe import BPETokenizer
from .table import CharTokenizer, WordTokenizer

__all__ = ["BPETokenizer", "CharTokenizer", "Tokenizer", "WordTokenizer"]
