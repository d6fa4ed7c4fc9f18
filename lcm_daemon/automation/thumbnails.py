"""Thumbnails: small JPEG pictures of recorded cues, in a folder next to the show (`mirror.looks` for `mirror.yaml`).

A picture has a random name, which its cue holds. They are made and written on the thread of the `CueStore`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.cue_store import CueStore, ThumbnailReady
from lcm_daemon.core.alpha import over_black
from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.paths import look_thumbnail

log = logging.getLogger(__name__)

FOLDER_SUFFIX = ".looks"  # replaces the suffix of the show file
SIDE = 160  # pixels: the longer side of a thumbnail
QUALITY = 80
MOST_WAITING = 8  # output frames that wait to be made small; a look beyond them has no thumbnail
_FILE = re.compile(r"([0-9a-f]{16})\.jpg")


class Thumbnails:
    """The pictures of one show. show: the show file; without it, there are none."""

    def __init__(self, show: Path | None, store: CueStore) -> None:
        self.folder = show.with_suffix(FOLDER_SUFFIX) if show is not None else None
        self._store = store
        self.ready = self._names()  # of those that can be shown
        self._written = set(self.ready)  # names of the files that this run knows; the store's thread only
        self._waiting: set[str] = set()
        self._failed = False  # a failure is logged once

    def add(self, pixels: Pixels | None) -> str:
        """Make a thumbnail of pixels, uint8 (H, W, 4). Return its name at once; empty if there is nothing to show."""
        if pixels is None or self.folder is None or len(self._waiting) >= MOST_WAITING:
            return ""
        name = secrets.token_hex(8)
        self._waiting.add(name)
        self._store.submit(lambda: self._write(name, pixels))
        return name

    def keep(self, states: Sequence[Mapping[str, Cue]]) -> None:
        """Remove all thumbnails but those of these cues by name. The states must not change later."""
        if self.folder is not None:
            self._store.submit(lambda: self._remove_others(states))

    def clean_up(self, states: Sequence[Mapping[str, Cue]]) -> None:
        """Do the same at the start of a run, and remove what a kill of the last one has left unfinished."""
        if self.folder is not None:
            self._store.submit(self._remove_unfinished)
            self.keep(states)

    def on_ready(self, name: str, is_written: bool) -> None:
        """A thumbnail has been written, or could not be."""
        self._waiting.discard(name)
        if is_written:
            self.ready.add(name)

    def _write(self, name: str, pixels: Pixels) -> None:
        assert self.folder is not None
        try:
            write_atomically(look_thumbnail(self.folder, name), thumbnail(pixels))
        except OSError as error:
            if not self._failed:
                log.warning("%s: thumbnails cannot be saved: %s", self.folder, error.strerror or error)
            self._failed = True
            self._store.tell(ThumbnailReady(name, is_written=False))
        else:
            self._failed = False
            self._written.add(name)
            self._store.tell(ThumbnailReady(name))

    def _remove_others(self, states: Sequence[Mapping[str, Cue]]) -> None:
        assert self.folder is not None
        gone = self._written.difference(cue.thumbnail for state in states for cue in state.values())
        for name in gone:
            with contextlib.suppress(OSError):
                look_thumbnail(self.folder, name).unlink(missing_ok=True)
        self._written -= gone
        with contextlib.suppress(OSError):
            if gone:
                self.folder.rmdir()  # only if it is empty

    def _remove_unfinished(self) -> None:
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir() if self.folder is not None else ():
                if path.suffix == ".new" and _FILE.fullmatch(path.stem):
                    path.unlink(missing_ok=True)

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
