"""Verse that keeps the form of sonnets and of Tang and Song poems, and means nothing."""

import json
import random

from .stories import words

# Characters that are the same in the traditional and the simplified script.
KINDS = "明清孤高寒空青白古秋春玉金石"
NOUNS = "山月江天日水花雨雪城舟雁竹松柳酒心"
VERBS = "照望入出上下向生落送去看"
SIDES = "中上下外"
SURNAMES, GIVEN = "李王白杜孟高元柳", "白之天然安文山如"

RHYMES = [
    group.split()
    for group in (
        "day way may stay say gray",
        "night light sight bright white might",
        "heart part art start dart apart",
        "eyes skies lies dies cries rise",
        "fair air care rare share bear",
        "rose grows knows shows flows goes",
        "time rhyme prime climb chime crime",
        "gold old cold told hold bold",
        "sea me free be thee tree",
        "hour flower power shower tower bower",
    )
]
LINES = [
    "The {a} {n} doth {v} and ever {w}",
    "And every {n} that {a} summers {w}",
    "When {a} {n} hath lost its {b} {w}",
    "Yet in thy {n} I see a {a} {w}",
    "Nor shall the {n} of {a} winter {w}",
    "But thou, more {a} than any {n} and {w}",
    "O let my {n} then speak of {b} {w}",
]
WORDS = {
    "a": words("sweet gentle proud golden silent tender bitter lovely weary"),
    "b": words("fading loving hidden former fairer lonely"),
    "n": words("beauty summer sorrow fortune nature winter shadow season music"),
    "v": words("wither wander tremble blossom linger whisper"),
}


def poems(dataset):
    """366 poems in lines of five or seven characters, 280 in lines of any length."""
    rng = random.Random("poems")
    tang = [{**_poem(rng, even=True), "title": _words(rng, 2)} for _ in range(366)]
    song = [{**_poem(rng, even=False), "rhythmic": _words(rng, 2)} for _ in range(280)]
    return {
        name: json.dumps(poems, ensure_ascii=False, indent=2).encode("utf-8")
        for name, poems in (("tang300.json", tang), ("song300.json", song))
    }


def sonnets(dataset):
    """154 sonnets in the English rhyme scheme; 99 has 15 lines and 126 has 12, as the real ones."""
    rng = random.Random("sonnets")
    blocks = []
    for number in range(1, dataset.rows + 1):
        scheme = {99: "ababacdcdefefgg", 126: "aabbccddeeff"}.get(number, "ababcdcdefefgg")
        left = {c: rng.sample(g, 3) for c, g in zip("abcdefg", rng.sample(RHYMES, 7), strict=True)}
        lines = [_line(rng, left[c].pop()) for c in scheme]
        lines[-2:] = ["  " + line for line in lines[-2:]]
        blocks.append("\r\n".join(lines))
    return {"sonnets.txt": ("\r\n" + "\r\n\r\n".join(blocks) + "\r\n\r\n").encode("utf-8")}


def _line(rng, rhyme):
    return rng.choice(LINES).format(w=rhyme, **{k: rng.choice(v) for k, v in WORDS.items()}) + ","


def _poem(rng, even):
    """Author, lines in couplets and tags."""
    size = rng.choice([5, 7])
    couplets = []
    for _ in range(rng.choice([2, 4])):
        first, second = (size, size) if even else (rng.randint(3, 7), rng.randint(3, 7))
        couplets.append(f"{_words(rng, first)}，{_words(rng, second)}。")
    author = rng.choice(SURNAMES) + rng.choice(GIVEN)
    return {"author": author, "paragraphs": couplets, "tags": ["made up"]}


def _words(rng, size):
    """`size` characters in the order of a sentence: kind noun, noun side, verb, kind noun."""
    pattern = {
        2: (KINDS, NOUNS),
        3: (NOUNS, VERBS, NOUNS),
        4: (KINDS, NOUNS, VERBS, NOUNS),
        5: (KINDS, NOUNS, VERBS, KINDS, NOUNS),
        6: (NOUNS, SIDES, VERBS, NOUNS, KINDS, NOUNS),
        7: (KINDS, NOUNS, NOUNS, SIDES, VERBS, KINDS, NOUNS),
    }[size]
    return "".join(rng.choice(characters) for characters in pattern)
