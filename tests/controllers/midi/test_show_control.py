"""MSC and MMC become the show's commands; MTC reaches the stage. Messages are those of mido, through the controller."""

from __future__ import annotations

import asyncio

import pytest
from mido import Message

from lcm_daemon.controllers.midi.messages import is_foreign_sysex
from lcm_daemon.controllers.midi.show_control import MachineControl, ShowControl
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.timecode import Timecode
from tests.controllers.timecode.test_mtc import quarter_frames
from tests.rigs.midi import plugged

GO, STOP, RESUME, TIMED_GO, LOAD, RESET = 1, 2, 3, 4, 5, 10


def msc(command: int, text: bytes = b"", device: int = 0x7F, kind: int = 0x01) -> tuple[int, ...]:
    """The data of an MSC message."""
    return 0x7F, device, 2, kind, command, *text


@pytest.mark.parametrize(("data", "found"), [
    (msc(GO), [("cue/go", ())]),
    (msc(GO, b"12.5"), [("cue/goto", ("12.5",))]),
    (msc(GO, b"3\x00" b"1\x00/path"), [("cue/goto", ("3",))]),
    (msc(GO, b"\x00" b"1"), [("cue/go", ())]),  # a list without a cue
    (msc(GO, b"intro"), []),
    (msc(STOP), [("cue/pause", ())]),
    (msc(STOP, b"3"), [("cue/pause", ())]),
    (msc(RESUME), [("cue/resume", ())]),
    (msc(TIMED_GO, bytes([0x20, 1, 2, 5, 0]) + b"7"), [("cue/goto", ("7", 62.2))]),
    (msc(TIMED_GO, bytes([0x60, 0, 3, 15, 0])), [("cue/go", (3.5,))]),
    (msc(TIMED_GO, b"\x00\x00"), []),
    (msc(LOAD, b"4"), [("cue/load", ("4",))]),
    (msc(LOAD), []),
    (msc(RESET), [("panic", ()), ("cue/release", ())]),
    (msc(0x33), []),
    (msc(GO, device=3), [("cue/go", ())]),
    (msc(GO, device=4), []),
    (msc(GO, kind=0x02), [("cue/go", ())]),  # moving lights are lighting
    (msc(GO, kind=0x7F), [("cue/go", ())]),
    (msc(GO, kind=0x10), []),
    ((0x7F, 0x7F, 6, 2), []),
    ((0x7F,), []),
    ((), []),
])
def test_msc(data: tuple[int, ...], found: list[tuple[str, tuple[Value, ...]]]) -> None:
    assert list(ShowControl(3, "lighting").read(data)) == found


@pytest.mark.parametrize(("commands", "paused", "last"), [
    ([2], False, "cue/go"), ([3], False, "cue/go"), ([2], True, "cue/resume"), ([9], False, "cue/pause"),
    ([9, 2], False, "cue/resume"), ([9, 2, 2], False, "cue/go"), ([9, 1, 2], False, "cue/go"),
    ([1], False, "cue/stop"), ([6], False, "record/start"), ([7], False, "record/stop"), ([0x44], False, ""),
])
def test_mmc(commands: list[int], paused: bool, last: str) -> None:
    control, found = MachineControl(None), ""
    for command in commands:
        found = "".join(name for name, _ in control.read((0x7F, 0x7F, 6, command), paused))
    assert found == last


@pytest.mark.parametrize(("commands", "names"), [
    ([0x01, 0x44, 6, 1, 0x61, 0, 10, 0, 0, 0x02], ["cue/stop", "cue/go"]),  # stop, locate, play
    ([0x44, 6, 1, 2, 2, 2, 2, 2], []), ([0x44], []), ([0x44, 0x7F, 2], []), ([0x78, 2], ["cue/go"]),
])
def test_several_mmc_commands_in_one_message(commands: list[int], names: list[str]) -> None:
    assert [name for name, _ in MachineControl(None).read([0x7F, 1, 6, *commands], False)] == names


def test_messages_of_a_device_through_the_controller() -> None:
    async def scenario() -> None:
        text = "timecode: {device: DAW}\nshow_control: true\nmachine_control: {device_id: 1}\nmap: [{cc: 1, to: mix}]"
        async with plugged(text, "DAW") as (one, device):
            for data in (msc(GO, b"1"), (0x7F, 1, 6, 2), (0x7F, 2, 6, 2), (0x41, 1, 2), (0x7F,) * 200):
                device.play(*Message("sysex", data=data).bytes())
            for piece, value in quarter_frames(Timecode(1, 0, 10, 0)):
                device.play(*Message("quarter_frame", frame_type=piece, frame_value=value).bytes())
            await one.until(lambda: len(one.commands) > 1 and "timecode" in one.controls.kept)
            assert [(request.name, request.arguments) for request in one.commands] == [
                ("cue/goto", ("1",)), ("cue/go", ())]
            assert (one.commands[0].origin, one.commands[1].origin) == ("midi/DAW/MSC", "midi/DAW/MMC")
            report = one.controls.kept["timecode"]
            assert (report.frame, report.origin, report.running) == (90_251.75, "midi/DAW", True)
    asyncio.run(scenario())


def test_without_its_keys_nothing_happens_and_timecode_of_others_is_not_followed() -> None:
    async def scenario() -> None:
        async with plugged("timecode: {device: Tape}\nmap: [{cc: 1, to: mix, takeover: jump}]", "DAW") as (one, device):
            device.play(*Message("sysex", data=msc(GO)).bytes())
            for piece, value in quarter_frames(Timecode(1, 0, 10, 0)):
                device.play(*Message("quarter_frame", frame_type=piece, frame_value=value).bytes())
            device.play(0xB0, 1, 127)
            await one.becomes("mix", 1.0)
            assert not one.commands
            assert "timecode" not in one.controls.kept
    asyncio.run(scenario())


@pytest.mark.parametrize(("data", "is_foreign"), [
    ([0xF0, 0x7F, 0x7F, 2, 1, 1, 0xF7], False), ([0xF0, 0x41, 1, 0xF7], True), ([0xF0], True), ([], False),
    ([0xF0, 0x7F, *[0] * 200, 0xF7], True), ([0x90, 1, 1], False)])
def test_only_short_real_time_messages_are_read(data: list[int], is_foreign: bool) -> None:
    assert is_foreign_sysex(data) is is_foreign
