"""Faults of the whole machine: other programs that take the processors, shared memory that is full."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Sequence
from multiprocessing import get_context

from lcm_daemon.commands.soak.scene import Check, Fault, Scene
from lcm_daemon.commands.soak.signals import KILL
from lcm_daemon.processes.bootstrap import terminal_signals_blocked
from lcm_daemon.processes.segments import FOLDER

STARVING_SECONDS = 12.0  # longer than an engine may take for a frame
PROGRAMS = 4  # for each processor
LEFT = 256 << 10  # bytes of shared memory that stay free
CHUNK = bytes(1 << 20)


class Starved(Fault):
    """Other programs take the processors. An engine that gets on is not replaced, however slow it is."""

    name = "machine-starved"
    does = f"lets {PROGRAMS} programs for each processor compute for {STARVING_SECONDS:g} s"
    hold = STARVING_SECONDS
    from_undo = True

    def begin(self, scene: Scene) -> None:
        self._pid, context = scene.pid("engine"), get_context("spawn")
        self._processes = [context.Process(target=_compute, args=(STARVING_SECONDS,), daemon=True)
                           for _ in range(PROGRAMS * (os.cpu_count() or 1))]
        with terminal_signals_blocked():
            for process in self._processes:
                process.start()

    def undo(self, scene: Scene) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    def is_over(self, scene: Scene, since: float) -> bool:
        return scene.renders(since)

    def checks(self, scene: Scene) -> Sequence[Check]:
        same = scene.pid("engine") == self._pid
        return [Check("the engine", "was slow and stayed" if same else "was replaced", same)]


def _compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(10_000))


class SharedMemoryFull(Fault):
    """Shared memory that is full when the next engine starts. Other programs of the machine get none either."""

    name = "machine-shared-memory-full"
    does = "fills /dev/shm for 8 s, for every program of this machine, and kills the engine"
    rest = 20.0
    hold = 8.0
    from_undo = True
    by_default = False

    def missing(self, scene: Scene) -> str:
        return "" if FOLDER.is_dir() else "only Linux has /dev/shm"

    def begin(self, scene: Scene) -> None:
        self._pid, self._file = scene.pid("engine"), FOLDER / f"lcm-soak-{os.getpid()}"
        with contextlib.suppress(OSError), self._file.open("wb", buffering=0) as file:
            while shutil.disk_usage(FOLDER).free > LEFT:
                file.write(CHUNK)
        scene.signal(self._pid, KILL)

    def undo(self, scene: Scene) -> None:
        self._file.unlink(missing_ok=True)

    def is_over(self, scene: Scene, since: float) -> bool:
        return scene.renders(since, self._pid)


FAULTS: tuple[Fault, ...] = (Starved(), SharedMemoryFull())
