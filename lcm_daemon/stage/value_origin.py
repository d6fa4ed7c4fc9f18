"""Authority: who set each parameter last, and what moves it around the value it was set to.

The order is that of automation.py: a base value, which the newest move gives; the fade towards it; modulation on top;
and last the governor, where it asks for less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lcm_daemon.automation.modulation import FOLLOWER, Modulator
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value, Values
from lcm_daemon.core.requests import ParameterState
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.shows.show import Show


def describe(origin: str) -> str:
    """A change's origin as a person says it: "osc/192.168.1.7:52311" is `osc 192.168.1.7`."""
    kind, _, rest = origin.partition("/")
    return _WORDS[kind](rest) if kind in _WORDS else origin


_WORDS: Mapping[str, Callable[[str], str]] = {
    "osc": lambda peer: f"osc {peer.removeprefix('tcp/').rpartition(':')[0]}",
    "oscquery": lambda number: "oscquery",
    "midi": lambda control: f"midi {control.rpartition('/')[0] or control}",
    "panel": lambda number: "page",
    "cue": lambda name: f'cue "{name}"',
    "panic": lambda origin: f"panic, {describe(origin)}",
}


def begun_by(show: Show, recipe: Recipe) -> dict[str, str]:
    """Who says where each parameter starts while this recipe plays: the show, the recipe, or nobody ("default")."""
    shows = {*show.parameters, *(p.name for modulator in show.modulators for p in modulator.parameters())}
    recipes = {*recipe.parameters, *(recipe.table().keys() - TABLE.keys())}
    return {name: "show" if name in shows else "recipe" if name in recipes else "default"
            for name in show.table(recipe)}


def parameter_states(
    parameters: Parameters, moved: Values, governed: Values, begun: Mapping[str, str], modulators: Sequence[Modulator],
) -> dict[str, ParameterState]:
    """Every parameter as it stands. moved: the values with modulation; governed: the same, with the governor's word.

    begun: who says where a parameter starts that nobody has set since.
    """
    found = {}
    for name, base in parameters.targets().items():
        movers = [_mover(m) for m in modulators if m.to == name and moved[f"mod/{m.name}/depth"]]
        governors = ["governor"] if governed[name] != moved[name] else []
        setter = describe(parameters.origin(name)) or begun.get(name, "default")
        found[name] = ParameterState(base, _plain(governed[name]), ", ".join([setter, *movers, *governors]))
    return found


def last_move(parameters: Parameters) -> str:
    """Who moved what last, in a line for the status: "strength: osc 192.168.1.7"; empty while nobody has."""
    name = parameters.moved
    return f"{name}: {describe(parameters.origin(name))}" if name else ""


def _mover(modulator: Modulator) -> str:
    return f"{'follower' if modulator.wave == FOLLOWER else 'lfo'} {modulator.name}"


def _plain(value: Value | Blend) -> Value:
    """What travels as one text: `ocean::0.70 lava::0.30`."""
    if not isinstance(value, Blend):
        return value
    return " ".join(f"{part}::{share:.2f}" for part, share in value.parts)
