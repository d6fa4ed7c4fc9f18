"""What waits to be sent to one client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from lcm_daemon.controllers.panel import messages
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.requests import Change

ERRORS_KEPT = 8


class SendQueue:
    """Holds the newest item of each kind, so that it does not grow when the browser is slow.

    `filled` is set while something waits.
    """

    def __init__(self) -> None:
        self.filled = asyncio.Event()
        self._changes: dict[str, Change] = {}
        self._status: str | None = None
        self._table: str | None = None
        self._lists: dict[str, None] = {}  # names of those that changed, in their order
        self._errors: list[str] = []
        self._frame: bytes | None = None
        self._input: bytes | None = None
        self._camera = ""

    def put_changes(self, changes: Sequence[Change]) -> None:
        self._changes.update({change.name: change for change in changes})
        if changes:
            self.filled.set()

    def put_table(self, message: str) -> None:
        """Queue a table message. It contains every value, so changes that wait are dropped."""
        self._table = message
        self._changes.clear()
        self.filled.set()

    def put_status(self, message: str) -> None:
        self._status = message
        self.filled.set()

    def put_list(self, name: str) -> None:
        """Queue a list; what is sent is what it holds then."""
        self._lists[name] = None
        self.filled.set()

    def put_error(self, text: str) -> None:
        self._errors = [*self._errors, text][-ERRORS_KEPT:]
        self.filled.set()

    def put_frame(self, jpeg: bytes) -> None:
        self._frame = jpeg
        self.filled.set()

    def put_input(self, jpeg: bytes) -> None:
        """Queue a frame of the input; a message before it tells it from the output."""
        self._input = jpeg
        self.filled.set()

    def put_camera(self, state: str) -> None:
        """Queue the answer to this client's camera frame: "ack" or "lost"."""
        self._camera = state
        self.filled.set()

    def drop_change(self, name: str) -> None:
        """Drop a change that waits, because the client itself has set a newer value."""
        self._changes.pop(name, None)

    def pop_all(self, controls: ControlState) -> Iterator[str | bytes]:
        """Empty the queue. Yields its messages, the frames last."""
        self.filled.clear()
        errors, self._errors = self._errors, []
        camera, self._camera = self._camera, ""
        table, self._table = self._table, None
        changes, self._changes = self._changes, {}
        status, self._status = self._status, None
        names, self._lists = self._lists, {}
        frame, self._frame = self._frame, None
        source, self._input = self._input, None
        yield from map(messages.error, errors)
        if camera:
            yield messages.camera(camera)
        if table is not None:
            yield table
        if changes:
            yield messages.changes(list(changes.values()))
        if status is not None:
            yield status
        if names:
            yield messages.lists(controls, names)
        if frame is not None:
            yield frame
        if source is not None:
            yield messages.INPUT_FOLLOWS
            yield source
