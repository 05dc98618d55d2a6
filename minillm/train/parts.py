"""What a run is put together from: the text as tokens, the devices, the model, the optimizer."""

import hashlib
import importlib
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from minillm import data
from minillm.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer
from minillm.tokens import TokenFile

OUTER = ("embedding", "before", "positions", "output", "table")  # whose matrices are not Muon's
HEADS = {"query": "rows", "key": "rows", "value": "rows", "output": "columns"}  # of attention
ALONE = SimpleNamespace(  # a `distributed.World` of one process, without PyTorch
    rank=0, size=1, is_main=True, device=None, sum=lambda *values: values, mean=float,
    accumulating=lambda model: nullcontext(), full=lambda model: model, close=lambda: None,
    state=lambda optimizer: optimizer.state(), load_state=lambda optimizer, s: optimizer.load_state(s),
)  # fmt: skip


def start_world(config):
    """The processes that train together, and the device of this one, None for NumPy."""
    if config.half == "numpy":
        return ALONE
    import torch

    from minillm import distributed

    mps = config.device == "auto" and torch.backends.mps.is_available()
    world = distributed.start("mps" if mps else config.device)
    try:
        torch.empty(0, device=world.device)
    except (AssertionError, RuntimeError) as error:
        why = str(error).partition("\n")[0]
        raise ValueError(
            f"device = {config.device!r}, expected one that PyTorch has: {why}"
        ) from None
    return world


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
        train, held_out : arrays of int (n,) or `TokenFile`; n_bytes of the held-out text, None if
        not known; tokenizer, None if a token file has none; vocab_size; facts, by which the text
        is known again.
    """
    path, name = Path(config.data), f"data = {config.data!r}"
    if path.suffix == ".tokens":
        tokens = TokenFile(path)
        tokenizer = tokens.tokenizer and Tokenizer.load(tokens.tokenizer)
        cut, vocab_size = int(len(tokens) * (1 - config.held_out)), tokens.vocab_size
        train, held_out = tokens.part(0, cut), tokens.part(cut, len(tokens))
        n_bytes, checksum = held_out.n_bytes, tokens.sha256
    else:
        text = _read(path, config.data)
        if not text:
            raise ValueError(f"{name} is empty, expected a text")
        cut = int(len(text) * (1 - config.held_out))
        tokenizer = tokenizer or make_tokenizer(config.tokenizer, text, cut)
        vocab_size, n_bytes = len(tokenizer), len(text[cut:].encode())
        kind = np.uint16 if vocab_size <= 2**16 else np.uint32
        halves = text[:cut], text[cut:]
        train, held_out = (np.fromiter(tokenizer.encode_iterable([t]), kind) for t in halves)
        checksum = hashlib.sha256(train.tobytes() + held_out.tobytes()).hexdigest()
    if len(held_out) < 2:
        problem = (
            f"with held_out = {config.held_out:g} leaves {len(held_out)} tokens to evaluate on"
        )
        raise ValueError(f"{name} {problem}, expected at least 2: a longer text, or a larger share")
    if len(train) <= config.window:
        problem = (
            f"has {len(train):,} tokens to train on, expected more than window = {config.window}"
        )
        raise ValueError(f"{name} {problem}: a longer text, or a shorter window")
    facts = {"tokens to train on": len(train), "tokens held out": len(held_out), "sha256": checksum}
    names = {"train": train, "held_out": held_out, "n_bytes": n_bytes, "tokenizer": tokenizer}
    return SimpleNamespace(**names, vocab_size=vocab_size, facts=facts)


def _read(path, name):
    """The text of a data set or a file."""
    if name in data.available():
        text = data.load(name)
        if isinstance(text, list) and all(isinstance(part, str) for part in text):
            text = "\n\n".join(text)
        if not isinstance(text, str):
            raise ValueError(f"data = {name!r} is a {data.describe(name).returns}, expected text")
        return text
    if not path.is_file():
        sets = ", ".join(n for n in data.available() if "str" in data.describe(n).returns)
        expected = f"expected a text file, a token file (NAME.tokens) or one of: {sets}"
        raise FileNotFoundError(f"data = {name!r}, {expected}")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"data = {name!r}, expected text in UTF-8: {error}") from None


def make_tokenizer(name, text, cut):
    """The tokenizer that is asked for, trained if need be on text[:cut] alone.

    But characters are those of the whole text: without an id for each it could not be evaluated.
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


def new_model(config, vocab_size):
    """The model with its starting weights."""
    models = importlib.import_module(f"minillm.{config.half}_nn.models")
    return models.build(config.model_config(vocab_size), rng=new_rng(config, 0))


def new_rng(config, *place, device=None):
    """A generator of the half, set by the seed and a place in the run, such as (step, rank).

    So nothing of it has to be saved to go on.
    """
    seeds = np.random.SeedSequence([config.seed, *place])
    if config.half == "numpy":
        return np.random.default_rng(seeds)
    import torch

    seed = int(seeds.generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator(device or "cpu").manual_seed(seed)


def new_optimizer(config, model):
    """The optimizer of a model, whose weight decay is that of matrices alone."""
    optim = importlib.import_module(f"minillm.{config.half}_nn.optim")
    groups = {}  # (where it stands, is it a matrix?) -> parameters
    for name, p in model.named_parameters():
        top, matrix = name.partition(".")[0], len(p.shape) == 2
        where = "rest" if not matrix or top in OUTER else "inner"
        where = "output" if matrix and top == "output" else where
        if config.by_head and where == "inner":
            where = HEADS.get(name.split(".")[-2], where)
        groups.setdefault((where, matrix), []).append(p)
    muon, fused = config.optimizer == "muon", {"fused": True} if config.fused else {}
    blocks = {"inner": None}
    if config.by_head:
        blocks |= {"rows": (model.config.d_head, None), "columns": (None, model.config.d_head)}
    rates = dict.fromkeys(blocks, config.lr)
    rates |= {"rest": config.adam_lr, "output": config.output_lr}
    parts = []
    for (where, matrix), params in groups.items():
        options = {"weight_decay": config.weight_decay if matrix else 0.0}
        if config.optimizer == "sgd":
            optimizer = optim.SGD(params, momentum=config.momentum, **options, **fused)
        elif muon and where in blocks:
            block = blocks[where]
            optimizer = optim.Muon(params, momentum=config.momentum, block=block, **options)
        else:
            betas = config.beta1, config.beta2
            optimizer = optim.AdamW(params, betas=betas, **options, **fused)
        parts.append((optimizer, rates[where] / config.lr if muon else 1.0))
    return optim.Together(parts)
