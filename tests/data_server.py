"""For the tests of `minillm.data`: a server on this machine that misbehaves, and isolation from the net."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import re
import socket
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from minillm.data import fetch, network, places, registry, standins

REAL_LOOKUP = socket.getaddrinfo
MAKE_ONCE = functools.cache(standins.make)  # the same bytes again and again: no need to make them


def isolate(monkeypatch, folder):
    """No settings of the reader's, no cache of the reader's, no host but this one; short waits."""
    for name in ("DATA", "MIRROR", "OFFLINE"):
        monkeypatch.delenv(f"MINILLM_{name}", raising=False)
    monkeypatch.setenv("MINILLM_CACHE", str(folder / "cache"))
    monkeypatch.setenv("no_proxy", "*")

    def lookup(host, *arguments, **options):
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(socket.EAI_NONAME, f"these tests may not ask for {host}")
        return REAL_LOOKUP(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(fetch, "PAUSE", 0.001)
    monkeypatch.setattr(network, "SILENCE", 0.5)
    monkeypatch.setattr(network, "_OUT_OF_REACH", {})
    monkeypatch.setattr(standins, "make", MAKE_ONCE)
    places._locate.cache_clear()


class Server:
    """Serves `files` (path -> bytes), logs every request, plays the `mishaps` of a path in turn."""

    def __init__(self):
        self.files, self.mishaps = {}, {}
        self.log = []  # (path, value of the Range header or None, status sent)
        self.accepted = 0  # connections
        self.delay = 0.0  # seconds before each answer
        self.released = threading.Event()  # ends all stalls
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.answer(self)
                self.close_connection = True

            def log_message(self, *arguments):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def verify_request(self, request, address):
                outer.accepted += 1
                return True

            def handle_error(self, request, address):  # a client that was killed, or had enough
                pass

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.released.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def answer(self, to):
        """Answer one request as the next mishap of its path says, or well."""
        path, asked = to.path.lstrip("/"), to.headers.get("Range")
        queue = self.mishaps.get(path, [])
        mishap = queue.pop(0) if queue else "none"
        time.sleep(self.delay)
        if mishap == "silent":
            self.log.append((path, asked, None))
            self.released.wait(10)
            return
        if mishap == "hang up":
            self.log.append((path, asked, None))
            return
        if mishap.startswith("redirect"):
            return self.send(to, path, asked, 302, b"", Location=mishap.split(" ", 1)[1])
        if mishap.isdigit() or path not in self.files:
            status = int(mishap) if mishap.isdigit() else 404
            return self.send(to, path, asked, status, b"sorry")
        body, start = self.files[path], 0
        if asked and mishap != "no range":
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if mishap == "other range":
                start += 1
        if start >= len(body) and start:
            return self.send(to, path, asked, 416, b"")
        total = len(body)
        body = body[start:]
        if asked and mishap == "other range":  # as many bytes as asked for, but others
            body += b"?"
        headers = {"Content-Range": f"bytes {start}-{total - 1}/{total}"} if start else {}
        if mishap == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        if mishap == "other file":
            body = b"<html>please sign in</html>"
        if mishap == "endless":
            return self.send(to, path, asked, 200, body + bytes(1 << 16), promised=None)
        half = body[: len(body) // 2]
        if mishap in ("break off", "stall"):
            self.send(to, path, asked, 206 if start else 200, half, promised=len(body), **headers)
            to.wfile.flush()
            if mishap == "stall":
                self.released.wait(10)
            return
        if mishap == "unmarked end":  # half, and no length by which to see it
            return self.send(to, path, asked, 206 if start else 200, half, promised=None, **headers)
        self.send(to, path, asked, 206 if start else 200, body, **headers)

    def send(self, to, path, asked, status, body, *, promised=-1, **headers):
        """Send status, headers and body; `promised` is the length stated, None for none."""
        self.log.append((path, asked, status))
        to.send_response(status)
        if promised is not None:
            to.send_header("Content-Length", str(len(body) if promised < 0 else promised))
        for key, value in headers.items():
            to.send_header(key.replace("_", "-"), value)
        to.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            to.wfile.write(body)


def file_of(server, path, raw, *, url=None, member=None):
    """A registry entry for bytes that the server gives at `path`."""
    digest = hashlib.sha256(raw).hexdigest()
    return registry.File(path, len(raw), digest, url or f"{server.url}/{path}", member)


def serve(server, name, files):
    """Put a set's files on the server and return the set with its addresses there."""
    entries = []
    for file, raw in files.items():
        server.files[f"{name}/{file}"] = raw
        entries.append(file_of(server, f"{name}/{file}", raw))
    return dataclasses.replace(registry.DATA_SETS[name], files=tuple(entries), archive=None)


def serve_zip(server, name, files, *, members=None):
    """The same with all files in one zip; `members` renames some of them in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        for file, raw in files.items():
            zipped.writestr((members or {}).get(file, f"{name}/{file}"), raw)
    path = f"{name}/{name}.zip"
    server.files[path] = out.getvalue()
    archive = file_of(server, path, out.getvalue())
    entries = [
        file_of(
            server,
            f"{name}/{file}",
            raw,
            url=archive.url,
            member=(members or {}).get(file, f"{name}/{file}"),
        )
        for file, raw in files.items()
    ]
    return dataclasses.replace(registry.DATA_SETS[name], files=tuple(entries), archive=archive)
