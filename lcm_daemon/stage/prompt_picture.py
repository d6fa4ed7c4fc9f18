"""PromptPicture: uses a picture that a page has sent as the image prompt of the recipe that plays."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.picture_store import PictureStore
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.render.recipe_switcher import RecipeSwitcher

OWN = "recipe"  # the name of the recipe's own image
_NAME = re.compile(r"(?:picture )?([1-9][0-9]?)")


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
        self._found: SimpleQueue[tuple[int, str, Path | None]] = SimpleQueue()  # number, who asked, file
        self._newest: tuple[int, str] | None = None  # what was asked for last, until its file is found

    def use(self, name: str, origin: str) -> None:
        """Use a picture by its name ("picture 1"), or the recipe's own image ("recipe"). Returns at once."""
        match = _NAME.fullmatch(name.strip())
        self._newest = None
        if not self._switcher.takes_picture:
            recipe = self._switcher.transition.state.wanted.name
            self._refuse(origin, f"recipe {recipe} has no image prompt")
        elif name == OWN:
            self._switcher.use_picture(None)
        elif match is None:
            self._refuse(origin, f"{name!r:.40} is not a picture such as 'picture 1', or 'recipe' for the recipe's own")
        else:
            self._newest = int(match[1]), origin
            threading.Thread(target=self._look, args=self._newest, name="prompt-picture", daemon=True).start()

    def step(self) -> None:
        """Use the picture that was found. Call this once a tick."""
        while not self._found.empty():
            number, origin, file = self._found.get()
            if (number, origin) != self._newest:
                continue  # another one was asked for since
            self._newest = None
            if file is None:
                self._refuse(origin, f"picture {number} does not exist; `list sources` prints those that do")
            elif not self._switcher.use_picture(str(file)):
                self._refuse(origin, "the recipe has changed to one without an image prompt")

    def rows(self) -> Rows:
        """The list `prompt_picture`: one row with the `source` in use, "recipe" for the recipe's own; else none."""
        if not self._switcher.takes_picture:
            return ()
        file = self._switcher.picture
        match = re.search(r"picture-([0-9]+)\.", file or "")
        return ({"source": f"picture {match[1]}" if match else OWN},)

    def _refuse(self, origin: str, reason: str) -> None:
        self.refusals.add("prompt_picture/refused", origin, f"prompt_picture: {reason}")

    def _look(self, number: int, origin: str) -> None:
        self._found.put((number, origin, self._find(number)))
