"""The page on the architecture shows numbers of a model: train it again, and draw them again.

``python tests/test_architecture_page.py`` writes the figures and the tables anew.
"""

import re
from collections import Counter
from functools import cache
from html import escape

import numpy as np
import pytest
from page_check import ROOT

from minillm import data, plots
from minillm.batches import IGNORED, Batch
from minillm.config import TransformerConfig
from minillm.numpy_nn import functional as F
from minillm.numpy_nn.optim import AdamW
from minillm.numpy_nn.transformer import Transformer
from minillm.tokenizer import BPETokenizer, WordTokenizer

PAGE = ROOT / "book" / "02-architecture.md"
FIGURES = ROOT / "book" / "figures"
SENTENCE, ANSWER, OTHER = "i understand you .", "je vous comprends .", "we're still here ."
START, END = 0, 1
N_STEP, WIDTH = 500, 360
GPT2 = TransformerConfig.gpt2(
    vocab_size=50_257, context_length=1_024, n_layer=12, n_head=12, d_model=768
)

# ---------------------------------------------------------------- the model


def pairs():
    """Short English-French pairs; five times, those with a word rarer than five were taken out."""
    cut = WordTokenizer.pattern.findall
    kept = [(cut(p.source.lower()), cut(p.target.lower())) for p in data.load("tatoeba_fra")]
    kept = [(s, t) for s, t in kept if len(s) == 4 and 3 <= len(t) <= 5 and s[-1] == t[-1] == "."]
    for _ in range(5):  # each round may make other words rare
        counts = [Counter(word for pair in kept for word in pair[i]) for i in (0, 1)]
        kept = [p for p in kept if all(counts[i][w] >= 5 for i in (0, 1) for w in p[i])]
    return [(" ".join(s), " ".join(t)) for s, t in kept]


@cache
def trained():
    """The tokenizers, the model after 500 steps, the number of pairs, and the last losses."""
    texts = pairs()
    options = {"special_tokens": (), "unknown": None}
    english = WordTokenizer.train([s for s, _ in texts], **options)
    options["special_tokens"] = ("<start>", "<end>")
    french = WordTokenizer.train([t for _, t in texts], **options)
    source = np.array([english.encode(s) for s, _ in texts])  # (N, S)
    target = [[START, *french.encode(t), END, END, END][:7] for _, t in texts]
    target = np.array(target)
    config = TransformerConfig(
        kind="encoder-decoder",
        vocab_size=len(french.vocab),
        source_vocab_size=len(english.vocab),
        context_length=8,
        n_layer=1,
        n_head=2,
        d_model=8,
        init_std=None,
    )
    rng = np.random.default_rng(0)
    model = Transformer(config, rng=rng).to("float64")
    optimizer, losses = AdamW(model.parameters()), []
    for step in range(N_STEP):
        rows = rng.integers(len(source), size=64)
        ids = target[rows]
        answers = np.where(ids[:, :-1] == END, IGNORED, ids[:, 1:])
        model.zero_grad()
        batch = Batch(ids[:, :-1], answers, source=source[rows])
        losses.append(float(model.loss_and_grads(batch)))
        optimizer.step(0.02 * (1 - step / N_STEP))
    return english, french, model, len(texts), losses


@cache
def tensors():
    """What happens to the sentence: every array by its name, the batch's axis taken off."""
    english, french, model, *_ = trained()
    source = np.array([english.encode(SENTENCE)])  # (B, S)
    ids = np.array([[START, *french.encode(ANSWER)]])  # (B, T)
    memory, encoder_cache = model._encode(source, None)  # (B, S, C)
    y, cache_ = model._run(model._decoder(), ids, None, memory, None, causal=True)
    logits, _ = model._head(y)
    weights = lambda sublayer: sublayer[1][5][0][0, :, 0]  # (H, T, S)
    encoder, decoder = encoder_cache[2][0], cache_[2][0]
    words = model.source_embedding.forward(source)[0]
    places = model.source_positions.forward(np.arange(source.shape[1]))[0]
    read = model.embedding.forward(ids)[0] + model.positions.forward(np.arange(ids.shape[1]))[0]
    return {
        "source": source[0],
        "ids": ids[0],
        "words": words[0],
        "places": places,
        "x": (words + places)[0],
        "read": read[0],
        "encoder": weights(encoder[0]),
        "memory": memory[0],
        "self": weights(decoder[0]),
        "cross": weights(decoder[1]),
        "y": y[0],
        "logits": logits[0],
        "p": F.softmax(logits)[0],
    }


# ---------------------------------------------------------------- the drawings


def color(letter):
    """The color of an axis, for both themes (book/_static/book.css)."""
    return f"var(--axis-{ {'S': 't', 'K': 'c', 'F': 'c'}.get(letter, letter.lower()) })"


def text(x, y, words, *, anchor="start", size=13, style=""):
    look = f"font-size:{size}px;text-anchor:{anchor};{style}"
    return f'<text x="{x:g}" y="{y:g}" style="{look}">{escape(words)}</text>'


def letter(x, y, name):
    return text(x, y, name, anchor="middle", size=15, style=f"font-weight:700;fill:{color(name)}")


def cell(x, y, width, height, value, *, reach=None, number=True):
    """One entry of a grid: signed values on the map of both signs, weights on the other."""
    value = round(float(value), 2) + 0.0
    size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    if reach:
        rgba = plots.plt.get_cmap(plots.SIGNED)(0.5 + 0.5 * value / reach)
    else:
        rgba = plots.plt.get_cmap(plots.VALUES)(value)
    box = f'<rect {size} fill="{plots.mpl.colors.to_hex(rgba)}"/>'
    if not number:
        return box
    style = f"fill:{plots._ink(rgba)}"
    at = x + width / 2, y + height / 2 + 4
    return box + text(*at, minus(value), anchor="middle", size=10.5, style=style)


def hidden(x, y, width, height):
    """An entry that the mask forbids."""
    look = f"fill:none;stroke:{color('T')};stroke-width:0.7"
    size = f'x="{x + 0.5:g}" y="{y + 0.5:g}" width="{width - 1:g}" height="{height - 1:g}"'
    return f'<rect {size} style="{look}"/>'


def minus(value):
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")


def grid(
    x, y, values, axes, *, rows=None, columns=None, width=34, height=24, reach=None, causal=False
):
    """A matrix with its letters on its edges; returns its drawing and the y below it."""
    n, m = values.shape
    parts = [letter(x + m * width / 2, y + 12, axes[1])]
    top = y + 18
    if columns:
        top += 16
        for j, word in enumerate(columns):
            parts.append(text(x + (j + 0.5) * width, top - 4, word, anchor="middle", size=12))
    for (i, j), value in np.ndenumerate(values):
        box = x + j * width, top + i * height, width - 1, height - 1
        masked = causal and j > i
        parts.append(hidden(*box) if masked else cell(*box, value, reach=reach))
    for i, word in enumerate(rows or []):
        parts.append(text(x - 5, top + (i + 0.5) * height + 4.5, word, anchor="end", size=11))
    left = x - 5 - 6.4 * max([len(word) for word in rows or [""]]) - 9
    parts.append(letter(max(left, 7), top + n * height / 2 + 5, axes[0]))
    return "\n".join(parts), top + n * height


def svg(name, title, description, parts, height, width=WIDTH):
    body = "\n".join(parts)
    return (
        f'<svg class="book-figure" role="img" aria-labelledby="{name}-title {name}-text" '
        f'viewBox="0 0 {width:g} {height:g}" xmlns="http://www.w3.org/2000/svg">\n'
        f'<title id="{name}-title">{escape(title)}</title>\n'
        f'<desc id="{name}-text">{escape(description)}</desc>\n{body}\n</svg>\n'
    )


def spoken(values, rows, columns=None):
    """A matrix in words, for those who do not see it."""
    lines = []
    for word, row in zip(rows, values, strict=True):
        numbers = [minus(v) for v in row]
        named = [f"{c} {n}" for c, n in zip(columns, numbers, strict=True)] if columns else numbers
        lines.append(f"{word}: {', '.join(named)}")
    return "; ".join(lines) + "."


def token_row(y, words, ids, width, name, x=24):
    parts = []
    for j, (word, number) in enumerate(zip(words, ids, strict=True)):
        left = x + j * width
        box = f"fill:none;stroke:{color('T')};stroke-width:1.5"
        parts.append(
            f'<rect x="{left}" y="{y}" width="{width - 5}" height="44" rx="4" style="{box}"/>'
        )
        middle = left + (width - 5) / 2
        size = 11 if len(word) < 9 else 10.5
        parts.append(text(middle, y + 18, word, anchor="middle", size=size))
        parts.append(
            text(
                middle, y + 36, str(int(number)), anchor="middle", size=14, style="font-weight:700"
            )
        )
    return parts


def figure_input():
    english, *_ = trained()
    t = tensors()
    first, second, third = SENTENCE.split(), OTHER.split(), ["<start>", *ANSWER.split()]
    other = english.encode(OTHER)
    parts = [
        text(24, 14, "source ids (B, S)"), letter(192, 34, "S"),
        *token_row(42, first, t["source"], 82, "S"), *token_row(92, second, other, 82, "S"),
        letter(10, 94, "B"),
        text(24, 168, "target ids (B, T), first text only"), letter(192, 188, "T"),
        *token_row(196, third, t["ids"], 67, "T"), letter(10, 223, "B"),
    ]  # fmt: skip
    said = "; ".join(
        f"{' '.join(w)}: {', '.join(map(str, map(int, n)))}"
        for w, n in [(first, t["source"]), (second, other), (third, t["ids"])]
    )
    return svg("arch-input", "Tokens and their ids", f"{said}.", parts, 246)


def figure_embedding():
    t, words = tensors(), SENTENCE.split()
    reach = max(np.abs(t[name]).max() for name in ("words", "places", "x"))
    parts, y, said = [], 0, []
    for name, title, rows in [
        ("words", "token vectors: rows of the table", words),
        ("places", "+ position vectors", list("0123")),
        ("x", "= x, what enters the encoder", words),
    ]:
        parts.append(text(0, y + 14, title))
        drawn, y = grid(86, y + 16, t[name], "SC", rows=rows, reach=reach)
        parts.append(drawn)
        said.append(f"{title}: {spoken(t[name], rows)}")
        y += 12
    return svg("arch-embedding", "From ids to vectors", " ".join(said), parts, y)


def two_heads(name, weights, axes, rows, columns, title, width, causal=False):
    """One grid a head, below each other: queries on rows, keys on columns."""
    parts, y, said = [], 0, []
    for head, w in enumerate(weights):
        parts.append(
            text(0, y + 14, "head") + letter(42, y + 14, "H") + text(52, y + 14, f"= {head}")
        )
        drawn, y = grid(92, y, w, axes, rows=rows, columns=columns, width=width, causal=causal)
        parts.append(drawn)
        said.append(f"Head {head}: {spoken(w, rows, columns)}")
        y += 14
    return svg(name, title, "Queries on rows, keys on columns. " + " ".join(said), parts, y)


def figure_encoder():
    words = SENTENCE.split()
    return two_heads(
        "arch-encoder",
        tensors()["encoder"],
        "SS",
        words,
        words,
        "Weights of the encoder's attention",
        66,
    )


def figure_memory():
    t, words = tensors()["memory"], SENTENCE.split()
    drawn, y = grid(86, 0, t, "SC", rows=words, reach=np.abs(t).max())
    return svg(
        "arch-memory",
        "What the encoder gives: one vector for each word",
        spoken(t, words),
        [drawn],
        y + 4,
    )


def figure_read():
    t, words = tensors()["read"], ["<start>", *ANSWER.split()]
    drawn, y = grid(86, 0, t, "TC", rows=words, reach=np.abs(t).max())
    title = "What enters the decoder: token vectors and position vectors, added"
    return svg("arch-read", title, spoken(t, words), [drawn], y + 4)


def figure_self():
    words = ["<start>", *ANSWER.split()]
    return two_heads(
        "arch-self",
        tensors()["self"],
        "TT",
        words,
        words,
        "Weights of the decoder's attention to itself",
        53,
        causal=True,
    )


def figure_cross():
    rows, columns = ["<start>", *ANSWER.split()], SENTENCE.split()
    return two_heads(
        "arch-cross",
        tensors()["cross"],
        "TS",
        rows,
        columns,
        "Weights of the decoder's attention to the source",
        66,
    )


def figure_decoded():
    t, words = tensors()["y"], ["<start>", *ANSWER.split()]
    drawn, y = grid(86, 0, t, "TC", rows=words, reach=np.abs(t).max())
    return svg(
        "arch-decoded",
        "What the decoder gives: one vector for each target position",
        spoken(t, words),
        [drawn],
        y + 4,
    )


def best(n=3):
    """For each target position the n most probable tokens: (token, logit, probability)."""
    french, t = trained()[1], tensors()
    order = np.argsort(-t["p"], axis=1)[:, :n]
    rows = zip(t["logits"], t["p"], order, strict=True)
    return [[(french.vocab[j], z[j], p[j]) for j in js] for z, p, js in rows]


def figure_output():
    french, t, rows = trained()[1], tensors(), ["<start>", *ANSWER.split()]
    V = len(french.vocab)
    parts = [text(0, 14, "probabilities, all of them"), letter(222, 34, "V"), letter(8, 102, "T")]
    step = 270 / V
    for i, row in enumerate(t["p"]):
        parts.append(text(81, 55 + i * 24, rows[i], anchor="end", size=12))
        parts.append(cell(86, 40 + i * 24, 270, 21, 0, number=False))
        seen = [(j, p) for j, p in enumerate(row.round(1)) if p]
        parts += [cell(86 + j * step, 40 + i * 24, step, 21, p, number=False) for j, p in seen]
    y = 182
    parts.append(text(0, y, "the three largest of each row: logit, probability"))
    for i, found in enumerate(best()):
        y += 14
        for k, (word, z, p) in enumerate(found):
            y += 18
            if k == 0:
                parts.append(text(0, y, f"after {rows[i]}", size=12))
            parts.append(text(180, y, word, anchor="end", size=12))
            parts.append(text(222, y, minus(z), anchor="end", size=12))
            width = round(90 * float(p))
            style = f"fill:{color('V')}" + ("" if k == 0 else ";opacity:0.45")
            parts.append(
                f'<rect x="230" y="{y - 11}" width="{width}" height="13" rx="2" style="{style}"/>'
            )
            parts.append(text(235 + width, y, f"{p:.2f}", size=12))
    said = "; ".join(
        f"after {r}: " + ", ".join(f"{w} {p:.2f} (logit {minus(z)})" for w, z, p in f)
        for r, f in zip(rows, best(), strict=True)
    )
    return svg(
        "arch-output",
        "A probability for every French token, at every position",
        f"{V} tokens. The three largest: {said}.",
        parts,
        y + 10,
    )


def family(name, title, description, boxes, masks):
    """One family: its parts from the bottom up, and who may look at whom."""
    parts = [text(110, 18, title, anchor="middle", size=15, style="font-weight:700")]
    for x, y, width, words in boxes:
        box = "fill:none;stroke:currentColor;stroke-width:1.5"
        parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="30" rx="6" style="{box}"/>')
        parts.append(text(x + width / 2, y + 20, words, anchor="middle", size=12))
    for y in (66, 106) if len(boxes) == 3 else ():
        parts.append(
            f'<path class="arrow" d="M110 {y} v-6"/><path class="tip" d="M105 {y - 4} h10 l-5 -6z"/>'
        )
    if len(boxes) == 5:
        for x in (52, 168):
            parts.append(
                f'<path class="arrow" d="M{x} 106 v-6"/><path class="tip" d="M{x - 5} 102 h10 l-5 -6z"/>'
            )
        parts.append(
            '<path class="arrow" d="M168 66 v-6"/><path class="tip" d="M163 62 h10 l-5 -6z"/>'
        )
        parts.append(
            '<path class="arrow" d="M98 81 h14"/><path class="tip" d="M111 76 v10 l8 -5z"/>'
        )
    for x, y, axes, kind, caption in masks:
        parts += [letter(x + 36, y - 4, axes[1]), letter(x - 9, y + 40, axes[0])]
        for i, j in np.ndindex(4, 4):
            fill = (
                f"fill:{color('T')}"
                if kind == "full" or j <= i
                else f"fill:none;stroke:{color('T')};stroke-width:0.7"
            )
            parts.append(
                f'<rect x="{x + 18 * j}" y="{y + 18 * i}" width="16" height="16" style="{fill}"/>'
            )
        parts.append(text(x + 36, y + 88, caption, anchor="middle", size=12))
    return svg(f"arch-{name}", title, description, parts, 262 if len(masks) < 2 else 380, 220)


def figure_families():
    one = lambda low: [(30, 106, 160, f"{low} (B, T)"), (30, 66, 160, "blocks (B, T, C)")]
    drawn = [
        family("bert", "encoder", "Ids go into blocks whose positions look both ways; every position gives an answer. The grid of T by T is all filled.",
               [*one("ids with gaps"), (30, 26, 160, "the hidden tokens")], [(74, 160, "TT", "full", "both ways")]),
        family("both", "encoder–decoder", "Source ids go into an encoder that looks both ways; its vectors go to the decoder, which looks back at the target and at the whole source. Three grids: S by S all filled, T by T filled up to the diagonal, T by S all filled.",
               [(4, 106, 96, "source (B, S)"), (4, 66, 94, "encoder"), (120, 106, 96, "target (B, T)"), (120, 66, 96, "decoder"), (120, 26, 96, "next token")],
               [(22, 160, "SS", "full", "encoder: all"), (138, 160, "TT", "causal", "decoder: back"), (74, 276, "TS", "full", "decoder to source: all")]),
        family("gpt", "decoder", "Ids go into blocks whose positions look back only; every position predicts the next token. The grid of T by T is filled up to the diagonal.",
               [*one("ids"), (30, 26, 160, "next token")], [(74, 160, "TT", "causal", "back only")]),
    ]  # fmt: skip
    style = "display:flex;flex-wrap:wrap;gap:0.5rem;justify-content:center;align-items:flex-start"
    boxes = "".join(f'<div style="flex:1 1 12rem;max-width:17rem">\n{one}</div>\n' for one in drawn)
    return f'<div style="{style}">\n{boxes}</div>\n'


# ---------------------------------------------------------------- the tables


def parts_of_tiny():
    """(layer, what, formula, parameters) of the model on the page."""
    c = trained()[2].config
    C, V, U, N = c.d_model, c.vocab_size, c.source_vocab_size, c.context_length
    attention, feed, norm = 4 * C * C + 4 * C, 8 * C * C + 5 * C, 2 * C
    return [
        ("input", "nothing to learn here: the tokenizers are made by counting", "", 0),
        ("embedding", "two tables of tokens, two of positions", "(105 + 138 + 2 · 8) C", (U + V + 2 * N) * C),
        ("encoder", "one attention, one feed-forward layer, three norms", "12 C² + 15 C", attention + feed + 3 * norm),
        ("decoder", "two attentions, one feed-forward layer, four norms", "16 C² + 21 C", 2 * attention + feed + 4 * norm),
        ("output", "tied to the French embedding", "", 0),
    ]  # fmt: skip


def parts_of_gpt2():
    c = GPT2
    C, V, N, L = c.d_model, c.vocab_size, c.context_length, c.n_layer
    return [
        ("embedding", "one vector for each token", "V C = 50,257 · 768", V * C),
        ("embedding", "one vector for each position", "1,024 · 768", N * C),
        ("decoder", "12 attentions, each 4 C² + 4 C", "12 · 2,362,368", L * (4 * C * C + 4 * C)),
        ("decoder", "12 feed-forward layers, each 8 C² + 5 C", "12 · 4,722,432", L * (8 * C * C + 5 * C)),
        ("decoder", "24 norms in the blocks, each 2 C", "24 · 1,536", 2 * L * 2 * C),
        ("decoder", "one last norm", "2 C", 2 * C),
        ("output", "tied to the embedding", "", 0),
    ]  # fmt: skip


def share(x):
    return "< 0.1%" if 0 < x < 0.0005 else f"{x:.1%}"


def table(parts):
    total = sum(n for *_, n in parts)
    lines = ["| layer | what | formula | parameters | share |", "|---|---|---|---:|---:|"]
    for *words, n in parts:
        lines.append(f"| {' | '.join(words)} | {n:,} | {share(n / total)} |".replace("|  |", "| |"))
    return "\n".join([*lines, f"| **all** | | | **{total:,}** | 100.0% |"])


def generated():
    """What stands in the folder of figures and between the page's marks."""
    kinds = [
        "input",
        "embedding",
        "encoder",
        "memory",
        "read",
        "self",
        "cross",
        "decoded",
        "output",
        "families",
    ]
    figures = {f"architecture-{kind}.svg": globals()[f"figure_{kind}"]() for kind in kinds}
    return figures, {"tiny": table(parts_of_tiny()), "gpt2": table(parts_of_gpt2())}


def marked(name, page):
    return re.search(
        rf"(<!-- {name}: made by the test -->\n)(.*?)(\n*<!-- end -->)", page, re.DOTALL
    )


# ---------------------------------------------------------------- the tests

real = pytest.mark.skipif(not data.is_real("tatoeba_fra"), reason="the real pairs are not here")


def numbers_apart(text):
    """The text without the numbers that a run gives and the colors they choose; those numbers."""
    text = re.sub(r'fill(="|:)(#\w+|black|white)', "fill", text).replace("−", "-")
    pattern = r"-?\d+\.\d\d\b"
    return re.sub(pattern, "0.00", text), np.array(re.findall(pattern, text), float)


@real
def test_figures_are_those_of_the_model():
    for name, drawn in generated()[0].items():
        (words, shown), (expected, values) = (
            numbers_apart((FIGURES / name).read_text(encoding="utf-8")),
            numbers_apart(drawn),
        )
        assert words == expected, name
        assert np.allclose(shown, values, atol=0.0101), name


@real
def test_tables_are_those_of_the_model():
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in generated()[1].items():
        assert marked(name, page)[2].strip() == lines, name


@real
def test_sentences_of_the_page_are_true():
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    english, french, model, n, losses = trained()
    texts, t = pairs(), tensors()
    p = {word: f"{p:.2f}" for word, _, p in best()[1]}
    assert f"was taken out; {n} are left" in page
    assert all(len(s.split()) == 4 and s.endswith(" .") for s, _ in texts)
    assert f"guess would cost ln {len(french.vocab)} = {np.log(len(french.vocab)):.2f}" in page
    assert f"English has {len(english.vocab)} of them" in page
    assert f"}} = {len(french.vocab)}$, two of which" in page
    assert f"fallen from {losses[0]:.2f} to {np.mean(losses[-50:]):.2f}" in page
    assert f"`vous` {p['vous']} and `te` {p['te']}" in page
    assert {(SENTENCE, f"je {w} comprends .") for w in ("te", "vous")} <= set(texts)
    assert OTHER in [s for s, _ in texts]
    understand, you = t["cross"][0, 2, 1], t["cross"][1, 2, 2]
    assert f"the row `vous` has weight {understand:.2f} on *understand*" in page
    assert f"in head 1, {you:.2f} on *you*" in page
    c = model.config  # what enters the blocks is the sum of two rows, and nothing else
    assert not c.embedding_scale and not c.embedding_norm and c.norm_first
    assert f"of shape $({c.context_length}, " in page
    H, S, T, C, V = 2, 4, 5, 8, 138
    shapes = {"x": (S, C), "read": (T, C), "encoder": (H, S, S), "memory": (S, C), "self": (H, T, T)}
    shapes |= {"cross": (H, T, S), "y": (T, C), "logits": (T, V), "p": (T, V)}
    for name, shape in shapes.items():
        assert t[name].shape == shape, name
        assert f"(1, {', '.join(map(str, shape))})" in page, name
    for name in ("encoder", "self", "cross"):
        assert np.allclose(t[name].sum(-1), 1)
    assert (np.triu(t["self"], 1) == 0).all()
    assert (t["encoder"] > 0).all()


@real
def test_the_arrays_are_those_of_the_whole_model():
    model, t = trained()[2], tensors()
    logits = model.logits(Batch(t["ids"][None], source=t["source"][None]))[0]
    assert np.array_equal(logits, t["logits"])


@real
def test_parameters_by_layer_are_those_of_the_model():
    model = trained()[2]
    counted = Counter()
    for name, p in model.named_parameters():
        first = name.split(".")[0]
        if "embedding" in first or "positions" in first:
            layer = "embedding"
        else:
            layer = "encoder" if first.startswith("encoder") else "decoder"
        counted[layer] += p.data.size
    assert counted == Counter({layer: n for layer, *_, n in parts_of_tiny() if n})


def test_parameters_of_gpt2():
    torch = pytest.importorskip("torch")
    from minillm.torch_nn.transformer import Transformer as Twin

    with torch.device("meta"):  # shapes without memory
        model = Twin(GPT2)
    sizes = {id(p): (name, p.numel()) for name, p in model.named_parameters()}
    assert sum(n for _, n in sizes.values()) == sum(n for *_, n in parts_of_gpt2()) == 124_439_808
    find = lambda word: sum(n for name, n in sizes.values() if re.search(word, name))
    expected = [n for *_, n in parts_of_gpt2()]
    words = [r"^embedding", r"^positions", r"attention", r"feed_forward", r"\.norm\d", r"^norm"]
    assert [find(word) for word in words] == expected[:-1]


def test_gpt2_ids():
    if not data.is_real("gpt2_tokenizer"):
        pytest.skip("GPT-2's files are not here")
    tokenizer = BPETokenizer.from_gpt2(data.path("gpt2_tokenizer"))
    ids = tokenizer.encode("I understand you.")
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"the ids {', '.join(map(str, ids))}, and knows {len(tokenizer.vocab):,} pieces" in page


def main():
    figures, tables = generated()
    for name, drawn in figures.items():
        (FIGURES / name).write_text(drawn, encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in tables.items():
        found = marked(name, page)
        page = f"{page[: found.start(2)]}\n{lines}\n\n{page[found.end(2) :].lstrip()}"
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
