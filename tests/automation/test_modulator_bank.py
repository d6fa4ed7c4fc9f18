"""Modulators that are added, changed and removed while a show plays."""

from __future__ import annotations

from typing import Any

import pytest

from lcm_daemon.automation.modulation import Modulator
from lcm_daemon.automation.modulator_bank import MAX_MODULATORS, WAVE_NAMES, WAVE_ROWS, ModulatorBank
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Refused
from lcm_daemon.core.requests import COMMANDS, CommandRequest

OWN = Modulator("slow", "strength", depth=0.2, rate=0.1)


class Rig:
    def __init__(self) -> None:
        self.parameters = Parameters()
        self.bank = ModulatorBank((OWN,), self.parameters)
        self.parameters.replace_table(self.bank.complete(TABLE))

    def call(self, name: str, *arguments: Any) -> dict[str, Any]:
        coerced = COMMANDS[name].coerce(arguments)
        return {change.name: change.value for change in
                self.bank.execute(CommandRequest(name, "panel/1", coerced), 0.0)}

    def moved(self, name: str, now: float) -> float:
        values = self.parameters.evaluate(now)
        self.bank.modulation.advance(values, 0.0, now)
        return float(self.bank.modulation.add_to(values, self.parameters.table)[name])


def test_a_modulator_is_added_and_moves_its_parameter() -> None:
    rig = Rig()
    assert rig.call("modulator/add", "fast", "mix", "square", 0.5, 0.0) == {"mod/fast/depth": 0.5, "mod/fast/rate": 0.0}
    rig.parameters.set("mix", 0.25, 0.0)
    assert rig.moved("mix", 1.0) == 0.75
    assert [row["name"] for row in rig.bank.lists()["modulators"]] == ["slow", "fast"]
    assert rig.parameters.table["mod/fast/depth"].group == "Modulation"


def test_panic_stops_one_that_the_show_does_not_have_and_keeps_the_others() -> None:
    rig = Rig()
    rig.call("modulator/add", "fast", "mix")
    rig.call("modulator/add", "slow", "strength", "saw", 0.9)
    rig.parameters.reset()
    values = rig.parameters.targets()
    assert (values["mod/fast/depth"], values["mod/slow/depth"]) == (0.0, 0.2)


def test_what_is_not_given_stays_when_one_is_changed() -> None:
    rig = Rig()
    rig.parameters.set("mod/slow/rate", 3.0, 0.0)
    rig.call("modulator/add", "slow", "mix")
    (changed,) = rig.bank.modulators
    assert (changed.to, changed.wave, changed.depth, changed.rate) == ("mix", "sine", 0.2, 3.0)
    assert rig.parameters.targets()["mod/slow/rate"] == 3.0


def test_one_is_removed_with_its_parameters_and_comes_back_as_it_is_asked_for() -> None:
    rig = Rig()
    rig.call("modulator/add", "fast", "mix", "sine", 0.9)
    rig.call("modulator/remove", "fast")
    assert not [name for name in rig.parameters.table if name.startswith("mod/fast")]
    rig.call("modulator/add", "fast", "mix")
    assert rig.parameters.targets()["mod/fast/depth"] == 0.25


@pytest.mark.parametrize(("call", "reason"), [
    (("modulator/add", "a b", "mix"), "'a b' is not a modulator's name"),
    (("modulator/add", "../x", "mix"), "'../x' is not a modulator's name"),
    (("modulator/add", "fast", "mixx"), "no parameter 'mixx' with a number; did you mean 'mix'?"),
    (("modulator/add", "fast", "prompt"), "no parameter 'prompt' with a number"),
    (("modulator/add", "fast", "mod/slow/rate"), "no parameter 'mod/slow/rate' with a number"),
    (("modulator/add", "fast", "mix", "sinus"), "no wave 'sinus'; did you mean 'sine'?"),
    (("modulator/remove", "slwo"), "no modulator 'slwo'; did you mean 'slow'?"),
])
def test_what_is_refused(call: tuple[str, ...], reason: str) -> None:
    rig = Rig()
    with pytest.raises(Refused) as refused:
        rig.call(*call)
    assert str(refused.value).startswith(reason)
    assert rig.bank.modulators == (OWN,)


def test_there_is_a_limit() -> None:
    rig = Rig()
    for number in range(1, MAX_MODULATORS):
        rig.call("modulator/add", f"m{number}", "mix")
    with pytest.raises(Refused, match=f"the limit is {MAX_MODULATORS} modulators"):
        rig.call("modulator/add", "one_more", "mix")
    rig.call("modulator/add", "m1", "strength")


def test_a_later_run_gets_them_back_but_nothing_that_is_wrong() -> None:
    rig, later = Rig(), Rig()
    assert rig.bank.saved() is None
    rig.call("modulator/add", "fast", "mix", "saw", 0.5, 2.0, 4.0, 0.25)
    rig.call("modulator/remove", "slow")
    saved = rig.bank.saved()
    assert saved is not None
    good = dict(saved[0])
    bad: list[dict[str, Any]] = [{}, {**good, "name": "x/y"}, {**good, "name": "b", "to": "lora/gone"},
                                 {**good, "name": "c", "rate": "fast"}, {**good, "name": "d", "depth": float("nan")}]
    later.bank.restore([*bad, good])
    assert later.bank.modulators == rig.bank.modulators
    later.bank.restore(None)
    assert later.bank.modulators == rig.bank.modulators


def test_every_wave_has_a_picture_but_a_follower() -> None:
    rows = {row["name"]: str(row["levels"]).split() for row in WAVE_ROWS}
    assert tuple(rows) == WAVE_NAMES
    assert all(-1.0 <= float(level) <= 1.0 for levels in rows.values() for level in levels)
    assert [name for name, levels in rows.items() if len(levels) < 50] == ["follow", "audio"]


def test_the_wave_of_audio_needs_an_audio_input() -> None:
    rig = Rig()
    assert "audio" not in [row["name"] for row in rig.bank.lists()["waves"]]
    with pytest.raises(Refused, match="needs an audio input"):
        rig.call("modulator/add", "bass", "mix", "audio")
    rig.bank.modulation.audio = lambda now: {"low": 0.5}
    assert "audio" in [row["name"] for row in rig.bank.lists()["waves"]]
    assert rig.call("modulator/add", "bass", "mix", "audio", 0.5, 0.5, 0.0, 0.0, "low") == {"mod/bass/depth": 0.5}
    with pytest.raises(Refused, match="no band 'lo'; did you mean 'low'"):
        rig.call("modulator/add", "bass", "mix", "audio", 0.5, 0.5, 0.0, 0.0, "lo")


def test_modulators_of_an_earlier_version_have_no_band_and_come_back() -> None:
    rig = Rig()
    rig.call("modulator/add", "fast", "mix")
    saved = [{key: value for key, value in row.items() if key != "band"} for row in rig.bank.saved() or ()]
    other = Rig()
    other.bank.restore(saved)
    assert other.bank.modulators == rig.bank.modulators


def test_a_modulator_of_audio_comes_back_before_the_audio_input_is_open() -> None:
    rig = Rig()
    rig.bank.modulation.audio = lambda now: {}
    rig.call("modulator/add", "bass", "mix", "audio", 0.5, 0.5, 0.0, 0.0, "high")
    other = Rig()
    other.bank.restore(rig.bank.saved())
    assert other.bank.modulators == rig.bank.modulators
