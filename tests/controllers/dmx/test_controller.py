"""The DMX controller: what lines do, loss of signal, refused packets; then over UDP, with senders of other packages."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest

from lcm_daemon.contracts.controllers import check_controller
from lcm_daemon.controllers.dmx.controller import Dmx
from lcm_daemon.controllers.dmx.listener import ANSWERS
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.errors import DocumentError
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.network import NetworkPolicy
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import CommandRequest, commands
from lcm_daemon.core.schema import read_fields
from tests.conftest import ManualClock, need_module
from tests.controllers.dmx.test_packets import ARTDMX, sacn_packet
from tests.rigs.daemon import free_port
from tests.rigs.echo import echo

PATIENCE = 20.0  # seconds, only ever spent where a test fails
PEER = ("127.0.0.1", 6454)
LOCAL = {"host": "127.0.0.1", "artnet_port": 8180, "sacn_port": 8181}


def options(text: str) -> dict[str, Any]:
    """Read the `dmx:` section of a show."""
    problems = Problems()
    found = read_fields(compose(text, "show.yaml"), Dmx.fields, problems)
    problems.raise_if_any()
    return found


class Rig:
    """A Dmx that is not started, and a stand-in for the stage."""

    def __init__(self, lines: str, kept: Any = None, **given: Any) -> None:
        self.clock, self.commands = ManualClock(), list[CommandRequest]()
        self.changed: list[tuple[str, Value]] = []
        self.controls = ControlState(
            TABLE, {name: p.default for name, p in TABLE.items()}, Metrics(), lambda: None, commands(["ink"]))
        self.controls.kept = {} if kept is None else {"dmx": kept}
        self.controls.network = NetworkPolicy(allow=given.pop("network", ()))
        self.dmx = Dmx(self.controls, {**options(f"map: [{lines}]"), **given}, self.clock.now).listener
        self.controls.subscribe(on_changes=self.dmx._channels.on_changes)

    def send(self, *levels: int, universe: int = 1, peer: tuple[str, int] = PEER) -> Rig:
        data = (b"Art-Net\0\0\x50\0\x0e\0\0" + universe.to_bytes(2, "little") + len(levels).to_bytes(2, "big")
                + bytes(levels))
        self.dmx.on_artnet(data, peer)
        return self.pass_on()

    def pass_on(self) -> Rig:
        requests = echo(self.controls)
        self.commands += requests.commands
        self.changed += [(change.name, change.value) for change in requests.changes.values()]
        return self

    def move(self, name: str, value: Value) -> None:
        """Change a parameter from elsewhere."""
        self.controls.set(name, value, "osc/someone")
        self.pass_on()
        self.changed.clear()

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.controls.metrics.counts())


@pytest.mark.parametrize(("line", "frames", "name", "value"), [
    ("{channel: 1, to: mix}", [(255,)], "mix", 1.0),
    ("{channel: 1, to: strength, range: [0.2, 0.9]}", [(0,)], "strength", 0.2),
    ("{channel: [2, 3], to: mix}", [(0, 128, 1)], "mix", 32769 / 65535),
    ("{channel: [3, 1], to: mix}", [(1, 0, 128)], "mix", 32769 / 65535),
    ("{channel: 1, to: mix, curve: square}", [(51,)], "mix", 0.04),
    ("{channel: 1, to: freeze}", [(255,)], "freeze", True),
    ("{channel: 1, to: mode}", [(255,)], "mode", "control"),
    ("{channel: 1, to: freeze, button: toggle}", [(0,), (200,), (0,), (128,)], "freeze", False),
    ("{channel: 1, to: freeze, button: toggle}", [(0,), (200,), (255,), (200,)], "freeze", True),
    ("{channel: 1, to: freeze, button: toggle}", [(255,)], "freeze", False),  # nothing has passed the threshold
    ("{channel: 1, to: freeze, button: momentary}", [(0,), (255,)], "freeze", True),
    ("{channel: 1, to: freeze, button: momentary, from: 10}", [(0,), (10,), (9,)], "freeze", False),
    ("{channel: [1, 2], to: freeze, button: momentary}", [(0, 0), (128, 0)], "freeze", True),  # the coarse one
    ("{channel: 1, to: freeze, button: toggle}", [(0,), (128,), (127,), (128,), (126,), (129,)], "freeze", True),
    ("{channel: 1, to: prompt, values: [ice, lava, sea]}", [(85,)], "prompt", "ice"),
    ("{channel: 1, to: prompt, values: [ice, lava, sea]}", [(86,)], "prompt", "lava"),
    ("{channel: 1, to: prompt, values: [ice, lava], from: [10, 20]}", [(25,), (5,)], "prompt", "lava"),
])
def test_levels_set_values(line: str, frames: list[tuple[int, ...]], name: str, value: Value) -> None:
    one = Rig(line)
    for frame in frames:
        one.send(*frame)
    assert one.controls.values[name] == (pytest.approx(value) if isinstance(value, float) else value)


def test_only_a_level_that_changes_moves_its_parameter() -> None:
    one = Rig("{channel: 1, to: mix}, {channel: 2, to: blend}").send(100, 100)
    one.move("mix", 0.9)
    one.send(100, 120).send(100, 120)
    assert one.changed == [("blend", 120 / 255)]


def test_commands_run_when_their_level_is_passed() -> None:
    one = Rig("{channel: 1, command: cue/go}, {channel: 2, command: cue/goto, values: [intro, drop]}, "
              "{channel: 3, command: recipe, with: [ink], from: 250}")
    one.send(255, 1, 255)
    assert not one.commands  # what was on before is not known
    for frame in [(0, 0, 0), (127, 0, 249), (128, 1, 250), (255, 128, 255), (255, 129, 0), (0, 0, 0)]:
        one.send(*frame)
    assert [(request.name, request.arguments, request.origin) for request in one.commands] == [
        ("cue/go", (), "dmx/1/channel 1"), ("cue/goto", ("intro",), "dmx/1/channel 2"),
        ("recipe", ("ink",), "dmx/1/channel 3"), ("cue/goto", ("drop",), "dmx/1/channel 2")]


def test_a_fader_that_rests_at_a_threshold_runs_its_command_once() -> None:
    one = Rig("{channel: 1, command: cue/go}, {channel: 2, command: cue/goto, values: [intro, drop]}, "
              "{channel: [3, 4], command: cue/pause}, {channel: 5, command: cue/back, from: 1}, "
              "{channel: 6, command: cue/goto, values: [intro, drop, end], from: [10, 11, 12]}")
    ups, downs = (128, 129, 128, 0, 1, 11), (127, 127, 127, 255, 0, 10)
    for frame in [(0, 0, 0, 0, 0, 0), ups, downs, ups, downs, ups]:
        one.send(*frame)
    names = [(request.name, *request.arguments) for request in one.commands]
    assert [names.count(each) for each in [("cue/go",), ("cue/pause",), ("cue/back",)]] == [1, 1, 3]
    assert names.count(("cue/goto", "drop")) == 4, "one of channel 2, three of channel 6"
    assert names.count(("cue/goto", "intro")) == 2, "of parts that are one level wide, each level counts"
    one.commands.clear()
    for levels in [(255, 255), (127, 127), (128, 129)]:  # a jump is not a rest
        one.send(*levels)
    assert [request.name for request in one.commands] == ["cue/goto", "cue/go", "cue/goto"]


def test_two_lines_of_one_channel_with_one_command() -> None:
    one = Rig("{channel: 1, command: cue/goto, with: [a], from: 50}, "
              "{channel: 1, command: cue/goto, with: [b], from: 90}")
    for level in (0, 50, 49, 50, 90, 89, 90, 0, 50):
        one.send(level)
    assert [request.arguments for request in one.commands] == [("a",), ("b",), ("a",)]


def test_a_fader_with_pickup_waits_until_it_reaches_the_value() -> None:
    one = Rig("{channel: 1, to: mix, takeover: pickup}")
    one.move("mix", 0.5)
    one.send(255).send(200)
    assert not one.changed
    one.send(120).send(130)
    assert one.controls.values["mix"] == 130 / 255
    one.move("mix", 0.1)
    one.send(131)
    assert one.controls.values["mix"] == 0.1


def test_lines_of_other_universes_and_channels_that_are_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    one = Rig("{channel: 1, to: mix}, {channel: 1, universe: 300, to: blend}, {channel: 100, to: master}")
    one.send(255, universe=300).send(7, universe=2).send(8, universe=2)
    assert one.changed == [("blend", 1.0)]
    assert one.counts["dmx/other_universes"] == 2
    assert caplog.text.count("also sends universe 2 by artnet, which no line of dmx.map reads; they read 1, 300") == 1


@pytest.mark.parametrize(("on_loss", "mix"), [("hold", 1.0), ("zero", 0.0)])
def test_the_loss_of_the_last_sender(on_loss: str, mix: float, caplog: pytest.LogCaptureFixture) -> None:
    one = Rig("{channel: 1, to: mix}, {channel: 2, command: cue/go}", on_loss=on_loss).send(255, 0)
    one.clock.sleep(10.1)
    one.dmx.check(one.clock.now())
    one.dmx.check(one.clock.now())
    assert one.pass_on().controls.values["mix"] == mix
    assert caplog.text.count("DMX: universe 1 has no sender any more") == 1
    one.send(255, 255)
    assert [request.name for request in one.commands] == ["cue/go"]
    one.clock.sleep(10.1)
    one.dmx.check(one.clock.now())
    one.send(255, 255)
    assert (len(one.commands), one.controls.values["mix"]) == (1, 1.0)  # a command does not run again


def test_the_last_packet_of_a_sender_that_was_never_heard_does_nothing(caplog: pytest.LogCaptureFixture) -> None:
    one = Rig("{channel: 1, to: mix}", on_loss="zero")
    one.move("mix", 0.5)
    for _ in range(3):
        one.dmx.on_sacn(sacn_packet(universe=1, streamTerminated=True), PEER)
    assert (one.pass_on().controls.values["mix"], "no sender any more" in caplog.text) == (0.5, False)
    one.dmx.on_sacn(sacn_packet(universe=1, dmxData=(255,)), PEER)
    one.dmx.on_sacn(sacn_packet(universe=1, streamTerminated=True), PEER)
    assert one.pass_on().controls.values["mix"] == 0.0


def test_a_defect_costs_one_packet_and_not_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        one = Rig("{channel: 1, to: mix}", **LOCAL)
        on_levels, failures = one.dmx._channels.on_levels, [RuntimeError("a defect")]

        def fail_once(universe: int, levels: bytes) -> None:
            if failures:
                raise failures.pop()
            on_levels(universe, levels)
        monkeypatch.setattr(one.dmx._channels, "on_levels", fail_once)
        await one.dmx.start()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as desk:
                for level in (10, 255):
                    desk.sendto(sacn_packet(universe=1, dmxData=(level,), sequence=level), ("127.0.0.1", 8181))
                await until(one, lambda: one.controls.values["mix"] == 1.0)
        finally:
            await one.dmx.stop()
    asyncio.run(scenario())


def test_another_desk_does_not_repeat_what_the_one_before_has_done() -> None:
    first = Rig("{channel: 1, to: mix}").send(200)
    second = Rig("{channel: 1, to: mix}", first.controls.kept["dmx"]).send(200)
    assert not second.changed
    assert second.send(201).changed == [("mix", 201 / 255)]
    other = Rig("{channel: 1, to: blend}", second.controls.kept["dmx"]).send(201)  # the show's file has changed
    assert other.changed == [("blend", 201 / 255)]


def test_what_is_refused_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    one = Rig("{channel: 1, to: prompt}, {channel: 2, to: gone}, {channel: 3, to: mix}")
    one.send(1, 1, 255)
    assert (one.counts["dmx/refused"], one.controls.values["mix"]) == (2, 1.0)
    for data in (b"", b"Art-Net\0", b"junk" * 99, b"Art-Net\0\0\x50"):
        one.dmx.on_artnet(data, PEER)
        one.dmx.on_sacn(data, PEER)
    assert one.counts["dmx/malformed"] == 8
    assert "DMX: sACN packet from 127.0.0.1 is ignored: it is not sACN" in caplog.text


@pytest.mark.parametrize("given", [{"network": ("10.0.0.0/8",)}, {"allow": ("10.0.0.5",)}])
def test_only_hosts_that_are_allowed_are_heard(given: dict[str, Any]) -> None:
    one = Rig("{channel: 1, to: mix}", **given)
    one.send(255)
    assert one.counts["dmx/denied"] == 1
    one.send(255, peer=("10.0.0.5", 6454))
    assert one.changed == [("mix", 1.0)]


def test_a_console_that_asks_too_often_gets_no_more_answers() -> None:
    one, sent = Rig("{channel: 1, universe: 0, to: mix}"), list[bytes]()
    one.dmx._receivers["artnet"] = type("Receiver", (), {"send": lambda self, data, peer: sent.append(data)})()
    for _ in range(100):
        one.dmx.on_artnet(b"Art-Net\0\0\x20\0\x0e\0\0", PEER)
    assert len(sent) == ANSWERS
    assert sent[0][14:18] != bytes(4)


def test_timecode_of_art_net_reaches_the_stage() -> None:
    one = Rig("", timecode=True)
    one.dmx.on_artnet(b"Art-Net\0\0\x97\0\x0e\0\0" + bytes([12, 10, 0, 1, 1]), PEER)
    assert one.controls.kept["timecode"].origin == "artnet/127.0.0.1"
    silent = Rig("")
    silent.dmx.on_artnet(b"Art-Net\0\0\x97\0\x0e\0\0" + bytes([12, 10, 0, 1, 1]), PEER)
    assert "timecode" not in silent.controls.kept


@pytest.mark.parametrize(("line", "reason"), [
    ("{channel: 513, to: mix}", "is not a channel from 1 to 512"),
    ("{channel: [1, 2, 3], to: mix}", "is not a channel from 1 to 512"),
    ("{channel: true, to: mix}", "is not a channel from 1 to 512"),
    ("{channel: 1}", "exactly one of to, command"),
    ("{channel: 1, to: mix, command: panic}", "exactly one of to, command"),
    ("{channel: 1, to: mix, from: 3}", "`from` is for a button"),
    ("{channel: 1, to: prompt, values: [a, b], from: [3]}", "as many levels as there are values: 2"),
    ("{channel: 1, to: prompt, values: [a, b], from: [9, 3]}", "in rising order"),
    ("{channel: 1, command: panic, button: toggle}", "a command needs no `button`"),
    ("{channel: 1, command: panic, range: [0, 1]}", "`range` is that of a parameter"),
    ("{channel: 1, to: mix, universe: 64000}", "a whole number from 0 to 63999"),
    ("{chanel: 1, to: mix}", "channel"),
])
def test_mistakes_in_a_line(line: str, reason: str) -> None:
    with pytest.raises(DocumentError, match=r"show\.yaml:1:") as caught:
        options(f"map: [{line}]")
    assert reason in str(caught.value)


def test_the_contract_of_controllers() -> None:
    check_controller(Dmx, Rig("").controls, {**LOCAL, "map": options("map: [{channel: 1, to: mix}]")["map"]})


async def until(one: Rig, condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            one.pass_on()
            await asyncio.sleep(0.005)


def test_senders_of_other_packages_over_udp() -> None:
    """pyartnet sends Art-Net and sACN, the package `sacn` sends sACN of a higher priority."""
    pyartnet, sacn = need_module("pyartnet"), need_module("sacn")

    async def scenario() -> None:
        one = Rig("{channel: [1, 2], to: mix}, {channel: 1, universe: 0, to: blend}", **LOCAL)
        await one.dmx.start()
        try:
            async with (pyartnet.ArtNetNode.create("127.0.0.1", 8180) as by_artnet,
                        pyartnet.SacnNode.create("127.0.0.1", 8181) as by_sacn):
                by_artnet.add_universe(0).add_channel(start=1, width=1).set_values([255])
                await until(one, lambda: one.controls.values["blend"] == 1.0)
                by_sacn.add_universe(1).add_channel(start=1, width=2).set_values([128, 1])
                await until(one, lambda: one.controls.values["mix"] == 32769 / 65535)
                packet = sacn.messages.data_packet.DataPacket(
                    tuple(range(16)), "Other", 1, (255, 255), priority=150)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    other.sendto(bytes(packet.getBytes()), ("127.0.0.1", 8181))
                await until(one, lambda: one.controls.values["mix"] == 1.0)
        finally:
            await one.dmx.stop()
    asyncio.run(scenario())


def test_sacn_by_multicast() -> None:
    """On the loopback network, where multicast of other machines does not come."""
    pyartnet = need_module("pyartnet")

    async def scenario() -> None:
        one = Rig("{channel: 1, to: mix}", protocol="sacn")
        await one.dmx.start()
        try:
            assert one.dmx.ports == {"sacn": 5568}
            async with pyartnet.SacnNode.create_multicast("127.0.0.1") as sender:
                sender.add_universe(1).add_channel(start=1, width=1).set_values([51])
                await until(one, lambda: one.controls.values["mix"] == 0.2)
        finally:
            await one.dmx.stop()
    asyncio.run(scenario())


def test_more_universes_by_multicast_than_one_socket_may_join() -> None:
    """20 are the limit of Linux, counted on each network."""
    async def scenario() -> None:
        def is_mix(level: float) -> bool:
            return one.controls.values["mix"] == level

        lines = ", ".join(f"{{channel: 1, universe: {universe}, to: mix}}" for universe in range(1, 46))
        one = Rig(lines, protocol="sacn", sacn_port=free_port(socket.SOCK_DGRAM))
        await one.dmx.start()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as desk:
                desk.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
                for universe in (1, 9, 45):
                    desk.sendto(sacn_packet(universe=universe, dmxData=(universe,)),
                                (f"239.255.0.{universe}", one.dmx.ports["sacn"]))
                    await until(one, functools.partial(is_mix, universe / 255))
        finally:
            await one.dmx.stop()
        assert "dmx/not_joined" not in one.counts
    asyncio.run(scenario())


def test_a_flood_leaves_the_event_loop_half_of_its_time(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        one = Rig("{channel: 1, to: mix}", **LOCAL)
        await one.dmx.start()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
                for number in range(3000):
                    flood.sendto(ARTDMX if number % 2 else b"junk", ("127.0.0.1", 8180))
            turns = 0
            while one.counts.get("dmx/malformed", 0) < 200:
                await asyncio.sleep(0)
                turns += 1
            assert turns > 1
        finally:
            await one.dmx.stop()
    asyncio.run(scenario())
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) < 20


def test_one_protocol_that_cannot_be_opened_does_not_stop_the_other(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 8180))  # it does not share the port
            one = Rig("{channel: 1, to: mix}", **LOCAL)
            await one.dmx.start()
            assert one.dmx.ports == {"sacn": 8181}
            await one.dmx.stop()
    asyncio.run(scenario())
    assert "UDP port 8180 on 127.0.0.1 cannot be listened on" in caplog.text
