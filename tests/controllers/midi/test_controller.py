"""The MIDI controller, with a stand-in device and over real ports between processes."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator

import pytest

from lcm_daemon import controllers
from lcm_daemon.controllers.midi.controller import Midi
from lcm_daemon.controllers.midi.messages import parse
from lcm_daemon.controllers.midi.ports import RtMidi
from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration
from lcm_daemon.core.moving_values import MovingValues
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.presses import HELD_SECONDS
from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.core.tempo import ExternalTempo, Tempo
from tests.rigs.midi import PATIENCE, Peer, Rig, jack, need_rtmidi, options, plugged, rig

PAUSE = ()


def forget_reports(one: Rig) -> None:
    """Let what the indicators were sent be long ago: an identical value then counts as a move."""
    for device in one.midi.devices:
        device._echoes.now = lambda: time.monotonic() + 60.0


def play(line: str, *messages: tuple[int, ...], before: tuple[str, Value] | None = None) -> Rig:
    """Play messages of a device with one line of a map; PAUSE ends a press."""
    async def scenario() -> Rig:
        async with plugged(f"map: [{line}]") as (one, device):
            if before:
                one.move(*before)
            forget_reports(one)
            for message in messages:
                if not message:
                    await asyncio.sleep(HELD_SECONDS + 0.01)
                    continue
                device.play(*message)
                await asyncio.sleep(0)
                await asyncio.sleep(0.005)
                one.pass_on()
            return one
    return asyncio.run(scenario())


def test_the_controller_is_found_by_name_and_has_fields() -> None:
    assert controllers.load("midi") is Midi
    assert set(Midi.fields) == {
        "devices", "map", "banks", "clock", "send_clock", "report", "backend", "timecode", "show_control",
        "machine_control"}


@pytest.mark.parametrize("name", [name for name, p in TABLE.items() if p.kind != "text"])
def test_every_parameter_moves(name: str) -> None:
    one = play(f"{{cc: 1, to: {name}, takeover: jump}}", (0xB0, 1, 127))
    parameter = TABLE[name]
    highest = True if parameter.kind == "bool" else parameter.high
    assert one.controls.values[name] == (parameter.choices[-1] if parameter.choices else parameter.coerce(highest))
    assert one.origins == ["midi/Pad/cc 1"]


@pytest.mark.parametrize("name", [name for name, p in TABLE.items() if p.kind == "text"])
def test_a_press_sets_text_and_a_fader_does_not(name: str) -> None:
    assert play(f"{{note: 1, to: {name}, value: lava}}", (0x90, 1, 9)).controls.values[name] == "lava"
    refused = play(f"{{cc: 1, to: {name}, takeover: jump}}", (0xB0, 1, 64))
    assert refused.controls.values[name] == TABLE[name].default
    assert refused.metrics.counts()["midi/refused"] == 1


@pytest.mark.parametrize(("line", "messages", "name", "value"), [
    ("{cc: 1, to: strength, range: [0.2, 0.9], takeover: jump}", [(0xB0, 1, 127)], "strength", 0.9),
    ("{cc14: 1, to: mix, takeover: jump}", [(0xB0, 1, 64), (0xB0, 33, 1)], "mix", 8193 / 16383),
    ("{nrpn: 512, to: mix, takeover: jump}", [(0xB0, 99, 4), (0xB0, 98, 0), (0xB0, 6, 0)], "mix", 0.0),
    ("{nrpn: 512, to: steps}", [(0xB0, 99, 4), (0xB0, 98, 0), (0xB0, 96, 0)], "steps", 3),
    ("{pitchbend: , to: blend}", [(0xE0, 127, 127)], "blend", 1.0),
    ("{aftertouch: , to: blend}", [(0xD0, 127)], "blend", 1.0),
    ("{aftertouch: 36, to: blend}", [(0xA0, 36, 127), (0xA0, 37, 0)], "blend", 1.0),
    ("{program: , to: seed}", [(0xC0, 12)], "seed", 12),
    ("{program: 5, to: seed, value: 4294967295}", [(0xC0, 4), (0xC0, 5)], "seed", 2**32 - 1),
    ("{note: 36, to: blend}", [(0x90, 36, 127), (0x80, 36, 0)], "blend", 1.0),  # the velocity stays
    ("{cc: 1, to: seed, relative: twos_complement}", [(0xB0, 1, 3), (0xB0, 1, 127)], "seed", 2),
    ("{cc: 1, to: seed, relative: binary_offset, step: 10}", [(0xB0, 1, 66), (0xB0, 1, 63)], "seed", 10),
    ("{cc: 1, to: seed, relative: signed_bit, step: -1}", [(0xB0, 1, 65)], "seed", 1),
    ("{cc: 1, to: seed, relative: signed_bit}", [(0xB0, 1, 65)], "seed", 0),  # it ends there
    ("{cc: 1, to: mode, relative: signed_bit}", [(0xB0, 1, 1), (0xB0, 1, 1), (0xB0, 1, 1)], "mode", "control"),
    ("{cc: 1, to: freeze, button: toggle}", [(0xB0, 1, 127), (0xB0, 1, 0)], "freeze", True),
    ("{cc: 1, to: freeze, button: toggle}", [(0xB0, 1, 127), (0xB0, 1, 0), (0xB0, 1, 127)], "freeze", False),
    ("{cc: 1, to: freeze, button: toggle}", [(0xB0, 1, 127), PAUSE, (0xB0, 1, 127)], "freeze", False),  # no releases
    ("{cc: 1, to: freeze, button: toggle}", [(0xB0, 1, 127)] * 5, "freeze", True),  # held
    ("{note: 1, to: freeze, button: toggle}", [(0x90, 1, 9)] * 4 + [(0x80, 1, 0), (0x90, 1, 9)], "freeze", False),
    ("{cc: 1, to: freeze, button: toggle}", [(0xB0, 1, 100), (0xB0, 1, 127)], "freeze", True),  # a knob is one press
    ("{note: 1, to: prompt, button: toggle, values: [ice, lava]}", [(0x90, 1, 9)], "prompt", "lava"),
    ("{note: 1, to: prompt, button: toggle, values: [ice, lava]}", [(0x90, 1, 9), PAUSE] * 2, "prompt", "ice"),
    ("{note: 1, to: mix, button: momentary, range: [0.2, 0.8]}", [(0x90, 1, 9)], "mix", 0.8),
    ("{note: 1, to: mix, button: momentary, range: [0.2, 0.8]}", [(0x90, 1, 9), (0x80, 1, 9)], "mix", 0.2),
    ("{note: [36, 37, 38], to: mode, button: radio}", [(0x90, 37, 9), (0x90, 37, 0)], "mode", "text"),
    ("{note: [36, 37], to: steps, button: radio, values: [1, 4]}", [(0x90, 37, 9)], "steps", 4),
    ("{note: [36, 37, 38], to: mix, button: radio}", [(0x90, 37, 9)], "mix", 0.5),
    ("{note: 36, channel: 2, to: freeze, button: toggle}", [(0x90, 36, 9)], "freeze", False),
])
def test_messages_set_values(line: str, messages: list[tuple[int, ...]], name: str, value: Value) -> None:
    assert play(line, *messages).controls.values[name] == (pytest.approx(value) if isinstance(value, float) else value)


@pytest.mark.parametrize(("messages", "raw"), [
    ([(0xB0, 1, 64), (0xB0, 33, 5), (0xB0, 1, 80)], 80 << 7),  # coarse, fine; later coarse alone
    ([(0xB0, 33, 5), (0xB0, 1, 64), (0xB0, 33, 9), (0xB0, 1, 65)], 65 << 7 | 9),  # fine first
    ([(0xB0, 33, 124), (0xB0, 1, 127)], 16383),  # a fader with 12 bits at its end
])
def test_halves_of_fourteen_bits(messages: list[tuple[int, ...]], raw: int) -> None:
    async def scenario() -> None:
        async with plugged("map: [{cc14: 1, to: mix, takeover: jump}]") as (one, device):
            for message in messages:
                device.play(*message)
            await one.becomes("mix", raw / 16383)
    asyncio.run(scenario())


def test_rpns_are_controls_too() -> None:
    line = "{rpn: 1, to: mix, takeover: jump}"
    one = play(line, (0xB0, 101, 0), (0xB0, 100, 1), (0xB0, 6, 32), (0xB0, 38, 0), (0xB0, 99, 0), (0xB0, 6, 99))
    assert one.controls.values["mix"] == (32 << 7) / 16383


def test_commands_with_the_number_of_a_pad_and_with_the_value_of_a_fader() -> None:
    one = play("{note: [40, 41], command: cue/goto}, {cc: 9, command: cue/goto, range: [1, 3]}",
               (0x90, 41, 9), (0x80, 41, 0), (0xB0, 9, 127))
    assert [(request.name, request.arguments) for request in one.commands] == [
        ("cue/goto", ("2",)), ("cue/goto", ("3",))]


def test_a_fader_that_chooses_a_place_sends_each_place_once() -> None:
    one = play("{cc: 9, command: cue/goto, range: [1, 3]}, {cc: 10, command: cue/goto, with: [a], range: [0, 10]}",
               *((0xB0, 9, position) for position in (0, 20, 50, 60, 70, 64, 127)), (0xB0, 10, 64))
    assert [request.arguments for request in one.commands] == [
        ("1",), ("2",), ("3",), ("a", pytest.approx(640 / 127))]


def test_commands() -> None:
    one = play("{note: 40, command: panic}, {note: 41, command: recipe, with: [ink]}",
               (0x90, 40, 9), (0x80, 40, 0), (0x90, 41, 9))
    assert one.commands == [
        CommandRequest("panic", "midi/Pad/note 40"), CommandRequest("recipe", "midi/Pad/note 41", ("ink",))]


def test_a_fader_picks_a_value_up_and_loses_it_when_others_change_it() -> None:
    line = "{cc: 1, to: mix, feedback: false}"
    assert play(line, (0xB0, 1, 10), (0xB0, 1, 60), before=("mix", 0.5)).controls.values["mix"] == 0.5
    passed = play(line, (0xB0, 1, 60), (0xB0, 1, 70), before=("mix", 0.5))
    assert passed.controls.values["mix"] == pytest.approx(70 / 127)

    async def scenario() -> None:
        async with plugged(f"map: [{line}]") as (one, device):
            one.move("mix", 0.5)
            device.play(0xB0, 1, 64)
            await one.becomes("mix", 64 / 127)
            one.move("mix", 0.1)
            device.play(0xB0, 1, 70)
            await asyncio.sleep(0.05)
            one.pass_on()
            assert one.controls.values["mix"] == 0.1
            device.play(0xB0, 1, 12)
            await one.becomes("mix", 12 / 127)
    asyncio.run(scenario())


def test_fast_turns_lose_no_detent_while_the_stage_is_slow() -> None:
    async def scenario() -> None:
        async with plugged("map: [{cc: 1, to: seed, relative: signed_bit}]") as (one, device):
            for _ in range(300):
                device.play(0xB0, 1, 1)
            await asyncio.sleep(0.1)  # without an answer of the stage
            one.pass_on()
            assert one.controls.values["seed"] == 300
    asyncio.run(scenario())


# Feedback

def test_indicators_follow_other_changes_but_not_their_own() -> None:
    text = """map:
      - {cc: 1, channel: 2, to: mix, takeover: jump}
      - {cc14: 2, to: mix}
      - {note: [36, 37, 38], to: mode, button: radio}
      - {note: 8, to: freeze, button: toggle, feedback: {note: 0, channel: 5, range: [12, 60]}}
    """

    async def scenario() -> None:
        async with plugged(text) as (one, device):
            assert ("Pad", (0xB1, 1, 127)) in device.sent  # everything, when it is connected
            assert ("Pad", (0x94, 0, 12)) in device.sent
            device.sent.clear()
            one.move("mix", 0.0)
            one.move("mode", "text")
            one.move("freeze", True)
            await one.until(lambda: len(device.sent) >= 7)
            assert {message for _, message in device.sent} == {
                (0xB1, 1, 0), (0xB0, 2, 0), (0xB0, 34, 0), (0x90, 36, 0), (0x90, 37, 127), (0x90, 38, 0), (0x94, 0, 60)}
            device.sent.clear()
            device.play(0xB1, 1, 64)
            device.play(0x90, 38, 1)
            await one.until(lambda: len(device.sent) >= 5)
            sent = {message for _, message in device.sent}
            assert (0x90, 38, 127) in sent  # the daemon controls a button's lamp
            assert not any(message[:2] == (0xB1, 1) for message in sent)  # a fader gets no feedback of its moves
            assert any(message[:2] in ((0xB0, 2), (0xB1, 2)) for message in sent)  # another control of mix does
    asyncio.run(scenario())


def test_a_flood_of_changes_sends_one_message_per_indicator() -> None:
    async def scenario() -> None:
        async with plugged("map: [{cc: 1, to: mix}]") as (one, device):
            device.sent.clear()
            for i in range(1000):
                one.move("mix", i / 1000)
            one.move("mix", 1.0)
            await one.until(lambda: device.sent)
            assert device.sent == [("Pad", (0xB0, 1, 127))]
    asyncio.run(scenario())


def test_a_bank_changes_the_map_and_the_indicators() -> None:
    text = """
      map: [{note: 1, bank: next}, {note: 2, bank: one}]
      banks:
        one: [{cc: 1, to: mix, takeover: jump}, {note: 9, to: freeze, button: toggle}]
        two: [{cc: 1, to: blend, takeover: jump}]
    """

    async def scenario() -> None:
        async with plugged(text) as (one, device):
            one.move("freeze", True)
            await asyncio.sleep(0.1)
            device.sent.clear()
            device.play(0x90, 1, 9)
            await one.until(lambda: len(device.sent) >= 3)
            assert {("Pad", (0xB0, 1, 0)), ("Pad", (0x90, 9, 0)), ("Pad", (0x90, 2, 0))} <= set(device.sent)
            forget_reports(one)
            device.play(0xB0, 1, 127)
            await one.becomes("blend", 1.0)
            device.play(0x90, 2, 9)
            device.play(0xB0, 1, 0)
            await one.becomes("mix", 0.0)
            assert one.controls.values["blend"] == 1.0
    asyncio.run(scenario())


# A fade

async def fade(one: Rig, here: float, to: float) -> None:
    """Let a cue fade `mix`; `here` is where it is now."""
    one.controls.apply_update([Change("mix", to, "cue/storm")], None)
    in_force({"mix": here}, one)
    await asyncio.sleep(0.01)


def in_force(values: dict[str, Value], one: Rig) -> None:
    one.controls.apply_update([], None, moving=MovingValues.of(one.controls.values, {**one.controls.values, **values},
                                                               {**one.controls.values, **values}))


def test_a_fader_takes_over_where_a_fade_is() -> None:
    async def scenario() -> None:
        async with plugged("map: [{cc: 1, to: mix, feedback: false}, {cc: 2, to: mix, relative: signed_bit}]") as (
                one, device):
            await fade(one, 0.5, to=0.1)
            device.play(0xB0, 1, 13)  # near the end of the fade
            await asyncio.sleep(0.02)
            assert not one.controls.pop_requests()
            device.play(0xB0, 1, 62)
            device.play(0xB0, 1, 66)
            await one.becomes("mix", 66 / 127)
            await fade(one, 0.5, to=0.1)
            device.play(0xB0, 2, 1)
            await one.becomes("mix", 0.5 + 1 / 127)
    asyncio.run(scenario())


@pytest.mark.parametrize(("report", "sent"), [("target", [13]), ("live", [64, 95])])
def test_motor_faders_are_sent_the_end_of_a_fade_or_its_way(report: str, sent: list[int]) -> None:
    async def scenario() -> None:
        async with plugged(f"map: [{{cc: 1, to: mix}}]\nreport: {report}") as (one, device):
            device.sent.clear()
            await fade(one, 0.5, to=0.1)
            in_force({"mix": 0.75}, one)
            await asyncio.sleep(0.02)
            assert [message[2] for _, message in device.sent] == sent
            if report == "live":  # the motor reports where it was sent: no move of a hand
                device.play(0xB0, 1, 95)
                await asyncio.sleep(0.02)
                assert not one.controls.pop_requests()
    asyncio.run(scenario())


# Motor faders

def test_a_touched_motor_fader_moves_the_value_and_is_not_moved() -> None:
    async def scenario() -> None:
        line = "{pitchbend: , channel: 1, to: mix, touch: 104}"
        async with plugged(f"map: [{line}]") as (one, device):
            device.sent.clear()
            device.play(0xE0, 0, 64)  # the motor
            await asyncio.sleep(0.02)
            assert not one.controls.pop_requests()
            device.play(0x90, 104, 127)
            device.play(0xE0, 0, 32)
            await one.becomes("mix", 4096 / 16383)
            one.move("mix", 0.0)
            await asyncio.sleep(0.02)
            assert device.sent == []
            device.play(0x90, 104, 0)
            await one.until(lambda: device.sent)
            assert device.sent == [("Pad", (0xE0, 0, 0))]
    asyncio.run(scenario())


def test_own_moves_are_sent_back_with_echo() -> None:
    async def scenario() -> None:
        line = "{pitchbend: , channel: 1, to: mix, takeover: jump, feedback: {echo: true}}"
        async with plugged(f"map: [{line}]") as (one, device):
            device.sent.clear()
            device.play(0xE0, 0, 32)
            await one.until(lambda: device.sent)
            assert device.sent == [("Pad", (0xE0, 0, 32))]
            device.play(0xE0, 0, 32)  # the motor's report
            await asyncio.sleep(0.02)
            assert not one.controls.pop_requests()
            device.play(0xE0, 0, 33)
            await one.becomes("mix", (33 << 7) / 16383)
    asyncio.run(scenario())


# Devices

def test_two_devices_of_one_name_are_opened_once_and_have_a_state_each() -> None:
    text = """
      devices: [{name: Pad, number: 1}, {name: Pad, number: 2}]
      map:
        - {cc: 1, to: mix, device: "Pad 1"}
        - {cc: 1, to: blend, device: "Pad 2"}
        - {note: 1, to: freeze, button: toggle}
        - {note: 3, bank: next}
      banks: {one: [{note: 2, to: steps, value: 3}], two: [{note: 2, to: steps, value: 5}]}
    """

    async def scenario() -> None:
        async with plugged(text) as (one, device):
            device.plugged.append("Pad")
            await one.until(lambda: len(device.inputs) == 2 and device.opened == 4)
            device.play(0x90, 1, 9)
            await one.becomes("freeze", True)  # once
            device.play(0x90, 1, 9, name="Pad#1")
            await one.becomes("freeze", False)
            one.move("mix", 0.5)
            one.move("blend", 0.5)
            device.sent.clear()
            device.play(0xB0, 1, 65)
            await one.becomes("mix", 65 / 127)
            device.play(0xB0, 1, 100, name="Pad#1")
            await asyncio.sleep(0.02)
            one.pass_on()
            assert one.controls.values["blend"] == 0.5  # the other fader has picked nothing up
            assert one.origins[-1] == "midi/Pad 1/cc 1"
            device.play(0x90, 3, 9, name="Pad#1")  # its bank
            device.play(0x90, 2, 9, name="Pad#1")
            await one.becomes("steps", 5)
            device.play(0x90, 2, 9)
            await one.becomes("steps", 3)
            device.plugged.pop()
            await one.until(lambda: len(device.inputs) == 1 and device.opened == 2)
            device.play(0x90, 1, 9)
            await one.becomes("freeze", True)
        assert device.opened == 0
    asyncio.run(scenario())


def test_what_one_device_shows_of_another_ones_move() -> None:
    async def scenario() -> None:
        text = "devices: [{name: Pad, number: 1}, {name: Pad, number: 2}]\nmap: [{cc: 1, to: mix, takeover: jump}]"
        async with plugged(text) as (one, device):
            device.plugged.append("Pad")
            await one.until(lambda: len(device.inputs) == 2 and device.opened == 4)
            await asyncio.sleep(0.02)
            device.sent.clear()
            device.play(0xB0, 1, 9, name="Pad#1")
            await one.until(lambda: device.sent)
            assert device.sent == [("Pad", (0xB0, 1, 9))]
    asyncio.run(scenario())


def test_the_clock_of_one_device_is_followed() -> None:
    async def scenario() -> None:
        async with plugged("devices: [{name: Pad}]\nclock: {device: Drums}") as (one, device):
            device.plugged += ["Drums", "Keys"]
            await one.until(lambda: len(device.inputs) == 2)  # nothing asks for Keys
            device.play(0xFA)
            await asyncio.sleep(0.02)
            assert "tempo" not in one.controls.kept
            device.play(0xFA, name="Drums")
            await one.until(lambda: "tempo" in one.controls.kept)
            assert device.opened == 3  # Pad's input and output, and the input of Drums
    asyncio.run(scenario())


def test_the_clock_is_sent_at_the_shows_tempo() -> None:
    async def scenario() -> None:
        async with plugged("devices: [{name: Pad}]\nsend_clock: [{name: Synth}]") as (one, device):
            device.plugged.append("Synth")
            one.controls.update_tempo(Tempo(300.0, 0.0, time.perf_counter()))
            await one.until(lambda: len(device.sent) > 30)
            assert {name for name, _ in device.sent} == {"Synth"}
            kinds = [message[0] for _, message in device.sent]
            assert kinds.count(0xFA) <= 1
            assert kinds.count(0xF8) > 20
            one.controls.update_tempo(Tempo(300.0, 8.0, time.perf_counter()))
            await one.until(lambda: ("Synth", (0xFA,)) in device.sent)
        assert device.sent[-1] == ("Synth", (0xFC,))
    asyncio.run(scenario())


@pytest.mark.slow
def test_values_stay_while_a_device_is_away_and_its_indicators_are_updated_when_it_is_back() -> None:
    async def scenario() -> None:
        async with plugged("map: [{cc: 1, to: mix, takeover: jump}]") as (one, device):
            device.play(0xB0, 1, 32)
            await one.becomes("mix", 32 / 127)
            device.plugged.clear()
            await one.until(lambda: not device.inputs)
            assert one.controls.values["mix"] == 32 / 127
            one.move("mix", 1.0)
            device.sent.clear()
            device.plugged.append("Pad")
            begun = time.perf_counter()
            await one.until(lambda: device.sent)
            assert time.perf_counter() - begun < 2.0
            assert device.sent == [("Pad", (0xB0, 1, 127))]
    asyncio.run(scenario())


@pytest.mark.slow
def test_two_devices_with_different_maps() -> None:
    text = 'devices: [{name: "nano*", map: nanokontrol2}, {name: Pad}]\nmap: [{cc: 0, to: blend, device: Pad}]'

    async def scenario() -> None:
        async with plugged(text) as (one, device):
            device.plugged.append("nanoKONTROL2 SLIDER")
            await one.until(lambda: len(device.inputs) == 2)
            device.play(0xB0, 0, 127, name="Pad")
            device.play(0xB0, 7, 1, name="nanoKONTROL2 SLIDER")
            device.play(0xB0, 0, 127, name="nanoKONTROL2 SLIDER")
            await asyncio.sleep(0.05)
            one.pass_on()
            assert one.controls.values["blend"] == 0.0  # not yet picked up
            device.play(0xB0, 0, 0, name="Pad")
            device.play(0xB0, 0, 1, name="Pad")
            await one.becomes("blend", 1 / 127)
            assert one.origins[-1] == "midi/Pad/cc 0"
    asyncio.run(scenario())


def test_the_tempo_is_kept_for_the_stage() -> None:
    async def scenario() -> None:
        async with plugged("clock: true") as (one, device):
            device.play(0xFA)
            device.play(0xF8)
            await one.until(lambda: "tempo" in one.controls.kept)
            for i in range(97):
                one.midi._on_clock(parse([0xF8]), i / 60.0)  # 150 beats a minute
            heard = one.controls.kept["tempo"]
            assert heard == ExternalTempo(Tempo(pytest.approx(150.0), 4.0, pytest.approx(95 / 60), True), "midi/clock")
            device.play(0xFC)
            await one.until(lambda: not one.controls.kept["tempo"].tempo.running)
    asyncio.run(scenario())


def test_a_show_without_midi_logs_one_line_and_runs(caplog: pytest.LogCaptureFixture) -> None:
    def connect() -> RtMidi:
        raise MissingIntegration("MIDI", "python-rtmidi is not installed", 'pip install "lcm-daemon[midi]"')

    async def scenario() -> None:
        async with rig("map: [{cc: 0, to: strenght}]", connect) as one:
            await one.until(lambda: one.metrics.counts().get("midi/missing"))
            one.move("mix", 0.5)
    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "MIDI: cc 0 does nothing now: the recipe has no parameter 'strenght'; did you mean 'strength'?"
    assert lines[1:] == ['MIDI: python-rtmidi is not installed; install it with: pip install "lcm-daemon[midi]"; '
                         "the show runs without MIDI"]


def test_starting_and_stopping_twice_is_safe() -> None:
    async def scenario() -> None:
        async with plugged("clock: false") as (one, _):
            await one.midi.start()
            await one.midi.stop()
            assert not one.controls.subscribers
    asyncio.run(scenario())


# Real ports

@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with jack():
        yield


SHOW = """
    devices: [{name: "nano*"}]
    map:
      - {cc: 1, to: mix, takeover: jump}
      - {note: 9, to: freeze, button: momentary}
    clock: true
    timecode: true
    show_control: true
    backend: jack
"""


async def insist(one: Rig, peer: Peer, message: tuple[int, ...], condition: Callable[[], object]) -> None:
    """Send until the condition holds: a JACK server without real-time rights loses messages on a busy machine."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            peer.send(*message)
            await asyncio.sleep(0.1)
            one.pass_on()


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_a_device_in_another_process_sends_receives_and_reconnects() -> None:
    async def scenario() -> None:
        async with rig(SHOW) as one:
            with Peer("nanoKONTROL2") as peer:
                await one.until(lambda: (0xB0, 1, 127) in peer.received)  # the fader follows mix
                await insist(one, peer, (0xB0, 1, 32), lambda: one.controls.values["mix"] == 32 / 127)
                await insist(one, peer, (0x90, 9, 100), lambda: (0x90, 9, 127) in peer.received)
                await insist(one, peer, (0xFA,), lambda: "tempo" in one.controls.kept)
                await insist(one, peer, (0xF0, 0x7F, 0x7F, 2, 1, 1, 0x31, 0xF7), lambda: one.commands)
                one.controls.kept.clear()
                for piece in itertools.cycle(range(8)):  # 00:00:00:00
                    if "timecode" in one.controls.kept:
                        break
                    peer.send(0xF1, piece << 4)
                    await asyncio.sleep(0.01)
            await asyncio.sleep(1.0)
            assert one.controls.values["mix"] == 32 / 127
            with Peer("nanoKONTROL2") as peer:
                begun = time.perf_counter()
                await insist(one, peer, (0xB0, 1, 127), lambda: one.controls.values["mix"] == 1.0)
                print(f"found again after {time.perf_counter() - begun:.2f} s")  # JACK is slower under load
                await one.until(lambda: (0x90, 9, 127) in peer.received)
    asyncio.run(scenario())


def test_a_missing_backend_has_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "no-such-server")
    need_rtmidi()
    with pytest.raises((LcmDaemonError, OSError)):
        RtMidi("jack").close()


def test_an_unknown_option_raises() -> None:
    with pytest.raises(ValueError, match="unknown option"):
        Rig({**options("{}"), "colour": 1})


def test_what_a_motor_fader_sends_back_is_no_move() -> None:
    async def scenario() -> None:
        async with plugged("map: [{cc: 1, to: mix, takeover: jump}]") as (one, device):
            one.move("mix", 0.0)
            await asyncio.sleep(0.1)
            device.sent.clear()
            for value in (10 / 127, 100 / 127):
                one.move("mix", value)
                await one.until(lambda: device.sent)
                device.sent.clear()
            one.origins.clear()
            for raw in (10, 100):  # as they were sent
                device.play(0xB0, 1, raw)
                await asyncio.sleep(0.01)
                one.pass_on()
            assert one.origins == []
            device.play(0xB0, 1, 10)  # by a hand
            await one.becomes("mix", 10 / 127)
    asyncio.run(scenario())
