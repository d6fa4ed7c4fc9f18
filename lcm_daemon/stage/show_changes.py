"""What was changed while a show played, as changes of its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lcm_daemon.automation.modulator_bank import ModulatorBank
from lcm_daemon.automation.schema import MODULATOR
from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.parameters import DRAW, Value
from lcm_daemon.recipes.reader import recipe_names
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.recipe_switcher import RecipeSwitcher
from lcm_daemon.shows.show import Show
from lcm_daemon.shows.show_edits import ShowEdits
from lcm_daemon.stage.inputs import Inputs
from lcm_daemon.transports import load
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.transports.source_table import OWN

NOT_SAVED = frozenset({"freeze", "blackout", "master"})  # a show begins with a picture that moves
_DIGITS = 6  # of a number: faders and OSC send more than anyone sets


def show_changes(
    show: Show, recipe: Recipe, switcher: RecipeSwitcher, parameters: Parameters, bank: ModulatorBank, prompts: Rows,
    inputs: Inputs,
) -> ShowEdits:
    """What differs from the show's file: values, the recipe, sources, modulators and prompts, but for bindings.

    Args:
        show: The show.
        recipe: The recipe that plays.
        switcher: Knows the size that this recipe has without a change.
        parameters: The live values.
        bank: The modulators.
        prompts: The bank of prompts: `number` and `text`.
        inputs: Source and guide.
    """
    changed = [live for live in (inputs.source, inputs.guide) if live.name != OWN]
    copies = {live.kind: live.name for live in changed if live.name in show.sources}
    sections: dict[str, Any] = {live.kind: _source(live.config) for live in changed
                                if live.name not in show.sources and live.config is not None}
    names_recipe = recipe.name in recipe_names() and recipe.name not in show.recipes
    if recipe.name != show.recipe.name and names_recipe:
        sections["recipe"] = recipe.name
    if (modulators := bank.saved()) is not None:
        sections["modulation"] = [_modulator(row, parameters.targets()) for row in modulators]
    if (texts := _texts(prompts)) != show.prompts:
        sections["prompts"] = list(texts)
    start = show.start_values(recipe if "recipe" in sections else show.recipe)
    left_out = NOT_SAVED | ({name for name in start if name.startswith("mod/")} if "modulation" in sections else set())
    values = {name: _rounded(value) for name, value in parameters.targets().items()
              if name in start and name not in left_out and value != start[name]
              and not _is_drawn(parameters, name, start[name])}
    is_saved = names_recipe or recipe.name == show.recipe.name
    return ShowEdits({name: value for name, value in values.items() if value != start[name]}, sections,
                     recipe.size if is_saved and recipe.size != switcher.own_size(recipe.name) else None, copies)


def _is_drawn(parameters: Parameters, name: str, start: Value) -> bool:
    """Whether the value is the random number that the show asks for; its next start asks for another one."""
    return parameters.table[name].draws and start == DRAW and parameters.is_untouched(name)


def _source(config: EndpointConfig) -> dict[str, Any]:
    """A source that was found by its name, as the show's file has it: without what is as usual."""
    source = load(config.transport).source
    assert source is not None
    own = {key: value for key, value in config.options.items() if value != source.fields[key].default}
    return {"transport": config.transport, **own}


def _rounded(value: Value) -> Value:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _texts(prompts: Rows) -> Sequence[str]:
    """The prompts by their places; a place without one is an empty text."""
    by_place = {int(row["number"]): str(row["text"]) for row in prompts}
    return tuple(by_place.get(place, "") for place in range(1, max(by_place, default=0) + 1))


def _modulator(row: Mapping[str, Any], values: Mapping[str, Value]) -> dict[str, Any]:
    """A modulator as the show's file has it: with its live values, and without what is as usual."""
    live = {key: values.get(f"mod/{row['name']}/{key}", value) for key, value in row.items()}
    return {key: _rounded(live[key]) for key, spec in MODULATOR.items() if key in live and live[key] != spec.default}
