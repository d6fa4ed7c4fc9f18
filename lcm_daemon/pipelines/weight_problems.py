"""What a recipe lacks on this machine, as one line with one right command for each missing thing. Imports no torch."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lcm_daemon.core.suggestions import nearest
from lcm_daemon.recipes.downloads import SAFETY, NeededFiles, needed_files
from lcm_daemon.recipes.reader import load_recipe, recipe_names
from lcm_daemon.recipes.recipe import Recipe, split_hub
from lcm_daemon.recipes.weight_folders import PICKLES, pickles_in

_USUAL = '--include "*.json" "*.txt" "*.safetensors"'  # without pickles and the weights of other libraries


class WeightProblems:
    """Collects everything that is missing or wrong, so that users learn it all at once.

    Args:
        recipe: The recipe whose files were looked for.
        fetched: The recipe was pulled just now: what is missing is not on the hub either.

    Attributes:
        wrong: What is wrong on this machine, as a sentence without a full stop, by the file or folder as the recipe
            names it, or one below that.
    """

    def __init__(self, recipe: Recipe, fetched: bool = False) -> None:
        self._recipe, self._fetched = recipe, fetched
        self._absent: dict[str, None] = {}  # places on the hub
        self.wrong: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._absent or self.wrong)

    def add_absent(self, source: str, place: Path | None = None) -> None:
        """Note a file or a folder that is not there.

        Args:
            source: As the recipe names it, or a file below that.
            place: Where it would be.
        """
        if split_hub(source):
            self._absent[source] = None
        else:
            self.wrong[source] = _local(place or Path(source))

    def add_wrong(self, source: str, text: str) -> None:
        """Note what is wrong with a file that is there: of a source, the first thing counts."""
        self.wrong.setdefault(source, text)

    def add_damaged(self, source: str, text: str) -> None:
        """Note a file that is not what it should be. A pull compares hashes, so it replaces one of the hub."""
        again = f"; fetch it again with: {' && '.join(self._commands([source]))}" if split_hub(source) else ""
        self.add_wrong(source, text + again)

    def line(self) -> str:
        """All of it; commands come last."""
        return "; ".join(filter(None, (*self.wrong.values(), self.absent_line())))

    def absent_line(self) -> str:
        """What has to be fetched, and the commands for that; "" for nothing."""
        if not self._absent:
            return ""
        if self._fetched:
            return f"the hub has no {', '.join(self._absent)} as .safetensors"
        word = "it" if len(self._absent) == 1 else "them"
        return (f"not on this machine: {', '.join(self._absent)}; fetch {word} with: "
                f"{' && '.join(self._commands(self._absent))}")

    def _commands(self, places: Iterable[str]) -> Iterator[str]:
        """Commands that fetch these places of the hub."""
        checker, absent = f"{SAFETY.source}/safety_checker", set(places)
        if checker in absent and not self._pulls_safety():
            yield _download(SAFETY)
            absent.remove(checker)
        sources = {(split_hub(source) or ("",))[0] for source in absent}
        if sources and self._recipe.origin:
            yield f"lcm-daemon pull {shlex.quote(self._recipe.origin)}"
        else:
            yield from (_download(needed) for needed in needed_files(self._recipe) if needed.source in sources)

    def _pulls_safety(self) -> bool:
        """Whether a pull fetches the checker: not where the show adds it to a recipe of the package."""
        origin = self._recipe.origin
        is_own = origin in recipe_names()
        return bool(origin) and (load_recipe(origin).safety if is_own else True)


def _download(needed: NeededFiles) -> str:
    if needed.optional or not needed.required or any("*" in name for name in needed.required):
        return f"hf download {needed.source} {_USUAL}"
    return f"hf download {needed.source} {' '.join(map(shlex.quote, needed.required))}"


def _local(place: Path) -> str:
    """What is wrong with a path of this machine."""
    folder = place.parent
    if not folder.is_dir():
        return f"{place} does not exist"
    if os.path.isdir(place):  # False for a name that is too long
        pickles = pickles_in(place)
        return f"{place} has no weights as .safetensors" + (
            f"; {pickles[0]} is a pickle, which is not loaded" if pickles else "")
    pickle = next((name for name in pickles_in(folder) if Path(name).stem == place.stem), "")
    if pickle:
        return f"{place} does not exist; {pickle} beside it is a pickle, which is not loaded"
    return f"{place} does not exist{_similar(place)}"


def _similar(place: Path) -> str:
    names: Sequence[str] = sorted(path.name for path in place.parent.iterdir()
                                  if path.suffix == place.suffix and path.suffix not in PICKLES)
    hint = nearest(place.name, names) if names else ""
    return hint if hint.startswith("; did you mean") else ""
