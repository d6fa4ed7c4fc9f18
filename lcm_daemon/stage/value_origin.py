"""Who set each parameter's value last, and what moves it around that value.

A value is determined in this order: the base value of the newest change, the fade towards it, modulation on top, and
last the governor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from lcm_daemon.automation.modulation import FOLLOWER, Modulator
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.origins import describe_origin
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value, Values
from lcm_daemon.core.requests import ParameterState
from lcm_daemon.recipes.recipe import Recipe


def start_origins(names: Iterable[str], set_by_show: Collection[str], recipe: Recipe) -> dict[str, str]:
    """Who determines each parameter's start value: "show", "recipe" or "default".

    Args:
        names: Every parameter's name.
        set_by_show: Names of parameters that the show sets.
        recipe: The recipe that plays.
    """
    set_by_recipe = {*recipe.parameters, *(recipe.table().keys() - TABLE.keys())}
    return {name: "show" if name in set_by_show else "recipe" if name in set_by_recipe else "default" for name in names}


def parameter_states(
    parameters: Parameters, values: Values, governed: Values, start_origins: Mapping[str, str],
    modulators: Sequence[Modulator],
) -> dict[str, ParameterState]:
    """The state of every parameter.

    Args:
        values: Values with modulation.
        governed: The same with the governor's changes.
        start_origins: Who determines the start value of a parameter that was never set.
    """
    states = {}
    for name, base in parameters.targets().items():
        moving = [_describe_modulator(m) for m in modulators if m.to == name and values[f"mod/{m.name}/depth"]]
        governor = ["governor"] if governed[name] != values[name] else []
        setter = describe_origin(parameters.origin(name)) or start_origins.get(name, "default")
        states[name] = ParameterState(base, as_text(governed[name]), ", ".join([setter, *moving, *governor]))
    return states


def describe_last_move(parameters: Parameters) -> str:
    """Who set which parameter last, for the status: "strength: osc 192.168.1.7"; "" if none was set."""
    name = parameters.moved
    return f"{name}: {describe_origin(parameters.origin(name))}" if name else ""


def _describe_modulator(modulator: Modulator) -> str:
    return f"{'follower' if modulator.wave == FOLLOWER else 'lfo'} {modulator.name}"


def as_text(value: Value | Blend) -> Value:
    """A blend as one text: `ocean::0.70 lava::0.30`."""
    if not isinstance(value, Blend):
        return value
    return " ".join(f"{part}::{share:.2f}" for part, share in value.parts)
