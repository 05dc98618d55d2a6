"""The folder of a run: its options, its log, its checkpoints, whole at every moment."""

import csv
import dataclasses
import os
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from minillm import weights
from minillm.config import TrainConfig
from minillm.files import replacing
from minillm.tokenizer import Tokenizer

COLUMNS = (
    "step", "tokens", "seconds", "lr", "train_loss", "grad_norm", "val_loss", "val_bits_per_byte",
)  # fmt: skip
MAY_DIFFER = {  # when a run goes on: what leaves the result as it is, but for rounding
    "out", "device", "compile", "checkpointing", "sdpa", "fused", "accumulate", "parallel",
    "save_every", "tensorboard",
}  # fmt: skip


class RunFolder:
    """What a run leaves behind in `config.out`; with None, the history in memory alone.

    Attributes
    ----------
    history : list of dict
        The lines of log.csv.
    saved : dict or None
        What the last checkpoint holds beside the model.

    Raises
    ------
    ValueError
        If there is a checkpoint of a run with other options, or none to resume.
    OSError
        If it cannot be written, or another run is at work there.
    """

    def __init__(self, config, *, resume=False, writes=True):
        self.config, self.history, self.saved, self.events = config, [], None, None
        self.path = Path(config.out) if config.out else None
        self.writes = writes and self.path is not None
        if self.path is None:
            if resume:
                raise ValueError("resume = True with out = None, expected the folder of a run")
            return
        self.last, self.best = self.path / "last.safetensors", self.path / "best.safetensors"
        self.tokenizer, self.log = self.path / "tokenizer.json", self.path / "log.csv"
        if self.writes:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                expected = "expected a folder that can be made and written"
                raise type(error)(f"out = {config.out!r}, {expected}: {error.strerror}") from None
            self.lock = FileLock(self.path / ".lock")
            try:
                self.lock.acquire(timeout=0)
            except Timeout:
                message = f"out = {config.out!r}: another run is at work there, expected none"
                raise BlockingIOError(message) from None
        if self.last.exists():
            self._check_same()
            self.saved = weights.load_extra(self.last)
        elif resume:
            raise ValueError(f"resume = True, but {self.last} is not there, expected a checkpoint")
        elif self.writes:
            self._check_ours()
        if self.writes:
            self._tidy()

    def _check_same(self):
        """Raise unless the run that left a checkpoint here had the same options."""
        path = self.path / "config.json"
        ours, theirs = map(_all_options, (self.config, read_config(path)))
        for name in ours | theirs:
            value, expected = ours.get(name), theirs.get(name)
            if name not in MAY_DIFFER and value != expected:
                raise ValueError(
                    f"{name} = {value!r}, expected {expected!r} as in {path}, to go on with that "
                    f"run; for another, give another folder than out = {self.config.out!r}"
                )

    def _check_ours(self):
        """Raise unless what is to be replaced in a folder without a checkpoint is a run's own."""
        path = self.path / "config.json"
        found = [p for p in (path, self.best, self.log, self.tokenizer) if p.exists()]
        try:
            if found:
                read_config(path)
        except (OSError, ValueError):
            raise ValueError(
                f"out = {self.config.out!r} holds {found[0].name}, but no training run, expected "
                "a new folder, so that nothing is lost"
            ) from None
        if self.best.exists():  # of a run that ended before its first checkpoint
            self._check_same()

    def _tidy(self):
        """Make the folder as it was at the last checkpoint; without one, as for a new run."""
        old = () if self.saved else (self.best, self.log, self.tokenizer)
        for path in [*self.path.glob("*.part"), *old]:  # a part is what a killed process left
            path.unlink(missing_ok=True)
        _write_text(self.path / "config.json", self.config.to_json())
        step = self.saved["step"] if self.saved else 0
        self.history = [row for row in read_log(self.log) if row["step"] <= step]
        _write_text(self.log, "".join(map(_line, [dict(zip(COLUMNS, COLUMNS)), *self.history])))
        if self.config.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                install = "is not installed: python -m pip install tensorboard"
                raise ImportError(f"tensorboard = True, but TensorBoard {install}") from None
            self.events = SummaryWriter(str(self.path), purge_step=step + 1)

    def load_tokenizer(self):
        """The tokenizer of an earlier start; None if there was none."""
        return Tokenizer.load(self.tokenizer) if self.saved and self.tokenizer.exists() else None

    def load_model(self, expected):
        """The model of the last checkpoint; raise ValueError unless its record is as expected."""
        model = weights.load(self.last, half=self.config.half)
        if model.config != expected:
            raise ValueError(f"{self.last} holds {model.config}, expected {expected}")
        return model

    def add(self, row):
        """Add a line to the log."""
        row = {name: row.get(name) for name in COLUMNS}
        self.history.append(row)
        if self.writes:
            with _blaming(self.log), open(self.log, "a", encoding="utf-8") as file:
                file.write(_line(row))
        for name in COLUMNS[2:] if self.events else ():
            if row[name] is not None:
                self.events.add_scalar(name, row[name], row["step"])

    def save(self, model, path, extra):
        """Write a checkpoint, whole or not at all; the log before it reaches the disk first.

        Raises
        ------
        OSError
            If there is no room, say; then the one before it is as it was.
        """
        with _blaming(path):
            with open(self.log, "ab") as file:
                os.fsync(file.fileno())
            weights.save(model, path, extra=extra)

    def close(self):
        """Let other runs have the folder."""
        if self.events:
            self.events.close()
        if self.writes:
            self.lock.release()


def read_config(path):
    """The record in a config.json; raise ValueError, which names the file, if it holds none."""
    try:
        return TrainConfig.from_json(Path(path).read_text("utf-8"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _all_options(config):
    """All options by name, also those of the model that were not said."""
    model = dataclasses.asdict(config.model_config(vocab_size=2))
    return {name: x for name, x in model.items() if name != "vocab_size"} | config.flat()


def read_log(path):
    """The lines of a log.csv: a list of dict, by column, None where nothing is said.

    A last line that was cut off, since its process was killed, is left out, as is a missing file.
    """
    text = Path(path).read_text("utf-8") if Path(path).exists() else ""
    rows = []
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        values = {name: float(row[name]) if row[name] else None for name in COLUMNS}
        rows.append(values | {name: int(row[name]) for name in ("step", "tokens")})
    return rows


def _line(row):
    """One line of log.csv, from which every number comes back as it was."""
    return ",".join("" if row[name] is None else str(row[name]) for name in COLUMNS) + "\n"


def _write_text(path, text):
    """Write a file at one stroke."""
    with _blaming(path), replacing(path) as file:
        file.write(text.encode())


@contextmanager
def _blaming(path):
    """Say which file could not be written, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        kept = "what was saved before is as it was"
        message = f"{path} could not be written: {error.strerror}; {kept}"
        raise OSError(error.errno, message) from error
