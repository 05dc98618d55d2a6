"""Does everything work here? ``python -m minillm.doctor`` looks, and says what to do.

It looks at Python, the packages, processors and memory, the accelerator, the data and the disk, and
then trains a small model for two seconds, one with NumPy and one with PyTorch. Each answer is a
line; what does not work, or could work better, is followed by one line of advice. Nothing is
downloaded and nothing is written.
"""

import argparse
import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass

from minillm.terminal import ERRORS, leave

PROG = "python -m minillm.doctor"
SIGNS = {"ok": "✓", "note": "·", "problem": "✗"}
NEEDED_GB = 0.1  # of the disk: all data sets together are 20 MB
SECONDS = 1.0  # of training, for each half
T = 32  # characters in a window
EPILOG = """\
✓ works · works, but read the advice ✗ does not work
exit status: 0 if all chapters can run here, 1 if something does not work"""


__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One line of the report; as a string, with the advice on a line of its own."""

    what: str  # that was looked at
    state: str  # ok, note (it works, but read the advice) or problem (it does not)
    found: str
    advice: str = ""  # in one line

    def __str__(self):
        line = f"{SIGNS[self.state]} {self.what:<12} {self.found}"
        return f"{line}\n{'':15}{self.advice}" if self.advice else line


def python(version=sys.version_info, oldest=(3, 10)):
    """Is this Python one that the package is made for?"""
    found = f"{version[0]}.{version[1]}.{version[2]}, {platform.system()} {platform.machine()}"
    if tuple(version[:2]) < oldest:
        advice = f"Install Python {oldest[0]}.{oldest[1]} or newer, and make a new environment."
        return Finding("Python", "problem", found, advice)
    return Finding("Python", "ok", found)


def packages(requirements=None, installed=importlib.metadata.version):
    """Are the packages there, each new enough?

    Parameters
    ----------
    requirements : list of str, optional
        Such as "numpy>=1.26"; by default those that `minillm` was installed with.
    installed : function
        From a package's name to its version, or `importlib.metadata.PackageNotFoundError`.
    """
    try:
        from packaging.requirements import Requirement

        requirements = requirements or importlib.metadata.requires("minillm") or []
    except ImportError as error:
        missing = getattr(error, "name", None) or "minillm"
        advice = "In the book's folder: pip install -e ."
        return Finding("packages", "problem", f"{missing} is not installed", advice)
    found, wrong = [], []
    for requirement in map(Requirement, requirements):
        try:
            version = installed(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        found.append(f"{requirement.name} {version}")
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version}, expected {requirement.specifier}")
    if wrong:
        names = " ".join(f'"{r}"' for r in requirements)
        return Finding("packages", "problem", "; ".join(wrong), f"pip install {names}")
    main = [one for one in found if one.split()[0] in ("numpy", "torch", "matplotlib")]
    return Finding("packages", "ok", f"{', '.join(main)}, and {len(found) - len(main)} more")


def together():
    """Do PyTorch and NumPy work with each other? A PyTorch made for NumPy 1 fails beside NumPy 2."""
    import numpy as np

    try:
        import torch

        assert (torch.ones(2).numpy() + np.ones(2)).tolist() == [2, 2]
    except (*ERRORS, AssertionError, AttributeError) as error:
        advice = 'pip install --upgrade torch, or else pip install "numpy<2"'
        return Finding("PyTorch", "problem", _line(error), advice)
    return Finding("PyTorch", "ok", "imports, and shares arrays with NumPy")


def processors():
    """How many cores there are, and how many threads PyTorch takes: more than cores is slow."""
    import torch

    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    threads = torch.get_num_threads()
    found = f"{cores} usable, {threads} thread{'s' * (threads > 1)} for PyTorch"
    if threads > cores:
        advice = f"More threads than cores get in each other's way: set OMP_NUM_THREADS={cores}."
        return Finding("processors", "note", found, advice)
    if threads == 1 and cores > 2:
        advice = "Only one is used. Unset OMP_NUM_THREADS, unless you run several notebooks."
        return Finding("processors", "note", found, advice)
    return Finding("processors", "ok", found)


def accelerator(torch=None, has_nvidia=None):
    """What PyTorch can compute on, beside the processor.

    Parameters
    ----------
    torch : module, optional
        PyTorch, or what stands for it in a test.
    has_nvidia : bool, optional
        Whether this machine has an NVIDIA GPU; by default, whether its driver's tool is there.
    """
    torch = torch or importlib.import_module("torch")
    if has_nvidia is None:
        has_nvidia = shutil.which("nvidia-smi") is not None
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        found = f"{name}, {memory:.0f} GB, CUDA {torch.version.cuda}"
        try:
            assert float(torch.ones(2, device="cuda").sum()) == 2
        except (*ERRORS, AssertionError) as error:  # a build that does not know this GPU
            advice = "Install the build that the selector on pytorch.org shows for this GPU."
            return Finding("accelerator", "problem", f"{found}: {_line(error)}", advice)
        return Finding("accelerator", "ok", found)
    if torch.backends.mps.is_available():
        advice = "float64 is missing there: checks of gradients run on the processor."
        return Finding("accelerator", "note", "Apple GPU (mps)", advice)
    if has_nvidia and torch.version.cuda is None:
        advice = "Install the CUDA build that the selector on pytorch.org shows."
        found = "an NVIDIA GPU, but this PyTorch is made for the processor alone"
        return Finding("accelerator", "note", found, advice)
    if has_nvidia:
        advice = "Update the NVIDIA driver; `nvidia-smi` should list the GPU."
        found = f"an NVIDIA GPU that PyTorch for CUDA {torch.version.cuda} cannot reach"
        return Finding("accelerator", "note", found, advice)
    return Finding("accelerator", "ok", "none; every chapter runs without")


def data_sets():
    """Where the data sets are, and whether those that are not here may be downloaded."""
    from minillm.data import places
    from minillm.data.registry import DATA_SETS

    try:
        to = places.settings()
    except (ValueError, OSError) as error:
        return Finding("data", "problem", _line(error), "Correct that variable, or unset it.")
    if to.offline:
        advice = "Unset MINILLM_OFFLINE for the real data; stand-ins only show that all runs."
        return Finding("data", "note", "MINILLM_OFFLINE is set: stand-ins only", advice)
    here = sum(places.present(dataset, to) is not None for dataset in DATA_SETS.values())
    found = f"{here} of {len(DATA_SETS)} sets are here, whole"
    if here < len(DATA_SETS):
        found += "; the others are downloaded when first used"
    if to.data and here < len(DATA_SETS):
        advice = f"MINILLM_DATA lacks some: {to.data}"
        return Finding("data", "note", found, advice)
    return Finding("data", "ok", found)


def disk(folder=None, usage=shutil.disk_usage):
    """Is there room for downloads where they are kept, and may one write there?"""
    from minillm.data import places

    try:
        folder = folder or places.settings().cache
    except (ValueError, OSError) as error:
        return Finding("disk", "problem", _line(error), "Correct that variable, or unset it.")
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    free = usage(there).free / 1e9
    found = f"{free:.1f} GB free for downloads in {folder}"
    if free < NEEDED_GB or not os.access(there, os.W_OK):
        why = "full" if free < NEEDED_GB else "read-only"
        advice = "Set MINILLM_CACHE to a folder with room that can be written."
        return Finding("disk", "note", f"{found}: {why}", advice)
    return Finding("disk", "ok", found)


def training(seconds=SECONDS):
    """Train the same small model with NumPy and with PyTorch: a finding for each.

    Two layers of width 64 read 12 windows of 32 characters a step, from Python's own manual. Both
    start with the same weights, so their first losses are equal; and after a second, each must
    have learned something.
    """
    import numpy as np

    from minillm import weights
    from minillm.batches import Batch
    from minillm.config import TransformerConfig
    from minillm.data.standins.prose import manual
    from minillm.notebook import device
    from minillm.numpy_nn import optim
    from minillm.numpy_nn.transformer import Transformer
    from minillm.torch_nn import optim as torch_optim
    from minillm.torch_nn.transformer import Transformer as Twin

    text = manual(20_000)
    letters = sorted(set(text))
    ids = np.array([letters.index(letter) for letter in text])
    sizes = {"n_layer": 2, "n_head": 4, "d_model": 64, "context_length": T}
    config = TransformerConfig.recipe(vocab_size=len(letters), **sizes)
    model = Transformer(config, rng=np.random.default_rng(0))
    twin = Twin(config).to(device())
    weights.copy(model, twin)

    def steps(net, optimizer, place):
        """The losses of the steps that fit into the time."""
        draw, start = np.random.default_rng(0), time.perf_counter()
        losses = []
        while len(losses) < 5 or time.perf_counter() - start < seconds:
            starts = draw.integers(0, len(ids) - T, 12)
            windows = ids[starts[:, None] + np.arange(T + 1)]
            batch = Batch(windows[:, :-1], windows[:, 1:])
            optimizer.zero_grad()
            losses.append(float(net.loss_and_grads(batch.to(place) if place else batch)))
            optimizer.step(5e-3)
        return losses, (time.perf_counter() - start) / len(losses)

    by_hand = steps(model, optim.AdamW(model.parameters()), None)
    by_torch = steps(twin, torch_optim.AdamW(twin.parameters()), device())
    yield judge("NumPy", *by_hand, by_hand[0][0])
    yield judge(f"PyTorch on {device()}", *by_torch, by_hand[0][0])


def judge(who, losses, seconds, first):
    """What a training run says: `losses` of each step, seconds a step, and what the first should be."""
    end = sum(losses[-3:]) / 3
    found = (
        f"{who}: {len(losses)} steps of {1e3 * seconds:.0f} ms, loss {losses[0]:.2f} to {end:.2f}"
    )
    if abs(losses[0] - first) > 1e-3:
        advice = (
            f"The first loss should be {first:.3f}: reinstall PyTorch, this one computes wrongly."
        )
        return Finding("training", "problem", found, advice)
    if not end < losses[0]:  # NaN too
        advice = "The loss should have fallen: reinstall NumPy and PyTorch."
        return Finding("training", "problem", found, advice)
    return Finding("training", "ok", found)


def _line(error):
    """An error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def examine():
    """Look at everything: an iterator of `Finding`, each as soon as it is known.

    What cannot be looked at after a problem is left out: without packages, that is all the rest.

    Examples
    --------
    >>> next(examine()).what
    'Python'
    """
    yield python()
    needed = packages()
    yield needed
    if needed.state == "problem":
        return
    pair = together()
    yield pair
    if pair.state != "problem":
        yield processors()
        yield accelerator()
    yield data_sets()
    yield disk()
    if pair.state != "problem":
        yield from training()


def main(arguments=None):
    """Print the report and return the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROG, description="Look whether the book's chapters can run here, and say what to do.",
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.parse_args(arguments)
    states = []
    for finding in examine():
        print(finding, flush=True)
        states.append(finding.state)
    if "problem" in states:
        print("\nSomething does not work: do what the lines under ✗ say, the first one first.")
        return 1
    print("\nAll chapters can run here.")
    return 0


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ✓
    leave(main)
