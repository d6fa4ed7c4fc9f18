"""The MIDI maps of a show as plain data, for the sheets of its devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lcm_daemon.exports.surface import MappedDevice, MidiLine, label_of

ANY_DEVICE = "any device"


def midi_devices(options: Mapping[str, Any] | None) -> tuple[MappedDevice, ...]:
    """The devices of `midi:`, each with the lines that are for it. A map without devices is one of any device."""
    if options is None:
        return ()
    from lcm_daemon.controllers.midi.port_names import matches_name

    devices: Sequence[Mapping[str, Any]] = options["devices"] or ({"name": ANY_DEVICE, "map": None},)
    return tuple(MappedDevice(device["name"], device["map"] or "", tuple(
        line for pattern, line in _lines(options) if matches_name(pattern, device["name"]))) for device in devices)


def _lines(options: Mapping[str, Any]) -> Iterator[tuple[str, MidiLine]]:
    """Every line of the map and of its banks, and the pattern of the devices that it is for."""
    for bank, bindings in {"": options["map"], **options["banks"]}.items():
        for binding in bindings:
            target = f"{_target(binding)} (bank {bank})" if bank else _target(binding)
            each = tuple(map(str, binding.values)) if len(binding.numbers) > 1 else ()
            yield binding.device, MidiLine(binding.kind, binding.numbers, binding.channel, target, binding.to, each)


def _target(binding: Any) -> str:
    """What a line does, for people: "Strength 0.2 to 0.9"."""
    if binding.bank:
        return f"Bank {binding.bank}"
    words = [label_of(binding.to or binding.command), *map(str, binding.arguments)]
    if len(binding.values) == 1:
        words.append({True: "on", False: "off"}.get(binding.values[0], str(binding.values[0])))
    elif binding.span:
        words.append("{:g} to {:g}".format(*binding.span))
    return " ".join(words)
