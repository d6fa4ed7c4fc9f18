"""ResumeFile: the state of a running show, which the next run restores after a power cut or a shutdown.

It is a journal: each value that is accepted is in it within a tick. A run that the performer ends (Ctrl-C) says so in
the journal, and the next one starts as the show says. One that the system ends (SIGTERM), and one that is interrupted,
is continued. Nothing is deleted: what cannot be read, or is not restored, is put aside.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcm_daemon.automation.look import Look, read_look
from lcm_daemon.core.boot import boot_id
from lcm_daemon.core.journal import Journal, JournalContent, JournalDamaged, previous_of, read_journal
from lcm_daemon.core.paths import state_file
from lcm_daemon.core.regular_file import open_regular
from lcm_daemon.stage.crash_file import CrashFile

if TYPE_CHECKING:
    from filelock import FileLock

log = logging.getLogger(__name__)

HARMLESS_AFTER = 60.0  # seconds; a run that lasted longer was not broken by the state that it started with
STARTS = 3  # runs that may crash within HARMLESS_AFTER of this boot; the next one starts as the show says
# The frozen frame is gone: restored, `freeze` would hold an empty one. A daemon that starts by itself shows a picture.
NOT_KEPT = frozenset({"freeze", "blackout"})
ENDED, SHUT_DOWN, FAILED = "ended", "shut down", "failed"  # how a run ends, in the journal
MAX_EARLIER = 1 << 20  # bytes of a file of version 0.1
_CRASHES, _BOOT = "crashes", "boot"  # keys of the journal beside the look's


class ResumeFile:
    """The state of one show, in a file of its own. While another run of the show uses the file, nothing is written.

    Args:
        show: Path of the show file; None reads and writes nothing.
        folder: Where the file is.

    Attributes:
        trouble: What the performer should know: why the state is not kept, or that it could not be read; else "".
    """

    def __init__(self, show: Path | None = None, folder: Path = Path()) -> None:
        self._path: Path | None = None
        self._journal: Journal | None = None
        self._crash_file: CrashFile | None = None
        self._lock: FileLock | None = None
        self._look: Look | None = None
        self._is_ended = False
        self._crashes, self._opened_at = 0, 0.0
        self._found_trouble = ""
        if show is not None:
            self._acquire(folder / state_file(show, ".journal").name)

    @property
    def trouble(self) -> str:
        return (self._journal.trouble if self._journal else "") or self._found_trouble

    def _acquire(self, path: Path) -> None:
        from filelock import FileLock, Timeout  # a show that is not resumed starts without it

        lock = FileLock(path.with_suffix(".lock"), mode=0o600)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            log.info("resume file: another run of this show uses it; this run's state is not kept")
        except OSError as error:
            self._path = path  # it may be read nevertheless
            self._found_trouble = f"{path.parent} cannot be written: {error.strerror or error}"
            log.warning("resume file: %s; this run's state is not kept", self._found_trouble)
        else:
            self._path, self._lock = path, lock
            self._journal, self._crash_file = Journal(path, "resume file"), CrashFile(path)

    def restore(self) -> Look | None:
        """The state that this run starts with; None if it starts as the show says.

        Reading changes no state on disk: a start counts once the show is open, see `on_open`.
        """
        found = self._read()
        if found is None or found[1].end == ENDED:
            return None
        look, content = found
        crash = self._crash_file.read() if self._crash_file else ""
        if (crash and not content.end) or content.end == FAILED:
            self._count_crash(content.state, crash)
        if self._crashes > STARTS:
            self._put_aside("aside", f"the last {STARTS} runs crashed soon after their start; this one starts as the "
                            "show says")
            return None
        how = {"": "was interrupted", SHUT_DOWN: "was shut down", FAILED: "failed"}.get(content.end, "was interrupted")
        log.info("resume file: the last run %s; restoring %s", "crashed" if crash else how, _describe(look))
        return look

    def _count_crash(self, state: Mapping[str, Any], crash: str) -> None:
        same_boot = state.get(_BOOT) == boot_id()
        before = state.get(_CRASHES)
        self._crashes = 1 + (before if same_boot and isinstance(before, int) else 0)
        if crash and self._crash_file is not None:
            log.error("the last run crashed: %s; the stacks of its threads are in %s", crash,
                      self._crash_file.kept_path)

    def on_open(self, now: float) -> None:
        """The show is open at `now` (monotonic seconds)."""
        self._opened_at = now
        if self._crash_file is not None:
            self._crash_file.open()

    def write(self, look: Look, now: float) -> None:
        """Keep this state. Returns at once; nothing is done where nothing has changed."""
        if self._journal is None or self._is_ended:
            return
        if self._crashes and now - self._opened_at >= HARMLESS_AFTER:
            self._crashes, self._look = 0, None
        if look == self._look:
            return
        self._look = look
        flat = {key: value for key, value in look.flat().items() if key.removeprefix("value/") not in NOT_KEPT}
        self._journal.write({**flat, _CRASHES: self._crashes, _BOOT: boot_id()})

    def end(self, keeps_look: bool) -> None:
        """The run ends in an orderly way. keeps_look: The next run continues with this look."""
        if self._journal is not None and self._look is not None:
            self._is_ended = True
            self._journal.end(SHUT_DOWN if keeps_look else ENDED)

    def close(self) -> None:
        """Wait until everything is written. Without `end` before it, the run has failed."""
        if self._journal is not None and self._lock is not None and self._crash_file is not None:
            if self._look is not None and not self._is_ended:
                self._journal.end(FAILED)
            self._journal.close()
            self._crash_file.close()
            self._lock.release()

    # --- reading ---

    def _read(self) -> tuple[Look, JournalContent] | None:
        """The newest readable one of the journal, the one before it, and the file of an earlier version."""
        if self._path is None:
            return None
        for path, read in ((self._path, read_journal), (previous_of(self._path), read_journal),
                           (self._path.with_suffix(".json"), _read_earlier)):
            try:
                content = read(path)
                look = read_look(content.state)
            except FileNotFoundError:
                continue
            except (OSError, ValueError, JournalDamaged, RecursionError) as error:
                reason = getattr(error, "strerror", "") or str(error).splitlines()[0]
                if path == self._path:
                    self._put_aside("bad", f"it cannot be read: {reason}")
                else:
                    log.warning("%s: cannot be read: %s", path, reason)
                continue
            if content.torn:
                log.warning("%s: the end is damaged and left out", path)
            return look, content
        return None

    def _put_aside(self, suffix: str, why: str) -> None:
        """Rename the journal, so that this run's does not take its place. why: the reason, for the log."""
        assert self._path is not None
        names = [self._path.with_suffix(f".{suffix}{number or ''}") for number in range(20)]
        aside = next((path for path in names if not path.exists()), names[0])
        self._found_trouble = f"resume file: {why}; it is kept as {aside.name}"
        with contextlib.suppress(OSError):
            self._path.replace(aside)
        log.warning("%s: %s; it is kept as %s", self._path, why, aside.name)


def _read_earlier(path: Path) -> JournalContent:
    """Read the file of version 0.1. Raises OSError, ValueError, RecursionError."""
    with open_regular(path) as file:
        found = json.loads(file.read(MAX_EARLIER))
    if not isinstance(found, dict) or not isinstance(found.get("values"), dict):
        raise ValueError("it does not have the keys of a resume file")
    values = {f"value/{name}": value for name, value in found.pop("values").items()}
    return JournalContent({**found, **values})


def _describe(look: Look) -> str:
    named = (("cue", look.cue), ("source", look.source), ("guide", look.guide))
    parts = [look.recipe, *(f"{kind} {name!r}" for kind, name in named if name), *look.values]
    return ", ".join(parts)
