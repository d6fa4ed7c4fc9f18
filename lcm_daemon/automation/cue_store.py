"""CueStore: the file of recorded cues next to the show (`mirror.cues.yaml` for `mirror.yaml`).

A recorded cue replaces the cue of the same name in the show. The other cues of the show are not in this file.

The file is written and watched on a thread of its own: a file that a person has edited is read again. What the thread
finds waits in `pop_news` for the show's thread, which merges it with what has changed there.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lcm_daemon.automation.cue_file import CueFileText, read_cue_file
from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.recorded_cues import RecordedCues, merge
from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.errors import Problem
from lcm_daemon.core.pictures import Version, file_version, version_of

log = logging.getLogger(__name__)

RECORDED_CUES_SUFFIX = ".cues.yaml"  # replaces the suffix of the show file
MAX_LOGGED_PROBLEMS = 10
POLL_SECONDS = 0.5  # between two looks at the file; one that was the same twice is read
RETRY_SECONDS = 5.0  # between two tries to write after a failure
CLOSE_SECONDS = 20.0  # how long the last write may take


@dataclass(frozen=True)
class FileRead:
    """A person has changed the file. base: its content before; found: its content now."""

    base: RecordedCues
    found: RecordedCues


@dataclass(frozen=True)
class FileTrouble:
    """The file cannot be written or has a mistake: why, in one line; empty once that is over."""

    text: str


@dataclass(frozen=True)
class ThumbnailReady:
    """The picture of this name has been written, or could not be."""

    name: str
    is_written: bool = True


News = FileRead | FileTrouble | ThumbnailReady


class CueStore:
    """Reads, writes and watches the recorded cues of a show.

    Args:
        show: the show file; without it, nothing is stored.
        poll: seconds between two looks at the file.
        retry: seconds between two tries to write.
        copy: where the last content without mistakes is kept, for a start with a damaged file; None keeps none.
    """

    def __init__(
        self, show: Path | None, poll: float = POLL_SECONDS, retry: float = RETRY_SECONDS, *, copy: Path | None = None,
    ) -> None:
        self._copy = copy
        self.path = show.with_suffix(RECORDED_CUES_SUFFIX) if show is not None else None
        self._poll, self._retry = poll, retry
        self._text = CueFileText()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._synced = RecordedCues()  # what the file held when it was read or written last
        self._version: Version | None = None  # the file's at that time
        self._seen: Version | None = None  # a newer version, which may still be being written
        self._damaged = False  # this version has mistakes
        self._wanted = self._handled = self._synced  # what the file should hold; the last one that was dealt with
        self._failed_at: float | None = None
        self._trouble = ""

    # --- what the show's thread calls ---

    def read(self) -> RecordedCues:
        """Return the recorded cues. Every mistake is logged with its place.

        In place of a cue with a mistake, that of the last content without mistakes is returned, if it is known.
        """
        if self.path is None or not self.path.exists():
            return RecordedCues()
        self._version = file_version(self.path)
        self._synced, problems = read_cue_file(self.path)
        if problems:
            kept = self._read_copy(self._synced)
            again = ""
            if kept.cues:
                self._synced = merge(RecordedCues(), self._synced, kept)
                again = f"; {len(kept.cues)} of them are those of the last file without mistakes"
            self._on_problems(problems, f"are skipped; {len(self._synced.cues)} cues are loaded{again}")
        else:
            self._write_copy(self._synced)
        return self._synced

    def _read_copy(self, found: RecordedCues) -> RecordedCues:
        """The cues of the last content without mistakes that are not in `found`."""
        if self._copy is None or not self._copy.exists():
            return RecordedCues()
        kept, _ = read_cue_file(self._copy)
        return RecordedCues(tuple(cue for cue in kept.cues if cue.name not in found.by_name), kept.places)

    def _write_copy(self, recorded: RecordedCues) -> None:
        if self._copy is not None:
            with contextlib.suppress(OSError):  # the file itself is what counts
                write_atomically(self._copy, self._text.compose(recorded), private=True, forced=False)

    def watch(self) -> None:
        """Start the thread: it reads the file again whenever a person has changed it."""
        if self.path is not None and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="recorded-cues", daemon=True)
            self._thread.start()

    def write(self, recorded: RecordedCues) -> None:
        """Write these cues in the background, before the jobs that wait. Return at once."""
        self._wanted = recorded
        self.submit(lambda: None)

    def submit(self, job: Callable[[], None]) -> None:
        """Call a function on the store's thread, after those that wait. It must handle its errors.

        Without a show file, nothing is called.
        """
        if self.path is not None:
            self.watch()
            self._jobs.put(job)

    def pop_news(self) -> Sequence[News]:
        """Return what the thread has found since the last call."""
        if self._news.empty():
            return ()
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._news.get_nowait())
        return found

    def tell(self, news: News) -> None:
        """Add to what `pop_news` returns; for functions given to `submit`."""
        self._news.put(news)

    def has(self, cue: Cue) -> bool:
        """Whether the file holds exactly this cue."""
        return cue in self._synced.cues

    @property
    def is_damaged(self) -> bool:
        """Whether the file has mistakes, which a person has made."""
        return self._damaged

    def close(self) -> None:
        """Wait until the cues are written, and for a while until the jobs that wait are done."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(CLOSE_SECONDS)
            self._thread = None

    # --- the thread ---

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self._poll)
            except queue.Empty:
                job = self._look
            if self._wanted is not self._handled:
                self._handled = self._wanted
                self._write(self._handled)
            if job is None:
                return
            job()

    def _look(self) -> None:
        """Read the file again if it has changed, and try again to write what could not be written."""
        assert self.path is not None
        version = file_version(self.path)
        if version is not None and version != self._version:
            if version == self._seen:
                self._reread(version)
            self._seen = version
        elif self._failed_at is not None and time.monotonic() - self._failed_at >= self._retry:
            self._write(self._handled)

    def _reread(self, version: Version) -> bool:
        """Read a changed file, and report what is new. Return whether something is."""
        assert self.path is not None
        found, problems = read_cue_file(self.path)
        if file_version(self.path) != version:  # it is being written
            return False
        self._version, self._damaged = version, bool(problems)
        if problems:
            self._on_problems(problems, "change nothing: the looks stay as they were")
            return False
        self._failed_at = None  # the show's thread has them merged, and writes again if that is necessary
        self._set_trouble("")
        self._write_copy(found)
        base, self._synced = self._synced, found
        if found == base:
            return False
        self.tell(FileRead(base, found))
        return True

    def _write(self, recorded: RecordedCues) -> None:
        """Write these cues, unless a person has changed the file: then they must be merged first."""
        path = self.path
        assert path is not None
        version = file_version(path)
        if version is not None and version != self._version and self._reread(version):
            return
        try:
            if self._damaged:
                self._keep_damaged_file(path)
            status = write_atomically(path, self._text.compose(recorded))
        except OSError as error:
            self._failed_at = time.monotonic()
            self._set_trouble(f"{path.name}: recorded cues cannot be saved: {error.strerror or error}; they play, and "
                              "are saved once that is possible")
        else:
            self._version, self._synced, self._failed_at = version_of(status), recorded, None
            self._set_trouble("")
            self._write_copy(recorded)

    def _keep_damaged_file(self, path: Path) -> None:
        """Rename a file with mistakes before it is overwritten: it may hold hours of work. Raises OSError."""
        names = (f"{path.name}.bad", *(f"{path.name}.bad{number}" for number in range(2, 100)))
        aside = next((each for each in map(path.with_name, names) if not each.exists()), path.with_name(names[0]))
        with contextlib.suppress(FileNotFoundError):
            path.replace(aside)
            log.warning("%s: the file with mistakes is kept as %s", path, aside.name)
        self._damaged = False

    def _on_problems(self, problems: Sequence[Problem], consequence: str) -> None:
        self._damaged = True
        for problem in problems[:MAX_LOGGED_PROBLEMS]:
            log.warning("%s", problem)
        more = len(problems) - MAX_LOGGED_PROBLEMS
        also = f" and {more} more" if more > 0 else ""
        log.warning("%s: recorded cues with these mistakes%s %s", self.path, also, consequence)
        others = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        self._set_trouble(f"{problems[0]}{others}".replace(str(self.path), self.path.name if self.path else ""))

    def _set_trouble(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            if text and self._failed_at is not None:
                log.warning("%s", text)
            self.tell(FileTrouble(text))
