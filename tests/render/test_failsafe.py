"""What shows when nothing fresh comes."""

from __future__ import annotations

import numpy as np
import pytest

from lcm_daemon.core.frame import solid
from lcm_daemon.render.failsafe import Failsafe, FailsafeConfig, blend

SIZE = (32, 16)
RENDERED, SOURCE, SLATE = (solid(SIZE, (value, value, value, 255)) for value in (200, 100, 50))


def shown(plan: FailsafeConfig, age: float, rendered: bool = True, source: bool = True) -> int:
    picture = Failsafe(plan, SIZE, SLATE).choose(RENDERED if rendered else None, age, SOURCE if source else None)
    return int(picture[0, 0, 0])


@pytest.mark.parametrize("mode", ["hold", "fade", "passthrough", "slate"])
def test_a_fresh_frame_is_shown_and_held_for_its_time(mode: str) -> None:
    assert shown(FailsafeConfig(mode, 5.0), 0.0) == 200  # type: ignore[arg-type]
    assert shown(FailsafeConfig(mode, 5.0), 4.99) == 200  # type: ignore[arg-type]


def test_each_mode_after_the_hold() -> None:
    assert shown(FailsafeConfig("hold", 5.0), 1e6) == 200
    assert shown(FailsafeConfig("passthrough", 5.0), 5.0) == 100
    assert shown(FailsafeConfig("slate", 5.0), 5.0) == 50


def test_a_fade_travels_to_black_or_to_the_input() -> None:
    black, to_input = FailsafeConfig("fade", 5.0, 2.0, "black"), FailsafeConfig("fade", 5.0, 2.0, "input")
    assert [shown(black, 5.0 + t) for t in (0.0, 1.0, 2.0, 9.0)] == [200, 100, 0, 0]
    assert [shown(to_input, 5.0 + t) for t in (0.0, 1.0, 2.0)] == [200, 150, 100]
    assert shown(FailsafeConfig("fade", 0.0, 0.0), 0.0) == 0


def test_without_an_input_no_mode_breaks() -> None:
    assert shown(FailsafeConfig("passthrough", 1.0), 2.0, source=False) == 200
    assert shown(FailsafeConfig("fade", 1.0, 1.0, "input"), 9.0, source=False) == 0


def test_before_the_first_frame_the_input_shows_or_the_slate() -> None:
    assert shown(FailsafeConfig(), 0.0, rendered=False) == 100
    assert shown(FailsafeConfig(), 0.0, rendered=False, source=False) == 50


def test_blend_is_exact_at_its_ends_and_keeps_alpha() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 16, 32, 4), np.uint8)
    assert np.array_equal(blend(a, b, 0.0), a)
    assert np.array_equal(blend(a, b, 1.0), b)
    exact = 0.7 * a.astype(float) + 0.3 * b.astype(float)
    assert np.abs(blend(a, b, 0.3).astype(float) - exact).max() <= 1.0
