"""Which data sets there are: where each comes from, under which terms, and how it is checked."""

import difflib
import inspect
import json
import textwrap
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources

from .parse import PARSERS


@dataclass(frozen=True)
class File:
    """One file of a set, known by its size and SHA-256."""

    path: str  # inside a data folder, as in "sonnets/sonnets.txt"
    size: int  # bytes
    sha256: str
    url: str  # where it lies, at a fixed commit
    member: str | None = None  # its name in the zip at `url`, where `url` is a zip

    @property
    def name(self):
        """The file's name without its folder."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, eq=False)
class DataSet:
    """What is known of a set without loading it; printed, it reads as a card."""

    name: str
    what: str
    rows: int  # as `load` returns them, counted in `row_unit`
    row_unit: str
    license: str
    license_url: str
    attribution: str  # to be printed with copies and results
    notes: str
    source: str  # the repository that the files come from
    files: tuple[File, ...]
    splits: dict  # split -> patterns of file names; empty where the set has no splits
    data_files: tuple[str, ...]  # patterns of the files that hold records
    classes: tuple[str, ...]  # the labels or tags, in the order of the set's makers
    archive: File | None  # the zip that the files are members of

    @property
    def size(self):
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def returns(self):
        """The type that `load` returns, as text."""
        returned = inspect.signature(PARSERS[self.name]).return_annotation
        inner = getattr(returned, "__args__", ())
        return f"list of {inner[0].__name__}" if inner else returned.__name__

    @property
    def parsed(self):
        """How the files become records."""
        return " ".join(inspect.getdoc(PARSERS[self.name]).split())

    def files_of(self, split=None):
        """The files that hold the records of a split, or of the whole set.

        Raises
        ------
        ValueError
            Where the set has no such split.
        """
        if split is None:
            patterns = [p for ps in self.splits.values() for p in ps] or self.data_files
        elif isinstance(split, str) and split in self.splits:
            patterns = self.splits[split]
        else:
            allowed = " or ".join(["None", *(repr(name) for name in self.splits)])
            raise ValueError(f"split: {split!r}; {self.name!r} expects {allowed}")
        return [f for f in self.files if any(fnmatchcase(f.name, p) for p in patterns)]

    def __str__(self):
        n = len(self.files)
        rows = {
            "rows": f"{self.rows:,} {self.row_unit}",
            "size": f"{self.size / 1e6:.2f} MB in {n} file{'s' if n > 1 else ''}",
            "splits": ", ".join(self.splits) or "none",
            "returns": self.returns,
            "parsed": self.parsed,
            "notes": self.notes or "none",
            "license": f"{self.license} ({self.license_url})",
            "source": self.source,
            "attribution": self.attribution,
        }
        lines = [_wrapped(f"{self.name}: {self.what}", "", "  ")]
        lines += [_wrapped(value, f"  {key:<12} ", " " * 15) for key, value in rows.items()]
        return "\n".join(lines)

    __repr__ = __str__


def _wrapped(text, first, rest):
    """A paragraph of 88 characters a line; a long address is not broken."""
    return textwrap.fill(
        text,
        88,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def find(name):
    """The set of that name.

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If there is no such set; the message names those there are, and the nearest.
    """
    if not isinstance(name, str):
        raise TypeError(f"name: {name!r}; expected a string, one of {', '.join(DATA_SETS)}")
    if name not in DATA_SETS:
        near = difflib.get_close_matches(name, DATA_SETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"name: {name!r}; expected one of {', '.join(DATA_SETS)}{hint}")
    return DATA_SETS[name]


def _read(entry):
    """One entry of ``registry.json`` as a `DataSet`.

    A file stands there as [name, size, SHA-256] and, where that differs from its name, the rest of
    its address after `base_url`, or its name in the zip.
    """
    folder, archive = entry["name"], entry.get("archive")
    files = []
    for name, size, sha256, *rest in entry["files"]:
        remote = rest[0] if rest else name
        url = archive["url"] if archive else entry["base_url"] + remote
        files.append(File(f"{folder}/{name}", size, sha256, url, remote if archive else None))
    if archive:
        archive = File(
            f"{folder}/{archive['url'].rpartition('/')[2]}",
            archive["size"],
            archive["sha256"],
            archive["url"],
        )
    return DataSet(
        name=folder,
        what=entry["what"],
        rows=entry["rows"],
        row_unit=entry["row_unit"],
        license=entry["license"],
        license_url=entry["license_url"],
        attribution=entry["attribution"],
        notes=entry["notes"],
        source=f"https://github.com/{entry['repo']} at commit {entry['commit'][:12]}",
        files=tuple(files),
        splits=entry.get("splits", {}),
        data_files=tuple(entry.get("data_files", ["*"])),
        classes=tuple(entry.get("classes", ())),
        archive=archive,
    )


DATA_SETS = {
    entry["name"]: _read(entry)
    for entry in json.loads(resources.files(__package__).joinpath("registry.json").read_bytes())
}
