"""English prose that is on every machine with Python: its own manual."""

import functools
import random
import re
import sysconfig
import textwrap
from pathlib import Path

from .stories import story

LEFT_OUT = {"dist-packages", "encodings", "idlelib", "lib2to3", "site-packages", "test", "tests"}


def tinyshakespeare(dataset):
    """As many characters of Python's manual as the real file has, in lines of about its length."""
    return {"input.txt": manual(dataset.size).encode("ascii")}


@functools.cache
def manual(size):
    """`size` characters of the standard library's documentation, its chapters in random order.

    Where the machine has less of it than that, stories are put behind it.
    """
    rng = random.Random("manual")
    chapters = list(_chapters())
    rng.shuffle(chapters)
    paragraphs = {}  # in order, each once
    length = 0
    for chapter in chapters:
        for paragraph in _english(chapter):
            if paragraph not in paragraphs:
                paragraphs[paragraph] = textwrap.fill(paragraph, 60) + "\n"
                length += len(paragraphs[paragraph]) + 1
        if length > size:
            break
    blocks = list(paragraphs.values())
    while length < size:
        blocks.append(textwrap.fill(" ".join(story(rng)), 60) + "\n")
        length += len(blocks[-1]) + 1
    return "\n".join(blocks)[: size - 1].rstrip("\n").ljust(size - 1, ".") + "\n"


def _chapters():
    """Texts: the language manual's topics, then each module's documentation strings."""
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some systems pack it apart
        topics = {}
    yield from (topics[name] for name in sorted(topics))
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        if LEFT_OUT.isdisjoint(path.relative_to(library).parts):
            source = path.read_text(encoding="utf-8", errors="replace")
            yield "\n\n".join(re.findall(r'"""(.*?)"""', source, re.DOTALL))


def _english(text):
    """The paragraphs of a text that are sentences, not code or tables."""
    for paragraph in re.split(r"\n\s*\n", text):
        paragraph = " ".join(paragraph.split())
        letters = sum(c.isalpha() or c in " ,.'" for c in paragraph)
        if (
            len(paragraph) >= 60
            and paragraph.isascii()
            and letters > 0.88 * len(paragraph)
            and paragraph[0].isupper()
            and paragraph[-1] in ".:!?"
        ):
            yield paragraph
