"""Aliases over real sockets: addresses of other tools and of the show, and packets of known programs."""

from __future__ import annotations

import asyncio
import struct
import time

import pytest

from lcm_daemon.controllers.osc_protocol.aliases import PROFILES, MapEntry
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.controllers.osc_protocol.packet_check import check_packet
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Value
from lcm_daemon.core.requests import Change
from tests.rigs.osc_peers import Peer, rig


@pytest.mark.parametrize(("profile", "address", "arguments", "name", "value"), [
    ("bare", "/prompt", ["ocean"], "prompt", "ocean"),
    ("bare", "/prompt", ["ocean", 0.7, "lava", 0.3], "prompt", "ocean::0.7 lava::0.3"),
    ("bare", "/negative_prompt", ["blurry"], "negative_prompt", "blurry"),
    ("bare", "/strength", [0.25], "strength", 0.25),
    ("bare", "/steps", [4.0], "steps", 4),
    ("bare", "/seed", [7], "seed", 7),
    ("bare", "/guidance_scale", [2.5], "guidance", 2.5),
    ("bare", "/blend", [0.5], "blend", 0.5),
    ("streamdiffusiontd", "/prompt", ["ocean"], "prompt", "ocean"),
    ("streamdiffusiontd", "/negative_prompt", ["blurry"], "negative_prompt", "blurry"),
    ("streamdiffusiontd", "/seed", [7.0], "seed", 7),
    ("streamdiffusiontd", "/guidance_scale", [1.5], "guidance", 1.5),
    ("streamdiffusiontd", "/prompt_list", ['[["ocean", 0.75], ["lava", 0.25]]'], "prompt", "ocean::0.75 lava::0.25"),
    ("streamdiffusiontd", "/seed_list", ["[[3, 0.2], [5, 0.8]]"], "seed", 5),
    ("streamdiffusiontd", "/t_list", [20, 35, 45], "strength", 0.6),
    ("streamdiffusiontd", "/t_list", [12.0, 24.0, 36.0], "steps", 3),
    ("streamdiffusiontd", "/sdmode", ["txt2img"], "mode", "text"),
    ("streamdiffusiontd", "/pause", [], "freeze", True),
    ("streamdiffusiontd", "/pause", [1], "freeze", True),
    ("scope", "/scope/prompt", ["a glowing reef at night"], "prompt", "a glowing reef at night"),
    ("scope", "/scope/noise_scale", [0.5], "strength", 0.5),
    ("scope", "/scope/denoising_step_list", [1000, 750, 500], "steps", 3),
    ("scope", "/scope/input_mode", ["text"], "mode", "text"),
    ("scope", "/scope/paused", [True], "freeze", True),
])
def test_profiles(profile: str, address: str, arguments: list[Value], name: str, value: Value) -> None:
    async def scenario() -> None:
        async with rig(profiles=(profile,)) as one:
            with Peer(one.osc.port) as peer:
                peer.send(address, *arguments)
                await one.becomes(name, value)
    if isinstance(value, float):
        value = pytest.approx(value)
    asyncio.run(scenario())


def test_every_profile_has_existing_targets() -> None:
    assert {alias.to for aliases in PROFILES.values() for alias in aliases} <= TABLE.keys()


def test_a_profile_is_off_by_default() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                peer.send("/prompt", "ocean")
                await one.until(lambda: one.count("osc/unknown") == 1)
    asyncio.run(scenario())


@pytest.mark.parametrize(("address", "arguments"), [
    ("/prompt_list", ["ocean"]), ("/prompt_list", ["[1, 2]"]), ("/prompt_list", ["[" * 9000]), ("/prompt_list", [3]),
    ("/prompt_list", ['[["ocean", NaN]]']), ("/seed_list", ["[]"]), ("/t_list", ["much"]), ("/sdmode", ["video"]),
    ("/sdmode", [1]),
])
def test_invalid_arguments_of_a_profile_are_refused(address: str, arguments: list[Value]) -> None:
    async def scenario() -> None:
        async with rig(profiles=("streamdiffusiontd",)) as one:
            before = dict(one.controls.values)
            with Peer(one.osc.port) as peer:
                peer.send(address, *arguments)
                await one.until(lambda: one.count("osc/refused") == 1)
            assert (one.count("osc/failed"), one.controls.values) == (0, before)
    asyncio.run(scenario())


FADER = MapEntry("/1/fader3", "strength", (0.2, 0.9), None, "exp")


@pytest.mark.parametrize(("entry", "arguments", "value"), [
    (FADER, [0.0], 0.2),
    (FADER, [1.0], 0.9),
    (FADER, [0.5], 0.2 + 0.7 * 0.2403),
    (FADER, [7.0], 0.9),
    (MapEntry("/a", "strength", (0.9, 0.2)), [0.25], 0.725),
    (MapEntry("/a", "strength", (0.2, 0.9), (0.0, 127.0)), [127], 0.9),
    (MapEntry("/a", "strength", None, (1.0, 0.0)), [0.25], 0.75),
    (MapEntry("/a", "steps", None, None, "linear"), [1.0], 8),
    (MapEntry("/a", "guidance", None, None, "square"), [0.5], 5.0),
    (MapEntry("/a", "noise", (0.0, 1.0)), [1.0], "walking"),
    (MapEntry("/3/xy", "mix", argument=1), [0.25, 0.75], 0.75),
    (MapEntry("/3/xy", "mix", (0.0, 0.5), argument=1), [0.25, 0.5], 0.25),
    (MapEntry("/a", "prompt"), ["ocean"], "ocean"),
])
def test_maps(entry: MapEntry, arguments: list[Value], value: Value) -> None:
    async def scenario() -> None:
        async with rig(map=(entry,)) as one:
            with Peer(one.osc.port) as peer:
                peer.send(entry.address, *arguments)
                await one.becomes(entry.to, value)
    if isinstance(value, float):
        value = pytest.approx(value, abs=1e-4)
    asyncio.run(scenario())


def test_a_mapped_fader_gets_answers_and_changes_but_no_echo() -> None:
    async def scenario() -> None:
        async with rig(map=(FADER, MapEntry("/1/fader4", "seed"))) as one:
            with Peer(one.osc.port) as surface, Peer(one.osc.port) as player:
                surface.send("/lcm/subscribe", 0, 60, "map")
                await surface.receive_until("/1/fader4")
                for strength, fader in ((0.2, 0.0), (0.2 + 0.7 * 0.2403, 0.5), (0.9, 1.0), (1.0, 1.0)):
                    one.controls.apply_update([Change("strength", strength, "panel/1")], None)
                    assert await surface.receive() == ("/1/fader3", pytest.approx(fader, abs=1e-3))
                player.send("/1/fader3")
                assert await player.receive() == ("/1/fader3", 1.0)
                assert await surface.receive() == ("/1/fader3", 1.0)  # an answer is for every subscriber on that host
                one.osc._echoes.now = lambda: time.monotonic() + 60.0  # what it was sent is long ago
                surface.send("/1/fader3", 0.0)
                await one.becomes("strength", 0.2)
                one.controls.apply_update([Change("seed", 9, "panel/1")], None)
                assert await surface.receive() == ("/1/fader4", 9)  # and not its own strength before
    asyncio.run(scenario())


def test_a_button_has_a_value_or_arguments_of_its_own() -> None:
    entries = (
        MapEntry("/1/red", "prompt", fixed=("red",), is_value=True),
        MapEntry("/1/half", "mix", fixed=(0.5,), is_value=True),
        MapEntry("/1/storm", "cue/goto", fixed=("storm", 5)), MapEntry("/1/more", "strength", fixed=("+", 0.25)),
        MapEntry("/1/bad", "mix", fixed=("much",), is_value=True),
    )

    async def scenario() -> None:
        async with rig(map=entries) as one:
            with Peer(one.osc.port) as peer, Peer(one.osc.port) as lamps:
                lamps.send("/lcm/subscribe", 0, 60, "map")
                await lamps.receive_until("/1/bad")
                peer.send("/1/red", 0.0)
                peer.send("/1/half", False)
                peer.send("/1/red", 1.0)
                await one.becomes("prompt", "red")
                assert await lamps.receive() == ("/1/red", 1)
                peer.send("/lcm/prompt", "blue")
                await one.becomes("prompt", "blue")
                assert await lamps.receive() == ("/1/red", 0)
                peer.send("/1/half")
                await one.becomes("mix", 0.5)
                for address in ("/1/storm", "/1/more", "/1/bad"):
                    peer.send(address, 1)
                    peer.send(address, 0)
                await one.until(lambda: len(one.commands) == 2)
                await one.until(lambda: one.count("desk/refused") == 1)
                assert [(each.name, each.arguments) for each in one.commands] == [
                    ("cue/goto", ("storm", 5.0)), ("adjust", ("strength", 0.25))]
    asyncio.run(scenario())


@pytest.mark.parametrize("argument", ["much", float("nan"), float("inf")])
def test_invalid_fader_values_are_refused(argument: Value) -> None:
    async def scenario() -> None:
        async with rig(map=(FADER,)) as one:
            with Peer(one.osc.port) as peer:
                peer.send("/1/fader3", argument)
                await one.until(lambda: one.count("osc/refused") == 1)
    asyncio.run(scenario())


def test_an_address_may_have_several_targets_commands_and_targets_of_a_recipe(caplog: pytest.LogCaptureFixture) -> None:
    entries = (
        MapEntry("/1/fader1", "mix"), MapEntry("/1/fader1", "strength", (1.0, 0.0)), MapEntry("/1/push1", "cue/go"),
        MapEntry("/1/fader2", "lora/ink"), MapEntry("/1/fader5", "strenth"),
    )

    async def scenario() -> None:
        async with rig(map=entries) as one:
            with Peer(one.osc.port) as peer:
                peer.send("/1/fader1", 0.25)
                await one.becomes("strength", 0.75)
                assert one.controls.values["mix"] == 0.25
                peer.send("/1/push1", 0.0)
                peer.send("/1/push1", 1.0)
                peer.send("/1/push1")
                await one.until(lambda: len(one.commands) == 2)
                peer.send("/1/fader2", 0.5)
                await one.until(lambda: one.count("osc/unknown") == 1)
                ink = Parameter("lora/ink", "float", 0.0, "How much ink.", -2.0, 2.0)
                one.controls.replace_table({**TABLE, "lora/ink": ink}, {**one.controls.values, "lora/ink": 0.0})
                peer.send("/1/fader2", 0.5)
                await one.becomes("lora/ink", 0.5)
    asyncio.run(scenario())
    expected = "/1/fader5 does nothing now: unknown parameter or command 'strenth'; did you mean 'strength'?"
    assert expected in caplog.text


def test_the_map_comes_before_the_profiles_and_profiles_in_order() -> None:
    async def scenario() -> None:
        async with rig(profiles=("streamdiffusiontd", "bare"), map=(MapEntry("/seed", "steps"),)) as one:
            with Peer(one.osc.port) as peer:
                peer.send("/seed", 5)
                await one.becomes("steps", 5)
                assert one.controls.values["seed"] == 0
                peer.send("/strength", 0.25)
                await one.becomes("strength", 0.25)
    asyncio.run(scenario())


# Packets as other programs send them

def touchdesigner(**channels: float) -> bytes:
    """A frame of TouchDesigner's OSC Out CHOP: a bundle with one float message per channel, named after the channel.

    docs.derivative.ca/OSC_Out_CHOP: "Data Format: Sample", with "Send Events Every Cook" and bundles; the time tag is
    "immediately".
    """
    messages = [encode(f"/{name}", [float(value)]) for name, value in channels.items()]
    return b"#bundle\0" + struct.pack(">Q", 1) + b"".join(struct.pack(">i", len(each)) + each for each in messages)


def test_touchdesigner_sends_a_bundle_each_frame() -> None:
    async def scenario() -> None:
        async with rig(profiles=("bare",)) as one:
            with Peer(one.osc.port) as peer:
                for frame in range(60):
                    names = {"strength": frame / 60, "steps": 1 + frame % 4, "seed": frame, "lcm/freeze": frame % 2}
                    peer.send_packet(touchdesigner(**names))
                await one.becomes("seed", 59)
                assert one.controls.values["strength"] == pytest.approx(59 / 60)
                assert (one.controls.values["steps"], one.controls.values["freeze"]) == (4, True)
                assert one.count("osc/unknown") == one.count("desk/refused") == 0
    asyncio.run(scenario())


RESOLUME = [  # resolume.com/support/en/osc: /composition/..., faders from 0 to 1 as floats, buttons as int 1 and 0
    b"/composition/layers/1/clips/1/connect\0\0\0,i\0\0\0\0\0\1",
    b"/composition/layers/1/clips/1/connect\0\0\0,i\0\0\0\0\0\0",
    b"/composition/layers/1/video/opacity\0,f\0\0?\0\0\0",
]
TOUCHOSC = [  # hexler.net/touchosc-mk1/manual: /page/control with floats, multi-faders and toggles by number, xy pads
    b"/1\0\0,\0\0\0",
    b"/1/fader3\0\0\0,f\0\0?@\0\0",
    b"/1/toggle1\0\0,f\0\0?\x80\0\0",
    b"/2/multifader/3\0,f\0\0>\x80\0\0",
    b"/3/xy\0\0\0,ff\0>\x80\0\0?\0\0\0",
    b"/ping\0\0\0,\0\0\0",
]


@pytest.mark.parametrize("packet", RESOLUME + TOUCHOSC)
def test_they_are_well_formed(packet: bytes) -> None:
    assert check_packet(packet).messages == [(packet, 1)]


def test_resolume_and_touchosc() -> None:
    entries = (
        MapEntry("/composition/layers/1/video/opacity", "strength", (0.0, 0.5)),
        MapEntry("/composition/layers/1/clips/1/connect", "panic"),
        MapEntry("/1/fader3", "blend"), MapEntry("/1/toggle1", "freeze"),
        MapEntry("/2/multifader/3", "guidance", (0.0, 4.0)),
        MapEntry("/3/xy", "mix"), MapEntry("/3/xy", "feedback", argument=1),
    )

    async def scenario() -> None:
        async with rig(map=entries) as one:
            with Peer(one.osc.port) as peer:
                for packet in RESOLUME + TOUCHOSC:
                    peer.send_packet(packet)
                await one.becomes("feedback", 0.5)
                await one.until(lambda: one.count("osc/unknown") == 2)  # the page's name and the ping
                values = one.controls.values
                assert [values[name] for name in ("strength", "blend", "freeze", "guidance", "mix")] == [
                    0.25, 0.75, True, 1.0, 0.25]
                assert len(one.commands) == 1
    asyncio.run(scenario())
