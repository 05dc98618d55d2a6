"""Questions with answers: about invented towns, and about who is where."""

import json
import random

from .stories import NAMES, words
from .tags import ENDS, FAMILY, STEMS

FACTS = [  # a sentence with one fact, a question for it, how the fact is made
    ("{t} lies on the river {x}.", "On which river does {t} lie?", lambda r: r.choice(STEMS) + "e"),
    ("It has {x} inhabitants.", "How many inhabitants does {t} have?", lambda r: _number(r)),
    ("The town was founded in {x}.", "When was {t} founded?", lambda r: str(r.randint(900, 1900))),
    ("Its first mayor was {x}.", "Who was the first mayor of {t}?", lambda r: _person(r)),
    ("People there make {x}.", "What do people in {t} make?", lambda r: r.choice(GOODS)),
    ("A market is held every {x}.", "When is there a market in {t}?", lambda r: r.choice(DAYS)),
]
GOODS = words("glass paper cheese boats clocks bells carpets shoes")
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday")

PEOPLE = ["Mary", "John", "Daniel", "Sandra"]
ROOMS = words("bathroom bedroom garden hallway kitchen office")
OBJECTS = ["apple", "football", "milk"]
MOVES = ["moved to", "went to", "travelled to", "journeyed to", "went back to"]


def xquad(dataset):
    """48 articles on invented towns, 5 paragraphs each, together 1,190 questions."""
    rng = random.Random("xquad")
    articles, left = [], dataset.rows
    for i in range(48):
        paragraphs = []
        for j in range(5):
            n = 5 if left > 4 * (240 - 5 * i - j) else 4
            paragraphs.append(_paragraph(rng, n))
            left -= n
        articles.append({"title": f"Town_{i + 1}", "paragraphs": paragraphs})
    return {"xquad.en.json": json.dumps({"data": articles, "version": "1.1"}).encode("utf-8")}


def babi(dataset):
    """Both tasks, as many questions in each file as in the real one."""
    return {
        file.name: _stories(random.Random(file.name), yes_no=file.name.startswith("qa6"))
        for file in dataset.files
    }


def _paragraph(rng, n):
    """A paragraph on a town, and `n` questions about it."""
    town = rng.choice(STEMS) + rng.choice(STEMS).lower() + rng.choice(ENDS)
    context, questions = "", []
    for sentence, question, make in rng.sample(FACTS, len(FACTS)):
        fact, before = make(rng), sentence.format(t=town, x="\0").index("\0")
        start = len(context) + before
        context += sentence.format(t=town, x=fact) + " "
        questions.append(
            {
                "id": f"{rng.getrandbits(96):024x}",
                "question": question.format(t=town),
                "answers": [{"answer_start": start, "text": fact}],
            }
        )
    return {"context": context.strip(), "qas": rng.sample(questions, n)}


def _stories(rng, yes_no):
    """200 stories of ten sentences and five questions."""
    lines = []
    for _ in range(200):
        where, said = {}, {}  # person -> room, person -> number of the sentence that says so
        for number in range(1, 16):
            if number % 3 == 0:
                who = rng.choice(list(where))
                lines.append(f"{number} {_question(rng, who, where[who], yes_no)}\t{said[who]}")
                continue
            who = rng.choice(PEOPLE)
            if yes_no and where and rng.random() < 0.3:
                lines.append(f"{number} {who} picked up the {rng.choice(OBJECTS)} there.")
                continue
            where[who], said[who] = rng.choice(ROOMS), number
            lines.append(f"{number} {who} {rng.choice(MOVES)} the {where[who]}.")
    return ("\n".join(lines) + "\n").encode("utf-8")


def _question(rng, who, room, yes_no):
    """A question and its answer, with a tab between."""
    if not yes_no:
        return f"Where is {who}? \t{room}"
    asked = room if rng.random() < 0.5 else rng.choice([r for r in ROOMS if r != room])
    return f"Is {who} in the {asked}? \t{'yes' if asked == room else 'no'}"


def _number(rng):
    return f"{rng.randint(2, 90)},{rng.randint(0, 999):03}"


def _person(rng):
    return f"{rng.choice(NAMES)} {rng.choice(FAMILY)}"
