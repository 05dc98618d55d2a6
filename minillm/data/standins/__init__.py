"""Stand-ins: made-up files in the form of a set's own, for where the real ones cannot be had.

They are read by the same parsers, have the same file names, the same classes and splits, and the same
number of records (but fewer analogies, and a smaller tokenizer). They are the same at each call on one
machine, and say nothing about real language.
"""

from .labels import banking77, sentence_polarity, sms_spam
from .pairs import tatoeba_cmn, tatoeba_fra
from .prose import tinyshakespeare
from .questions import babi, xquad
from .speech import fsdd
from .stories import tinystories
from .tags import wnut17
from .tokenizer import gpt2_tokenizer
from .verse import poems, sonnets
from .words import instruction_data, word_analogies

MAKERS = {
    maker.__name__: maker
    for maker in (
        tinyshakespeare,
        tinystories,
        banking77,
        sentence_polarity,
        sms_spam,
        wnut17,
        tatoeba_cmn,
        tatoeba_fra,
        xquad,
        babi,
        poems,
        sonnets,
        word_analogies,
        gpt2_tokenizer,
        instruction_data,
        fsdd,
    )
}


def make(dataset):
    """The files of a set's stand-in.

    Parameters
    ----------
    dataset : DataSet

    Returns
    -------
    dict of str to bytes
        One entry for every file of the set: its name and what is in it.
    """
    files = MAKERS[dataset.name](dataset)
    for file in dataset.files:  # a file without records, such as a read-me
        files.setdefault(file.name, b"This is a stand-in: the real file could not be had.\n")
    return files
