"""Supervisor's tools: a child process with its link, and the budget of its restarts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

from lcm_daemon.core.frame import Size
from lcm_daemon.processes.bootstrap import prepare_environment, shielding
from lcm_daemon.processes.channel import Channel


class Child:
    """A spawned process and the stage's end of its link. Once killed it is done with: start another.

    guided: the link carries a second picture, the guide.   Raises OSError where the system has no room for it.
    """

    def __init__(self, name: str, target: Callable[..., None], size: Size, *args: Any, guided: bool = False) -> None:
        prepare_environment()
        self.link = Channel(size, guided)
        arguments = (self.link.port(), *args)
        self.process: BaseProcess = get_context("spawn").Process(target=target, args=arguments, name=name, daemon=True)
        try:
            with shielding():
                self.process.start()
        except OSError:  # no memory, no process, no file left: the shared memory must not stay
            self.link.close()
            raise
        self.link.started()

    @property
    def pid(self) -> int | None:
        return self.process.pid

    def kill(self) -> None:
        """End it now, whatever it does, and give its memory back; does not wait for its last breath."""
        self.process.kill()
        self.link.close()

    def reap(self, seconds: float) -> bool:
        """Wait up to `seconds` for the end of a killed process; True once it is gone."""
        self.process.join(seconds)
        return self.process.exitcode is not None


class Reaper:
    """Killed children until the system has let them go: a driver may take its time, and the tick must not wait."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def __len__(self) -> int:
        return len(self._children)

    def bury(self, child: Child) -> None:
        child.kill()
        self._children.append(child)

    def visit(self, seconds: float = 0.0) -> None:
        """Reap who can be reaped, waiting up to `seconds` for each."""
        self._children = [child for child in self._children if not child.reap(seconds)]


class RestartLimit:
    """At most `count` restarts within `seconds`; who asks for more has a fault that restarting does not mend."""

    def __init__(self, count: int = 3, seconds: float = 60.0) -> None:
        self.count, self.seconds = count, seconds
        self._spent: deque[float] = deque()

    @property
    def spent(self) -> int:
        """Restarts that still count."""
        return len(self._spent)

    def spend(self, now: float) -> bool:
        """Note a restart at `now` (monotonic seconds); False if it is one too many, and the budget begins anew."""
        while self._spent and now - self._spent[0] > self.seconds:
            self._spent.popleft()
        self._spent.append(now)
        if len(self._spent) < self.count:
            return True
        self._spent.clear()
        return False
