"""Picture files that are read again after they have changed."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable

from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.pictures import Picture, PictureError, file_version

LOOK_SECONDS = 0.5  # between two looks of a PictureFollower: a new file is seen within two seconds

_log = logging.getLogger(__name__)


class PictureWatch:
    """Sees that the file of a picture has changed.

    Args:
        picture: What was read from the file so far.
    """

    def __init__(self, picture: Picture) -> None:
        self._path = picture.path
        self._seen = self._tried = picture.version

    def look(self) -> Picture | None:
        """Read the file if it is another one than was read last. Call this now and then, at most 20 times a second.

        A file that changes between two calls is still being written: it is read later.

        Returns:
            The new picture; None if the file is as it was, or gone.

        Raises:
            PictureError, MissingIntegration: The new file cannot be read. That is raised once a change.
        """
        version = file_version(self._path)
        is_at_rest, self._seen = version == self._seen, version
        if version is None or version == self._tried or not is_at_rest:
            return None
        self._tried = version
        try:
            picture = Picture(self._path)
        except PictureError as error:
            if getattr(error.__cause__, "errno", None):  # the system's word, not Pillow's: another program has it open
                self._tried = None
            raise
        self._tried = picture.version
        return picture


class PictureFollower:
    """Reads a picture file again, on a thread of its own, after it has changed. An animated picture is its first frame.

    Args:
        picture: What was read from the file so far.
        label: What the picture is, for the log: "slate".
    """

    def __init__(self, picture: Picture, label: str) -> None:
        self._watch, self._path, self._label = PictureWatch(picture), picture.path, label
        self._stop = threading.Event()
        self._warned = ""

    def start(self, on_change: Callable[[Pixels], None], seconds: float = LOOK_SECONDS) -> None:
        """Call a method with each new picture, on another thread, until `stop` or until its object is gone."""
        threading.Thread(target=self._run, args=(weakref.WeakMethod(on_change), seconds), name=self._label,
                         daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self, method: weakref.WeakMethod[Callable[[Pixels], None]], seconds: float) -> None:
        while not self._stop.wait(seconds):
            if (on_change := method()) is None:
                return
            try:
                if picture := self._watch.look():
                    on_change(picture.pixels)
                    _log.info("%s: %s has changed and is read again", self._label, self._path)
            except (PictureError, MissingIntegration) as error:
                if str(error) != self._warned:
                    self._warned = str(error)
                    _log.warning("%s: %s; the picture before it stays", self._label, error)
            del on_change  # so that its object can go while this thread waits
