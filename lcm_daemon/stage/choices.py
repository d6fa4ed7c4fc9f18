"""Choices: what a page shows to choose from: the state of the inputs and sinks, and the recipes.

The rows of each list are strings, numbers and switches by column; `lists` names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lcm_daemon.audience.audience import NoAudience
from lcm_daemon.core.control_state import Row, Rows
from lcm_daemon.core.parameters import Value
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.recipe_switcher import RecipeSwitcher
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.engines import Engines
from lcm_daemon.stage.inputs import Inputs
from lcm_daemon.stage.live_source import LiveSource
from lcm_daemon.stage.outputs import Outputs
from lcm_daemon.stage.prompt_picture import PromptPicture
from lcm_daemon.stage.recipe_fetch import RecipeFetch
from lcm_daemon.stage.recipe_shelf import RecipeShelf


class Choices:
    """Describes the parts of a running show for the desk."""

    def __init__(
        self, show: Show, switcher: RecipeSwitcher, inputs: Inputs, outputs: Outputs, shelf: RecipeShelf,
        fetch: RecipeFetch, picture: PromptPicture, audience: NoAudience,
        engines: Engines,
    ) -> None:
        self._show, self._switcher, self._inputs, self._outputs = show, switcher, inputs, outputs
        self._shelf, self._fetch, self._picture, self._audience = shelf, fetch, picture, audience
        self._engines = engines

    def lists(self, now: float) -> dict[str, Rows]:
        """The lists at `now` (monotonic seconds), by name.

        inputs: kind ("source", "guide"), name, label, state, opening (a name), error (why the last change failed).
        sinks: name (for `sink/NAME`), label, transport, on, state, size, fps (frames that were sent).
        recipes: name, title, state ("playing", "loading", "here", "absent"), size, licence, vram, problem (why it
            is absent), failed (why its last download failed).
        engines: name (for `engine/stop`), node, device, state, on, fps, latency, memory.
        prompt_picture: source (what the image prompt shows), name (if it has one); no row if the recipe has none.
        """
        return {"inputs": tuple(self._inputs_rows()), "sinks": self._outputs.rows(now),
                "recipes": tuple(self._recipes()), "prompt_picture": self._picture.rows(),
                "engines": self._engines.rows(now), **self._audience.lists()}

    def status(self) -> dict[str, Value]:
        """Entries of the status that change often.

        fetch: the download of a recipe in words; "" if there is none.
        fetching: the name of that recipe.
        fetched: how much of it is here, in percent.
        record, record_seconds, record_free: the file that is being recorded, for how long, and the GB that are free.
        engines: how many of several engines render.
        target_fps: the rate of rendered frames that the show asks for.
        """
        return {
            "fetch": self._fetch.describe(), "fetching": self._fetch.name, "fetched": round(100 * self._fetch.share),
            "target_fps": self._show.target_fps or self._show.fps,
            "engines": self._engines.describe(), **self._outputs.recording(), **self._audience.status(),
        }

    def _inputs_rows(self) -> Iterator[Row]:
        yield _describe_input(self._inputs.source)
        if self._show.can_guide:
            yield _describe_input(self._inputs.guide)

    def _recipes(self) -> Iterator[Row]:
        state = self._switcher.transition.state
        loading = state.asked or state.loading
        for name, recipe in self._switcher.recipes.items():
            if state.playing.recipe.name == recipe.name:
                word = "playing"
            elif loading is not None and loading.name == recipe.name:
                word = "loading"
            else:
                word = "absent" if name in self._shelf.absent else "here"
            yield {**_describe_recipe(name, recipe), "state": word,
                   "problem": self._shelf.absent.get(name, ""), "failed": self._fetch.problems.get(name, "")}


def _describe_recipe(name: str, recipe: Recipe) -> Mapping[str, Value]:
    return {"name": name, "title": recipe.title or recipe.pipeline, "size": recipe.download,
            "licence": recipe.licence, "vram": recipe.vram}


def _describe_input(live: LiveSource) -> Row:
    runner = live.runner
    return {"kind": live.kind, "name": live.name, "label": runner.label if runner else "none",
            "state": runner.state if runner else "none",
            "opening": live.wanted if live.wanted != live.name else "", "error": live.error}
