"""CueEditor: records, renames, moves and removes the cues of a running show, and stores those that are recorded.

A cue is one of the show file or a recorded one. Recorded cues are stored beside the show file, which is never written.
A changed cue of the show file becomes a recorded one of the same name, which replaces it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lcm_daemon.automation.cue_list import Cue, CueList
from lcm_daemon.automation.cue_names import name_from_number
from lcm_daemon.automation.cue_store import (
    RECORDED_CUES_SUFFIX,
    CueStore,
    FileRead,
    FileTrouble,
    ThumbnailReady,
)
from lcm_daemon.automation.recorded_cues import MAX_CUE_NAME, RecordedCues, free_name, merge, recorded_cues
from lcm_daemon.automation.schema import is_endless_loop
from lcm_daemon.automation.thumbnails import Thumbnails
from lcm_daemon.core.control_state import Row, Rows
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.parameters import Refused
from lcm_daemon.core.paths import state_file
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import MAX_CUES, CommandRequest

RECORDED_FADE = 1.0  # seconds, the fade of a cue that is recorded under a new name
MAX_UNDO = 50
SHOWN_PROMPT = 120  # characters of a cue's prompt in its row
FILE_ORIGIN = "cue file"  # who is named where the file has a mistake

_Values = Mapping[str, Any]  # fields of a cue


@dataclass(frozen=True)
class _Before:
    """The cues before an edit: all names in order, and those that are recorded."""

    names: tuple[str, ...]
    recorded: Mapping[str, Cue]


class CueEditor:
    """The cues of a show as they are edited. `rows` is the list of them for the page.

    Args:
        cue_list: what plays; it starts with the cues of the show file.
        file: the show file; without it, recorded cues last for this run only.
        refusals: what cannot be done.
        look: returns the fields `values`, `recipe`, `source` and `guide` of a cue that holds the present look.
        picture: returns the present output for a thumbnail, uint8 (H, W, 4), or None.
    """

    def __init__(
        self, cue_list: CueList, file: Path | None, refusals: Refusals, look: Callable[[], _Values],
        picture: Callable[[], Pixels | None],
    ) -> None:
        self._list, self._refusals, self._look, self._picture = cue_list, refusals, look, picture
        self._show = {cue.name: cue for cue in cue_list.cues}
        self._known: Set[tuple[str, ...]] = {message.destination for cue in cue_list.cues for message in cue.send}
        self._store = CueStore(file, copy=state_file(file, RECORDED_CUES_SUFFIX) if file else None)
        self._thumbnails = Thumbnails(file, self._store)
        self._undo: deque[_Before] = deque(maxlen=MAX_UNDO)
        self._recorded: dict[str, Cue] = {}
        self._rows: Rows | None = None  # None if they must be made again
        self._shown: tuple[Cue, ...] = ()  # the cues of `_rows`
        self._origin = FILE_ORIGIN  # who has asked for the last edit
        self.trouble = ""  # why the file is not up to date, or empty
        stored = self._store.read()
        self._adopt(stored)
        self._take_news()
        if not self.trouble and self._thumbnails.folder is not None and self._thumbnails.folder.exists():
            self._thumbnails.clean_up(self._states())

    # --- what the show calls ---

    @property
    def folder(self) -> Path | None:
        """Where the thumbnails are."""
        return self._thumbnails.folder

    def watch(self) -> None:
        """Start to read the file again whenever a person has changed it."""
        self._store.watch()

    def update(self) -> bool:
        """Take over what has happened to the file. Return whether the cues have changed."""
        return self._take_news()

    def close(self) -> None:
        """Wait until the recorded cues are written."""
        self._undo.clear()
        self._thumbnails.keep(self._states())
        self._store.close()
        if self._take_news():  # a person has changed the file in the last moment
            self._store.close()

    def execute(self, request: CommandRequest, now: float) -> None:
        """Carry out a command that edits the cues; what cannot be done is refused.

        Args:
            request: a command whose name begins with `cue/`.
            now: monotonic seconds.
        """
        self._origin, first = request.origin, str(request.arguments[0]) if request.arguments else ""
        try:
            match request.name:
                case "cue/record":
                    self._record(_checked(first))
                case "cue/overwrite":
                    self._record(self._named(first).name)
                case "cue/rename":
                    self._rename(self._named(first), _checked(str(request.arguments[1])))
                case "cue/fade":
                    self._change(replace(self._named(first), fade=float(request.arguments[1])), now)
                case "cue/follow":
                    self._follow(self._named(first), float(request.arguments[1]), now)
                case "cue/delete":
                    self._delete(self._named(first))
                case "cue/move":
                    self._move(self._named(first), int(request.arguments[1]))
                case "cue/duplicate":
                    self._duplicate(self._named(first), *map(str, request.arguments[1:]))
                case "cue/undo":
                    self._undo_last()
        except Refused as refusal:
            self._refusals.add("cue/refused", request.origin, f"{request.name}: {refusal}")

    def rows(self) -> Rows:
        """One row for each cue, in their order.

        number: its place, from 1.
        name, fade, delay, at, recipe, source, prompt: as in the cue.
        follow, auto_continue: seconds, or -1 for none.
        origin: "show" for a cue of the show file, "recorded", or "changed" for one that replaces the show's.
        thumbnail: name of its picture, or an empty string.
        saved: whether the file holds it as it is.
        """
        cues = tuple(self._list.cues)
        if self._rows is None or self._shown != cues:
            self._shown, self._rows = cues, tuple(self._row(number, cue) for number, cue in enumerate(cues, 1))
        return self._rows

    # --- commands ---

    def _named(self, given: str) -> Cue:
        """Return the cue of a name or number, as it is stored. Raises Refused."""
        name = self._list.resolve(given)
        if not name:
            raise Refused(f"no cue {name_from_number(given)!r:.80}; the list has {len(self._list.cues)} cues")
        return self._stored(name)

    def _record(self, name: str) -> None:
        """Record the present look under a name. A cue of this name keeps its place, fade and other settings."""
        existing = self._stored(name) if self._list.named(name) else None
        if existing is None:
            self._check_room(f"{name!r} is not recorded")
        look = {**self._look(), "thumbnail": self._thumbnails.add(self._picture())}
        self._keep_for_undo()
        self._recorded[name] = replace(existing or Cue(name, fade=RECORDED_FADE), **look)
        self._list.record(self._playable(self._recorded[name]))
        self._changed()

    def _rename(self, cue: Cue, name: str) -> None:
        if name == cue.name:
            return
        self._check_own(cue, "rename")
        if self._list.named(name):
            raise Refused(f"there is a cue {name!r:.80} already")
        names = [name if each == cue.name else each for each in self._names()]
        self._keep_for_undo()
        del self._recorded[cue.name]
        self._recorded[name] = replace(cue, name=name)
        self._use(names, cue.name, name)

    def _follow(self, cue: Cue, seconds: float, now: float) -> None:
        self._change(replace(cue, follow=None if seconds < 0 else seconds, auto_continue=None), now)

    def _change(self, cue: Cue, now: float) -> None:
        """Replace the cue of the same name."""
        cues = [cue if each.name == cue.name else each for each in self._list.cues]
        if self._list.loop and is_endless_loop(cues):
            raise Refused("the cues would start one another for ever, without any time between them")
        self._keep_for_undo()
        self._recorded[cue.name] = cue
        self._list.change(self._playable(cue), now)
        self._changed()

    def _delete(self, cue: Cue) -> None:
        """Remove a recorded cue. One that replaced a cue of the show file leaves the show's own."""
        if cue.name not in self._recorded:
            self._check_own(cue, "delete")
        self._keep_for_undo()
        del self._recorded[cue.name]
        self._use([name for name in self._names() if name != cue.name or name in self._show])

    def _move(self, cue: Cue, place: int) -> None:
        names = [name for name in self._names() if name != cue.name]
        names.insert(min(max(place, 1), len(names) + 1) - 1, cue.name)
        if names != self._names():
            self._keep_for_undo()
            self._use(names)

    def _duplicate(self, cue: Cue, given: str = "") -> None:
        """Record a copy of a cue, right after it."""
        self._check_room(f"{cue.name!r} is not duplicated")
        if given and self._list.named(_checked(given)):
            raise Refused(f"there is a cue {_checked(given)!r:.80} already")
        names = self._names()
        name = _checked(given) if given else free_name(cue.name, names)
        names.insert(names.index(cue.name) + 1, name)
        self._keep_for_undo()
        self._recorded[name] = replace(cue, name=name, at="")  # two would start at the same time
        self._use(names)

    def _undo_last(self) -> None:
        if not self._undo:
            raise Refused("there is nothing to undo")
        before = self._undo.pop()
        self._recorded = dict(before.recorded)
        self._use(list(before.names))

    def _check_room(self, what: str) -> None:
        if len(self._list.cues) >= MAX_CUES:
            raise Refused(f"{what}: the limit is {MAX_CUES} cues")

    def _check_own(self, cue: Cue, verb: str) -> None:
        if cue.name in self._show:
            raise Refused(f"{cue.name!r:.80} is a cue of the show file: {verb} it there, or duplicate it")

    # --- state ---

    def _names(self) -> list[str]:
        return [cue.name for cue in self._list.cues]

    def _stored(self, name: str) -> Cue:
        """Return a cue with all its messages; the one that plays has only those that the show file allows."""
        return self._recorded.get(name) or self._show[name]

    def _playable(self, cue: Cue) -> Cue:
        """Return a cue without messages to destinations that the cues of the show file do not name."""
        if all(message.destination in self._known for message in cue.send):
            return cue
        return replace(cue, send=tuple(message for message in cue.send if message.destination in self._known))

    def _use(self, names: Sequence[str], old_name: str = "", new_name: str = "") -> None:
        """Let the list have these cues, in this order, and store them."""
        self._list.replace([self._playable(self._stored(name)) for name in names], old_name, new_name)
        self._changed()

    def _changed(self) -> None:
        self._rows = None
        self._thumbnails.keep(self._states())
        self._store.write(self._state())

    def _state(self) -> RecordedCues:
        return recorded_cues(self._names(), self._recorded, list(self._show))

    def _keep_for_undo(self) -> None:
        self._undo.append(_Before(tuple(self._names()), dict(self._recorded)))

    def _states(self) -> Sequence[Mapping[str, Cue]]:
        """The recorded cues by name, and those that an undo brings back."""
        return [dict(self._recorded), *(before.recorded for before in self._undo)]

    def _row(self, number: int, cue: Cue) -> Row:
        stored, is_own = self._recorded.get(cue.name, cue), cue.name in self._recorded
        return {
            "number": number, "name": cue.name, "fade": cue.fade, "delay": cue.delay, "at": cue.at,
            "follow": -1.0 if cue.follow is None else cue.follow,
            "auto_continue": -1.0 if cue.auto_continue is None else cue.auto_continue,
            "recipe": cue.recipe, "source": cue.source, "prompt": str(cue.values.get("prompt", ""))[:SHOWN_PROMPT],
            "origin": "show" if not is_own else "changed" if cue.name in self._show else "recorded",
            "thumbnail": cue.thumbnail if cue.thumbnail in self._thumbnails.ready else "",
            "saved": not (is_own and self.trouble) or self._store.has(stored),
        }

    # --- the file ---

    def _adopt(self, stored: RecordedCues) -> None:
        """Let the list have the cues of the file."""
        self._recorded = dict(stored.by_name)
        for cue in self._recorded.values():
            for message in cue.send:
                if message.destination not in self._known:
                    self._refusals.add("cue/refused", "recorded cues", f"{cue.name}: its message to "
                                       f"{message.as_mapping()['to']!r:.80} is not sent: the show does not name it")
        self._list.replace([self._playable(self._stored(name)) for name in stored.names_with(list(self._show))])
        self._rows = None

    def _take_news(self) -> bool:
        """Take over what the store has found. Return whether the cues have changed."""
        changed = False
        for news in self._store.pop_news():
            self._rows = None
            match news:
                case FileRead(base, found):
                    self._on_file_read(base, found)
                    changed = True
                case FileTrouble(text):
                    self.trouble = text
                    if text:
                        self._refusals.report(FILE_ORIGIN if self._store.is_damaged else self._origin, text)
                case ThumbnailReady(name, is_written):
                    self._thumbnails.on_ready(name, is_written)
        return changed

    def _on_file_read(self, base: RecordedCues, found: RecordedCues) -> None:
        self._keep_for_undo()
        merged = merge(base, self._state(), found)
        self._adopt(merged)
        state = self._state()
        if state != found:
            self._store.write(state)


def _checked(name: str) -> str:
    """Return a name for a cue: one line of text. Raises Refused."""
    found = name_from_number(name)[:MAX_CUE_NAME].strip()
    if not found:
        raise Refused("a cue needs a name")
    if not found.isprintable():
        raise Refused(f"{found!r:.80} is not a cue name: one line of text is wanted")
    return found
