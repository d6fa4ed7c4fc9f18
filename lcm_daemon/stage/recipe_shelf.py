"""RecipeShelf: which of a show's recipes are on this machine. Files are looked at on threads, never on the tick's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import WITH_WEIGHTS


def find_problem(recipe: Recipe) -> str:
    """Why a recipe cannot be loaded from this machine's files; "" if it can. Reads the disk, opens no connection."""
    if recipe.pipeline not in WITH_WEIGHTS:
        return ""
    try:
        locate(recipe)
    except LcmDaemonError as error:
        return str(error)
    except OSError as error:
        return f"recipe {recipe.name}: its files cannot be read: {error.strerror or error}"
    return ""


@dataclass(frozen=True)
class _Asked:
    """A change to a recipe that waits until its files have been looked at."""

    name: str
    change: Callable[[], None]
    refuse: Callable[[str], None]


class RecipeShelf:
    """Remembers which recipes are absent, and refuses those at once. Its methods are called on the tick's thread.

    Args:
        recipes: Every recipe that the show can change to, by name.
        find_problem: Looks at a recipe's files; called on a thread.

    Attributes:
        absent: Why a recipe cannot be loaded, by name.
    """

    def __init__(
        self, recipes: Mapping[str, Recipe], metrics: Metrics, find_problem: Callable[[Recipe], str] = find_problem
    ) -> None:
        self.absent: dict[str, str] = {}
        self.refusals = Refusals(metrics)
        self._recipes, self._find_problem = recipes, find_problem
        self._found: SimpleQueue[tuple[str, str]] = SimpleQueue()  # name and problem
        self._asked: _Asked | None = None

    def look(self, names: Iterable[str] | None = None) -> None:
        """Look at the files of these recipes, or of all. Returns at once; `step` takes the answers."""
        recipes = {name: self._recipes[name] for name in (self._recipes if names is None else names)}
        threading.Thread(target=self._look, args=(recipes,), name="recipes", daemon=True).start()

    def ask(self, name: str, change: Callable[[], None], refuse: Callable[[str], None]) -> None:
        """Change to a recipe: at once, unless it was absent; then its files are looked at again before.

        Args:
            name: The recipe's name.
            change: Carries the change out.
            refuse: Called with the reason if the recipe is still absent, or if another one is asked for before.
        """
        waiting, self._asked = self._asked, None
        if waiting is not None:
            waiting.refuse(self.absent[waiting.name])
        if name in self.absent:
            self._asked = _Asked(name, change, refuse)
            self.look([name])
        else:
            change()

    def ask_by_cue(self, name: str, change: Callable[[str], None], on_end: Callable[[str, bool], None]) -> None:
        """Change to the recipe that a cue names, unless it is not on this machine; `on_end` is told if it is not."""
        def refuse(reason: str) -> None:
            self.refusals.add("cue/refused", "cue", reason)
            on_end(name, False)

        self.ask(name, lambda: change(name), refuse)

    def cancel(self) -> None:
        """Forget the change that waits, as a panic does."""
        self._asked = None

    def step(self) -> None:
        """Take the answers that have come. Call this once a tick."""
        while not self._found.empty():
            self._take(*self._found.get())

    def _take(self, name: str, problem: str) -> None:
        self.absent.pop(name, None)
        if problem:
            self.absent[name] = problem
        asked = self._asked
        if asked is not None and asked.name == name:
            self._asked = None
            if problem:
                asked.refuse(problem)
            else:
                asked.change()

    def _look(self, recipes: Mapping[str, Recipe]) -> None:
        for name, recipe in recipes.items():
            self._found.put((name, self._find_problem(recipe)))
