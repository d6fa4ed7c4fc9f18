"""OSC over real sockets: changes, refusals, and packets that must do no harm."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import struct
import subprocess

import pytest

from lcm_daemon import controllers
from lcm_daemon.controllers.osc import sender_sockets, udp
from lcm_daemon.controllers.osc.controller import Osc
from lcm_daemon.controllers.osc.error_reports import MAX_LOGGED_UNKNOWN
from lcm_daemon.controllers.osc.options import FixedSubscriber
from lcm_daemon.controllers.osc_protocol import intake
from lcm_daemon.controllers.osc_protocol.aliases import MapEntry
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter
from lcm_daemon.core.requests import COMMANDS, CommandRequest
from lcm_daemon.core.schema import read_fields
from tests.conftest import need, need_module
from tests.measure.fuzz_osc import fuzz
from tests.rigs.osc_peers import PATIENCE, Peer, rig

OTHER = {"float": 0.25, "int": 3, "bool": True, "text": "lava, glowing red"}
FUTURE = struct.pack(">Q", 2**64 - 1)


def bundle(*inside: bytes, tag: bytes = FUTURE) -> bytes:
    return b"#bundle\0" + tag + b"".join(struct.pack(">i", len(each)) + each for each in inside)


# Values

@pytest.mark.parametrize("name", TABLE)
def test_every_parameter_moves(name: str) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                value = TABLE[name].choices[-1] if TABLE[name].choices else OTHER[TABLE[name].kind]
                peer.send(f"/lcm/{name}", value)
                await one.becomes(name, value)
                assert one.origins == [f"osc/127.0.0.1:{peer.port}"]
    asyncio.run(scenario())


@pytest.mark.parametrize(("name", "arguments", "value"), [
    ("steps", [3.0], 3),  # TouchDesigner sends floats for everything
    ("seed", [2**32 - 1], 2**32 - 1),
    ("strength", [5.0], 1.0),
    ("strength", [0.25, 9.0, "more"], 0.25),
    ("strength", ["0.5"], 0.5),
    ("freeze", [1.0], True),
    ("mode", [1], "text"),
    ("prompt", ["ocean", 0.7, "lava", 0.3], "ocean::0.7 lava::0.3"),
    ("prompt", ["deep", "blue", "ocean"], "deep blue ocean"),  # as Max and Pd send it
    ("prompt", ["deep", "ocean", 0.7, "lava"], "deep ocean::0.7 lava::1"),
    ("prompt", ["ocean::0.7", "lava::0.3"], "ocean::0.7 lava::0.3"),
    ("strength", ["33%"], 0.33),
    ("strength", [" 0,25 "], 0.25),
    ("prompt_b", ["ice", 1], "ice::1"),
    ("prompt", ["größer ↑ 火"], "größer ↑ 火"),
    ("prompt", ["x" * 60000], "x" * 2000),
])
def test_values_are_coerced(name: str, arguments: list[float | str], value: float | str) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                peer.send(f"/lcm/{name}", *arguments)
                await one.becomes(name, value)
    asyncio.run(scenario())


def test_an_invalid_value_is_refused_and_the_old_one_stays() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                for bad in (float("nan"), float("inf"), "much", ""):
                    peer.send("/lcm/strength", bad)
                for tags, data in ((b",N\0\0", b""), (b",[]\0", b""), (b",b\0\0", struct.pack(">i", 1) + b"x\0\0\0")):
                    peer.send_packet(b"/lcm/strength\0\0\0" + tags + data)
                for several in (["ocean", float("nan")], [0.5, "ocean"], ["ocean", 0.5, 0.5, True]):
                    peer.send("/lcm/prompt", *several)
                peer.send("/lcm/seed", 9)
                await one.becomes("seed", 9)
                assert one.controls.values["strength"] == TABLE["strength"].default
                assert one.count("desk/refused") == 6  # an empty array is a question
                assert one.count("osc/refused") == 2
    asyncio.run(scenario())


def test_a_bundle_of_a_wrong_clock_is_applied_at_once() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                inner = bundle(encode("/lcm/mix", [0.5]))
                peer.send_packet(bundle(encode("/lcm/steps", [3]), inner, encode("/lcm/seed", [4])))
                await one.becomes("seed", 4)
                assert (one.controls.values["steps"], one.controls.values["mix"]) == (3, 0.5)
    asyncio.run(scenario())


def test_a_pattern_sets_parameters_but_runs_no_command() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                peer.send("/lcm/*", 1)
                await one.becomes("seed", 1)
                assert one.controls.values["mix"] == 1.0
                assert one.controls.values["freeze"] is True
                peer.send("/lcm/{mix,guid*}", 0.5)  # a star is itself inside braces
                await one.becomes("mix", 0.5)
                assert one.controls.values["guidance"] == 1.0
                assert one.commands == []
    asyncio.run(scenario())


@pytest.mark.parametrize("name", [
    name for name, command in COMMANDS.items() if not command.required and not name.startswith("learn/")])
def test_commands(name: str) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                for released in (0, 0.0, False):
                    peer.send(f"/lcm/{name}", released)
                peer.send("/lcm/seed", 2)
                await one.becomes("seed", 2)
                assert one.commands == []
                for pressed in ([], [1], [1.0], [True], ["now"]):
                    peer.send(f"/lcm/{name}", *pressed)
                least = 1 if name == "panic" else 5  # a panic makes void what has not been carried out, panics too
                await one.until(lambda: len(one.commands) >= least)
                assert set(one.commands) == {CommandRequest(name, f"osc/127.0.0.1:{peer.port}")}
    asyncio.run(scenario())


def test_commands_with_arguments(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                peer.send("/lcm/recipe", "sd-trubo")
                peer.send("/lcm/recipe", 1)
                peer.send("/lcm/recipe")
                peer.send("/lcm/size", 384.0)
                peer.send("/lcm/size", 384.0, 99999)
                peer.send("/lcm/size", 384.0, 512, "more")
                peer.send("/lcm/recipe", "sd-turbo")
                await one.until(lambda: len(one.commands) == 2)
                origin = f"osc/127.0.0.1:{peer.port}"
                assert one.commands == [
                    CommandRequest("size", origin, (384, 512)), CommandRequest("recipe", origin, ("sd-turbo",))]
                assert one.count("desk/refused") == 5
        assert "recipe: 'sd-trubo' is not known; did you mean 'sd-turbo'?" in caplog.text
    asyncio.run(scenario())


def test_addresses_follow_the_recipe_and_subscribers_get_all_values() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                await peer.subscribed()
                ink = Parameter("lora/ink", "float", 0.5, "How much ink.", -2.0, 2.0)
                values = {**one.controls.values, "lora/ink": 0.75, "steps": 4}
                one.controls.replace_table({**TABLE, "lora/ink": ink}, values)
                received = await peer.receive_until("/lcm/lora/ink")
                assert (received["/lcm/lora/ink"], received["/lcm/steps"]) == (0.75, 4)
                peer.send("/lcm/lora/*", 1.5)
                await one.becomes("lora/ink", 1.5)
                one.controls.replace_table(TABLE, {name: p.default for name, p in TABLE.items()})
                peer.send("/lcm/lora/ink", 0.1)
                await one.until(lambda: one.count("osc/unknown") == 1)
    asyncio.run(scenario())


# No packet can do harm

@pytest.mark.slow
def test_bad_packets_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                for number in range(2500):
                    peer.send_packet(b"#bundle\0\0\0\0\0\0\0\0\1" + struct.pack(">i", -4))
                    peer.send_packet(encode(f"/unknown/{number}", [1]))
                    peer.send("/lcm/strength", float("nan"))
                    peer.send("/lcm/subscribe", "10.0.0.1:99")
                    if number % 20 == 0:
                        await asyncio.sleep(0)
                await one.until(lambda: one.count("osc/packets") == 10_000)
                await one.until(lambda: [
                    one.count(f"osc/{what}") for what in ("malformed", "unknown", "refused")] == [2500, 2500, 2500])
                assert not one.count("osc/failed")
    with caplog.at_level(logging.DEBUG):
        asyncio.run(scenario())
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) < MAX_LOGGED_UNKNOWN + 3 * 12 + 5
    assert sum("'/unknown/1'" in line for line in lines) == 1
    assert any("a bundle element has the invalid size -4" in line for line in lines)


@pytest.mark.slow
def test_fuzzed_packets_leave_it_running() -> None:
    counts = asyncio.run(fuzz(4000, seed=1))
    assert counts["osc/packets"] == 4000
    assert counts["osc/malformed"] > 400
    assert "osc/failed" not in counts


def test_a_defect_in_one_handler_is_counted_and_the_port_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                monkeypatch.setattr(one.controls, "command", lambda *_: 1 // 0)
                peer.send("/lcm/panic")
                peer.send("/lcm/seed", 3)
                await one.becomes("seed", 3)
                assert one.count("osc/failed") == 1
    asyncio.run(scenario())


def test_a_flood_coalesces_to_the_newest_value_and_lets_other_work_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "TURN_DATAGRAMS", 16)
    monkeypatch.setattr(sender_sockets, "MOST_SOCKETS", 0)

    async def scenario() -> None:
        async with rig() as one:
            passes = 0

            async def other_work() -> None:
                nonlocal passes
                while True:
                    passes += 1
                    await asyncio.sleep(0)

            with Peer(one.osc.port) as peer:
                task = asyncio.create_task(other_work())
                for burst in range(10):
                    passes = 0
                    for seed in range(1, 401):  # as many as any system's smallest buffer holds
                        peer.send("/lcm/seed", seed)
                    async with asyncio.timeout(PATIENCE):
                        while one.count("osc/packets") < 400 * (burst + 1):
                            await asyncio.sleep(0)
                    assert passes >= 400 // 16 - 1
                    last: list[object] = []
                    async with asyncio.timeout(PATIENCE):
                        while last != [("seed", 400)]:
                            last = [(c.name, c.value) for c in one.controls.pop_requests().changes.values()] or last
                            await asyncio.sleep(0)
                task.cancel()
    asyncio.run(scenario())


def test_a_packet_longer_than_a_turn_lets_other_work_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with rig() as one:
            sent: list[object] = []
            passes = 0
            with Peer(one.osc.port) as peer:
                monkeypatch.setattr(intake, "SLICE", -1.0)  # every message is longer than a turn
                monkeypatch.setattr(intake, "TURN", -1.0)
                peer.send_packet(bundle(*[encode("/lcm/prompts/play", [place]) for place in range(1, 51)]))
                async with asyncio.timeout(PATIENCE):
                    while 50.0 not in sent:
                        sent += [each.arguments[0] for each in one.controls.pop_requests().commands]
                        passes += 1
                        await asyncio.sleep(0)
                assert sent == [float(place) for place in range(1, 51)]
                assert passes >= 50
    asyncio.run(scenario())


# Starting and stopping

def test_a_port_in_use_has_a_clear_error() -> None:
    async def scenario(port: int) -> None:
        async with rig(port=port):
            pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        expected = f"^OSC: UDP port {port} on 127.0.0.1 is in use .* osc.port in the show$"
        with pytest.raises(LcmDaemonError, match=expected):
            asyncio.run(scenario(port))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_feedback_to_itself_has_a_clear_error(host: str) -> None:
    with pytest.raises(LcmDaemonError, match=r"^OSC: osc.feedback names port 9007"):
        asyncio.run(rig(port=9007, host=host, feedback=(FixedSubscriber("127.0.0.1:9007"),)).__aenter__())


def test_stopping_frees_the_port_and_starting_again_works() -> None:
    async def scenario() -> None:
        async with rig() as one:
            port = one.osc.port
            await one.osc.start()
            assert one.osc.port == port
            assert one.count("osc/receive_buffer") >= 65536
            await one.osc.stop()
            await one.osc.stop()
            assert one.osc.port == 0
            assert one.count("osc/receive_buffer") == 0
            assert one.controls.subscribers == []
            await one.osc.start()
            with Peer(one.osc.port) as peer:
                peer.send("/lcm/seed", 3)
                await one.becomes("seed", 3)
    asyncio.run(scenario())


def make_controls() -> ControlState:
    return ControlState(TABLE, {name: p.default for name, p in TABLE.items()}, Metrics(), lambda: None)


@pytest.mark.parametrize(("text", "reason"), [
    ("{allow: [10.0.0.1/8]}", "'10.0.0.1/8' is not an address"),
    ("{profiles: [td]}", "one of bare, streamdiffusiontd, scope"),
    ("{feedback_rate: 0}", "a number from 1 to 1000"),
    ("{feedback: [{to: 'x'}]}", "'x' is not an IP address and a port"),
    ("{map: [{from: fader, to: mix}]}", "'fader' is not an OSC address"),
    ("{map: [{from: /fader/*, to: mix}]}", "'/fader/*' is not an OSC address"),
    ("{map: [{from: /lcm/fader, to: mix}]}", "are reserved for the daemon"),
    ("{map: [{from: /fader}]}", "to"),
    ("{map: [{from: /a, to: mix, range: [1, 1]}]}", "two different numbers"),
    ("{map: [{from: /a, to: mix, range: [1, x]}]}", "'x' is not a number"),
    ("{map: [{from: /a, to: mix, curve: steep}]}", "one of linear, exp, log, square, scurve"),
    ("{map: [{from: /a, to: mix, value: 1, with: [1]}]}", "`value` and `with` cannot be together"),
    ("{map: [{from: /a, to: mix, value: 1, range: [0, 1]}]}", "remove range, input and curve"),
    ("{map: [{from: /a, to: mix, value: [1]}]}", "is not a number, true, false or text"),
    ("{map: [/fader]}", "an entry of the map is a mapping such as"),
])
def test_mistakes_in_the_shows_keys(text: str, reason: str) -> None:
    problems = Problems()
    read_fields(compose(text, "show"), Osc.fields, problems)
    assert any(reason in problem.text for problem in problems.found)


def test_the_shows_keys() -> None:
    problems = Problems()
    text = """
        {port: 9002, ports: [9002, 9003], tcp: 9002, host: localhost, allow: [10.0.0.0/8, 192.168.1.20, localhost],
         feedback: ['127.0.0.1:9001', 9003, {to: '10.0.0.1:9000', addresses: [map, scope]}], feedback_rate: 30,
         profiles: [bare], map: [{from: /1/fader3, to: strength, range: [0.2, 0.9], curve: exp},
                                 {from: /2/xy, to: mix, argument: 1, input: [0, 127]}, {from: /go, to: panic},
                                 {from: /red, to: prompt, value: red}, {from: /a, to: mix, with: ['+', 0.1]}]}"""
    assert read_fields(compose(text, "show"), Osc.fields, problems) == {
        "port": 9002, "ports": (9002, 9003), "tcp": 9002, "host": "127.0.0.1",
        "allow": ("10.0.0.0/8", "192.168.1.20", "localhost"),
        "feedback": (FixedSubscriber("127.0.0.1:9001"), FixedSubscriber("127.0.0.1:9003"),
                     FixedSubscriber("10.0.0.1:9000", ("map", "scope"))),
        "feedback_rate": 30.0, "profiles": ("bare",),
        "map": (MapEntry("/1/fader3", "strength", (0.2, 0.9), None, "exp"),
                MapEntry("/2/xy", "mix", None, (0.0, 127.0), None, 1), MapEntry("/go", "panic"),
                MapEntry("/red", "prompt", fixed=("red",), is_value=True), MapEntry("/a", "mix", fixed=("+", 0.1))),
        "report": "target", "time_tags": "auto",
    }
    assert read_fields(compose("{}", "show"), Osc.fields, problems) == Osc(make_controls(), {}).options
    assert problems.found == []
    text = "{port: 70000, host: example.org, feedback: ['lights:9001', 'x', [1]]}"
    read_fields(compose(text, "show"), Osc.fields, problems)
    assert [problem.text.split(" is not ")[0] for problem in problems.found] == [
        "70000", "'example.org'", "'lights:9001'", "'x'", "a list"]
    assert controllers.load("osc") is Osc
    with pytest.raises(ValueError, match="bogus"):
        asyncio.run(rig(bogus=1).__aenter__())


def test_several_ports_and_an_allowlist() -> None:
    async def scenario() -> None:
        async with rig(ports=(0, 0), allow=("127.0.0.1/32", "127.0.1.0/24")) as one:
            first, second = one.osc.ports
            with Peer(first) as a, Peer(second) as b, Peer(first, "127.0.1.7") as c, Peer(second, "127.0.0.2") as d:
                a.send("/lcm/seed", 1)
                await one.becomes("seed", 1)
                b.send("/lcm/seed", 2)
                await one.becomes("seed", 2)
                c.send("/lcm/seed", 3)
                await one.becomes("seed", 3)
                d.send("/lcm/seed", 4)
                await one.until(lambda: one.count("osc/denied") == 1)
                assert one.controls.values["seed"] == 3
            assert one.osc.port == first
        assert one.osc.ports == []
    asyncio.run(scenario())


def test_if_one_port_fails_none_stays_open() -> None:
    async def scenario(taken: int, free: int) -> None:
        for options in ({"ports": (free, taken)}, {"ports": (free,), "tcp": taken}):
            with pytest.raises(LcmDaemonError, match=f"port {taken} on 127.0.0.1 is in use"):
                await rig(**options).__aenter__()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
                again.bind(("127.0.0.1", free))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, socket.socket() as listening:
        other.bind(("127.0.0.1", 0))
        listening.bind(("127.0.0.1", other.getsockname()[1]))
        listening.listen()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
            unused.bind(("127.0.0.1", 0))
            free = unused.getsockname()[1]
        asyncio.run(scenario(other.getsockname()[1], free))


# Independent peers

async def liblo(program: str, *arguments: str) -> asyncio.subprocess.Process:
    need(shutil.which(program) is not None, f"{program} (liblo-tools) is not installed")
    return await asyncio.create_subprocess_exec(program, *arguments, stdout=subprocess.PIPE)


async def oscsend(port: int, *arguments: str) -> None:
    assert await (await liblo("oscsend", "localhost", str(port), *arguments)).wait() == 0


def test_oscsend_sets_values_and_oscdump_receives_them() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
                free.bind(("127.0.0.1", 0))
                ear = str(free.getsockname()[1])
            dump = await liblo("oscdump", "-L", ear)
            try:
                async with asyncio.timeout(PATIENCE):
                    heard = b""
                    while b"/lcm/freeze" not in heard:  # until oscdump has opened its port
                        await oscsend(one.osc.port, "/lcm/subscribe", "i", ear)
                        try:
                            heard = await asyncio.wait_for(dump.stdout.readuntil(b"/lcm/freeze"), 0.5)
                        except TimeoutError:
                            continue
                    for arguments in (("/lcm/prompt", "s", "lava, glowing red"), ("/lcm/strength", "f", "0.75")):
                        await oscsend(one.osc.port, *arguments)
                    await one.becomes("strength", 0.75)
                    assert one.controls.values["prompt"] == "lava, glowing red"
                    while b"/lcm/prompt s \"lava, glowing red\"" not in heard:
                        heard = await dump.stdout.readline()
                    while b"/lcm/strength f 0.75" not in heard:
                        heard = await dump.stdout.readline()
            finally:
                dump.kill()
                await dump.wait()
    asyncio.run(scenario())


def test_a_liblo_server_that_listens_and_sends_on_one_port() -> None:
    liblo3 = need_module("pyliblo3")

    async def scenario() -> None:
        heard: list[tuple[str, object]] = []
        server = liblo3.Server()  # any free port
        server.add_method(None, None, lambda path, arguments: heard.append((path, arguments[0])))

        async def hear(address: str) -> None:
            async with asyncio.timeout(PATIENCE):
                while address not in dict(heard):
                    server.recv(0)
                    await asyncio.sleep(0.001)

        async with rig() as one:
            target = liblo3.Address("127.0.0.1", one.osc.port)
            server.send(target, "/lcm/subscribe")
            await hear(f"/lcm/{list(TABLE)[-1]}")
            heard.clear()
            messages = liblo3.Message("/lcm/steps", 5.0), liblo3.Message("/lcm/mix", ("d", 0.5))
            server.send(target, liblo3.Bundle(*messages))
            await one.becomes("mix", 0.5)
            assert one.controls.values["steps"] == 5
            server.send(target, "/lcm/seed")
            await hear("/lcm/seed")
            assert heard == [("/lcm/seed", 0)]  # its own steps and mix did not come back
        server.free()
    asyncio.run(scenario())
