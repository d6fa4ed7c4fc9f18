"""A program that plays a WAV file into JACK: `python -m tests.rigs.jack_player NAME FILE`.

It plays the file once for each line that it reads, and prints when it begins to, in seconds of perf_counter.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np


def main(name: str, file: str) -> None:
    import jack

    with wave.open(file, "rb") as opened:
        sound = np.frombuffer(opened.readframes(opened.getnframes()), "<i2").astype(np.float32) / 32768.0
    client = jack.Client(name, servername=os.environ.get("JACK_DEFAULT_SERVER"))
    port, place, begun = client.outports.register("out"), [len(sound)], [0.0]

    @client.set_process_callback
    def process(frames: int) -> None:
        if place[0] == 0:
            begun[0] = time.perf_counter()
        part = sound[place[0]:place[0] + frames]
        place[0] += len(part)
        out = port.get_array()
        out[:len(part)], out[len(part):] = part, 0.0

    with client:
        print("ready", flush=True)
        for _ in sys.stdin:
            begun[0], place[0] = 0.0, 0
            while not begun[0]:
                time.sleep(0.001)
            print(begun[0], flush=True)


class JackPlayer:
    """The program, in a process of its own. name: What JACK calls it; file: What it plays."""

    def __init__(self, name: str, file: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.rigs.jack_player", name, str(file)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def play(self) -> float:
        """Play it from its start; return when its first sample was sent, in seconds of perf_counter."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        return float(self._line())

    def unplug(self) -> None:
        """End the program: its port disappears."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def __enter__(self) -> JackPlayer:
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()


if __name__ == "__main__":
    main(*sys.argv[1:])
