"""The echo rules, one client at a time."""

from __future__ import annotations

from lcm_daemon.controllers.panel.echo_filter import CONFIRM_SECONDS, EchoFilter
from lcm_daemon.core.requests import Change

ME, OTHER = "panel/1", "osc/127.0.0.1:9"


def echo_filter() -> EchoFilter:
    return EchoFilter({"strength": 0.5, "steps": 2}, ME)


def test_an_own_change_is_not_echoed():
    mine = echo_filter()
    mine.on_request("strength", 0.7, 10.0)
    assert not mine.must_send(Change("strength", 0.7, ME), 10.1)
    assert mine.corrections({"strength": 0.7, "steps": 2}, 20.0) == []


def test_an_older_own_change_is_not_echoed_while_a_newer_one_is_pending():
    mine = echo_filter()
    for n, value in enumerate((0.6, 0.7, 0.8)):
        mine.on_request("strength", value, 10.0 + n / 100)
    assert [mine.must_send(Change("strength", value, ME), 10.1) for value in (0.6, 0.7, 0.8)] == [False] * 3


def test_changes_of_others_are_sent():
    assert echo_filter().must_send(Change("strength", 0.7, OTHER), 10.0)


def test_an_own_change_is_echoed_after_a_change_of_another_client_in_between():
    mine = echo_filter()
    mine.on_request("strength", 0.7, 10.0)
    assert mine.must_send(Change("strength", 0.2, OTHER), 10.01)
    assert mine.must_send(Change("strength", 0.7, ME), 10.02)


def test_an_own_change_is_echoed_if_another_change_crossed_it_on_the_network():
    mine = echo_filter()
    assert mine.must_send(Change("strength", 0.2, OTHER), 10.0)
    mine.on_request("strength", 0.7, 10.01)  # the page had not received 0.2 yet, and shows it afterwards
    assert mine.must_send(Change("strength", 0.7, ME), 10.02)


def test_a_cancelled_request_is_corrected_after_the_confirmation_time():
    mine = echo_filter()
    mine.on_request("strength", 0.7, 10.0)
    values = {"strength": 0.5, "steps": 2}
    assert mine.corrections(values, 10.0 + CONFIRM_SECONDS / 2) == []
    assert mine.corrections(values, 10.0 + CONFIRM_SECONDS) == [Change("strength", 0.5, "panel")]
    assert mine.corrections(values, 20.0) == []


def test_own_changes_are_sent_after_a_command():
    mine = echo_filter()
    mine.on_request("strength", 0.7, 10.0)
    mine.on_command()
    assert mine.must_send(Change("strength", 0.5, ME), 10.1)


def test_after_a_refused_value_a_page_shows_its_pending_request_or_the_current_value():
    mine = echo_filter()
    assert mine.current("strength", {"strength": 0.5}) == 0.5
    mine.on_request("strength", 0.7, 10.0)
    assert mine.current("strength", {"strength": 0.5}) == 0.7
