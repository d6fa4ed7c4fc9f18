"""What the indicators of a device (lamps, rings, motor faders) show, and the queue to send it without flooding it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence

from lcm_daemon.controllers.midi.binding import Binding
from lcm_daemon.controllers.midi.buttons import button_values, value_index
from lcm_daemon.controllers.midi.messages import Control, encode
from lcm_daemon.controllers.midi.takeover import scale_of
from lcm_daemon.core.parameters import Parameter, Value

SEND_INTERVAL = 0.02  # seconds that changes are collected; only the newest value of an indicator is sent

IndicatorValue = tuple[Control, int]  # an indicator and its raw value
SendMessages = Callable[[int, Mapping[object, Sequence[bytes]]], None]


def indicator_values(
    binding: Binding, parameter: Parameter | None, value: Value, bank: str, channel: int
) -> Iterator[IndicatorValue]:
    """Yield what each indicator of a binding shows: a share of its range, or the low or high end for a button.

    Args:
        binding: The binding.
        parameter: The target, or None for a bank or an unknown parameter.
        value: The parameter's value.
        bank: The active bank.
        channel: The channel for a binding that matches any.

    Raises:
        Refused: The binding does not suit the parameter.
    """
    target = binding.feedback
    if target is None or (parameter is None and not binding.bank):
        return
    shares = _shares(binding, parameter, value, bank)
    for number, share in zip(target.numbers, shares, strict=False):
        raw = round(target.low + (target.high - target.low) * share)
        yield Control(target.kind, number, target.channel or binding.channel or channel), raw


def _shares(binding: Binding, parameter: Parameter | None, value: Value, bank: str) -> list[float]:
    """A number in [0, 1] for each of a binding's controls."""
    if parameter is None:
        return [float(binding.bank == bank)]
    if binding.action in ("toggle", "momentary"):
        return [float(value_index(button_values(binding, parameter), value) == 1)]
    if binding.action == "set":
        return [float(parameter.coerce(binding.values[0]) == value)]
    if binding.action == "radio":
        pressed = value_index(button_values(binding, parameter), value)
        return [float(i == pressed) for i in range(len(binding.numbers))]
    if parameter.kind == "text":
        return []
    return [scale_of(parameter, binding.span, binding.curve).position(value)]


class FeedbackQueue:
    """Collects indicator values, and sends those of each device every SEND_INTERVAL.

    Args:
        send: Sends messages to a device (`MidiPorts.send`).
    """

    def __init__(self, send: SendMessages) -> None:
        self._send = send
        self._waiting: dict[int, dict[Control, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, device: int, values: Mapping[Control, int]) -> None:
        """Queue indicator values for a device."""
        if not values:
            return
        self._waiting.setdefault(device, {}).update(values)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SEND_INTERVAL, self._flush)

    def close(self) -> None:
        """Drop waiting values and send nothing more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, {}
        for device, values in waiting.items():
            self._send(device, {control: encode(control, raw) for control, raw in values.items()})
