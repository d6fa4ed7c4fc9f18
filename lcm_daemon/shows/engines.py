"""The show's keys `engine` and `engines`: what every engine has, how many there are, and where."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Boolean, Choice, Custom, Field, Fields, Items, Number, Section
from lcm_daemon.core.schema_shapes import Either
from lcm_daemon.recipes.engine_defaults import ENGINE_DEFAULTS
from lcm_daemon.recipes.reader import FIELDS as RECIPE_FIELDS
from lcm_daemon.recipes.registry import AUTO
from lcm_daemon.render.engine_place import RAW, WIRES, EnginePlace

MOST_ENGINES = 64
_RAY_KEYS = ("gpus", "wire", "token")
LOADED = "loaded"  # in place of `true`
SPARES = f"true, false or {LOADED}"
WANTED = "auto, {device: cuda:0}, {ray: auto, engines: 4}, or a list of such mappings"
_ADDRESS = re.compile(r"(ray://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")


@dataclass(frozen=True)
class EngineGroup:
    """Some engines in one place.

    Attributes:
        device: Device, as in recipes; AUTO for every graphics card of this machine; "" with `ray`.
        ray: Address of a Ray cluster, or AUTO; "" for processes of this machine.
        engines: How many; not counted with the device AUTO.
        gpus: GPUs that each engine on the cluster claims.
        wire: How frames travel to the cluster and back, one of WIRES.
        token: Whether the cluster must authenticate by token.
    """

    device: str = AUTO
    ray: str = ""
    engines: int = 1
    gpus: float = 0.0
    wire: str = RAW
    token: bool = True

    def describe(self) -> str:
        """In words, for the opening screen."""
        if self.ray:
            where = "of this machine" if self.ray == AUTO else f"at {self.ray}"
            return f"{self.engines} on the Ray cluster {where}"
        if self.device == AUTO:
            return "one for every graphics card"
        return f"{self.engines} on {self.device}"


def _read_address(node: Node, problems: Problems) -> str | None:
    text = node.raw.value if isinstance(node.raw, yaml.ScalarNode) else ""
    match = _ADDRESS.fullmatch(text)
    if text == AUTO or (match and 0 < int(match[3]) < 65536):
        return text
    problems.add(node, f"ray is auto or the address of a cluster such as \"10.0.0.5:10001\", not {node.value!r:.80}")
    return None


_GROUP: Fields = {
    "device": Field(RECIPE_FIELDS["device"].kind, "", "a device of this machine; auto for every graphics card"),
    "ray": Field(Custom(_read_address, "auto, or host:port"), "", "a Ray cluster: auto for the one of this machine"),
    "engines": Field(Number(1, MOST_ENGINES, whole=True), 1, "how many engines"),
    "gpus": Field(Number(0, 16), None, "GPUs that each engine on the cluster claims; without it, 1 unless the device "
                  "is cpu"),
    "wire": Field(Choice(WIRES), None, "how frames travel to the cluster and back: jpeg, with a small loss, where the "
                  "network is the limit"),
    "token": Field(Boolean(), None, "false lets the show use a cluster that anyone may use who reaches it"),
}


def _read_group(node: Node, problems: Problems) -> EngineGroup | None:
    """One mapping."""
    before = len(problems)
    found = Section(_GROUP).read(node, problems)
    if found is None or len(problems) > before:
        return None
    if not found["ray"] and not found["device"]:
        problems.add(node, f"an engine needs a device or a cluster: {WANTED}")
    elif not found["ray"] and (misplaced := [key for key in _RAY_KEYS if found[key] is not None]):
        problems.add(node, f"{misplaced[0]} belongs to engines on a Ray cluster; a device of this machine is named by "
                     "`device`")
    elif not found["ray"] and found["device"] == AUTO and found["engines"] > 1:
        problems.add(node, "device auto is one engine for every graphics card; name a device to run several on it")
    else:
        gpus = found["gpus"] if found["gpus"] is not None else float(bool(found["ray"]) and found["device"] != "cpu")
        return EngineGroup(found["device"], found["ray"], int(found["engines"]), gpus, found["wire"] or RAW,
                           found["token"] is not False)
    return None


def _read(node: Node, problems: Problems) -> tuple[EngineGroup, ...] | None:
    if isinstance(node.raw, yaml.ScalarNode):
        if node.value == AUTO:
            return (EngineGroup(),)
        problems.add(node, f"engines is {WANTED}, not {node.value!r:.80}")
        return None
    is_list = isinstance(node.raw, yaml.SequenceNode)
    found: Iterable[Any] = Items(_GROUP_KIND).read(node, problems) if is_list else (_read_group(node, problems),)
    groups = tuple(group for group in found or () if group is not None)
    if sum(group.engines for group in groups) > MOST_ENGINES:
        problems.add(node, f"at most {MOST_ENGINES} engines render a show")
    if is_list and not groups and not problems:
        problems.add(node, f"an empty list renders nothing; engines is {WANTED}")
    return groups


def _read_spare(node: Node, problems: Problems) -> bool | str | None:
    if node.value == LOADED:
        return LOADED
    if isinstance(node.value, bool | int) and node.value in (0, 1):
        return bool(node.value)
    problems.add(node, f"spare is {SPARES}, not {node.value!r:.80}")
    return None


ENGINE: Fields = {
    "deadline": Field(Number(0.1, 3600), 3.0, "seconds without an answer after which the engine counts as hung"),
    "loading_deadline": Field(Number(1, 86_400), 600.0, "seconds without progress after which a loading engine counts "
                              "as hung; a compiler at work is progress"),
    "spare": Field(Custom(_read_spare, SPARES), True, "keep a second engine, for a quick restart: with its libraries "
                   "imported, or `loaded`, with the recipe on the card too, which takes its memory twice"),
    **ENGINE_DEFAULTS,
}

_GROUP_KIND = Custom(_read_group, "a mapping with the key device or ray", Section(_GROUP))
ENGINES = Field(
    Custom(_read, WANTED, Either([Choice((AUTO,)), Section(_GROUP), Items(_GROUP_KIND)])), (),
    "engines that share the frames; without it one, on the device of `engine` and the recipe")


def engine_places(groups: Iterable[EngineGroup], count_cards: Callable[[], int]) -> tuple[EnginePlace, ...]:
    """Every engine's place; that of the recipe where none is given.

    Args:
        groups: The show's key.
        count_cards: Returns the number of graphics cards of this machine. Called if a group needs it.
    """
    places: list[EnginePlace] = []
    for group in groups:
        devices = [group.device] * group.engines
        if group.device == AUTO and not group.ray:
            devices = [f"cuda:{card}" for card in range(min(count_cards(), MOST_ENGINES))] or [""]
        for device in devices:
            number = sum(place.is_remote if group.ray else not place.is_remote and place.device == device
                         for place in places)  # so that no two have one name
            places.append(EnginePlace(device, group.ray, group.gpus, number, group.wire, group.token))
    return tuple(places) or (EnginePlace(),)
