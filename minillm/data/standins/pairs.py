"""Sentence pairs from one small grammar with its words in three languages."""

import itertools
import random

SUBJECTS = [  # English, Chinese, French, form of the French verb, third person in English
    ("I", "我", "Je", 0, False),
    ("You", "你", "Tu", 1, False),
    ("He", "他", "Il", 2, True),
    ("She", "她", "Elle", 2, True),
    ("We", "我们", "Nous", 3, False),
    ("They", "他们", "Ils", 4, False),
    ("Tom", "汤姆", "Tom", 2, True),
    ("Mary", "玛丽", "Marie", 2, True),
]
VERBS = [  # English, Chinese, French for je, tu, il, nous, ils
    ("want", "想要", ("veux", "veux", "veut", "voulons", "veulent")),
    ("like", "喜欢", ("aime", "aimes", "aime", "aimons", "aiment")),
    ("buy", "买", ("achète", "achètes", "achète", "achetons", "achètent")),
    ("sell", "卖", ("vends", "vends", "vend", "vendons", "vendent")),
    ("draw", "画", ("dessine", "dessines", "dessine", "dessinons", "dessinent")),
    ("choose", "选", ("choisis", "choisis", "choisit", "choisissons", "choisissent")),
]
NOUNS = [  # English, Chinese, French, whether feminine
    ("book", "书", "livre", False),
    ("car", "车", "voiture", True),
    ("house", "房子", "maison", True),
    ("table", "桌子", "table", True),
    ("chair", "椅子", "chaise", True),
    ("hat", "帽子", "chapeau", False),
    ("cup", "杯子", "tasse", True),
    ("bag", "包", "sac", False),
    ("coat", "大衣", "manteau", False),
    ("flower", "花", "fleur", True),
    ("bike", "自行车", "vélo", False),
    ("fish", "鱼", "poisson", False),
    ("cat", "猫", "chat", False),
    ("dog", "狗", "chien", False),
    ("door", "门", "porte", True),
    ("pen", "笔", "stylo", False),
]
COLORS = [  # English, Chinese, French masculine and feminine
    ("", "", "", ""),
    ("red", "红色的", "rouge", "rouge"),
    ("blue", "蓝色的", "bleu", "bleue"),
    ("green", "绿色的", "vert", "verte"),
    ("black", "黑色的", "noir", "noire"),
    ("white", "白色的", "blanc", "blanche"),
]
TIMES = [
    ("", "", ""),
    ("today", "今天", "aujourd'hui"),
    ("now", "现在", "maintenant"),
    ("every day", "每天", "tous les jours"),
]


def tatoeba_cmn(dataset):
    """As many pairs as in the real file, with its byte order mark and third column."""
    rows = [f"{english}\t{chinese}\tmade up" for english, chinese, _ in _sentences(dataset.rows)]
    return {"cmn.txt": ("\n".join(rows) + "\n\n").encode("utf-8-sig")}


def tatoeba_fra(dataset):
    """One pair more than the real file has whole, and that one cut off as there."""
    rows = [f"{english}\t{french}" for english, _, french in _sentences(dataset.rows + 1)]
    rows[-1] = rows[-1][:-9]
    return {"fra.txt": ("\n".join(rows) + "\n").encode("utf-8")}


def _sentences(n):
    """`n` different sentences in three languages, sorted by the length of the English one."""
    choices = itertools.product(SUBJECTS, VERBS, NOUNS, COLORS, TIMES, (False, True))
    drawn = random.Random("pairs").sample(list(choices), n)
    return sorted((_sentence(*choice) for choice in drawn), key=lambda s: (len(s[0]), s))


def _sentence(subject, verb, noun, color, time, negated):
    who, who_zh, who_fr, form, third = subject
    if negated:
        does = f"{'does' if third else 'do'} not {verb[0]}"
    else:
        does = verb[0] + "s" * third
    english = " ".join(f"{who} {does} the {color[0]} {noun[0]} {time[0]}".split()) + "."

    chinese = f"{who_zh}{time[1]}{'不' * negated}{verb[1]}{color[1]}{noun[1]}。"

    does = verb[2][form]
    vowel = does[0] in "aeiou"
    if negated:
        does = f"n'{does} pas" if vowel else f"ne {does} pas"
    elif vowel and who_fr == "Je":
        who_fr = "J'"
    article = "la" if noun[3] else "le"
    shade = color[3 if noun[3] else 2]
    french = " ".join(f"{who_fr} {does} {article} {noun[2]} {shade} {time[2]}".split()) + "."
    return english, chinese, french.replace("J' ", "J'")
