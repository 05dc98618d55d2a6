"""What a run is put together from: the text as tokens, the model, the optimizer."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from minillm import data
from minillm.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer
from minillm.tokens import TokenFile

OUTER = ("embedding", "positions", "output", "table")  # whose matrices are not Muon's


def load_text(config, tokenizer=None):
    """The tokens to train on, those held out, and the tokenizer.

    Parameters
    ----------
    config : TrainConfig
    tokenizer : Tokenizer, optional
        Of an earlier start of the run; by default one is made.

    Returns
    -------
    SimpleNamespace
        train, held_out : arrays of int or `TokenFile`; n_bytes of the held-out text; tokenizer.
    """
    path = Path(config.data)
    if path.suffix == ".tokens":
        return _load_tokens(path, config)
    text = _read(path, config.data)
    cut = int(len(text) * (1 - config.held_out))
    tokenizer = tokenizer or make_tokenizer(config.tokenizer, text, cut)
    kind = np.uint16 if len(tokenizer) <= 2**16 else np.uint32
    train, held_out = (
        np.fromiter(tokenizer.encode_iterable([part]), kind) for part in (text[:cut], text[cut:])
    )
    n_bytes = len(text[cut:].encode())
    return _checked(config, train, held_out, n_bytes, tokenizer)


def _load_tokens(path, config):
    """The parts of a token file; the bytes of the second are taken to be its share of all."""
    tokens = TokenFile(path)
    cut = int(len(tokens) * (1 - config.held_out))
    n_bytes = round(tokens.n_bytes * (1 - cut / max(1, len(tokens))))
    tokenizer = Tokenizer.load(tokens.tokenizer)
    return _checked(config, tokens[:cut], tokens[cut:], n_bytes, tokenizer)


def _checked(config, train, held_out, n_bytes, tokenizer):
    name = f"data = {config.data!r}"
    if len(held_out) < 2:
        raise ValueError(
            f"{name} with held_out = {config.held_out:g} leaves {len(held_out)} tokens to evaluate "
            "on, expected at least 2: a longer text, or a larger share"
        )
    if len(train) <= config.window:
        raise ValueError(
            f"{name} has {len(train):,} tokens to train on, expected more than window = "
            f"{config.window}: a longer text, or a shorter window"
        )
    return SimpleNamespace(train=train, held_out=held_out, n_bytes=n_bytes, tokenizer=tokenizer)


def _read(path, name):
    """The text of a data set or a file."""
    if name in data.available():
        text = data.load(name)
        if isinstance(text, list) and all(isinstance(part, str) for part in text):
            text = "\n\n".join(text)
        if not isinstance(text, str):
            raise ValueError(f"data = {name!r} is a {data.describe(name).returns}, expected text")  # noqa: TRY004
        return text
    if not path.is_file():
        sets = ", ".join(n for n in data.available() if "str" in data.describe(n).returns)
        raise FileNotFoundError(
            f"data = {name!r}, expected a text file, a token file (NAME.tokens) or one of: {sets}"
        )
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"data = {name!r}, expected text in UTF-8: {error}") from None


def make_tokenizer(name, text, cut):
    """The tokenizer that is asked for, trained if need be on text[:cut] alone.

    But characters are those of the whole text: one that is in neither part cannot be told.
    """
    kind, _, size = name.partition(":")
    if name == "char":
        return CharTokenizer.train(text)
    if name == "word":
        return WordTokenizer.train(text[:cut])
    if name == "gpt2":
        return BPETokenizer.from_gpt2(data.path("gpt2_tokenizer"))
    if kind == "bpe" and size.isdecimal():
        return BPETokenizer.train(text[:cut], int(size))
    if Path(name).suffix == ".json":
        return Tokenizer.load(name)
    raise ValueError(
        f"tokenizer = {name!r}, expected 'char', 'word', 'gpt2', 'bpe:N' with a number of tokens "
        "N, or a tokenizer's JSON file"
    )


def find_device(config):
    """The device of a config's PyTorch, as a string; None for NumPy."""
    if config.half == "numpy":
        return None
    import torch

    if config.device != "auto":
        try:
            torch.empty(0, device=config.device)
        except (AssertionError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise ValueError(
                f"device = {config.device!r}, expected one that PyTorch has: {first}"
            ) from None
        return config.device
    return "cuda" if torch.cuda.is_available() else _mps_or_cpu(torch)


def _mps_or_cpu(torch):
    return "mps" if torch.backends.mps.is_available() else "cpu"


def new_model(config, vocab_size):
    """The model with its starting weights."""
    models = importlib.import_module(f"minillm.{config.half}_nn.models")
    return models.build(config.model_config(vocab_size), rng=new_rng(config, 0))


def new_rng(config, *place, device="cpu"):
    """A generator of the half, set by the seed and a place in the run: (step, rank), say.

    So nothing of it has to be saved to go on.
    """
    seeds = np.random.SeedSequence([config.seed, *place])
    if config.half == "numpy":
        return np.random.default_rng(seeds)
    import torch

    seed = int(seeds.generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator(device).manual_seed(seed)


def new_optimizer(config, model):
    """The optimizer of a model, whose weight decay is that of matrices alone."""
    optim = importlib.import_module(f"minillm.{config.half}_nn.optim")
    fused = {"fused": True} if config.fused else {}
    betas = {"betas": (config.beta1, config.beta2), **fused}
    groups = {}  # (kind, does it decay?) -> parameters
    for name, p in model.named_parameters():
        top, matrix = name.partition(".")[0].removeprefix("source_"), len(p.shape) == 2
        kind = "output" if top == "output" and matrix else "rest"
        if matrix and top not in OUTER:
            kind = "inner"
        groups.setdefault((kind, matrix), []).append(p)
    rates = {"inner": config.lr, "rest": config.adam_lr, "output": config.output_lr}
    parts = []
    for (kind, decays), params in groups.items():
        decay = {"weight_decay": config.weight_decay if decays else 0.0}
        if config.optimizer == "sgd":
            optimizer = optim.SGD(params, momentum=config.momentum, **decay, **fused)
        elif config.optimizer == "muon" and kind == "inner":
            optimizer = optim.Muon(params, momentum=config.momentum, **decay)
        else:
            optimizer = optim.AdamW(params, **betas, **decay)
        factor = rates[kind] / config.lr if config.optimizer == "muon" else 1.0
        parts.append((optimizer, factor))
    return optim.Together(parts)
