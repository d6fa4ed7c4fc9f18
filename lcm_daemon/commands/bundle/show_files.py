"""The files that a show names, where they lie in a bundle, and the documents with the paths that are right there.

What is in the show's folder keeps its place. A file of another folder is put into `files/FOLDER`, and the show, or the
recipe that names it, gets its new path; everything else in these documents stays as it is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path, PurePosixPath

import lcm_daemon
from lcm_daemon.automation.cue_store import RECORDED_CUES_SUFFIX
from lcm_daemon.commands.bundle.manifest import SHOW, name_problem
from lcm_daemon.commands.bundle.rewriting import leads_to, with_paths
from lcm_daemon.commands.check_names import find_missing
from lcm_daemon.commands.check_weights import folder_of
from lcm_daemon.core.document import Reference, resolved
from lcm_daemon.core.errors import DocumentError
from lcm_daemon.recipes.checkpoints import SUFFIX
from lcm_daemon.recipes.recipe import split_hub
from lcm_daemon.shows.library import is_packaged
from lcm_daemon.shows.reader import ShowReading
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.prompt_bank import SUFFIX as PROMPTS_SUFFIX

FILE, WEIGHTS, DOCUMENT = "file", "weights", "document"  # kinds of references that name files of the show
_DESCRIBING = ("adapter_config.json", "config.json")  # beside weights in one file
_OTHERS = "files"  # the folder for what is not in the show's own
_PACKAGE = Path(lcm_daemon.__file__).parent


@dataclass
class ShowFiles:
    """The files of a show.

    Attributes:
        show: Path of the show file in the bundle.
        files: Path in the bundle of every other file, and the file here, or its text where that changes.
        moved: Files of other folders: where they are here and in the bundle.
        left_out: What the show names and the bundle does not have, one line each.
    """

    show: str
    files: dict[str, Path | str] = field(default_factory=dict)
    moved: dict[Path, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def show_files(reading: ShowReading, is_skipped: Callable[[Path], bool] = lambda file: False) -> ShowFiles:
    """Find the files of a show that has no mistakes.

    Args:
        reading: The show.
        is_skipped: Whether a file in a folder that is packed is none of the show's.

    Raises:
        DocumentError: It names files that are not there; all of them, each with its place. Or a path cannot be
            rewritten.
    """
    show, names = reading.show, reading.names
    assert show is not None
    assert names is not None
    references = [each for each in reading.problems.references if _is_own(each)]
    if missing := list(find_missing(names, references)):
        raise DocumentError(missing)
    places = _Places(names.file.resolve().parent)
    file = resolved(names.file)
    found = ShowFiles(places.of(file))
    for reference in references:
        path = _path_of(reference, file)
        for each in _with_neighbours(path, reference.kind, is_skipped):
            found.files[places.below(path, each)] = each
        if not places.is_inside(path):
            found.moved[path] = places.of(path)
    _rewrite(references, file, places, found)
    found.files.update(_companions(show, found.show))
    found.left_out += [*_left_out(show), *_outputs_elsewhere(show, places)]
    return found


def _is_own(reference: Reference) -> bool:
    """Whether it names a file of the user's: not a place on the hub, and nothing that comes with the package."""
    if reference.kind not in (FILE, WEIGHTS, DOCUMENT):
        return False
    document = Path(reference.node.file)
    if document.is_file() and _PACKAGE in document.resolve().parents and not is_packaged(document):
        return False  # a recipe of the package
    is_of_hub = reference.kind == WEIGHTS and split_hub(reference.name) is not None
    return not is_of_hub or (folder_of(reference, document) / reference.name).exists()


def _path_of(reference: Reference, show: Path) -> Path:
    """The file or folder that a reference names. Links to media are not followed: in the show's folder they stay there.

    Paths in a document start from the folder of the file itself, so those of documents are.
    """
    path = folder_of(reference, show) / Path(reference.name).expanduser()
    return resolved(path) if reference.kind == DOCUMENT else Path(os.path.abspath(path))


class _Places:
    """Where files lie in the bundle. root: The show's folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[Path, str] = {}  # other folders, and their names in the bundle

    def is_inside(self, path: Path) -> bool:
        """Whether a path is in the show's folder."""
        return path == self._root or self._root in path.parents

    def of(self, path: Path) -> str:
        """The place of a file or folder in the bundle."""
        if self.is_inside(path):
            return PurePosixPath(SHOW, path.relative_to(self._root).as_posix()).as_posix()
        return PurePosixPath(SHOW, _OTHERS, self._folder_name(path.parent), path.name).as_posix()

    def below(self, path: Path, file: Path) -> str:
        """The place of a file that belongs to a path that the show names: it is the path, below it, or beside it."""
        place = PurePosixPath(self.of(path))
        below = place / file.relative_to(path).as_posix() if path in file.parents else place.with_name(file.name)
        return below.as_posix()

    def _folder_name(self, folder: Path) -> str:
        if folder not in self._folders:
            name = folder.name if folder.name and not name_problem(folder.name) else "other"
            taken = {*self._folders.values()}
            names = chain([name], (f"{name}-{number}" for number in count(2)))
            self._folders[folder] = next(each for each in names if each not in taken
                                         and not (self._root / _OTHERS / each).exists())  # of an earlier bundle
        return self._folders[folder]


def _with_neighbours(path: Path, kind: str, is_skipped: Callable[[Path], bool]) -> Iterator[Path]:
    """The files of a path: itself, or all that is in the folder; of weights also what describes them, beside them."""
    if path.is_dir():
        seen = {resolved(path)}  # links may lead to each other
        for place, folders, names in os.walk(path, followlinks=True):
            inner = {name: resolved(Path(place, name)) for name in sorted(folders) if not name.startswith(".")}
            folders[:] = [name for name, real in inner.items() if real not in seen]
            seen.update(inner.values())
            own = (Path(place, name) for name in sorted(names) if not name.startswith("."))
            yield from (file for file in own if file.is_file() and not is_skipped(file))
        return
    yield path
    if kind == WEIGHTS and path.suffix == SUFFIX:
        yield from (file for file in map(path.with_name, _DESCRIBING) if file.is_file())


def _rewrite(references: Sequence[Reference], show: Path, places: _Places, found: ShowFiles) -> None:
    """Put the documents whose paths change into `found` as texts, and the show in any case."""
    by_document: dict[Path, list[Reference]] = {show: []}
    for reference in references:
        by_document.setdefault(resolved(Path(reference.node.file)), []).append(reference)
    for document, own in by_document.items():
        place = places.of(document)
        folder = PurePosixPath(place).parent
        targets = [(reference, places.of(_path_of(reference, show))) for reference in own]
        changed = [(reference, os.path.relpath(target, folder).replace(os.sep, "/")) for reference, target in targets
                   if not leads_to(reference.name, folder, target)]
        found.files[place] = with_paths(document, changed) if changed else document


# --- beside the show ---


def _companions(show: Show, place: str) -> Iterator[tuple[str, Path]]:
    """Looks and prompts that were recorded while it played."""
    for suffix in (RECORDED_CUES_SUFFIX, PROMPTS_SUFFIX):
        file = show.companion_file.with_suffix(suffix)
        if file.is_file():
            yield PurePosixPath(place).with_suffix(suffix).as_posix(), file


def _left_out(show: Show) -> Iterator[str]:
    """What belongs to a machine: keys, programs, engines elsewhere."""
    tls, hours, alarms = show.network.tls, show.unattended.opening_hours, show.unattended.alarms
    if tls is not None and not tls.is_made_here:
        yield f"network.tls: the certificate {tls.certificate} and its key: copy them yourself"
    programs = {"alarms.command": alarms.command if alarms else (),
                "opening_hours.commands.open": hours.open_command if hours else (),
                "opening_hours.commands.close": hours.close_command if hours else ()}
    yield from (f"{key}: the program {words[0]}" for key, words in programs.items() if words)


def _outputs_elsewhere(show: Show, places: _Places) -> Iterator[str]:
    """Folders that the show writes to and that the other machine may not have."""
    files = {"recordings": [sink.options["path"] for sink in show.sinks if sink.transport == "record"],
             "the log": [show.unattended.log.file], "what visitors keep": [show.audience.keep if show.audience else ""]}
    for what, paths in files.items():
        for folder in sorted({Path(os.path.abspath(path)).parent for path in paths if path}):
            if not places.is_inside(folder):
                yield f"{folder}: the folder for {what}: make it there, or change the show"
