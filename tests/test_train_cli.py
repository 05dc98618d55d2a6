"""``python -m minillm.train``: what may be asked for, what it says, and its exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minillm import weights
from minillm.config import CHOICES, TrainConfig
from minillm.generate.__main__ import main as generate
from minillm.train import __main__ as cli

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    "--half",
    "numpy",
    "--model",
    "mlp",
    "--d-model",
    "4",
    "--d-hidden",
    "8",
    "--context-length",
    "4",
    "--n-steps",
    "6",
    "--eval-every",
    "3",
    "--save-every",
    "3",
    "--batch-size",
    "4",
]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("to be, or not to be\n" * 20)
    return str(path)


def config_of(*arguments):
    config, resume = cli.make_config(vars(cli.parser().parse_args(arguments)))
    return config, resume


def says(capsys, *arguments):
    """The exit status, and the one line that says what is wrong."""
    try:
        status = cli.main(list(arguments))
    except SystemExit as stopped:
        status = stopped.code
    printed = capsys.readouterr()
    return status, printed.err.splitlines()[-1] if printed.err else printed.out


def test_trains_goes_on_and_writes(text, tmp_path, capsys):
    out = str(tmp_path / "run")
    arguments = ["--data", text, "--out", out, *SMALL]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == ["step      0", "step      3", "step      6"]
    assert "360 tokens to train on, 40 tokens held out, 9 different ones" in printed[0]
    for part in ("train ", "held out ", "nats per token", "bits per byte", "tokens/s"):
        assert part in printed[1]
    assert cli.main(arguments) == 0  # there is nothing left to do
    assert cli.main(["--resume", "--out", out]) == 0
    capsys.readouterr()
    assert generate([out, "--prompt", "to be", "-n", "5", "--seed", "0"]) == 0
    assert capsys.readouterr().out.startswith("to be")


def test_every_option_is_there_with_a_word_on_it():
    options = {a.dest: a for a in cli.parser()._actions}
    assert set(TrainConfig.make(data="-").flat()) <= set(options)
    for model in CHOICES["model"]:
        fields = vars(TrainConfig.make(data="-", model=model).model_config(2)).keys()
        assert fields - cli.NOT_TRAINED <= set(options)
    assert [name for name, a in options.items() if not a.help or a.help.startswith("(")] == []


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert max(map(len, text.splitlines())) <= 100
    for part in (
        "the text:",
        "the model:",
        "training:",
        "examples:",
        "exit status:",
        "--n-layer N",
    ):
        assert part in text
    assert "gpt2: gelu; llama: swiglu; recipe: relu2" in " ".join(text.split())


def examples():
    """The commands in the help, each in one line."""
    lines = cli.EPILOG.partition("examples:\n")[2].partition("then:")[0].replace("\\\n", " ")
    return [line.split() for line in lines.splitlines() if line.strip()]


@pytest.mark.parametrize("words", examples(), ids=lambda words: words[-1])
def test_examples_of_the_help_are_accepted(words, tmp_path, monkeypatch):
    arguments = words[words.index("minillm.train") + 1 :]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/first").mkdir(parents=True)
    (tmp_path / "runs/first/config.json").write_text('{"data": "tinyshakespeare"}')
    config, _ = config_of(*arguments)
    assert config.out == words[-1]


def test_values_reach_their_options():
    config, resume = config_of(
        *["--data", "a.txt", "--out", "r", "--model", "llama", "--n-layer", "3", "--n-kv-head", "2", "--lr", "3e-3", "--clip", "none"],
        *["--no-sdpa", "--compile", "--tied", "--optimizer", "muon", "--adam-lr", "0.01", "--window", "32"],
    )  # fmt: skip
    assert not resume
    assert config == TrainConfig(
        data="a.txt", out="r", model="llama", lr=3e-3, clip=None, sdpa=False, compile=True,
        optimizer="muon", adam_lr=0.01, window=32,
        options={"n_layer": 3, "n_kv_head": 2, "tied": True},
    )  # fmt: skip


def test_the_command_line_comes_before_the_file(tmp_path):
    file = tmp_path / "config.json"
    options = {"data": "a.txt", "model": "lstm", "d_hidden": 32, "lr": 0.1, "out": "a"}
    file.write_text(json.dumps(options))
    config, _ = config_of("--config", str(file), "--lr", "0.2", "--d-model", "16")
    assert config == TrainConfig.make(**options | {"lr": 0.2, "d_model": 16})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--data a.txt", "--out is missing, expected a folder for checkpoints and log"),
        ("--out RUN", "data is missing, expected a data set, a text file or a token file"),
        ("--data a.txt --out RUN", "data = 'a.txt', expected a text file, a token file"),
        (
            "--data a.txt --out RUN --n-step 5",
            "unrecognized arguments: --n-step 5 (--help tells more)",
        ),
        ("--data a.txt --out RUN --n-steps many", "argument --n-steps: invalid int value: 'many'"),
        ("--data a.txt --out RUN --lr fast", "argument --lr: invalid float value: 'fast'"),
        ("--data a.txt --out RUN --model original", "argument --model: invalid choice: 'original'"),
        (
            "--data a.txt --out RUN --model lstm --n-head 4",
            "n_head = 4: model = 'lstm' has no such",
        ),
        (
            "--data a.txt --out RUN --accumulate 5",
            "accumulate = 5, expected a divisor of batch_size",
        ),
        (
            "--data a.txt --out RUN --half numpy --compile",
            "compile = True, expected half = 'torch'",
        ),
        ("--resume --out RUN", "config.json is not there, expected the folder of a run"),
        ("--config GOOD", "--out is missing"),
        ("--resume", "--out is missing"),
        ("--config FILE --out RUN", "n_step = 3: model = 'gpt2' has no such option"),
        ("--config none.json --out RUN", "No such file or directory: 'none.json'"),
    ],
)
def test_bad_arguments(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text('{"data": "a.txt", "n_step": 3}')
    Path("GOOD").write_text('{"data": "a.txt"}')
    status, line = says(capsys, *arguments.split())
    assert status == 2
    assert line.startswith("python -m minillm.train: ")
    assert message in line


def test_what_differs_from_the_run_is_named(text, tmp_path, capsys):
    out = str(tmp_path / "run")
    assert cli.main(["--data", text, "--out", out, *SMALL]) == 0
    capsys.readouterr()
    status, line = says(capsys, "--resume", "--out", out, "--d-model", "8")
    assert (status, "d_model = 8, expected 4 as in" in line) == (2, True)
    status, line = says(capsys, "--data", text, "--out", out, *SMALL, "--seed", "1")
    assert (status, "seed = 1, expected 0 as in" in line) == (2, True)


def test_a_run_that_diverges_says_so_in_one_line(text, tmp_path, capsys):
    arguments = ["--data", text, "--out", str(tmp_path / "run"), *SMALL]
    arguments += ["--optimizer", "sgd", "--lr", "1e30", "--clip", "none"]
    status, line = says(capsys, *arguments)
    assert (status, "A smaller lr, a longer n_warmup" in line) == (2, True)


def test_a_reader_that_leaves_does_not_end_the_run(text, tmp_path):
    """As in ``... | head -1``; and the first line is there before the last step."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "minillm.train", "--data", text, "--out", str(out), *SMALL]
    command += ["--n-steps", "2000", "--eval-every", "10"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith("step      0: 360 tokens")
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, "")
    assert weights.load_extra(out / "last.safetensors")["step"] == 2000


def test_as_a_command(text, tmp_path):
    """With PyTorch, on the real way in; nothing but the results is printed."""
    arguments = [
        "--n-layer",
        "1",
        "--n-head",
        "2",
        "--d-model",
        "8",
        "--n-steps",
        "4",
        "--eval-every",
        "2",
        "--device",
        "cpu",
    ]
    command = [sys.executable, "-m", "minillm.train", "--data", text, "--context-length", "8"]
    command += [*arguments, "--out", str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    steps = [line.split(":")[0].split()[1] for line in done.stdout.splitlines()]
    assert steps == ["0", "2", "4"]
    assert weights.load_extra(tmp_path / "run/last.safetensors")["step"] == 4
