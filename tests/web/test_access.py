"""Access: roles and sessions."""

from __future__ import annotations

from typing import Any

import pytest

from lcm_daemon.core.network import NONE, PLAY, VIEW, AccessPolicy, NetworkPolicy
from lcm_daemon.web import access
from lcm_daemon.web.access import Access, Sessions


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def scope(address: str = "10.0.0.7", **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "client": (address, 5), "headers": pairs}


def gate(sessions: Sessions | None = None, **policy: Any) -> Access:
    return Access(NetworkPolicy(access=AccessPolicy(**policy)), sessions or Sessions({}))


@pytest.mark.parametrize(("policy", "client", "role"), [
    ({}, scope(), PLAY), ({"others": NONE}, scope(), PLAY), ({"pin": "123456"}, scope(), VIEW),
    ({"pin": "123456", "others": NONE}, scope(), NONE), ({"pin": "123456", "others": PLAY}, scope(), PLAY),
    ({"pin": "123456"}, scope("127.0.0.1"), PLAY), ({"pin": "123456"}, scope("::1"), PLAY),
    ({"pin": "123456"}, scope("::ffff:127.0.0.1"), PLAY), ({"pin": "123456"}, scope("::ffff:10.0.0.1"), VIEW),
    ({"pin": "123456", "local_pin": True}, scope("127.0.0.1"), VIEW),
    ({"pin": "123456"}, scope("127.0.0.1", x_forwarded_for="10.0.0.7"), VIEW),
    ({"pin": "123456"}, scope("127.0.0.1", forwarded="for=10.0.0.7"), VIEW), ({"pin": "123456"}, scope(""), VIEW),
    ({"pin": "123456"}, scope(x_forwarded_for="127.0.0.1"), VIEW),
    ({"pin": "123456"}, scope(cookie="lcm_session_8000=x; lcm_session_8000="), VIEW),
])
def test_roles(policy: dict[str, Any], client: dict[str, Any], role: str) -> None:
    assert gate(**policy).role(client) == role


def test_a_session_plays_until_it_was_not_used_for_long() -> None:
    clock, store, started = Clock(), dict[str, float](), list[int]()
    sessions = Sessions(store, lambda: started.append(1), clock)
    token = sessions.start()
    door = gate(sessions, pin="123456")
    assert started == [1]
    assert token not in store, "a copy of the store opens nothing"
    assert door.role(scope(cookie=f"a=b; lcm_session_8000={token}")) == PLAY
    assert door.role(scope(cookie=f"session={token}")) == VIEW
    assert gate(Sessions(dict(store), now=clock), pin="123456").role(scope(cookie=f"lcm_session_1={token}")) == PLAY
    clock.now += access.SESSION_SECONDS - 1
    assert sessions.holds(token)
    clock.now += access.SESSION_SECONDS - 1
    assert sessions.holds(token), "it lasts while it is used"
    clock.now += access.SESSION_SECONDS + 1
    assert not sessions.holds(token)
    assert store == {}


def test_a_session_ends_with_its_pin() -> None:
    store: dict[str, float] = {}
    token = Sessions(store, pin="123456").start()
    assert Sessions(store, pin="123456").holds(token)
    assert not Sessions(store, pin="654321").holds(token), "another show has another pin"
    assert Sessions(store, pin="123456").holds(token), "and the first one has its own again"


def test_the_oldest_session_ends_when_there_are_too_many() -> None:
    clock = Clock()
    sessions = Sessions(store := {}, now=clock)
    tokens = []
    for _ in range(access.SESSIONS_KEPT + 2):
        clock.now += 1
        tokens.append(sessions.start())
    assert len(store) == access.SESSIONS_KEPT
    assert [sessions.holds(token) for token in tokens[:3]] == [False, False, True]
