"""X server without a screen, for windows, and pictures of what it shows."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from tests.conftest import need


class XServer:
    """A running server.

    Attributes:
        name: Value of the variable DISPLAY.
        process: The server.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name, self.process = name, process

    def screenshot(self) -> NDArray[np.uint8]:
        """What the whole screen shows now, uint8 (H, W, 3). The server answers it between two of its requests."""
        from PIL import ImageGrab

        return np.asarray(ImageGrab.grab(xdisplay=self.name).convert("RGB"))


@contextmanager
def x_server(width: int, height: int) -> Iterator[XServer]:
    """Start Xvfb on a free display number; skip where it is missing."""
    need(shutil.which("Xvfb") is not None, "Xvfb is not installed (Debian: apt install xvfb)")
    reads, writes = os.pipe()
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writes), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp",
         "-noreset"],  # else it restarts once its last window is gone
        pass_fds=[writes], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writes)
    try:
        with os.fdopen(reads) as numbers:
            yield XServer(f":{numbers.readline().strip()}", process)
    finally:
        process.kill()
        process.wait()
