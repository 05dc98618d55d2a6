"""Downloads: known sizes and SHA-256, resumed where they broke off, put in place by renaming.

A file is written to ``<name>.part`` beside its place, checked as a whole, and only then renamed, so
that under its own name there is never a half. What was interrupted stays as a ``.part`` and is gone
on with by the next attempt, by this process or a later one; a set's folder is locked meanwhile.
"""

import collections
import contextlib
import errno
import functools
import hashlib
import os
import re
import threading
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

from filelock import FileLock, Timeout
from tqdm import tqdm

from . import network
from .network import DownloadError
from .say import say

TRIES = 3
PAUSE = 0.5  # seconds before the second try; doubled before each further one
WAIT = 600.0  # seconds to wait for another process that downloads the same set
CHUNK = 1 << 16  # bytes
AT_ONCE = 8  # files of one set


def check(folder, file):
    """What is wrong with a file in a data folder; empty if nothing.

    Returns
    -------
    str
        ``""``, ``"missing"``, how size or SHA-256 differ from what they should be, or why the file
        cannot be read.
    """
    path = folder / file.path
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"{size:,} bytes, expected {file.size:,}"
        digest = _sha256(path)
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError as error:  # not ours to read, or the disk is failing
        return error.strerror
    return "" if digest == file.sha256 else f"SHA-256 {digest[:12]}…, expected {file.sha256[:12]}…"


def fetch(dataset, folder, *, mirror=None):
    """Download what a data folder lacks of a set.

    Parameters
    ----------
    dataset : DataSet
    folder : pathlib.Path
        The data folder; files come to lie at ``folder / file.path``.
    mirror : str, optional
        An address with the layout of a data folder, tried first: ``<mirror>/sonnets/sonnets.txt``.

    Raises
    ------
    DownloadError
        If a file can be had from nowhere; what was complete stays.
    OSError
        If the folder cannot be written, or the disk is full.
    """
    home = folder / dataset.name
    sources = [_from_archive if dataset.archive else _from_urls]
    if mirror:
        sources.insert(0, functools.partial(_from_urls, mirror=mirror))
    reasons = []
    with _naming_full_disk(dataset, folder):
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / ".lock"):
            for source in sources:
                missing = [file for file in dataset.files if check(folder, file)]
                if not missing:  # another process was quicker
                    return
                try:
                    return source(dataset, missing, folder)
                except DownloadError as error:
                    reasons.append(str(error))
    raise DownloadError("; ".join(reasons))


def _from_urls(dataset, files, folder, *, mirror=None):
    """Download files each from its own address, several at once."""

    def get(file):
        url = f"{mirror.rstrip('/')}/{file.path}" if mirror else file.url
        to = folder / file.path
        download(url, to, file.size, file.sha256, at=functools.partial(at, to))

    with _progress(dataset.name, files) as at, ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(get, file) for file in files]
        try:
            for job in jobs:
                job.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _from_archive(dataset, files, folder):
    """Download a zip, take the files out of it, and remove it."""
    archive = dataset.archive
    path = folder / archive.path
    with _progress(dataset.name, [archive]) as at:
        progress = functools.partial(at, path)
        download(archive.url, path, archive.size, archive.sha256, at=progress)
    try:
        for file in files:
            extract(path, file.member, folder / file.path, file.size, file.sha256)
    finally:
        path.unlink(missing_ok=True)


def download(url, target, size, sha256, *, at=lambda have: None):
    """Download one file to `target`, resuming what an earlier try left.

    Parameters
    ----------
    url : str
    target : pathlib.Path
        Replaced at the end, at one stroke, by the complete and checked file.
    size : int
        Bytes that the file must have.
    sha256 : str
        In hexadecimal digits.
    at : callable
        Told how many bytes there are, each time that changes.

    Raises
    ------
    DownloadError
        If after some tries there is no complete and correct file.
    OSError
        If the file cannot be written; then nothing is left of it.
    """
    part = target.with_name(target.name + ".part")
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        silent = False
        try:
            _stream(url, part, size, at)
            digest = _sha256(part)
            if digest == sha256:
                os.replace(part, target)
                return
            part.unlink()
            reason = f"SHA-256 {digest[:12]}…, expected {sha256[:12]}…"
        except network.Silent as error:
            reason, silent = str(error), True
        except network.Broken as error:
            reason = str(error)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
    if silent:
        network.give_up(url, reason)
    raise DownloadError(f"{url}: {reason} ({TRIES} tries)")


def extract(archive, member, target, size, sha256):
    """Take one member out of a zip; what it becomes is decided here, never by the zip.

    Raises
    ------
    DownloadError
        If the name leads out of the folder, or the member is missing, damaged, too long, or not what
        size and SHA-256 say.
    """
    parts = re.split(r"[/\\]", member)
    if ".." in parts or parts[0] == "" or ":" in parts[0]:
        raise DownloadError(f"{archive.name}: member {member!r} would leave its folder: refused")
    try:
        with zipfile.ZipFile(archive) as zipped, zipped.open(member) as stream:
            raw = stream.read(size + 1)  # no more, whatever the zip claims
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
        raise DownloadError(f"{archive.name}: {error}") from error
    if len(raw) != size or hashlib.sha256(raw).hexdigest() != sha256:
        raise DownloadError(f"{archive.name}: member {member!r} is not the file expected")
    part = target.with_name(target.name + ".part")
    try:
        part.write_bytes(raw)
        os.replace(part, target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _stream(url, part, size, at):
    """Bring `part` to its full size, from where it is if it is shorter."""
    have = part.stat().st_size if part.exists() else 0
    at(have)
    if have == size:
        return
    with network.open_from(url, have if have < size else 0, size) as response:
        with open(part, "ab") as out:
            have = out.tell() if response.status == 206 else 0  # else everything is sent
            if out.tell() > have:
                out.truncate(have)
            while have <= size and (chunk := network.read(response, CHUNK)):
                out.write(chunk)
                have += len(chunk)
                at(have)
        if have > size or (have < size and response.length is None):
            part.unlink()  # of unknown length and the wrong one: it may be anything
    if have != size:
        problem = "more than that came" if have > size else f"broke off after {have:,}"
        raise network.Broken(f"{problem}, expected {size:,} bytes")


@contextlib.contextmanager
def _naming_full_disk(dataset, folder):
    """Say what to do where there is no space left."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"no space left for {dataset.name} ({dataset.size / 1e6:.1f} MB); make room there, "
            "or set MINILLM_CACHE to a folder on another disk",
            str(folder),
        ) from error


@contextlib.contextmanager
def _locked(path):
    """Hold a lock file; the system lets go of it when a process ends, however it ends."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        say(f"waiting for another process that downloads {path.parent.name}")
        try:
            lock.acquire(timeout=WAIT)
        except Timeout:
            raise DownloadError(f"another process has held {path} for {WAIT:g} seconds") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _progress(name, files):
    """A bar in a terminal (elsewhere none); yields the function that is told how far each file is."""
    total = sum(file.size for file in files)
    with tqdm(desc=name, total=total, unit="B", unit_scale=True, disable=None) as bar:
        lock, reached = threading.Lock(), collections.Counter()

        def at(file, have):
            with lock:
                bar.update(have - reached[file])
                reached[file] = have

        yield at


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
