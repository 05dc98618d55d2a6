"""Texts with a class: each class has words of its own, and shares others with the rest."""

import csv
import io
import json
import random

from .stories import NAMES, PLACES, words

ASKING = [
    "I have a question about {topic}.",
    "Can you help me with {topic}?",
    "What should I do about {topic}?",
    "How does {topic} work?",
    "Why is there a problem with {topic}?",
    "Please tell me more about {topic}.",
    "{topic}: what does that mean?",
    "My app says {topic}, is that right?",
]
BEFORE = ["", "Hello. ", "Hi, ", "Sorry to ask, but ", "I am confused. ", "It is urgent! "]
AFTER = ["", " Thanks.", " I need it today.", " I tried it twice.", " It was fine last week."]

PRAISE = words("moving funny warm clever gripping lovely honest charming fresh wonderful")
BLAME = words("dull flat silly tired empty clumsy lifeless noisy boring awful")
SUBJECTS = words("film story plot script acting cast comedy drama ending dialogue music director")
VERDICTS = [
    "a {x} {s} with a {y} {t} .",
    "the {s} is {x} , and the {t} is {y} .",
    "{x} and {y} from the first scene to the last .",
    "too {x} to forget , this {s} has a {y} {t} .",
    "what a {x} {s} ; even the {t} feels {y} .",
    "not one scene is {n} : the {s} stays {x} .",
    "never {n} , the {s} is {x} and {y} .",
]

CHAT = [
    "Hey {name}, are you coming to the {place} later?",
    "ok, see you at {hour}",
    "Sorry, I'm late. Will be at the {place} by {hour}",
    "Did you talk to {name} today?",
    "I can't now, call me at {hour} ok",
    'She said "maybe" again lol',
    "Happy birthday {name}! Have a great day",
    "Where are you? {name} is waiting in the {place}",
    "Just got home. Thanks for the ride",
    "Do you want me to bring some food to the {place}?",
]
SPAM = [
    "WINNER! You have won a {prize}. Call {number} now to claim. T&Cs apply",
    "FREE {prize} for you! Txt WIN to {short} to claim, {pence}p per msg",
    "URGENT! We tried to contact you: your {prize} is waiting. Call {number}",
    "Get a {prize} today. Reply YES to {short}. To stop txt STOP",
    "Congratulations, your number was drawn for a {prize}. Claim on {number} before {hour}",
]
PRIZES = ["£1000 prize", "new phone", "holiday for two", "£250 voucher", "ringtone"]


def banking77(dataset):
    """A question's topic is its class's name in words; as many questions as in the real files."""
    rng = random.Random("banking77")

    def table(n):
        out = io.StringIO(newline="")
        writer = csv.writer(out)  # rows end in CRLF, as in the real files
        writer.writerow(["text", "category"])
        for i in range(n):
            label = dataset.classes[i % len(dataset.classes)]
            topic = label.replace("_", " ").lower().rstrip("?")
            text = rng.choice(BEFORE) + rng.choice(ASKING).format(topic=topic) + rng.choice(AFTER)
            writer.writerow(["\n" + text if rng.random() < 0.001 else text, label])
        return out.getvalue().encode("utf-8")

    classes = json.dumps(dataset.classes, indent=2).encode("utf-8")
    return {"train.csv": table(10_003), "test.csv": table(3_080), "categories.json": classes}


def sentence_polarity(dataset):
    """Words of praise or of blame, now and then the other kind behind a "not" or a "never"."""
    rng = random.Random("sentence_polarity")

    def sentences(own, other):
        for _ in range(dataset.rows // 2):
            x, y = rng.sample(own, 2)
            s, t = rng.sample(SUBJECTS, 2)
            yield rng.choice(VERDICTS).format(x=x, y=y, n=rng.choice(other), s=s, t=t) + " \n"

    return {
        "rt-polarity.pos": "".join(sentences(PRAISE, BLAME)).encode("utf-8"),
        "rt-polarity.neg": "".join(sentences(BLAME, PRAISE)).encode("utf-8"),
    }


def sms_spam(dataset):
    """Chat and advertisements in the real proportion; quotes are not closed, as in real messages."""
    rng = random.Random("sms_spam")
    labels = ["ham"] * 4_827 + ["spam"] * 747
    rng.shuffle(labels)
    lines = []
    for label in labels:
        text = rng.choice(CHAT if label == "ham" else SPAM).format(
            name=rng.choice(NAMES),
            place=rng.choice(PLACES),
            hour=f"{rng.randint(1, 12)}{rng.choice(['am', 'pm', ':30'])}",
            prize=rng.choice(PRIZES),
            number=f"0800{rng.randint(1_000_000, 9_999_999)}",
            short=rng.randint(80_000, 89_999),
            pence=rng.choice([50, 100, 150]),
        )
        text += '"' if rng.random() < 0.01 else ""
        lines.append(f"{label}\t{text}\n")
    return {"sms.tsv": "".join(lines).encode("utf-8")}
