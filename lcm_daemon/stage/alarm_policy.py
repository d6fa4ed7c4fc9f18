"""AlarmPolicy: which alarms are sent, and when. What comes and goes, or lasts, makes few messages."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

BEGINS: Final = "begins"
LASTS: Final = "lasts"
ENDS: Final = "ends"
State = Literal["begins", "lasts", "ends"]
RETURNS = 3  # an alarm that has begun so often is sent, however short each time was
MOST_A_MINUTE = 10  # messages about all causes; further ones wait


@dataclass(frozen=True)
class AlarmMessage:
    """What receivers get.

    Attributes:
        cause: The alarm's name.
        text: What is wrong; of an alarm that has ended, what was.
        state: BEGINS, LASTS (it was sent before) or ENDS.
        seconds: For how long it lasts, or has been over.
        times: How often it has begun since it was sent last.
    """

    cause: str
    text: str
    state: State
    seconds: float
    times: int = 1


@dataclass
class _Alarm:
    """One cause. Times are monotonic seconds."""

    text: str
    is_on: bool
    changed_at: float  # when it last began or ended
    begun: int = 0  # since it was sent
    is_sent: bool = False  # receivers think that it lasts
    sent_at: float = -math.inf


class AlarmPolicy:
    """Decides by the state of each cause: what is sent is what holds at that time.

    Args:
        after: Seconds that an alarm must last, or be over, before it is sent.
        pause: Seconds between two messages about one cause, at least.
        repeat: Seconds after which an alarm that lasts is sent again; 0 for never.
    """

    def __init__(self, after: float, pause: float, repeat: float) -> None:
        self._after, self._pause, self._repeat = after, pause, repeat
        self._alarms: dict[str, _Alarm] = {}
        self._sent: deque[float] = deque(maxlen=MOST_A_MINUTE)  # when the last messages were

    def set(self, cause: str, text: str, now: float) -> None:
        """An alarm has begun, has another text, or has ended (""). now: Monotonic seconds."""
        alarm = self._alarms.setdefault(cause, _Alarm(text, False, now))
        if alarm.is_on != bool(text):
            alarm.is_on, alarm.changed_at = bool(text), now
            alarm.begun += alarm.is_on
        alarm.text = text or alarm.text

    def due(self, now: float) -> list[AlarmMessage]:
        """What is to be sent now."""
        found = []
        for cause, alarm in tuple(self._alarms.items()):
            if not alarm.is_on and not alarm.is_sent and now - alarm.changed_at > max(self._after, self._pause):
                del self._alarms[cause]
                continue
            state = self._state(alarm, now)
            if state is not None and self._has_room(now):
                found.append(AlarmMessage(cause, alarm.text, state, now - alarm.changed_at, alarm.begun))
                alarm.is_sent, alarm.sent_at, alarm.begun = state != ENDS, now, 0
                self._sent.append(now)
        return found

    def _state(self, alarm: _Alarm, now: float) -> State | None:
        """What is to be said of it; None for nothing."""
        waited, is_settled = now - alarm.sent_at, now - alarm.changed_at >= self._after
        if alarm.is_on and alarm.is_sent:
            return LASTS if self._repeat and waited >= self._repeat else None
        if waited < self._pause:
            return None
        if alarm.is_sent:
            return ENDS if is_settled else None
        is_due = (alarm.is_on and is_settled) or alarm.begun >= RETURNS
        return BEGINS if is_due else None

    def _has_room(self, now: float) -> bool:
        return len(self._sent) < MOST_A_MINUTE or now - self._sent[0] >= 60.0
