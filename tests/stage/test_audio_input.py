"""The stage's part: levels for modulators, the ring's name for the desk, an alarm while no device is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lcm_daemon.automation.modulation import Modulation
from lcm_daemon.controllers.audio.controller import Audio
from lcm_daemon.controllers.audio.listener import AudioState
from lcm_daemon.core.audio_names import SECTION
from lcm_daemon.core.audio_ring import COLUMNS
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.schema import defaults
from lcm_daemon.stage import audio_input
from lcm_daemon.stage.alarms import Alarms
from lcm_daemon.stage.audio_input import ALARM_SECONDS, AudioInput
from tests.conftest import ManualClock


def rig() -> Any:
    return SimpleNamespace(
        clock=ManualClock(), alarms=Alarms(), metrics=Metrics(),
        desk=SimpleNamespace(kept={"osc": 1}, on_end=lambda end: None),
        automation=SimpleNamespace(modulation=Modulation(())), outputs=SimpleNamespace(hear=lambda ring: None))


def test_the_levels_reach_the_modulators_and_the_name_the_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = rig()
    audio = AudioInput(stage, defaults(Audio.fields))
    supervisor: Any = audio._supervisor
    monkeypatch.setattr(supervisor, "poll", lambda now: None)
    assert set(stage.desk.kept) == {"osc", SECTION}
    audio._ring.begin(48_000)
    audio._ring.write(np.zeros((4, COLUMNS), np.float32), 1000.0)
    audio._ring.write_levels((0.5, 0.0, 0.0, 0.0, 0.0))
    assert stage.automation.modulation.audio(1000.1)["low"] == 0.5
    audio.stop()
    assert stage.automation.modulation.audio(1000.1)["low"] == 0.0


def test_an_alarm_lasts_while_nothing_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = rig()
    audio = AudioInput(stage, defaults(Audio.fields))
    supervisor: Any = audio._supervisor
    monkeypatch.setattr(supervisor, "poll", lambda now: None)
    supervisor.state = AudioState("audio: no input device is there")
    seen = []
    for seconds, listens in ((1.0, False), (ALARM_SECONDS, False), (1.0, True), (1.0, False)):
        stage.clock.time += seconds
        supervisor.state = AudioState(supervisor.state.text, listens)
        audio.step(stage.clock.now())
        seen.append(stage.alarms.describe())
    assert seen == ["", "audio: no input device is there", "", ""]
    assert audio.status() == {"audio": "audio: no input device is there"}
    audio.stop()


def test_without_shared_memory_the_show_plays_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(audio_input, "OwnedAudioRing", full)
    stage = rig()
    audio = AudioInput(stage, defaults(Audio.fields))
    audio.step(1000.0)
    audio.stop()
    assert stage.desk.kept == {"osc": 1}
    assert stage.automation.modulation.audio is None
