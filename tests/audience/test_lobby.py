"""The lobby without sockets: what the stage hears, what pages hear, and what stays of a session."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lcm_daemon.audience.config import ServerConfig
from lcm_daemon.audience.lobby import ELSEWHERE, ENDED, JoinRefused, Lobby
from lcm_daemon.audience.messages import (
    AudienceReport,
    Performer,
    SeatLeft,
    SeatTaken,
    SeatValues,
    SharedTable,
)
from lcm_daemon.audience.sessions import VisitorSession
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.shows.audience import AudienceConfig
from tests.rigs.audience import SHARED, START


class Page:
    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []
        self.code = 0

    def put(self, kind: str, content: Any) -> None:
        self.messages.append((kind, content))

    def end(self, code: int, reason: str) -> None:
        self.code = code

    def last(self, kind: str) -> Any:
        return next((content for each, content in reversed(self.messages) if each == kind), None)


class Rig:
    def __init__(self, **audience: Any) -> None:
        self.time, self.sent, self.gone = 0.0, list[Any](), list[int]()
        options = {"places": 1, "seconds": 60.0, "queue": 5, "parameters": ("prompt", "strength"), **audience}
        self.config = ServerConfig("Mirror", AudienceConfig(**options))
        self.metrics = Metrics()
        self.lobby = self.open()
        self.addresses = iter(f"10.0.{n // 250}.{n % 250 + 1}" for n in range(60_000))

    def open(self) -> Lobby:
        lobby = Lobby(self.config, self.sent.append, self.metrics, lambda: self.time, self.gone.append)
        lobby.replace_table(SharedTable(SHARED, START))
        return lobby

    def join(self, address: str = "") -> tuple[VisitorSession, Page]:
        joined = self.lobby.join(address or next(self.addresses), "")
        assert not isinstance(joined, JoinRefused)
        page = Page()
        self.lobby.connect(joined[0], page)
        return joined[0], page

    def after(self, seconds: float, *heard: VisitorSession) -> None:
        for _ in range(round(seconds)):
            self.time += 1.0
            for session in heard:
                self.lobby.queue.hear(session.number)
            self.lobby.step()


def test_a_turn_from_the_call_to_the_end() -> None:
    rig = Rig()
    first, page = rig.join()
    second, waiting = rig.join()
    assert rig.sent == [SeatTaken(0, 1, False)]
    assert page.last("state") == {"phase": "turn", "left": 60.0}
    assert page.last("table")["values"] == START
    assert [each["name"] for each in page.last("table")["parameters"]] == ["prompt", "strength"]
    assert waiting.last("state") == {"phase": "waiting", "place": 1, "wait": 60}
    assert waiting.last("table") is None
    assert rig.lobby.set_values(first, {"prompt": "ocean", "strength": 7}) == ({"prompt": "ocean", "strength": 1.0}, [])
    assert rig.sent[1:] == [SeatValues(0, 1, {"prompt": "ocean", "strength": 1.0})]
    assert rig.lobby.rows()[0].prompt == "ocean"
    rig.after(60, first, second)
    assert rig.sent[2:] == [SeatLeft(0, 1), SeatTaken(0, 2, False)]
    assert page.last("ended") == "time"
    assert page.code == ENDED
    assert rig.gone == [1]
    assert waiting.last("table")["values"] == START  # nothing of the first visitor


def test_a_visitors_prompt_moves_no_lora() -> None:
    rig = Rig()
    session, _ = rig.join()
    for prompt in ("a <lora:ink:4>cat", "a <lora:<lora:x:1>ink:4>cat"):
        assert rig.lobby.set_values(session, {"prompt": prompt}) == ({"prompt": "a cat"}, [])


def test_what_is_refused_changes_nothing_and_says_no_word() -> None:
    rig = Rig(blocked_words=("bad",))
    session, _ = rig.join()
    other, _ = rig.join()
    rig.sent.clear()
    for values, reason in (
        ({"seed": 4}, "not offered"), ({"cue/go": 1}, "not offered"), ({"prompt": "x" * 301}, "300 characters"),
        ({"prompt": "a b-a-d day"}, "not allowed here"), ({"strength": "much"}, "takes a number"),
        ({"strength": float("nan")}, "finite"), ([1], "not understood"), ("prompt", "not understood"), (None, "not"),
    ):
        found, errors = rig.lobby.set_values(session, values)
        assert found == {}
        assert reason in errors[0]
        assert "bad" not in errors[0]
    assert rig.sent == [AudienceReport("session 1: prompt holds a blocked word")]
    assert rig.lobby.set_values(other, {"prompt": "x"}) == ({}, ["your turn has not begun"])
    assert len(rig.lobby.set_values(session, {f"n{n}": n for n in range(60)})[1]) == 4
    assert rig.lobby.set_values(session, {f"n{n}": n for n in range(1000)}) == ({}, ["this message is not understood"])
    assert rig.lobby.set_values(session, {"prompt": 10 ** 400})[1] == ["at most 300 characters are allowed"]
    nested: list[Any] = []
    for _ in range(100_000):  # more than Python 3.12 and later can print, which ignore sys.getrecursionlimit() here
        nested = [nested]
    assert rig.lobby.set_values(session, {"strength": nested})[1] == [
        "strength takes a number, not lists within lists"]


def test_ten_thousand_joins_of_one_address_take_nothing_from_others() -> None:
    rig = Rig(queue=20)
    first, _ = rig.join()
    refused = [rig.lobby.join("10.9.9.9", "") for _ in range(10_000)]
    assert sum(not isinstance(each, JoinRefused) for each in refused) == AudienceConfig.per_address
    assert len(rig.lobby.sessions) == 1 + AudienceConfig.per_address
    assert rig.metrics.counts()["refused/often"] == 10_000 - AudienceConfig.per_address
    later, page = rig.join()
    assert page.last("state")["place"] == AudienceConfig.per_address + 1
    rig.after(60, first, later)  # sessions that never connect lose their places
    assert rig.lobby.queue.seat_of(later.number) == 0


def test_full_closed_and_open_again() -> None:
    rig = Rig(queue=1)
    rig.join()
    rig.after(10)
    rig.join()
    assert rig.lobby.join("10.1.1.1", "") == JoinRefused("full", 50.0)
    rig.lobby.perform(Performer("close"))
    assert rig.lobby.join("10.1.1.1", "") == JoinRefused("closed", 0.0)
    assert not rig.lobby.is_open
    rig.lobby.perform(Performer("open"))
    assert rig.lobby.join("10.1.1.1", "") == JoinRefused("full", 50.0)


def test_the_performer_extends_skips_and_blocks() -> None:
    rig = Rig()
    first, page = rig.join("10.5.5.5")
    second, other = rig.join()
    rig.lobby.perform(Performer("extend", 1, 30.0))
    assert rig.lobby.rows()[0].seconds_left == 90.0
    rig.lobby.perform(Performer("extend", 2, 30.0))
    rig.lobby.perform(Performer("skip", 77))
    assert [each.text for each in rig.sent if isinstance(each, AudienceReport)] == [
        "session 2 was not extended: it waits", "session 77 has ended"]
    rig.lobby.perform(Performer("block", 1))
    assert page.last("ended") == "blocked"
    assert rig.lobby.join("10.5.5.5", "") == JoinRefused("blocked")
    assert rig.lobby.queue.seat_of(second.number) == 0
    rig.lobby.perform(Performer("skip", 2))
    assert other.last("ended") == "skipped"
    assert len(rig.lobby.sessions) == 0
    assert first.number not in rig.lobby.queue


def test_a_blocked_visitor_has_no_further_session_in_the_queue() -> None:
    rig = Rig()
    pages = [rig.join("10.5.5.5")[1] for _ in range(3)]
    honest, _ = rig.join()
    rig.sent.clear()
    rig.lobby.perform(Performer("block", 1))
    assert [page.last("ended") for page in pages] == ["blocked"] * 3
    assert rig.sent == [SeatLeft(0, 1), SeatTaken(0, honest.number, False)]  # none of the others had the seat
    assert len(rig.lobby.sessions) == 1


def test_a_session_that_ends_while_its_page_connects_has_no_connection() -> None:
    rig = Rig()
    session, _ = rig.join()
    rig.lobby.leave(session)
    late = Page()
    rig.lobby.connect(session, late)
    assert (late.code, late.messages, rig.lobby._connections) == (ENDED, [], {})


def test_joins_alone_take_no_turn() -> None:
    rig = Rig()
    joined = rig.lobby.join("10.0.0.1", "")
    assert not isinstance(joined, JoinRefused)
    for _ in range(20):
        rig.after(1)
        rig.lobby.join("10.0.0.1", joined[1])
    assert not any(isinstance(each, SeatTaken) for each in rig.sent)
    assert rig.metrics.counts()["ended/silent"] == 1


def test_a_second_tab_takes_over_and_a_reload_goes_on() -> None:
    rig = Rig()
    session, page = rig.join()
    rig.lobby.set_values(session, {"prompt": "ocean"})
    again = Page()
    rig.lobby.connect(session, again)
    assert page.code == ELSEWHERE
    assert again.last("table")["values"]["prompt"] == "ocean"
    rig.lobby.disconnect(session, page)  # the old connection closes late
    assert rig.lobby.connection_in(0, session.number) is again
    rig.lobby.disconnect(session, again)
    rig.after(14)
    third = Page()
    rig.lobby.connect(session, third)
    rig.after(14)
    assert third.last("state")["phase"] == "turn"
    rig.after(2)
    assert third.last("ended") == "silent"


def test_the_camera_is_the_shows_choice() -> None:
    rig = Rig()
    session, _ = rig.join()
    assert rig.lobby.set_camera(session, True) == ""
    assert rig.lobby.set_camera(session, True) == ""
    assert rig.sent == [SeatTaken(0, 1, False), SeatTaken(0, 1, True)]
    rig = Rig(source="show")
    session, page = rig.join()
    assert rig.lobby.set_camera(session, True) == "this show uses its own picture"
    assert page.last("hello")["camera"] is None


def test_another_recipe_keeps_the_values_that_it_has() -> None:
    rig = Rig()
    session, page = rig.join()
    rig.lobby.set_values(session, {"prompt": "ocean", "strength": 0.9})
    rig.lobby.replace_table(SharedTable({"prompt": SHARED["prompt"]}, {"prompt": "sea"}))
    assert page.last("table")["values"] == {"prompt": "ocean"}
    assert rig.lobby.set_values(session, {"strength": 0.2})[0] == {}


def test_a_later_server_gives_back_turns_places_and_values() -> None:
    rig = Rig()
    joined = rig.lobby.join("10.0.0.1", "")
    assert not isinstance(joined, JoinRefused)
    session, token = joined
    rig.lobby.connect(session, Page())
    second, _ = rig.join()
    rig.lobby.set_values(session, {"prompt": "ocean"})
    rig.after(10, session, second)
    rig.lobby.perform(Performer("close"))
    kept = rig.lobby.kept()
    rig.sent.clear()
    rig.time += 5000.0
    rig.lobby = rig.open()
    rig.lobby.restore(kept)
    assert rig.sent == [SeatTaken(0, 1, False), SeatValues(0, 1, {"prompt": "ocean", "strength": 0.5})]
    found = rig.lobby.sessions.find(token)
    assert found is not None
    assert rig.lobby.queue.seconds_left(found.number) == 50.0
    assert [row.number for row in rig.lobby.rows()] == [1, 2]
    assert not rig.lobby.is_open
    assert token not in repr(kept)


def test_words_that_are_blocked_since_do_not_come_back_with_a_later_server() -> None:
    rig = Rig()
    session, _ = rig.join()
    rig.lobby.set_values(session, {"prompt": "bad", "strength": 0.25})
    rig.config = dataclasses.replace(rig.config, audience=dataclasses.replace(
        rig.config.audience, blocked_words=("bad",)))
    kept, rig.lobby = rig.lobby.kept(), rig.open()
    rig.sent.clear()
    rig.lobby.restore(kept)
    assert rig.sent == [SeatTaken(0, 1, False), SeatValues(0, 1, {"strength": 0.25})]
    rig.lobby.replace_table(SharedTable(SHARED, START))
    assert rig.lobby.rows()[0].prompt == START["prompt"]


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_jump_of_the_clock_ends_no_turn(jump: float) -> None:
    rig = Rig()
    session, page = rig.join()
    rig.after(10, session)
    rig.time += jump
    rig.lobby.step()
    assert page.last("ended") is None
    assert rig.lobby.queue.seconds_left(session.number) >= 48.0
