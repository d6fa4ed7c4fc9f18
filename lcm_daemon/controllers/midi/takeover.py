"""The value of a control's position, and when a fader takes a value over.

A fader without a motor may be anywhere when its value was changed by something else. With `jump`, the value follows the
fader at once. With `pickup`, it follows once the fader has reached or passed it. With `scale`, it moves at once, faster
or slower than the fader, so that both reach the same end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lcm_daemon.controllers.curves import FADER_CURVES, clamp
from lcm_daemon.core.parameters import Parameter, Value

PICKUP_DISTANCE = 2.5 / 127  # of full travel: near enough to pick the value up


def _twos_complement(raw: int) -> int:
    return raw if raw < 64 else raw - 128


def _binary_offset(raw: int) -> int:
    return raw - 64


def _signed_bit(raw: int) -> int:
    return -(raw & 63) if raw & 64 else raw


RELATIVE: Mapping[str, Callable[[int], int]] = {  # codings of an encoder; behind each: raw values of a step up and down
    "twos_complement": _twos_complement,  # 1, 127
    "binary_offset": _binary_offset,  # 65, 63
    "signed_bit": _signed_bit,  # 1, 65
}


@dataclass(frozen=True)
class ControlScale:
    """Maps a control's position in [0, 1] to a parameter's value, and back.

    Attributes:
        low: Value at position 0. It may be higher than `high`.
        high: Value at position 1.
        curve: Key of FADER_CURVES.
        choices: If not empty, the value is one of them, and `low` and `high` are indices.
    """

    low: float
    high: float
    curve: str = "linear"
    choices: tuple[str, ...] = ()

    def value(self, position: float) -> float | str:
        """Return the value at a position."""
        number = self.low + (self.high - self.low) * FADER_CURVES[self.curve].forward(clamp(position))
        return self.choices[min(max(round(number), 0), len(self.choices) - 1)] if self.choices else number

    def position(self, value: Value) -> float:
        """Return the position of a value, or the nearer end for a value outside the range."""
        number = float(self.choices.index(str(value)) if str(value) in self.choices else _number(value))
        if self.high == self.low:
            return 0.0
        return FADER_CURVES[self.curve].inverse(clamp((number - self.low) / (self.high - self.low)))


def scale_of(parameter: Parameter, span: tuple[float, float] | None, curve: str) -> ControlScale:
    """Return the scale of a control for a parameter: over `span`, or over the parameter's whole range."""
    full_range = (0.0, len(parameter.choices) - 1.0) if parameter.choices else (0.0, 1.0)
    if parameter.high - parameter.low < float("inf"):
        full_range = parameter.low, parameter.high
    return ControlScale(*(span or full_range), curve, parameter.choices)


def _number(value: Value) -> float:
    return 0.0 if isinstance(value, str) else float(value)


def _jump(before: float | None, now: float, value: float) -> float | None:
    return now


def _pickup(before: float | None, now: float, value: float) -> float | None:
    passed = before is not None and (before - value) * (now - value) <= 0.0
    return now if passed or abs(now - value) <= PICKUP_DISTANCE else None


def _scale(before: float | None, now: float, value: float) -> float | None:
    if before is None:
        return None
    room, travel = (1.0 - before, 1.0 - value) if now > before else (before, value)
    return value + (now - before) * travel / room if room > 0.0 else now


TAKEOVER: Mapping[str, Callable[[float | None, float, float], float | None]] = {
    "jump": _jump, "pickup": _pickup, "scale": _scale,
}


def take_over(mode: str, before: float | None, now: float, value: float) -> float | None:
    """Return the new position of a value after a fader has moved, or None if the value does not follow.

    All positions are from 0 to 1.

    Args:
        mode: Key of TAKEOVER.
        before: The fader's position before, or None if it is unknown.
        now: The fader's position.
        value: The position that belongs to the present value.
    """
    return TAKEOVER[mode](before, now, value)
