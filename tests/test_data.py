"""The data sets: registry, parsing, stand-ins, errors. Real files are checked where MINILLM_DATA is set."""

import collections
import dataclasses
import doctest
import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_server import isolate

from minillm import data
from minillm.data import parse, places, records, registry, standins

FOLDER = os.environ.get("MINILLM_DATA")
ROOT = Path(__file__).resolve().parent.parent
NAMES = data.available()


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    isolate(monkeypatch, tmp_path)


@pytest.fixture(params=["real", "stand-in"])
def kind(request, monkeypatch):
    """Each test once with the real files, where they are here, and once with stand-ins."""
    if request.param == "real":
        if not FOLDER:
            pytest.skip("MINILLM_DATA is not set")
        monkeypatch.setenv("MINILLM_DATA", str((ROOT / FOLDER).resolve()))
    else:
        monkeypatch.setenv("MINILLM_OFFLINE", "1")
    return request.param


@pytest.fixture
def real(monkeypatch):
    if not FOLDER:
        pytest.skip("MINILLM_DATA is not set")
    monkeypatch.setenv("MINILLM_DATA", str((ROOT / FOLDER).resolve()))
    return (ROOT / FOLDER).resolve()


# ---- the registry


def test_the_registry_says_what_the_manifest_says(real):
    if not (real / "MANIFEST.json").exists():
        pytest.skip("the data folder has no manifest")
    manifest = json.loads((real / "MANIFEST.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in manifest] == NAMES
    for entry in manifest:
        card = data.describe(entry["name"])
        cut_off = entry["name"] == "tatoeba_fra"  # the manifest counts the line that is cut off
        assert card.rows == entry["rows"] - cut_off
        assert card.what == entry["what"] and card.license_url == entry["licence_url"]
        assert card.license == entry["licence"]
        assert card.attribution == entry["attribution"].replace("licence", "license")
        assert entry["repo"] in card.source and entry["commit"].startswith(card.source.split()[-1])
        files = [(f["path"], f["size"], f["sha256"], f["raw_url"]) for f in entry["files"]]
        assert [(f.path, f.size, f.sha256, f.url) for f in card.files] == files
        assert [f.member for f in card.files] == [f.get("member") for f in entry["files"]]
        if "archive" in entry:
            archive = (card.archive.size, card.archive.sha256, card.archive.url)
            assert archive == (*entry["archive"].values(), entry["raw_url"])
        else:
            assert card.archive is None


def test_every_address_is_pinned_and_no_path_leaves_its_folder():
    for card in registry.DATA_SETS.values():
        for file in [*card.files, *([card.archive] if card.archive else [])]:
            assert re.match(
                r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", file.url
            )
            assert re.fullmatch(rf"{card.name}/[\w.-]+", file.path) and ".." not in file.path
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256) and file.size > 0


def test_every_set_has_a_parser_and_a_stand_in():
    assert list(parse.PARSERS) == list(standins.MAKERS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_cards_are_readable(name):
    card = data.describe(name)
    text = str(card)
    assert max(len(line) for line in text.splitlines()) <= 110  # a long address is not cut
    flat = " ".join(text.split())
    for part in (card.license, card.license_url, card.attribution, card.source, card.parsed):
        assert " ".join(part.split()) in flat
    assert f"{card.rows:,}" in text and card.returns in text and card.parsed.endswith(".")
    assert repr(card) == text


# ---- loading


FORMS = {
    "tinyshakespeare": str,
    "tinystories": str,
    "banking77": data.Labeled,
    "sentence_polarity": data.Labeled,
    "sms_spam": data.Labeled,
    "wnut17": data.Tagged,
    "tatoeba_cmn": data.Pair,
    "tatoeba_fra": data.Pair,
    "xquad": data.Question,
    "babi": data.StoryQuestion,
    "poems": data.Poem,
    "sonnets": data.Poem,
    "word_analogies": data.Analogy,
    "gpt2_tokenizer": data.BPEFiles,
    "instruction_data": data.Instruction,
    "fsdd": data.Recording,
}


def typed(value, annotation):
    """Whether a value is what a field's annotation says, inside tuples and dicts too."""
    origin = getattr(annotation, "__origin__", annotation)
    if origin is tuple:
        inner = annotation.__args__
        if inner[-1] is Ellipsis:
            inner = [inner[0]] * len(value)
        return len(inner) == len(value) and all(map(typed, value, inner))
    if origin is dict:
        return all(typed(k, str) and typed(v, int) for k, v in value.items())
    return type(value) is origin


@pytest.mark.parametrize("name", NAMES)
def test_records_have_the_types_they_say(kind, name):
    loaded = data.load(name)
    assert data.is_real(name) == (kind == "real")
    form = FORMS[name]
    assert form.__name__ in data.describe(name).returns
    items = loaded if isinstance(loaded, list) else [loaded]
    assert {type(item) for item in items} == {form}
    assert isinstance(loaded, list) == data.describe(name).returns.startswith("list of")
    if form is not str:
        fields = dataclasses.fields(form)
        for item in items[:: max(1, len(items) // 500)]:
            assert all(typed(getattr(item, field.name), field.type) for field in fields)
            assert hash(item) is not None
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(item, fields[0].name, None)


@pytest.mark.parametrize("name", NAMES)
def test_there_are_as_many_rows_as_stated(kind, name):
    loaded = data.load(name)
    counted = {
        "tinyshakespeare": lambda: loaded.count("\n"),
        "gpt2_tokenizer": lambda: len(loaded.vocabulary),
    }.get(name, lambda: len(loaded))()
    if kind == "real" or name not in ("tinyshakespeare", "gpt2_tokenizer", "word_analogies"):
        assert counted == data.describe(name).rows
    else:
        assert counted > 500


@pytest.mark.parametrize(
    "name, sizes",
    [
        ("banking77", {"train": 10_003, "test": 3_080}),
        ("wnut17", {"train": 3_394, "dev": 1_009, "test": 1_287}),
        ("babi", {"train": 2_000, "test": 2_000}),
        ("fsdd", {"train": 750, "test": 150}),
    ],
)
def test_splits_are_parts_of_the_whole(kind, name, sizes):
    parts = {split: data.load(name, split=split) for split in sizes}
    assert {split: len(part) for split, part in parts.items()} == sizes
    assert list(data.describe(name).splits) == list(sizes)
    whole = collections.Counter(data.load(name))
    assert whole == sum(
        (collections.Counter(part) for part in parts.values()), collections.Counter()
    )


def test_a_list_is_new_each_time(kind):
    data.load("sonnets").clear()
    assert len(data.load("sonnets")) == 154


# ---- what holds for both kinds of each set


def test_text_for_language_models(kind):
    text = data.load("tinyshakespeare")
    assert len(text) == 1_115_394 and text.isascii() and text.endswith("\n")
    assert 60 <= len(set(text)) <= 96
    assert "\r" not in text and "\t" not in text
    stories = data.load("tinystories")
    assert all(story == story.strip() and len(story) > 150 for story in stories)
    assert sum("\n\n" in story for story in stories) > 0.8 * len(stories)
    assert not any(re.search(r"(?<!\n)\n(?!\n)", story) for story in stories)


@pytest.mark.parametrize("name", ["banking77", "sentence_polarity", "sms_spam"])
def test_labels_are_the_classes_stated(kind, name):
    items = data.load(name)
    assert {item.label for item in items} == set(data.describe(name).classes)
    assert all(item.text and item.text == item.text.strip() for item in items)


def test_odd_rows_of_labeled_files(kind):
    questions = data.load("banking77")
    raw = data.path("banking77", "train.csv").read_bytes()
    assert raw.startswith(b"text,category\r\n")
    assert raw.count(b"\n") > 10_004  # some rows hold line breaks
    assert not any("\r" in question.text for question in questions)
    classes = json.loads(data.path("banking77", "categories.json").read_bytes())
    assert tuple(classes) == data.describe("banking77").classes
    messages = data.load("sms_spam")
    assert collections.Counter(m.label for m in messages) == {"ham": 4_827, "spam": 747}
    assert any(message.text.count('"') == 1 for message in messages)  # quotes are characters
    halves = [item.label for item in data.load("sentence_polarity")]
    assert halves == ["positive"] * 5_331 + ["negative"] * 5_331


def test_tags(kind):
    sentences = data.load("wnut17")
    tags = {tag for sentence in sentences for tag in sentence.tags}
    assert tags == set(data.describe("wnut17").classes) and len(tags) == 13
    for sentence in sentences:
        assert len(sentence.tokens) == len(sentence.tags) > 0
        assert all(token.strip() == token != "" for token in sentence.tokens)
        for before, tag in zip(("O", *sentence.tags), sentence.tags, strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:] or kind == "real"
    if kind == "real":
        assert sum(len(sentence.tokens) for sentence in sentences) == 101_857


@pytest.mark.parametrize("name", ["tatoeba_cmn", "tatoeba_fra"])
def test_pairs(kind, name):
    pairs = data.load(name)
    lengths = [len(pair.source) for pair in pairs]
    assert np.mean(np.diff(lengths) >= 0) > 0.95  # sorted from short to long
    assert not any("\ufeff" in pair.source for pair in pairs)
    assert all(pair.source and pair.target for pair in pairs)
    assert all(bool(pair.attribution) == (name == "tatoeba_cmn") for pair in pairs)
    if name == "tatoeba_cmn":
        assert sum(bool(re.search("[\u4e00-\u9fff]", pair.target)) for pair in pairs) > 29_000
    else:
        assert pairs[-1].target[-1] in ".!?"  # the one that is cut off is not here


def test_questions(kind):
    questions = data.load("xquad")
    for q in questions:
        assert q.context[q.start : q.start + len(q.answer)] == q.answer != ""
    assert len({q.id for q in questions}) == 1_190
    assert len({q.title for q in questions}) == 48
    assert len({q.context for q in questions}) == 240


def test_stories_with_questions(kind):
    rooms = {"bathroom", "bedroom", "garden", "hallway", "kitchen", "office"}
    for q in data.load("babi"):
        assert q.task in (1, 6) and len(q.support) >= 1
        supporting = q.story[q.support[0]]
        if q.task == 1:  # the last sentence about who is asked for says where
            who = re.fullmatch(r"Where is (\w+)\?", q.question)[1]
            last = [sentence for sentence in q.story if sentence.startswith(who)][-1]
            assert supporting == last and last.rstrip(".").endswith(q.answer)
            assert q.answer in rooms
        else:
            who, where = re.fullmatch(r"Is (\w+) in the (\w+)\?", q.question).groups()
            assert supporting.startswith(who)
            assert q.answer == ("yes" if supporting.endswith(f"{where}.") else "no")


def test_poems(kind):
    poems = data.load("poems")
    assert collections.Counter(poem.collection for poem in poems) == {"tang": 366, "song": 280}
    assert all(poem.lines and poem.title and poem.author for poem in poems)
    sonnets = data.load("sonnets")
    odd = {i + 1: len(poem.lines) for i, poem in enumerate(sonnets) if len(poem.lines) != 14}
    assert odd == {99: 15, 126: 12}
    assert not any("\r" in line or line != line.rstrip() for p in sonnets for line in p.lines)
    assert sonnets[17].title == "Sonnet 18"
    if kind == "real":
        assert sonnets[17].lines[0] == "Shall I compare thee to a summer's day?"
        assert sum(len(poem.lines) for poem in sonnets) == 2_155


def test_words(kind):
    analogies = data.load("word_analogies")
    sections = {analogy.section for analogy in analogies}
    assert len(sections) == 14 and "family" in sections
    counted = collections.Counter(dataclasses.astuple(a)[:4] for a in analogies)
    assert not any(":" in word for words in counted for word in words)
    tasks = data.load("instruction_data")
    assert 0.2 < np.mean([task.input == "" for task in tasks]) < 0.8
    assert all(task.instruction and task.output for task in tasks)


def test_tokenizer_files(kind):
    files = data.load("gpt2_tokenizer")
    assert sorted(files.vocabulary.values()) == list(range(len(files.vocabulary)))
    assert len(files.vocabulary) == 256 + len(files.merges) + 1
    for i, pair in enumerate(files.merges):  # each merge makes the next token, of tokens so far
        assert files.vocabulary["".join(pair)] == 256 + i
        assert all(files.vocabulary[part] < 256 + i for part in pair)
    assert files.vocabulary["<|endoftext|>"] == len(files.vocabulary) - 1
    assert repr(files).startswith("BPEFiles(") and len(repr(files)) < 60


def test_recordings(kind):
    recordings = data.load("fsdd")
    keys = {(r.digit, r.speaker, r.index) for r in recordings}
    speakers = ("nicolas", "theo", "yweweler")
    assert keys == {(d, s, i) for d in range(10) for s in speakers for i in range(30)}
    for recording in recordings[::37]:
        samples = recording.samples
        assert samples.dtype == np.float32 and samples.shape == (len(recording.pcm) // 2,)
        assert recording.rate == 8_000 and np.isclose(recording.seconds, samples.size / 8_000)
        assert 0.01 < np.abs(samples).max() <= 1 and np.abs(samples.mean()) < 0.1
    assert 200 < sum(recording.seconds for recording in recordings) < 600
    assert all(recording.index < 5 for recording in data.load("fsdd", "test"))


# ---- stand-ins


def digests():
    """One digest for all files of each set's stand-in."""
    joined = {}
    for card in registry.DATA_SETS.values():
        files = standins.make(card)
        joined[card.name] = b"".join(files[name] for name in sorted(files))
    return {name: hashlib.sha256(raw).hexdigest() for name, raw in joined.items()}


def test_stand_ins_are_the_same_in_every_process():
    code = "import hashlib, json\nfrom minillm.data import registry, standins\n"
    code += inspect.getsource(digests) + "print(json.dumps(digests()))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1"},  # another order of sets than here
        capture_output=True,
        check=True,
    )
    assert json.loads(run.stdout) == digests()


def test_a_stand_in_has_the_files_of_the_set_and_no_real_one(monkeypatch):
    monkeypatch.setenv("MINILLM_OFFLINE", "1")
    for name in NAMES:
        folder = data.path(name)
        for file in data.describe(name).files:
            raw = (folder / file.name).read_bytes()
            same = hashlib.sha256(raw).hexdigest() == file.sha256
            assert same == (file.name == "categories.json")  # the classes are the real ones


def test_prose_where_the_manual_is_not_installed(monkeypatch, tmp_path):
    prose = standins.prose
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    monkeypatch.setattr(prose.sysconfig, "get_path", lambda name: str(tmp_path))
    text = prose.manual.__wrapped__(50_000)
    assert len(text) == 50_000 and text.isascii() and text.endswith("\n")
    assert len(set(text.split())) > 100


def test_offline_wins_over_a_folder_with_the_real_set(real, monkeypatch, capsys):
    assert data.is_real("sonnets")
    monkeypatch.setenv("MINILLM_OFFLINE", "1")
    assert not data.is_real("sonnets") and not data.is_real("sonnets")
    line = "minillm.data: sonnets: using a made-up stand-in, not the real data"
    assert capsys.readouterr().err == f"{line} (MINILLM_OFFLINE is set)\n"
    monkeypatch.delenv("MINILLM_OFFLINE")
    assert data.is_real("sonnets")


# ---- wrong use


@pytest.mark.parametrize(
    "call, error, words",
    [
        (
            lambda: data.load("tinyshakespear"),
            ValueError,
            ["name: 'tinyshakespear'", "did you mean"],
        ),
        (lambda: data.load(""), ValueError, ["name: ''", "expected one of tinyshakespeare"]),
        (lambda: data.load("../etc"), ValueError, ["name: '../etc'"]),
        (lambda: data.load(3), TypeError, ["name: 3", "expected a string"]),
        (lambda: data.load(None), TypeError, ["name: None"]),
        (lambda: data.load(["sonnets"]), TypeError, ["name: ['sonnets']"]),
        (lambda: data.load("wnut17", "valid"), ValueError, ["'valid'", "None or 'train' or 'dev'"]),
        (lambda: data.load("wnut17", ["dev"]), ValueError, ["split: ['dev']", "'test'"]),
        (lambda: data.load("banking77", split="dev"), ValueError, ["split: 'dev'; 'banking77'"]),
        (lambda: data.load("sonnets", "train"), ValueError, ["split: 'train'", "expects None"]),
        (lambda: data.load("sonnets", split=""), ValueError, ["split: ''"]),
        (lambda: data.describe("nope"), ValueError, ["name: 'nope'"]),
        (lambda: data.is_real("nope"), ValueError, ["name: 'nope'"]),
        (lambda: data.path("nope"), ValueError, ["name: 'nope'"]),
        (lambda: data.path("sonnets", "x.txt"), ValueError, ["file: 'x.txt'", "has sonnets.txt"]),
        (lambda: data.path("sonnets", "../../x"), ValueError, ["file: '../../x'"]),
        (lambda: data.path("fsdd", "10_theo_0.wav"), ValueError, ["(900 files)"]),
    ],
)
def test_wrong_arguments_are_named(monkeypatch, call, error, words):
    monkeypatch.setenv("MINILLM_OFFLINE", "1")
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "name, value, error, words",
    [
        ("MINILLM_DATA", "no/such/folder", FileNotFoundError, "expected a folder that exists"),
        ("MINILLM_MIRROR", "ftp://a.example", ValueError, "expected http://… or https://…"),
        ("MINILLM_MIRROR", "a.example", ValueError, "'a.example'"),
        ("MINILLM_MIRROR", "http://", ValueError, "'http://'"),
        ("MINILLM_MIRROR", "http://a.example:port", ValueError, "'http://a.example:port'"),
        ("MINILLM_OFFLINE", "maybe", ValueError, "expected 1 or 0"),
    ],
)
def test_wrong_settings_are_named(monkeypatch, name, value, error, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(error) as caught:
        data.load("sonnets")
    assert name in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize("value, offline", [("1", True), ("TRUE", True), ("0", False), ("", False)])
def test_ways_to_say_offline(monkeypatch, value, offline):
    monkeypatch.setenv("MINILLM_OFFLINE", value)
    assert places.settings().offline == offline


@pytest.mark.parametrize(
    "platform, variables, cache",
    [
        ("linux", {"MINILLM_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/minillm"),
        ("linux", {}, "/home/ada/.cache/minillm"),
        ("darwin", {}, "/home/ada/Library/Caches/minillm"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/minillm/cache"),
        ("win32", {}, "/home/ada/AppData/Local/minillm/cache"),
    ],
)
def test_the_cache_by_the_custom_of_the_system(monkeypatch, platform, variables, cache):
    for name in ("MINILLM_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(places.sys, "platform", platform)
    monkeypatch.setattr(places.Path, "home", lambda: Path("/home/ada"))
    assert places.settings().cache == Path(cache)


@pytest.mark.parametrize(
    "parser, files",
    [
        ("sms_spam", {"sms.tsv": b"ham without a tab\n"}),
        ("tatoeba_fra", {"fra.txt": b"one\ttwo\tthree\tfour\nlast\n"}),
        ("tinyshakespeare", {"input.txt": b"\xff\xfe"}),
        ("word_analogies", {"questions-words.txt": b": section\nfew words\n"}),
        ("xquad", {"xquad.en.json": b"{"}),
    ],
)
def test_a_file_in_another_form_is_not_read_as_something(parser, files):
    with pytest.raises((ValueError, TypeError)):
        parse.PARSERS[parser](files)


# ---- documentation


@pytest.mark.parametrize("name", sorted(m.name for m in pkgutil.walk_packages(data.__path__, "")))
def test_examples_in_docstrings(kind, name):
    module = importlib.import_module(f"minillm.data.{name}")
    assert module.__doc__
    assert doctest.testmod(module).failed == 0


def test_examples_of_the_package(kind):
    result = doctest.testmod(data)
    assert result.failed == 0 and result.attempted >= 12


@pytest.mark.parametrize("name", ["available", "describe", "is_real", "load", "path"])
def test_public_functions_say_what_they_take_return_and_raise(name):
    function = getattr(data, name)
    text = inspect.getdoc(function)
    assert "Returns\n" in text and "Examples\n" in text
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^{parameter} : ", text, re.MULTILINE)
    assert not inspect.signature(function).parameters or "Raises\n" in text


def test_public_names():
    classes = {
        name
        for name, value in vars(records).items()
        if inspect.isclass(value) and value.__module__ == records.__name__
    }
    functions = {"available", "describe", "is_real", "load", "path"}
    assert set(data.__all__) == classes | functions | {"DataSet", "File"}
    assert all(getattr(data, name).__doc__ for name in data.__all__)
