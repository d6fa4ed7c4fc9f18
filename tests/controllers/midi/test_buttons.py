"""The values that buttons stand for."""

from __future__ import annotations

from typing import Any

import pytest

from lcm_daemon.controllers.midi.buttons import next_state, state, states
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
def test_states(line: str, found: list[Any]) -> None:
    (binding,) = bindings(line)
    assert states(binding, TABLE[binding.to]) == (pytest.approx(found) if binding.to == "mix" else found)


@pytest.mark.parametrize(("line", "text"), [
    ("{note: 1, to: prompt, button: toggle}", "prompt is text: say which in `values`"),
    ("{note: 1, to: prompt, button: toggle, value: ice}", "toggle takes two `values`"),
    ("{note: [1, 2], to: mode, button: radio, values: [image, film]}", "mode is one of"),
])
def test_what_suits_no_parameter_is_refused(line: str, text: str) -> None:
    (binding,) = bindings(line)
    with pytest.raises(Refused, match=text):
        states(binding, TABLE[binding.to])


def test_a_toggle_goes_on_from_wherever_the_value_is() -> None:
    assert [next_state([0.2, 0.8], value) for value in (0.2, 0.8, 0.5)] == [0.8, 0.2, 0.8]
    assert (state([0.2, 0.8], 0.5), state(["a", "b"], "b")) == (None, 1)
