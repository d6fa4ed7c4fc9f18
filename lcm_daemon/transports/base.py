"""Base classes of transports: Endpoint, and its two kinds Source and Sink.

An endpoint belongs to one thread. That thread opens it, uses it, closes it, and opens it again after a failure. The
public methods check state and arguments; the underscored hooks, implemented by each transport's module, do the work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Size, check_pixels
from lcm_daemon.core.schema import Fields, complete_options


@dataclass(frozen=True)
class Probe:
    """Result of testing an integration, for `lcm-daemon doctor`: whether it works, or why not and what to install."""

    works: bool
    detail: str
    install: str = ""


class Endpoint(ABC):
    """What Source and Sink have in common.

    Attributes:
        fields: schema of the endpoint's options, by option name.
        options: the show's keys for this endpoint, checked against `fields`, with defaults filled in.
    """

    fields: ClassVar[Fields] = {}

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = complete_options(type(self).__name__, options, self.fields)
        self._open = False

    @classmethod
    def option_problems(cls, options: Mapping[str, Any]) -> Mapping[str, str]:
        """What is wrong with options that are right one by one, by the option to name. Quick; asks no device."""
        return {}

    @property
    def is_open(self) -> bool:
        return self._open

    def close(self) -> None:
        """Release everything. Safe at any time, also when called twice."""
        if self._open:
            self._open = False
            self._close()

    def _open_or_release(self, open_hook: Callable[[], None]) -> None:
        """Run an open hook; if it fails half-way, release what it has acquired."""
        with ExitStack() as on_failure:
            on_failure.callback(self._close)
            open_hook()
            on_failure.pop_all()
        self._open = True

    @abstractmethod
    def _close(self) -> None:
        """Release everything. Also called after an open hook that failed at any point, so parts may be missing."""

    @classmethod  # noqa: B027
    def pump(cls) -> None:
        """Run on the stage's main thread at every tick, for libraries that need the main run loop."""


class Source(Endpoint):
    """An endpoint that frames come from.

    Attributes:
        is_listed: `list sources` prints names by which a running show can change to these sources.
    """

    is_listed: ClassVar[bool] = False

    def open(self) -> None:
        """Find the sender and connect to it.

        A sender that has not started yet is not an error if the protocol can wait for it: `read` then returns None.

        Raises:
            TransportError: the source cannot be opened.
            MissingIntegration: its library is not installed.
        """
        if not self._open:
            self._open_or_release(self._open_source)

    def read(self, timeout: float) -> Frame | None:
        """Return the newest unread frame, or None if none arrives within `timeout` seconds.

        Older queued frames are dropped. Frame numbers count up; frame times are monotonic. The call never blocks much
        longer than `timeout`.

        Raises:
            TransportError: the source is lost; its owner closes and reopens it.
        """
        if not self._open:
            raise TransportError("the source is not open")
        frame = self._read(timeout)
        if frame is not None:
            check_pixels(frame.pixels)
        return frame

    @property
    def is_connected(self) -> bool | None:
        """Whether the sender is there now, also if it sends nothing new; None if the transport cannot tell.

        Ask on the source's own thread.
        """
        return None

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        """Search for at most `seconds` and return the names that `list sources` prints; empty without discovery."""
        return []

    @classmethod
    def details(cls, label: str) -> list[str]:
        """Lines that `list sources` prints below a source that `discover` has found, such as a camera's modes."""
        return []

    @classmethod
    def listed_options(cls, label: str) -> Mapping[str, Any] | None:
        """Options of the source that `list sources` prints as `label`; None if there is none. May take seconds.

        Called if `is_listed` is set. The label may come from the network: it must not become a path.
        """
        return {"name": label} if label else None

    @abstractmethod
    def _open_source(self) -> None: ...

    @abstractmethod
    def _read(self, timeout: float) -> Frame | None: ...


class Sink(Endpoint):
    """An endpoint that frames go to."""

    def open(self, size: Size, fps: float) -> None:
        """Start to send frames of `size` (width, height) in pixels at about `fps` frames per second.

        Raises:
            TransportError: the sink cannot be opened.
            MissingIntegration: its library is not installed.
        """
        if not self._open:
            self._open_or_release(lambda: self._open_sink(size, fps))

    def write(self, frame: Frame) -> None:
        """Send one frame. May block: only the owner's thread waits.

        Raises:
            TransportError: the sink is lost; its owner closes and reopens it.
        """
        if not self._open:
            raise TransportError("the sink is not open")
        check_pixels(frame.pixels)
        self._write(frame)

    @abstractmethod
    def _open_sink(self, size: Size, fps: float) -> None: ...

    @abstractmethod
    def _write(self, frame: Frame) -> None: ...


@dataclass(frozen=True)
class Transport:
    """One protocol: its endpoint classes, and a test whether it works here. Each module binds one as TRANSPORT."""

    source: type[Source] | None
    sink: type[Sink] | None
    probe: Callable[[], Probe]  # must not raise
    find: Callable[[], Probe] | None = None  # whether it is installed, without loading it; None: `probe` is quick
