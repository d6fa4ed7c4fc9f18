"""ResumeFile: the look of a running show, so that it comes back after a power cut.

It is written whenever the look changes, and removed when the run ends in order. So what is found at a start was left
by a run that broke off: by a power cut, a crash, or a hard kill.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lcm_daemon.automation.look import Look
from lcm_daemon.core.atomic_file import AtomicFile
from lcm_daemon.core.requests import SIDES

log = logging.getLogger(__name__)

SETTLED = 60.0  # seconds that a run must last until the look that it began with is held for harmless
PAUSE = 3.0  # seconds between two writings: a fader that a stream moves must not wear out a card
TRIES = 3  # runs that may break off within SETTLED; the next one begins as the show does
PASSING = frozenset({"freeze"})  # a picture that was held is gone: resumed, it would hold an empty one


class ResumeFile:
    """The look of one show, in a file of its own in `folder`; while another run of the show has it, nothing is kept.

    show: the show's file; without one nothing is read or written.
    """

    def __init__(self, show: Path | None = None, folder: Path = Path()) -> None:
        self._file: AtomicFile | None = None
        self._lock: FileLock | None = None
        self._kept: dict[str, Any] = {}
        self._tries, self._begun, self._written = 0, 0.0, -PAUSE
        if show is not None:
            mark = hashlib.sha256(str(show.resolve()).encode()).hexdigest()[:8]  # two shows may have one name
            self._take(folder / f"{show.stem}-{mark}.json")

    def _take(self, path: Path) -> None:
        lock = FileLock(path.with_suffix(".lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another run of this show keeps its look: this one's is not kept")
        except OSError as error:
            log.warning("%s: the look cannot be kept: %s", path.parent, error.strerror or error)
        else:
            self._lock, self._file = lock, AtomicFile(path, "the look", spare=True)

    def begin(self, now: float) -> Look | None:
        """What a run left that broke off; None if none did, or if several in a row did soon after their start."""
        self._begun = now
        found = self._read()
        if found is None:
            return None
        self._tries = found.pop("tries") + 1
        if self._tries > TRIES:
            log.warning("the last %d runs broke off soon after they began: this one begins as the show does", TRIES)
            return None
        look = Look(**{**found, "size": tuple(found["size"])})
        log.info("the last run broke off: its look goes on (%s)", _describe(look))
        self.keep(look, now)
        return look

    def keep(self, look: Look, now: float) -> None:
        """Keep this one, at the latest when it is asked for again in PAUSE; returns at once."""
        if now - self._begun >= SETTLED:
            self._tries = 0
        values = {name: value for name, value in look.values.items() if name not in PASSING}
        state = {**asdict(look), "values": values, "tries": self._tries}
        if self._file is not None and state != self._kept and now - self._written >= PAUSE:
            self._kept, self._written = state, now
            self._file.write(lambda: json.dumps(state, indent=1))

    def forget(self) -> None:
        """The run ends in order: the next one begins as the show does."""
        if self._file is not None:
            self._file.remove()

    def close(self) -> None:
        """Wait until all is written."""
        if self._file is not None and self._lock is not None:
            self._file.close()
            self._lock.release()

    def _read(self) -> dict[str, Any] | None:
        """The newest of the two that makes sense."""
        paths = (self._file.path, self._file.spare_path) if self._file is not None else ()
        for path in paths:
            try:
                return _check(json.loads(path.read_text("utf-8")))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError, KeyError) as error:
                log.warning("%s: the look cannot be read: %s", path, str(error).splitlines()[0])
        return None


def _check(found: Any) -> dict[str, Any]:
    """Raises ValueError, TypeError or KeyError where it makes no sense. Values are checked when they are set."""
    width, height = found["size"]
    wanted = {"recipe": str, "cue": str, "minute": str, "values": dict, "tries": int}
    if found.keys() != {*wanted, "size"} or not all(isinstance(found[key], kind) for key, kind in wanted.items()):
        raise ValueError("it has not the keys of a look")
    if not all(isinstance(side, int) and SIDES[0] <= side <= SIDES[1] for side in (width, height)):
        raise ValueError(f"{width} x {height} is no size")
    return dict(found)


def _describe(look: Look) -> str:
    parts = [look.recipe, *([f"cue {look.cue!r}"] if look.cue else []), *look.values]
    return ", ".join(parts)
