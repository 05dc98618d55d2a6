"""Asking a server for a file: from a byte on, with short waits, and quick to see that there is no net."""

import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request

CONNECT = 4.0  # seconds to find out that a host cannot be reached
SILENCE = 10.0  # seconds without a byte after which a connection counts as broken

TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that may pass


class DownloadError(RuntimeError):
    """Why a file could not be had."""


class Broken(Exception):
    """A try failed in a way that another try may mend."""


class Silent(Broken):
    """The host did not answer in time."""


def open_from(url, start, size):
    """Ask for an address, of `size` bytes, from byte `start` on.

    The answer's status is 206 if it begins there, 200 if it begins at 0.
    """
    _require_reachable(url)
    headers = {"User-Agent": "minillm", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=SILENCE
        )
    except urllib.error.HTTPError as error:
        error.close()
        problem = f"HTTP {error.code} {error.reason}"
        if error.code == 416 and start:  # what lies there is shorter than the part
            return open_from(url, 0, size)
        if error.code in TRY_AGAIN:
            raise Broken(problem) from error
        raise DownloadError(f"{url}: {problem}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, (ssl.SSLError, socket.gaierror, ValueError)):
            raise DownloadError(f"{url}: {reason}") from error
        raise _broken(reason) from error
    offered = response.headers.get("Content-Range", "")
    if response.status == 206 and not offered.startswith(f"bytes {start}-"):
        response.close()
        if start:
            return open_from(url, 0, size)
        raise DownloadError(f"{url}: a part was sent that was not asked for: {offered!r}")
    end = response.length and response.length + (start if response.status == 206 else 0)
    if end is not None and end != size:  # a page to sign in, for one
        response.close()
        raise Broken(f"{end:,} bytes offered, expected {size:,}")
    return response


def read(response, n):
    """The next bytes of an answer as they come, at most `n`; empty at its end."""
    try:
        return response.read1(n)
    except (http.client.HTTPException, OSError) as error:
        raise _broken(error) from error


def _broken(error):
    """A network error as one of ours."""
    if isinstance(error, TimeoutError):
        return Silent(f"no answer for {SILENCE:g} seconds")
    return Broken(str(error) or type(error).__name__)


_OUT_OF_REACH = {}  # (host, port) -> why it cannot be reached, "" if it can: asked once a process
_ASKING = threading.Lock()


def _require_reachable(url):
    """Raise at once where a host is known, or quickly found, to be out of reach."""
    host, port = peer = _peer(url)
    with _ASKING:
        if peer not in _OUT_OF_REACH:
            _OUT_OF_REACH[peer] = _probe(host, port)
    if _OUT_OF_REACH[peer]:
        raise DownloadError(f"no connection to {host}: {_OUT_OF_REACH[peer]}")


def give_up(url, reason):
    """Remember for the rest of the process that an address's host is of no use."""
    _OUT_OF_REACH[_peer(url)] = reason


def _peer(url):
    """Host and port that a request for an address is sent to: its own, or a proxy's."""
    address = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(address.scheme)
    if proxy and not urllib.request.proxy_bypass(address.hostname):
        address = urllib.parse.urlsplit(proxy if "://" in proxy else f"//{proxy}")
    return address.hostname, address.port or {"https": 443}.get(address.scheme, 80)


def _probe(host, port):
    """Why a host cannot be reached; empty if it can.

    The attempt runs in a thread, because looking up a name cannot be given a time limit.
    """
    answer = []

    def attempt():
        try:
            socket.create_connection((host, port), timeout=CONNECT).close()
            answer.append("")
        except OSError as error:
            answer.append(error.strerror or str(error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(CONNECT + 1)
    return answer[0] if answer else f"no answer for {CONNECT:g} seconds"
