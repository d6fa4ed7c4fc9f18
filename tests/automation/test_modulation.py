"""Waves and followers around a value, on a clock of their own."""

from __future__ import annotations

import itertools

import pytest

from lcm_daemon.automation.modulation import AUDIO, FOLLOWER, WAVES, Modulation, Modulator, table_of_modulators
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.parameter_table import TABLE


def rig(*modulators: Modulator, **start: float) -> tuple[Modulation, Parameters]:
    return Modulation(modulators), Parameters({**TABLE, **table_of_modulators(modulators)}, start)


def at(modulation: Modulation, parameters: Parameters, now: float, beat: float = 0.0) -> dict[str, object]:
    values = parameters.evaluate(now)
    modulation.advance(values, beat, now)
    return modulation.add_to(values, parameters.table)


@pytest.mark.parametrize("wave", WAVES)
def test_every_wave_stays_in_its_range_and_swings(wave: str) -> None:
    levels = [WAVES[wave](i / 50, 7) for i in range(500)]
    assert max(levels) <= 1.0
    assert min(levels) >= -1.0
    assert max(levels) - min(levels) > 1.0


@pytest.mark.parametrize("wave", ["sine", "triangle", "walk"])
def test_a_smooth_wave_has_no_jump(wave: str) -> None:
    levels = [WAVES[wave](i / 200, 7) for i in range(2000)]
    assert max(abs(b - a) for a, b in itertools.pairwise(levels)) < 0.05


@pytest.mark.parametrize(("wave", "quarters"), [
    ("sine", [0, 1, 0, -1]), ("triangle", [0, 1, 0, -1]), ("saw", [-1, -0.5, 0, 0.5]), ("square", [1, 1, -1, -1]),
])
def test_a_wave_is_where_it_is_drawn(wave: str, quarters: list[float]) -> None:
    assert [WAVES[wave](i / 4, 0) for i in range(4)] == pytest.approx(quarters, abs=1e-9)


def test_it_moves_the_value_and_not_the_truth() -> None:
    modulation, parameters = rig(Modulator("slow", "strength", depth=0.2, rate=0.25), strength=0.5)
    at(modulation, parameters, 0.0)
    assert at(modulation, parameters, 1.0)["strength"] == pytest.approx(0.7)
    assert at(modulation, parameters, 3.0)["strength"] == pytest.approx(0.3)
    assert parameters.targets()["strength"] == 0.5


def test_it_rides_on_a_fade_and_keeps_the_range() -> None:
    modulation, parameters = rig(Modulator("hard", "strength", wave="square", depth=0.4, rate=0.0), strength=0.0)
    parameters.fade("strength", 1.0, 0.0, 10.0)
    assert at(modulation, parameters, 5.0)["strength"] == pytest.approx(0.9)
    assert at(modulation, parameters, 9.0)["strength"] == 1.0


def test_several_on_one_target_add_up() -> None:
    modulation, parameters = rig(Modulator("a", "strength", wave="square", depth=0.1, rate=0.0),
                                 Modulator("b", "strength", wave="square", depth=0.2, rate=0.0), strength=0.5)
    assert at(modulation, parameters, 0.0)["strength"] == pytest.approx(0.8)


def test_a_rate_that_moves_bends_the_wave_and_never_breaks_it() -> None:
    modulation, parameters = rig(Modulator("wave", "strength", depth=0.5, rate=0.1), strength=0.5)
    before, last = 0.0, None
    for step in range(2000):
        now = step * 0.01
        if step == 1000:
            parameters.set("mod/wave/rate", 1.0, now)
        value = float(at(modulation, parameters, now)["strength"])  # type: ignore[arg-type]
        before = max(before, abs(value - last)) if last is not None else before
        last = value
    assert before < 0.04


def test_it_goes_by_beats() -> None:
    modulation, parameters = rig(Modulator("bar", "strength", wave="square", beats=4.0, depth=0.1), strength=0.5)
    found = [at(modulation, parameters, 0.0, beat)["strength"] for beat in (1.0, 3.0, 5.0, 7.0)]
    assert found == pytest.approx([0.6, 0.4, 0.6, 0.4])


def test_a_follower_rises_fast_and_falls_slowly() -> None:
    modulation, parameters = rig(Modulator("loud", "mix", wave=FOLLOWER, depth=1.0, attack=0.1, release=1.0), mix=0.0)
    at(modulation, parameters, 0.0)
    parameters.set("mod/loud/level", 1.0, 0.0)
    assert at(modulation, parameters, 0.1)["mix"] == pytest.approx(0.632, abs=0.01)
    up = float(at(modulation, parameters, 1.0)["mix"])  # type: ignore[arg-type]
    parameters.set("mod/loud/level", 0.0, 1.0)
    assert at(modulation, parameters, 2.0)["mix"] == pytest.approx(up * 0.368, abs=0.01)


def test_a_follower_comes_to_rest() -> None:
    modulation, parameters = rig(Modulator("loud", "feedback", wave=FOLLOWER, depth=1.0, release=0.2), feedback=0.0)
    parameters.set("mod/loud/level", 1.0, 0.0)
    for step in range(100):
        at(modulation, parameters, step / 30)
    parameters.set("mod/loud/level", 0.0, 4.0)
    assert [at(modulation, parameters, 4.0 + step / 30)["feedback"] for step in range(90)][-1] == 0.0


def test_whole_numbers_stay_whole_and_travelling_seeds_are_left_alone() -> None:
    modulation, parameters = rig(Modulator("steps", "steps", wave="square", depth=0.5, rate=0.0),
                                 Modulator("seed", "seed", wave="square", depth=0.5, rate=0.0), steps=2, seed_glide=9.0)
    parameters.set("seed", 5, 0.0)
    values = at(modulation, parameters, 1.0)
    assert values["steps"] == 6
    assert isinstance(values["seed"], Blend)


def test_a_target_that_the_recipe_has_not_is_no_harm() -> None:
    modulation, parameters = rig(Modulator("gone", "lora/ink"))
    assert at(modulation, parameters, 0.0)["strength"] == parameters.targets()["strength"]


def test_audio_follows_its_band_and_is_still_without_one() -> None:
    bass = Modulator("bass", "strength", wave=AUDIO, band="low", depth=0.5, attack=0.0, release=0.3)
    modulation, parameters = rig(bass, strength=0.25)
    assert set(table_of_modulators([bass])) == {"mod/bass/depth"}
    assert at(modulation, parameters, 0.0)["strength"] == 0.25
    heard = {"low": 1.0, "mid": 0.0, "high": 0.0, "level": 0.3, "onset": 0.0}
    modulation.audio = lambda now: heard
    assert at(modulation, parameters, 1.0)["strength"] == pytest.approx(0.75), "an attack of 0 is at once"
    heard = {**heard, "low": 0.0}
    assert at(modulation, parameters, 1.3)["strength"] == pytest.approx(0.25 + 0.5 * 0.368, abs=0.01)
