"""`lcm-daemon pull`: downloads the files that recipes need from the hub, or checks on the disk that all are here."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcm_daemon.commands.arguments import find_recipes
from lcm_daemon.commands.output import PrintLine, print_line
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes import hub_cache
from lcm_daemon.recipes.downloads import (
    NeededFiles,
    check_space,
    find_downloads,
    format_size,
    needed_files,
    select_files,
)
from lcm_daemon.recipes.recipe import Recipe

PROGRESS_SECONDS = 10.0  # between two lines of progress without a terminal


@dataclass(frozen=True)
class MissingFile:
    """A file that is missing or damaged. size: bytes, or None if the hub's list of files was never fetched."""

    source: str
    path: str
    size: int | None
    reason: str

    def __str__(self) -> str:
        size = "size unknown" if self.size is None else format_size(self.size)
        return f"{self.reason:8} {size:>13}  {self.source}/{self.path}"


def pull(names: Sequence[str], offline: bool, print_line: PrintLine = print_line) -> int:
    """Download the files of recipes and shows, or with `offline` check them. Return the exit code.

    The code is 0 if all files are here, 1 if `offline` found that some are not.

    Args:
        names: names or files of recipes and shows.
        offline: open no connection; print what is missing or damaged.
        print_line: receives the output.

    Raises:
        LcmDaemonError: a name is unknown, or a download failed.
    """
    complete = True
    for name in names:
        for recipe in find_recipes(name):
            if offline:
                complete &= _check(recipe, name, print_line)
            else:
                pull_recipe(recipe, print_line)
    return 0 if complete else 1


def pull_recipe(recipe: Recipe, print_line: PrintLine) -> None:
    """Download what is missing of a recipe, and check that it is complete. Raises RecipeError."""
    download(recipe, print_line)
    _print_complete(recipe, print_line, fetched=True)


def download(recipe: Recipe, print_line: PrintLine) -> None:
    """Download the files of a recipe that are not here yet, and check all of them.

    Raises:
        RecipeError: a file is not on the hub, or could not be downloaded. The text says what to do.
    """
    for each in find_downloads(recipe):
        print_line(f"{each.source} at {each.listing.commit[:8]}: {len(each.files)} files, {format_size(each.size)}")
        check_space([each])
        for file in each.files:
            bar = None if sys.stderr.isatty() else _progress_lines(print_line)
            hub_cache.download(each.source, each.listing.commit, file, bar)
        hub_cache.activate(each.source, each.revision, each.listing)


def _progress_lines(print_line: PrintLine) -> type[Any]:
    """Return a class of progress bars that print a line every ten seconds, for output that is not a terminal."""

    class ProgressLines:
        def __init__(self, *, desc: str = "", total: int | None = None, initial: int = 0, **_: object) -> None:
            self._name, self._total, self._done = desc, total or 0, initial
            self._printed = time.perf_counter()
            resumed = f", resumed at {format_size(initial)}" if initial else ""
            print_line(f"  {desc}: {format_size(self._total)}{resumed}")

        def update(self, amount: float = 1) -> None:
            self._done += int(amount)
            if time.perf_counter() - self._printed >= PROGRESS_SECONDS:
                self._printed = time.perf_counter()
                print_line(f"  {self._name}: {format_size(self._done)} of {format_size(self._total)}")

        def __enter__(self) -> ProgressLines:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    return ProgressLines


# --- check on the disk ---


def find_missing(recipe: Recipe) -> list[MissingFile]:
    """Return the files of a recipe that are missing or damaged on this machine.

    This opens no connection and reads every byte.
    """
    return [missing for needed in needed_files(recipe) for missing in _find_missing(needed)]


def _find_missing(needed: NeededFiles) -> Iterator[MissingFile]:
    source, folder = needed.source, hub_cache.find_snapshot(needed.source, needed.revision)
    listing = hub_cache.read_listing(source, folder.name) if folder else None
    if folder is None:
        yield from (MissingFile(source, name, None, "missing") for name in needed.required or ("(all files)",))
    elif listing is None:  # another program downloaded it: sizes and hashes are unknown
        yield from (MissingFile(source, name, None, "missing") for name in needed.required
                    if not _exists(folder, name))
    else:
        for file in select_files(needed, listing):
            path = folder / file.path
            if not hub_cache.is_intact(path, file.digest, file.size):
                yield MissingFile(source, file.path, file.size, "damaged" if path.exists() else "missing")


def _exists(folder: Path, pattern: str) -> bool:
    return any(path.is_file() and path.stat().st_size for path in folder.glob(pattern))


def _check(recipe: Recipe, name: str, print_line: PrintLine) -> bool:
    """Print what is missing of a recipe. Return whether it is complete."""
    missing = find_missing(recipe)
    if not missing:
        _print_complete(recipe, print_line)
        return True
    for file in missing:
        print_line(str(file))
    known = sum(file.size or 0 for file in missing)
    size = f", {format_size(known)}" if known else f" (whole recipe: {recipe.download or 'size unknown'})"
    print_line(f"{recipe.name}: {len(missing)} files are missing or damaged{size}; download them with: "
               f"lcm-daemon pull {name}")
    return False


def _print_complete(recipe: Recipe, print_line: PrintLine, fetched: bool = False) -> None:
    """Find the weights as a show does, to notice missing files that are not from the hub. Raises RecipeError."""
    if recipe.pipeline != "passthrough":
        locate(recipe, fetched)
    print_line(f"{recipe.name}: complete")
