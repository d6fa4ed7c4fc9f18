"""Source and Sink: the two ends of a transport.

Each end is owned by one thread that opens it, uses it and closes it, and opens it again after a failure. The public
methods check; the underscored hooks do the work in the modules beside this one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Size, check_pixels
from lcm_daemon.core.schema import Fields


@dataclass(frozen=True)
class Probe:
    """What the doctor reports of an integration: it works, or why not and what to install."""

    works: bool
    detail: str
    install: str = ""


class Endpoint(ABC):
    """What both ends share. `options`: the show's keys for this end, checked against `fields`, defaults filled in."""

    fields: ClassVar[Fields] = {}

    def __init__(self, options: Mapping[str, Any]) -> None:
        unknown = set(options) - set(self.fields)
        if unknown:
            raise ValueError(f"{type(self).__name__} knows no option {sorted(unknown)}")
        self.options = {name: options.get(name, spec.default) for name, spec in self.fields.items()}
        self._open = False

    @property
    def is_open(self) -> bool:
        return self._open

    def close(self) -> None:
        """Release everything; may be called at any time, also twice."""
        if self._open:
            self._open = False
            self._close()

    @abstractmethod
    def _close(self) -> None: ...

    @classmethod  # noqa: B027
    def pump(cls) -> None:
        """Called by the stage on its main thread at every tick, for libraries that need the main run loop."""


class Source(Endpoint):
    """Where frames come from."""

    def open(self) -> None:
        """Find and open the sender; raise TransportError (or MissingIntegration) where that fails.

        A sender that is merely not there yet is no error where the protocol can wait for it: `read` returns None.
        """
        if not self._open:
            self._open_source()
            self._open = True

    def read(self, timeout: float) -> Frame | None:
        """The newest frame not yet read, waiting at most `timeout` seconds; None if there is none.

        Older frames that queued up are dropped. Raises TransportError if the source is lost: the owner closes and
        reopens it. Numbers count up; time is monotonic. A read never blocks much beyond its timeout.
        """
        if not self._open:
            raise TransportError("the source is not open")
        frame = self._read(timeout)
        if frame is not None:
            check_pixels(frame.pixels)
        return frame

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        """Names that `list sources` prints, after looking for at most `seconds`; empty where there is no discovery."""
        return []

    @abstractmethod
    def _open_source(self) -> None: ...

    @abstractmethod
    def _read(self, timeout: float) -> Frame | None: ...


class Sink(Endpoint):
    """Where frames go to."""

    def open(self, size: Size, fps: float) -> None:
        """Start to send pictures of (width, height) at about `fps`; raise TransportError or MissingIntegration."""
        if not self._open:
            self._open_sink(size, fps)
            self._open = True

    def write(self, frame: Frame) -> None:
        """Send one frame. It may block: the owner's thread waits, nothing else does. Raises TransportError if lost."""
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
    """One protocol: its ends, and how to ask whether it works here. Each module binds one as TRANSPORT."""

    source: type[Source] | None
    sink: type[Sink] | None
    probe: Callable[[], Probe]  # must not raise
