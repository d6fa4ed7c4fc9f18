"""The sessions of those who have entered the pin, for every web server of a desk."""

from __future__ import annotations

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.web.access import Sessions


def shared_sessions(controls: ControlState) -> Sessions:
    """The sessions that a desk's web servers share.

    They outlive the desk. They end with the daemon, and do not count in a show that has another pin.
    """
    store = controls.kept.setdefault("sessions", {})
    return Sessions(
        store, lambda: controls.keep_for_restart("sessions", store), pin=controls.network.access.pin)
