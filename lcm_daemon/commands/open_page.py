"""`lcm-daemon run --open`: opens the show's page in the user's browser."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
import webbrowser

from lcm_daemon.shows.show import Show
from lcm_daemon.web.address import browser_url

log = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds until the page's server must answer
PAUSE = 0.1  # seconds between two attempts


def open_page(show: Show) -> None:
    """Open the page once its server answers, from a thread of its own. A show without a page is a log line."""
    panel = show.controllers["panel"]
    if panel is None or not panel["port"]:
        log.warning("--open: the show has no page, or one on a free port; nothing is opened")
        return
    address = browser_url(panel["host"], panel["port"], show.network.tls is not None)
    if not has_display():
        log.warning("--open: this session has no display; the page is at %s", address)
        return
    host, port = address.partition("://")[2].rsplit(":", 1)
    threading.Thread(target=_open, args=(address, host.strip("[]"), int(port)), name="open-page", daemon=True).start()


def has_display() -> bool:
    """Whether a browser has a display to appear on. Without one, a browser for terminals would take this terminal."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open(address: str, host: str, port: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            socket.create_connection((host, port), timeout=1.0).close()
        except OSError:
            time.sleep(PAUSE)
            continue
        if not webbrowser.open(address):
            log.warning("--open: no browser was found; the page is at %s", address)
        return
    log.warning("--open: the page's server did not answer within %.0f s; the page is at %s", PATIENCE, address)
