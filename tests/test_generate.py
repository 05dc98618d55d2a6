"""Generation, in both halves: against `transformers`, against a plain loop, against all texts."""

import itertools
import math

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import weights
from minillm.batches import Batch
from minillm.checkpoints import load
from minillm.config import (
    BigramConfig,
    LSTMEncoderDecoderConfig,
    MLPConfig,
    RecurrentConfig,
    TransformerConfig,
)
from minillm.generate import (
    beam_search,
    decode_stream,
    draw,
    generate,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize_repetition,
    probabilities,
    scale,
    stream,
    stream_ids,
    window_start,
)
from minillm.generate.writing import Reader
from minillm.numpy_nn.models import build
from minillm.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer
from minillm.torch_nn.models import build as build_twin

V, LIMIT = 11, 12
SIZES = {"vocab_size": V, "context_length": LIMIT, "n_layer": 2, "n_head": 2, "d_model": 8}
STATE = {"vocab_size": V, "d_model": 4, "d_hidden": 8}
CONFIGS = {
    "Bigram": BigramConfig(vocab_size=V),
    "MLP": MLPConfig(context_length=3, **STATE),
    "RNN": RecurrentConfig(**STATE, cell="rnn"),
    "LSTM": RecurrentConfig(**STATE, n_layer=2),
    "LSTM pair": LSTMEncoderDecoderConfig(**STATE, source_vocab_size=7),
    "GPT-2": TransformerConfig.gpt2(**SIZES),
    "Llama": TransformerConfig.llama(**SIZES, n_kv_head=1),
    "recipe": TransformerConfig.recipe(**SIZES),
    "Transformer pair": TransformerConfig.original(**SIZES),
}
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 1, 2]]
SOURCES = [[1, 2], [3, 4, 5, 6], [1]]


@pytest.fixture(params=["numpy", "torch"])
def half(request):
    return request.param


def make(name, half="numpy", std=1.0):
    """A model whose weights are large enough that logits depend on the text; and its sources."""
    rng = np.random.default_rng(0)
    model = build(CONFIGS[name])
    for parameter in model.parameters():
        parameter.data[...] = std * rng.standard_normal(parameter.shape)
    sources = {"sources": SOURCES} if "pair" in name else {}
    if half == "numpy":
        return model, sources
    twin = build_twin(CONFIGS[name])
    weights.copy(model, twin)
    return twin, sources


def rngs(n):
    return [np.random.default_rng(100 + row) for row in range(n)]


# Sampling, against the processors of `transformers`.


def random_logits(seed):
    return np.random.default_rng(seed).standard_normal((4, 50), dtype=np.float32) * 3


def processed(processor, logits, texts=((0,),) * 4):
    return processor(torch.tensor(texts), torch.tensor(logits)).numpy()


HF = transformers.generation.logits_process


@pytest.mark.parametrize(
    ("ours", "theirs", "values"),
    [
        (keep_top_k, HF.TopKLogitsWarper, (1, 2, 7, 49, 50, 1000)),
        (keep_top_p, HF.TopPLogitsWarper, (1e-9, 0.1, 0.5, 0.9, 0.999, 1.0)),
        (keep_min_p, HF.MinPLogitsWarper, (0.0, 1e-3, 0.1, 0.5, 0.99)),
    ],
)
def test_filters(ours, theirs, values):
    for seed, value in enumerate(values):
        logits = random_logits(seed)
        np.testing.assert_array_equal(ours(logits, value), processed(theirs(value), logits))
        assert ours(logits, value).dtype == logits.dtype


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3, 10.0])
def test_repetition_penalty(penalty):
    logits, texts = random_logits(0), [[1, 2, 2], [49, 0, 3], [7, 7, 7], [4, 5, 6]]
    before = logits.copy()
    expected = processed(HF.RepetitionPenaltyLogitsProcessor(penalty), logits, texts)
    np.testing.assert_allclose(penalize_repetition(logits, texts, penalty), expected, rtol=1e-6)
    np.testing.assert_array_equal(logits, before)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 3.0])
def test_temperature(temperature):
    logits = random_logits(0)
    expected = processed(HF.TemperatureLogitsWarper(temperature), logits)
    difference = scale(logits, temperature) - expected  # one number a text
    np.testing.assert_allclose(difference - difference[:, :1], 0, atol=1e-4)


@pytest.fixture(scope="module")
def theirs():
    """A small GPT-2 of `transformers`."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
    config = transformers.GPT2Config(
        **sizes, bos_token_id=None, eos_token_id=None, initializer_range=0.5
    )
    return transformers.GPT2LMHeadModel(config).eval()


@pytest.fixture
def ours(theirs, tmp_path, half):
    theirs.save_pretrained(tmp_path)
    return load(tmp_path, half=half)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_all_steps_in_the_order_of_transformers(theirs, data):
    options = {
        "temperature": data.draw(st.floats(0.2, 3)),
        "top_k": data.draw(st.integers(1, 60)),
        "top_p": data.draw(st.floats(0.05, 1)),
        "min_p": data.draw(st.floats(0, 0.9)),
        "repetition_penalty": data.draw(st.floats(0.5, 2)),
    }
    logits, texts = random_logits(data.draw(st.integers(0, 99))), [[1, 2], [9, 9], [0, 4], [3, 7]]
    processors = theirs._get_logits_processor(
        transformers.GenerationConfig(do_sample=True, **options), input_ids_seq_length=2
    )
    expected = processors(torch.tensor(texts), torch.tensor(logits)).softmax(-1).numpy()
    np.testing.assert_allclose(probabilities(logits, texts, **options), expected, atol=1e-5)


def test_the_default_leaves_the_probabilities_of_the_model():
    logits = random_logits(0)
    expected = torch.tensor(logits).softmax(-1).numpy()
    np.testing.assert_allclose(probabilities(logits), expected, rtol=1e-5)


def test_cold_is_greedy():
    logits = random_logits(0)
    for options in ({}, {"top_k": 3}, {"top_p": 0.1}, {"min_p": 0.9}):
        for temperature in (0.0, 1e-30, 1e-45, 1e-300):
            found = probabilities(logits, temperature=temperature, **options)
            np.testing.assert_array_equal(found, np.eye(50)[logits.argmax(-1)])
    assert probabilities(np.zeros((1, 3)), temperature=0).tolist() == [[1, 0, 0]]


class Fixed:
    """A generator whose number is known."""

    def __init__(self, number):
        self.number = number

    def random(self):
        return self.number


def test_drawn_as_often_as_probable():
    weights, n = np.array([0.5, 0.0, 0.3, 0.2, 0.0]), 20_000
    rng = np.random.default_rng(0)
    counts = np.bincount(draw(np.tile(weights, (n, 1)), [rng] * n), minlength=5)
    error = np.sqrt(n * weights * (1 - weights))
    assert (np.abs(counts - n * weights) <= 4 * error).all()  # so what has none is never drawn


def test_numbers_at_the_edge_draw_what_is_possible():
    weights = np.array([[0.0, 0.1, 0.0, 0.7, 0.2, 0.0]], np.float32)
    for number, expected in [(0.0, 1), (1 - 2**-53, 4)]:
        assert draw(weights, [Fixed(number)]).tolist() == [expected]
    thirds = np.full((1, 3), 1 / 3, np.float32) * np.float32(0.9999)  # less than 1 in sum
    assert draw(thirds, [Fixed(1 - 2**-53)]).tolist() == [2]


# Texts.


def by_hand(model, text, n, source=None):
    """Greedy, from the logits of whole texts, and the rule for long ones as it is told in words."""
    limit = LIMIT if isinstance(model.config, TransformerConfig) else math.inf
    read, new, batch = [], [], {}
    if source:
        batch = {"source": np.array([source])}
    for i in text:
        read = [*read, i] if len(read) < limit else [*read, i][-(limit // 2) :]
    for _ in range(n):
        found = Batch(np.array([read]), **batch)
        found = found.to("cpu") if model.array is torch.Tensor else found
        new.append(int(model.logits(found)[0, -1].argmax()))
        read = [*read, new[-1]] if len(read) < limit else [*read, new[-1]][-(limit // 2) :]
    return new


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_is_a_loop_over_the_logits(name, half):
    """In a batch of different lengths, also past the context, with and without a cache."""
    model, sources = make(name, half)
    prompts = [*PROMPTS[:2], list(range(V)) * 4]
    expected = [by_hand(model, p, 30, s) for p, s in zip(prompts, sources.get("sources", [()] * 3))]
    for use_cache in (True, False):
        options = {"temperature": 0, "use_cache": use_cache, **sources}
        assert generate(model, prompts, 30, **options) == expected


@pytest.mark.parametrize(("dtype", "std"), [("float32", 0.3), ("float64", 1.0)])
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_the_same_with_and_without_cache(name, half, dtype, std):
    """To 1e-5, also past the context, and in a batch of different lengths."""
    model, sources = make(name, half, std)
    model.to(getattr(np if half == "numpy" else torch, dtype))
    readers = [Reader(model, **sources, use_cache=use_cache) for use_cache in (True, False)]
    alone = [
        Reader(model, **{k: [v[row]] for k, v in sources.items()}) for row in range(len(PROMPTS))
    ]
    texts, rng = [list(p) for p in PROMPTS], np.random.default_rng(0)
    for _ in range(30):
        cached, whole = (reader.next_logits(texts) for reader in readers)
        single = [reader.next_logits([t])[0] for reader, t in zip(alone, texts, strict=True)]
        np.testing.assert_allclose(cached, whole, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(cached, single, rtol=1e-5, atol=1e-5)
        texts = [[*text, int(rng.integers(V))] for text in texts]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_text_is_the_same_alone_and_in_a_batch(name, half):
    """Though some stop early, and are dropped from the batch."""
    model, sources = make(name, half)
    options = {"stop": [0, 3], "temperature": 1.5, "top_k": 9, "repetition_penalty": 0.8}
    together = generate(model, PROMPTS, 40, rng=rngs(3), **options, **sources)
    for row, text in enumerate(together):
        own = {"sources": [SOURCES[row]]} if sources else {}
        assert generate(model, [PROMPTS[row]], 40, rng=[rngs(3)[row]], **options, **own) == [text]
        assert not {0, 3} & set(text)


@pytest.mark.parametrize("name", CONFIGS)
def test_both_halves_draw_the_same(name):
    (model, sources), (twin, _) = make(name), make(name, "torch")
    texts = [
        generate(m, PROMPTS, 20, rng=np.random.default_rng(7), top_p=0.9, **sources)
        for m in (model, twin)
    ]
    assert texts[0] == texts[1]
    assert (
        generate(model, PROMPTS, 20, rng=np.random.default_rng(8), top_p=0.9, **sources)
        != (texts[0])
    )


def test_the_first_of_a_batch_is_drawn_as_if_alone():
    model, _ = make("GPT-2")
    one, three = (
        generate(model, prompts, 9, rng=np.random.default_rng(0))
        for prompts in (PROMPTS[:1], PROMPTS)
    )
    assert one[0] == three[0]
    same = generate(model, [[1]] * 3, 20, rng=np.random.default_rng(0))
    assert same[0] != same[1] != same[2]


@pytest.mark.parametrize("cut", [1, 10, 11, 25])
def test_what_was_written_may_be_a_prompt(cut):
    """A text goes on in the same way, wherever it is interrupted."""
    model, _ = make("recipe")
    whole = generate(model, PROMPTS[:1], 40, temperature=0)[0]
    rest = generate(model, [PROMPTS[0] + whole[:cut]], 40 - cut, temperature=0)[0]
    assert whole[:cut] + rest == whole


@given(st.integers(1, 500), st.integers(1, 70))
def test_window(n, limit):
    read, now = [n - window_start(n, limit) for n in (n, n + 1)]
    assert 1 <= read <= limit
    assert now == (read + 1 if read < limit else max(limit // 2, 1))
    assert window_start(n, None) == 0


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_short_contexts(limit, half):
    config = TransformerConfig.gpt2(**SIZES | {"context_length": limit})
    model = (build if half == "numpy" else build_twin)(config)
    texts = [generate(model, PROMPTS, 9, temperature=0, use_cache=u) for u in (True, False)]
    assert texts[0] == texts[1]
    assert [len(text) for text in texts[0]] == [9, 9, 9]


def test_each_text_stops_on_its_own():
    model = build(BigramConfig(vocab_size=4))
    model.table.weight.data[...] = np.roll(np.eye(4), 1, 1) * 50  # 0, 1, 2, 3, 0, ...
    steps = list(stream_ids(model, [[1], [0], [2]], 9, stop=[3]))
    assert steps == [[2, 1, None], [None, 2, None]]
    assert generate(model, [[1], [0], [2]], 9, stop=[3]) == [[2], [1, 2], []]
    assert generate(model, [[2]], 9, stop=[3]) == [[]]
    assert generate(model, [[1], [0]], 1, stop=[3]) == [[2], [1]]
    assert generate(model, [[0], [2]], 9, stop=[2, 0], temperature=0) == [[1], [3]]


def test_only_what_is_new_is_read(half, monkeypatch):
    """Otherwise a cache would be of no use."""
    model, _ = make("GPT-2", half)
    lengths, next_logits = [], model.next_logits

    def counted(ids, cache, **options):
        lengths.append(ids.shape[1])
        return next_logits(ids, cache, **options)

    monkeypatch.setattr(model, "next_logits", counted)
    generate(model, [[1, 2, 3]], 12)
    assert lengths == [3, *[1] * 9, 6, 1]
    lengths.clear()
    generate(model, [[1, 2, 3]], 12, use_cache=False)
    assert lengths == [*range(3, 13), 6, 7]


def test_greedy_as_in_transformers(theirs, ours):
    prompt = [3, 1, 4, 1, 5]
    expected = theirs.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 5), do_sample=False,
        max_new_tokens=40, pad_token_id=0,
    )  # fmt: skip
    assert generate(ours, [prompt], 40, temperature=0)[0] == expected[0, 5:].tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    model, _ = make("Llama", "torch")
    assert len(generate(model.to(dtype), [[1, 2]], 20, rng=np.random.default_rng(0))[0]) == 20


# Text.


@given(st.binary(max_size=40))
def test_pieces_are_whole_characters(raw):
    tokenizer = BPETokenizer.train("naïve café 漢字 漢字", 265)
    ids = tokenizer.encode_bytes(raw)
    pieces = list(decode_stream(tokenizer, ids))
    assert "".join(pieces) == tokenizer.decode(ids)
    assert all(pieces)
    if "\ufffd" not in tokenizer.decode(ids):
        n = [
            len(tokenizer.decode_bytes(ids[: i + 1]).decode(errors="ignore"))
            for i in range(len(ids))
        ]
        shown = [0, *np.cumsum([len(piece) for piece in pieces])]
        assert set(n) - {0} == set(shown) - {0}  # as soon as they are whole


@pytest.mark.parametrize("kind", [CharTokenizer, WordTokenizer])
def test_pieces_of_other_tokenizers(kind):
    text = "is it or is it not"
    tokenizer = kind.train(text)
    ids = tokenizer.encode(text)
    for cut in (0, 1, 3, len(ids)):
        rest = "".join(decode_stream(tokenizer, iter(ids[cut:]), after=ids[:cut]))
        assert tokenizer.decode(ids[:cut]) + rest == text


def test_stream(half):
    model, _ = make("GPT-2", half)
    tokenizer = CharTokenizer("abcdefghijk")
    pieces = stream(model, tokenizer, "abc", 20, rng=rngs(1), stop=[4])
    new = generate(model, [[0, 1, 2]], 20, rng=rngs(1), stop=[4])[0]
    assert list(pieces) == list(tokenizer.decode(new))


def test_a_stream_is_written_while_it_is_read(monkeypatch):
    model, _ = make("LSTM")
    calls, next_logits = [], model.next_logits
    monkeypatch.setattr(
        model, "next_logits", lambda *a, **k: calls.append(1) or next_logits(*a, **k)
    )
    pieces = stream(model, CharTokenizer("abcdefghijk"), "abc", 10**9)
    assert (len(calls), len(next(pieces)), len(calls)) == (0, 1, 1)


# Beam search.


def every_text(model, prompt, n, stop, length_penalty, source=None):
    """All texts that end with a stop token or have n tokens, with their scores, the best first."""
    found = []
    batch = {} if source is None else {"source": np.array([source])}
    for length in range(1, n + 1):
        for new in itertools.product(range(model.config.vocab_size), repeat=length):
            if set(new[:-1]) & set(stop) or (length < n and new[-1] not in stop):
                continue
            logits = model.logits(Batch(np.array([prompt + list(new[:-1])]), **batch))[0]
            logp = torch.tensor(logits[len(prompt) - 1 :]).double().log_softmax(-1)
            score = sum(float(row[i]) for row, i in zip(logp, new, strict=True))
            text = list(new[:-1]) if new[-1] in stop else list(new)
            found.append((text, score * (6 / (5 + length)) ** length_penalty))
    return sorted(found, key=lambda text: -text[1])


@pytest.mark.parametrize("kind", ["decoder", "pair", "LSTM pair"])
@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 2.0])
def test_a_wide_beam_finds_the_best_of_all(kind, length_penalty):
    source = None if kind == "decoder" else [2, 0]
    sizes = {"vocab_size": 4, "d_model": 4}
    if kind == "LSTM pair":
        config = LSTMEncoderDecoderConfig(**sizes, d_hidden=5, source_vocab_size=4)
    else:
        sizes |= {"n_layer": 1, "n_head": 1, "context_length": 8}
        sizes |= {"kind": "encoder-decoder"} if source else {}
        config = TransformerConfig(**sizes)
    for seed in range(3):
        model, rng = build(config), np.random.default_rng(seed)
        for parameter in model.parameters():
            parameter.data[...] = rng.standard_normal(parameter.shape)
        expected = every_text(model, [1, 2], 4, [3], length_penalty, source)
        options = {"length_penalty": length_penalty, "stop": [3], "source": source}
        found = beam_search(model, [1, 2], 4, n_beam=4**4, **options)
        assert len(found) == len(expected)
        for (ids, score), (best, highest) in zip(found[:9], expected[:9], strict=True):
            assert (ids, pytest.approx(score, abs=1e-5)) == (best, highest)


@pytest.mark.parametrize("name", CONFIGS)
def test_one_beam_is_greedy(name, half):
    model, sources = make(name, half)
    source = sources.get("sources", [None])[0]
    found = beam_search(model, [1, 2], 30, n_beam=1, stop=[0], source=source)
    sources = {"sources": [source]} if source else {}
    assert [found[0][0]] == generate(model, [[1, 2]], 30, temperature=0, stop=[0], **sources)


@pytest.mark.parametrize("name", CONFIGS)
def test_beams_are_the_same_with_and_without_cache(name, half):
    """Though they change places in it, and outgrow the context."""
    model, sources = make(name, half)
    for length_penalty in (0.0, 1.0):
        options = {"stop": [0], "length_penalty": length_penalty}
        options |= {"source": SOURCES[1]} if sources else {}
        found, expected = (
            beam_search(model, [1, 2], 25, use_cache=use_cache, **options)
            for use_cache in (True, False)
        )
        assert [ids for ids, _ in found] == [ids for ids, _ in expected]
        scores = [[score for _, score in texts] for texts in (found, expected)]
        np.testing.assert_allclose(*scores, rtol=1e-5)
        assert scores[0] == sorted(scores[0], reverse=True)
        assert len(found) == 4


def test_beams_as_in_transformers(theirs, ours):
    """Without a stop token, so that only the search matters."""
    prompt = [3, 1, 4, 1, 5]
    expected = theirs.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 5), do_sample=False, num_beams=5,
        num_return_sequences=5, max_new_tokens=20, length_penalty=0.0, pad_token_id=0,
    )  # fmt: skip
    found = beam_search(ours, prompt, 20, n_beam=5)
    assert [ids for ids, _ in found] == expected[:, 5:].tolist()


def test_a_longer_text_wins_where_length_is_rewarded():
    model = build(
        BigramConfig(vocab_size=3)
    )  # 0.4 to end (2) at once, 0.6 to go on, then 0.6 to end
    model.table.weight.data[...] = np.log([[1e-9, 0.6, 0.4], [0.4, 1e-9, 0.6], [1, 1, 1]])
    short, long = (
        beam_search(model, [0], 5, n_beam=9, stop=[2], length_penalty=p)[0] for p in (0.0, 1.0)
    )
    assert (short[0], long[0]) == ([], [1])
    assert short[1] == pytest.approx(math.log(0.4), abs=1e-6)
    assert long[1] == pytest.approx(math.log(0.36) / (7 / 6), abs=1e-6)


# Whatever is wrong.


def gpt(half, **options):
    config = TransformerConfig.gpt2(**SIZES | options)
    return (build if half == "numpy" else build_twin)(config)


def encoder(half, **options):
    config = TransformerConfig.bert(**SIZES, **options)
    return (build if half == "numpy" else build_twin)(config)


def damaged(half):
    model = gpt(half)
    weight = model.norm.weight
    weight.data[...] = math.nan
    return model


def go(half, prompts=((1, 2),), n=3, model=gpt, **options):
    return generate(model(half), prompts, n, **options)


def pair(half, **options):
    return generate(make("LSTM pair", half)[0], [[1], [2]], 3, **options)


def search(half, prompt=(1, 2), n=3, **options):
    return beam_search(gpt(half), prompt, n, **options)


WRONG = [
    ("cold", lambda h: go(h, temperature=-1), ValueError, "temperature = -1, expected 0 <= temp"),
    ("too hot", lambda h: go(h, temperature=math.inf), ValueError, "temperature = inf, expected"),
    ("no number", lambda h: go(h, temperature=math.nan), ValueError, "temperature = nan, expected"),
    ("in words", lambda h: go(h, temperature="hot"), TypeError, "temperature = 'hot', expected"),
    ("no k", lambda h: go(h, top_k=0), ValueError, "top_k = 0, expected a positive integer"),
    ("half a k", lambda h: go(h, top_k=1.5), TypeError, "top_k = 1.5, expected a positive integer"),
    ("no p", lambda h: go(h, top_p=0), ValueError, "top_p = 0, expected 0 < top_p <= 1"),
    ("more than all", lambda h: go(h, top_p=1.1), ValueError, "top_p = 1.1, expected 0 < top_p"),
    ("negative p", lambda h: go(h, top_p=-0.1), ValueError, "top_p = -0.1, expected"),
    ("all p", lambda h: go(h, min_p=1), ValueError, "min_p = 1, expected 0 <= min_p < 1"),
    ("negative min", lambda h: go(h, min_p=-0.1), ValueError, "min_p = -0.1, expected 0 <= min_p"),
    ("penalty", lambda h: go(h, repetition_penalty=0), ValueError, "repetition_penalty = 0, expec"),
    ("negative penalty", lambda h: go(h, repetition_penalty=-1), ValueError, "penalty = -1, expec"),
    ("unknown option", lambda h: go(h, topk=3), TypeError, "topk"),
    ("no prompts", lambda h: go(h, []), ValueError, "prompts is empty, expected at least one text"),
    ("empty prompt", lambda h: go(h, [[1], []]), ValueError, r"prompts\[1\] is empty, expected at"),
    ("one prompt", lambda h: go(h, [1, 2]), TypeError, r"prompts\[0\] = 1, expected a list of ids"),
    ("text", lambda h: go(h, "ab"), TypeError, "prompts is a str, expected a list of lists of ids"),
    ("texts", lambda h: go(h, ["ab"]), TypeError, r"prompts\[0\] = 'ab', expected a list of ids"),
    ("iterator", lambda h: go(h, iter([[1]])), TypeError, "prompts is a list_iterator, expected a"),
    ("parts", lambda h: go(h, [[0.5]]), TypeError, r"prompts\[0\] = .*0.5.*, expected a list of"),
    ("too large", lambda h: go(h, [[1], [V]]), ValueError,
     rf"prompts\[1\] holds {V}, expected 0 <= id < vocab_size = {V}"),
    ("negative id", lambda h: go(h, [[-1]]), ValueError, r"prompts\[0\] holds -1, expected 0 <= id"),
    ("stop", lambda h: go(h, stop=[V]), ValueError, f"stop holds {V}, expected 0 <= id < vocab"),
    ("stop is one", lambda h: go(h, stop=3), TypeError, "stop = 3, expected a list of ids"),
    ("no tokens", lambda h: go(h, n=0), ValueError, "n_tokens = 0, expected a positive integer"),
    ("seed", lambda h: go(h, rng=0), TypeError, "rng = 0, expected a numpy.random.Generator"),
    ("torch", lambda h: go(h, rng=torch.Generator()), TypeError, "rng = <torch.*, expected a numpy"),
    ("few", lambda h: go(h, rng=rngs(2)), ValueError, "rng has 2 generators, expected 1"),
    ("no model", lambda h: generate(3, [[1]], 3), TypeError, "model is a int, expected a language"),
    ("encoder", lambda h: go(h, model=encoder), ValueError, "kind = 'encoder'.*writes no text"),
    ("classes", lambda h: go(h, model=lambda h: gpt(h, n_class=2)), ValueError, "writes no text"),
    ("diverged", lambda h: go(h, model=damaged), ValueError, "largest logit is nan.*weights"),
    ("source of a decoder", lambda h: go(h, sources=[[1]]), ValueError, "sources is given, expected"),
    ("no source", lambda h: pair(h), ValueError, "sources is None, expected a text for each prompt"),
    ("sources", lambda h: pair(h, sources=[[1]]), ValueError, "sources has 1 texts, expected 2"),
    ("empty source", lambda h: pair(h, sources=[[1], []]), ValueError, r"sources\[1\] is empty"),
    ("source too large", lambda h: pair(h, sources=[[1], [7]]), ValueError,
     r"sources\[1\] holds 7, expected 0 <= id < vocab_size = 7"),
    ("no beam", lambda h: search(h, n_beam=0), ValueError, "n_beam = 0, expected a positive int"),
    ("length", lambda h: search(h, length_penalty=-1), ValueError, "length_penalty = -1, expected 0"),
    ("no text", lambda h: search(h, n=-1), ValueError, "n_tokens = -1, expected a positive integer"),
    ("no prompt", lambda h: search(h, []), ValueError, "prompt is empty, expected at least one id"),
    ("two prompts", lambda h: search(h, [[1]]), TypeError, r"prompt = \[\[1\]\], expected a list of"),
    ("large", lambda h: search(h, [V]), ValueError, f"prompt holds {V}, expected 0 <= id < vocab"),
    ("a source", lambda h: search(h, source=[1]), ValueError, "sources is given, expected None"),
    ("greedy beams", lambda h: search(h, temperature=1), TypeError, "temperature"),
]  # fmt: skip


@pytest.mark.parametrize(("do", "error", "message"), [row[1:] for row in WRONG], ids=[
    row[0] for row in WRONG])  # fmt: skip
def test_bad_input(do, error, message, half):
    with pytest.raises(error, match=message):
        do(half)
