"""Live values that are held, paused, resumed and stopped, and a reset that takes its time."""

from __future__ import annotations

import pytest

from lcm_daemon.core.live_values import Blend, Parameters


@pytest.fixture
def parameters() -> Parameters:
    return Parameters(start={"strength": 0.0, "prompt": "ocean", "seed": 1, "mode": "image", "steps": 1})


def test_a_held_value_stays_at_its_share(parameters: Parameters) -> None:
    assert parameters.hold("strength", 0.2, 1.0, 0.25, 0.0, "cue/a") == pytest.approx(0.4)
    assert parameters.hold("prompt", "ocean", "lava", 0.4, 0.0) == "ocean"
    assert parameters.hold("prompt", "ocean", "lava", 0.6, 0.0) == "lava"
    assert parameters.hold("seed", Blend(((1, 0.5), (2, 0.5))), 3, 0.5, 0.0) == 3
    assert [parameters.hold("mode", "image", "text", share, 0.0) for share in (0.0, 0.1, 1.0)] == [
        "image", "text", "text"]
    assert parameters.hold("steps", 1, 8, 0.5, 0.0) == 4
    later = parameters.evaluate(100.0)
    assert dict(later["prompt"].parts) == pytest.approx({"ocean": 0.4, "lava": 0.6})
    assert dict(later["seed"].parts) == {1: 0.25, 2: 0.25, 3: 0.5}
    assert parameters.hold("prompt", later["prompt"], "lava", 1.0, 100.0) == parameters.at("prompt", 100.0) == "lava"


def test_only_fades_of_the_prefix_are_paused_and_stopped(parameters: Parameters) -> None:
    parameters.fade("strength", 1.0, 0.0, 10.0, origin="cue/a")
    parameters.fade("mix", 0.0, 0.0, 10.0, origin="panel/1")
    assert parameters.fade_progress("cue/", 4.0) == (0.4, 6.0)
    parameters.pause("cue/", 4.0)
    assert (parameters.at("strength", 8.0), parameters.at("mix", 8.0)) == (0.4, pytest.approx(0.2))
    assert parameters.fade_progress("cue/", 8.0) == (0.4, 6.0)
    parameters.resume(8.0)
    assert parameters.at("strength", 9.0) == pytest.approx(0.5)
    assert parameters.stop("cue/", 9.0) == {"strength": pytest.approx(0.5)}
    assert parameters.origin("strength") == "cue/a"
    assert parameters.fade_progress("cue/", 9.0) == (1.0, 0.0)


def test_a_value_that_is_set_during_a_pause_is_not_resumed(parameters: Parameters) -> None:
    parameters.fade("strength", 1.0, 0.0, 10.0, origin="cue/a")
    parameters.pause("cue/", 5.0)
    parameters.set("strength", 0.9, 6.0)
    parameters.resume(7.0)
    assert parameters.at("strength", 8.0) == 0.9


def test_a_reset_over_seconds_fades_what_can_fade(parameters: Parameters) -> None:
    for name, value in (("strength", 1.0), ("prompt", "lava"), ("mode", "text"), ("freeze", True)):
        parameters.set(name, value, 0.0)
    parameters.fade("mix", 0.0, 0.0, 100.0, origin="cue/a")
    parameters.pause("cue/", 10.0)
    changed = parameters.reset("panic/osc/a", 10.0, 4.0)
    assert changed == {"strength": 0.0, "prompt": "ocean", "mode": "image", "freeze": False, "mix": 1.0}
    half = parameters.evaluate(12.0)
    assert (half["strength"], half["mode"], half["freeze"], half["mix"]) == (0.5, "image", False, pytest.approx(0.95))
    assert half["prompt"] == Blend((("lava", 0.5), ("ocean", 0.5)))
    assert [parameters.evaluate(14.0)[name] for name in changed] == list(changed.values())
    assert parameters.touched() == {}
    assert parameters.origin("strength") == "panic/osc/a"
