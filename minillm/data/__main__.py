"""The command line: what sets there are, get them, check them."""

import argparse
import os
import sys
import textwrap

from minillm.terminal import leave

from . import places
from .fetch import check, fetch
from .network import DownloadError
from .registry import DATA_SETS, find

EPILOG = """\
Sets are looked for in the folder $MINILLM_DATA, then in the cache ($MINILLM_CACHE, else the user's cache
folder), then downloaded from a pinned address, or before that from $MINILLM_MIRROR.
A folder for a class:  MINILLM_CACHE=folder python -m minillm.data get --all
then on each machine   MINILLM_DATA=folder, or serve it and set MINILLM_MIRROR=http://host:port
With MINILLM_OFFLINE=1 nothing is downloaded, and minillm.data.load gives made-up stand-ins.
exit status: 0 all is well, 1 something is missing, damaged or could not be had, 2 wrong usage"""


def main(arguments=None):
    """Run one command and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m minillm.data",
        description="The book's data sets.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="the sets: name, size, license, where it is")
    shown = commands.add_parser("describe", help="all that is known of a set")
    shown.add_argument("names", nargs="+", metavar="NAME")
    got = commands.add_parser("get", help="download sets that are not here yet")
    got.add_argument("names", nargs="*", metavar="NAME")
    got.add_argument("--all", action="store_true", help="all sets")
    verified = commands.add_parser(
        "verify", help="check size and SHA-256 of every file that is here"
    )
    verified.add_argument("names", nargs="*", metavar="NAME", help="then these must be here")
    options = parser.parse_args(arguments)
    if options.command == "get" and bool(options.names) == options.all:
        parser.error("get: expected names of sets, or --all")
    try:
        chosen = [find(name) for name in getattr(options, "names", [])] or list(DATA_SETS.values())
        to = places.settings()
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if options.command == "list":
        return list_sets(to)
    if options.command == "describe":
        print(*chosen, sep="\n\n")
        return 0
    if options.command == "get":
        return get(chosen, to)
    return verify(chosen, to, required=bool(options.names))


def list_sets(to):
    """Print a table of all sets, with the place of those that are here by the files' sizes."""
    print(f"{'name':<18} {'MB':>5}  {'license':<17} {'where':<13} what")
    for dataset in DATA_SETS.values():
        place = "not here"
        for kind, folder in (("cache", to.cache), ("MINILLM_DATA", to.data)):
            if folder and all(_size(folder / file.path) == file.size for file in dataset.files):
                place = kind
        license = dataset.license.partition(" (")[0]
        what = textwrap.shorten(dataset.what, 60, placeholder=" …")
        print(f"{dataset.name:<18} {dataset.size / 1e6:>5.2f}  {license:<17} {place:<13} {what}")
    return 0


def get(chosen, to):
    """Make sure that sets are here; print the folder of each."""
    status = 0
    for dataset in chosen:
        try:
            place = places.present(dataset, to)
            if place is None and to.offline:
                raise DownloadError("MINILLM_OFFLINE is set: nothing is downloaded")
            if place is None:
                fetch(dataset, to.cache, mirror=to.mirror)
        except (DownloadError, OSError) as error:
            print(f"{dataset.name}: {error}", file=sys.stderr)
            status = 1
        else:
            folder = place.folder if place else to.cache
            print(f"{dataset.name}: {folder / dataset.name} ({place.kind if place else 'new'})")
    return status


def verify(chosen, to, *, required):
    """Check every file in the data folder and in the cache; print what is wrong, and a line a set."""
    status = 0
    for dataset in chosen:
        found = False
        for folder in (to.data, to.cache):
            if folder is None or not os.path.isdir(folder / dataset.name):
                continue
            problems = {file.path: check(folder, file) for file in dataset.files}
            missing = [path for path, why in problems.items() if why == "missing"]
            if len(missing) == len(problems):
                continue
            found = True
            for path, why in problems.items():
                if why:
                    print(f"{folder / path}: {why}", file=sys.stderr)
                    status = 1
            verdict = "damaged" if any(problems.values()) else "ok"
            n = f"{len(problems)} file{'s' if len(problems) > 1 else ''}"
            print(f"{dataset.name}: {verdict} ({n} in {folder / dataset.name})")
        if not found:
            print(f"{dataset.name}: not here")
            status = 1 if required else status
    return status


def _size(path):
    return os.path.getsize(path) if os.path.isfile(path) else None


if __name__ == "__main__":
    leave(main)
