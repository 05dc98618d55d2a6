"""From a set's files to records: one function a set.

Each takes ``files``, a dict from file name to bytes, and returns what `minillm.data.load` returns.
The first paragraph of its docstring is what `minillm.data.describe` says about the parsing.
Text is decoded from bytes here, so that no platform's line ends or default encoding get in.
"""

import csv
import io
import json
import re
import wave

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


def tinyshakespeare(files) -> str:
    """One string, exactly as in the file."""
    (raw,) = files.values()
    return raw.decode("utf-8")


def tinystories(files) -> list[str]:
    """Split at single newlines; pieces of 200 characters or fewer, which are loose paragraphs, are
    left out, white space at the ends is removed. A blank line inside a story separates paragraphs.
    """
    (raw,) = files.values()
    pieces = re.split(r"(?<!\n)\n(?!\n)", raw.decode("utf-8"))
    return [piece.strip() for piece in pieces if len(piece) > 200]


def banking77(files) -> list[Labeled]:
    """Read as CSV with a header (rows end in CRLF, some quoted texts hold line breaks); white space
    at a text's ends is removed.
    """
    return [
        Labeled(row["text"].strip(), row["category"])
        for raw in files.values()
        for row in csv.DictReader(io.StringIO(raw.decode("utf-8"), newline=""))
    ]


def sentence_polarity(files) -> list[Labeled]:
    """One sentence a line, already split into lower-case tokens by spaces; the file's name gives the
    label. The positive sentences come first: shuffle before training.
    """
    labels = {"rt-polarity.pos": "positive", "rt-polarity.neg": "negative"}
    return [
        Labeled(line.strip(), labels[name])
        for name, raw in files.items()
        for line in _lines(raw.decode("utf-8"))
    ]


def sms_spam(files) -> list[Labeled]:
    """One message a line, label and text split at the first tab; quotes are ordinary characters."""
    (raw,) = files.values()
    rows = [line.split("\t", 1) for line in _lines(raw.decode("utf-8"))]
    return [Labeled(text.strip(), label) for label, text in rows]


def wnut17(files) -> list[Tagged]:
    """One token a line with its tag after a tab; a line that is empty or holds only white space ends
    the sentence.
    """
    return [
        Tagged(*zip(*sentence))
        for raw in files.values()
        for sentence in _conll_sentences(raw.decode("utf-8"))
    ]


def tatoeba_cmn(files) -> list[Pair]:
    """One pair a line: English, Chinese, attribution, split at tabs; the byte order mark at the start
    is dropped. Sorted from short to long: shuffle before splitting.
    """
    (raw,) = files.values()
    return [Pair(*line.split("\t")) for line in _lines(raw.decode("utf-8-sig"))]


def tatoeba_fra(files) -> list[Pair]:
    """One pair a line: English and French, split at the tab; the last line, which is cut off in the
    middle, is dropped. Sorted from short to long: shuffle before splitting.
    """
    (raw,) = files.values()
    return [Pair(*line.split("\t")) for line in _lines(raw.decode("utf-8"))[:-1]]


def xquad(files) -> list[Question]:
    """Read as JSON in the layout of SQuAD 1.1; one record a question, each with its one answer."""
    (raw,) = files.values()
    return [
        Question(
            context=paragraph["context"],
            question=question["question"],
            answer=answer["text"],
            start=answer["answer_start"],
            title=article["title"],
            id=question["id"],
        )
        for article in json.loads(raw)["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
        for answer in question["answers"]
    ]


def babi(files) -> list[StoryQuestion]:
    """Numbered lines; a line numbered 1 starts a new story. A question line holds question, answer and
    supporting line numbers, split at tabs; the numbers are turned into positions in the story.
    """
    records = []
    for name, raw in files.items():
        task = int(re.match(r"qa(\d+)_", name)[1])
        for line in _lines(raw.decode("utf-8")):
            number, rest = line.split(" ", 1)
            if number == "1":
                story, position = [], {}  # the sentences; line number -> position among them
            if "\t" not in rest:
                position[number] = len(story)
                story.append(rest)
                continue
            question, answer, support = (part.strip() for part in rest.split("\t"))
            support = tuple(position[n] for n in support.split())
            records.append(StoryQuestion(tuple(story), question, answer, support, task))
    return records


def poems(files) -> list[Poem]:
    """Read as JSON; the title is under `title` in the Tang file and under `rhythmic` (the tune) in
    the Song file. The Tang poems are in traditional characters, the Song poems in simplified ones.
    """
    return [
        Poem(
            lines=tuple(poem["paragraphs"]),
            author=poem["author"],
            title=poem.get("title") or poem["rhythmic"],
            collection=name[:4],  # tang300.json, song300.json
            tags=tuple(poem.get("tags", ())),
        )
        for name, raw in files.items()
        for poem in json.loads(raw)
    ]


def sonnets(files) -> list[Poem]:
    """Blocks of lines between blank lines (rows end in CRLF), numbered in order; white space at the end
    of a line is removed, the indent of a closing couplet is kept.
    """
    (raw,) = files.values()
    text = raw.decode("utf-8").replace("\r\n", "\n").strip("\n")
    return [
        Poem(
            lines=tuple(line.rstrip() for line in _lines(block)),
            author="William Shakespeare",
            title=f"Sonnet {number}",
            collection="sonnets",
        )
        for number, block in enumerate(re.split(r"\n[ \t]*\n", text), start=1)
    ]


def word_analogies(files) -> list[Analogy]:
    """Four words a line; a line that starts with a colon names the section of those that follow."""
    (raw,) = files.values()
    records = []
    for line in _lines(raw.decode("utf-8")):
        if line.startswith(":"):
            section = line[1:].strip()
        else:
            records.append(Analogy(*line.split(), section=section))
    return records


def gpt2_tokenizer(files) -> BPEFiles:
    """The vocabulary is read as JSON (token to id); the merges follow a version line, two parts a line
    split at the space.
    """
    merges = _lines(files["vocab.bpe"].decode("utf-8"))[1:]
    return BPEFiles(
        vocabulary=json.loads(files["encoder.json"]),
        merges=tuple(tuple(line.split(" ")) for line in merges),
    )


def instruction_data(files) -> list[Instruction]:
    """Read as a JSON list; `input` is empty where the instruction says everything."""
    (raw,) = files.values()
    return [Instruction(**item) for item in json.loads(raw)]


def fsdd(files) -> list[Recording]:
    """Read as WAV (8 kHz, one channel, 16 bit); a file's name gives digit, speaker and index. Indices
    0 to 4 are test, the rest train.
    """
    records = []
    for name, raw in files.items():
        digit, speaker, index = name.removesuffix(".wav").split("_")
        with wave.open(io.BytesIO(raw)) as sound:
            if (sound.getnchannels(), sound.getsampwidth()) != (1, 2):
                raise ValueError(f"{name}: expected one channel of 16 bit")
            pcm = sound.readframes(sound.getnframes())
            records.append(Recording(int(digit), speaker, int(index), sound.getframerate(), pcm))
    return records


def _lines(text):
    """The lines of a text that are not empty, split at newlines alone."""
    return [line for line in text.split("\n") if line]


def _conll_sentences(text):
    """Lists of (token, tag), one list a sentence."""
    sentence = []
    for line in text.split("\n"):
        if line.strip():
            sentence.append(line.split("\t"))
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


PARSERS = {
    function.__name__: function
    for function in (
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
