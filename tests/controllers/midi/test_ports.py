"""Ports: the device of a port, failures, and slow devices."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from mido import Message

from lcm_daemon.controllers.midi import ports
from lcm_daemon.controllers.midi.port_names import DevicePattern, DevicePort
from lcm_daemon.controllers.midi.ports import MidiPorts
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import Metrics
from tests.rigs.midi import PATIENCE, Plugboard, PlugboardPort, need_rtmidi


class OpenPorts:
    """MidiPorts, with a record of their calls."""

    def __init__(self, patterns: Sequence[DevicePattern], connect: Callable[[], Plugboard]) -> None:
        self.received: list[tuple[int, str, Message]] = []
        self.here: dict[int, list[str]] = {}
        self.metrics = Metrics()
        self.ports = MidiPorts(patterns, connect, self._on_message, self._on_ports, self.metrics)

    def _on_message(self, device: int, port: DevicePort, when: float, message: Message) -> None:
        assert abs(time.perf_counter() - when) < PATIENCE
        self.received.append((device, str(port), message))

    def _on_ports(self, device: int, inputs: Sequence[DevicePort], outputs: Sequence[DevicePort]) -> None:
        self.here[device] = list(map(str, inputs))

    def until(self, condition: Callable[[], object]) -> None:
        end = time.perf_counter() + PATIENCE
        while not condition():
            assert time.perf_counter() < end
            time.sleep(0.005)


@contextmanager
def opened(controls: Plugboard, *patterns: str | DevicePattern) -> Iterator[OpenPorts]:
    one = OpenPorts([DevicePattern(p) if isinstance(p, str) else p for p in patterns], lambda: controls)
    one.ports.start()
    try:
        yield one
    finally:
        one.ports.stop()


def test_a_port_belongs_to_the_first_pattern_that_it_matches() -> None:
    controls = Plugboard("nanoKONTROL2 1", "Pad", "APC40")
    with opened(controls, "nano*", "*") as one:
        one.until(lambda: one.here == {0: ["nanoKONTROL2 1"], 1: ["Pad", "APC40"]})
        controls.play(0xB0, 1, 2, name="APC40")
        controls.play(0xB0, 1, name="APC40")  # not a whole one
        assert one.received == [(1, "APC40", Message("control_change", control=1, value=2))]
        assert one.metrics.counts() == {"midi/malformed": 1}


def test_all_devices_do_not_include_our_own_ports() -> None:
    controls = Plugboard("Midi Through:Midi Through Port-0 14:0", "RtMidiOut Client:x", "lcm-daemon:lcm-daemon", "Pad")
    with opened(controls, "*") as one:
        one.until(lambda: one.here == {0: ["Pad"]})
    with opened(controls, "Midi Through*") as one:
        one.until(lambda: len(one.here.get(0, ())) == 1)


@pytest.mark.slow
def test_a_device_that_another_program_holds_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    class Held(Plugboard):
        held = True

        def open_input(self, name: str, on_data: Callable[[Sequence[int]], None], place: int = 0) -> PlugboardPort:
            if self.held:
                raise OSError("in use")
            return super().open_input(name, on_data, place)

    controls = Held("Pad")
    with caplog.at_level(logging.WARNING), opened(controls, "Pad") as one:
        one.until(lambda: one.metrics.counts().get("midi/failed"))
        controls.held = False
        one.until(lambda: one.here.get(0) == ["Pad"])
    assert caplog.messages[0] == "MIDI: cannot open 'Pad': in use"


def test_a_slow_device_does_not_block_the_sender() -> None:
    gate = threading.Event()

    class Slow(PlugboardPort):
        def send(self, message: bytes) -> None:
            gate.wait(PATIENCE)
            super().send(message)

    class SlowBoard(Plugboard):
        def open_output(self, name: str, place: int = 0) -> PlugboardPort:
            return Slow(self, name, is_input=False)

    controls = SlowBoard("Pad")
    with opened(controls, "Pad") as one:
        one.until(lambda: one.here)
        begun = time.perf_counter()
        for value in range(1000):
            one.ports.send(0, {"fader": [bytes((0xB0, 1, value & 127))]})
        assert time.perf_counter() - begun < PATIENCE / 2
        gate.set()
        one.until(lambda: ("Pad", (0xB0, 1, 999 & 127)) in controls.sent)
        assert len(controls.sent) <= 3  # of the others the newest alone


@pytest.mark.slow
def test_a_midi_system_that_breaks_is_found_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ports, "RECONNECT", 0.05)
    controls = Plugboard("Pad")
    with caplog.at_level(logging.WARNING), opened(controls, "Pad") as one:
        one.until(lambda: one.here.get(0) == ["Pad"])
        controls.broken = OSError("the server has gone")
        one.until(lambda: one.here.get(0) == [])
        one.until(lambda: one.metrics.counts().get("midi/missing", 0) > 3)
        controls.broken = None
        one.until(lambda: one.here.get(0) == ["Pad"])
    assert caplog.messages == ["MIDI: the server has gone; the show runs without MIDI"]  # once


def test_stopping_closes_everything_and_sends_what_waits() -> None:
    controls = Plugboard("Pad")
    with opened(controls, "Pad") as one:
        one.until(lambda: one.here)
        one.ports.send(0, {"lamp": [b"\x90\x01\x00"]})
    assert controls.inputs == {}
    assert controls.sent == [("Pad", (0x90, 1, 0))]


def test_a_machine_without_a_sequencer_has_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    need_rtmidi()
    monkeypatch.setattr(ports.sys, "platform", "linux")
    monkeypatch.setattr(ports.Path, "exists", lambda path: False)
    with pytest.raises(LcmDaemonError, match="no /dev/snd/seq"):
        ports.RtMidi()
