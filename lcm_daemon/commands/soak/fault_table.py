"""The faults of a soak, in the order in which they are caused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lcm_daemon.commands.soak import (
    desk_faults,
    engine_faults,
    machine_faults,
    network_faults,
    sink_faults,
    source_faults,
    state_faults,
)
from lcm_daemon.commands.soak.scene import Fault
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.suggestions import nearest

FAULTS: Mapping[str, Fault] = {
    fault.name: fault for module in (engine_faults, source_faults, desk_faults, sink_faults, network_faults,
                                     state_faults, machine_faults)
    for fault in module.FAULTS
}


def chosen(names: Sequence[str]) -> list[Fault]:
    """The faults of these names; without a name, all of those that are caused by default.

    Raises:
        LcmDaemonError: A name is not known.
    """
    for name in names:
        if name not in FAULTS:
            raise LcmDaemonError(f"--only: no fault {name!r:.80}{nearest(name, list(FAULTS))}; faults are "
                                 f"{', '.join(FAULTS)}")
    return [fault for name, fault in FAULTS.items() if (name in names if names else fault.by_default)]
