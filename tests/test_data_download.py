"""Downloads from a server on this machine that breaks off, corrupts, stalls, redirects and refuses.

Two things must hold whatever happens: a file under its own name is complete and correct, and the
reader is told in one line what went wrong.
"""

import dataclasses
import errno
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from data_server import Server, file_of, isolate, serve, serve_zip

from minillm import data
from minillm.data import fetch, network, places, registry

TEXT = random.Random(0).randbytes(200_000).hex().encode()  # 400,000 bytes
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def plays(server, monkeypatch):
    """tinyshakespeare as the server has it."""
    dataset = serve(server, "tinyshakespeare", {"input.txt": TEXT})
    monkeypatch.setitem(registry.DATA_SETS, "tinyshakespeare", dataset)
    return dataset


PATH = "tinyshakespeare/input.txt"


def get(dataset, cache, mirror=None):
    """Download a set; afterwards its one file is there, right, and alone but for the lock."""
    fetch.fetch(dataset, cache, mirror=mirror)
    assert (cache / PATH).read_bytes() == TEXT
    assert {path.name for path in (cache / "tinyshakespeare").iterdir()} <= {"input.txt", ".lock"}


def refuse(dataset, cache, *words):
    """The download fails with these words, and no file appears."""
    with pytest.raises(fetch.DownloadError) as caught:
        fetch.fetch(dataset, cache)
    for word in words:
        assert word in str(caught.value)
    assert not (cache / PATH).exists()


def test_load_downloads_once_and_says_nothing(server, plays, cache, capfd):
    assert data.load("tinyshakespeare") == TEXT.decode()
    assert data.is_real("tinyshakespeare")
    places._locate.cache_clear()
    network._OUT_OF_REACH.clear()
    assert data.load("tinyshakespeare") == TEXT.decode()
    assert data.path("tinyshakespeare", "input.txt") == cache / PATH
    assert server.log == [(PATH, None, 200)]
    assert capfd.readouterr() == ("", "")


MENDED = [
    "break off", "unmarked end", "stall", "silent", "hang up", "corrupt", "other file", "endless",
    "no range", "other range", "500",
]  # fmt: skip


def test_any_two_mishaps_in_a_row_are_survived(server, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "SILENCE", 1.0)

    def survives(mishaps):
        name = "-".join(mishaps).replace(" ", "_")
        server.files[name], server.mishaps[name] = TEXT, list(mishaps)
        file = file_of(server, name, TEXT)
        try:
            fetch.download(file.url, tmp_path / name, file.size, file.sha256)
        except fetch.DownloadError as error:
            return str(error)
        return (tmp_path / name).read_bytes() == TEXT or f"{name}: other bytes"

    pairs = list(itertools.product(MENDED, MENDED))
    with ThreadPoolExecutor(16) as pool:
        failures = [outcome for outcome in pool.map(survives, pairs) if outcome is not True]
    assert failures == []
    assert len(list(tmp_path.iterdir())) == len(pairs)  # no parts are left
    spared = {name for name, queue in server.mishaps.items() if queue}
    assert all(name.startswith(("no_range", "other_range")) for name in spared)  # harmless at first


@pytest.mark.parametrize("status", ["408", "425", "429", "500", "502", "503", "504"])
def test_a_status_that_may_pass(server, plays, cache, status):
    server.mishaps[PATH] = [status]
    get(plays, cache)


@pytest.mark.parametrize(
    "mishap, words",
    [
        ("404", "HTTP 404"),
        ("403", "HTTP 403"),
        ("410", "HTTP 410"),
        ("redirect file:///etc/hosts", "not allowed"),
        ("redirect http://127.0.0.1:1/", "refused"),
    ],
)
def test_what_no_second_try_can_mend(server, plays, cache, mishap, words):
    server.mishaps[PATH] = [mishap] * 9
    refuse(plays, cache, words)
    if mishap.isdigit():
        assert len(server.log) == 1


@pytest.mark.parametrize(
    "mishap, words",
    [
        ("500", "HTTP 500"),
        ("corrupt", "SHA-256"),
        ("other file", "27 bytes offered"),
        ("endless", "more than that came, expected 400,000"),
        ("hang up", "closed connection"),
        ("stall", "no answer"),
    ],
)
def test_gives_up_after_three_tries_and_says_why(server, plays, cache, mishap, words):
    server.mishaps[PATH] = [mishap] * 9
    refuse(plays, cache, words, "3 tries")
    assert len(server.log) == fetch.TRIES


def test_a_failing_encryption_is_not_tried_again(server, plays, cache):
    (file,) = plays.files
    file = dataclasses.replace(file, url=file.url.replace("http:", "https:"))  # it speaks http
    refuse(dataclasses.replace(plays, files=(file,)), cache, "SSL")
    assert server.accepted == 2  # one to see that it is there


def test_redirects_are_followed_and_keep_the_range(server, plays, cache):
    server.files["elsewhere"] = TEXT
    server.mishaps[PATH] = [f"redirect {server.url}/elsewhere"] * 2
    server.mishaps["elsewhere"] = ["break off"]
    get(plays, cache)
    half = f"bytes={len(TEXT) // 2}-"
    assert server.log[1::2] == [("elsewhere", None, 200), ("elsewhere", half, 206)]


def test_a_circle_of_redirects_ends(server, plays, cache):
    server.mishaps[PATH] = [f"redirect {server.url}/{PATH}"] * 100
    refuse(plays, cache, "HTTP 302")
    assert len(server.log) < 20


def test_only_the_rest_is_asked_for(server, plays, cache):
    server.mishaps[PATH] = ["break off"] * 2
    get(plays, cache)
    first = len(TEXT) // 2
    second = first + (len(TEXT) - first) // 2
    asked = [(None, 200), (f"bytes={first}-", 206), (f"bytes={second}-", 206)]
    assert [entry[1:] for entry in server.log] == asked


def test_bytes_from_another_place_are_not_joined_on(server, plays, cache, monkeypatch):
    monkeypatch.setattr(fetch, "TRIES", 2)
    server.mishaps[PATH] = ["break off", "other range"]
    get(plays, cache)
    assert [asked for _, asked, _ in server.log] == [None, f"bytes={len(TEXT) // 2}-", None]


@pytest.mark.parametrize("mishap", ["break off", "stall"])
def test_a_later_process_resumes_what_failed(server, plays, cache, mishap):
    server.mishaps[PATH] = [mishap, "404"]
    with pytest.raises(fetch.DownloadError):
        fetch.fetch(plays, cache)
    assert (cache / f"{PATH}.part").stat().st_size == len(TEXT) // 2
    get(plays, cache)
    assert server.log[-1] == (PATH, f"bytes={len(TEXT) // 2}-", 206)


@pytest.mark.parametrize(
    "left, requests",
    [
        (TEXT[:1000], 1),
        (TEXT, 0),  # complete, but not yet renamed
        (b"x" * 1000, 2),  # wrong: found out at the end, then from the beginning
        (b"x" * len(TEXT), 1),
        (TEXT + b"more", 1),
        (b"", 1),
    ],
    ids=["some", "all", "some wrong", "all wrong", "too much", "nothing"],
)
def test_a_part_left_by_somebody_is_used_only_if_it_is_right(server, plays, cache, left, requests):
    part = cache / f"{PATH}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    get(plays, cache)
    assert len(server.log) == requests


def test_a_file_that_shrank_on_the_server(server, plays, cache):
    (cache / PATH).parent.mkdir(parents=True)
    (cache / f"{PATH}.part").write_bytes(TEXT[:5000])
    server.files[PATH] = TEXT[:3000]
    refuse(plays, cache, "3,000 bytes offered, expected 400,000")
    assert (PATH, "bytes=5000-", 416) in server.log


SCRIPT = """
    import dataclasses, sys
    from minillm import data
    from minillm.data import registry
    url, size, sha256 = sys.argv[1:]
    file = registry.File("tinyshakespeare/input.txt", int(size), sha256, url)
    plays = dataclasses.replace(registry.DATA_SETS["tinyshakespeare"], files=(file,))
    registry.DATA_SETS["tinyshakespeare"] = plays
    """


def start(
    dataset, *, code='print(len(data.load("tinyshakespeare")), data.is_real("tinyshakespeare"))'
):
    """A process of its own that loads the set."""
    (file,) = dataset.files
    script = textwrap.dedent(SCRIPT) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, file.url, str(file.size), file.sha256],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_killed_in_the_middle_nothing_half_is_used_and_the_rest_is_fetched(server, plays, cache):
    server.mishaps[PATH] = ["stall"]
    part = cache / f"{PATH}.part"
    process = start(plays)
    wait_until(lambda: part.exists() and part.stat().st_size > 100_000)
    process.kill()  # no chance to tidy up
    process.communicate()
    assert not (cache / PATH).exists()
    have = part.stat().st_size
    assert data.load("tinyshakespeare") == TEXT.decode()
    assert server.log == [(PATH, None, 200), (PATH, f"bytes={have}-", 206)]
    assert not part.exists()


def test_two_processes_at_once_download_once(server, plays, cache):
    server.delay = 0.5
    processes = [start(plays) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in answers] == ["400000 True"] * 2
    assert [err for _, err in answers if "waiting" not in err] in ([], [""], ["", ""])
    assert server.log == [(PATH, None, 200)]


def test_many_threads_at_once(server, plays, cache):
    server.delay = 0.1
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(data.load("tinyshakespeare")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [TEXT.decode()] * 8
    assert len(server.log) == 1


def test_a_process_that_holds_the_set_too_long_is_named(server, plays, cache, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "WAIT", 0.1)
    (cache / "tinyshakespeare").mkdir(parents=True)
    with fetch.FileLock(cache / "tinyshakespeare" / ".lock"):
        refuse(plays, cache, "another process has held", ".lock")
    assert "waiting for another process that downloads tinyshakespeare" in capsys.readouterr().err
    get(plays, cache)


def test_nine_hundred_files(server, monkeypatch, cache):
    files = {file.name: file.name.encode() for file in registry.DATA_SETS["fsdd"].files}
    dataset = serve(server, "fsdd", files)
    victim = dataset.files[450]
    server.mishaps[victim.path] = ["404"]
    with pytest.raises(fetch.DownloadError, match="HTTP 404"):
        fetch.fetch(dataset, cache)
    before = len(server.log)
    kept = {file.path for file in dataset.files if not fetch.check(cache, file)}
    assert 450 <= len(kept) < 900
    fetch.fetch(dataset, cache)
    asked = {path for path, *_ in server.log[before:]}
    assert len(asked) == 900 - len(kept) and not asked & kept  # what had come was kept
    assert not any(fetch.check(cache, file) for file in dataset.files)


# ---- nowhere to write


def expect_temporary(plays, cache, capsys):
    assert data.load("tinyshakespeare") == TEXT.decode()
    assert data.is_real("tinyshakespeare")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(cache) in err and "cannot be written" in err and "MINILLM_CACHE" in err
    assert places.temporary_folder() in data.path("tinyshakespeare").parents


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_cache(server, plays, cache, capsys, monkeypatch, number):
    make = Path.mkdir

    def mkdir(self, *arguments, **options):
        if cache in (self, *self.parents):
            raise OSError(number, os.strerror(number), str(self))
        return make(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(places, "temporary_folder", lambda folder=cache.parent / "tmp": folder)
    expect_temporary(plays, cache, capsys)


def test_a_cache_that_is_a_file(server, plays, cache, capsys, monkeypatch):
    cache.write_text("in the way")
    monkeypatch.setattr(places, "temporary_folder", lambda folder=cache.parent / "tmp": folder)
    expect_temporary(plays, cache, capsys)
    assert cache.read_text() == "in the way"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no such permissions")
def test_a_cache_without_write_permission(server, plays):
    """As another user where we are root, since permissions do not bind root."""
    cache = Path(tempfile.mkdtemp())  # not in tmp_path, into which another user may not look
    cache.chmod(0o555)
    code = f"""
    import os
    assert data.is_real("tinyshakespeare")  # imports everything while it can be read
    os.environ["MINILLM_CACHE"] = {str(cache)!r}
    if os.geteuid() == 0:
        os.setegid(65534), os.seteuid(65534)
    print(len(data.load("tinyshakespeare")), data.is_real("tinyshakespeare"))
    os.seteuid(os.getuid())  # to tidy up
    """
    try:
        out, err = start(plays, code=code).communicate(timeout=60)
        assert out.strip() == "400000 True", err
        assert err.count("\n") == 1 and "cannot be written (Permission denied)" in err
        assert list(cache.iterdir()) == []
        assert len(server.log) == 2
    finally:
        shutil.rmtree(cache)


def expect_full(plays, cache):
    with pytest.raises(OSError) as caught:
        data.load("tinyshakespeare")
    assert caught.value.errno == errno.ENOSPC
    for words in ("no space left for tinyshakespeare (0.4 MB)", "MINILLM_CACHE", str(cache)):
        assert words in str(caught.value)
    assert not (cache / PATH).exists() and not (cache / f"{PATH}.part").is_symlink()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_disk_that_is_really_full(server, plays, cache):
    """A write to /dev/full fails as one to a full disk does."""
    (cache / PATH).parent.mkdir(parents=True)
    (cache / f"{PATH}.part").symlink_to("/dev/full")
    expect_full(plays, cache)
    assert data.load("tinyshakespeare") == TEXT.decode()  # there is room again


def test_a_disk_that_fills_up_on_the_way(server, plays, cache, monkeypatch):
    room = [100_000]

    class Filling:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, raw):
            room[0] -= len(raw)
            if room[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(raw)

        def __getattr__(self, name):
            return getattr(self.file, name)

    def opened(path, mode):
        return Filling(open(path, mode)) if "a" in mode else open(path, mode)

    with monkeypatch.context() as patched:
        patched.setattr(fetch, "open", opened, raising=False)
        expect_full(plays, cache)
        assert room[0] < 0
    get(plays, cache)


# ---- zips


def words_zip(server, members=None):
    files = {"rt-polarity.pos": b"good . \n", "rt-polarity.neg": b"bad . \n"}
    return serve_zip(server, "sentence_polarity", files, members=members)


def test_members_of_a_zip(server, cache, monkeypatch):
    dataset = words_zip(server)
    monkeypatch.setitem(registry.DATA_SETS, "sentence_polarity", dataset)
    server.mishaps[dataset.archive.path] = ["break off", "corrupt"]
    good, bad = data.load("sentence_polarity")
    assert (good.text, good.label, bad.label) == ("good .", "positive", "negative")
    left = {path.name for path in (cache / "sentence_polarity").iterdir()}
    assert left == {"rt-polarity.pos", "rt-polarity.neg", ".lock"}  # not the zip


@pytest.mark.parametrize(
    "member",
    ["../escaped", "a/../../escaped", "/tmp/escaped", "C:/escaped", "..\\escaped", "\\escaped"],
)
def test_a_member_that_would_leave_its_folder_is_refused(server, tmp_path, member):
    dataset = words_zip(server, {"rt-polarity.neg": member})
    with pytest.raises(fetch.DownloadError, match="leave its folder"):
        fetch.fetch(dataset, tmp_path / "a" / "b" / "cache")
    found = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"rt-polarity.pos", ".lock"}
    assert not Path("/tmp/escaped").exists()


def test_other_members_of_a_zip_are_not_touched(server, tmp_path):
    files = {"rt-polarity.pos": b"good\n", "evil": b"evil\n"}
    dataset = serve_zip(server, "sentence_polarity", files, members={"evil": "../../evil"})
    wanted = [file for file in dataset.files if file.name != "evil"]
    fetch._from_archive(dataset, wanted, _made(tmp_path / "cache" / "sentence_polarity").parent)
    found = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"rt-polarity.pos"}


def _made(folder):
    folder.mkdir(parents=True)
    return folder


def test_a_disk_that_fills_up_while_a_member_is_taken_out(server, cache, monkeypatch):
    def write_half(path, raw):
        with open(path, "wb") as out:
            out.write(raw[: len(raw) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    dataset = words_zip(server)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write_half)
        with pytest.raises(OSError, match="no space left for sentence_polarity"):
            fetch.fetch(dataset, cache)
    assert [path.name for path in (cache / "sentence_polarity").iterdir()] == [".lock"]
    fetch.fetch(dataset, cache)
    assert not any(fetch.check(cache, file) for file in dataset.files)


def test_a_zip_that_would_fill_the_memory(server, tmp_path):
    dataset = serve_zip(server, "sentence_polarity", {"rt-polarity.pos": bytes(50_000_000)})
    path = tmp_path / "some.zip"
    path.write_bytes(server.files[dataset.archive.path])
    file = file_of(server, "x", b"0" * 1000)
    tracemalloc.start()
    try:
        with pytest.raises(fetch.DownloadError, match="not the file expected"):
            fetch.extract(path, dataset.files[0].member, tmp_path / "x", file.size, file.sha256)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("case", ["absent", "longer", "other bytes", "no zip"])
def test_a_zip_that_does_not_hold_what_it_should(server, tmp_path, case):
    good, target = b"0" * 1000, tmp_path / "target"
    held = {"longer": bytes(10_000_000), "other bytes": b"1" * 1000}.get(case, good)
    dataset = serve_zip(server, "sentence_polarity", {"rt-polarity.pos": held})
    path = tmp_path / "some.zip"
    raw = server.files[dataset.archive.path]
    path.write_bytes(raw[: len(raw) // 2] if case == "no zip" else raw)
    member = "nothing" if case == "absent" else dataset.files[0].member
    file = file_of(server, "x", good)
    with pytest.raises(fetch.DownloadError, match=r"some\.zip: "):
        fetch.extract(path, member, target, file.size, file.sha256)
    assert [p.name for p in tmp_path.iterdir()] == ["some.zip"]


# ---- mirrors


def test_a_mirror_is_asked_first(server, plays, cache, monkeypatch):
    server.files[f"copy/{PATH}"] = TEXT
    monkeypatch.setenv("MINILLM_MIRROR", f"{server.url}/copy/")
    assert data.load("tinyshakespeare") == TEXT.decode()
    assert server.log == [(f"copy/{PATH}", None, 200)]


@pytest.mark.parametrize("mishap", ["404", "500", "corrupt", "break off", "silent"])
def test_a_bad_mirror_is_left_for_the_pinned_address(server, plays, cache, monkeypatch, mishap):
    with Server() as mirror:
        mirror.files[PATH] = TEXT[:-1] + b"?"
        mirror.mishaps[PATH] = [mishap] * 9
        get(plays, cache, mirror=mirror.url)
        assert mirror.log


def test_a_mirror_that_is_down(server, plays, cache):
    get(plays, cache, mirror="http://127.0.0.1:1")


def test_a_mirror_gives_the_members_of_a_zip_as_files(server, cache):
    dataset = words_zip(server)
    server.files["sentence_polarity/rt-polarity.pos"] = b"good . \n"  # and not the other
    fetch.fetch(dataset, cache, mirror=server.url)
    assert not any(fetch.check(cache, file) for file in dataset.files)
    paths = {path for path, _, status in server.log if status == 200}
    assert paths == {"sentence_polarity/rt-polarity.pos", dataset.archive.path}


def test_a_cache_can_serve_as_a_mirror_and_as_a_data_folder(server, plays, cache, monkeypatch):
    get(plays, cache)
    other = cache.with_name("other")
    monkeypatch.setenv("MINILLM_DATA", str(cache))
    monkeypatch.setenv("MINILLM_CACHE", str(other))
    assert data.path("tinyshakespeare") == cache / "tinyshakespeare"
    assert not other.exists()


# ---- places in their order, and damage


def test_the_readers_folder_comes_first_and_is_not_written(server, plays, tmp_path, monkeypatch):
    own = tmp_path / "own"
    (own / PATH).parent.mkdir(parents=True)
    (own / PATH).write_bytes(TEXT)
    monkeypatch.setenv("MINILLM_DATA", str(own))
    assert data.load("tinyshakespeare") == TEXT.decode()
    assert server.log == []
    assert [path for path in own.rglob("*") if path.is_file()] == [own / PATH]


@pytest.mark.parametrize(
    "damaged, why",
    [
        (TEXT[:-1], "399,999 bytes, expected 400,000"),
        (TEXT[:-1] + b"?", "SHA-256"),
        (b"", "0 bytes"),
    ],
    ids=["short", "changed", "empty"],
)
@pytest.mark.parametrize("where", ["own", "cache"])
def test_a_damaged_file_is_named_and_not_used(
    server, plays, tmp_path, monkeypatch, capsys, damaged, why, where
):
    folder = tmp_path / where
    (folder / PATH).parent.mkdir(parents=True)
    (folder / PATH).write_bytes(damaged)
    if where == "own":
        monkeypatch.setenv("MINILLM_DATA", str(folder))
    assert data.load("tinyshakespeare") == TEXT.decode()
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and str(folder / PATH) in err and why in err
    assert (tmp_path / "cache" / PATH).read_bytes() == TEXT
    if where == "own":
        assert (folder / PATH).read_bytes() == damaged  # the reader's, not ours to mend


def test_a_file_that_cannot_be_read_counts_as_damaged(server, plays, cache, monkeypatch, capsys):
    get(plays, cache)
    read = fetch._sha256
    monkeypatch.setattr(fetch, "_sha256", _failing_once(errno.EIO, read))
    assert data.load("tinyshakespeare") == TEXT.decode()
    assert f"{cache / PATH}: {os.strerror(errno.EIO)}" in capsys.readouterr().err
    assert len(server.log) == 2  # mended by another download


def _failing_once(number, then):
    failures = iter([number, number])  # seen from outside the lock, and again inside

    def call(*arguments):
        failure = next(failures, None)
        if failure is not None:
            raise OSError(failure, os.strerror(failure))
        return then(*arguments)

    return call


# ---- no net


def test_without_a_net_a_stand_in_is_said_once_and_is_quick(monkeypatch, capsys):
    calls = []
    connect = network.socket.create_connection

    def counted(address, *arguments, **options):
        calls.append(address)
        return connect(address, *arguments, **options)

    monkeypatch.setattr(network.socket, "create_connection", counted)
    begin = time.monotonic()
    assert not data.is_real("sonnets")
    assert len(data.load("sonnets")) == 154
    assert len(data.load("sonnets")) == 154
    assert len(data.load("instruction_data")) == 1100  # another set at the same host
    assert time.monotonic() - begin < 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2
    assert err[0].startswith("minillm.data: sonnets: using a made-up stand-in")
    assert "no connection to raw.githubusercontent.com" in err[0]
    assert len(calls) == 1


def test_a_net_that_swallows_everything_is_given_up_in_seconds(monkeypatch):
    released = threading.Event()

    def connect(*arguments, **options):
        released.wait(30)
        raise TimeoutError

    monkeypatch.setattr(network, "CONNECT", 0.1)  # and a second more for the name
    monkeypatch.setattr(network.socket, "create_connection", connect)
    begin = time.monotonic()
    assert not data.is_real("sonnets") and not data.is_real("poems")
    assert time.monotonic() - begin < 3
    released.set()


def test_a_host_that_never_answers_is_asked_no_more(server, plays, cache, monkeypatch):
    poems = serve(server, "poems", {"tang300.json": b"[]"})
    server.mishaps = {PATH: ["silent"] * 9, "poems/tang300.json": ["silent"] * 9}
    refuse(plays, cache, "no answer")
    before = len(server.log)
    begin = time.monotonic()
    with pytest.raises(fetch.DownloadError, match="no connection to 127.0.0.1: no answer"):
        fetch.fetch(poems, cache)
    assert time.monotonic() - begin < 0.1 and len(server.log) == before


def test_offline_asks_nobody(server, plays, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MINILLM_OFFLINE", "1")
    assert not data.is_real("tinyshakespeare")
    assert data.load("tinyshakespeare") != TEXT.decode()
    assert server.log == [] and not (tmp_path / "cache").exists()
    assert capsys.readouterr().err.count("MINILLM_OFFLINE is set") == 1


@pytest.mark.parametrize(
    "url, proxies, peer",
    [
        ("https://a.example/x", {}, ("a.example", 443)),
        ("http://a.example/x", {}, ("a.example", 80)),
        ("http://a.example:81/x", {}, ("a.example", 81)),
        ("https://a.example/x", {"https": "http://p.example:3128"}, ("p.example", 3128)),
        ("https://a.example/x", {"https": "p.example:3128"}, ("p.example", 3128)),
        ("https://a.example/x", {"http": "http://p.example:3128"}, ("a.example", 443)),
        ("https://a.example/x", {"https": "p.example:1", "no": "a.example"}, ("a.example", 443)),
    ],
)
def test_it_is_the_proxy_that_must_be_reachable(monkeypatch, url, proxies, peer):
    for scheme in ("http", "https", "no"):
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
            monkeypatch.delenv(name, raising=False)
        if scheme in proxies:
            monkeypatch.setenv(f"{scheme}_proxy", proxies[scheme])
    assert network._peer(url) == peer


def test_the_bar_counts_every_byte_once(server, plays, cache, monkeypatch):
    bars = []

    class Bar(fetch.tqdm):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.counted = 0
            bars.append(self)

        def update(self, n=1):
            self.counted += n

    monkeypatch.setattr(fetch, "tqdm", Bar)
    monkeypatch.setattr(fetch, "TRIES", 9)
    server.mishaps[PATH] = [
        "break off",
        "corrupt",
        "stall",
        "unmarked end",
        "break off",
        "no range",
    ]
    fetch.fetch(plays, cache)
    assert [(bar.total, bar.counted) for bar in bars] == [(len(TEXT), len(TEXT))]
