"""Picture source: a picture that a page has sent to the daemon, by its number (core/picture_store.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lcm_daemon.core.clock import Clock
from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame
from lcm_daemon.core.picture_store import PictureStore
from lcm_daemon.core.schema import Field, Fields, Text
from lcm_daemon.transports.base import Probe, Source, Transport
from lcm_daemon.transports.file import FileSource


class PictureSource(Source):
    """Shows one of the pictures. It keeps the last picture shown if that is removed."""

    is_listed: ClassVar[bool] = True
    fields: ClassVar[Fields] = {"name": Field(Text(), "1", "the picture's number, as the page and `list sources` show")}

    def __init__(
        self, options: Mapping[str, Any], clock: Clock | None = None, store: PictureStore | None = None
    ) -> None:
        super().__init__(options)
        self._clock, self._store = clock, store or PictureStore()
        self._file: FileSource | None = None

    @property
    def is_connected(self) -> bool:
        return self._file is not None and self._file.is_connected

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        return [str(number) for number in PictureStore().files()]

    @classmethod
    def listed_options(cls, label: str) -> Mapping[str, Any] | None:
        return {"name": label} if label in cls.discover(0.0) else None

    @classmethod
    def option_problems(cls, options: Mapping[str, Any]) -> Mapping[str, str]:
        return {} if options["name"].isdecimal() else {"name": "the name of a picture is its number, such as '1'"}

    def _open_source(self) -> None:
        name = self.options["name"]
        path = self._store.files().get(int(name)) if name.isdecimal() else None
        if path is None:
            raise TransportError(f"picture: {name!r:.20} does not exist; `list sources` prints those that do")
        self._file = FileSource({"path": str(path)}, self._clock)
        self._file.open()

    def _read(self, timeout: float) -> Frame | None:
        assert self._file is not None
        return self._file.read(timeout)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _probe() -> Probe:
    return Probe(True, "built in")


TRANSPORT = Transport(source=PictureSource, sink=None, probe=_probe)
