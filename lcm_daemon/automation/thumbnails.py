"""Thumbnails: small JPEG pictures of recorded cues, in a folder next to the show (`mirror.looks` for `mirror.yaml`).

A picture has a random name, which its cue holds. They are made and written on the thread of the `CueStore`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import secrets
from collections.abc import Collection
from pathlib import Path

import numpy as np

from lcm_daemon.automation.cue_store import CueStore, ThumbnailReady
from lcm_daemon.core.alpha import over_black
from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.paths import look_thumbnail

log = logging.getLogger(__name__)

FOLDER_SUFFIX = ".looks"  # replaces the suffix of the show file
SIDE = 160  # pixels: the longer side of a thumbnail
QUALITY = 80
_FILE = re.compile(r"([0-9a-f]{16})\.jpg")


class Thumbnails:
    """The pictures of one show. show: the show file; without it, there are none."""

    def __init__(self, show: Path | None, store: CueStore) -> None:
        self.folder = show.with_suffix(FOLDER_SUFFIX) if show is not None else None
        self._store = store
        self.ready = self._names()  # of those that can be shown
        self._failed = False  # a failure is logged once

    def add(self, pixels: Pixels | None) -> str:
        """Make a thumbnail of pixels, uint8 (H, W, 4). Return its name at once; empty if there is nothing to show."""
        if pixels is None or self.folder is None:
            return ""
        name = secrets.token_hex(8)
        self._store.submit(lambda: self._write(name, pixels))
        return name

    def keep(self, names: Collection[str]) -> None:
        """Remove all thumbnails but these."""
        gone = self.ready.difference(names)
        if gone:
            self.ready -= gone
            self._store.submit(lambda: self._remove(gone))

    def on_ready(self, name: str) -> None:
        """The thumbnail of this name has been written."""
        self.ready.add(name)

    def _write(self, name: str, pixels: Pixels) -> None:
        assert self.folder is not None
        try:
            write_atomically(look_thumbnail(self.folder, name), thumbnail(pixels))
        except OSError as error:
            if not self._failed:
                log.warning("%s: thumbnails cannot be saved: %s", self.folder, error.strerror or error)
            self._failed = True
        else:
            self._failed = False
            self._store.tell(ThumbnailReady(name))

    def _remove(self, names: Collection[str]) -> None:
        assert self.folder is not None
        for name in names:
            with contextlib.suppress(OSError):
                look_thumbnail(self.folder, name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # only if it is empty

    def _names(self) -> set[str]:
        """Names of the thumbnails in the folder."""
        with contextlib.suppress(OSError):
            if self.folder is not None:
                return {match[1] for path in self.folder.iterdir() if (match := _FILE.fullmatch(path.name))}
        return set()


def thumbnail(pixels: Pixels) -> bytes:
    """Return a JPEG picture, at most SIDE pixels wide and high, of pixels, uint8 (H, W, 4)."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    Image.fromarray(over_black(np.asarray(image))).convert("RGB").save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
