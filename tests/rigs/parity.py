"""A show with every parameter and command, its desk, and a new value for each parameter."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from lcm_daemon.automation.modulation import FOLLOWER, WAVES
from lcm_daemon.core.learning import Learning
from lcm_daemon.core.parameters import Parameter, Table, Value
from lcm_daemon.core.requests import CommandRequest, commands
from lcm_daemon.recipes.reader import recipe_names
from lcm_daemon.shows.reader import load_show
from tests.rigs.daemon import free_port
from tests.rigs.desk import Stage, running

RECIPE = {  # everything that a recipe can add to the table
    "base": "builtin",
    "image_prompt": {"model": "some/adapter/adapter.safetensors", "encoder": "some/adapter/encoder"},
}
MODULATION = [{"name": wave, "to": "strength", "wave": wave} for wave in (*WAVES, FOLLOWER)]
TEXT = "parity"  # the value given to a text parameter
TAGS: Mapping[str, str] = {"float": "f", "int": "i", "bool": "T", "text": "s", "choice": "s"}
BUTTONS = 16  # the MIDI channel of the commands' keys
OF_THE_DESK = {  # commands that the desk carries out, and the method that does
    "learn/start": "start", "learn/accept": "accept", "learn/cancel": "cancel", "learn/range": "set_range",
    "learn/curve": "set_curve", "learn/remove": "remove"}


def other(parameter: Parameter, than: Value) -> Value:
    """A value in this parameter's range that is well away from `than`."""
    if parameter.kind == "text":
        return TEXT if than != TEXT else f"more {TEXT}"
    if parameter.choices:
        return next(choice for choice in parameter.choices if choice != than)
    if parameter.kind == "bool":
        return not than
    low, high = (end if math.isfinite(end) else 1.0 for end in (parameter.low, parameter.high))
    found = [parameter.coerce(low + share * (min(high, 2**31 - 1) - low)) for share in (0.25, 0.75)]
    return max(found, key=lambda value: abs(float(value) - float(than)))


def tag_of(parameter: Parameter) -> str:
    """Its OSC type."""
    return TAGS[parameter.kind]


COMMANDS = commands(recipe_names())
ARGUMENTS: Mapping[str, tuple[Value, ...]] = {
    name: tuple(12.0 if each.unit == "s" else other(each, each.default) for each in command.arguments)
    for name, command in COMMANDS.items()}  # seconds: 1 and 100 are what buttons send


def control_of(place: int) -> tuple[int, int]:
    """MIDI channel (from 1) and controller or key number for the parameter at this place in the table."""
    return place // 100 + 1, place % 100


def write_show(folder: Path, **keys: Any) -> Path:
    file = folder / "parity.yaml"
    file.write_text(yaml.safe_dump({"recipe": RECIPE, "modulation": MODULATION, **keys}))
    return file


def table_of_show(folder: Path) -> Table:
    show = load_show(write_show(folder))
    return show.table(show.recipe)


@dataclass(frozen=True)
class Ports:
    osc: int
    oscquery: int
    panel: int


@asynccontextmanager
async def desk(folder: Path, more: Sequence[Parameter] = (), **keys: Any) -> AsyncIterator[tuple[Stage, Ports]]:
    """The show's desk with every controller, on free ports; `more` are parameters in addition to the show's.

    The stage's `calls` have the desk's own commands too, which are not carried out.
    """
    table = [*table_of_show(folder).values(), *more]
    ports = Ports(free_port(), free_port(), free_port())
    sections = {"osc": {"port": ports.osc}, "oscquery": {"port": ports.oscquery}, "panel": {"port": ports.panel},
                "midi": {"devices": [{"name": "Pad"}], "map": [*_faders(table), *_buttons()]}}
    calls: list[CommandRequest] = []
    learning = {method: _recorder(name, calls) for name, method in OF_THE_DESK.items()}
    with mock.patch.multiple(Learning, **learning):
        async with running(write_show(folder, **sections, **keys), more) as stage:
            stage.calls = calls
            yield stage, ports


def _recorder(name: str, calls: list[CommandRequest]) -> Any:
    """A method in place of one that carries out a command of the desk."""
    def record(self: Learning, origin: str = "", arguments: Sequence[Value] = ()) -> None:
        if origin:  # the desk itself cancels learning without one
            calls.append(CommandRequest(name, origin, tuple(arguments)))

    return record


def _faders(table: Sequence[Parameter]) -> list[dict[str, Any]]:
    lines = []
    for place, parameter in enumerate(table):
        channel, number = control_of(place)
        text = {"note": number, "value": TEXT}
        fader = {"cc": number, "takeover": "jump"}
        lines.append({"to": parameter.name, "channel": channel, **(text if parameter.kind == "text" else fader)})
    return lines


def _buttons() -> list[dict[str, Any]]:
    return [{"note": place, "channel": BUTTONS, "command": name, "with": list(ARGUMENTS[name])}
            for place, name in enumerate(COMMANDS)]
