"""Faults of the machine: a power cut that tears the files of the state, a clock that is set."""

from __future__ import annotations

import time
import zoneinfo
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lcm_daemon.commands.soak.scene import Check, Fault, Scene

START_SECONDS = 60.0  # until a whole daemon renders again after a power cut
CLOCK_HOLD = 5.0  # seconds
NTP_STEPS = (0.5, -0.5, 0.128, -0.128, 2.0, -2.0)  # seconds; 0.128 is what ntpd steps from


class PowerCut(Fault):
    """Everything is killed at once, and the file that was written last is cut off anywhere."""

    name = "power-cut"
    does = "kills all processes while a value moves, cuts off a file of the state anywhere, and starts again"
    limit = START_SECONDS
    ends_stage = True
    from_undo = True

    def begin(self, scene: Scene) -> None:
        self._sent, until = 0, time.monotonic() + 1.0
        while time.monotonic() < until:
            self._sent += 1
            scene.show.send("/lcm/seed", self._sent)
            scene.wait(0.02)
        scene.wait(0.5)
        scene.show.cut_power()
        self._torn = _tear(scene)

    def undo(self, scene: Scene) -> None:
        scene.show.start()

    def is_over(self, scene: Scene, since: float) -> bool:
        return scene.renders(since)

    def checks(self, scene: Scene) -> Sequence[Check]:
        found = scene.value("seed")
        ok = isinstance(found, int) and 0 < found <= self._sent
        return [Check("it starts with an earlier look", f"seed {found} of {self._sent}; {self._torn}", ok)]


def _tear(scene: Scene) -> str:
    """Cut off the newest file of the state at any byte after its middle; say what was done."""
    files = [file for file in scene.show.state.rglob("*") if file.is_file()] if scene.show.state.is_dir() else []
    if not files:
        return "no file was there"
    file: Path = max(files, key=lambda each: each.stat().st_mtime)
    content = file.read_bytes()
    kept = scene.chance.randrange(len(content) // 2, len(content) + 1) if content else 0
    file.write_bytes(content[:kept])
    return f"{file.suffix} cut off after {kept} of {len(content)} bytes"


class ClockSet(Fault):
    """A clock that is set to another time, and back."""

    hold = CLOCK_HOLD
    limit = 5.0
    from_undo = True

    def __init__(self, name: str, does: str, shifts: Sequence[float]) -> None:
        self.name, self.does, self._shifts = name, does, shifts

    def begin(self, scene: Scene) -> None:
        self._alarm = str(scene.observer.status_since(0.0).get("alarm") or "")
        for shift in self._shifts:
            scene.show.set_clock(shift)
            scene.wait(CLOCK_HOLD / len(self._shifts))

    def undo(self, scene: Scene) -> None:
        scene.show.set_clock(0.0)

    def is_over(self, scene: Scene, since: float) -> bool:
        return scene.renders(since)


class SummerTime(ClockSet):
    """The hour that comes twice: the clock is set to three seconds before it."""

    def __init__(self) -> None:
        super().__init__("clock-summer-time", "sets the clock to the end of summer time in Berlin, and back", (0.0,))

    def begin(self, scene: Scene) -> None:
        scene.show.set_clock((_end_of_summer() - datetime.now(UTC)).total_seconds() - 3.0)
        scene.wait(CLOCK_HOLD)


def _end_of_summer(zone: str = "Europe/Berlin") -> datetime:
    """The next moment at which clocks of a time zone are set back; now, if that zone has none."""
    try:
        place = zoneinfo.ZoneInfo(zone)
    except zoneinfo.ZoneInfoNotFoundError:
        return datetime.now(UTC)
    moment = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for _ in range(24 * 370):
        following = moment + timedelta(hours=1)
        before, after = (each.astimezone(place).utcoffset() or timedelta() for each in (moment, following))
        if after < before:
            return following
        moment = following
    return datetime.now(UTC)


FAULTS: tuple[Fault, ...] = (
    PowerCut(),
    ClockSet("clock-forward", "sets the clock one hour forward, and back", (3600.0,)),
    ClockSet("clock-back", "sets the clock one hour back, and forward", (-3600.0,)),
    ClockSet("clock-steps", "sets the clock by what network time sets it: up to 2 s, six times", NTP_STEPS),
    SummerTime(),
)
