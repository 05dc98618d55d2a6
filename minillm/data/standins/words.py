"""Word pairs by kind for analogies, and small tasks with answers that can be computed."""

import itertools
import json
import random

from .pairs import NOUNS
from .stories import NAMES, PLACES

CAPITALS = """Athens Greece, Berlin Germany, Paris France, Madrid Spain, Rome Italy, Lisbon Portugal,
Vienna Austria, Warsaw Poland, Oslo Norway, Cairo Egypt, Beijing China, Tokyo Japan"""
PAIRS = {  # section -> pairs, as in the real file though far fewer
    "capital-common-countries": CAPITALS,
    "capital-world": CAPITALS,
    "currency": "Japan yen, Poland zloty, Hungary forint, India rupee, Russia ruble, Sweden krona",
    "city-in-state": """Chicago Illinois, Houston Texas, Denver Colorado, Detroit Michigan,
        Miami Florida, Boston Massachusetts, Seattle Washington, Portland Oregon""",
    "family": """boy girl, brother sister, father mother, husband wife, king queen, son daughter,
        uncle aunt, grandfather grandmother""",
    "gram1-adjective-to-adverb": """calm calmly, quick quickly, rare rarely, slow slowly,
        quiet quietly, safe safely, sudden suddenly, usual usually""",
    "gram2-opposite": """aware unaware, certain uncertain, clear unclear, known unknown,
        likely unlikely, pleasant unpleasant, possible impossible, logical illogical""",
    "gram3-comparative": """big bigger, cold colder, fast faster, long longer, old older, small
        smaller, warm warmer, young younger""",
    "gram4-superlative": """big biggest, cold coldest, fast fastest, long longest, old oldest, small
        smallest, warm warmest, young youngest""",
    "gram5-present-participle": """dance dancing, fly flying, go going, read reading, run running,
        sing singing, swim swimming, walk walking""",
    "gram6-nationality-adjective": """China Chinese, Egypt Egyptian, France French, Germany German,
        Greece Greek, Italy Italian, Japan Japanese, Spain Spanish""",
    "gram7-past-tense": """dancing danced, flying flew, going went, reading read, running ran,
        singing sang, swimming swam, walking walked""",
    "gram8-plural": """bird birds, bottle bottles, car cars, child children, eye eyes, hand hands,
        house houses, mouse mice""",
    "gram9-plural-verbs": """eat eats, find finds, go goes, listen listens, play plays, say says,
        sing sings, walk walks""",
}

VERBS = [("run", "ran"), ("sing", "sang"), ("go", "went"), ("see", "saw"), ("write", "wrote")]


def word_analogies(dataset):
    """The real file's 14 sections; every two pairs of a section make a question."""
    lines = []
    for section, text in PAIRS.items():
        pairs = [" ".join(pair.split()) for pair in text.split(",")]
        lines.append(f": {section}")
        lines += [f"{first} {second}" for first, second in itertools.permutations(pairs, 2)]
    return {"questions-words.txt": ("\n".join(lines) + "\n").encode("utf-8")}


def instruction_data(dataset):
    """Sums, conversions, reversals, past tenses, plurals; in a few the input stands apart."""
    rng = random.Random("instruction_data")
    tasks = [rng.choice(TASKS)(rng) for _ in range(dataset.rows)]
    keys = ("instruction", "input", "output")
    rows = [dict(zip(keys, task, strict=True)) for task in tasks]
    return {"instruction-data.json": json.dumps(rows, indent=4).encode("utf-8")}


def _sum(rng):
    a, b = rng.randint(1, 99), rng.randint(1, 99)
    return f"What is {a} plus {b}?", "", f"{a} plus {b} is {a + b}."


def _meters(rng):
    km = rng.randint(1, 99)
    return f"Convert {km} kilometers to meters.", "", f"{km} kilometers is {km * 1000} meters."


def _reverse(rng):
    word = rng.choice(PLACES + NAMES)
    return "Write the letters of the word in reverse order.", word, word[::-1]


def _past(rng):
    now, then = rng.choice(VERBS)
    who, where = rng.choice(NAMES), rng.choice(PLACES)
    sentence = f"{who} and {rng.choice(NAMES)} {{}} near the {where}."
    return "Put the sentence into the past tense.", sentence.format(now), sentence.format(then)


def _longer(rng):
    a, b = rng.sample([noun[0] for noun in NOUNS], 2)
    longest = max((a, b), key=len)
    return f"Which word has more letters, {a} or {b}?", "", f"The answer is {longest}."


TASKS = [_sum, _meters, _longer, _reverse, _past]
