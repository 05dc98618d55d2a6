"""Where a set's files are: the reader's own folder, the cache, the net, or nowhere.

Four environment variables steer it; ``python -m minillm.data --help`` names them too.

======================  ============================================================================
``MINILLM_DATA``        a folder with the sets in it (``<folder>/sonnets/sonnets.txt``), looked in first
``MINILLM_CACHE``       where downloads are kept, instead of the user's own cache folder
``MINILLM_MIRROR``      an http(s) address with the layout of such a folder, tried before the pinned one
``MINILLM_OFFLINE``     ``1``: nothing of this; every set is a stand-in made on the spot
======================  ============================================================================
"""

import atexit
import errno
import functools
import os
import shutil
import sys
import tempfile
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from . import standins
from .fetch import check, fetch
from .network import DownloadError
from .say import say

UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)


@dataclass(frozen=True)
class Settings:
    """The environment variables, checked."""

    data: Path | None
    cache: Path
    mirror: str | None
    offline: bool


@dataclass(frozen=True)
class Place:
    """A folder in which all of a set's files lie, checked: as real ones or as a stand-in's."""

    folder: Path
    kind: str  # "MINILLM_DATA", "cache", "temporary folder" or "stand-in"


def settings():
    """Read and check the environment variables.

    Raises
    ------
    ValueError, FileNotFoundError
        If one of them is set to something that makes no sense; the message names it.
    """
    data = os.environ.get("MINILLM_DATA") or None
    if data and not os.path.isdir(data):
        raise FileNotFoundError(
            errno.ENOENT, "MINILLM_DATA: expected a folder that exists (unset it to download)", data
        )
    mirror = os.environ.get("MINILLM_MIRROR") or None
    if mirror:
        _require_web_address(mirror)
    offline = os.environ.get("MINILLM_OFFLINE", "").lower()
    if offline not in ("", "0", "false", "no", "off", "1", "true", "yes", "on"):
        raise ValueError(f"MINILLM_OFFLINE: {offline!r}; expected 1 or 0")
    return Settings(
        data=Path(data).resolve() if data else None,
        cache=_cache().absolute(),
        mirror=mirror,
        offline=offline in ("1", "true", "yes", "on"),
    )


def _require_web_address(mirror):
    try:
        address = urllib.parse.urlsplit(mirror)
        good = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:  # a port that is no number
        good = False
    if not good:
        raise ValueError(f"MINILLM_MIRROR: {mirror!r}; expected http://… or https://…")


def _cache():
    """The folder for downloads, by the custom of the system."""
    if os.environ.get("MINILLM_CACHE"):
        return Path(os.environ["MINILLM_CACHE"])
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"], "minillm")
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(base, "minillm", "cache")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "minillm"
    return Path.home() / ".cache" / "minillm"


def locate(dataset):
    """The place of a set, found once a process: looked for, else downloaded, else made.

    Raises
    ------
    OSError
        If the disk is full.
    """
    return _locate(dataset, settings())


@functools.cache
def _locate(dataset, to):
    if to.offline:
        return stand_in(dataset, "MINILLM_OFFLINE is set")
    place = present(dataset, to)
    if place:
        return place
    try:
        return download(dataset, to)
    except DownloadError as error:
        return stand_in(dataset, str(error))


def present(dataset, to):
    """The place of a set if it is here, whole and correct; else None. Says what is damaged."""
    for kind, folder in (("MINILLM_DATA", to.data), ("cache", to.cache)):
        if folder is None or not os.path.isdir(folder / dataset.name):
            continue
        problems = {file.path: check(folder, file) for file in dataset.files}
        if not any(problems.values()):
            return Place(folder, kind)
        damaged = {path: why for path, why in problems.items() if why not in ("", "missing")}
        if damaged:
            path, why = next(iter(damaged.items()))
            say(f"not used: {folder / path}: {why}")
    return None


def download(dataset, to):
    """Download a set into the cache or, where that cannot be written, for this process only.

    Raises
    ------
    DownloadError
        If it can be had from nowhere.
    OSError
        If the disk is full.
    """
    try:
        fetch(dataset, to.cache, mirror=to.mirror)
        return Place(to.cache, "cache")
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        folder = temporary_folder()
        fetch(dataset, folder, mirror=to.mirror)
        say(
            f"{dataset.name}: kept for this run only, since {to.cache} cannot be written "
            f"({error.strerror}); set MINILLM_CACHE to a folder that can"
        )
        return Place(folder, "temporary folder")


def stand_in(dataset, reason):
    """Make a set's stand-in in a temporary folder, and say so in one line."""
    folder = temporary_folder() / "stand-ins"
    home = folder / dataset.name
    home.mkdir(parents=True, exist_ok=True)
    for name, raw in standins.make(dataset).items():
        (home / name).write_bytes(raw)
    say(f"{dataset.name}: using a made-up stand-in, not the real data ({reason})")
    return Place(folder, "stand-in")


@functools.cache
def temporary_folder():
    """A folder of this process, removed at its end."""
    folder = tempfile.mkdtemp(prefix="minillm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
