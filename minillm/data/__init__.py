"""The data sets: small, openly licensed, real; downloaded once, checked, given as plain records.

    >>> from minillm import data
    >>> data.available()[:3]
    ['tinyshakespeare', 'tinystories', 'banking77']
    >>> text = data.load("tinyshakespeare")
    >>> type(text).__name__, len(text) > 1_000_000
    ('str', True)
    >>> question = data.load("banking77", split="test")[0]
    >>> type(question).__name__, question.label in data.describe("banking77").classes
    ('Labeled', True)

A set is looked for in the folder ``$MINILLM_DATA``, then in the user's cache, then downloaded into the
cache. Where there is no network either, `load` says so in one line and gives a **stand-in**: made-up
data of the same form, so that a notebook runs to its end; `is_real` tells which it was. See
`minillm.data.places` for the settings, and ``python -m minillm.data`` for the command line.
"""

from . import places
from .parse import PARSERS
from .records import (
    Analogy,
    BPEFiles,
    Instruction,
    Labeled,
    Pair,
    Poem,
    Question,
    Recording,
    StoryQuestion,
    Tagged,
)
from .registry import DATA_SETS, DataSet, File, find

__all__ = [
    "Analogy",
    "BPEFiles",
    "DataSet",
    "File",
    "Instruction",
    "Labeled",
    "Pair",
    "Poem",
    "Question",
    "Recording",
    "StoryQuestion",
    "Tagged",
    "available",
    "describe",
    "is_real",
    "load",
    "path",
]


def available():
    """The names of all sets.

    Returns
    -------
    list of str

    Examples
    --------
    >>> "sonnets" in available()
    True
    """
    return list(DATA_SETS)


def describe(name):
    """What is known of a set: content, size, parsing, license, source, attribution. Loads nothing.

    Parameters
    ----------
    name : str
        One of `available`.

    Returns
    -------
    DataSet
        Reads as a card when printed; its fields can be used one by one.

    Raises
    ------
    TypeError, ValueError
        If `name` is no string, or not the name of a set.

    Examples
    --------
    >>> card = describe("wnut17")
    >>> card.license, list(card.splits), card.rows
    ('CC-BY-4.0', ['train', 'dev', 'test'], 5690)
    >>> print(describe("sonnets"))  # doctest: +ELLIPSIS
    sonnets: Shakespeare's sonnets as plain text, CRLF line ends, a blank line between poems
      rows         154 poems (blocks of text between blank lines)
    ...
    """
    return find(name)


def load(name, split=None):
    """Load a set as plain records.

    Parameters
    ----------
    name : str
        One of `available`.
    split : str, optional
        A part that the set's makers set apart, as in ``describe(name).splits``: ``"train"``,
        ``"test"``, and ``"dev"`` where there is one. By default the whole set: train on that only
        where the set has no splits.

    Returns
    -------
    str, list, or BPEFiles
        ``describe(name).returns`` says which: one text, or a list of texts or of frozen dataclasses.
        The list is new at each call.

    Raises
    ------
    TypeError, ValueError
        If there is no such set, or no such split of it.
    OSError
        If the files cannot be stored because the disk is full.

    Examples
    --------
    >>> load("sms_spam")[0].label in ("ham", "spam")
    True
    >>> len(load("fsdd", split="test"))
    150
    >>> load("sonnets", split="test")
    Traceback (most recent call last):
        ...
    ValueError: split: 'test'; 'sonnets' expects None
    """
    dataset = find(name)
    files = dataset.files_of(split)
    folder = places.locate(dataset).folder
    return PARSERS[name]({file.name: (folder / file.path).read_bytes() for file in files})


def is_real(name):
    """Whether `load` gives the real set here, or a stand-in.

    Where the set is not here yet, this downloads it, as `load` would.

    Parameters
    ----------
    name : str
        One of `available`.

    Returns
    -------
    bool

    Raises
    ------
    TypeError, ValueError
        If `name` is no string, or not the name of a set.

    Examples
    --------
    Claims about quality hold for real data only:

    >>> loss = 1.9
    >>> assert loss < 2.5 or not is_real("tinyshakespeare")
    """
    return places.locate(find(name)).kind != "stand-in"


def path(name, file=None):
    """Where a set's files lie, for code that reads them itself.

    Parameters
    ----------
    name : str
        One of `available`.
    file : str, optional
        The name of one file, as in ``describe(name).files``; by default the folder of the set.

    Returns
    -------
    pathlib.Path
        Complete and checked files; a stand-in's files where `is_real` is False.

    Raises
    ------
    TypeError, ValueError
        If there is no such set, or no such file in it.

    Examples
    --------
    >>> path("gpt2_tokenizer", "vocab.bpe").read_text(encoding="utf-8")[:8]
    '#version'
    """
    dataset = find(name)
    names = [f.name for f in dataset.files]
    if file is not None and file not in names:
        shown = ", ".join(names[:4]) + (f" … ({len(names)} files)" if len(names) > 4 else "")
        raise ValueError(f"file: {file!r}; {name!r} has {shown}")
    folder = places.locate(dataset).folder / name
    return folder if file is None else folder / file
