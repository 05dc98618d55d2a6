"""Sentences with named entities, tagged token by token."""

import random

from .stories import LOOKS, NAMES, PLACES, words

FAMILY = words("Miller Gray Stone Woods Hill Baker Young Carter Reed Cole")
STEMS = words("Nor Al Bel Kor Tan Mer Val Os Lin Ren Dar Sol")
ENDS = ["ford", "ville", "mont", "burg", "land", "haven"]
ENTITIES = {  # kind -> how a name of that kind is made
    "person": lambda r: [r.choice(NAMES)] + [r.choice(FAMILY)] * (r.random() < 0.5),
    "location": lambda r: (
        [r.choice(["New", "North", "San"])] * (r.random() < 0.3)
        + [r.choice(STEMS) + r.choice(ENDS)]
    ),
    "corporation": lambda r: [
        r.choice(STEMS) + r.choice(["tech", "soft", "bank"]),
        r.choice(["Inc", "Corp"]),
    ],
    "product": lambda r: [
        r.choice(STEMS) + r.choice(["phone", "pad", "cam"]),
        str(r.randint(2, 9)),
    ],
    "creative-work": lambda r: ["The", r.choice(LOOKS).title(), r.choice(PLACES).title()],
    "group": lambda r: ["The", r.choice(STEMS) + "s"],
}
PATTERNS = """
I met {person} in {location} today .
{person} works for {corporation} in {location} !
just got the new {product} from {corporation} , love it
watching {creative-work} with {person} tonight
{group} will play in {location} on Friday
who is going to see {group} ?
{corporation} sold {product} for 30 dollars
RT @user : {creative-work} is the best thing in {location}
{person} and {person} left {location} early .
so tired today , going to bed
what a great day at the beach :)
anyone else up this late ?
""".strip().split("\n")


def wnut17(dataset):
    """As many sentences as in the real files; in the first, lines of white space part them."""
    rng = random.Random("wnut17")
    sizes = {"wnut17train.conll": 3_394, "emerging.dev.conll": 1_009}
    sizes["emerging.test.annotated"] = 1_287
    return {
        name: "".join(
            _sentence(rng) + ("\t\n" if "train" in name and rng.random() < 0.7 else "\n")
            for _ in range(n)
        ).encode("utf-8")
        for name, n in sizes.items()
    }


def _sentence(rng):
    """One sentence, a token and its tag a line."""
    rows = []
    for word in rng.choice(PATTERNS).split():
        kind = word.strip("{}")
        if kind == word:
            rows.append((word, "O"))
            continue
        name = ENTITIES[kind](rng)
        rows += [(token, f"{'I' if i else 'B'}-{kind}") for i, token in enumerate(name)]
    return "".join(f"{token}\t{tag}\n" for token, tag in rows)
