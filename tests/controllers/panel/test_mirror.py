"""The echo rules, one client at a time."""

from __future__ import annotations

from lcm_daemon.controllers.panel.mirror import SETTLE_SECONDS, Mirror
from lcm_daemon.core.requests import Change

ME, OTHER = "panel/1", "osc/127.0.0.1:9"


def mirror() -> Mirror:
    return Mirror({"strength": 0.5, "steps": 2}, ME)


def test_ones_own_move_is_not_echoed():
    mine = mirror()
    mine.ask("strength", 0.7, 10.0)
    assert not mine.hear(Change("strength", 0.7, ME), 10.1)
    assert mine.stale({"strength": 0.7, "steps": 2}, 20.0) == []


def test_an_older_move_of_ones_own_is_not_echoed_while_a_newer_one_is_under_way():
    mine = mirror()
    for n, value in enumerate((0.6, 0.7, 0.8)):
        mine.ask("strength", value, 10.0 + n / 100)
    assert [mine.hear(Change("strength", value, ME), 10.1) for value in (0.6, 0.7, 0.8)] == [False] * 3


def test_others_changes_are_told():
    assert mirror().hear(Change("strength", 0.7, OTHER), 10.0)


def test_when_anothers_change_came_in_between_the_own_move_is_echoed():
    mine = mirror()
    mine.ask("strength", 0.7, 10.0)
    assert mine.hear(Change("strength", 0.2, OTHER), 10.01)
    assert mine.hear(Change("strength", 0.7, ME), 10.02)


def test_when_anothers_change_crossed_the_own_move_on_the_wire_the_move_is_echoed():
    mine = mirror()
    assert mine.hear(Change("strength", 0.2, OTHER), 10.0)
    mine.ask("strength", 0.7, 10.01)  # the page had not heard of 0.2 yet, and then shows it
    assert mine.hear(Change("strength", 0.7, ME), 10.02)


def test_a_voided_move_is_stale_once_it_had_time_to_settle():
    mine = mirror()
    mine.ask("strength", 0.7, 10.0)
    so = {"strength": 0.5, "steps": 2}
    assert mine.stale(so, 10.0 + SETTLE_SECONDS / 2) == []
    assert mine.stale(so, 10.0 + SETTLE_SECONDS) == [Change("strength", 0.5, "panel")]
    assert mine.stale(so, 20.0) == []


def test_after_a_command_ones_own_changes_are_news():
    mine = mirror()
    mine.ask("strength", 0.7, 10.0)
    mine.forget()
    assert mine.hear(Change("strength", 0.5, ME), 10.1)


def test_a_page_whose_move_was_refused_shows_its_earlier_move_or_what_is_so():
    mine = mirror()
    assert mine.current("strength", {"strength": 0.5}) == 0.5
    mine.ask("strength", 0.7, 10.0)
    assert mine.current("strength", {"strength": 0.5}) == 0.7
