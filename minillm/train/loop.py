"""The loop: a batch, its gradients, a step; now and then a line, an evaluation, a checkpoint.

Everything that is drawn is a function of the seed and the step, and everything else that a step
depends on stands in the checkpoint: so a run that goes on gives the same losses, bit for bit.
"""

import importlib
import math
import signal
import sys
import threading
from contextlib import nullcontext
from dataclasses import dataclass, fields
from time import perf_counter
from typing import Any

import numpy as np

from minillm import schedules
from minillm.batches import IGNORED, Batch
from minillm.config import TrainConfig
from minillm.metrics import bits_per_byte
from minillm.terminal import hang_up
from minillm.tokens import Windows, evaluation_windows

from .folder import COLUMNS, RunFolder
from .parts import ALONE, load_text, new_model, new_optimizer, new_rng, start_world

SHOWN = {  # of a line of the log, in the terminal
    "train_loss": "train {:.4f}, ",
    "val_loss": "held out {:.4f} nats per token, ",
    "val_bits_per_byte": "{:.4f} bits per byte, ",
}
START = {"step": 0, "seconds": 0.0, "best": None, "norm": None, "losses": []}
MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
HINTS = (
    "expected a smaller batch_size, or accumulate = 2 or more (the same result, in parts); in "
    "PyTorch also checkpointing = True, or precision = 'bfloat16'; or a smaller model"
)


@dataclass(frozen=True)
class TrainResult:
    """What `train` gives back.

    Attributes
    ----------
    config : TrainConfig
    model : LanguageModel
        After the last step; the best one is in best.safetensors.
    tokenizer : Tokenizer
    step : int
        Steps taken, less than config.n_steps if the run was interrupted.
    history : dict of list
        The columns of log.csv by name; math.nan where a line has no value.
    stopped : int or None
        The number of the signal that ended the run early.
    """

    config: TrainConfig
    model: Any
    tokenizer: Any
    step: int
    history: dict
    stopped: int | None = None

    def curve(self, name):
        """The steps and the values of one column, for plotting, where it has values.

        Parameters
        ----------
        name : str
            Such as "train_loss" or "val_loss".

        Returns
        -------
        (list of int, list of float)
        """
        pairs = zip(self.history["step"], self.history[name], strict=True)
        known = [(step, value) for step, value in pairs if not math.isnan(value)]
        return [step for step, _ in known], [value for _, value in known]


def train(config, *, resume=False, progress=True):
    """Train a model as a record says, or go on with a run that has a checkpoint.

    The first Ctrl-C (or SIGTERM) ends the run after the step, with a checkpoint; a second one ends
    it at once.

    Parameters
    ----------
    config : TrainConfig
    resume : bool
        Whether there must be a checkpoint in `config.out`. If there is one, the run goes on from
        it in any case.
    progress : bool or str
        Show a progress bar and the evaluations; "lines": these alone.

    Returns
    -------
    TrainResult

    Raises
    ------
    TypeError
        If `config` is no TrainConfig.
    ValueError
        If an option does not go with the text, the device, or the checkpoint.
    FloatingPointError
        If the loss or the gradient is no longer finite; the last checkpoint stays as it is.
    MemoryError
        If it does not fit, with advice.
    OSError
        If a file cannot be read or written; the last checkpoint stays as it is.

    Examples
    --------
    >>> config = TrainConfig.make(
    ...     data="tinyshakespeare", model="bigram", half="numpy", n_steps=20, lr=0.3, eval_every=10
    ... )
    >>> steps, losses = train(config, progress=False).curve("val_loss")
    >>> steps, losses[0] > losses[1] > 2
    ([10, 20], True)
    """
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config is a {type(config).__name__}, expected a TrainConfig")
    world = start_world(config)
    folder = RunFolder(config, resume=resume, writes=world.is_main)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # the losses are looked at
            return Run(config, folder, world, world.is_main and progress).go()
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or any(m in str(error).lower() for m in MEMORY):
            first = str(error).partition("\n")[0]
            raise MemoryError(
                f"batch_size = {config.batch_size} does not fit into memory, {HINTS} ({first})"
            ) from error
        raise
    finally:
        folder.close()
        world.close()


class Run:
    """One run: `go` from the step that it is at to the last."""

    def __init__(self, config, folder, world, progress):
        self.config, self.folder, self.world, self.progress = config, folder, world, progress
        saved = folder.saved or START
        self.step, self.seconds, self.best = saved["step"], saved["seconds"], saved["best"]
        self.losses, self.norm = list(saved["losses"]), saved["norm"]  # since the log's last line
        self.text = load_text(config, folder.load_tokenizer())
        for name, fact in self.text.facts.items():
            if folder.saved and saved["data"][name] != fact:
                raise ValueError(
                    f"data = {config.data!r}: {name} = {fact}, expected {saved['data'][name]}, as "
                    f"when the checkpoint of step {self.step} was written"
                )
        self.windows = Windows(
            self.text.train, config.window, config.batch_size,
            seed=config.seed, rank=world.rank, world=world.size,
        )  # fmt: skip
        self._make_model()

    def _make_model(self):
        """Model and optimizer, as they start or as they were saved."""
        config, saved, world = self.config, self.folder.saved, self.world
        wanted = config.model_config(self.text.vocab_size)
        load = self.folder.load_model
        self.model = load(wanted) if saved else new_model(config, wanted.vocab_size)
        if world.device:
            names = ("precision", "compile", "checkpointing", "sdpa")
            options = {name: getattr(config, name) for name in names}
            world.wrap(self.model.to(world.device), config.parallel, **options)
        self.optimizer = new_optimizer(config, self.model)
        if saved:
            start = "optimizer."
            state = {n.removeprefix(start): x for n, x in saved.items() if n.startswith(start)}
            world.load_state(self.optimizer, state)
            if "loss_scale" in saved:
                import torch

                self.model.loss_scale.copy_(torch.as_tensor(saved["loss_scale"]))

    def go(self):
        """Take the steps that are left, and give the result."""
        from tqdm.auto import tqdm

        config, begun, text = self.config, self.step, self.text
        if self.folder.writes and text.tokenizer and not begun:
            text.tokenizer.save(self.folder.tokenizer)
        hidden = self.progress is not True
        self.bar = tqdm(initial=begun, total=config.n_steps, disable=hidden, unit="step")
        if self.progress:
            n = sum(math.prod(p.shape) for p in self.optimizer.params)
            facts = [f"{x:,} {name}" for name, x in text.facts.items() if name != "sha256"]
            facts += [f"{text.vocab_size:,} different ones", f"{n:,} parameters"]
            self._say(f"step {begun:6,}: {', '.join(facts)}")
            if begun == config.n_steps:
                self._say(f"n_steps = {begun} are all taken; for more, give another folder")
        with self.bar, Signals(twice=self.world.size == 1) as signals:
            self.clock = perf_counter()
            while self.step < config.n_steps and not self._asked(signals):
                self._take_step()
                self.bar.update()
                if self._due(config.log_every) or self._due(config.eval_every):
                    self._write_line()
                if self._due(config.save_every):
                    self._save()
            if self.step > begun and not self._due(config.save_every):
                self._save()
        lines = self.folder.history
        history = {c: [math.nan if row[c] is None else row[c] for row in lines] for c in COLUMNS}
        return TrainResult(config, self.model, text.tokenizer, self.step, history, signals.asked)

    def _due(self, every):
        """Whether something that is done now and then, and at the end, is to be done now."""
        return self.step % every == 0 or self.step == self.config.n_steps

    def _asked(self, signals):
        """Whether a signal asked for the end; several processes ask each other, but not often."""
        if self.world.size == 1:
            return signals.asked
        return self._due(self.config.log_every) and self.world.sum(bool(signals.asked))[0] > 0

    def _take_step(self):
        """One batch, its gradients, one step of the optimizer."""
        config, world, model = self.config, self.world, self.model
        optim = importlib.import_module(f"minillm.{config.half}_nn.optim")
        options = {name: getattr(config, name) for name in ("label_smoothing", "z_loss")}
        if getattr(model.config, "dropout", 0):
            options["rng"] = new_rng(config, self.step + 1, world.rank, device=world.device)
        batch, parts = self.windows.batch(self.step), config.accumulate
        self.optimizer.zero_grad()
        loss = gradients(model, batch, n_parts=parts, between=world.accumulating, **options)
        norm = optim.clip_grad_norm(self.optimizer.params, config.clip or 1e30)
        half_precision, fine = config.precision == "float16", True
        if half_precision or world.device in (None, "cpu"):  # elsewhere that would be to wait
            fine = math.isfinite(norm) and (half_precision or math.isfinite(loss))
        if fine:
            self.optimizer.step(learning_rate(config, self.step))
            self.losses.append(loss)
            self.norm = norm
        elif not half_precision or float(model.loss_scale[0]) <= 1:  # not a mere overflow
            self._raise_diverged(self.step, float(loss), float(norm))
        self.step += 1

    def _collect(self):
        """The losses since the last line as numbers: where a GPU is waited for, and looked at."""
        self.losses = [float(loss) for loss in self.losses]
        self.norm = None if self.norm is None else float(self.norm)
        for step, loss in enumerate(self.losses, self.step - len(self.losses)):
            if not math.isfinite(loss + (self.norm if step == self.step - 1 else 0.0)):
                self._raise_diverged(step, loss, self.norm)
        self.seconds += perf_counter() - self.clock  # evaluation and checkpoints do not count
        return self.losses

    def _raise_diverged(self, step, loss, norm):
        saved = self.folder.path and self.folder.last.exists()
        kept = f"{self.folder.last} is from before" if saved else "no checkpoint was written yet"
        raise FloatingPointError(
            f"loss = {loss:g} and the gradient's norm = {norm:g} at step {step}, expected finite "
            f"numbers, also in the weights; {kept}. A smaller lr, a longer n_warmup or a smaller clip may help"
        )

    def _write_line(self):
        """One line of the log; with an evaluation if one is due."""
        config, losses = self.config, self._collect()
        row = {"step": self.step, "tokens": self.step * config.batch_size * config.window}
        row |= {"seconds": self.seconds, "grad_norm": self.norm}
        row["lr"] = learning_rate(config, self.step - 1)
        if losses:
            row["train_loss"] = float(self.world.mean(sum(losses) / len(losses)))
        if self._due(config.eval_every):
            row |= self._evaluate()
        self._show(row)
        self.folder.add(row)
        self.losses, self.clock = [], perf_counter()

    def _show(self, row):
        """Say how it goes, at the end of the bar; after an evaluation also in a line that stays."""
        before = (self.folder.history or [{"tokens": 0, "seconds": 0.0}])[-1]
        seconds = max(row["seconds"] - before["seconds"], 1e-9)
        known = [text.format(row[n]) for n, text in SHOWN.items() if row.get(n) is not None]
        speed = f"{(row['tokens'] - before['tokens']) / seconds:,.0f} tokens/s"
        self.bar.set_postfix_str("".join([*known, speed]), refresh=False)
        if "val_loss" in row and self.progress:
            self._say("".join([f"step {self.step:6,}: ", *known, speed]))

    def _say(self, line):
        """Print a line that stays, at once; if nobody reads any more, the run goes on in silence."""
        try:
            self.bar.write(line)
            sys.stdout.flush()
        except BrokenPipeError:
            hang_up()

    def _evaluate(self):
        """Loss and bits per byte on the whole held-out text; keep the best model."""
        config, text = self.config, self.text
        size, world = config.batch_size, self.world
        loss = evaluate(self.model, text.held_out, config.window, batch_size=size, world=world)
        if not math.isfinite(loss):
            self._raise_diverged(self.step, loss, self.norm)
        nats = loss * (len(text.held_out) - 1)
        bits = float(bits_per_byte(nats, text.n_bytes)) if text.n_bytes else None
        found = {"val_loss": loss, "val_bits_per_byte": bits}
        if self.best is None or loss < self.best:
            self.best = loss
            if self.folder.path:
                model = world.full(self.model)
                if self.folder.writes:
                    self.folder.save(model, self.folder.best, {"step": self.step, **found})
        return found

    def _save(self):
        """A checkpoint: all that the next step depends on."""
        if not self.folder.path:
            return
        extra = {"losses": np.array(self._collect()), "norm": self.norm, "best": self.best}
        extra |= {"step": self.step, "seconds": self.seconds, "data": self.text.facts}
        if getattr(self.model, "loss_scale", None) is not None:
            extra["loss_scale"] = self.model.loss_scale
        state, model = self.world.state(self.optimizer), self.world.full(self.model)
        if self.folder.writes:
            if not all(math.isfinite(p.data.sum()) for _, p in model.named_parameters()):
                self._raise_diverged(self.step, math.nan, self.norm)
            extra |= {f"optimizer.{name}": x for name, x in state.items()}
            self.folder.save(model, self.folder.last, extra)
        self.clock = perf_counter()


def learning_rate(config, step):
    """The learning rate of a step, counted from 0."""
    options = {"n_steps": config.n_steps, "n_warmup": config.n_warmup, "floor": config.floor}
    if config.schedule == "wsd":
        options["n_decay"] = config.n_decay
    return config.lr * getattr(schedules, config.schedule)(step, **options)


def gradients(model, batch, *, n_parts=1, between=None, **options):
    """Add the gradients of the mean loss over a batch, computed in parts: -> the loss, nats.

    Each part counts by its share of all targets, so that the result is that of the whole batch,
    also where some targets are ignored.

    Parameters
    ----------
    model : LanguageModel
        Of either half.
    batch : Batch
        Of NumPy arrays; a model of PyTorch gets it on its own device.
    n_parts : int
        Parts of nearly as many rows each.
    between : callable, optional
        Gives a context for all parts but the last: ``World.accumulating``.
    **options
        For `loss_and_grads`.

    Returns
    -------
    scalar
        Of the half's own kind.

    Raises
    ------
    ValueError
        If the batch has no targets that count, or does not fit the model.

    Examples
    --------
    >>> from minillm.config import BigramConfig
    >>> from minillm.numpy_nn.models import Bigram
    >>> ids = np.array([[0, 1, 2], [3, 0, 1]])
    >>> model = Bigram(BigramConfig(vocab_size=4))
    >>> loss = gradients(model, Batch(ids[:, :-1], targets=ids[:, 1:]), n_parts=2)
    >>> round(float(loss), 4)  # ln 4
    1.3863
    """
    values = [getattr(batch, field.name) for field in fields(batch)]
    pieces = np.array_split(np.arange(len(batch.ids)), min(n_parts, len(batch.ids)))
    pieces = [Batch(*(None if x is None else x[rows] for x in values)) for rows in pieces]
    counts = [int((piece.targets != IGNORED).sum()) for piece in pieces]
    counted = [(piece, n / sum(counts)) for piece, n in zip(pieces, counts, strict=True) if n]
    if not counted:
        raise ValueError("batch.targets has none that count, expected at least one")
    total = 0.0
    for i, (piece, share) in enumerate(counted, 1):
        with between(model) if between and i < len(counted) else nullcontext():
            loss = model.loss_and_grads(_to(model, piece), scale=share, **options)
        total = total + share * loss
    return total


def evaluate(model, tokens, window, *, batch_size=32, world=ALONE):
    """The mean loss over a whole text, each token but the first predicted once: -> nats per token.

    Parameters
    ----------
    model : LanguageModel
        Of either half.
    tokens : array of int (N,), or TokenFile
    window : int
        Positions that the model reads at once.
    batch_size : int
        Windows at a time, which does not change the result.
    world : distributed.World, optional
        Processes that share the work; all of them get the result.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there are fewer than two tokens.

    Examples
    --------
    >>> from minillm.config import BigramConfig
    >>> from minillm.numpy_nn.models import Bigram
    >>> model = Bigram(BigramConfig(vocab_size=4))
    >>> round(evaluate(model, np.array([0, 1, 2, 3, 0]), 3), 4)  # ln 4
    1.3863
    """
    share = {"rank": world.rank, "world": world.size}
    batches = evaluation_windows(tokens, window, batch_size, **share)
    pairs = [(model.loss(_to(model, b)), int((b.targets != IGNORED).sum())) for b in batches]
    total, n = world.sum(sum(float(loss) * n for loss, n in pairs if n), sum(n for _, n in pairs))
    return total / n


def _to(model, batch):
    """A batch of NumPy arrays as the model reads it."""
    return batch.to(model.device) if hasattr(model, "device") else batch


class Signals:
    """Ctrl-C and SIGTERM ask for the end, in `asked`; a second one has its usual effect.

    But not if `twice` is False: torchrun passes on what a terminal has already sent.
    """

    def __init__(self, *, twice=True):
        self.asked, self.twice, self.before = None, twice, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGINT, signal.SIGTERM)
            self.before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def _note(self, number, frame):
        self.asked = number
        if self.twice:
            self.__exit__()

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)
