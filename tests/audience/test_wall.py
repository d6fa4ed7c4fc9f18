"""The wall: whose picture shows, how it changes, and how old it is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lcm_daemon.audience.mosaic import BackgroundMosaic, Mosaic
from lcm_daemon.audience.qr_overlay import QrOverlay
from lcm_daemon.audience.wall import SessionPicture, Wall
from lcm_daemon.core.frame import Frame, Pixels, solid
from lcm_daemon.web.qr import qr_modules
from tests.rigs.daemon import wait_for

SIZE = (64, 48)
OWN = solid(SIZE, (1, 1, 1, 255))


def picture(session: int, current_at: float = 0.0) -> SessionPicture:
    return SessionPicture(session, Frame(solid(SIZE, (session, 0, 0, 255)), 0, 0.0), current_at)


class AtOnce:
    """A composer without a thread."""

    def __init__(self) -> None:
        self.mosaic, self.ready = Mosaic(SIZE), True

    def compose(self, sessions: tuple[int, ...], pictures: Sequence[Pixels]) -> Pixels | None:
        return self.mosaic.compose(pictures) if self.ready else None

    def clear(self) -> None:
        self.mosaic = Mosaic(SIZE)

    def stop(self) -> None: ...


def wall(kind: str, cycle: float = 10.0, fade: float = 0.0) -> Wall:
    return Wall(kind, SIZE, cycle, fade, AtOnce())


def shown(given: Wall, sessions: list[SessionPicture], now: float = 0.0) -> Pixels:
    pixels, _ = given.compose(OWN, 0.0, sessions, now)
    assert pixels is not None
    return pixels


def test_the_stages_own_picture_shows_while_no_session_has_one() -> None:
    for kind in ("stage", "one", "cycle", "mosaic"):
        assert shown(wall(kind), []) is OWN
    assert shown(wall("stage"), [picture(5)]) is OWN


def test_one_session_shows_until_it_leaves_unless_another_one_is_chosen() -> None:
    one = wall("one")
    five, seven = picture(5), picture(7)
    assert shown(one, [seven]) is seven.picture.pixels
    assert shown(one, [five, seven]) is seven.picture.pixels
    one.choose_session(5)
    assert shown(one, [five, seven]) is five.picture.pixels
    assert shown(one, [seven]) is seven.picture.pixels
    assert shown(one, [five, seven]) is five.picture.pixels
    one.set_kind("stage")
    assert shown(one, [five, seven]) is OWN


def test_a_cycle_shows_each_session_for_its_time() -> None:
    cycle, found = wall("cycle", cycle=10.0), []
    sessions = [picture(3), picture(9), picture(4)]
    for second in range(0, 60, 5):
        shown(cycle, sessions, float(second))
        found.append(cycle.shown[0])
    assert found == [3, 3, 4, 4, 9, 9, 3, 3, 4, 4, 9, 9]
    shown(cycle, sessions[:1] + sessions[2:], 61.0)  # the one that shows now has left or is another
    assert cycle.shown[0] in (3, 4)


@pytest.mark.parametrize(("count", "columns", "rows"), [(2, 2, 1), (3, 2, 2), (4, 2, 2), (9, 3, 3)])
def test_a_mosaic_gives_each_picture_a_tile(count: int, columns: int, rows: int) -> None:
    pictures = [solid(SIZE, (20 * place + 20, 0, 0, 255)) for place in range(count)]
    frame = Mosaic(SIZE).compose(pictures)
    assert frame.shape == (48, 64, 4)
    for place in range(columns * rows):
        row, column = divmod(place, columns)
        red = int(frame[(2 * row + 1) * 48 // (2 * rows), (2 * column + 1) * 64 // (2 * columns), 0])
        assert red == (20 * place + 20 if place < count else 0)


def test_a_mosaic_changes_only_with_its_pictures_and_writes_to_no_frame_that_was_shown() -> None:
    mosaic = Mosaic(SIZE)
    red, green = solid(SIZE, (200, 0, 0, 255)), solid(SIZE, (0, 200, 0, 255))
    first = mosaic.compose([red, green])
    assert mosaic.compose([red, green]) is first
    kept = first.copy()
    second = mosaic.compose([red, red])
    assert second is not first
    assert np.array_equal(first, kept)
    assert int(second[24, 48, 0]) == 200


def test_a_mosaic_is_composed_on_a_thread_and_forgotten_once_it_is_not_wanted() -> None:
    mosaic, pictures = BackgroundMosaic(SIZE), [solid(SIZE, (20, 0, 0, 255)), solid(SIZE, (90, 0, 0, 255))]
    try:
        frame = wait_for(lambda: _found(mosaic.compose((1, 2), pictures)), 10, "a mosaic")[0]
        assert (int(frame[0, 0, 0]), int(frame[0, 63, 0])) == (20, 90)
        assert mosaic.compose((1, 3), pictures) is None  # of other sessions
        pictures[1] = solid(SIZE, (120, 0, 0, 255))
        wait_for(lambda: int(_found(mosaic.compose((1, 2), pictures))[0][0, 63, 0]) == 120, 10, "the new picture")
        mosaic.clear()
        assert mosaic.compose((1, 2), pictures) is None
    finally:
        mosaic.stop()


def _found(pixels: Pixels | None) -> list[Pixels]:
    return [] if pixels is None else [pixels]


def test_until_a_mosaic_is_composed_the_output_shows_what_it_did() -> None:
    composer = AtOnce()
    given = Wall("mosaic", SIZE, 10.0, 1.0, composer)
    one, two = picture(100), picture(200)
    assert shown(given, [one]) is one.picture.pixels
    composer.ready = False
    assert shown(given, [one, two], 5.0) is one.picture.pixels
    composer.ready = True
    assert int(shown(given, [one, two], 6.0)[0, 63, 0]) == 100  # the crossfade begins now
    assert int(shown(given, [one, two], 7.0)[0, 63, 0]) == 200


def test_a_change_of_what_shows_is_a_crossfade_without_a_jump() -> None:
    faded = wall("one", fade=1.0)
    levels = []
    for step in range(200):
        now = step / 50
        sessions = [picture(200)] if 1.0 <= now < 2.5 else []
        levels.append(int(shown(faded, sessions, now)[0, 0, 0]))
    assert levels[0] == levels[-1] == 1
    assert max(levels) == 200
    assert max(abs(a - b) for a, b in itertools.pairwise(levels)) <= 5


def test_a_change_within_a_crossfade_goes_on_from_what_shows() -> None:
    faded = wall("one", fade=1.0)
    shown(faded, [picture(100)], 0.0)
    shown(faded, [picture(200)], 1.0)
    half = int(shown(faded, [picture(200)], 1.5)[0, 0, 0])
    assert 145 <= half <= 155
    assert int(shown(faded, [picture(20)], 1.5)[0, 0, 0]) == half


def test_the_age_is_that_of_what_shows() -> None:
    mosaic = wall("mosaic")
    assert mosaic.compose(OWN, 7.0, [], 10.0)[1] == 7.0
    assert mosaic.compose(OWN, 0.0, [picture(1, 4.0), picture(2, 9.0)], 10.0)[1] == 1.0
    assert mosaic.compose(None, None, [], 10.0) == (None, None)


def test_the_qr_code_lies_in_its_corner_of_a_copy() -> None:
    address = "http://10.0.0.5:8001/join"
    frame = solid((640, 480), (10, 20, 30, 255))
    modules = qr_modules(address)
    for corner in ("top_left", "top_right", "bottom_left", "bottom_right"):
        overlay = QrOverlay(corner, (640, 480))
        assert overlay.apply(frame) is frame  # no address yet
        overlay.set_address(address)
        drawn = overlay.apply(frame)
        assert overlay.apply(frame) is drawn
        assert frame[..., 0].max() == 10
        code = read_code(drawn, corner, len(modules))
        assert np.array_equal(code, modules)


def read_code(drawn: Pixels, corner: str, count: int) -> Any:
    """The black squares of the code in a corner."""
    changed = np.argwhere(drawn[..., 2] != 30)
    (top, left), (bottom, right) = changed.min(0), changed.max(0) + 1
    assert (top < 240) == corner.startswith("top")
    assert (left < 320) == corner.endswith("left")
    side = bottom - top
    assert side == right - left
    assert side % count == 0
    assert side <= 120
    step = side // count
    return drawn[top + step // 2:bottom:step, left + step // 2:right:step, 0] == 0


def test_a_frame_too_small_for_a_code_has_none() -> None:
    overlay = QrOverlay("top_left", (64, 64))
    assert not overlay.set_address("http://10.0.0.5:8001/join")
    frame = solid((64, 64))
    assert overlay.apply(frame) is frame
