"""Short stories in simple words, put together from sentences with gaps."""

import random

words = str.split  # a list of words from a line of them

NAMES = words("Lily Ben Mia Tom Anna Max Sara Sam Lucy Tim Ella Jack Nina Leo Rosie Finn")
ANIMALS = words("dog cat bird rabbit bear fox mouse frog duck horse turtle squirrel")
THINGS = words("ball kite book boat hat shell cake drum flower car bell cup stone key doll box")
PLACES = words("park garden forest house beach school farm kitchen river hill")
LOOKS = words("red big small shiny old pretty blue soft round green yellow tiny")
FEELINGS = words("happy sad scared excited curious proud tired surprised")
ACTS = words("play run sing jump draw dance read swim climb paint")

OPENINGS = [
    "Once upon a time, there was a little {kind} named {a}.",
    "One day, {a} went to the {place} with a friend named {b}.",
    "{a} was a {look} {animal} who lived near the {place}.",
    "There once was a {kind} called {a}, who loved to {act}.",
]
MIDDLES = [
    "{a} had a {look} {thing} and took it everywhere.",
    "{a} saw a {look} {thing} in the {place} and wanted to look at it.",
    "{a} and {b} liked to {act} in the {place} every day.",
    'One day {b} came and said, "Can I see your {thing}?"',
    '"Look at the {look} {thing}!" said {a}.',
    "{a} was very {feeling} because the {thing} was gone.",
    "They looked in the {place}, but the {thing} was not there.",
    "Then a {animal} came by and asked why {a} was {feeling}.",
    '"Do not be {feeling}," said the {animal}. "I can help you."',
    "{b} found the {thing} under a {look} box.",
    "The {animal} showed them the way to the {place}.",
    "They shared the {thing} and began to {act}.",
    "It started to rain, so they ran back to the {place}.",
    "{a} gave the {thing} to {b}, and {b} felt {feeling}.",
    '{a} said, "Thank you, {b}. You are a good friend."',
]
ENDINGS = [
    "{a} and {b} were {feeling} and went home together.",
    "From that day on, {a} always shared the {thing} with {b}.",
    "They all lived happily ever after.",
    "{a} learned that it is good to help a friend.",
]


def tinystories(dataset):
    """As many stories as the real set has; paragraphs and stories are set apart as there."""
    rng = random.Random("tinystories")
    texts = ["\n\n".join(story(rng)) for _ in range(dataset.rows)]
    return {"tiny_stories.txt": "\n".join(texts).encode("utf-8")}


def story(rng):
    """The paragraphs of one story, about 900 characters together."""
    a, b = rng.sample(NAMES, 2)
    fixed = {"a": a, "b": b, "thing": rng.choice(THINGS), "animal": rng.choice(ANIMALS)}

    def fill(sentence):
        drawn = {"look": LOOKS, "place": PLACES, "feeling": FEELINGS, "act": ACTS}
        fitting = {gap: rng.choice(choices) for gap, choices in drawn.items()}
        return sentence.format(
            kind=rng.choice(["girl", "boy", fixed["animal"]]), **fixed, **fitting
        )

    paragraphs = [[fill(rng.choice(OPENINGS))]]
    for sentence in rng.sample(MIDDLES, rng.randint(12, len(MIDDLES))):
        if len(paragraphs[-1]) >= 3:
            paragraphs.append([])
        paragraphs[-1].append(fill(sentence))
    paragraphs.append([fill(ending) for ending in rng.sample(ENDINGS, 2)])
    return [" ".join(sentences) for sentences in paragraphs]
