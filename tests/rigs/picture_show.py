"""PictureShow: a running daemon that plays one source, without a model, and the frames that come out of it."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.transports import load
from tests.rigs.daemon import Daemon

_numbers = itertools.count()


class PictureShow:
    """`with PictureShow(folder, {"transport": "file", "path": ...}) as show: show.frame(...)`.

    Args:
        folder: Where the show file lies; it must exist.
        source: The show's `source`.
        size: Width and height of the output, in pixels.
        more: Further keys of the show. `sinks` come beside the one that this rig reads.
    """

    def __init__(self, folder: Path, source: Mapping[str, Any], size: Size = (128, 72), **more: Any) -> None:
        name = f"picture{os.getpid()}-{next(_numbers)}"
        output = {"size": list(size), "fps": 30, **more.pop("output", {})}
        sinks = [{"transport": "memory", "name": name}, *more.pop("sinks", ())]
        memory = load("memory")
        assert memory.source is not None
        self._output = memory.source({"name": name})
        self.daemon = Daemon(folder, {
            "recipe": "passthrough", "source": dict(source), "output": output, "sinks": sinks, "resume": False, **more,
        })

    def __enter__(self) -> PictureShow:
        self.daemon.__enter__()
        self._output.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.close()
        self.daemon.__exit__(kind, error, trace)

    def frame(self, condition: Callable[[Pixels], Any] = lambda pixels: True, seconds: float = 20.0) -> Pixels:
        """Return the first frame, uint8 (H, W, 4), that meets the condition; fail with the last one after `seconds`."""
        end, last = time.perf_counter() + seconds, None
        while time.perf_counter() < end:
            if (frame := self._output.read(0.1)) is not None:
                last = frame.pixels.copy()
                if condition(last):
                    return last
        raise AssertionError(f"no such frame within {seconds} s; the last one: {last}\n{self.daemon.log()}")

    def frames(self, seconds: float) -> list[Pixels]:
        """Return every frame that comes within `seconds`."""
        end, found = time.perf_counter() + seconds, []
        while time.perf_counter() < end:
            if (frame := self._output.read(0.1)) is not None:
                found.append(frame.pixels.copy())
        return found
