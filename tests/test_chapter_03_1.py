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


def literals(start):
    """The values of the chapter's cells whose source starts so."""
    sources = [cell.source for cell in read(CHAPTER).cells if cell.source.startswith(start)]
    assert sources, f"the chapter has no cell that starts with {start}"
    return [ast.literal_eval(ast.parse(source).body[0].value) for source in sources]


def recorded():
    """The table of accuracies that the chapter draws, by task."""
    (tables,) = literals("RECORDED =")
    (tables["banking77"],) = literals('RECORDED["banking77"]')
    return tables


def runs_of(column):
    """What the benchmark recorded on the test, one list of draws for each task, method and n."""
    runs = defaultdict(list)
    with RESULTS.open() as file:
        for row in csv.DictReader(file):
            if row["part"] == "test" and row[column]:
                runs[row["task"], row["method"], int(row["n"])].append(float(row[column]))
    return runs


def test_the_recorded_run_is_the_one_of_the_benchmark():
    runs, seen = runs_of("accuracy"), 0
    for task, table in recorded().items():
        for method in set(table) - {"labels"}:
            for n, (mean, low, high) in zip(table["labels"], table[method], strict=True):
                draws = [100 * x for x in runs[task, method, n]]
                right = statistics.mean(draws), min(draws), max(draws)
                np.testing.assert_allclose((mean, low, high), right, atol=0.051)
                assert len(draws) == 5
                seen += 1
    assert seen == len(runs) == 35


def test_what_is_forgotten_is_what_the_benchmark_recorded():
    runs, (tables,) = runs_of("lm_loss"), literals("FORGOT")
    (before,) = {x for key, draws in runs.items() if key[1] == "frozen" for x in draws}
    assert "3.74 nats" in prose(CHAPTER) and round(before, 2) == 3.74
    for task, table in tables.items():
        for method, lost in table.items():
            for n, value in zip(recorded()[task]["labels"], lost, strict=True):
                mean = statistics.mean(runs[task, method, n])
                assert abs(mean - before - value) < 0.0051


def test_pre_training_helps_in_every_draw_of_the_questions_and_words_win_with_10_labels():
    runs = runs_of("accuracy")
    for n in (10, 30):
        full, scratch = (runs["banking77", method, n] for method in ("full", "scratch"))
        assert all(a > b for a, b in zip(full, scratch, strict=True))
    words, full = (runs["banking77", method, 10] for method in ("words", "full"))
    assert all(a > b for a, b in zip(words, full, strict=True))


def test_the_settings_are_those_that_did_best_on_validation_texts():
    best, used = defaultdict(list), defaultdict(set)
    with RESULTS.open() as file:
        for row in csv.DictReader(file):
            key = row["task"], row["method"]
            if row["part"] == "validation":
                best[key].append((float(row["accuracy"]), row["settings"]))
            else:
                used[key].add(row["settings"])
    assert len(used) == 10
    for key, (settings,) in used.items():
        top = max(best[key])[0]
        assert settings in {s for accuracy, s in best[key] if accuracy == top}, key


def test_numbers_on_paper():
    text = prose(CHAPTER)
    assert "9,216" in text and 96 * 96 == 9216
    assert "192 numbers" in text and 2 * 96 == 192
