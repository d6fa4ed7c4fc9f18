"""The cue list of a show: GO, BACK, GOTO, load, release, delays, automatic GOs, and cues that start at a time of day or
at a timecode.

The list decides when a cue starts. `Automation` then fades the parameters. If a controller moves a parameter during a
fade, the controller wins, because the newest move of a parameter counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lcm_daemon.automation.cue_messages import CueMessage
from lcm_daemon.automation.cue_names import find_cue
from lcm_daemon.automation.daily_schedule import DailySchedule
from lcm_daemon.automation.timecode_schedule import TimecodeSchedule, is_timecode
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.timecode import TimecodeReport


@dataclass(frozen=True)
class Cue:
    """A named set of values. A parameter that the cue does not name keeps its value.

    Attributes:
        name: what GOTO calls the cue.
        values: target value by parameter name.
        fade: seconds. Numbers, prompts and seeds fade; everything else changes when the fade starts.
        fades: seconds by parameter name, in place of `fade`.
        curve: a name in `FADE_CURVES`.
        delay: seconds from GO to the start of the fade.
        follow: seconds from the end of the fade to an automatic GO, or None.
        auto_continue: seconds from the start of the fade to an automatic GO, or None. A cue has one of both at most.
        recipe: name of the recipe to change to, or an empty string.
        source: name of the source to change to, or an empty string; guide: the same for the guide.
        at: time of day at which the cue starts every day, as "21:30", or timecode at which it starts, as "01:00:10:00",
            or an empty string.
        send: messages to other programs, sent when the fade starts.
        thumbnail: name of the picture of a recorded cue, see `Thumbnails`, or an empty string.
    """

    name: str
    values: Mapping[str, Value] = field(default_factory=dict)
    fade: float = 0.0
    curve: str = "linear"
    delay: float = 0.0
    follow: float | None = None
    recipe: str = ""
    source: str = ""
    guide: str = ""
    at: str = ""
    fades: Mapping[str, float] = field(default_factory=dict)
    auto_continue: float | None = None
    send: tuple[CueMessage, ...] = ()
    thumbnail: str = ""

    def seconds(self, name: str) -> float:
        """Return the fade time of a parameter."""
        return self.fades.get(name, self.fade)

    @property
    def time_of_day(self) -> str:
        """`at`, if it is a time of day, else an empty string."""
        return "" if is_timecode(self.at) else self.at

    @property
    def timecode(self) -> str:
        """`at`, if it is a timecode, else an empty string."""
        return self.at if is_timecode(self.at) else ""

    @property
    def duration(self) -> float:
        """Seconds until the last fade ends."""
        return max((self.seconds(name) for name in self.values), default=self.fade)


@dataclass(frozen=True)
class Position:
    """Where a cue list was at one moment: the cue that is shown, what waits, and its times in monotonic seconds."""

    current: Cue | None
    requested: tuple[float, Cue] | None
    follow_time: float | None
    loaded: str
    fade_end: float
    paused_at: float | None


class CueList:
    """The cues in order, and the position of the show among them. `update` returns each cue when its fade starts.

    Args:
        cues: the cues.
        loop: whether GO after the last cue starts the first one.
    """

    def __init__(self, cues: Sequence[Cue], loop: bool = False) -> None:
        self.cues, self.loop = list(cues), loop
        self.current: Cue | None = None  # the cue that is shown as active
        self.schedule, self._timecode_schedule = DailySchedule(), TimecodeSchedule()
        self._checked = -1  # whole seconds of the wall clock at the last check of the schedule
        self._last: Cue | None = None  # the last cue that started; GO and BACK count from here. PANIC keeps it
        self._requested: tuple[float, Cue] | None = None  # start time and cue; a newer request replaces it
        self._follow_time: float | None = None  # when the automatic GO is due
        self._loaded = ""  # name of the cue that the next GO starts, if it is not the next one of the list
        self._fade_end = 0.0  # when the fade of the current cue ends
        self._paused_at: float | None = None

    @property
    def pending(self) -> str:
        """Name of the cue that waits for its delay, or an empty string."""
        return self._requested[1].name if self._requested else ""

    @property
    def standby(self) -> str:
        """Name of the cue that the next GO starts, or an empty string at the end of the list."""
        return self._name_at(self._index_of_go())

    @property
    def before(self) -> str:
        """Name of the cue that BACK starts, or an empty string at the start of the list."""
        return self._name_at(self._index_of_back())

    @property
    def is_paused(self) -> bool:
        """Whether delay and automatic GO wait for `resume`."""
        return self._paused_at is not None

    def resolve(self, name: str) -> str:
        """Return the name of the cue that GOTO would request, or an empty string."""
        return self._name_at(self._find(name))

    def named(self, name: str) -> Cue | None:
        """Return the cue with exactly this name."""
        return next((cue for cue in self.cues if cue.name == name), None)

    def go(self, now: float, fade: float | None = None) -> Cue | None:
        """Request the loaded cue, or the one after the newest one. Return None after the last.

        Args:
            now: monotonic seconds.
            fade: seconds, in place of the cue's own fade times.
        """
        cue = self._request(self._index_of_go(), now, fade)
        if cue is not None:
            self._loaded = ""
        return cue

    def back(self, now: float, fade: float | None = None) -> Cue | None:
        """Request the cue before the newest one. Return None before the first."""
        return self._request(self._index_of_back(), now, fade)

    def goto(self, name: str, now: float, fade: float | None = None) -> Cue | None:
        """Request a cue by its name or its number ("1" is the first). Return None if none matches."""
        return self._request(self._find(name), now, fade)

    def load(self, name: str) -> str:
        """Let the next GO start a cue, by its name or number. Return its name, or an empty string if none matches."""
        found = self.resolve(name)
        self._loaded = found or self._loaded
        return found

    def is_under_way(self, name: str, now: float, fade: float | None = None) -> bool:
        """Whether GOTO would request the cue, with this fade, that waits for its delay or still fades."""
        wanted = self.named(name)
        if wanted is None:
            return False
        wanted = _with_fade(wanted, fade)
        if self._requested:
            return self._requested[1] == wanted
        return self.current == wanted and (now if self._paused_at is None else self._paused_at) < self._fade_end

    def start(self, cue: Cue, now: float) -> None:
        """Make a cue the current one now, without a delay. Its automatic GO is timed from here."""
        self._requested = self._paused_at = None
        if cue.name == self._loaded:
            self._loaded = ""
        self.current = self._last = cue
        self._fade_end = now + cue.duration
        self._schedule_follow(now)

    def pause(self, now: float) -> None:
        """Let the delay and the automatic GO wait for `resume`."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """Continue after `pause`, with the time that was left."""
        if self._paused_at is None:
            return
        passed, self._paused_at = now - self._paused_at, None
        self._fade_end += passed
        if self._requested:
            self._requested = (self._requested[0] + passed, self._requested[1])
        if self._follow_time is not None:
            self._follow_time += passed

    def stop(self) -> None:
        """Cancel what waits; the current cue stays current."""
        self._requested = self._follow_time = self._paused_at = None
        self._fade_end = 0.0

    def restore(self, name: str, now: float, scheduled: float = 0.0) -> None:
        """Continue at a cue that an earlier run had started. Its automatic follow is timed from now.

        scheduled: `schedule.done` of that run. A cue that fell due since then starts at the next update.
        """
        self.current = self._last = next((cue for cue in self.cues if cue.name == name), None)
        self._schedule_follow(now)
        self.schedule.restore(scheduled)

    def release(self) -> None:
        """Leave the cue list: no cue is current, nothing follows, and the next GO starts the first cue."""
        self.stop()
        self.current, self._last, self._loaded = None, None, ""

    def panic(self) -> None:
        """Cancel what waits, and show no cue as current, because its look is gone.

        GO and BACK still count from the last cue that started: after PANIC, GO starts the cue after that one.
        """
        self.stop()
        self.current, self._loaded = None, ""

    @property
    def position(self) -> Position:
        """Where the list is now, for `put_back`."""
        return Position(self.current, self._requested, self._follow_time, self._loaded, self._fade_end, self._paused_at)

    def put_back(self, position: Position, passed: float) -> None:
        """Return to where the list was before a PANIC. Delay and automatic GO continue with the time they had left.

        Nothing happens if a cue has been requested, started or loaded since. A cue that is gone does not come back.

        Args:
            position: The position before the PANIC.
            passed: Seconds since then.
        """
        if self.current or self._requested or self._loaded:
            return
        self._loaded = position.loaded
        if position.current and self.named(position.current.name):
            self.current, self._follow_time = position.current, _later(position.follow_time, passed)
        if position.requested and self.named(position.requested[1].name):
            self._requested = (position.requested[0] + passed, position.requested[1])
        self._paused_at, self._fade_end = _later(position.paused_at, passed), position.fade_end + passed

    def record(self, cue: Cue) -> None:
        """Append a cue, or replace the cue of the same name."""
        names = [one.name for one in self.cues]
        if cue.name in names:
            self.cues[names.index(cue.name)] = cue
        else:
            self.cues.append(cue)

    def replace(self, cues: Sequence[Cue], old_name: str = "", new_name: str = "") -> None:
        """Use these cues, in this order. The position in the list stays, and so does what waits.

        A cue that is gone does not start and is not current; nothing follows it, and GO and BACK count from the cue
        before it.

        Args:
            cues: the cues.
            old_name: earlier name of a cue that was renamed, or an empty string.
            new_name: its name in `cues`.
        """
        before, names = [cue.name for cue in self.cues], {cue.name for cue in cues}
        self.cues = list(cues)

        def found(cue: Cue | None) -> Cue | None:
            if cue is not None and old_name and cue.name == old_name:
                cue = replace(cue, name=new_name)
            return cue if cue is not None and cue.name in names else None

        requested = found(self._requested[1]) if self._requested else None
        self._requested = (self._requested[0], requested) if self._requested and requested else None
        if old_name and self._loaded == old_name:
            self._loaded = new_name
        last, self._last = self._last, found(self._last)
        if last is not None and self._last is None and last.name in before:
            earlier = [name for name in before[:before.index(last.name)] if name in names]
            self._last = self.named(earlier[-1]) if earlier else None
        current, self.current = self.current, found(self.current)
        if current is not None and self.current is None:
            self._follow_time = None

    def change(self, cue: Cue, now: float) -> None:
        """Replace the cue of the same name. The automatic GO of the current cue is timed again."""
        self.record(cue)
        if self.current is None or self.current.name != cue.name:
            return
        automatic = (self.current.follow, self.current.auto_continue) != (cue.follow, cue.auto_continue)
        self.current = replace(self.current, follow=cue.follow, auto_continue=cue.auto_continue)
        if automatic:
            self._follow_time = None if cue.follow is None else max(now, self._fade_end) + cue.follow

    def update(
        self, now: float, wall: float | None = None, timecode: TimecodeReport | None = None,
    ) -> Cue | None:
        """Return the cue that starts now, if one does.

        Args:
            now: monotonic seconds.
            wall: the wall clock, in seconds since 1970.
            timecode: the last report of a timecode, or None.
        """
        if wall is not None and int(wall) != self._checked:
            self._checked = int(wall)
            self._check_schedule(wall, now)
        if timecode is not None:
            self._check_timecode(timecode, now)
        if self._paused_at is not None:
            return None
        if self._follow_time is not None and now >= self._follow_time:
            self._follow_time = None  # also after the last cue: one that is recorded later must not start by itself
            self.go(now)
        if self._requested is None or now < self._requested[0]:
            return None
        self.start(self._requested[1], now)
        return self.current

    def _schedule_follow(self, now: float) -> None:
        cue = self.current
        if cue is not None and cue.auto_continue is not None:
            self._follow_time = now + cue.auto_continue
        else:
            self._follow_time = None if cue is None or cue.follow is None else now + cue.duration + cue.follow

    def _check_schedule(self, wall: float, now: float) -> None:
        name = self.schedule.due(wall, [(cue.name, cue.at) for cue in self.cues if cue.time_of_day])
        if name:
            self._request(self._find(name), now)

    def _check_timecode(self, report: TimecodeReport, now: float) -> None:
        newest = self._requested[1] if self._requested else self.current
        times = [(cue.name, cue.at) for cue in self.cues if cue.timecode]
        name = self._timecode_schedule.due(report, now, times, newest.name if newest else "")
        if name:
            self._request(self._find(name), now)

    def _find(self, name: str) -> int:
        return find_cue([cue.name for cue in self.cues], name)

    def _index_of_go(self) -> int:
        names = [cue.name for cue in self.cues]
        if self._loaded in names:
            return names.index(self._loaded)
        index = self._position() + 1
        return index % len(names) if self.loop and names else index

    def _index_of_back(self) -> int:
        position = self._position()
        return len(self.cues) - 1 if self.loop and position == 0 else position - 1

    def _name_at(self, index: int) -> str:
        return self.cues[index].name if 0 <= index < len(self.cues) else ""

    def _position(self) -> int:
        """Return the index of the newest cue, requested or started; -1 before the first."""
        newest = self._requested[1] if self._requested else self._last
        names = [cue.name for cue in self.cues]  # by name, because the cue may have been recorded again
        return names.index(newest.name) if newest and newest.name in names else -1

    def _request(self, index: int, now: float, fade: float | None = None) -> Cue | None:
        """Let a cue start after its delay, in place of what waits. It ends a pause."""
        if not 0 <= index < len(self.cues):
            return None
        cue = _with_fade(self.cues[index], fade)
        self._requested, self._follow_time, self._paused_at = (now + cue.delay, cue), None, None
        return cue


def _later(time: float | None, seconds: float) -> float | None:
    return None if time is None else time + seconds


def _with_fade(cue: Cue, fade: float | None) -> Cue:
    return cue if fade is None else replace(cue, fade=fade, fades={})
