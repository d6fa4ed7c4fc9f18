"""AudioInput: keeps the audio process running, and gives its levels to the modulators and its sound to recordings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lcm_daemon.controllers.audio.config import AudioConfig
from lcm_daemon.core.audio_names import SECTION
from lcm_daemon.core.parameters import Value
from lcm_daemon.stage.audio_process import AudioSupervisor, OwnedAudioRing

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

log = logging.getLogger(__name__)

ALARM_SECONDS = 10.0  # without a device, after which an alarm is raised
STOP_SECONDS = 1.0  # for the process to end


class AudioInput:
    """Attendant of shows with the key `audio`.

    Args:
        stage: The show.
        options: The keys of its section.
    """

    name = "the audio input"

    def __init__(self, stage: Stage, options: Mapping[str, Any]) -> None:
        self._alarms, self._deaf_since = stage.alarms, stage.clock.now()
        self._supervisor: AudioSupervisor | None = None
        try:
            self._ring = OwnedAudioRing()
        except OSError as error:
            log.warning("%s: no shared memory for it (%s); the show plays without it", SECTION, error)
            return
        self._supervisor = AudioSupervisor(AudioConfig.of(options), self._ring, stage.metrics)
        self._supervisor.on_end = stage.desk.on_end  # a crash report, where the show has them
        stage.desk.kept = {**stage.desk.kept, SECTION: self._ring.name}
        stage.automation.modulation.audio = self._ring.levels
        stage.outputs.hear(self._ring)

    def step(self, now: float) -> None:
        """Replace a process that has ended or hangs; raise an alarm while nothing is heard."""
        if self._supervisor is None:
            return
        self._supervisor.poll(now)
        state = self._supervisor.state
        if state.listens:
            self._deaf_since = now
        self._alarms.set(SECTION, state.text if now - self._deaf_since >= ALARM_SECONDS else "")

    def status(self) -> Mapping[str, Value]:
        return {SECTION: self._supervisor.state.text if self._supervisor else "no shared memory"}

    def stop(self) -> None:
        """End the process and remove the ring."""
        if self._supervisor is not None:
            self._supervisor.stop(STOP_SECONDS)
            self._ring.close()
