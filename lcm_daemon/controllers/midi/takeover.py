"""What a control's position means: the value it stands for, and when a hand may take a value over.

A fader without a motor stands anywhere when the value it moves was moved by others. `jump` lets the value follow at
once; `pickup` lets it follow when the fader has come to it or past it; `scale` moves it along at once, faster or slower
than the fader, so that both come to the same end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lcm_daemon.controllers.curves import FADER_CURVES, clamp
from lcm_daemon.core.parameters import Parameter, Value

NEAR = 2.5 / 127  # of full travel: near enough to be picked up


def _twos_complement(raw: int) -> int:
    return raw if raw < 64 else raw - 128


def _binary_offset(raw: int) -> int:
    return raw - 64


def _signed_bit(raw: int) -> int:
    return -(raw & 63) if raw & 64 else raw


RELATIVE: Mapping[str, Callable[[int], int]] = {  # what one step up, one step down are sent as
    "twos_complement": _twos_complement,  # 1, 127
    "binary_offset": _binary_offset,  # 65, 63
    "signed_bit": _signed_bit,  # 1, 65
}


@dataclass(frozen=True)
class Scale:
    """From a position (0 to 1) to a value and back. low may lie above high. choices: the value is one of them."""

    low: float
    high: float
    curve: str = "linear"
    choices: tuple[str, ...] = ()

    def value(self, position: float) -> float | str:
        """The value at a position."""
        number = self.low + (self.high - self.low) * FADER_CURVES[self.curve].forward(clamp(position))
        return self.choices[min(max(round(number), 0), len(self.choices) - 1)] if self.choices else number

    def position(self, value: Value) -> float:
        """Where a value stands; outside the range, the nearer end."""
        number = float(self.choices.index(str(value)) if str(value) in self.choices else _number(value))
        if self.high == self.low:
            return 0.0
        return FADER_CURVES[self.curve].inverse(clamp((number - self.low) / (self.high - self.low)))


def scale_of(parameter: Parameter, span: tuple[float, float] | None, curve: str) -> Scale:
    """The scale of a control on a parameter: over `span`, or over the parameter's whole range."""
    whole = (0.0, len(parameter.choices) - 1.0) if parameter.choices else (0.0, 1.0)
    if parameter.high - parameter.low < float("inf"):
        whole = parameter.low, parameter.high
    return Scale(*(span or whole), curve, parameter.choices)


def _number(value: Value) -> float:
    return 0.0 if isinstance(value, str) else float(value)


def _jump(before: float | None, now: float, value: float) -> float | None:
    return now


def _pickup(before: float | None, now: float, value: float) -> float | None:
    passed = before is not None and (before - value) * (now - value) <= 0.0
    return now if passed or abs(now - value) <= NEAR else None


def _scale(before: float | None, now: float, value: float) -> float | None:
    if before is None:
        return None
    room, travel = (1.0 - before, 1.0 - value) if now > before else (before, value)
    return value + (now - before) * travel / room if room > 0.0 else now


TAKEOVER: Mapping[str, Callable[[float | None, float, float], float | None]] = {
    "jump": _jump, "pickup": _pickup, "scale": _scale,
}


def take_over(manner: str, before: float | None, now: float, value: float) -> float | None:
    """Where the value goes when a fader moves from `before` (None: nobody knows) to `now`; None: it stays.

    All are positions from 0 to 1; `value` is the value's own.
    """
    return TAKEOVER[manner](before, now, value)
