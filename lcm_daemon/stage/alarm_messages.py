"""AlarmMessages: sends the show's alarms to the receivers. The stage never waits for one."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.parameters import Value
from lcm_daemon.shows.alarm_options import AlarmOptions
from lcm_daemon.stage.alarm_policy import AlarmMessage, AlarmPolicy
from lcm_daemon.stage.private_texts import PrivateTexts

if TYPE_CHECKING:
    from lcm_daemon.stage.alarm_receivers import AlarmNotSent, Receiver
    from lcm_daemon.stage.stage import Stage

log = logging.getLogger(__name__)

RETRY_PAUSES = (1.0, 5.0, 25.0)  # seconds before each further try to tell a receiver
MOST_WAITING = 32  # messages that wait for a receiver; further ones are dropped and counted
STOP_SECONDS = 1.0  # to send what waits, at the end of the show


class Messenger:
    """Sends one receiver what waits, in order, on a thread that starts with the first message.

    Args:
        receiver: Who is notified.
        show: Name of the show.
        metrics: Counters.
    """

    def __init__(self, receiver: Receiver, show: str, metrics: Metrics) -> None:
        self._receiver, self._show, self._metrics = receiver, show, metrics
        self._throttle = LogThrottle(log, metrics)
        self._waiting: queue.Queue[AlarmMessage | None] = queue.Queue(MOST_WAITING)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, message: AlarmMessage) -> None:
        """Send it a message later. Returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._receiver.name, daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            self._throttle.warn("alarms/dropped", f"alarms: {self._receiver.name} is too slow; a message is dropped")

    def close(self) -> None:
        """End the thread after what waits; a message that fails is not tried again."""
        self._closing.set()
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return  # a daemon thread, which ends with the process

    def join(self, seconds: float) -> None:
        """Wait for the thread."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _work(self) -> None:
        while (message := self._waiting.get()) is not None:
            try:
                self._send(message)
            except Exception:  # the top of the thread: the next alarm must be sent all the same
                self._metrics.count("alarms/failed")
                log.exception("alarms: %s could not be notified", self._receiver.name)

    def _send(self, message: AlarmMessage) -> None:
        from lcm_daemon.stage.alarm_receivers import AlarmNotSent

        for pause in (*RETRY_PAUSES, None):
            try:
                self._receiver.send(self._show, message)
            except AlarmNotSent as error:
                if pause is None or self._closing.wait(pause):
                    return self._on_failure(error)
            else:
                self._metrics.count("alarms/sent")
                return None
        return None

    def _on_failure(self, error: AlarmNotSent) -> None:
        self._throttle.warn("alarms/failed", f"alarms: {self._receiver.name} could not be notified: {error}")


class AlarmMessages:
    """Attendant that notifies the receivers.

    Args:
        stage: The show.
        options: Who is notified, and how often.
    """

    name = "the messages about alarms"

    def __init__(self, stage: Stage, options: AlarmOptions) -> None:
        from lcm_daemon.stage.alarm_receivers import receivers_of

        self._clock, self._texts = stage.clock, PrivateTexts(stage)
        self._policy = AlarmPolicy(options.after, options.pause, options.repeat)
        self._messengers = [Messenger(each, stage.show.name, stage.metrics) for each in receivers_of(options)]
        stage.alarms.on_change.append(self._on_change)

    def step(self, now: float) -> None:
        """Send what is due."""
        self._texts.note()
        for message in self._policy.due(now):
            sent = replace(message, text=self._texts.redaction().apply(message.text))
            for messenger in self._messengers:
                messenger.send(sent)

    def status(self) -> Mapping[str, Value]:
        """Nothing: the counters say how many were sent."""
        return {}

    def stop(self) -> None:
        """Send what waits."""
        for messenger in self._messengers:
            messenger.close()
        end = self._clock.now() + STOP_SECONDS
        for messenger in self._messengers:
            messenger.join(max(0.0, end - self._clock.now()))

    def _on_change(self, cause: str, text: str) -> None:
        self._policy.set(cause, text, self._clock.now())
