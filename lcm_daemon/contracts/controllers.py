"""What every controller has to do, see `lcm_daemon.controllers.base`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from lcm_daemon.contracts.refusals import check_refusal
from lcm_daemon.contracts.transports import check_fields
from lcm_daemon.controllers.base import Controller
from lcm_daemon.core.control_state import ControlState


def check_controller(kind: type[Controller], controls: ControlState, options: Mapping[str, Any]) -> None:
    """Its keys are fields with help, unknown ones are refused, it starts, and it stops also twice or without a start.

    Args:
        kind: The class.
        controls: The state that it reads and changes.
        options: With which it can start here.
    """
    assert isinstance(kind, type), f"{kind!r} is not a class"
    assert issubclass(kind, Controller), f"{kind.__name__} is not a Controller"
    check_fields(kind.__name__, kind.fields)
    check_refusal(lambda: kind(controls, {"no_such_option": 1}), ValueError, "unknown option",
                  f"{kind.__name__} accepts an unknown option")
    asyncio.run(_check_life(kind, controls, options))


async def _check_life(kind: type[Controller], controls: ControlState, options: Mapping[str, Any]) -> None:
    await kind(controls, options).stop()
    controller = kind(controls, options)
    await controller.start()
    await controller.stop()
    await controller.stop()
