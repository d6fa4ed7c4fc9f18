"""AudioSupervisor: keeps one audio process running.

A native library may crash or hang, and a busy desk or stage would miss samples: so the device has a process of its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any

from lcm_daemon.controllers.audio.config import AudioConfig
from lcm_daemon.controllers.audio.listener import AudioState, Listener
from lcm_daemon.core.audio_names import SECTION
from lcm_daemon.core.audio_ring import SIZE, AudioRing, attach
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.shared_room import reserve
from lcm_daemon.processes.bootstrap import LogLevels, log_levels, set_up_child
from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.log_output import flush_log
from lcm_daemon.processes.protocol import Failed
from lcm_daemon.processes.segments import OwnedSegment
from lcm_daemon.processes.silence import SilenceWatch
from lcm_daemon.processes.supervisor import ChildSupervisor

log = logging.getLogger(__name__)

NAME = "lcm-audio"
NO_FRAMES = (1, 1)  # of its channel, which carries messages only
HUNG_SECONDS = 10.0  # asleep without a sign of life: a driver may take seconds to open
RETRY_PAUSE, LONG_PAUSE = 1.0, 60.0  # seconds until the next process; the long one after three that failed in a minute


def run(endpoint: ChildEndpoint, config: AudioConfig, ring: str, levels: LogLevels) -> None:
    """Run the process until the stage ends it.

    Args:
        endpoint: The child's end of the channel.
        config: What the show says.
        ring: Name of the ring's block.
        levels: Log levels of the stage.
    """
    hide_native_lines()
    set_up_child(levels)
    channel = ChildChannel(endpoint)
    try:
        Listener(config, AudioRing(attach(ring)), channel.send).run()
    except Exception as error:  # the top of the loop: report it, and let a new process replace this one
        log.exception("audio failed")
        flush_log()
        channel.send(Failed(f"{type(error).__name__}: {error}".splitlines()[0]))
    finally:
        channel.close()


def hide_native_lines() -> None:
    """Discard what PortAudio prints: when a PulseAudio server ends, 150,000 lines a second. Call it before logging.

    Log lines go to standard error as before.
    """
    with contextlib.suppress(OSError, AttributeError, ValueError):  # a program without a terminal may have no such file
        own = os.fdopen(os.dup(sys.stderr.fileno()), "w", 1, sys.stderr.encoding, "backslashreplace")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)
        sys.stderr = own


class OwnedAudioRing(AudioRing):
    """The stage's end: it makes the block and removes it. Raises OSError if the system has no room."""

    def __init__(self) -> None:
        self._owned = OwnedSegment(SIZE)
        try:
            reserve(self._owned.memory.name, SIZE)
        except OSError:
            self._owned.memory.close()
            self._owned.remove()
            raise
        super().__init__(self._owned.memory)

    def close(self) -> None:
        """Unmap and remove the block."""
        super().close()
        self._owned.remove()


class AudioSupervisor(ChildSupervisor):
    """One audio process after another.

    Args:
        config: What the show says.
        ring: Where the process writes.
        metrics: Counters.

    Attributes:
        state: What the process listens to.
    """

    kind = SECTION

    def __init__(self, config: AudioConfig, ring: AudioRing, metrics: Metrics) -> None:
        super().__init__(metrics)
        self.state = AudioState("starting")
        self._config, self._ring = config, ring
        self._silence, self._signs = SilenceWatch(asleep=HUNG_SECONDS), -1
        self._error, self._retry_at = "", 0.0

    def start_next(self, now: float) -> None:
        if now < self._retry_at:
            return
        try:
            self.child = Child(NAME, run, NO_FRAMES, self._config, self._ring.name, log_levels(), slots=1, fewest=0)
        except OSError as error:
            log.warning("%s: its process cannot be started: %s; next try in %g s", SECTION, error, LONG_PAUSE)
            self._retry_at = now + LONG_PAUSE
            return
        self.started_at, self._error = now, ""
        self._silence.heard(now)

    def on_message(self, message: Any, child: Child, now: float) -> None:
        if isinstance(message, AudioState):
            self.state = message
        elif isinstance(message, Failed):
            self._error = message.text

    def is_hung(self, child: Child, now: float) -> bool:
        signs = self._ring.signs_of_life
        if signs != self._signs:
            self._signs = signs
            self._silence.heard(now)
        return self._silence.is_hung(child.pid or 0, now)

    def on_failure(self, reason: str, now: float) -> None:
        is_settled = now - self.started_at > LONG_PAUSE
        pause = RETRY_PAUSE if is_settled or self.restarts.allows(now) else LONG_PAUSE
        text = self._error or f"{SECTION}: its process {self.pid or ''} {reason}"
        if text != self.state.text:
            log.warning("%s; the show plays without it; next try in %g s", text, pause)
        self.metrics.count("audio/replaced")
        self.report_end(Failed(self._error or reason), {"listened": str(self.state.listens)})
        self.state = AudioState(text)
        self.kill_child()
        self._retry_at = now + pause
