"""Sessions: a secret that cannot be guessed or used again, and who is blocked."""

from __future__ import annotations

import json

from lcm_daemon.audience import sessions
from lcm_daemon.audience.sessions import NUMBERS_SKIPPED, VisitorSessions


def test_a_token_finds_its_session_until_the_end() -> None:
    found = VisitorSessions(8)
    session, token = found.start("10.0.0.7")
    other, other_token = found.start("10.0.0.7")
    assert found.find(token) is session
    assert found.find(other_token) is other
    assert len(token) >= 43
    found.end(session.number)
    assert found.find(token) is None
    assert found.get(session.number) is None
    assert len(found) == 1
    found.end(session.number)  # twice is as good as once
    assert found.find(other_token) is other


def test_guesses_find_nothing() -> None:
    found = VisitorSessions(8)
    session, token = found.start("10.0.0.7")
    for guess in ("", "1", str(session.number), session.digest, token[:-1], token + "a", token.swapcase(),
                  "x" * 100_000, "\ud800", "\0"):
        assert found.find(guess) is None


def test_the_token_is_kept_nowhere() -> None:
    found = VisitorSessions(8)
    session, token = found.start("10.0.0.7")
    assert token not in repr(found.kept(session.number))
    assert session.digest not in repr(session)


def test_numbers_go_up_also_in_a_later_server() -> None:
    first = VisitorSessions(8)
    tokens = [first.start("10.0.0.7")[1] for _ in range(3)]
    first.end(3)
    later = VisitorSessions(8)
    later.restore(*json.loads(json.dumps((first.last, [first.kept(1), first.kept(2)]))))
    found = later.find(tokens[0])
    assert found is not None
    assert found.number == 1
    assert later.find(tokens[2]) is None
    assert later.start("10.0.0.7")[0].number == 4 + NUMBERS_SKIPPED  # 4 may have been given after `kept`


def test_one_address_has_a_few_sessions_and_a_proxy_here_has_many() -> None:
    found = VisitorSessions(8)
    for _ in range(8):
        assert found.has_room("2001:db8::1")
        found.start("2001:db8::1")
    assert not found.has_room("2001:db8::2")  # of the same /64
    assert found.has_room("2001:db8:1::1")
    for _ in range(24):
        found.start("127.0.0.1")
    assert found.has_room("127.0.0.1")
    assert found.has_room("::1")


def test_a_blocked_visitor_is_refused_by_cookie_and_by_address() -> None:
    found = VisitorSessions(8)
    session, token = found.start("10.0.0.7")
    local, local_token = found.start("127.0.0.1")
    found.block(session.number)
    found.block(local.number)
    found.end(session.number)
    found.end(local.number)
    assert found.is_blocked("10.0.0.7")
    assert found.is_blocked("10.0.0.8", token)
    assert found.is_blocked("127.0.0.1", local_token)
    assert not found.is_blocked("127.0.0.1")
    later = VisitorSessions(8)
    later.restore(found.last, [], found.kept_blocked())
    assert later.is_blocked("10.0.0.7")
    assert later.is_blocked("10.0.0.8", token)
    assert not later.is_blocked("10.0.0.8")


def test_all_sessions_of_a_blocked_address_end_and_a_proxy_here_is_spared() -> None:
    found = VisitorSessions(8)
    tokens = [found.start(address)[1] for address in ("10.0.0.7", "10.0.0.8", "10.0.0.7", "127.0.0.1", "127.0.0.1")]
    assert found.block(1) == [1, 3]
    assert found.block(4) == [4]
    venue = [found.start(f"2001:db8::{n}")[0].number for n in (1, 2)]
    assert found.block(venue[0]) == venue[:1]
    assert [found.is_blocked("10.0.0.9", token) for token in tokens] == [True, False, True, True, False]


def test_the_list_of_blocked_visitors_does_not_grow_without_end(monkeypatch) -> None:
    monkeypatch.setattr(sessions, "MOST_BLOCKED", 2)
    found = VisitorSessions(8)
    for n in range(4):
        session, _ = found.start(f"10.0.0.{n}")
        found.block(session.number)
    assert [found.is_blocked(f"10.0.0.{n}") for n in range(4)] == [False, False, True, True]


def test_a_venue_behind_one_router_may_be_given_more() -> None:
    found = VisitorSessions(20)
    for _ in range(20):
        assert found.has_room("203.0.113.7")
        found.start("203.0.113.7")
    assert not found.has_room("203.0.113.7")
