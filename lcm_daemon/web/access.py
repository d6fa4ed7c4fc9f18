"""Access: who may play through the web servers, and the pin that lets others play.

    POST /pin       pin=...; 204 and a session cookie, or 401, 413, 429 with one line

AccessGate is the one place that decides. It gives each request and each WebSocket its role in `scope["role"]`, answers
requests that the role forbids, and leaves the rest to the app. The app refuses what a viewer sends through a WebSocket
(`ControlState.viewers`).
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import ipaddress
import secrets
import time
from collections.abc import Callable, Container, Iterator, Sequence
from urllib.parse import parse_qs

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.network import NONE, PLAY, VIEW, VIEW_ONLY, NetworkPolicy
from lcm_daemon.web.origin_guard import POLICY_VIOLATION, App, Receive, Scope, Send
from lcm_daemon.web.pin import MAX_LENGTH, GuessLimit, matches

COOKIE = "lcm_session"
SESSION_SECONDS = 12 * 3600.0  # since it was last used
SESSIONS_KEPT = 256  # the one that was not used for longest ends when there are more
MAX_BODY = 1024  # bytes of a POST /pin
BODY_SECONDS = 5.0  # within which it must arrive
MAX_PATH = 1024  # characters of a request's path
VIEWER_PAUSE = 1 / 60  # seconds between two messages of a viewer that a server reads
_SAFE = ("GET", "HEAD", "OPTIONS")
_FORWARDED = {b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"}  # a proxy on this machine speaks for others
_FORM = """<!doctype html><html lang="en"><meta charset="utf-8"><title>lcm-daemon</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="dark">
<style>body{{background:#08090a;color:#e4e6e9;font:16px system-ui;display:grid;place-items:center;height:90vh}}
input,button{{font:inherit;min-height:44px;padding:0 12px}}</style>
<form method="post" action="/pin"><p><label for="pin">{line}</label></p><input id="pin" name="pin" type="password"
inputmode="numeric" autocomplete="current-password" maxlength="{length}" required autofocus> <button>Open</button>
<input type="hidden" name="to" value="{to}"></form></html>"""
Headers = Sequence[tuple[bytes, bytes]]

_PLAIN_HEADERS: Headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
_FORM_HEADERS: Headers = [
    (b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer, browsers send the form with "Origin: null"
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
                                 b"base-uri 'none'; frame-ancestors 'none'"),
]


class Sessions:
    """The sessions of those who have entered the pin: digests of their tokens, so that a copy of them opens nothing.

    Args:
        store: When each was used last, by digest. Several servers may share it.
        on_start: Called when one was started.
        now: Monotonic time in seconds.
        pin: The pin of the show. A session ends when another one counts.
    """

    def __init__(
        self, store: dict[str, float], on_start: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.monotonic, pin: str = "",
    ) -> None:
        self._used, self._on_start, self._now, self._pin = store, on_start, now, pin

    def start(self) -> str:
        """Start a session and return its token."""
        token = secrets.token_urlsafe(32)
        self._used[self._digest(token)] = self._now()
        while len(self._used) > SESSIONS_KEPT:
            del self._used[min(self._used, key=lambda digest: self._used[digest])]
        self._on_start()
        return token

    def holds(self, token: str) -> bool:
        """Whether the token is that of a session. If it is, the session lasts on."""
        digest = self._digest(token)  # a table of digests tells nothing about tokens by the time that it takes
        used = self._used.get(digest)
        if used is None or self._now() - used > SESSION_SECONDS:
            self._used.pop(digest, None)
            return False
        self._used[digest] = self._now()
        return True

    def _digest(self, token: str) -> str:
        return hashlib.sha256(f"{token} {self._pin}".encode()).hexdigest()


class Access:
    """Who may do what: the policy, the sessions and the guesses."""

    def __init__(self, policy: NetworkPolicy, sessions: Sessions, limit: GuessLimit | None = None) -> None:
        self.policy = policy.access
        self.sessions, self._limit = sessions, limit or GuessLimit()
        self._comparing = asyncio.Lock()  # one at a time: each takes memory and time

    def role(self, scope: Scope) -> str:
        """PLAY, VIEW or NONE for the client of a request."""
        if not self.policy.pin or (not self.policy.local_pin and _is_local(scope)):
            return PLAY
        return PLAY if any(map(self.sessions.holds, _tokens(scope))) else self.policy.others

    def knows(self, scope: Scope) -> bool:
        """Whether the client of a request is on this machine, or has entered the pin."""
        is_near = _is_local(scope) and (not self.policy.pin or not self.policy.local_pin)
        return is_near or any(map(self.sessions.holds, _tokens(scope)))

    async def guess(self, address: str, pin: str) -> tuple[int, str]:
        """Compare a guess. Returns a status and one line; 204 and a token for the pin."""
        wait = self._limit.wait(address)
        if wait:
            return 429, f"too many guesses: try again in {wait:.0f} s"
        async with self._comparing:
            is_right = await asyncio.to_thread(matches, self.policy.pin, pin)
        if not is_right:
            return 401, "this is not the pin"
        self._limit.forgive(address)
        return 204, self.sessions.start()


class AccessGate:
    """ASGI middleware that answers `POST /pin` and refuses what a client's role forbids.

    Args:
        app: The ASGI app to protect.
        counter: Path of the counter of refused requests.
        takes_pin: Whether the pin may be entered at this server.
        open_paths: Paths that the app answers for every client; it looks at the role itself.
        secure: Whether the server speaks TLS, and the cookie goes through TLS only.
    """

    def __init__(
        self, app: App, access: Access, metrics: Metrics, counter: str, takes_pin: bool = False, secure: bool = False,
        open_paths: Container[str] = (),
    ) -> None:
        self._app, self._access, self._metrics, self._counter = app, access, metrics, counter
        self._open_paths = open_paths
        self._takes_pin, self._secure = takes_pin and bool(access.policy.pin), secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or one WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        role = scope["role"] = self._access.role(scope)
        if len(scope["path"]) > MAX_PATH:
            return await (self._close(receive, send) if scope["type"] == "websocket" else
                          _answer(send, 414, "the path is too long\n"))
        if scope["type"] == "websocket":
            return await (self._close(receive, send) if role == NONE else self._app(scope, receive, send))
        if scope["path"] == "/pin" and self._takes_pin:
            return await self._answer_pin(scope, receive, send)
        is_open = role == VIEW or scope["path"] in self._open_paths
        if role == PLAY or (is_open and scope["method"] in _SAFE):
            return await self._app(scope, receive, send)
        self._metrics.count(self._counter)
        if role == VIEW:
            return await _answer(send, 403, f"{VIEW_ONLY}\n")
        if self._takes_pin:
            return await _answer_form(send, 401, "Pin", scope["path"])
        return await _answer(send, 401, "enter the pin at the page of this daemon\n")

    async def _close(self, receive: Receive, send: Send) -> None:
        self._metrics.count(self._counter)
        await receive()
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "enter the pin"})

    async def _answer_pin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compare the pin that a page or a form posts. A form is answered with a page."""
        if scope["method"] != "POST":
            return await _answer_form(send, 200, "Pin", "/")
        body = await _read_body(receive)
        if body is None:
            self._metrics.count(self._counter)
            return await _answer(send, 413, f"a pin has {MAX_LENGTH} characters at most\n")
        fields = {key: values[-1] for key, values in parse_qs(body.decode("latin-1"), encoding="utf-8").items()}
        pin, to = fields.get("pin", ""), fields.get("to", "")
        status, text = await self._access.guess(_address(scope), pin[:MAX_LENGTH + 1])
        if status != 204:
            self._metrics.count(self._counter)
            return await (_answer_form(send, status, text, to) if to else _answer(send, status, f"{text}\n"))
        secure = "; Secure" if self._secure or scope.get("scheme") == "https" else ""
        port = (scope.get("server") or ("", 0))[1]  # browsers send a host's cookies to every port of it
        cookie = f"{COOKIE}_{port}={text}; Path=/; HttpOnly; SameSite=Strict{secure}"
        location = [(b"location", _own_path(to).encode())] if to else []
        headers = [(b"set-cookie", cookie.encode()), (b"cache-control", b"no-store"), *location]
        return await _answer(send, 303 if to else 204, "", headers)


async def _read_body(receive: Receive) -> bytes | None:
    """The body of a request; None if it is too long or does not arrive in time."""
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                body += bytes(message.get("body", b""))
                if len(body) > MAX_BODY or message["type"] == "http.disconnect":
                    return None
                if not message.get("more_body"):
                    return body
    except TimeoutError:
        return None


async def _answer(send: Send, status: int, text: str, headers: Headers = _PLAIN_HEADERS) -> None:
    body = text.encode()
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})


async def _answer_form(send: Send, status: int, line: str, to: str) -> None:
    """Answer with the page that asks for the pin, and goes to the path `to` then."""
    page = _FORM.format(line=html.escape(line), length=MAX_LENGTH, to=html.escape(_own_path(to)))
    await _answer(send, status, page, _FORM_HEADERS)


def _own_path(path: str) -> str:
    """A path of this server; the page for anything else, such as //example.org."""
    return path if path in ("/output", "/view") else "/"


def _is_local(scope: Scope) -> bool:
    """Whether a program on this machine sends the request, for itself."""
    if any(key in _FORWARDED for key, _ in scope["headers"]):
        return False
    try:
        address = ipaddress.ip_address(_address(scope).partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _address(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def _tokens(scope: Scope) -> Iterator[str]:
    """The tokens in the request's cookies; a few at most, of a length that a token may have."""
    pairs = [pair.strip().partition("=") for key, value in scope["headers"] if key == b"cookie"
             for pair in value.decode("latin-1").split(";")[:32]]
    return (token for name, _, token in pairs[:32] if name.startswith(COOKIE) and len(token) < 100)
