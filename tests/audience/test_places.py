"""Which pages are told their place: all of them, in rounds, and few at a time."""

from __future__ import annotations

from lcm_daemon.audience.places import BEAT_SECONDS, MOST_PUSHED, PUSH_SECONDS, ROUND_SECONDS, PlaceNews
from lcm_daemon.audience.queue import VisitorQueue


class Rig:
    def __init__(self, sessions: int) -> None:
        self.time = 10.0
        self.queue = VisitorQueue(2, sessions, 60.0, lambda: self.time)
        self.news = PlaceNews(self.queue, lambda: self.time)
        for session in range(1, sessions + 1):
            self.queue.join(session)
            self.queue.hear(session)
        self.queue.step()

    def told(self, seconds: float, but: int = 0) -> list[list[int]]:
        """The sessions that are told in each call, without those of calls that tell none."""
        rounds = []
        for _ in range(round(seconds / PUSH_SECONDS)):
            self.time += PUSH_SECONDS
            rounds.append([session for session, _ in self.news.due({*range(1, 10_000)} - {but})])
        return [each for each in rounds if each]


def test_a_round_tells_each_page_once_and_never_many_at_a_time() -> None:
    rig = Rig(500)
    told = rig.told(BEAT_SECONDS)
    assert max(map(len, told)) == MOST_PUSHED
    assert [session for each in told for session in each] == list(range(1, 501))


def test_more_pages_than_that_are_all_told_within_a_beat() -> None:
    assert sum(map(len, Rig(2000).told(BEAT_SECONDS))) == 2000


def test_few_pages_are_told_a_second_after_a_change_and_else_every_beat() -> None:
    rig = Rig(10)
    assert rig.told(0.1, but=7) == [[1, 2, 3, 4, 5], [6, 8, 9, 10]]
    assert rig.told(BEAT_SECONDS - 0.2) == []
    assert len(rig.told(0.3)) == 2
    rig.told(ROUND_SECONDS)
    rig.news.note()
    assert len(rig.told(0.1)) == 2


def test_what_a_page_is_told() -> None:
    rig = Rig(4)
    assert rig.news.state(1) == {"phase": "turn", "left": 60.0}
    assert rig.news.state(4) == {"phase": "waiting", "place": 2, "wait": 60}
    rig.queue.end(1, "left")
    rig.queue.step()
    rig.time += 1.0
    assert rig.news.state(3)["phase"] == "turn"
    assert rig.news.state(4)["place"] == 1
    rig.queue.join(5)
    assert rig.news.state(5)["place"] == 2
    assert rig.news.state(99) == {"phase": "turn", "left": 0.0}  # it has ended: a message says so
