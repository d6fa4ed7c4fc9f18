"""Fader curves: each rises from 0 to 1 and has its inverse."""

from __future__ import annotations

import itertools

import pytest

from lcm_daemon.controllers.curves import FADER_CURVES, clamp


@pytest.mark.parametrize("name", FADER_CURVES)
def test_curves_rise_and_invert(name: str) -> None:
    curve = FADER_CURVES[name]
    steps = [n / 200 for n in range(201)]
    mapped = [curve.forward(x) for x in steps]
    assert (mapped[0], mapped[-1]) == (pytest.approx(0.0, abs=1e-12), pytest.approx(1.0))
    assert all(before < after for before, after in itertools.pairwise(mapped))
    assert [curve.inverse(clamp(y)) for y in mapped] == pytest.approx(steps, abs=1e-6)


@pytest.mark.parametrize(("name", "middle"), [
    ("linear", 0.5), ("exp", 0.2403), ("log", 0.7404), ("square", 0.25), ("scurve", 0.5),
])
def test_middles(name: str, middle: float) -> None:
    assert FADER_CURVES[name].forward(0.5) == pytest.approx(middle, abs=1e-4)


def test_clamp() -> None:
    assert [clamp(x) for x in (-1, 0, 0.3, 1, 7)] == [0, 0, 0.3, 1, 1]
