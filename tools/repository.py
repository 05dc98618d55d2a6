"""The book's address: it stands in pyproject.toml, and this writes it wherever else it is used.

    python tools/repository.py owner/name      on GitHub; or the whole https address of a git host
    python tools/repository.py --check         say where another address stands

Until then no address is set, no Colab button is shown, and the setup cell says what to do.
Needs nothing but Python.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETUP_CELL = '''\
REPOSITORY = "{address}"  # this book's address, filled in by `make repository NAME=owner/name`
try:
    from minillm.notebook import setup
except ModuleNotFoundError:  # in Colab, where torch and numpy stay as they are
    assert REPOSITORY, "set REPOSITORY to the address of this book's repository first"
    %pip install -q "minillm @ git+{{REPOSITORY}}"
    from minillm.notebook import setup
rng = setup(seed=0)'''


def setup_cell(address):
    """The source of every notebook's second cell."""
    return SETUP_CELL.format(address=address)


def read_address(root=ROOT):
    """The book's address, `""` until it is set."""
    found = re.search(r'^Repository = "(.*)"$', (root / "pyproject.toml").read_text("utf-8"), re.M)
    return found[1] if found else ""


def in_pyproject(text, address):
    text = re.sub(r'\[project\.urls\]\nRepository = ".*"\n\n', "", text)
    section = f'[project.urls]\nRepository = "{address}"\n\n' if address else ""
    return text.replace("[tool.", section + "[tool.", 1)


def in_citation(text, address):
    text = re.sub(r"^repository-code: .*\n", "", text, flags=re.M)
    return text + f'repository-code: "{address}"\n' if address else text


def in_readme(text, address):
    """What stands between the two marks of the README."""
    lines = ["This copy has no address yet."]
    if address:
        lines = [f"Source: <{address}>. The package alone: `pip install git+{address}`."]
    owner_and_name = address.removeprefix("https://github.com/")
    if owner_and_name != address:
        lines += [f"In Colab: <https://colab.research.google.com/github/{owner_and_name}>."]
    block = "\n".join(["<!-- address -->", *lines, "<!-- /address -->"])
    return re.sub(r"<!-- address -->.*<!-- /address -->", lambda _: block, text, flags=re.S)


def in_notebook(text, address):
    notebook = json.loads(text)
    notebook["cells"][1]["source"] = setup_cell(address).splitlines(keepends=True)
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def stale_uses(root, address):
    """The files in which another address stands, each with the text that it should hold."""
    uses = [(root / "pyproject.toml", in_pyproject)]
    uses += [(root / "CITATION.cff", in_citation), (root / "README.md", in_readme)]
    uses += [(path, in_notebook) for path in sorted((root / "notebooks").glob("*.ipynb"))]
    for path, stamped in uses:
        text = path.read_text("utf-8")
        if stamped(text, address) != text:
            yield path, stamped(text, address)


def main():
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name == "--check":
        stale = [str(path.relative_to(ROOT)) for path, _ in stale_uses(ROOT, read_address())]
        sys.exit(f"error: another address stands in {', '.join(stale)}" if stale else 0)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        name = f"https://github.com/{name}"
    if not re.fullmatch(r"https://[\w.:-]+(/[\w.~-]+)+", name):
        sys.exit("error: give the repository's name or address: make repository NAME=owner/name")
    for path, text in stale_uses(ROOT, name):
        path.write_bytes(text.encode())
        print(f"wrote {name} into {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
