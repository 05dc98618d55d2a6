"""A headless browser and a local server for the tests of the built pages."""

import gzip
import os
import shutil
import threading
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    # Every other host is unknown: what a page asks of it fails, and is counted.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
COMPRESSED = (".html", ".css", ".js", ".svg", ".json")  # as GitHub Pages and its like do


def executable():
    """Where the browser is: $CHROMIUM, or on the PATH. Skips the test if nowhere, fails in CI."""
    names = [os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "chrome"]
    for name in filter(None, names):
        if found := shutil.which(name):
            return found
    message = (
        "no Chromium here: the pages were not looked at. Debian, Ubuntu: apt install chromium; "
        "elsewhere install Chrome, or set CHROMIUM to the browser's path"
    )
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@cache
def packed(path, mtime):
    return gzip.compress(Path(path).read_bytes(), compresslevel=6, mtime=0)


class Handler(SimpleHTTPRequestHandler):
    """Serves files, text compressed; counts the bytes it sends."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.suffix not in COMPRESSED or not path.is_file():
            if path.is_file():
                self.server.sent += path.stat().st_size
            return super().do_GET()
        body = packed(path, path.stat().st_mtime)
        self.server.sent += len(body)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self):
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    """A site on a free port of this machine; `sent` counts the bytes of all bodies so far."""

    daemon_threads = True

    def __init__(self, folder):
        self.sent = 0
        handler = lambda *args: Handler(*args, directory=str(folder))
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *args):
        self.shutdown()
        super().__exit__(*args)

    def handle_error(self, request, client_address):
        pass  # the browser hung up: closing a page does that
