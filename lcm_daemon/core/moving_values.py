"""MovingValues: the numbers that differ at this moment from what they were set to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lcm_daemon.core.parameters import Value, Values


@dataclass(frozen=True)
class MovingValues:
    """Numbers that fade, or that a modulator or the governor moves. A parameter that is not named is at its value.

    Attributes:
        faded: Values on their fades, without modulation: what a fader takes over without a jump.
        in_force: Values in force, with modulation and the governor's changes.
    """

    faded: Mapping[str, Value] = field(default_factory=dict)
    in_force: Mapping[str, Value] = field(default_factory=dict)

    @staticmethod
    def of(targets: Mapping[str, Value], faded: Values, in_force: Values) -> MovingValues:
        """Keep what differs from the targets. A text or a seed that fades has no single value and is skipped."""
        return MovingValues(_different(targets, faded), _different(targets, in_force))


def _different(targets: Mapping[str, Value], values: Values) -> dict[str, Value]:
    return {name: value for name, value in values.items()
            if isinstance(value, int | float) and value != targets.get(name, value)}
