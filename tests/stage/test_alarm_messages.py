"""The stage's alarms reach the receivers, also those that are slow or fail."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Parameter
from lcm_daemon.shows.alarm_options import AlarmOptions
from lcm_daemon.stage import alarm_messages, alarm_receivers
from lcm_daemon.stage.alarm_messages import MOST_WAITING, AlarmMessages, Messenger
from lcm_daemon.stage.alarm_policy import BEGINS, AlarmMessage
from lcm_daemon.stage.alarm_receivers import AlarmNotSent
from lcm_daemon.stage.alarms import Alarms
from tests.conftest import ManualClock

MESSAGE = AlarmMessage("disk", "full", BEGINS, 5.0)


class Receiver:
    """Notes what it is told; fails as often as the test says; waits for `gate`."""

    name = "a receiver"

    def __init__(self, failures: int = 0) -> None:
        self.told: list[str] = []
        self.failures, self.gate, self.entered = failures, threading.Event(), threading.Event()
        self.gate.set()

    def send(self, show: str, message: AlarmMessage) -> None:
        self.entered.set()
        assert self.gate.wait(30)
        if self.failures:
            self.failures -= 1
            raise AlarmNotSent("the answer is 500")
        self.told.append(f"{show} {message.state} {message.text}")


def messenger(receiver: Receiver) -> Messenger:
    return Messenger(receiver, "mirror", Metrics())


def test_a_receiver_that_fails_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_messages, "RETRY_PAUSES", (0.0, 0.0, 0.0))
    receiver = Receiver(failures=3)
    found = messenger(receiver)
    found.send(MESSAGE)
    found._waiting.put(None)
    found.join(30)
    assert receiver.told == ["mirror begins full"]


def test_a_receiver_that_fails_for_good_is_a_line_and_the_next_message_is_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alarm_messages, "RETRY_PAUSES", (0.0,))
    receiver = Receiver(failures=2)
    found = messenger(receiver)
    found.send(MESSAGE)
    found.send(MESSAGE)
    found._waiting.put(None)
    found.join(30)
    assert "alarms: a receiver could not be notified: the answer is 500" in caplog.text
    assert receiver.told == ["mirror begins full"]


def test_a_receiver_with_a_fault_gets_the_next_message(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Receiver):
        def send(self, show: str, message: AlarmMessage) -> None:
            super().send(show, message)
            if len(self.told) == 1:
                raise RuntimeError("what no one has thought of")

    receiver = Faulty()
    found = messenger(receiver)
    for _ in range(2):
        found.send(MESSAGE)
    found._waiting.put(None)
    found.join(30)
    assert receiver.told == ["mirror begins full"] * 2
    assert "what no one has thought of" in caplog.text


def test_a_receiver_that_hangs_delays_nothing_and_what_waits_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver()
    receiver.gate.clear()
    found = messenger(receiver)
    for _ in range(MOST_WAITING + 5):
        found.send(MESSAGE)
        receiver.entered.wait(30)
    assert "a message is dropped" in caplog.text
    receiver.gate.set()
    found._waiting.put(None)
    found.join(30)
    assert len(receiver.told) == MOST_WAITING + 1


def test_an_alarm_of_the_stage_reaches_every_receiver_without_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    receivers, clock = [Receiver(), Receiver()], ManualClock()
    monkeypatch.setattr(alarm_receivers, "receivers_of", lambda options: receivers)
    stage: Any = SimpleNamespace(
        clock=clock, alarms=Alarms(), metrics=Metrics(), values={"prompt": "a very private ocean"},
        parameters=SimpleNamespace(table={"prompt": Parameter("prompt", "text", "", "")}),
        show=SimpleNamespace(name="mirror", prompts=()), audience=SimpleNamespace(texts=list))
    attendant = AlarmMessages(stage, AlarmOptions(after=5.0))
    stage.alarms.set("engine", "cannot encode a very private ocean")
    attendant.step(clock.now())
    clock.time += 6.0
    attendant.step(clock.now())
    clock.time += 1.0
    stage.alarms.set("engine", "")
    attendant.step(clock.now())
    attendant.stop()
    for messenger in attendant._messengers:
        messenger.join(30)
    assert [receiver.told for receiver in receivers] == [["mirror begins cannot encode (hidden)"]] * 2
