"""Fader curves: how a fader's position maps to a parameter's position, and back for feedback."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

EXP_BASE = 10.0  # ratio of the slopes of `exp` at its end and at its start


@dataclass(frozen=True)
class FaderCurve:
    """Two increasing functions from [0, 1] to [0, 1]; each is the inverse of the other."""

    forward: Callable[[float], float]
    inverse: Callable[[float], float]


def _exp(x: float) -> float:
    return float(EXP_BASE**x - 1.0) / (EXP_BASE - 1.0)


def _log(x: float) -> float:
    return math.log1p(x * (EXP_BASE - 1.0)) / math.log(EXP_BASE)


def _smoothstep(x: float) -> float:
    return x * x * (3.0 - 2.0 * x)


def _inverse_smoothstep(y: float) -> float:
    """Trigonometric solution of the cubic y = 3x^2 - 2x^3."""
    return 0.5 - math.sin(math.asin(1.0 - 2.0 * y) / 3.0)


FADER_CURVES: Mapping[str, FaderCurve] = {
    "linear": FaderCurve(lambda x: x, lambda y: y),
    "exp": FaderCurve(_exp, _log),
    "log": FaderCurve(_log, _exp),
    "square": FaderCurve(lambda x: x * x, math.sqrt),
    "scurve": FaderCurve(_smoothstep, _inverse_smoothstep),
}


def clamp(x: float) -> float:
    """Return the nearest number in [0, 1]."""
    return min(max(x, 0.0), 1.0)
