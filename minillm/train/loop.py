"""The loop: a batch, its gradients, a step; now and then a line, an evaluation, a checkpoint.

Everything that is drawn is a function of the seed and the step, and everything else that a step
depends on stands in the checkpoint: so a run that goes on gives the same losses, bit for bit.
"""

import importlib
import math
import signal
import threading
from dataclasses import dataclass, fields
from time import perf_counter
from typing import Any

import numpy as np

from minillm import schedules
from minillm.batches import Batch
from minillm.config import TrainConfig
from minillm.metrics import bits_per_byte
from minillm.tokens import Windows, evaluation_windows

from .folder import COLUMNS, RunFolder
from .parts import find_device, load_text, new_model, new_optimizer, new_rng

IGNORED = -100
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
    progress : bool
        Show a progress bar and the evaluations.

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
            return Run(config, folder, world, progress and world.is_main).go()
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
        saved = folder.saved or {"step": 0, "seconds": 0.0, "best": None, "losses": np.zeros(0)}
        self.step, self.seconds, self.best = saved["step"], saved["seconds"], saved["best"]
        self.text = load_text(config, folder.load_tokenizer())
        self.facts = {"tokens": len(self.text.train), "held out": len(self.text.held_out)}
        if folder.saved and saved["data"] != self.facts:
            raise ValueError(
                f"data = {config.data!r} has {self.facts}, expected {saved['data']} as when the "
                f"checkpoint of step {self.step} was written"
            )
        self.windows = Windows(
            self.text.train, config.window, config.batch_size,
            seed=config.seed, rank=world.rank, world=world.size,
        )  # fmt: skip
        self.device = find_device(config)
        self._make_model()
        self.losses = list(saved["losses"])  # of the steps since the last line of the log
        self.norm = saved.get("norm")

    def _make_model(self):
        """Model and optimizer, as they start or as they were saved."""
        config, saved = self.config, self.folder.saved
        wanted = config.model_config(len(self.text.tokenizer))
        self.model = (
            self.folder.load_model(wanted) if saved else new_model(config, wanted.vocab_size)
        )
        if self.device:
            self.model.to(self.device)
            names = ("precision", "compile", "checkpointing", "sdpa")
            self.world.wrap(self.model, **{name: getattr(config, name) for name in names})
        self.optimizer = new_optimizer(config, self.model)
        self.params = self.optimizer.params
        if saved:
            state = {n: saved[n] for n in saved if n.startswith("optimizer.")}
            state = {n.removeprefix("optimizer."): self._array(x) for n, x in state.items()}
            self.optimizer.load_state(state)
            if "loss_scale" in saved:
                self.model.loss_scale.copy_(self._array(saved["loss_scale"]))

    def _array(self, x):
        """An array of the half."""
        if self.device is None:
            return x
        import torch

        return torch.from_numpy(x)

    def go(self):
        """Take the steps that are left, and give the result."""
        from tqdm.auto import tqdm

        config, begun = self.config, self.step
        optim = importlib.import_module(f"minillm.{config.half}_nn.optim")
        self.bar = tqdm(initial=begun, total=config.n_steps, disable=not self.progress, unit="step")
        if self.folder.writes and not begun:
            self.text.tokenizer.save(self.folder.tokenizer)
        with self.bar, Signals() as signals:
            self.clock = perf_counter()
            while self.step < config.n_steps and not self._asked(signals):
                self._take_step(optim)
                self.bar.update()
                if self._due(config.log_every) or self._due(config.eval_every):
                    self._write_line()
                if self._due(config.save_every):
                    self._save()
            if self.step % config.save_every and self.step > begun and self.step < config.n_steps:
                self._save()
        lines = self.folder.history
        history = {c: [math.nan if row[c] is None else row[c] for row in lines] for c in COLUMNS}
        tokenizer = self.text.tokenizer
        return TrainResult(config, self.model, tokenizer, self.step, history, signals.asked)

    def _due(self, every):
        """Whether something that is done now and then, and at the end, is to be done now."""
        return self.step % every == 0 or self.step == self.config.n_steps

    def _asked(self, signals):
        """Whether a signal asked for the end; several processes ask each other, but not often."""
        if self.world.size == 1:
            return signals.asked
        return self._due(self.config.log_every) and self.world.mean(float(bool(signals.asked))) > 0

    def _take_step(self, optim):
        """One batch, its gradients, one step of the optimizer."""
        config, step = self.config, self.step
        options = {name: getattr(config, name) for name in ("label_smoothing", "z_loss")}
        if getattr(self.model.config, "dropout", 0):
            place = (step + 1, self.world.rank)
            options["rng"] = new_rng(config, *place, device=self.device or "cpu")
        self.optimizer.zero_grad()
        batch = self.windows.batch(step)
        loss = gradients(self.model, batch, n_parts=config.accumulate, **options)
        norm = optim.clip_grad_norm(self.params, config.clip or 1e30)
        half_precision = config.precision == "float16"
        fine = True  # on a GPU that is asked later, at the next line: it would have to wait here
        if half_precision or self.device in (None, "cpu"):
            fine = math.isfinite(loss) and math.isfinite(norm)
        if fine:
            self.optimizer.step(learning_rate(config, step))
            self.losses.append(loss)
            self.norm = norm
        elif not half_precision or float(self.model.loss_scale[0]) <= 1:
            self._raise_diverged(step, float(loss), float(norm))
        self.step += 1

    def _collect(self):
        """The losses since the last line as numbers; on a GPU, wait for them."""
        self.losses = [float(x) for x in self.losses]
        self.norm = None if self.norm is None else float(self.norm)
        if not all(map(math.isfinite, [*self.losses, self.norm or 0.0])):
            self._raise_diverged(self.step - 1, self.losses[-1], self.norm)
        return self.losses

    def _raise_diverged(self, step, loss, norm):
        kept = "no checkpoint was written yet"
        if self.folder.path and self.folder.last.exists():
            kept = f"{self.folder.last} is from before"
        raise FloatingPointError(
            f"loss = {loss:g} and the gradient's norm = {norm:g} at step {step}, expected finite "
            f"numbers; {kept}. A smaller lr, a longer n_warmup or a smaller clip may help"
        )

    def _write_line(self):
        """One line of the log; with an evaluation if one is due."""
        config, row = self.config, {}
        losses = self._collect()
        self._stop_clock()
        if losses:
            row = {"train_loss": float(self.world.mean(sum(losses) / len(losses)))}
        if self._due(config.eval_every):
            row["val_loss"], row["val_bits_per_byte"] = self._evaluate()
        speed = self.step * config.batch_size * config.window / max(self.seconds, 1e-9)
        row |= {"step": self.step, "seconds": self.seconds, "grad_norm": self.norm}
        row |= {"tokens": self.step * config.batch_size * config.window}
        self.folder.add(**row, lr=learning_rate(config, self.step - 1))
        self.losses = []
        shown = {n: f"{row[n]:.3f}" for n in ("train_loss", "val_loss") if n in row}
        self.bar.set_postfix(**shown, speed=f"{speed:,.0f} tokens/s", refresh=False)
        if "val_loss" in row and self.progress:
            self.bar.write(
                f"step {self.step}: train {row.get('train_loss', math.nan):.4f}, held out "
                f"{row['val_loss']:.4f} nats per token = {row['val_bits_per_byte']:.4f} bits per "
                f"byte, {speed:,.0f} tokens/s"
            )
        self.clock = perf_counter()

    def _evaluate(self):
        """Loss and bits per byte on the whole held-out text; keep the best model."""
        config, text = self.config, self.text
        loss = evaluate(self.model, text.held_out, config.window, batch_size=config.batch_size)
        bits = float(bits_per_byte(loss * (len(text.held_out) - 1), text.n_bytes))
        if self.best is None or loss < self.best:
            self.best = loss
            if self.folder.path:
                found = {"step": self.step, "val_loss": loss, "val_bits_per_byte": bits}
                self.world.save(self.folder, self.model, self.folder.best, found)
        return loss, bits

    def _save(self):
        """A checkpoint: all that the next step depends on."""
        if not self.folder.path:
            return
        losses = np.array(self._collect())
        self._stop_clock()
        extra = {f"optimizer.{n}": x for n, x in self.world.state(self.optimizer).items()}
        extra |= {"step": self.step, "seconds": self.seconds, "best": self.best, "norm": self.norm}
        extra |= {"losses": losses, "data": self.facts}
        if getattr(self.model, "loss_scale", None) is not None:
            extra["loss_scale"] = self.model.loss_scale
        self.world.save(self.folder, self.model, self.folder.last, extra)
        self.clock = perf_counter()

    def _stop_clock(self):
        """Only training counts as time; evaluation and checkpoints do not."""
        self.seconds += perf_counter() - self.clock


def learning_rate(config, step):
    """The learning rate of a step, counted from 0."""
    options = {"n_steps": config.n_steps, "n_warmup": config.n_warmup, "floor": config.floor}
    if config.schedule == "wsd":
        options["n_decay"] = config.n_decay
    return config.lr * getattr(schedules, config.schedule)(step, **options)


def gradients(model, batch, *, n_parts=1, **options):
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
    n = int((batch.targets != IGNORED).sum())
    if n == 0:
        raise ValueError("batch.targets has none that count, expected at least one")
    total = 0.0
    for rows in np.array_split(np.arange(len(batch.ids)), n_parts):
        values = [getattr(batch, field.name) for field in fields(batch)]
        part = Batch(*(value if value is None else value[rows] for value in values))
        share = int((part.targets != IGNORED).sum()) / n
        if share:
            total = total + share * model.loss_and_grads(_to(model, part), scale=share, **options)
    return total


def evaluate(model, tokens, window, *, batch_size=32):
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
    if len(tokens) < 2:
        raise ValueError(f"tokens has {len(tokens)}, expected at least 2")
    losses, counts = [], []
    for batch in evaluation_windows(tokens, window, batch_size):
        losses.append(model.loss(_to(model, batch)))
        counts.append(int((batch.targets != IGNORED).sum()))
    return sum(float(loss) * n for loss, n in zip(losses, counts, strict=True)) / sum(counts)


def _to(model, batch):
    """A batch of NumPy arrays as the model reads it."""
    return batch.to(model.device) if hasattr(model, "device") else batch


class Signals:
    """Ctrl-C and SIGTERM ask for the end, in `asked`; what comes second has its usual effect."""

    def __enter__(self):
        self.asked, self.before = None, {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame):
        self.asked = number
        self.__exit__()

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}
