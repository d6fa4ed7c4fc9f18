"""The browser of a kiosk: which one, and how it fills a display."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_WORDS = (
    "--kiosk", "--noerrdialogs", "--disable-infobars", "--no-first-run", "--disable-session-crashed-bubble",
    "--disable-translate", "--autoplay-policy=no-user-gesture-required", "--password-store=basic",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "microsoft-edge-stable")
_MAC = ("/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge")
_WINDOWS = (r"Google\Chrome\Application\chrome.exe", r"Microsoft\Edge\Application\msedge.exe")


def browser_words(url: str) -> tuple[str, ...]:
    """The options with which a browser shows a page of this machine. url: The page's address."""
    own = ("--ignore-certificate-errors",) if url.startswith("https:") else ()  # the page's own certificate
    return (*_WORDS, *own, f"--app={url}")


def find_browser(system: str = sys.platform) -> str:
    """Path of a browser that is built on Chromium; where there is none, that of Chromium once it is installed."""
    if system == "darwin":
        return next((path for path in _MAC if Path(path).exists()), _MAC[0])
    if system == "win32":
        roots = [os.environ.get(name, "") for name in ("ProgramFiles", "ProgramFiles(x86)", "LOCALAPPDATA")]
        places = [Path(root, name) for root in roots if root for name in _WINDOWS]
        return str(next((path for path in places if path.exists()), Path(r"C:\Program Files") / _WINDOWS[0]))
    return next((found for name in _NAMES if (found := shutil.which(name))), "/usr/bin/chromium")
