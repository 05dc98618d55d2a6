"""`python -m minillm.doctor`: what it says where all is well, and for each thing that may be wrong."""

import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minillm import doctor

ROOT = Path(__file__).resolve().parent.parent


def run(**env):
    return subprocess.run(  # noqa: PLW1510 - its exit status is what is tested
        [sys.executable, "-m", "minillm.doctor"], cwd=ROOT, env=os.environ | env,
        capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip


def test_a_machine_on_which_all_is_well(tmp_path):
    done = run(MINILLM_CACHE=str(tmp_path / "cache"), PYTHONIOENCODING="utf-8")
    assert done.returncode == 0 and done.stderr == "", done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith("✓ Python") and lines[-1] == "All chapters can run here."
    assert sum("training" in line for line in lines) == 2 and "✗" not in done.stdout
    assert list(tmp_path.iterdir()) == []  # nothing is written
    page = (ROOT / "book/05-1-environment.md").read_text("utf-8")
    shown = re.search(r"```console\n\$ python -m minillm.doctor\n(.*?)```", page, re.DOTALL)[1]
    assert [line[1:15] for line in shown.splitlines()] == [
        line[1:15] for line in lines if not line.startswith(" ")
    ]


def test_a_terminal_without_signs_and_a_reader_who_has_had_enough():
    done = run(PYTHONIOENCODING="ascii:strict", MINILLM_OFFLINE="1")
    assert done.returncode == 0 and "? Python" in done.stdout
    process = subprocess.Popen(
        [sys.executable, "-m", "minillm.doctor"], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 0
    process.stderr.close()


def test_a_wrong_setting_is_a_problem_and_the_rest_is_still_looked_at(tmp_path):
    done = run(MINILLM_DATA=str(tmp_path / "nowhere"), PYTHONIOENCODING="utf-8")
    assert done.returncode == 1 and "✗ data" in done.stdout and "✓ training" in done.stdout
    assert "MINILLM_DATA" in done.stdout and "Traceback" not in done.stderr


def without(name):
    def installed(asked):
        if asked == name:
            raise PackageNotFoundError(name)
        return "1.26"

    return installed


def build(*, cuda=None, available=False, mps=False, ones=torch.ones):
    """What PyTorch tells of itself on other machines."""
    properties = SimpleNamespace(total_memory=16 * 2**30)
    return SimpleNamespace(
        version=SimpleNamespace(cuda=cuda),
        cuda=SimpleNamespace(
            is_available=lambda: available,
            get_device_name=lambda: "A GPU",
            get_device_properties=lambda _: properties,
        ),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
        ones=ones,
    )


def unknown_gpu(*shape, device):
    raise RuntimeError("no kernel image is available for execution on the device")


def used(free):
    return lambda folder: SimpleNamespace(free=free)


@pytest.mark.parametrize(
    "finding, state, words",
    [
        (lambda: doctor.python((3, 9, 7)), "problem", "Install Python 3.10"),
        (lambda: doctor.python((3, 13, 0)), "ok", "3.13.0"),
        (lambda: doctor.packages(["numpy>=1.26"], without("numpy")), "problem", "numpy is missing"),
        (lambda: doctor.packages(["numpy>=2.0"], without("")), "problem", "1.26, expected >=2.0"),
        (lambda: doctor.packages(["numpy>=1.26"], without("torch")), "ok", "numpy 1.26"),
        (lambda: doctor.accelerator(build(), False), "ok", "every chapter runs without"),
        (lambda: doctor.accelerator(build(), True), "note", "Install the CUDA build"),
        (lambda: doctor.accelerator(build(cuda="12.8"), True), "note", "NVIDIA driver"),
        (lambda: doctor.accelerator(build(mps=True), False), "note", "float64 is missing"),
        (
            lambda: doctor.accelerator(build(cuda="12.8", available=True, ones=unknown_gpu), True),
            "problem",
            "Install the build",
        ),
        (
            lambda: doctor.accelerator(
                build(cuda="12.8", available=True, ones=lambda n, device: torch.ones(n)), True
            ),
            "ok",
            "A GPU, 16 GB, CUDA 12.8",
        ),
        (lambda: doctor.disk(ROOT, used(5e9)), "ok", "5.0 GB free"),
        (lambda: doctor.disk(ROOT / "not" / "yet", used(5e7)), "note", "full"),
        (lambda: doctor.judge("x", [4.0, 3.0, 2.0, 1.0], 0.1, 4.0), "ok", "loss 4.00 to 2.00"),
        (lambda: doctor.judge("x", [4.0, 4.1, 4.2, 4.3], 0.1, 4.0), "problem", "have fallen"),
        (lambda: doctor.judge("x", [4.0, np.nan], 0.1, 4.0), "problem", "have fallen"),
        (lambda: doctor.judge("x", [4.0, 3.0], 0.1, 4.1), "problem", "should be 4.100"),
    ],
)
def test_findings(finding, state, words):
    found = finding()
    assert found.state == state and words in str(found)
    assert (found.state == "ok") == (found.advice == "") and "\n" not in found.advice


def test_threads_that_do_not_fit(monkeypatch):
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert "OMP_NUM_THREADS=1" in doctor.processors().advice
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert "Unset OMP_NUM_THREADS" in doctor.processors().advice


def test_pytorch_that_cannot_share_arrays(monkeypatch):
    def broken(*shape):
        raise RuntimeError("Numpy is not\navailable")

    monkeypatch.setattr(torch, "ones", broken)
    found = doctor.together()
    assert found.state == "problem" and found.found == "Numpy is not available"


def test_offline_and_incomplete_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("MINILLM_OFFLINE", "1")
    assert "stand-ins" in doctor.data_sets().found
    monkeypatch.setenv("MINILLM_OFFLINE", "0")
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    monkeypatch.setenv("MINILLM_DATA", str(tmp_path))
    found = doctor.data_sets()
    assert found.state == "note" and found.found.startswith("0 of") and str(tmp_path) in found.advice
    monkeypatch.delenv("MINILLM_DATA")
    assert doctor.data_sets().state == "ok"


def test_nothing_is_looked_at_without_packages(monkeypatch):
    missing = doctor.Finding("packages", "problem", "numpy is missing", "pip install numpy")
    monkeypatch.setattr(doctor, "packages", lambda: missing)
    assert [finding.what for finding in doctor.examine()] == ["Python", "packages"]
