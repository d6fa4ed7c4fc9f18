"""A stand-in for the stage, for tests of one controller."""

from __future__ import annotations

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.requests import RequestQueue


def echo(controls: ControlState) -> RequestQueue:
    """Pop the requests, send every requested change back to the control state, and return the requests."""
    requests = controls.pop_requests()
    controls.apply_update(list(requests.changes.values()), None)
    return requests
