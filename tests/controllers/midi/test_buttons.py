"""The values of buttons."""

from __future__ import annotations

from typing import Any

import pytest

from lcm_daemon.controllers.midi.buttons import button_values, next_toggle_value, value_index
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Refused
from tests.rigs.midi import bindings


@pytest.mark.parametrize(("line", "found"), [
    ("{note: 1, to: freeze, button: toggle}", [False, True]),
    ("{note: 1, to: noise, button: toggle}", ["fixed", "walking"]),
    ("{note: 1, to: mix, button: momentary, range: [0.2, 0.8]}", [0.2, 0.8]),
    ("{note: 1, to: steps, button: toggle, values: [1, 99]}", [1, 8]),  # coerced
    ("{note: [1, 2], to: mode, button: radio}", ["image", "text"]),
    ("{note: [1, 2, 3], to: mix, button: radio}", [0.0, 0.5, 1.0]),
    ("{note: [1, 2], to: prompt, button: radio, values: [ice, lava]}", ["ice", "lava"]),
])
def test_button_values(line: str, found: list[Any]) -> None:
    (binding,) = bindings(line)
    assert button_values(binding, TABLE[binding.to]) == (pytest.approx(found) if binding.to == "mix" else found)


@pytest.mark.parametrize(("line", "text"), [
    ("{note: 1, to: prompt, button: toggle}", "prompt is text and needs `values`"),
    ("{note: 1, to: prompt, button: toggle, value: ice}", "toggle needs two `values`"),
    ("{note: [1, 2], to: mode, button: radio, values: [image, film]}", "mode is one of"),
])
def test_values_that_the_parameter_does_not_have_are_refused(line: str, text: str) -> None:
    (binding,) = bindings(line)
    with pytest.raises(Refused, match=text):
        button_values(binding, TABLE[binding.to])


def test_a_toggle_continues_from_any_value() -> None:
    assert [next_toggle_value([0.2, 0.8], value) for value in (0.2, 0.8, 0.5)] == [0.8, 0.2, 0.8]
    assert (value_index([0.2, 0.8], 0.5), value_index(["a", "b"], "b")) == (None, 1)
