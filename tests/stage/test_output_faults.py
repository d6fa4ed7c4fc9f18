"""A black or frozen output is reported where the show means something else, and not otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.stage.output_faults import Intention, OutputFaults, looks_black

SIZE = (64, 48)
BLACK, GREY = solid(SIZE), solid(SIZE, (90, 90, 90, 255))


def grey(value: int) -> Pixels:
    return solid(SIZE, (value, value, value, 255))


class Rig:
    """Looks once a second."""

    def __init__(self, black: float | None = 5.0, frozen: float | None = 10.0, failsafe: float | None = 8.0) -> None:
        self.watch, self.now = OutputFaults(black, frozen, failsafe), 100.0

    def look(
        self, output: Pixels, source: Pixels | None = GREY, means: Intention = Intention(), in_failsafe: bool = False,  # noqa: B008
        unmoved: Pixels | None = None,
    ) -> str:
        self.now += 1.0
        return self.watch.look(output, source, means, in_failsafe, self.now, unmoved)


def test_a_black_output_is_reported_after_a_while_and_until_it_ends() -> None:
    rig = Rig()
    said = [rig.look(BLACK) for _ in range(8)]
    assert said == [""] * 5 + ["the output has been black for more than 5 s"] * 3
    assert rig.look(GREY) == ""
    assert rig.look(BLACK) == "", "it begins again"


@pytest.mark.parametrize("state", [{"means": Intention(light=False)}, {"in_failsafe": True}])
def test_a_black_output_that_is_meant_is_not_reported(state: dict[str, object]) -> None:
    rig = Rig(failsafe=None)
    assert {rig.look(BLACK, **state) for _ in range(20)} == {""}  # type: ignore[arg-type]


def test_a_picture_with_a_small_light_is_not_black() -> None:
    night = BLACK.copy()
    night[20:24, 20:24] = 200
    assert looks_black(BLACK)
    assert looks_black(grey(16)), "black of video"
    assert not looks_black(night)


def test_an_output_that_does_not_follow_its_input_is_frozen() -> None:
    rig = Rig()
    said = [rig.look(GREY.copy(), grey(number)) for number in range(14)]
    assert said[:11] == [""] * 11, "10 seconds from the first change"
    assert said[12] == "the output has not changed for more than 10 s, although the input does"
    assert rig.look(grey(91), grey(100)) == ""


def test_a_still_input_gives_a_still_output() -> None:
    rig = Rig()
    assert {rig.look(GREY, GREY.copy()) for _ in range(40)} == {""}
    assert {rig.look(GREY, None) for _ in range(40)} == {""}


def test_one_change_of_the_input_may_be_too_small_to_be_seen() -> None:
    rig = Rig()
    assert {rig.look(GREY, grey(90 if number < 5 else 91)) for number in range(40)} == {""}


def test_slides_that_change_now_and_then_find_a_frozen_output_too() -> None:
    rig = Rig(frozen=60.0)
    said = [rig.look(GREY, grey(number // 30)) for number in range(160)]
    assert not said[89]
    assert said[-1]


def test_an_output_that_moves_is_never_frozen_however_small_the_change() -> None:
    rig = Rig()
    for number in range(40):
        output = GREY.copy()
        output[17, 31, 0] = number
        assert rig.look(output, grey(number)) == ""


def test_no_motion_is_wanted_of_a_held_output() -> None:
    rig = Rig()
    for number in range(40):
        assert rig.look(GREY, grey(number), Intention(motion=False)) == ""
    assert rig.look(GREY, grey(41)) == "", "the time begins when motion is wanted"


def test_an_output_that_is_only_moved_or_dimmed_is_frozen_nevertheless() -> None:
    rig = Rig()
    said = [rig.look(grey(90 + number), grey(number), unmoved=GREY) for number in range(40)]
    assert said[-1]
    rig = Rig()
    said = [rig.look(grey(90 + number), grey(number), unmoved=grey(number)) for number in range(40)]
    assert said[-1] == "", "it moves at each look, and the picture changes"


def test_the_failsafe_is_reported_after_a_while() -> None:
    rig = Rig()
    said = [rig.look(GREY, in_failsafe=True) for _ in range(10)]
    assert said[7:] == [""] + ["the output has shown the failsafe for more than 8 s"] * 2
    assert rig.look(GREY, means=Intention(picture=False), in_failsafe=True) == ""


def test_limits_that_are_off_report_nothing() -> None:
    rig = Rig(None, None, None)
    for number in range(100):
        assert rig.look(BLACK, grey(number), in_failsafe=number > 50) == ""


def test_looking_leaves_the_pictures_alone() -> None:
    before = np.array(GREY)
    rig = Rig()
    for number in range(5):
        rig.look(GREY, grey(number))
    assert (before == GREY).all()
