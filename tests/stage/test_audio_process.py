"""The process is started, replaced and left alone; a real one ends in good time. What it says is the state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from lcm_daemon.controllers.audio.config import AudioConfig
from lcm_daemon.controllers.audio.listener import AudioState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.processes.protocol import Failed
from lcm_daemon.stage import audio_process
from lcm_daemon.stage.audio_process import LONG_PAUSE, RETRY_PAUSE, AudioSupervisor, OwnedAudioRing
from tests.rigs.daemon import wait_for


class Dead:
    """A child that only has to be killed."""

    def __init__(self, *_: object, **__: object) -> None:
        self.process, self.pid, self.killed = self, 0, False
        self.channel = self

    def kill(self) -> None:
        self.killed = True

    def wait(self, seconds: float) -> bool:
        return True

    def receive(self) -> list[object]:
        return []


@pytest.fixture
def ring() -> Iterator[OwnedAudioRing]:
    one = OwnedAudioRing()
    yield one
    one.close()


def test_one_that_fails_is_replaced_less_and_less_often(ring: OwnedAudioRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_process, "Child", Dead)
    one, now, pauses = AudioSupervisor(AudioConfig(), ring, Metrics()), 100.0, []
    for _ in range(3):
        one.poll(now)
        child = one.child
        assert child is not None
        one.on_message(Failed("PortAudioError: out of order"), child, now)
        one.on_failure("died", now)
        assert one.state == AudioState("PortAudioError: out of order")
        failed_at = now
        while one.child is None:
            now += 0.5
            one.poll(now)
        pauses.append(now - failed_at)
        one.kill_child()
    assert pauses == [RETRY_PAUSE, RETRY_PAUSE, LONG_PAUSE]
    assert one.metrics.counts()["audio/replaced"] == 3


def test_what_a_native_library_prints_is_not_in_the_log() -> None:
    code = ("import logging, os, sys; from lcm_daemon.processes.bootstrap import LogLevels, set_up_logging; "
            "from lcm_daemon.stage.audio_process import hide_native_lines; hide_native_lines(); "
            "set_up_logging(LogLevels()); os.write(2, b'Expression failed'); logging.warning('a line'); "
            "print('a traceback', file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "a line" in done.stderr
    assert "a traceback" in done.stderr
    assert "Expression" not in done.stderr


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced(ring: OwnedAudioRing) -> None:
    one = AudioSupervisor(AudioConfig(device="no such device"), ring, Metrics())
    try:
        def pid_after(before: int) -> int:
            one.poll(time.perf_counter())
            return one.pid if one.pid != before and one.state.text.startswith("audio: no input device") else 0

        first = wait_for(lambda: pid_after(0), what="the first process")
        os.kill(first, signal.SIGKILL)
        one.state = AudioState("")
        assert wait_for(lambda: pid_after(first), what="the second process")
    finally:
        one.stop()
