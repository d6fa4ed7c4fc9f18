"""Decides which changes of parameters a page must be sent, from what that page shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import Change

CONFIRM_SECONDS = 1.0  # a request that the stage has not confirmed by then was overtaken or cancelled


class _Request(NamedTuple):
    value: Value
    time: float


class EchoFilter:
    """The echo rules of one client.

    - A change with another origin is sent to the client.
    - A change that the client requested itself is not: its page shows the value already, and an echo would move the
      control under the user's finger.
    - It is sent nevertheless if the page shows another value by then, because another change came in between or a
      panic cancelled the request.
    - A request that is never confirmed is corrected by `corrections`, so that no page shows a wrong value for long.

    All times are monotonic, in seconds.
    """

    def __init__(self, values: Mapping[str, Value], origin: str) -> None:
        self.origin = origin
        self._shown: dict[str, Value | None] = dict(values)  # None: unknown, because two messages crossed
        self._requests: dict[str, _Request] = {}
        self._sent: dict[str, float] = {}  # time of the last change with another origin, by parameter

    def on_request(self, name: str, value: Value, now: float) -> None:
        """The client requests `value` (coerced) and shows it, unless a change with another origin crossed it."""
        crossed = now - self._sent.get(name, -math.inf) < CONFIRM_SECONDS
        self._shown[name] = None if crossed else value
        self._requests[name] = _Request(value, now)

    def on_reflection(self, name: str, value: Value) -> None:
        """The client has sent back a value that it was sent, so it shows that value."""
        self._shown[name] = value

    def on_command(self) -> None:
        """The client gives a command, which cancels its requests: all further changes are news to it."""
        self._requests.clear()

    def on_table(self, values: Mapping[str, Value]) -> None:
        """The client is sent another parameter table with these values."""
        self._shown = dict(values)
        self._requests = {name: request for name, request in self._requests.items() if name in values}

    def must_send(self, change: Change, now: float) -> bool:
        """Whether the client must be sent `change`, which it then shows."""
        if change.origin != self.origin:
            self._shown[change.name], self._sent[change.name] = change.value, now
            return True
        request = self._requests.get(change.name)
        if request is not None and request.value != change.value:
            return False  # an older request of this client; a newer one is on its way
        self._requests.pop(change.name, None)
        return self._update_shown(change.name, change.value)

    def current(self, name: str, values: Mapping[str, Value]) -> Value:
        """The value that a page shows after its request was refused: that of its earlier request, if one is pending."""
        request = self._requests.get(name)
        return request.value if request else values[name]

    def corrections(self, values: Mapping[str, Value], now: float) -> list[Change]:
        """Changes that correct what the client shows, except for parameters with a pending request. Send them."""
        self._requests = {n: r for n, r in self._requests.items() if now - r.time < CONFIRM_SECONDS}
        wrong = [n for n, value in values.items() if n not in self._requests and self._update_shown(n, value)]
        return [Change(name, values[name], "panel") for name in wrong]

    def _update_shown(self, name: str, value: Value) -> bool:
        """Whether the value shown changes."""
        before, self._shown[name] = self._shown.get(name), value
        return before != value
