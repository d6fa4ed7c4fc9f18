"""Needs: what a parameter needs of others to have an effect. Controllers dim the control of one that has none now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Condition:
    """A test of another parameter's value.

    Attributes:
        parameter: That parameter's name.
        above: Its value must be above this number.
        below: Its value must be below this number.
        values: Its value must be one of these.
        filled: It must be a text that is not empty.
    """

    parameter: str
    above: float | None = None
    below: float | None = None
    values: tuple[str, ...] = ()
    filled: bool = False

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it is true of these values. A parameter that is not among them decides nothing."""
        value = values.get(self.parameter)
        if value is None:
            return True
        if self.values or self.filled:
            return value in self.values or (self.filled and value != "")
        return (self.above is None or value > self.above) and (self.below is None or value < self.below)


@dataclass(frozen=True)
class Need:
    """What a parameter needs to have an effect: that one of the conditions is true. Without any, it never has one.

    Attributes:
        reason: Why it has none otherwise, in words that follow "while": "guidance is 1 or lower".
        conditions: The conditions.
    """

    reason: str
    conditions: tuple[Condition, ...] = ()


def missing(needs: Sequence[Need], values: Mapping[str, Any]) -> str:
    """Why a parameter with these needs has no effect while the parameters have these values; "" if it has one."""
    unmet = (need.reason for need in needs if not any(condition.holds(values) for condition in need.conditions))
    return next(unmet, "")
