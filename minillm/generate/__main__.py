"""The command line: a trained model writes on, in the terminal."""

import argparse
import sys
from pathlib import Path

import numpy as np

from minillm import checkpoints, data, weights
from minillm.checks import check_range, check_sizes
from minillm.terminal import ERRORS, Parser, complain, hang_up
from minillm.tokenizer import BPETokenizer, Tokenizer

from . import beam_search, decode_stream, probabilities, stream

PROG = "python -m minillm.generate"
DRAWING = ("repetition_penalty", "temperature", "top_k", "top_p", "min_p")
GPT2_SIZE = 50257  # of its vocabulary
EPILOG = f"""\
A model gives every token a probability to come next. To draw from these as they
are is faithful, but now and then something odd is drawn, and the text has to go
on from there. So the probabilities are sharpened (a temperature below 1), or the
unlikely tokens are cut off (top-k, top-p, min-p: one of them will do). Too sharp,
and the text repeats itself. The steps are taken in the order above.

Of a text longer than the model's context, only the later part is read: when it is
full, its first half is dropped.

examples (runs/shakespeare was trained by minillm.train, models/gpt2 is a folder
of Hugging Face's):
  {PROG} runs/shakespeare --prompt "ROMEO:" --top-k 50
  {PROG} models/gpt2 --prompt "Once upon a time" --top-p 0.9 -n 99
  {PROG} models/gpt2 --prompt "The capital of France is" --beams 4
  cat letter.txt | {PROG} models/gpt2 --prompt - --seed 1

exit status: 0 all is well; 2 something is wrong, one line says what; 130 Ctrl-C"""


CHOOSING = [
    ("--repetition-penalty", "R", float,
     "lower the scores of tokens already there: 1 not at all (default), 1.2 clearly"),
    ("--temperature", "T", float, "below 1 safer, above 1 bolder; 0 always takes the best (default: 1)"),
    ("--top-k", "K", int, "draw only from the K best (default: all)"),
    ("--top-p", "P", float, "only from the fewest that together have probability P (default: 1, all)"),
    ("--min-p", "P", float,
     "only from those at least P times as probable as the best (default: 0, all)"),
    ("--seed", "N", int, "draw the same text each time (default: another)"),
    ("--beams", "N", int,
     "do not draw: search for the most probable text, keeping the N best at each token"),
    ("--length-penalty", "A", float, "with --beams: 0 prefers short texts (default), 1 hardly does"),
]  # fmt: skip


def parser():
    """What may be asked for; how to choose a token is left out of the answer if it is not given."""
    form = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog=PROG, usage="%(prog)s MODEL --prompt TEXT [OPTION ...]", epilog=EPILOG,
        description="Let a trained model write on after a prompt.", formatter_class=form,
        allow_abbrev=False,
    )  # fmt: skip
    where = (
        "the folder of a training run (its best.safetensors or last.safetensors, beside "
        "tokenizer.json), one such file, or a folder of Hugging Face's with a GPT-2 or Llama"
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help=where)
    text = parser.add_argument_group("the text")
    start = "how it begins; - reads it from standard input (default: a new line)"
    text.add_argument("--prompt", metavar="TEXT", default="\n", help=start)
    most = "the most tokens that are added (default: 500)"
    text.add_argument("-n", "--n-tokens", metavar="N", type=int, default=500, help=most)
    end = "end at this token; may be repeated (default: <|endoftext|> and <eos>, if known)"
    text.add_argument("--stop", metavar="TOKEN", action="append", help=end)
    file = "the tokenizer's JSON file, where it is not beside the model"
    text.add_argument("--tokenizer", metavar="FILE", type=Path, help=file)
    choosing = parser.add_argument_group("how each token is chosen")
    for flag, metavar, kind, meaning in CHOOSING:
        options = {"metavar": metavar, "type": kind, "default": argparse.SUPPRESS}
        choosing.add_argument(flag, help=meaning, **options)
    run = parser.add_argument_group("how it runs")
    library = "the library that computes (default: numpy; torch with --device)"
    run.add_argument("--half", choices=["numpy", "torch"], help=library)
    run.add_argument("--device", help="of PyTorch: cpu, cuda, cuda:1, mps, ...")
    run.add_argument("--dtype", choices=weights.FLOATS, help="of the weights (default: as saved)")
    slow = "read the whole text again for each token: slower, the same text"
    run.add_argument("--no-cache", action="store_true", help=slow)
    return parser


def main(arguments=None):
    """Run the command and return the exit status."""
    options = vars(parser().parse_args(arguments))
    try:
        write(options)
    except KeyboardInterrupt:
        print()
        return 130
    except BrokenPipeError:
        hang_up()
    except ERRORS as error:
        return complain(PROG, error)
    return 0


def write(options):
    """Load the model, and print what it writes."""
    drawing = {name: options[name] for name in DRAWING if name in options}
    n_tokens, seed = options["n_tokens"], options.get("seed")
    n_beam, length_penalty = options.get("beams"), options.get("length_penalty", 0.0)
    if n_beam is None and "length_penalty" in options:
        raise ValueError(f"length_penalty = {length_penalty:g} without --beams, expected both")
    others = [name for name in (*DRAWING, "seed") if name in options]
    if n_beam is not None and others:
        raise ValueError(f"{others[0]} = {options[others[0]]:g} with --beams, expected one of them")
    probabilities(np.zeros((1, 1)), **drawing)  # before a long load, say what is out of range
    check_sizes(n_tokens=n_tokens, beams=1 if n_beam is None else n_beam)
    check_range("seed", seed or 0)

    model, tokenizer = load(options)
    prompt = sys.stdin.read() if options["prompt"] == "-" else options["prompt"]
    if not prompt:
        raise ValueError("prompt is empty, expected a text to go on from")
    how = {"stop": stop_ids(tokenizer, options["stop"]), "use_cache": not options["no_cache"]}
    if n_beam:
        ids, how = tokenizer.encode(prompt), {"length_penalty": length_penalty, **how}
        found = beam_search(model, ids, n_tokens, n_beam=n_beam, **how)
        pieces = decode_stream(tokenizer, found[0][0], after=ids)
    else:
        how |= {"rng": np.random.default_rng(seed), **drawing}
        pieces = stream(model, tokenizer, prompt, n_tokens, **how)
    first = next(pieces, "")  # before anything is shown, so that an error stands alone
    sys.stdout.reconfigure(errors="replace")  # a terminal may not know all characters
    print(prompt, end=first, flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def load(options):
    """The model and its tokenizer."""
    path, device = options["model"], options["device"]
    half = options["half"] or ("torch" if device else "numpy")
    if device and half == "numpy":
        raise ValueError(f"device = {device!r} with half = 'numpy', expected 'torch'")
    target = {"half": half, "dtype": options["dtype"]}
    files = [path] if path.is_file() else [path / "best.safetensors", path / "last.safetensors"]
    saved = next(filter(Path.is_file, files), None)
    if not saved and not (path / "config.json").exists():
        raise FileNotFoundError(
            f"MODEL = {str(path)!r}, expected a saved model, a folder with best.safetensors or "
            "last.safetensors, or one of Hugging Face's with config.json"
        )
    model = weights.load(saved, **target) if saved else checkpoints.load(path, **target)
    tokenizer = load_tokenizer(options["tokenizer"], saved, path, model.config)
    if len(tokenizer) != model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, expected vocab_size = "
            f"{model.config.vocab_size} of the model: are they from one run?"
        )
    try:
        return model.to(device) if device else model, tokenizer
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device = {device!r}, expected one that PyTorch has: {error}") from None


def load_tokenizer(given, saved, path, config):
    """The tokenizer that was given, or lies beside a model; else GPT-2's, where it fits."""
    if given or saved:
        file = given or saved.with_name("tokenizer.json")
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} is not there, expected the model's tokenizer: --tokenizer"
            )
        return Tokenizer.load(file)
    if (path / "vocab.json").exists():
        return BPETokenizer.from_gpt2(path / "vocab.json", path / "merges.txt")
    if config.vocab_size == GPT2_SIZE:
        return BPETokenizer.from_gpt2(data.path("gpt2_tokenizer"))
    raise FileNotFoundError(
        f"{path} has no vocab.json and merges.txt, expected them or --tokenizer"
    )


def stop_ids(tokenizer, tokens):
    """The ids of tokens at which a text ends."""
    if tokens is None:
        known = tokenizer.special_tokens
        return [known[token] for token in ("<|endoftext|>", "<eos>") if token in known]
    ids = [tokenizer.encode(token) for token in tokens]
    for token, found in zip(tokens, ids, strict=True):
        if len(found) != 1:
            raise ValueError(f"stop = {token!r} is {len(found)} tokens, expected one")
    return [i for (i,) in ids]


if __name__ == "__main__":
    sys.exit(main())
