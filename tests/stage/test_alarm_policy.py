"""Which alarms are told, and when."""

from __future__ import annotations

from itertools import pairwise

from lcm_daemon.stage.alarm_policy import MOST_A_MINUTE, AlarmPolicy

AFTER, PAUSE, REPEAT = 5.0, 60.0, 3600.0


class Log:
    """A policy with a clock of whole seconds. said: (second, state, text) of each message."""

    def __init__(self, after: float = AFTER, pause: float = PAUSE, repeat: float = REPEAT) -> None:
        self.policy, self.now = AlarmPolicy(after, pause, repeat), 0
        self.said: list[tuple[int, str, str]] = []
        self.times: list[int] = []

    def run(self, seconds: int) -> Log:
        for _ in range(seconds):
            self.now += 1
            for message in self.policy.due(self.now):
                self.said.append((self.now, message.state, message.text))
                self.times.append(message.times)
        return self

    def set(self, text: str, cause: str = "disk") -> Log:
        self.policy.set(cause, text, self.now)
        return self


def test_an_alarm_that_lasts_is_told_and_told_again_and_so_is_its_end() -> None:
    log = Log().set("full").run(2 * 3600 + 100).set("").run(100)
    assert log.said == [(5, "begins", "full"), (3605, "lasts", "full"), (7205, "lasts", "full"), (7305, "ends", "full")]


def test_an_alarm_that_is_over_at_once_is_not_told() -> None:
    assert Log().set("full").run(4).set("").run(1000).said == []


def test_another_text_of_the_same_cause_is_no_message_of_its_own() -> None:
    log = Log()
    for megabytes in range(400, 300, -1):
        log.set(f"{megabytes} MB are left").run(1)
    assert log.said == [(5, "begins", "396 MB are left")]


def test_an_alarm_that_comes_and_goes_makes_a_message_a_minute_at_most() -> None:
    log = Log()
    for _ in range(200):
        log.set("gone").run(8).set("").run(8)
    assert log.now == 3200
    assert 2 <= len(log.said) <= 3200 / PAUSE + 1
    seconds = [second for second, _, _ in log.said]
    assert min(later - earlier for earlier, later in pairwise(seconds)) >= PAUSE
    assert max(log.times) > 1, "the message says how often"


def test_one_that_comes_again_and_again_for_a_moment_is_told_too() -> None:
    log = Log()
    for _ in range(10):
        log.set("engine died").run(1).set("").run(2)
    assert log.said[0] == (7, "begins", "engine died")


def test_many_causes_at_once_are_told_one_minute_after_the_other() -> None:
    log = Log()
    for number in range(25):
        log.set("broken", f"cause {number}")
    log.run(59)
    assert len(log.said) == MOST_A_MINUTE
    assert len(log.run(121).said) == 25


def test_no_repeats_where_the_show_wants_none_and_nothing_is_kept() -> None:
    log = Log(0.0, 0.0, 0.0).set("full").run(100_000)
    assert [state for _, state, _ in log.said] == ["begins"]
    log.set("").run(2)
    assert [state for _, state, _ in log.said] == ["begins", "ends"]
    assert log.policy._alarms == {}
