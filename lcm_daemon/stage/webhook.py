"""One POST request to a webhook: without redirects, and over after some seconds in any case."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import threading
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit


def post(url: str, data: bytes, headers: Mapping[str, str], step_seconds: float, seconds: float) -> None:
    """Send the request; an answer of 200 to 299 is good.

    Args:
        url: Where to. A user and a password in it are sent as Basic authentication (RFC 7617).
        data: The body.
        headers: Of the request.
        step_seconds: How long one step, such as the connection, may take.
        seconds: How long all of it may take: a server that sends a byte now and then ends no step.

    Raises:
        OSError: No answer; urllib.error.HTTPError is one too: another answer.
        http.client.HTTPException: The answer is not HTTP.
        ValueError: The address cannot be used.
    """
    bare, authorization = _without_user(url)
    deadline = _Deadline()
    opener = urllib.request.build_opener(_NoRedirects, _Plain(deadline), _Secure(deadline))
    timer = threading.Timer(seconds, deadline.end)
    timer.daemon = True
    timer.start()
    try:
        request = urllib.request.Request(bare, data, {**headers, **authorization})
        with opener.open(request, timeout=step_seconds) as answer:
            answer.read(1)
    except (OSError, http.client.HTTPException):
        if not deadline.is_over:
            raise
    finally:
        timer.cancel()
        deadline.close()
    if deadline.is_over:
        raise TimeoutError(f"no answer within {seconds:g} s")


def _without_user(url: str) -> tuple[str, dict[str, str]]:
    """An address without user and password, and the header that has them."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    words = ":".join(unquote(each) for each in user.split(":", 1))
    encoded = base64.b64encode(words.encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {encoded}"}


class _Deadline:
    """Ends the connections of a request from another thread, by copies of their sockets."""

    def __init__(self) -> None:
        self.is_over = False
        self._lock = threading.Lock()
        self._copies: list[socket.socket] = []

    def connect(self, *args: Any, **options: Any) -> socket.socket:
        """As `socket.create_connection`."""
        found = socket.create_connection(*args, **options)
        with self._lock:
            self._copies.append(found.dup())  # TLS takes the socket itself away
        return found

    def end(self) -> None:
        self.is_over = True
        with self._lock:
            for each in self._copies:
                with contextlib.suppress(OSError):  # it has ended by itself
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            for each in self._copies:
                each.close()
            self._copies = []


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An answer that sends the request elsewhere is an error: the show names who is notified."""

    def redirect_request(self, *args: Any) -> None:
        return None


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, request)

    def _connection(self, host: str, **options: Any) -> http.client.HTTPConnection:
        return _noted(http.client.HTTPConnection(host, **options), self._deadline)


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, request)

    def _connection(self, host: str, **options: Any) -> http.client.HTTPConnection:
        context = ssl.create_default_context()
        return _noted(http.client.HTTPSConnection(host, context=context, **options), self._deadline)


def _noted(connection: http.client.HTTPConnection, deadline: _Deadline) -> http.client.HTTPConnection:
    connection._create_connection = deadline.connect  # type: ignore[attr-defined]
    return connection
