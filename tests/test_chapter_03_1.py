"""Chapter 3.1: what it builds equals the package's, and the recorded run is the one it draws."""

import ast
import csv
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
from chapters import built, prose, read

from minillm.numpy_nn.gradcheck import gradcheck
from minillm.numpy_nn.layers import Linear
from minillm.numpy_nn.lora import LoRALinear

CHAPTER = "03-1-pretrain-finetune"
BUILT = built(CHAPTER)
RESULTS = Path(__file__).parent.parent / "benchmarks" / "finetuning.csv"


def test_lora_is_the_packages():
    rng = np.random.default_rng(0)
    base = Linear(5, 4, bias=False, rng=rng).to("float64")
    layer = LoRALinear(base, rank=2, alpha=3.0, rng=rng)
    layer.B.data = rng.normal(size=(4, 2))
    layer.zero_grad()
    x, dy = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 3, 4))
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    built_y, built_cache = BUILT["lora_forward"](
        x, base.weight.data, layer.A.data, layer.B.data, 1.5
    )
    built_dx, dA, dB = BUILT["lora_backward"](dy, built_cache)
    for ours, theirs in [(built_y, y), (built_dx, dx), (dA, layer.A.grad), (dB, layer.B.grad)]:
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    gradcheck(lambda x: (layer.forward(x)[0] * dy).sum(), x, built_dx)


def test_targets_are_the_text_one_step_ahead():
    ids = np.array([[5, 2, 7, 3], [4, 6, 0, 0]])
    mask = np.array([[True] * 4, [True, True, False, False]])
    right = [[2, 7, 3, -100], [6, -100, -100, -100]]
    assert BUILT["next_token_targets"](ids, mask).tolist() == right
    assert ids.tolist() == [[5, 2, 7, 3], [4, 6, 0, 0]]


def recorded():
    """The numbers that the chapter draws."""
    for cell in read(CHAPTER).cells:
        if cell.source.startswith("RECORDED"):
            return ast.literal_eval(ast.parse(cell.source).body[0].value)
    raise AssertionError("the chapter has no cell that starts with RECORDED")


def test_the_recorded_run_is_the_one_of_the_benchmark():
    runs = defaultdict(list)
    with RESULTS.open() as file:
        for row in csv.DictReader(file):
            runs[row["task"], row["method"], int(row["n"])].append(100 * float(row["accuracy"]))
    for task, table in recorded().items():
        for method, means in table.items():
            if method != "labels":
                for n, mean in zip(table["labels"], means, strict=True):
                    assert abs(statistics.mean(runs[task, method, n]) - mean) < 0.051


def test_numbers_on_paper():
    text = prose(CHAPTER)
    assert "9,216" in text and 96 * 96 == 9216
    assert "192 numbers" in text and 2 * 96 == 192
