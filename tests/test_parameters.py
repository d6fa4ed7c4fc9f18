"""The table's coercion, and the live values' glides."""

from __future__ import annotations

import math

import pytest

from lcm_daemon.parameters import TABLE, Parameter, Parameters, Refused, table_of

FADER = Parameter("fader", "float", 0.5, "a fader", 0.0, 1.0, glide=2.0)


@pytest.mark.parametrize(("name", "given", "taken"), [
    ("strength", 0.25, 0.25), ("strength", 7, 1.0), ("strength", -1.0, 0.0), ("strength", "0.3", 0.3),
    ("steps", 2.6, 3), ("steps", 99, 8), ("seed", 2**32 - 1, 2**32 - 1), ("seed", 7.0, 7),
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
    ("prompt", None),
])
def test_what_makes_no_sense_is_refused_and_the_old_value_stays(name: str, given: object) -> None:
    parameters = Parameters()
    before = parameters.targets()
    with pytest.raises(Refused, match=name):
        parameters.set(name, given, 0.0)
    assert parameters.targets() == before


def test_every_default_stands_in_its_own_range() -> None:
    for parameter in TABLE.values():
        assert parameter.coerce(parameter.default) == parameter.default
        assert parameter.help.endswith(".")


def test_a_text_is_cut_at_its_limit() -> None:
    assert len(str(TABLE["prompt"].coerce("x" * 10_000))) == 2000


def test_without_a_glide_a_value_is_there_at_once() -> None:
    parameters = Parameters()
    parameters.set("strength", 0.9, 10.0)
    assert parameters.evaluate(10.0)["strength"] == 0.9


def test_a_glide_travels_and_arrives() -> None:
    parameters = Parameters(table_of([FADER]))
    parameters.set("fader", 1.0, 10.0)
    assert [parameters.evaluate(10.0 + t)["fader"] for t in (0.0, 1.0, 2.0, 3.0)] == [0.5, 0.75, 1.0, 1.0]


def test_a_glide_turned_round_starts_where_it_is() -> None:
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
