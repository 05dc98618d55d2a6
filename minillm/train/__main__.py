"""The command line: train a model in the terminal."""

import argparse
import dataclasses
import inspect
import re
import sys
import typing
from itertools import chain
from pathlib import Path

from minillm.config import CHOICES, MODELS, NOT_TRAINED, TrainConfig
from minillm.terminal import ERRORS, Parser, complain

from . import train
from .folder import read_config

PROG = "python -m minillm.train"
DESCRIPTION = """\
Train a language model to predict the next token of a text."""
EPILOG = f"""\
The last part of the text is held out: all of it is read at each evaluation, whose
loss is in nats per token (ln 65 = 4.17 is a mere guess among 65 characters), and
in bits per byte, which can be compared between tokenizers. If the loss explodes,
lower --lr or raise --n-warmup. If memory is short, raise --accumulate.

Ctrl-C ends the run after the step, with a checkpoint. The same command, or
--resume --out FOLDER alone, goes on from there as if nothing had happened, also
after the process was killed. OUT holds config.json, tokenizer.json, log.csv,
last.safetensors and best.safetensors.

examples:
  {PROG} --data tinyshakespeare --out runs/first
  {PROG} --data book.txt --model recipe --optimizer muon --out runs/book
  {PROG} --data tinyshakespeare --model lstm --half numpy --d-model 64 \\
      --d-hidden 128 --n-steps 500 --lr 3e-3 --out runs/by-hand
  {PROG} --config runs/first/config.json --lr 3e-3 --out runs/second
  torchrun --nproc-per-node=2 -m minillm.train --data book.txt --out runs/two
then:
  python -m minillm.generate runs/first --prompt "ROMEO:"

exit status: 0 all is well; 2 something is wrong, one line says what; 130 Ctrl-C,
143 SIGTERM"""


def parser():
    """What may be asked for: an option for each field; what is not said is left out of the answer."""
    form = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog=PROG, usage="%(prog)s --data WHAT --out FOLDER [OPTION ...]", description=DESCRIPTION,
        epilog=EPILOG, formatter_class=form, allow_abbrev=False,
    )  # fmt: skip
    file = "options as JSON, by the names below with _ for -; what is said here comes before it"
    parser.add_argument("--config", metavar="FILE", type=Path, help=file)
    what = "go on with the run in --out, by its config.json"
    parser.add_argument("--resume", action="store_true", help=what)
    for title, fields in described(TrainConfig):
        group = parser.add_argument_group(title)
        for field, comment in fields:
            if field.name != "options":
                shown = show(field.default, field)
                add(group, field, f"{comment} (default: {shown})" if shown else comment)
    group = parser.add_argument_group("the model's own options")
    for field, comment, defaults in model_options():
        add(group, field, f"{comment} ({'; '.join(defaults)})")
    return parser


def described(record):
    """The fields of a record under their headings, with the comment that each has in the source."""
    fields = {field.name: field for field in dataclasses.fields(record)}
    groups = [("", [])]
    for line in inspect.getsource(record).splitlines():
        heading = re.fullmatch(r"    # (.+)", line)
        found = re.fullmatch(r"    (\w+): [^#]+(?:# (.*))?", line)
        if heading:
            groups.append((heading[1], []))
        elif found and found[1] in fields:
            groups[-1][1].append((fields[found[1]], found[2] or ""))
    return [group for group in groups if group[1]]


def model_options():
    """The fields of all models' records: each with its comment and, by model, its defaults."""
    found = {}
    for name, (record, _) in MODELS.items():
        usual = TrainConfig.make(data="-", model=name).model_config(2)
        for field, comment in chain(*(fields for _, fields in described(record))):
            if field.name not in NOT_TRAINED:
                _, _, models = found.setdefault(field.name, (field, comment, {}))
                models.setdefault(show(getattr(usual, field.name), field), []).append(name)
    for field, comment, models in found.values():
        defaults = [f"{' '.join(names)}: {value}".rstrip(": ") for value, names in models.items()]
        yield field, comment, defaults


def show(default, field):
    """A default as text; nothing where the comment tells what None means."""
    if field.default is None or default is dataclasses.MISSING:
        return ""
    return ("yes" if default else "no") if isinstance(default, bool) else str(default)


def add(group, field, text):
    """The option of one field."""
    name, types = "--" + field.name.replace("_", "-"), typing.get_args(field.type)
    kind = (types or [field.type])[0]
    options = {"help": text.replace("%", "%%"), "default": argparse.SUPPRESS}
    if kind is bool:
        group.add_argument(name, action=argparse.BooleanOptionalAction, **options)
        return
    metavar = {int: "N", float: "X", str: "WHAT"}[kind]
    if field.name in CHOICES:
        options["choices"] = CHOICES[field.name]
        metavar = None
    kind = optional(kind) if type(None) in types else kind
    group.add_argument(name, metavar=metavar, type=kind, **options)


def optional(kind):
    """A reader of numbers, or of "none"."""

    def read(text):
        return None if text.lower() == "none" else kind(text)

    read.__name__ = kind.__name__
    return read


def make_config(options):
    """The record of what is asked for: defaults, then the JSON file, then the command line."""
    resume, path = options.pop("resume"), options.pop("config")
    if resume and path is None and "out" in options:
        path = Path(options["out"]) / "config.json"
        if not path.is_file():
            raise ValueError(f"--resume: {path} is not there, expected the folder of a run")
    given = read_config(path).flat() if path else {}
    if (given | options).get("out") is None:
        raise ValueError("--out is missing, expected a folder for checkpoints and log")
    return TrainConfig.make(**given | options), resume


def main(arguments=None):
    """Run the command and return the exit status."""
    try:
        config, resume = make_config(vars(parser().parse_args(arguments)))
        bar = True if sys.stderr.isatty() else "lines"
        result = train(config, resume=resume, progress=bar)
    except KeyboardInterrupt:
        print(f"{PROG}: stopped at once; the last checkpoint is as it was", file=sys.stderr)
        return 130
    except ERRORS as error:
        return complain(PROG, error)
    if result.stopped:
        print(f"stopped at step {result.step}, saved: the same command goes on", file=sys.stderr)
        return 128 + result.stopped
    return 0


if __name__ == "__main__":
    sys.exit(main())
