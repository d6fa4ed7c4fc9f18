"""Puts the two halves of a 14-bit value together, and finds the upper end stop of a control.

MIDI 1.0 says: a coarse half (MSB) sets the fine half (LSB) to 0, and a fine half may come alone. Most devices send the
coarse half first, some the fine half. Which one comes first is learned per control from the first two halves after a
pause. A half that may be followed by the other one is held for HOLD seconds, so that no value in between is seen.
"""

from __future__ import annotations

import math

MAX_7_BIT, MAX_14_BIT = 127, 16383  # full scale of one data byte, and of two
PAUSE = 0.03  # seconds without a half, after which a movement begins; a JACK period of 1,024 frames takes 21 ms
HOLD = 0.01  # seconds that a half waits for the other one
COARSEST_STEP = 16  # raw values; that of a fader with 10 bits, the fewest that are sent in two halves
LOWEST_STOP = 0x7C << 7  # raw value; a fader that never sends more than some value above this ends there

RawValue = tuple[int, int]  # a value and its full scale


class HalfPair:
    """The two halves of one control. A control that never sends a fine half has 7 bits."""

    def __init__(self) -> None:
        self._coarse: int | None = None
        self._fine: int | None = None
        self._fine_first = False
        self._held: float | None = None  # when the half came that waits for the other one
        self._last = -math.inf  # when the last half came
        self._halves = 0  # since the last pause
        self._last_is_fine = False

    @property
    def is_waiting(self) -> bool:
        """Whether a half waits for the other one: call `flush` after HOLD seconds."""
        return self._held is not None

    def receive(self, value: int, is_fine: bool, now: float) -> RawValue | None:
        """Take a half that arrived at `now` (seconds). Return the value, or None while the half waits for the other."""
        completes = self._learn_order(is_fine, now)
        was_held, self._held = self._held is not None, None
        if is_fine:
            self._fine = value
            if self._coarse is None or (self._fine_first and not completes):
                self._held = now
                return None
            return self._coarse << 7 | value, MAX_14_BIT
        self._coarse = value
        if self._fine is None:
            return value, MAX_7_BIT
        if self._fine_first and (was_held or completes):
            return value << 7 | self._fine, MAX_14_BIT
        if self._fine_first:
            return self._coarse_alone(value)
        self._held = now
        return None

    def flush(self, now: float) -> RawValue | None:
        """Return the value of a half that has waited for HOLD seconds: the other half does not come."""
        if self._held is None or now - self._held < HOLD:
            return None
        self._held = None
        if self._coarse is None or self._fine is None:
            return None  # only a fine half so far
        if self._last_is_fine:
            return self._coarse << 7 | self._fine, MAX_14_BIT
        return self._coarse_alone(self._coarse)

    def _coarse_alone(self, value: int) -> RawValue:
        """The fine half is 0, except at the upper end: there, a control that sends coarse halves has no more to say."""
        self._fine = MAX_7_BIT if value == MAX_7_BIT else 0
        return value << 7 | self._fine, MAX_14_BIT

    def _learn_order(self, is_fine: bool, now: float) -> bool:
        """Return whether this half is the second one since a pause, and the other one than the first."""
        self._halves = 1 if now - self._last > PAUSE else self._halves + 1
        completes = self._halves == 2 and is_fine != self._last_is_fine
        if completes:
            self._fine_first = not is_fine
        self._last, self._last_is_fine = now, is_fine
        return completes


class EndStop:
    """Finds the full scale of a control from what it has sent: many faders do not reach 16383.

    A fader with 12 bits sends multiples of 4, and ends at 16380. Others end some steps earlier, with a full fine half.
    """

    def __init__(self) -> None:
        self._bits = self._highest = 0

    def full_scale(self, raw: int) -> int:
        """Return the full scale, once the control has sent `raw`."""
        self._bits |= raw
        self._highest = max(self._highest, raw)
        step = min(self._bits & -self._bits or COARSEST_STEP, COARSEST_STEP)  # the lowest bit that was ever set
        if self._highest + step > MAX_14_BIT:
            return self._highest
        if self._highest >= LOWEST_STOP and self._highest & MAX_7_BIT == MAX_7_BIT:
            return self._highest
        return MAX_14_BIT
