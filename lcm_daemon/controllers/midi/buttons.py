"""The values of a toggle, a momentary button, a radio group or a button that sets one value."""

from __future__ import annotations

import math

from lcm_daemon.controllers.midi.binding import Binding
from lcm_daemon.controllers.midi.takeover import scale_of
from lcm_daemon.core.parameters import Parameter, Refused, Value


def button_values(binding: Binding, parameter: Parameter) -> list[Value]:
    """Return the values of a button, coerced: (released, pressed) for toggle and momentary, one per radio button.

    A radio group without `values` has the options of a choice, or values spread evenly over a number's range.

    Raises:
        Refused: A value is not one of the parameter's.
    """
    count = len(binding.numbers) if binding.button == "radio" else 2
    if len(binding.values) == 1 and count == 2 and binding.button:
        raise Refused(f"{binding.button} needs two `values`, or none")
    if binding.values:
        given = list(binding.values)
    elif parameter.kind == "text":
        raise Refused(f"{parameter.name} is text and needs `values`")
    elif parameter.choices and binding.span is None:
        given = list(parameter.choices[:count])
    else:
        scale = scale_of(parameter, binding.span, binding.curve)
        given = [scale.value(i / max(count - 1, 1)) for i in range(count)]
    return [parameter.coerce(value) for value in given]


def value_index(values: list[Value], value: Value) -> int | None:
    """Return the index of a value among a button's values, or None."""
    return next((i for i, one in enumerate(values) if _same(one, value)), None)


def next_toggle_value(values: list[Value], value: Value) -> Value:
    """Return the value after a press of a toggle: the first if `value` is the second, else the second."""
    return values[0] if value_index(values, value) == 1 else values[1]


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
