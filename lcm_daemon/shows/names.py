"""ShowNames: what the lines of a show may name. A show with mistakes has names too: `check` reports all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lcm_daemon.automation.modulation import Modulator
from lcm_daemon.core.frame import Size
from lcm_daemon.core.parameters import Table
from lcm_daemon.core.requests import Commands, commands
from lcm_daemon.recipes.reader import recipe_names
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.shows.show import find_recipe, parameter_table
from lcm_daemon.transports.endpoint import EndpointConfig, switch_names

_PARTS = ("lora/", "control/", "image_prompt", "mod/", "sink/")  # of recipes, modulators and sinks of the show's own


@dataclass(frozen=True)
class ShowNames:
    """Names of a show. Of a show with mistakes, those that could be read.

    Attributes:
        file: The show's file.
        recipe: The recipe that it starts with; None if that has a mistake.
        recipes: Its other recipes, by the names that it gives them; None for those with a mistake.
        modulators: Its modulators.
        sinks: Its sinks.
        sources: Names of its sources, also of those with a mistake.
        cues: Names of its cues, also of those with a mistake.
        banks: Names of its MIDI banks.
        prompts: Length of its bank of prompts.
        slate: Path of an image file; may be empty.
        max_size: Its `network.max_size`.
        is_whole: Whether it has no mistakes, so that it has no other names.
    """

    file: Path
    recipe: Recipe | None
    recipes: Mapping[str, Recipe | None]
    modulators: Sequence[Modulator]
    sinks: Sequence[EndpointConfig]
    sources: Sequence[str]
    cues: Sequence[str]
    banks: Sequence[str]
    prompts: int
    slate: str
    max_size: Size | None
    is_whole: bool

    @cached_property
    def commands(self) -> Commands:
        own = [self.recipe.name] if self.recipe else []
        names = dict.fromkeys([*recipe_names(), *own, *self.recipes])
        return commands(tuple(names), tuple(switch_names(self.sinks)), self.max_size)

    @cached_property
    def table(self) -> Table:
        """The parameters of every recipe that the show may change to."""
        own = {name: recipe for name, recipe in self.recipes.items() if recipe}
        found = [find_recipe(name, self.recipe, own) for name in dict.fromkeys([*recipe_names(), *own])]
        return parameter_table([recipe for recipe in (self.recipe, *found) if recipe], self.modulators)

    def may_exist(self, name: str) -> bool:
        """Whether a parameter or command may have this name: one that is known, or one of a part with a mistake."""
        return name in self.table or name in self.commands or (not self.is_whole and name.startswith(_PARTS))
