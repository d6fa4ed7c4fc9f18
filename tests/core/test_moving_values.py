"""MovingValues: which numbers differ from what they were set to."""

from __future__ import annotations

from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.moving_values import MovingValues


def test_a_fade_moves_until_it_has_arrived() -> None:
    parameters = Parameters()
    parameters.fade("strength", 1.0, 0.0, 10.0)
    halfway = MovingValues.of(parameters.targets(), parameters.evaluate(5.0), {**parameters.targets(), "mix": 0.5})
    assert halfway == MovingValues({"strength": 0.8}, {"mix": 0.5})
    assert MovingValues.of(parameters.targets(), parameters.evaluate(10.0), parameters.targets()) == MovingValues()


def test_texts_and_seeds_that_fade_have_no_single_value() -> None:
    parameters = Parameters()
    parameters.fade("prompt", "lava", 0.0, 10.0)
    parameters.fade("seed", 7, 0.0, 10.0)
    values = parameters.evaluate(5.0)
    assert MovingValues.of(parameters.targets(), values, values) == MovingValues()
