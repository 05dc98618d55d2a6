"""``python -m minillm.generate``: what it prints, how it ends, and what it says is wrong."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from minillm import weights
from minillm.config import BigramConfig, RecurrentConfig, TransformerConfig
from minillm.generate import beam_search, stream
from minillm.generate.__main__ import main
from minillm.numpy_nn.models import Bigram, build
from minillm.tokenizer import BPETokenizer, CharTokenizer
from minillm.tokenizer.bpe import to_letters

ROOT = Path(__file__).resolve().parent.parent
TEXT = "abcdefghi\n"
PROGRAM = [sys.executable, "-m", "minillm.generate"]


@pytest.fixture
def run(tmp_path):
    """The folder of a training run, of a small Transformer over characters."""
    rng = np.random.default_rng(0)
    sizes = {"context_length": 16, "n_layer": 1, "n_head": 2, "d_model": 8}
    model = build(TransformerConfig.gpt2(vocab_size=len(TEXT), **sizes))
    for parameter in model.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape)
    weights.save(model, tmp_path / "best.safetensors")
    CharTokenizer.train(TEXT).save(tmp_path / "tokenizer.json")
    return tmp_path


def printed(capsys, *arguments):
    """What the command prints where all is well."""
    capsys.readouterr()  # what others have printed
    assert main(list(map(str, arguments))) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def says(capsys, *arguments):
    """The one line in which it says what is wrong."""
    capsys.readouterr()  # what others have printed
    try:
        status = main(list(map(str, arguments)))
    except SystemExit as exit:
        status = exit.code
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    return err


@pytest.mark.parametrize("half", ["numpy", "torch"])
def test_it_writes_what_the_functions_do(run, capsys, half):
    model = weights.load(run / "best.safetensors", half=half)
    tokenizer = CharTokenizer.train(TEXT)
    given = ["--temperature", "0.8", "--top-k", "7", "--top-p", "0.9", "--min-p", "0.01"]
    given += ["--repetition-penalty", "1.1", "--seed", "5", "-n", "40", "--half", half]
    options = {"temperature": 0.8, "top_k": 7, "top_p": 0.9, "min_p": 0.01}
    rng = np.random.default_rng(5)
    pieces = stream(model, tokenizer, "bad", 40, repetition_penalty=1.1, rng=rng, **options)
    expected = "bad" + "".join(pieces) + "\n"
    assert len(expected) == 3 + 40 + 1
    assert printed(capsys, run, "--prompt", "bad", *given) == expected
    assert printed(capsys, run, "--prompt", "bad", *given, "--no-cache") == expected


def test_beams(run, capsys):
    model, tokenizer = weights.load(run / "best.safetensors"), CharTokenizer.train(TEXT)
    stop = tokenizer.encode("a")
    for given, length_penalty in (([], 0.0), (["--length-penalty", "2"], 2.0)):
        options = {"n_beam": 3, "stop": stop, "length_penalty": length_penalty}
        ids = beam_search(model, tokenizer.encode("bad"), 9, **options)[0][0]
        found = printed(
            capsys, run, "--prompt", "bad", "--beams", 3, "-n", 9, "--stop", "a", *given
        )
        assert found == "bad" + tokenizer.decode(ids) + "\n"


def test_seeds(run, capsys):
    texts = [printed(capsys, run, "--seed", seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 1 + 500 + 1  # by default, after a new line
    assert printed(capsys, run) != printed(capsys, run)


def test_which_file_is_loaded(run, capsys):
    """The best model of a run, else the last; or the one that is named."""
    options = ("--seed", 1, "-n", 20)
    best = printed(capsys, run, *options)
    other = Bigram(BigramConfig(vocab_size=len(TEXT)))
    weights.save(other, run / "last.safetensors")
    assert printed(capsys, run, *options) == best
    last = printed(capsys, run / "last.safetensors", *options)
    assert last != best
    (run / "best.safetensors").unlink()
    assert printed(capsys, run, *options) == last
    (run / "tokenizer.json").rename(run / "mine.json")
    assert printed(capsys, run, *options, "--tokenizer", run / "mine.json") == last


def test_the_prompt_from_standard_input(run, capsys, monkeypatch):
    expected = printed(capsys, run, "--prompt", "ab\ncd", "--seed", 1)
    monkeypatch.setattr("sys.stdin", io.StringIO("ab\ncd"))
    assert printed(capsys, run, "--prompt", "-", "--seed", 1) == expected


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_dtypes_and_devices(run, capsys, dtype):
    options = ("--dtype", dtype, "--device", "cpu", "-n", 20)
    assert len(printed(capsys, run, *options)) == 22


def test_it_stops(run, capsys):
    stops = ["--stop", "a", "--stop", "\n"]
    text = printed(capsys, run, "--prompt", "bad", *stops, "-n", 999, "--seed", 0)
    assert not {"a", "\n"} & set(text[3:-1])
    assert len(text) < 900


def gpt2_folder(folder, tokenizer, **options):
    torch.manual_seed(0)
    sizes = {"n_positions": 32, "n_embd": 8, "n_layer": 1, "n_head": 2, "initializer_range": 0.5}
    sizes |= {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": None}
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes | options)).save_pretrained(folder)


@pytest.fixture
def tokenizer():
    return BPETokenizer.train("the cat sat on the mat", 260, ["<|endoftext|>"])


def test_a_folder_of_hugging_face(tmp_path, capsys, tokenizer):
    gpt2_folder(tmp_path, tokenizer)
    vocab = {to_letters(token): i for i, token in enumerate(tokenizer.vocab)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), "utf-8")
    lines = [f"{to_letters(a)} {to_letters(b)}" for a, b in tokenizer.merges]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), "utf-8")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    ids = torch.tensor([tokenizer.encode("the mat")])
    expected = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20,
        eos_token_id=len(tokenizer) - 1, pad_token_id=len(tokenizer) - 1,
    )[0].tolist()  # fmt: skip
    text = tokenizer.decode([i for i in expected if i != len(tokenizer) - 1])
    for half in ("numpy", "torch"):
        options = ("--temperature", 0, "-n", 20, "--half", half)
        assert printed(capsys, tmp_path, "--prompt", "the mat", *options) == text + "\n"


def test_the_tokenizer_of_gpt2_is_known(tmp_path, capsys, monkeypatch, tokenizer):
    """Where the folder has none, and the size of the vocabulary is GPT-2's."""
    gpt2_folder(tmp_path / "model", tokenizer)
    assert "no vocab.json and merges.txt, expected" in says(capsys, tmp_path / "model")
    monkeypatch.setattr("minillm.generate.__main__.GPT2_SIZE", len(tokenizer))
    files = {to_letters(token): i for i, token in enumerate(tokenizer.vocab)}
    (tmp_path / "encoder.json").write_text(json.dumps(files), "utf-8")
    lines = [f"{to_letters(a)} {to_letters(b)}" for a, b in tokenizer.merges]
    (tmp_path / "vocab.bpe").write_text("\n".join(["#version: 0.2", *lines, ""]), "utf-8")
    monkeypatch.setattr("minillm.data.path", lambda name: tmp_path)
    assert printed(capsys, tmp_path / "model", "--prompt", "the", "-n", 5).startswith("the")


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    flags = re.findall(r"^  (?:-\w [A-Z]+, )?(--[\w-]+)", text, re.MULTILINE)
    assert len(flags) > 15
    assert max(map(len, text.splitlines())) <= 88  # a terminal
    for name in ("examples", "exit status", "repeats itself"):
        assert name in text


WRONG = [
    ("--temperature=-1", "temperature = -1, expected 0 <= temperature < inf"),
    ("--temperature=hot", "--temperature.*'hot'"),
    ("--temperature=nan", "temperature = nan, expected"),
    ("--top-k=0", "top_k = 0, expected a positive integer"),
    ("--top-p=0", "top_p = 0, expected 0 < top_p <= 1"),
    ("--top-p=1.5", r"top_p = 1.5, expected 0 < top_p <= 1"),
    ("--min-p=1", "min_p = 1, expected 0 <= min_p < 1"),
    ("--repetition-penalty=0", "repetition_penalty = 0, expected more than 0"),
    ("--n-tokens=0", "n_tokens = 0, expected a positive integer"),
    ("--seed=-1", "seed = -1, expected 0 <= seed"),
    ("--beams=0", "beams = 0, expected a positive integer"),
    ("--beams=2 --temperature=0.5", "temperature = 0.5 with --beams, expected one of them"),
    ("--beams=2 --seed=3", "seed = 3 with --beams, expected one of them"),
    ("--length-penalty=1", "length_penalty = 1 without --beams, expected both"),
    ("--beams=2 --length-penalty=-1", "length_penalty = -1, expected 0 <= length_penalty"),
    ("--half=jax", "--half.*'jax'.*numpy"),
    ("--half=numpy --device=cpu", "device = 'cpu' with half = 'numpy', expected 'torch'"),
    ("--half=numpy --dtype=bfloat16", "dtype = 'bfloat16', expected one of"),
    ("--device=abacus", "device = 'abacus', expected one that PyTorch has"),
    ("--device=cuda:99", "device = 'cuda:99', expected one that PyTorch has"),
    ("--prompt=", "prompt is empty, expected a text"),
    ("--prompt=xyz", "text holds 'x', expected one of 10 known"),
    ("--stop=abc", "stop = 'abc' is 3 tokens, expected one"),
    ("--stop=", "stop = '' is 0 tokens, expected one"),
    ("--tokenizer=none.json", "none.json"),
    ("--topk=3", "unrecognized arguments: --topk=3"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[row[0] for row in WRONG])
def test_wrong_usage(run, capsys, arguments, message):
    assert re.search(message, says(capsys, run, *arguments.split(" ")))


def test_wrong_models(run, capsys):
    for path in (run / "none", run / "none.safetensors"):
        assert f"MODEL = '{path}', expected a saved model" in says(capsys, path)
    (run / "empty").mkdir()
    assert "expected a saved model, a folder with best.safe" in says(capsys, run / "empty")
    assert "no whole safetensors file" in says(capsys, run / "tokenizer.json")
    assert "required: MODEL" in says(capsys)
    CharTokenizer.train("abc").save(run / "tokenizer.json")
    assert "the tokenizer has 3 tokens, expected vocab_size = 10" in says(capsys, run)
    (run / "tokenizer.json").unlink()
    assert "tokenizer.json is not there, expected the model's tokenizer" in says(capsys, run)


def test_models_that_do_not_write(run, capsys):
    sizes = {"vocab_size": len(TEXT), "context_length": 8, "n_layer": 1, "n_head": 1, "d_model": 4}
    weights.save(build(TransformerConfig.bert(**sizes)), run / "best.safetensors")
    assert "writes no text" in says(capsys, run)
    weights.save(build(TransformerConfig.original(**sizes)), run / "best.safetensors")
    assert "sources is None" in says(capsys, run)
    model = build(RecurrentConfig(vocab_size=len(TEXT), d_model=4, d_hidden=4))
    model.output.weight.data[...] = np.inf
    weights.save(model, run / "best.safetensors")
    with np.errstate(invalid="ignore"):
        assert "are the model's weights damaged?" in says(capsys, run)


def start(*arguments, **options):
    env = os.environ | {"PYTHONIOENCODING": options.pop("encoding", "utf-8")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT, "env": env}
    return subprocess.Popen([*PROGRAM, *map(str, arguments)], **pipes, **options)


def test_it_streams_until_ctrl_c(run):
    process = start(run, "--prompt", "abc", "-n", 10**8)
    assert process.stdout.read(20).startswith(b"abc")  # long before the end
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err, out[-1:]) == (130, b"", b"\n")


def test_a_reader_that_leaves(run):
    process = start(run, "-n", 10**8)
    process.stdout.read(5)
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=60)) == (b"", 0)
    process.stderr.close()


def test_a_terminal_that_knows_few_characters(tmp_path):
    model = Bigram(BigramConfig(vocab_size=2))
    weights.save(model, tmp_path / "best.safetensors")
    CharTokenizer("a漢").save(tmp_path / "tokenizer.json")
    process = start(tmp_path, "--prompt", "a", "-n", 50, encoding="ascii")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err, set(out.decode())) == (0, b"", {"a", "?", "\n"})
