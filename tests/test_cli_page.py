"""The page of the command lines shows what they print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "book/api/cli.md").read_text("utf-8")
MODULES = ("minillm.train", "minillm.generate", "minillm.data")


def words(text):
    """Without line breaks and the quotes of choices, which differ between Pythons and terminals."""
    return text.replace("'", "").split()


@pytest.mark.parametrize("module", MODULES)
def test_help_on_the_page_is_the_real_one(module):
    shown = re.search(rf"## python -m {re.escape(module)}\n.*?```text\n(.*?)```", PAGE, re.DOTALL)
    command = [sys.executable, "-m", module, "--help"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert words(shown[1]) == words(printed)


def test_commands_of_the_session_are_accepted(tmp_path, monkeypatch):
    from minillm.generate import __main__ as generate
    from minillm.train import __main__ as train

    monkeypatch.chdir(tmp_path)
    Path("runs/first").mkdir(parents=True)
    Path("runs/first/config.json").write_text('{"data": "tinyshakespeare"}')
    commands = re.findall(r"^\$ python -m minillm\.(\w+) (.+)$", PAGE, re.MULTILINE)
    assert {name for name, _ in commands} == {"train", "generate"}
    for name, line in commands:
        arguments = line.replace('"', "").split()
        options = vars({"train": train, "generate": generate}[name].parser().parse_args(arguments))
        if name == "train":
            config, _ = train.make_config(options)
            assert config.out == "runs/first"
