"""What several tests share: an injected clock, and `need`, the one way to skip."""

from __future__ import annotations

import os

import pytest


def need(present: bool, reason: str) -> None:
    """Skip with `reason` where a real part is missing on a user's machine; under CI a missing part is a failure."""
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must have every real part: {reason}")
    pytest.skip(reason)


class ManualClock:
    """A clock that moves when it is told to, or when somebody sleeps on it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test leaves or finds anything in the user's own folder."""
    os.environ["LCM_DAEMON_STATE"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
