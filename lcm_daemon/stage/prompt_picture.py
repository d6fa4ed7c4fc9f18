"""PromptPicture: uses a picture that a page has sent as the image prompt of the recipe that plays."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.picture_store import PictureStore
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.render.recipe_switcher import RecipeSwitcher

OWN = "recipe"  # the name of the recipe's own image
# The picture, and the name of the image prompt, of a recipe with several.
_NAME = re.compile(rf"(?:(?:picture )?(?P<number>[1-9][0-9]?)|{OWN})(?: +(?P<prompt>[A-Za-z0-9_-]+))?")


class _Asked(NamedTuple):
    number: int  # of the picture
    prompt: str  # name of the image prompt
    origin: str


class PromptPicture:
    """Carries out the command `prompt_picture`. Its methods are called on the tick's thread.

    The numbers of pictures are looked up on a thread, because that reads the disk. Another picture is another variant
    of the recipe: it is loaded beside the one that plays, then faded in. It is kept until the daemon ends or the show
    is reloaded, also while other recipes play.

    Args:
        switcher: Changes the recipe.
        find: Returns the file of a picture by its number, or None; called on a thread.
    """

    def __init__(
        self, switcher: RecipeSwitcher, metrics: Metrics, find: Callable[[int], Path | None] | None = None,
    ) -> None:
        self.refusals = Refusals(metrics)
        self._switcher = switcher
        self._find = find or (lambda number: PictureStore().files().get(number))
        self._found: SimpleQueue[tuple[_Asked, Path | None]] = SimpleQueue()  # what was asked for, and its file
        self._newest: _Asked | None = None  # what was asked for last, until its file is found

    def use(self, name: str, origin: str) -> None:
        """Use a picture by its name ("picture 1"), or the recipe's own image ("recipe"). Returns at once.

        Of several image prompts, one is named ("picture 1 style"), or it is the first.
        """
        match, pictures = _NAME.fullmatch(name.strip()), self._switcher.pictures
        self._newest = None
        prompt = (match and match["prompt"]) or next(iter(pictures), "")
        if not pictures:
            recipe = self._switcher.transition.state.wanted.name
            self._refuse(origin, f"recipe {recipe} has no image prompt")
        elif match is None:
            self._refuse(origin, f"{name!r:.40} is not a picture such as 'picture 1', or 'recipe' for the recipe's own")
        elif prompt not in pictures:
            self._refuse(origin, f"the recipe has no image prompt {prompt!r:.40}{nearest(prompt, list(pictures))}")
        elif match["number"] is None:
            self._switcher.use_picture(None, prompt)
        else:
            self._newest = _Asked(int(match["number"]), prompt, origin)
            threading.Thread(target=self._look, args=(self._newest,), name="prompt-picture", daemon=True).start()

    def step(self) -> None:
        """Use the picture that was found. Call this once a tick."""
        while not self._found.empty():
            asked, file = self._found.get()
            if asked != self._newest:
                continue  # another one was asked for since
            self._newest = None
            if file is None:
                missing = f"picture {asked.number} does not exist; `list sources` prints those that do"
                self._refuse(asked.origin, missing)
            elif not self._switcher.use_picture(str(file), asked.prompt):
                self._refuse(asked.origin, "the recipe has changed to one without that image prompt")

    def rows(self) -> Rows:
        """The list `prompt_picture`: for each image prompt a row with the `source` in use, "recipe" for the recipe's
        own; with its `name` where it has one."""
        return tuple({"source": _source(file), **({"name": name} if name else {})}
                     for name, file in self._switcher.pictures.items())

    def _refuse(self, origin: str, reason: str) -> None:
        self.refusals.add("prompt_picture/refused", origin, f"prompt_picture: {reason}")

    def _look(self, asked: _Asked) -> None:
        self._found.put((asked, self._find(asked.number)))


def _source(file: str | None) -> str:
    match = re.search(r"picture-([0-9]+)\.", file or "")
    return f"picture {match[1]}" if match else OWN
