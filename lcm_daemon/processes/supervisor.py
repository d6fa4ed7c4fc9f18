"""ChildSupervisor: keeps one child process running. What the engine's and the desk's supervisor share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.processes.channel import CLOSED
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.ends import DIED, HANGS, End, cause_of
from lcm_daemon.processes.protocol import Failed


class Reaper:
    """Killed children until the system has ended them. A driver may take its time, and the tick must not wait."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def __len__(self) -> int:
        return len(self._children)

    def kill(self, child: Child) -> None:
        """Kill a child and remember it until it has ended."""
        child.kill()
        self._children.append(child)

    def reap(self, seconds: float = 0.0) -> None:
        """Drop the children that have ended, waiting up to `seconds` for each."""
        self._children = [child for child in self._children if not child.wait(seconds)]


class RestartLimit:
    """At most `count` restarts within `seconds`. More mean a fault that restarting does not fix."""

    def __init__(self, count: int = 3, seconds: float = 60.0) -> None:
        self.count, self.seconds = count, seconds
        self._times: deque[float] = deque()

    @property
    def recent(self) -> int:
        """Number of restarts within the last `seconds`."""
        return len(self._times)

    def allows(self, now: float) -> bool:
        """Record a restart at `now` (monotonic seconds). False if the limit is reached; counting then starts over."""
        while self._times and now - self._times[0] > self.seconds:
            self._times.popleft()
        self._times.append(now)
        if len(self._times) < self.count:
            return True
        self._times.clear()
        return False


class ChildSupervisor(ABC):
    """One child after another. All calls on the stage's thread; none of them waits.

    A subclass says how a child is started (`start_next`), what its messages mean (`on_message`), when its silence is a
    hang (`is_hung`), and what follows its end (`on_failure`).

    Attributes:
        kind: What a child is: "engine".
        on_end: Called with each child that fails, before it is killed.
    """

    kind: ClassVar[str] = "child"

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.child: Child | None = None
        self.started_at = 0.0  # when the child was started, or failed to, in monotonic seconds
        self.restarts = RestartLimit()
        self._reaper = Reaper()
        self.on_end: Callable[[End], object] = lambda end: None

    @property
    def pid(self) -> int:
        """Process id of the child, or 0."""
        return (self.child.process.pid if self.child else 0) or 0

    def waitables(self) -> list[Any]:
        """What the stage waits on: a pipe becomes readable when a message arrives and when the child dies."""
        return [self.child.channel.pipe] if self.child is not None else []

    def poll(self, now: float) -> None:
        """Read the child's messages, replace a child that died or hangs, and start one if there is none."""
        self._reaper.reap()
        if self.child is None:
            self.start_next(now)
            return
        self._read_messages(self.child, now)
        if self.child is not None and self.is_hung(self.child, now):
            self.on_failure(HANGS, now)

    def _read_messages(self, child: Child, now: float) -> None:
        try:
            messages = child.channel.receive()
        except CLOSED:
            self.on_failure(DIED, now)
            return
        for message in messages:
            self.on_message(message, child, now)
            if self.child is not child:  # the message ended it
                return

    def wait_for_message(self, child: Child, seconds: float) -> bool:
        """Wait up to `seconds` for the child's next message, or its end; return whether one of them has come."""
        try:
            return child.channel.pipe.poll(seconds)
        except (InterruptedError, *CLOSED):  # InterruptedError: Ctrl-C on Windows; its handler has run
            return True

    def report_end(self, failed: Failed, facts: Mapping[str, str]) -> None:
        """Count that the child has failed, and say so. facts: What is known of it."""
        cause = cause_of(failed)
        self.metrics.count(f"{self.kind}/ended/{cause}")
        if self.child is not None:
            self.on_end(End(self.kind, self.child, cause, failed.text, facts))

    def kill_child(self) -> None:
        """Kill the child, if there is one; `poll` reaps it."""
        if self.child is not None:
            self._reaper.kill(self.child)
        self.child = None

    def stop(self, seconds: float = 1.0) -> None:
        """Kill the child for good, and wait up to `seconds` for its end."""
        self.kill_child()
        self._reaper.reap(seconds)

    @abstractmethod
    def start_next(self, now: float) -> None:
        """Start a child, if it is time. Called while none exists."""

    @abstractmethod
    def on_message(self, message: Any, child: Child, now: float) -> None:
        """Handle one message of the child."""

    @abstractmethod
    def is_hung(self, child: Child, now: float) -> bool:
        """Whether the child has been silent for too long."""

    @abstractmethod
    def on_failure(self, reason: str, now: float) -> None:
        """The child died, hangs or reported an error: kill it and decide what follows."""
