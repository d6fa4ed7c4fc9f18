"""float32: numbers as OSC carries them."""

from __future__ import annotations

import math

import pytest

from lcm_daemon.core.float32 import float32


@pytest.mark.parametrize(("number", "rounded"), [
    (0.7, 0.699999988079071), (1, 1.0), (True, 1.0), (-2.5, -2.5), (16_777_217, 16_777_216.0), (1e39, math.inf),
    (-(10**400), -math.inf),
])
def test_a_number_is_rounded_once(number: float, rounded: float) -> None:
    assert float32(number) == rounded == float32(float32(number))
