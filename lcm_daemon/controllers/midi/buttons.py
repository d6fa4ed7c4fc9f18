"""Buttons: the values that a toggle, a momentary button, a radio group or a plain press stands for."""

from __future__ import annotations

import math

from lcm_daemon.controllers.midi.binding import Binding
from lcm_daemon.controllers.midi.takeover import scale_of
from lcm_daemon.core.parameters import Parameter, Refused, Value


def states(binding: Binding, parameter: Parameter) -> list[Value]:
    """The values of a button, coerced: (released, pressed) of a toggle or momentary one, else one for each button.

    A radio group without `values` goes through a choice's options, and spreads evenly over a number's range. Raises
    Refused where a value is none of the parameter's.
    """
    count = len(binding.numbers) if binding.button == "radio" else 2
    if len(binding.values) == 1 and count == 2 and binding.button:
        raise Refused(f"{binding.button} takes two `values`, or none")
    if binding.values:
        given = list(binding.values)
    elif parameter.kind == "text":
        raise Refused(f"{parameter.name} is text: say which in `values`")
    elif parameter.choices and binding.span is None:
        given = list(parameter.choices[:count])
    else:
        scale = scale_of(parameter, binding.span, binding.curve)
        given = [scale.value(i / max(count - 1, 1)) for i in range(count)]
    return [parameter.coerce(value) for value in given]


def state(found: list[Value], value: Value) -> int | None:
    """Which of the states a value is; None where it is none of them."""
    return next((i for i, one in enumerate(found) if _same(one, value)), None)


def next_state(found: list[Value], value: Value) -> Value:
    """Where a toggle goes from a value: from its second state to the first, from anywhere else to the second."""
    return found[0] if state(found, value) == 1 else found[1]


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
