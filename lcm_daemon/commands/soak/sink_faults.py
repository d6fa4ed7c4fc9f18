"""Faults of the sinks: a name that is taken, a disk that is full, a display that hangs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

import psutil

from lcm_daemon import transports
from lcm_daemon.commands.soak.scene import Check, Fault, Scene
from lcm_daemon.commands.soak.signals import CAN_STOP, CONTINUE, STOP
from lcm_daemon.core.errors import TransportError
from lcm_daemon.transports.base import Sink


class NameTaken(Fault):
    """Another program that sends under the name of a sink."""

    name = "sink-name-taken"
    does = "switches a sink off, lets another program take its name, and switches it on; gives the name back after 5 s"
    hold = 5.0
    from_undo = True

    def begin(self, scene: Scene) -> None:
        scene.show.send(f"/lcm/sink/{scene.second_sink}", 0)
        scene.wait(1.0)
        kind = transports.load("memory").sink
        assert kind is not None
        self._taken: Sink | None = kind({"name": scene.second_sink})
        try:
            self._taken.open((64, 64), 30.0)
        except TransportError:
            self._taken = None
        scene.show.send(f"/lcm/sink/{scene.second_sink}", 1)

    def undo(self, scene: Scene) -> None:
        if self._taken is not None:
            self._taken.close()

    def is_over(self, scene: Scene, since: float) -> bool:
        sinks = str(scene.observer.status_since(since).get("sinks", ""))
        return f"memory {scene.second_sink}: running" in sinks


class DiskFull(Fault):
    """A disk on which nothing can be written any more, while the output is recorded."""

    name = "disk-full"
    does = "records the output, and lets no file of the stage grow any more for 6 s (RLIMIT_FSIZE)"
    hold = 8.0
    from_undo = True

    def missing(self, scene: Scene) -> str:
        return "" if sys.platform == "linux" else "only Linux limits the files of another process"

    def begin(self, scene: Scene) -> None:
        scene.show.send("/lcm/sink/record", 1)
        scene.wait(2.0)
        self._limit(scene, 0)

    def undo(self, scene: Scene) -> None:
        if sys.platform == "linux":
            self._limit(scene, psutil.RLIM_INFINITY)
        scene.show.send("/lcm/sink/record", 0)

    def _limit(self, scene: Scene, size: int) -> None:
        if sys.platform == "linux":
            with contextlib.suppress(psutil.Error, OSError):
                scene.show.process.rlimit(psutil.RLIMIT_FSIZE, (size, psutil.RLIM_INFINITY))

    def is_over(self, scene: Scene, since: float) -> bool:
        return scene.renders(since)


class DisplayHung(Fault):
    """A window whose process is stopped, as where a display's driver hangs."""

    name = "display-hung"
    does = "stops the process of a window for 8 s (SIGSTOP)"
    hold = 8.0
    from_undo = True

    def missing(self, scene: Scene) -> str:
        if not CAN_STOP:
            return "Windows does not stop processes"
        return "" if self._windows(scene) else "the copy shows no window: PySDL2 is not installed, or SDL has no driver"

    def begin(self, scene: Scene) -> None:
        self._stopped = self._windows(scene)
        self._signal(STOP)

    def undo(self, scene: Scene) -> None:
        self._signal(CONTINUE)

    def _signal(self, number: int) -> None:
        for process in self._stopped:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    @staticmethod
    def _windows(scene: Scene) -> Sequence[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return [each for each in scene.show.process.children() if
                    any("window_process" in word for word in each.cmdline())]
        return []

    def is_over(self, scene: Scene, since: float) -> bool:
        return "window" in str(scene.observer.status_since(since).get("sinks", "")) and bool(self._windows(scene))

    def checks(self, scene: Scene) -> list[Check]:
        shown = str(scene.observer.status_since(0.0).get("sinks", ""))
        return [Check("the window is open again", shown[:200], bool(self._windows(scene)))]


FAULTS: tuple[Fault, ...] = (NameTaken(), DiskFull(), DisplayHung())
