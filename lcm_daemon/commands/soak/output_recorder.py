"""OutputRecorder: receives outputs in a process of its own, and passes on when each frame came and how bright it is."""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from queue import Empty, SimpleQueue

from lcm_daemon import transports
from lcm_daemon.commands.soak.timeline import FrameSeen
from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.thread_priority import SINK, keep_time, prepare_timing
from lcm_daemon.processes.bootstrap import terminal_signals_blocked
from lcm_daemon.processes.pipes import Connection

BATCH_SECONDS = 0.2  # between two messages
EVERY = 16  # of how many pixels one is looked at, each way


class OutputRecorder:
    """Receives several outputs.

    Args:
        outputs: (transport, name) of each, by a name for it.
    """

    def __init__(self, outputs: Mapping[str, tuple[str, str]]) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_record, args=(theirs, dict(outputs)), daemon=True)
        with terminal_signals_blocked():
            self._process.start()
        theirs.close()

    def frames(self) -> dict[str, list[FrameSeen]]:
        """The frames that came since the last call, by the name of the output."""
        found: dict[str, list[FrameSeen]] = {}
        with contextlib.suppress(EOFError, OSError):
            while self._pipe.poll():
                for name, frame in self._pipe.recv():
                    found.setdefault(name, []).append(FrameSeen(*frame))
        return found

    def stop(self) -> None:
        self._pipe.close()
        self._process.join(3)
        self._process.kill()


_Seen = SimpleQueue[tuple[str, tuple[float, float, bool]]]


def _record(pipe: Connection, outputs: Mapping[str, tuple[str, str]]) -> None:
    """Receive until the pipe is closed. What waits for a processor beside the engines would measure its own waits."""
    prepare_timing(real_time=True)
    seen: _Seen = SimpleQueue()
    for name, (transport, sender) in outputs.items():
        threading.Thread(target=_receive, args=(name, transport, sender, seen), daemon=True).start()
    with contextlib.suppress(OSError, EOFError, KeyboardInterrupt):
        while not pipe.poll(BATCH_SECONDS):
            if batch := _drain(seen):
                pipe.send(batch)


def _drain(seen: _Seen) -> Sequence[tuple[str, tuple[float, float, bool]]]:
    found = []
    with contextlib.suppress(Empty):
        while True:
            found.append(seen.get_nowait())
    return found


def _receive(name: str, transport: str, sender: str, seen: _Seen) -> None:
    """Receive one output. A sender that ends is waited for."""
    kind = transports.load(transport).source
    assert kind is not None
    keep_time(SINK)
    digest = 0
    while True:
        source = kind({"name": sender})
        with contextlib.suppress(TransportError):
            source.open()
            while True:
                frame = source.read(0.2)
                if frame is None:
                    continue
                sample = frame.pixels[::EVERY, ::EVERY, :3]
                before, digest = digest, zlib.crc32(sample.tobytes())
                seen.put((name, (time.monotonic(), float(sample.mean()), digest != before)))
        source.close()
        time.sleep(0.1)
