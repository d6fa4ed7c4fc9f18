"""DMX over the network: lighting desks move parameters and start cues by Art-Net and sACN.

    dmx:
      universe: 1                                # of lines that name none; Art-Net counts from 0, sACN from 1
      map:
        - {channel: 1, to: strength, range: [0.2, 0.9], curve: exp}
        - {channel: [2, 3], to: mix}                                   # 16 bits
        - {channel: 4, to: mode, values: [image, text], from: [0, 128]}
        - {channel: 5, to: freeze, button: toggle}                     # from level 128 on
        - {channel: 6, command: cue/go}
        - {channel: 7, command: cue/goto, values: [intro, drop, end]}  # three parts of the channel; level 0: nothing
      on_loss: zero

line.py lists the keys of a line. Several senders of a universe are merged (universe.py). Where the last one goes, the
values stay. Consoles that look for Art-Net nodes find the daemon.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from lcm_daemon.controllers.base import Controller
from lcm_daemon.controllers.dmx.options import FIELDS
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.schema import Fields


class Dmx(Controller):
    """The DMX controller."""

    fields: ClassVar[Fields] = FIELDS

    def __init__(
        self, controls: ControlState, options: Mapping[str, Any], clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        from lcm_daemon.controllers.dmx.listener import DmxListener  # shows without DMX need its keys alone

        super().__init__(controls, options)
        self.listener = DmxListener(controls, self.options, clock)

    async def start(self) -> None:
        """Listen. Raises LcmDaemonError if no port can be bound; with one of two, DMX works by that protocol."""
        await self.listener.start()

    async def stop(self) -> None:
        await self.listener.stop()
