"""Coercion of parameters, and glides of live values."""

from __future__ import annotations

import math

import pytest

from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Refused, table_of

FADER = Parameter("fader", "float", 0.5, "a fader", 0.0, 1.0, glide=2.0)


@pytest.mark.parametrize(("name", "given", "taken"), [
    ("strength", 0.25, 0.25), ("strength", 7, 1.0), ("strength", -1.0, 0.0), ("strength", "0.3", 0.3),
    ("steps", 2.6, 3), ("steps", 99, 8), ("seed", 2**32 - 1, 2**32 - 1), ("seed", 7.0, 7),
    ("seed", -1, -1), ("seed", -1.0, -1), ("seed", "-1", -1), ("seed", -0.4, 0), ("seed", -5, 0), ("steps", -1, 1),
    ("freeze", 1.0, True), ("freeze", 0, False), ("freeze", "on", True), ("freeze", "false", False),
    ("prompt", "lava, glowing red", "lava, glowing red"), ("prompt", "two\nlines\x00", "two lines"), ("prompt", 5, "5"),
    ("mode", "text", "text"), ("mode", 1.0, "text"), ("mode", -3, "image"),
])
def test_values_are_coerced_and_clamped(name: str, given: object, taken: object) -> None:
    value = TABLE[name].coerce(given)
    assert value == taken
    assert type(value) is type(taken)


@pytest.mark.parametrize(("name", "given"), [
    ("strength", math.nan), ("strength", math.inf), ("strength", "loud"), ("strength", None), ("strength", [1]),
    ("steps", "many"), ("seed", -math.inf), ("freeze", "perhaps"), ("mode", "video"), ("prompt", b"bytes"),
    ("prompt", None), ("strength", b"1"), ("strength", b"\x00\x00\x00\xff"), ("steps", b"1"), ("freeze", b"1"),
    ("mode", b"1"), ("strength", "1,5,2"), ("strength", "%"), ("steps", "33%"), ("seed", "1,000"),
])
def test_invalid_values_are_refused_and_the_old_value_stays(name: str, given: object) -> None:
    parameters = Parameters()
    before = parameters.targets()
    with pytest.raises(Refused, match=name):
        parameters.set(name, given, 0.0)
    assert parameters.targets() == before


@pytest.mark.parametrize(("text", "number"), [
    ("0.33", 0.33), ("0,33", 0.33), (",33", 0.33), ("33%", 0.33), ("33 %", 0.33), ("33,5%", 0.335), (" 0,5 ", 0.5),
    ("1e-1", 0.1), ("+0,25", 0.25), ("-0,25", 0.0), ("150%", 1.0),
])
def test_numbers_as_people_type_them(text: str, number: float) -> None:
    assert TABLE["strength"].coerce(text) == pytest.approx(number)


def test_every_default_is_in_its_range() -> None:
    for parameter in TABLE.values():
        assert parameter.coerce(parameter.default) == parameter.default
        assert parameter.help.endswith(".")


def test_a_text_is_cut_at_its_limit() -> None:
    assert len(str(TABLE["prompt"].coerce("x" * 10_000))) == 2000


def test_minus_one_draws_one_seed() -> None:
    parameters = Parameters(start={"seed": -1})
    first = parameters.targets()["seed"]
    assert isinstance(first, int)
    assert 0 <= first < 2**32
    assert parameters.touched() == {"seed": first}, "the look of a run that is continued has it"
    drawn = [parameters.set("seed", -1, 0.0) for _ in range(4)]
    assert len({first, *drawn}) == 5, "one draw in a billion fails here"
    assert parameters.move("seed", -1, 0.0) == parameters.evaluate(0.0)["seed"] not in drawn
    parameters.replace_table({**TABLE, "fader": FADER})
    parameters.reset()
    assert parameters.targets()["seed"] == first, "it is drawn once for the show"


def test_no_move_by_an_amount_draws() -> None:
    assert TABLE["seed"].moved(0, -1) == 0
    assert TABLE["seed"].moved(5, -2) == 3
    assert TABLE["steps"].drawn(-1) == -1


def test_a_value_without_a_glide_changes_at_once() -> None:
    parameters = Parameters()
    parameters.set("strength", 0.9, 10.0)
    assert parameters.evaluate(10.0)["strength"] == 0.9


def test_a_glide_reaches_its_target() -> None:
    parameters = Parameters(table_of([FADER]))
    parameters.set("fader", 1.0, 10.0)
    assert [parameters.evaluate(10.0 + t)["fader"] for t in (0.0, 1.0, 2.0, 3.0)] == [0.5, 0.75, 1.0, 1.0]


def test_a_new_glide_starts_at_the_current_value() -> None:
    parameters = Parameters(table_of([FADER]))
    parameters.set("fader", 1.0, 0.0)
    parameters.set("fader", 0.0, 1.0)  # at 0.75 by now
    assert parameters.evaluate(1.0)["fader"] == pytest.approx(0.75)
    assert parameters.evaluate(2.0)["fader"] == pytest.approx(0.375)


def test_reset_returns_to_the_shows_values_and_ends_glides() -> None:
    parameters = Parameters(table_of([FADER]), {"fader": 0.2})
    parameters.set("fader", 1.0, 0.0)
    assert parameters.reset() == {"fader": 0.2}
    assert parameters.evaluate(0.5)["fader"] == 0.2
    assert parameters.reset() == {}


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Parameters().set("nonsense", 1, 0.0)


def test_a_prompt_glides_as_a_blend() -> None:
    parameters = Parameters(start={"prompt": "ocean", "prompt_glide": 4.0})
    assert parameters.set("prompt", "lava", 10.0) == "lava"
    assert parameters.targets()["prompt"] == "lava"
    assert parameters.evaluate(11.0)["prompt"] == Blend((("ocean", 0.75), ("lava", 0.25)))
    assert parameters.evaluate(14.0)["prompt"] == "lava"


def test_a_prompt_set_during_a_glide_starts_at_the_current_blend() -> None:
    parameters = Parameters(start={"prompt": "ocean", "prompt_glide": 4.0})
    parameters.set("prompt", "lava", 10.0)
    parameters.set("prompt", "ocean", 12.0)
    assert dict(Blend.of(parameters.evaluate(12.0)["prompt"]).parts) == pytest.approx({"ocean": 0.5, "lava": 0.5})
    assert dict(Blend.of(parameters.evaluate(14.0)["prompt"]).parts) == pytest.approx({"ocean": 0.75, "lava": 0.25})


def test_a_seed_glides_by_its_glide_parameter_or_the_show() -> None:
    parameters = Parameters(start={"seed": 3}, glides={"seed": 2.0})
    parameters.set("seed", 900, 0.0)
    assert parameters.evaluate(1.0)["seed"] == Blend(((3, 0.5), (900, 0.5)))
    parameters.set("seed_glide", 10.0, 5.0)
    parameters.set("seed", 3, 5.0)
    assert parameters.evaluate(6.0)["seed"] == Blend(((900, 0.9), (3, 0.1)))


@pytest.mark.parametrize("turns", [1, 5, 50])
def test_the_number_of_parts_of_a_blend_is_limited(turns: int) -> None:
    parameters = Parameters(start={"seed_glide": 1.0})
    for turn in range(turns):
        parameters.set("seed", turn + 1, turn * 0.3)
    parts = Blend.of(parameters.evaluate(turns * 0.3)["seed"]).parts
    assert len(parts) <= 7
    assert sum(share for _, share in parts) == pytest.approx(1.0)


def test_values_survive_a_change_of_the_table() -> None:
    parameters = Parameters(start={"strength": 0.3})
    parameters.set("steps", 4, 0.0)
    parameters.replace_table({**TABLE, "fader": FADER})
    parameters.set("fader", 1.0, 0.0)
    assert parameters.targets()["strength"] == 0.3
    assert parameters.targets()["steps"] == 4
    parameters.replace_table(TABLE)
    assert "fader" not in parameters.targets()
    assert "fader" not in parameters.evaluate(0.5)
    parameters.replace_table({**TABLE, "fader": FADER})
    assert parameters.targets()["fader"] == 1.0


def test_the_revision_counts_every_change() -> None:
    parameters = Parameters()
    changes = (
        lambda: parameters.set("strength", 0.2, 0.0), lambda: parameters.fade("mix", 0.5, 0.0, 2.0),
        lambda: parameters.follow_recipe("steps", 0.0), lambda: parameters.reset(),
        lambda: parameters.replace_table({**TABLE, "fader": FADER}),
    )
    for change in changes:
        before = parameters.revision
        change()
        assert parameters.revision > before
    before = parameters.revision
    parameters.evaluate(1.0)
    assert parameters.revision == before


def test_touched_parameters_and_their_origins() -> None:
    parameters = Parameters()
    parameters.set("strength", 0.6, 0.0, "panel/1")
    parameters.follow_recipe("steps", 0.0)
    assert [parameters.is_untouched(name) for name in ("strength", "steps", "mix")] == [False, True, True]
    assert parameters.origin("steps") == "recipe"
    parameters.reset()
    assert parameters.is_untouched("strength")


def test_the_shown_table_has_the_shows_start_values_as_defaults() -> None:
    parameters = Parameters(start={"prompt": "ocean", "strength": 0.5})
    parameters.set("prompt", "lava", 0.0)
    shown = parameters.shown()
    assert (shown["prompt"].default, shown["strength"].default, shown["steps"].default) == ("ocean", 0.5, 2)
    assert shown.keys() == parameters.table.keys()


def test_a_move_to_the_target_already_set_ends_no_fade() -> None:
    parameters = Parameters()
    parameters.fade("strength", 0.7, 0.0, 10.0, origin="cue/storm")
    parameters.fade("prompt", "lava", 0.0, 10.0, origin="cue/storm")
    revision = parameters.revision
    assert parameters.move("strength", 0.699999988079071, 5.0, "osc/a") is None  # 0.7 as OSC sends it
    assert parameters.move("prompt", " lava ", 5.0, "osc/a") is None
    assert parameters.move("strength", 0.7, 5.0, "osc/a") is None
    assert parameters.move("freeze", 0.2, 5.0, "osc/a") is None
    assert (parameters.revision, parameters.origin("strength")) == (revision, "cue/storm")
    assert parameters.evaluate(5.0)["strength"] == pytest.approx(0.65)
    assert parameters.move("strength", 0.8, 5.0, "osc/a") == 0.8
    assert parameters.move("seed", 16_777_216, 5.0) == 16_777_216
    assert parameters.move("seed", 16_777_217, 5.0) == 16_777_217  # the same as a 32-bit float, but a number of its own


def test_a_value_that_is_held_on_its_way_is_moved_to_its_target() -> None:
    parameters = Parameters()
    parameters.hold("prompt", "clouds", "lava", 0.75, 0.0)
    assert parameters.move("prompt", "lava", 1.0, "osc/a") == "lava"
    assert parameters.evaluate(1.0)["prompt"] == "lava"
    assert parameters.move("prompt", "lava", 2.0, "osc/a") is None
