"""The interface of all tokenizers: special tokens, streams, files."""

import json
import reprlib
from contextlib import contextmanager
from itertools import chain
from operator import index
from pathlib import Path

from minillm.files import replacing

from .stream import cut_anew, finder

PIECE = 2**13  # characters that are encoded at a time
KINDS = {}  # the classes of tokenizers by name


class Tokenizer:
    """What all tokenizers share; `CharTokenizer`, `WordTokenizer` and `BPETokenizer` are some.

    A special token, such as ``<pad>`` or ``<|endoftext|>``, is a string with an id of its own. It
    is looked for before anything else, the longest first, and never split or joined to what
    stands beside it. A text from strangers may hold one by malice: with ``allowed_special=()`` it
    is text like any other.

    Attributes
    ----------
    vocab : list
        The tokens in the order of their ids: str, or bytes for BPE.
    special_tokens : dict
        From each special token to its id.

    Examples
    --------
    >>> from minillm.tokenizer import CharTokenizer
    >>> tokenizer = CharTokenizer("abc<>", special_tokens=["<b>"])
    >>> tokenizer.encode("a<b>c"), tokenizer.encode("a<b>c", allowed_special=())
    ([1, 0, 3], [1, 4, 2, 5, 3])
    >>> list(tokenizer.encode_iterable(["a<", "b>", "c"]))
    [1, 0, 3]
    >>> tokenizer.decode([1, 0, 3])
    'a<b>c'
    """

    # What a subclass defines, beside the attributes:
    pattern = None  # finds the words of a text without special tokens
    boundary = None  # finds, searching backwards, a character before which any word has ended
    file_errors = "strict"  # what becomes of invalid UTF-8 in a file to train on

    def __init_subclass__(cls):
        KINDS[cls.__name__] = cls

    @property
    def vocab_size(self):
        """How many ids there are, those of special tokens included."""
        return len(self.vocab)

    def __len__(self):
        return len(self.vocab)

    def __repr__(self):
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"

    def encode(self, text, *, allowed_special="all"):
        """The ids of `text`, as a list of int.

        `allowed_special` says which special tokens are recognized, ``"all"`` or a collection of
        them; the others are text.

        Raises
        ------
        TypeError
            If `text` is no str.
        ValueError
            If a part of it has no id, or `allowed_special` holds what is no special token.
        """
        return list(self.encode_iterable([text], allowed_special=allowed_special))

    def encode_iterable(self, chunks, *, allowed_special="all"):
        """The ids of the text that `chunks` (str, cut anywhere) make together, one after another.

        They are those of ``encode("".join(chunks))``, but memory stays constant: no more of the
        text is kept than the longest word needs. Arguments and errors as in `encode`.
        """
        if allowed_special == "all":
            allowed = tuple(self.special_tokens)
        else:
            allowed = tuple(check_tokens("allowed_special", allowed_special))
        for token in allowed:
            if token not in self.special_tokens:
                known = list(self.special_tokens)
                raise ValueError(f"allowed_special holds {token!r}, expected some of {known}")
        pieces = cut_anew(chunks, allowed, self.boundary, PIECE)
        return chain.from_iterable(self._encode_piece(piece, allowed) for piece in pieces)

    def decode(self, ids):
        """The text of `ids`, a sequence of int.

        Raises
        ------
        TypeError
            If they are no integers.
        ValueError
            If one is outside the vocabulary.
        """
        raise NotImplementedError(f"{type(self).__name__} has no decode(ids)")

    def save(self, path):
        """Write the tokenizer to a JSON file at `path`, at one stroke: it is never half there."""
        fields = {"tokenizer": type(self).__name__, **self._fields()}
        text = json.dumps(fields, ensure_ascii=False, indent=0)
        raw = text.encode("utf-8", "surrogatepass")
        with replacing(path) as file:
            file.write(raw)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote to `path`; ``Tokenizer.load`` reads any kind.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is damaged, or holds another kind of tokenizer.
        """
        raw = Path(path).read_bytes()
        with blaming(path, f"a whole file that {cls.__name__}.save wrote"):
            fields = json.loads(raw.decode("utf-8", "surrogatepass"))
            name = fields.pop("tokenizer")
            if not issubclass(KINDS.get(name, object), cls):
                raise ValueError(f"tokenizer = {name!r}")  # noqa: TRY004
            return KINDS[name]._from_fields(**fields)

    @classmethod
    def _from_fields(cls, **fields):
        """The inverse of `_fields`, which a subclass defines: what goes into a file."""
        return cls(**fields)

    def _encode_piece(self, piece, allowed):
        """The ids of a text; `_encode_words`, of a subclass, gives those between special tokens."""
        ids = []
        for i, part in enumerate(finder(allowed).split(piece)):  # odd parts are special tokens
            ids += [self.special_tokens[part]] if i % 2 else self._encode_words(part)
        return ids

    def _tokens(self, ids):
        """The tokens of ids; raise for what is no id."""
        try:
            ids = list(map(index, ids))
        except TypeError:
            message = f"ids = {reprlib.repr(ids)}, expected a sequence of integers"
            raise TypeError(message) from None
        if ids and not 0 <= min(ids) <= max(ids) < len(self.vocab):
            wrong = next(i for i in ids if not 0 <= i < len(self.vocab))
            raise ValueError(f"ids holds {wrong}, expected 0 <= id < vocab_size = {len(self)}")
        return [self.vocab[i] for i in ids]


@contextmanager
def blaming(path, expected):
    """Turn whatever goes wrong with the content of a file into a ValueError that names the file."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: {reason}; expected {expected}") from error


def check_tokens(name, tokens, kind=str):
    """`tokens` (None: none) as a list; raise unless each is a `kind`, not empty, there once."""
    tokens = () if tokens is None else tokens
    if isinstance(tokens, (str, bytes)):
        raise TypeError(f"{name} = {tokens!r}, expected a list of {kind.__name__}")
    tokens, seen = list(tokens), set()
    for token in tokens:
        if not isinstance(token, kind):
            raise TypeError(f"{name} holds {token!r}, expected {kind.__name__}")
        if not token or token in seen:
            fault = f"{token!r} twice" if token else "an empty one"
            raise ValueError(f"{name} holds {fault}, expected different tokens")
        seen.add(token)
    return tokens
