"""ResumeFile: the state of a running show, which the next run restores after a power cut.

It is written whenever the state changes, and removed when the run ends in an orderly way. A file that is found at a
start was therefore left by a run that was interrupted: by a power cut, a crash or a hard kill.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcm_daemon.automation.look import Look
from lcm_daemon.core.atomic_file import AtomicFile
from lcm_daemon.core.render_size import is_render_size

if TYPE_CHECKING:
    from filelock import FileLock

log = logging.getLogger(__name__)

HARMLESS_AFTER = 60.0  # seconds; a run that lasted longer was not broken by the state that it started with
WRITE_INTERVAL = 3.0  # seconds between two writes: a fader that a stream moves must not wear out a memory card
STARTS = 3  # runs that may be interrupted within HARMLESS_AFTER; the next one starts as the show says
# The frozen frame is gone: restored, `freeze` would hold an empty one. A daemon that starts by itself shows a picture.
NOT_KEPT = frozenset({"freeze", "blackout"})


class ResumeFile:
    """The state of one show, in a file of its own. While another run of the show uses the file, nothing is written.

    Args:
        show: Path of the show file; None reads and writes nothing.
        folder: Where the file is.
    """

    def __init__(self, show: Path | None = None, folder: Path = Path()) -> None:
        self._file: AtomicFile | None = None
        self._lock: FileLock | None = None
        self._restored: Look | None = None
        self._written: dict[str, Any] = {}
        self._starts, self._opened_at, self._written_at = 0, 0.0, -WRITE_INTERVAL
        if show is not None:
            digest = hashlib.sha256(str(show.resolve()).encode()).hexdigest()[:8]  # two shows may have the same name
            self._acquire(folder / f"{show.stem}-{digest}.json")

    def _acquire(self, path: Path) -> None:
        from filelock import FileLock, Timeout  # a show that is not resumed starts without it

        lock = FileLock(path.with_suffix(".lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            log.info("resume file: another run of this show uses it; this run's state is not kept")
        except OSError as error:
            log.warning("resume file: %s cannot be written: %s; this run's state is not kept", path.parent,
                        error.strerror or error)
        else:
            self._lock, self._file = lock, AtomicFile(path, "the resume file", backup=True)

    def restore(self) -> Look | None:
        """The state of an interrupted run; None if there is none, or if several runs were interrupted soon after start.

        Reading changes nothing on disk: a start counts once the show is open, see `on_open`.
        """
        found = self._read()
        if found is None:
            return None
        self._starts = found.pop("tries") + 1
        if self._starts > STARTS:
            log.warning("resume file: the last %d runs were interrupted soon after their start; this one starts as the "
                        "show says", STARTS)
            return None
        self._restored = Look(**{**found, "size": tuple(found["size"])})
        log.info("resume file: the last run was interrupted; restoring %s", _describe(self._restored))
        return self._restored

    def on_open(self, now: float) -> None:
        """The show is open at `now` (monotonic seconds): count this start."""
        self._opened_at = now
        if self._restored is not None:
            self.write(self._restored, now)

    def write(self, look: Look, now: float) -> None:
        """Write the state, at most once every WRITE_INTERVAL; returns at once."""
        if now - self._opened_at >= HARMLESS_AFTER:
            self._starts = 0
        values = {name: value for name, value in look.values.items() if name not in NOT_KEPT}
        state = {**asdict(look), "values": values, "tries": self._starts}
        if self._file is not None and state != self._written and now - self._written_at >= WRITE_INTERVAL:
            self._written, self._written_at = state, now
            self._file.write(lambda: json.dumps(state, indent=1))

    def remove(self) -> None:
        """Remove the file: the run ends in an orderly way, and the next one starts as the show says."""
        if self._file is not None:
            self._file.remove()

    def close(self) -> None:
        """Wait until everything is written."""
        if self._file is not None and self._lock is not None:
            self._file.close()
            self._lock.release()

    def _read(self) -> dict[str, Any] | None:
        """The newest readable one of the file and its previous version."""
        paths = (self._file.path, self._file.backup_path) if self._file is not None else ()
        for path in paths:
            try:
                return _check(json.loads(path.read_text("utf-8")))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError, KeyError) as error:
                log.warning("%s: cannot be read: %s", path, str(error).splitlines()[0])
        return None


def _check(found: Any) -> dict[str, Any]:
    """Check the file's keys and types. Values of parameters are checked when they are set.

    Raises:
        ValueError, TypeError, KeyError: The file is damaged.
    """
    width, height = found["size"]
    types: Mapping[str, type] = {"recipe": str, "cue": str, "minute": str, "values": dict, "tries": int,
                                 "source": str, "guide": str}
    found = {"source": "", "guide": "", "modulators": None, **found}  # files of 0.1 have none of them
    if (found.keys() != {*types, "size", "modulators"}
            or not all(isinstance(found[key], kind) for key, kind in types.items())):
        raise ValueError("it does not have the keys of a resume file")
    modulators = found["modulators"]
    if modulators is not None and not (isinstance(modulators, list) and all(isinstance(m, dict) for m in modulators)):
        raise ValueError("its modulators are not a list")
    if not is_render_size(width, height):
        raise ValueError(f"{width} x {height} is not a size")
    return dict(found)


def _describe(look: Look) -> str:
    named = (("cue", look.cue), ("source", look.source), ("guide", look.guide))
    parts = [look.recipe, *(f"{kind} {name!r}" for kind, name in named if name), *look.values]
    return ", ".join(parts)
