"""Positions and values in both directions, and takeover."""

from __future__ import annotations

import pytest

from lcm_daemon.controllers.curves import FADER_CURVES
from lcm_daemon.controllers.midi.takeover import RELATIVE, scale_of, take_over
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter


@pytest.mark.parametrize(("name", "span", "curve", "position", "value"), [
    ("strength", None, "linear", 0.5, 0.5),
    ("strength", (0.2, 0.9), "linear", 0.0, 0.2),
    ("strength", (0.2, 0.9), "linear", 1.0, 0.9),
    ("strength", (0.9, 0.2), "linear", 0.0, 0.9),
    ("strength", None, "square", 0.5, 0.25),
    ("strength", (0.0, 0.5), "scurve", 0.5, 0.25),
    ("guidance", None, "linear", 0.5, 10.0),
    ("mode", None, "linear", 1.0, "control"),
    ("mode", None, "linear", 0.5, "text"),
    ("freeze", None, "linear", 1.0, 1.0),
])
def test_a_position_maps_to_a_value(
    name: str, span: tuple[float, float] | None, curve: str, position: float, value: float | str
) -> None:
    assert scale_of(TABLE[name], span, curve).value(position) == pytest.approx(value)


@pytest.mark.parametrize("curve", FADER_CURVES)
@pytest.mark.parametrize("span", [(0.2, 0.9), (0.9, 0.2)])
def test_a_value_maps_back_to_its_position(curve: str, span: tuple[float, float]) -> None:
    scale = scale_of(TABLE["strength"], span, curve)
    for i in range(11):
        assert scale.position(scale.value(i / 10)) == pytest.approx(i / 10)


def test_a_value_outside_the_range_is_at_its_end() -> None:
    scale = scale_of(TABLE["strength"], (0.2, 0.4), "exp")
    assert (scale.position(0.0), scale.position(1.0)) == (0.0, 1.0)
    assert scale_of(TABLE["strength"], (0.3, 0.3), "linear").position(0.3) == 0.0


def test_a_parameter_without_bounds_has_the_range_0_to_1() -> None:
    assert scale_of(Parameter("x", "float", 0.0, ""), None, "linear").value(1.0) == 1.0


@pytest.mark.parametrize(("mode", "before", "now", "value", "result"), [
    ("jump", None, 0.9, 0.1, 0.9),
    ("pickup", None, 0.9, 0.1, None),
    ("pickup", 0.8, 0.7, 0.1, None),
    ("pickup", 0.3, 0.05, 0.1, 0.05),  # past it
    ("pickup", 0.05, 0.3, 0.1, 0.3),
    ("pickup", None, 0.11, 0.1, 0.11),  # near enough
    ("scale", None, 0.9, 0.1, None),
    ("scale", 0.5, 0.6, 0.5, 0.6),
    ("scale", 0.5, 0.75, 0.0, 0.5),  # half of the remaining travel, so half of the value's
    ("scale", 0.5, 0.25, 1.0, 0.5),
    ("scale", 0.5, 1.0, 0.1, 1.0),
    ("scale", 0.5, 0.0, 0.9, 0.0),
])
def test_takeover(mode: str, before: float | None, now: float, value: float, result: float | None) -> None:
    assert take_over(mode, before, now, value) == (None if result is None else pytest.approx(result))


@pytest.mark.parametrize(("coding", "raw", "steps"), [
    ("twos_complement", 1, 1), ("twos_complement", 127, -1), ("twos_complement", 3, 3), ("twos_complement", 125, -3),
    ("binary_offset", 65, 1), ("binary_offset", 63, -1), ("binary_offset", 64, 0),
    ("signed_bit", 1, 1), ("signed_bit", 65, -1), ("signed_bit", 67, -3),
])
def test_codings_of_encoders(coding: str, raw: int, steps: int) -> None:
    assert RELATIVE[coding](raw) == steps
