"""Cues asked for by name or number."""

from __future__ import annotations

import pytest

from lcm_daemon.automation.cue_names import find_cue, name_from_number
from lcm_daemon.core.float32 import float32
from lcm_daemon.core.requests import COMMANDS

(CUE_NAME, *_) = COMMANDS["cue/goto"].arguments
NAMES = ["dawn", "10", "4.1", "storm", "0.10", "-3"]


@pytest.mark.parametrize(("given", "name"), [
    ("10", "10"), ("10.0", "10"), ("1e1", "10"), ("10.5", ""), ("100", ""), ("-3.0", "-3"), ("-2", ""),
    ("4.1", "4.1"), (str(float32(4.1)), "4.1"), ("4.10", "4.1"), ("4.1000001", ""), ("4.9", ""),
    ("0.1", "0.10"), (str(float32(0.1)), "0.10"),
    ("1", "dawn"), ("4", "storm"), ("4.0", "storm"), ("6", "-3"), ("7", ""), ("0", ""), ("-0.0", ""), (" 4 ", "storm"),
    ("nan", ""), ("inf", ""), ("1_0", ""), ("", ""), ("True", ""), ("dusk", ""), ("1e999", ""), ("٤", ""),
])
def test_names_then_numbers_then_places(given: str, name: str) -> None:
    found = find_cue(NAMES, given)
    assert (NAMES[found] if found >= 0 else "") == name


def test_an_equal_number_comes_before_one_that_is_equal_in_32_bits() -> None:
    assert find_cue(["16777217", "16777216"], "16777216.0") == 1
    assert find_cue(["16777217"], "16777216.0") == 0, "what a sender of 32-bit floats makes of it"
    assert find_cue(["16777216"], "16777217.0") == -1


def test_a_name_comes_before_an_equal_number() -> None:
    assert find_cue(["2.0", "2"], "2") == 1
    assert find_cue(["a", "b", "2"], "2") == 2


@pytest.mark.parametrize("name", ["👩\u200d🚀", "Acte\u00a01", " dusk ", "a\tb", "x" * 5000, "夜\u3000明"])
def test_a_name_is_found_as_controllers_give_it(name: str) -> None:
    given = CUE_NAME.coerce(name)
    assert find_cue(["dawn", name], str(given)) == find_cue(["dawn", name], name) == 1
    assert find_cue([name, str(given)], str(given)) == 1, "the very name comes first"


@pytest.mark.parametrize(("given", "name"), [
    (str(float32(4.1)), "4.1"), ("4.1", "4.1"), ("4.5", "4.5"), ("10.0", "10.0"), ("storm", "storm"), ("007", "007"),
    ("4.123456789012", "4.123456789012"), ("3.1415927410125732", "3.1415927410125732"),
])
def test_the_name_of_a_cue_that_is_recorded_under_a_number(given: str, name: str) -> None:
    assert name_from_number(given) == name
