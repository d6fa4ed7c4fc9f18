"""JoinAddress: the address that visitors open, as a QR code in the output and in a file."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from lcm_daemon.audience.qr_overlay import QrOverlay
from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.shows.audience import AudienceConfig

log = logging.getLogger(__name__)


class JoinAddress:
    """Follows the address that the server reports.

    Args:
        config: The show's section `audience`.
        size: (width, height) of the output in pixels.

    Attributes:
        text: The address; "" before the server listens.
    """

    def __init__(self, config: AudienceConfig, size: Size) -> None:
        self.text = ""
        self._file = config.qr_file
        self._overlay = QrOverlay(config.qr, size) if config.qr else None

    def follow(self, text: str) -> None:
        """Visitors open this address; "" while no server has listened."""
        if text == self.text:
            return
        self.text = text
        if self._overlay is not None and not self._overlay.set_address(text):
            log.warning("audience: the output is too small for the QR code of %s; qr_file writes it to a file", text)
        if self._file and text:  # on a thread: the disk may be slow
            threading.Thread(target=_write, args=(text, Path(self._file)), name="qr-file", daemon=True).start()

    def overlay(self, pixels: Pixels) -> Pixels:
        """The output with the code, if the show wants it there."""
        return self._overlay.apply(pixels) if self._overlay else pixels


def _write(address: str, file: Path) -> None:
    from lcm_daemon.web.qr import write_qr

    try:
        write_qr(address, file)
        log.info("audience: the QR code of %s is in %s", address, file)
    except OSError as error:
        log.warning("audience: the QR code cannot be written to %s: %s", file, error.strerror or error)
