"""A WAV file through JACK moves a parameter of a real daemon, soon; the device comes, goes and comes back."""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
from pathlib import Path

import numpy as np

from lcm_daemon.transports.shared_memory import MemorySource
from tests.conftest import need_module
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.jack_player import JackPlayer
from tests.rigs.midi import jack
from tests.rigs.sounds import silence, tone, write_wav

NAME, PERIOD = f"audio-{os.getpid()}", 256
LATENCY = 0.05  # seconds from the first sample to the output, median
TIMES = 9
SHOW = {
    "recipe": "passthrough", "output": {"size": [64, 64], "fps": 60}, "parameters": {"master": 0.0},
    "sinks": [{"transport": "memory", "name": NAME}], "audio": {"device": "player", "backend": "jack"},
    "modulation": [{"name": "bass", "to": "master", "wave": "audio", "band": "low", "depth": 1.0, "attack": 0.0,
                    "release": 0.05}],
}


class Eye:
    """Watches the output on a thread."""

    def __init__(self) -> None:
        self.bright_at = 0.0  # when it was first seen bright; 0 resets it
        self.is_dark = False
        self._source, self._stop = MemorySource({"name": NAME}), threading.Event()
        self._source.open()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            frame = self._source.read(0.02)
            if frame is not None:
                brightness = int(frame.pixels[..., :3].max())
                self.is_dark = brightness < 10
                if brightness > 50 and not self.bright_at:
                    self.bright_at = time.perf_counter()

    def latency(self, player: JackPlayer) -> float:
        """Seconds from the sound to the picture."""
        wait_for(lambda: self.is_dark, what="darkness")
        self.bright_at = 0.0
        begun = player.play()
        return float(wait_for(lambda: self.bright_at, 5.0, "light")) - begun

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._source.close()


def test_a_wav_moves_the_output_at_once_and_its_player_may_come_and_go(tmp_path: Path) -> None:
    need_module("jack", "JACK-Client")
    need_module("sounddevice")
    file = write_wav(tmp_path / "beat.wav", np.concatenate((tone(60, 0.15, 0.8), silence(0.1))))
    with jack(PERIOD):
        first = JackPlayer("player", file)
        with Daemon(tmp_path, SHOW) as daemon, contextlib.closing(Eye()) as eye:
            with first:
                wait_for(lambda: daemon.status().get("audio") == "player, 48000 Hz", what="the player")
                latencies = [eye.latency(first) for _ in range(TIMES)]
                print(f"sound to output: {sorted(round(1000 * each) for each in latencies)} ms")
                assert statistics.median(latencies) < LATENCY
            wait_for(lambda: str(daemon.status().get("audio")).startswith("audio: no input device 'player'"),
                     what="the end of the player")
            with JackPlayer("player", file) as second:
                wait_for(lambda: daemon.status().get("audio") == "player, 48000 Hz", what="another player")
                assert eye.latency(second) < 1.0
    assert daemon.log().count("audio: listening to player") == 2
