"""Feedback: what lamps, rings and motor faders are sent, gathered so that a device is not flooded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence

from lcm_daemon.controllers.midi.binding import Binding
from lcm_daemon.controllers.midi.buttons import state, states
from lcm_daemon.controllers.midi.messages import Control, encode
from lcm_daemon.controllers.midi.takeover import scale_of
from lcm_daemon.core.parameters import Parameter, Value

INTERVAL = 0.02  # seconds that changes are gathered before they are sent; of several of one lamp the newest counts

Lamp = tuple[Control, int]
Transmit = Callable[[int, Mapping[object, Sequence[bytes]]], None]


def lamps(
    binding: Binding, parameter: Parameter | None, value: Value, bank: str, channel: int
) -> Iterator[Lamp]:
    """What each lamp of a binding shows: a share of its range, or for a button its low or its high end.

    channel: for a binding that fits any. Raises Refused where the binding does not suit the parameter.
    """
    where = binding.feedback
    if where is None or (parameter is None and not binding.bank):
        return
    shares = _shares(binding, parameter, value, bank)
    for number, share in zip(where.numbers, shares, strict=False):
        raw = round(where.low + (where.high - where.low) * share)
        yield Control(where.kind, number, where.channel or binding.channel or channel), raw


def _shares(binding: Binding, parameter: Parameter | None, value: Value, bank: str) -> list[float]:
    """From 0 to 1, for each of a binding's controls."""
    if parameter is None:
        return [float(binding.bank == bank)]
    if binding.manner in ("toggle", "momentary"):
        return [float(state(states(binding, parameter), value) == 1)]
    if binding.manner == "set":
        return [float(parameter.coerce(binding.values[0]) == value)]
    if binding.manner == "radio":
        found = states(binding, parameter)
        return [float(i == state(found, value)) for i in range(len(binding.numbers))]
    if parameter.kind == "text":
        return []
    return [scale_of(parameter, binding.span, binding.curve).position(value)]


class Outbox:
    """What is to be told to each device, sent every INTERVAL. `transmit` is Ports.send."""

    def __init__(self, transmit: Transmit) -> None:
        self._transmit = transmit
        self._waiting: dict[int, dict[Control, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, device: int, told: Mapping[Control, int]) -> None:
        """Send to a device, shortly."""
        if not told:
            return
        self._waiting.setdefault(device, {}).update(told)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._flush)

    def close(self) -> None:
        """Send nothing more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, {}
        for device, told in waiting.items():
            self._transmit(device, {control: encode(control, raw) for control, raw in told.items()})
