"""Look: the state of a show that a run restores after a power cut."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lcm_daemon.core.frame import Size
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.render_size import is_render_size
from lcm_daemon.recipes.recipe import Recipe

LATEST = 2**40  # seconds since 1970 that a time may have
_VALUE = "value/"  # before a parameter's name, where the look is one flat mapping


@dataclass(frozen=True)
class Look:
    """The recipe, the values that were set, and the place in the cue list.

    Attributes:
        recipe: name of the recipe.
        size: size that the recipe renders, in pixels.
        cue: name of the current cue, or an empty string.
        values: target value of each parameter that was set, by name.
        scheduled: when the time came that the schedule of cues carried out last, in seconds since 1970; 0 if none.
        modulators: the modulators, as `ModulatorBank.saved` returns them; None for those of the show's file.
        source: name of the source, or an empty string for the show's own; guide: the same for the guide.
        hours: what the opening hours keep, see `Automation.keep_hours`.
    """

    recipe: str
    size: Size
    cue: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    scheduled: float = 0.0
    source: str = ""
    guide: str = ""
    modulators: Sequence[Mapping[str, Any]] | None = None
    hours: Mapping[str, Any] = field(default_factory=dict)

    def recipe_to_start(self, recipes: Mapping[str, Recipe], otherwise: Recipe) -> Recipe:
        """Return the recipe of this look in its size, or `otherwise` if the show no longer has it."""
        found = recipes.get(self.recipe, otherwise)
        return replace(found, size=self.size) if found.name == self.recipe else found

    def flat(self) -> dict[str, Any]:
        """Return the look as one flat mapping, which JSON can express and `read_look` reads."""
        fields = {name: value for name, value in vars(self).items() if name not in ("values", "size")}
        return {**fields, "size": list(self.size), **{f"{_VALUE}{name}": value for name, value in self.values.items()}}


def read_look(found: Mapping[str, Any]) -> Look:
    """Read a mapping that `Look.flat` has made. Values are held to their parameters when they are restored.

    Raises:
        ValueError: A key is missing, or its value is not of its kind. The message says which.
    """
    texts = {name: _checked(name, found.get(name, ""), str) for name in ("recipe", "cue", "source", "guide")}
    scheduled = float(_checked("scheduled", found.get("scheduled", 0.0), (int, float)))
    if not 0.0 <= scheduled < LATEST:
        raise ValueError(f"scheduled is {scheduled!r:.40}")
    size = _checked("size", found.get("size"), list)
    if not (len(size) == 2 and all(type(side) is int for side in size) and is_render_size(*size)):
        raise ValueError(f"size {size!r:.40} is not one of a picture")
    rows = found.get("modulators")
    if rows is not None and not all(isinstance(row, dict) for row in _checked("modulators", rows, list)):
        raise ValueError("modulators are not mappings")
    hours = _checked("hours", found.get("hours", {}), dict)
    values = {name.removeprefix(_VALUE): value for name, value in found.items() if name.startswith(_VALUE)}
    for name, value in values.items():
        if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{name} has the value {value!r:.40}")
    return Look(**texts, size=(size[0], size[1]), values=values, scheduled=scheduled, modulators=rows,
                hours=hours)


def _checked(name: str, value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {value!r:.40}")
    return value
