"""Faults of the desk: the process of OSC, MIDI and the page is killed or stopped, while a value is sent."""

from __future__ import annotations

import time

from lcm_daemon.commands.soak.scene import DESK_SECONDS, Check, Fault, Scene
from lcm_daemon.commands.soak.signals import CAN_STOP, KILL, STOP

PROBE_SECONDS = 0.2
CONFIRMED_SECONDS = 3.0  # until the page shows the value; its status comes twice a second


class DeskSignal(Fault):
    """A signal to the desk. Values that are sent while it does not answer are expected to count."""

    limit = DESK_SECONDS

    def __init__(self, name: str, does: str, number: int) -> None:
        self.name, self.does, self._number = name, does, number

    def begin(self, scene: Scene) -> None:
        self._before = scene.value("seed")
        self._sent = scene.chance.randrange(1, 1 << 20)
        scene.signal(scene.pid("desk"), self._number)
        scene.show.send("/lcm/seed", self._sent)
        time.sleep(0.1)
        scene.show.send("/lcm/seed", self._sent + 1)

    def is_over(self, scene: Scene, since: float) -> bool:
        return scene.show.carries_out(PROBE_SECONDS)

    def checks(self, scene: Scene) -> list[Check]:
        kept = scene.wait(CONFIRMED_SECONDS, lambda: scene.value("seed") == self._sent + 1)
        found = scene.value("seed")
        if isinstance(self._before, int):
            scene.show.send("/lcm/seed", self._before)
        said = "yes" if kept else f"sent {self._sent + 1}, in force {found}"
        return [Check("values sent during it count", said, kept)]


FAULTS: tuple[Fault, ...] = (
    DeskSignal("desk-kill", "kills the desk, and sends values (SIGKILL)", KILL),
    *([DeskSignal("desk-stop", "stops the desk, and sends values (SIGSTOP)", STOP)] if CAN_STOP else []),
)
