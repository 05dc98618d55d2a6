"""Characters and words: a table with one id for each."""

from collections import Counter

import regex

from minillm.checks import check_sizes

from .base import Tokenizer, check_tokens
from .stream import count_words


class Table(Tokenizer):
    """One id for each word: first the special tokens, then the words, both in their order."""

    def __init__(self, words, special_tokens, unknown):
        special_tokens = check_tokens("special_tokens", special_tokens)
        if unknown is not None and unknown not in special_tokens:
            special_tokens += check_tokens("unknown", [unknown])
        self.vocab = check_tokens("the vocabulary", [*special_tokens, *words])
        self.special_tokens = {token: i for i, token in enumerate(special_tokens)}
        self.unknown = unknown
        n_special = len(special_tokens)
        self._ids = {word: i for i, word in enumerate(self.vocab[n_special:], n_special)}

    def _look_up(self, words):
        """The ids of words, or of characters."""
        ids = list(map(self._ids.get, words))  # None for what the table lacks
        if None in ids:
            if self.unknown is None:
                word = words[ids.index(None)]
                raise ValueError(f"text holds {word!r}, expected one of {len(self._ids)} known")
            unknown = self.special_tokens[self.unknown]
            ids = [unknown if i is None else i for i in ids]
        return ids

    def _fields(self):
        return {"special_tokens": list(self.special_tokens), "unknown": self.unknown}


class CharTokenizer(Table):
    """One id for each character, that is for each Unicode code point.

    Parameters
    ----------
    characters : iterable of str
    special_tokens : sequence of str
        Their ids come first.
    unknown : str, optional
        The special token for characters that are not in the vocabulary; it becomes the last
        special token if it is not there. By default such a character is an error.

    Raises
    ------
    TypeError, ValueError
        If a token is no str, empty, listed twice, or a character is several.

    Examples
    --------
    >>> tokenizer = CharTokenizer.train("hello")
    >>> tokenizer.vocab, tokenizer.encode("hole")
    (['e', 'h', 'l', 'o'], [1, 3, 2, 0])
    >>> CharTokenizer.train("hello", unknown="<unk>").encode("hula")
    [2, 0, 3, 0]
    """

    pattern = regex.compile(r"(?s).")
    boundary = regex.compile(r"(?rs).")

    def __init__(self, characters, *, special_tokens=(), unknown=None):
        super().__init__(characters, special_tokens, unknown)
        for character in self._ids:
            if len(character) > 1:
                raise ValueError(f"characters holds {character!r}, expected single characters")

    @classmethod
    def train(cls, source, *, special_tokens=(), unknown=None):
        """The characters of `source` (a str, a Path or an iterable of str), sorted.

        `special_tokens` and `unknown` as in the class.

        Raises
        ------
        TypeError, ValueError
            If `source` is of another type or empty, or its file is no UTF-8.
        """
        empty = cls([], special_tokens=special_tokens, unknown=unknown)
        counts = count_words(cls, source, empty.special_tokens)
        return cls(sorted(counts), special_tokens=special_tokens, unknown=unknown)

    def decode(self, ids):
        return "".join(self._tokens(ids))

    def _encode_words(self, text):
        return self._look_up(text)

    def _fields(self):
        return {**super()._fields(), "characters": list(self._ids)}


class WordTokenizer(Table):
    """One id for each word, and for each punctuation mark.

    A word is a run of letters, digits, marks and underscores, with apostrophes inside (*don't*);
    any other character that is no white space is a token by itself. White space separates, and is
    not kept: `decode` puts one space between tokens.

    Parameters
    ----------
    words : iterable of str
    special_tokens : sequence of str
        Their ids come first.
    unknown : str or None
        The special token for words that are not in the vocabulary; it becomes the last special
        token if it is not there. With None such a word is an error.
    lowercase : bool
        Whether words are made lower case.

    Raises
    ------
    TypeError, ValueError
        If a token is no str, empty, or listed twice.

    Examples
    --------
    >>> tokenizer = WordTokenizer.train("Don't panic! Don't. don't", min_freq=2, lowercase=True)
    >>> tokenizer.vocab
    ['<pad>', '<unk>', "don't"]
    >>> tokenizer.encode("Don't run"), tokenizer.decode([2, 1])
    ([2, 1], "don't <unk>")
    >>> WordTokenizer.train("b c. a b").vocab  # the most frequent first, equals sorted
    ['<pad>', '<unk>', 'b', '.', 'a', 'c']
    """

    pattern = regex.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
    boundary = regex.compile(r"(?r)[^\w'’]")

    def __init__(
        self, words, *, special_tokens=("<pad>", "<unk>"), unknown="<unk>", lowercase=False
    ):
        super().__init__(words, special_tokens, unknown)
        self.lowercase = bool(lowercase)

    @classmethod
    def train(
        cls,
        source,
        *,
        min_freq=1,
        special_tokens=("<pad>", "<unk>"),
        unknown="<unk>",
        lowercase=False,
    ):
        """The words of `source` (a str, a Path or an iterable of str), the most frequent first.

        Words seen less than `min_freq` times are left out; those seen equally often are sorted.
        `special_tokens`, `unknown` and `lowercase` as in the class.

        Raises
        ------
        TypeError, ValueError
            If `source` is of another type or has no words, its file is no UTF-8, or `min_freq` is
            no positive integer.
        """
        check_sizes(min_freq=min_freq)
        empty = cls([], special_tokens=special_tokens, unknown=unknown, lowercase=lowercase)
        counts = Counter()
        for word, n in count_words(cls, source, empty.special_tokens).items():
            counts[word.lower() if lowercase else word] += n
        words = sorted(counts, key=lambda word: (-counts[word], word))
        special = empty.special_tokens  # which "FOO" may have become, in small letters
        words = [word for word in words if counts[word] >= min_freq and word not in special]
        return cls(words, special_tokens=special_tokens, unknown=unknown, lowercase=lowercase)

    def decode(self, ids):
        return " ".join(self._tokens(ids))

    def _encode_words(self, text):
        words = self.pattern.findall(text)
        return self._look_up([word.lower() for word in words] if self.lowercase else words)

    def _fields(self):
        return {**super()._fields(), "words": list(self._ids), "lowercase": self.lowercase}
