"""Curves: how a fader's way (0 to 1) becomes a parameter's (0 to 1), and the way back for feedback."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

BASE = 10.0  # how much steeper `exp` is at its end than at its beginning


@dataclass(frozen=True)
class Curve:
    """Two functions of 0 to 1 onto itself, rising, one the other's inverse."""

    there: Callable[[float], float]
    back: Callable[[float], float]


CURVES: Mapping[str, Curve] = {
    "linear": Curve(lambda x: x, lambda y: y),
    "exp": Curve(lambda x: (BASE**x - 1.0) / (BASE - 1.0), lambda y: math.log1p(y * (BASE - 1.0)) / math.log(BASE)),
    "log": Curve(lambda x: math.log1p(x * (BASE - 1.0)) / math.log(BASE), lambda y: (BASE**y - 1.0) / (BASE - 1.0)),
    "square": Curve(lambda x: x * x, math.sqrt),
    "scurve": Curve(  # 3x^2 - 2x^3, "smoothstep"; its inverse by the trigonometric solution of the cubic
        lambda x: x * x * (3.0 - 2.0 * x), lambda y: 0.5 - math.sin(math.asin(1.0 - 2.0 * y) / 3.0)),
}


def clamp(x: float) -> float:
    """The nearest number from 0 to 1."""
    return min(max(x, 0.0), 1.0)
