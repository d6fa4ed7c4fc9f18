"""Runs `lcm-daemon` with a clock that is wrong by as much as a file says: a clock that is set while a show plays.

    python -m lcm_daemon.commands.soak.shifted_clock FILE run SHOW ...

It ends in order when its standard input is closed: what has started it has ended.
"""

from __future__ import annotations

import mmap
import os
import runpy
import signal
import struct
import sys
import threading
import time
from pathlib import Path

SHIFT = struct.Struct("<d")  # seconds, in the file


def write_shift(file: Path, seconds: float) -> None:
    """Set the clock of the process that reads this file. The file keeps its place, so that the process sees it."""
    if not file.exists():
        file.write_bytes(SHIFT.pack(seconds))
        return
    with file.open("r+b") as opened:
        opened.write(SHIFT.pack(seconds))


def shift_clock(file: Path) -> None:
    """Let `time.time` of this process add what `file` says, from now to the end."""
    with file.open("rb") as opened:
        shift = mmap.mmap(opened.fileno(), SHIFT.size, access=mmap.ACCESS_READ)
    true_time = time.time
    time.time = lambda: true_time() + float(SHIFT.unpack_from(shift)[0])


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run the command of the arguments after the file, as `python -m lcm_daemon` does."""
    shift_clock(Path(sys.argv[1]))
    threading.Thread(target=_end_with_input, name="end-with-input", daemon=True).start()
    del sys.argv[1]
    runpy.run_module("lcm_daemon", run_name="__main__")


if __name__ == "__main__":
    main()
