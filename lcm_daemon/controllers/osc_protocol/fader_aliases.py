"""Addresses of faders: for programs that send 0 to 1 for everything, such as Resolume, HeavyM and VDMX."""

from __future__ import annotations

from lcm_daemon.controllers.osc_protocol.aliases import Alias, MapEntry
from lcm_daemon.core.osc_names import FADER
from lcm_daemon.core.parameters import Table

LOGARITHMIC_CURVE = "exp"  # of parameters whose faders are finer near `low`


def fader_aliases(table: Table) -> dict[str, tuple[Alias, ...]]:
    """The aliases of every parameter but texts at /lcm/fader/NAME, by address: 0 to 1 is the whole of its range."""
    found: dict[str, tuple[Alias, ...]] = {}
    for name, parameter in table.items():
        if parameter.kind != "text":
            curve = LOGARITHMIC_CURVE if parameter.logarithmic else None
            entry = MapEntry(FADER + name, name, input_range=(0.0, 1.0), curve=curve)
            found[entry.address] = (entry.alias(parameter),)
    return found
