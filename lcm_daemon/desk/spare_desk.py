"""The process that becomes a desk. The command line imports this module before everything else."""

from __future__ import annotations

from lcm_daemon.processes.prestarted import Prestarted

NAME = "lcm-desk"
MODULES = ("lcm_daemon.desk.desk", "lcm_daemon.controllers.osc.controller", "lcm_daemon.controllers.panel.server",
           "lcm_daemon.controllers.panel.controller", "lcm_daemon.controllers.midi.controller",
           "lcm_daemon.controllers.oscquery.controller",
           # what uvicorn imports when a server starts: half of the time until a desk is open
           "uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto", "uvicorn.lifespan.off", "encodings.idna")


def start_desk_process() -> Prestarted:
    """A process that imports the desk's modules. Raises OSError if the system has no room for it."""
    return Prestarted(NAME, MODULES)
