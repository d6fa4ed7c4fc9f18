"""ShowFile: the file of the show that plays. It is watched, read again, saved, and another show is opened from here.

Everything that touches a disk runs on a thread of its own; `step` collects what it has found.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lcm_daemon.automation.cue_store import RECORDED_CUES_SUFFIX
from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.bindings import BindingEdit
from lcm_daemon.core.control_state import Row, Rows
from lcm_daemon.core.document import compose, read_error
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Refused
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.shows.library import is_packaged
from lcm_daemon.shows.openable_shows import openable_shows
from lcm_daemon.shows.reader import inspect_show, load_show
from lcm_daemon.shows.show import Show
from lcm_daemon.shows.show_edits import ShowEdits
from lcm_daemon.stage.prompt_bank import SUFFIX as PROMPTS_SUFFIX

log = logging.getLogger(__name__)

LOOK_INTERVAL = 1.0  # seconds between two looks at the file
LIST_INTERVAL = 5.0  # seconds between two looks for other shows
OWN_NAME = re.compile(r"[^\W_][\w -]{0,63}")  # of a show that is saved: it becomes a file's name

Act = Callable[[], None]


@dataclass(frozen=True)
class NextShow:
    """A show that is to play in place of this one. keeps_look: what was played stays."""

    show: Show
    keeps_look: bool = True


class ShowFile:
    """The file of a show.

    Args:
        show: The show.
        overrides: The `--set` of this run, which also count for what is read later.
        watch: Whether a changed file is read again by itself.
        metrics: Counters to report to.

    Attributes:
        next: The show that is to play now; None while this one goes on.
        changes: Returns what was changed while it played, but for bindings.
    """

    def __init__(
        self, show: Show, overrides: Sequence[str] = (), watch: bool = False, metrics: Metrics | None = None
    ) -> None:
        self.next: NextShow | None = None
        self.changes: Callable[[], ShowEdits] = ShowEdits
        self.refusals = Refusals(metrics or Metrics())
        self.overrides, self.watch = tuple(overrides), watch
        self._show, self._path = show, Path(show.file)
        self._folder = Path.cwd() if is_packaged(self._path) else self._path.resolve().parent
        self._text = _read(self._path)  # as it was read, or written last
        self._seen = self._first = self._text  # as it was found last, and first
        self._stamp: Any = None  # of the file as it was found last
        self._bindings: tuple[BindingEdit, ...] = ()  # of this run
        self._written = 0  # how many of them are in the file
        self._saved: ShowEdits = ShowEdits()
        self._thread = ThreadPoolExecutor(1, "show-file")  # starts with the first job
        self._jobs: list[Future[Act]] = []
        self._looked_at = self._listed_at = 0.0
        self._doing, self._note = "", ""  # for people: what is being done, and what was done last
        self._shows: Rows = ()

    @property
    def is_changed(self) -> bool:
        """Whether the file has another content than what plays."""
        return self._seen is not None and self._seen != self._text

    @property
    def unwritten(self) -> tuple[BindingEdit, ...]:
        """The bindings of this run that the file does not have."""
        return self._bindings[self._written:]

    def execute(self, request: CommandRequest) -> None:
        """Begin to carry out a command of the group `show`."""
        origin = request.origin
        match request.name:
            case "show/reload":
                self._begin("reading", origin, lambda: self._load(self._path, True))
            case "show/open":
                name = str(request.arguments[0])
                self._begin("opening", origin, lambda: self._open(name))
            case "show/save":
                edits = replace(self.changes(), bindings=self.unwritten)
                self._begin("saving", origin, lambda: self._save(self._restored(edits), edits))
            case "show/save_as":
                edits, name = self.changes(), str(request.arguments[0]).strip()
                self._begin("saving", origin, lambda: self._save_as(name, self._restored(edits)))

    def step(self, now: float, bindings: tuple[BindingEdit, ...] = ()) -> None:
        """Collect what was done and found; begin to write bindings that were learned.

        Args:
            now: Monotonic seconds.
            bindings: Every change of a binding in this run.
        """
        for job in [job for job in self._jobs if job.done()]:
            self._jobs.remove(job)
            job.result()()
        if bindings != self._bindings:
            self._bindings = bindings
            self._write_bindings()
        if now - self._looked_at >= LOOK_INTERVAL and not self._jobs and self._text is not None:
            self._looked_at = now
            lists = now - self._listed_at >= LIST_INTERVAL
            if lists:
                self._listed_at = now
            self._jobs.append(self._thread.submit(self._look, lists))

    def lists(self) -> Mapping[str, Rows]:
        """What pages show: the file, and the shows that can be opened."""
        own = self._text is not None and not is_packaged(self._path)
        unsaved = self._unsaved(self.changes()) + len(self.unwritten)
        row: Row = {"name": self._show.name, "file": self._path.name, "own": own, "changed": self.is_changed,
                    "unsaved": unsaved, "doing": self._doing, "note": self._note}
        return {"show": (row,), "shows": self._shows}

    def report(self, reason: str) -> None:
        """Show why another show could not be opened."""
        self._note = reason
        self.refusals.report("show", reason)

    def close(self) -> None:
        """Wait until everything is written."""
        self._thread.shutdown()

    # --- jobs ---

    def _begin(self, doing: str, origin: str, job: Callable[[], Act]) -> None:
        self._doing, self._note = doing, ""
        self._jobs.append(self._thread.submit(self._guarded, origin, job))

    def _guarded(self, origin: str, job: Callable[[], Act]) -> Act:
        """What a job has found; a refusal if it fails. Runs on the file's thread."""
        try:
            act = job()
        except LcmDaemonError as error:
            reason = str(error)
        except OSError as error:
            reason = f"{self._path.name}: {read_error(error)}"
        else:
            return lambda: self._end(act)
        return lambda: self._end(lambda: self._refuse(origin, reason))

    def _end(self, act: Act) -> None:
        self._doing = ""
        act()

    def _refuse(self, origin: str, reason: str) -> None:
        for folder in (self._path.parent, self._folder):  # pages do not learn where files are
            reason = reason.replace(f"{folder}{os.sep}", "")
        self._note = reason
        self.refusals.add("show/refused", origin, f"show {self._show.name}: {reason}")

    def _look(self, lists: bool) -> Act:
        """Look whether the file has changed, and for other shows."""
        shows = tuple(self._rows()) if lists else None
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return lambda: self._found(self._seen, stamp, shows)
        text = _read(self._path)
        return lambda: self._found(text, stamp, shows)

    def _found(self, text: str | None, stamp: Any, shows: Rows | None) -> None:
        is_new, self._seen, self._stamp = text is not None and text != self._seen, text, stamp
        if shows is not None:
            self._shows = shows
        if is_new and self.is_changed:
            log.info("show %s: %s has changed on disk", self._show.name, self._path.name)
            if self.watch:
                self._begin("reading", "watch", lambda: self._load(self._path, True))

    def _rows(self) -> list[Row]:
        here = self._path.resolve()
        return [{"name": name, "packaged": is_packaged(path), "current": path.resolve() == here}
                for name, path in openable_shows(self._folder).items()]

    def _load(self, path: Path, keeps_look: bool) -> Act:
        show = load_show(path, self.overrides)
        return lambda: self._play(NextShow(show, keeps_look))

    def _play(self, following: NextShow) -> None:
        self.next = following

    def _open(self, name: str) -> Act:
        shows = openable_shows(self._folder)
        if name not in shows:
            raise Refused(f"no show {name!r:.80}{nearest(name, shows)}")
        return self._load(shows[name], False)

    # --- saving ---

    def _restored(self, edits: ShowEdits) -> ShowEdits:
        """The changes; what was saved and is taken back since becomes what it was. Called on the file's thread."""
        saved, show = self._saved, self._show
        start = show.start_values(show.recipe) if saved.parameters else {}
        back = {name: start[name] for name in saved.parameters if name in start and name not in edits.parameters}
        keys = saved.keys - edits.keys
        first = compose(self._first or "", self._path.name).value or {} if keys else {}
        was = {key: first.get(key) for key in keys if key != "recipe" or "recipe" in saved.sections}
        size = show.recipe.size if keys - was.keys() else edits.size
        return replace(edits, parameters={**back, **edits.parameters}, sections={**edits.sections, **was}, size=size)

    def _unsaved(self, edits: ShowEdits) -> int:
        """How many of the changes the file does not have."""
        saved = self._saved
        names = edits.parameters.keys() | saved.parameters.keys()
        values = sum(edits.parameters.get(name) != saved.parameters.get(name) for name in names)
        return values + sum(edits.of(key) != saved.of(key) for key in edits.keys | saved.keys)

    def _write_bindings(self) -> None:
        """Write what was learned at once, where that is possible."""
        edits = ShowEdits(bindings=self.unwritten)
        if not edits:
            return
        if self._text is None or is_packaged(self._path):
            self._note = "learned controls are kept until the daemon ends: save the show under a name of your own"
            return
        self._begin("saving", "learn", lambda: self._save(edits))

    def _save(self, edits: ShowEdits, changes: ShowEdits | None = None) -> Act:
        """Write changes into the file. changes: What was changed while the show played; None leaves that as saved."""
        if is_packaged(self._path):
            raise Refused("it comes with the daemon; save it under a name of your own")
        text = self._edited(edits, self._path)
        write_atomically(self._path, text)
        return lambda: self._after_save(edits, changes, text)

    def _edited(self, edits: ShowEdits, path: Path) -> str:
        """The file's text with the changes, checked as a show in the place of `path`. Raises LcmDaemonError."""
        text = _read(self._path)
        if text is None or text != self._text:
            raise Refused("its file has changed on disk and is not overwritten; reload it first")
        from lcm_daemon.shows.show_writer import edit_show  # imports ruamel.yaml, which a start does without

        edited = edit_show(text, self._path.name, edits)
        inspect_show(path, self.overrides, text=edited).problems.raise_if_any()
        return edited

    def _after_save(self, edits: ShowEdits, changes: ShowEdits | None, text: str) -> None:
        self._text = self._seen = text
        self._written += len(edits.bindings)
        if changes is not None:
            self._saved = changes
        self._note = f"saved in {self._path.name}" if edits else "nothing has changed"
        log.info("show %s: %s", self._show.name, self._note)

    def _save_as(self, name: str, edits: ShowEdits) -> Act:
        if OWN_NAME.fullmatch(name) is None:
            raise Refused(f"{name!r:.80} is not a name for a show: letters, digits, spaces, _ and - are wanted")
        path = self._folder / f"{name}.yaml"
        if path.exists():
            raise Refused(f"there is a {path.name} already")
        named = {"name": name} if self._show.name != self._path.stem else {}
        bindings = replace(edits, sections={**edits.sections, **named}, bindings=self._bindings)
        model = None if is_packaged(self._path) else self._path  # which may hold a pin, and be private
        write_atomically(path, self._edited(bindings, path), model=model)
        for suffix in (RECORDED_CUES_SUFFIX, PROMPTS_SUFFIX):
            companion = self._show.companion_file.with_suffix(suffix)
            if companion.exists():
                write_atomically(path.with_suffix(suffix), companion.read_bytes())
        log.info("show %s: saved as %s", self._show.name, path)
        return self._load(path, True)


def _read(path: Path) -> str | None:
    """The text of a show file with its own line ends; None if it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _stamp(path: Path) -> Any:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
