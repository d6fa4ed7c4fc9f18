"""OSCQuery against clients that were written from the proposal alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pythonosc.osc_message import OscMessage
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lcm_daemon import controllers
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.controllers.oscquery import client, mdns, server, tree
from lcm_daemon.controllers.oscquery.controller import OscQuery
from lcm_daemon.controllers.oscquery.tree import build_tree, method_nodes
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Value
from lcm_daemon.core.requests import Change, CommandRequest, commands
from lcm_daemon.core.schema import read_fields
from tests.conftest import need_module
from tests.rigs.echo import echo
from tests.rigs.osc_peers import PATIENCE

pytestmark = pytest.mark.slow  # each test opens sockets and waits for their other end

INK = Parameter("lora/ink", "float", 0.5, "How much ink.", -2.0, 2.0)


class Desk:
    """An OscQuery with a control state and a stand-in for the stage."""

    def __init__(self, **options: Any) -> None:
        self.metrics = Metrics()
        values = {name: p.default for name, p in TABLE.items()}
        self.controls = ControlState(TABLE, values, self.metrics, lambda: None, commands(["ink", "sd-turbo"]))
        self.controls.show = "mirror"
        self.query = OscQuery(self.controls, {"port": 0, **options})

    async def get(self, path: str, host: str = "", origin: str = "") -> tuple[int, Any]:
        """Return the status and the JSON of a GET."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.query.port}{path}")
        for name, value in (("Host", host), ("Origin", origin)):
            if value:
                request.add_header(name, value)

        def ask() -> tuple[int, Any]:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                body = answer.read()
                return answer.status, json.loads(body) if body else None

        try:
            return await asyncio.to_thread(ask)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, None

    def client(self, **options: Any) -> connect:
        return connect(f"ws://127.0.0.1:{self.query.port}/", compression=None, **options)

    async def becomes(self, name: str, value: Value) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.controls.values[name] != value:
                echo(self.controls)
                await asyncio.sleep(0.001)

    async def counts(self, path: str, number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.metrics.counts().get(path, 0) < number:
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def served(**options: Any) -> AsyncIterator[Desk]:
    desk = Desk(**options)
    await desk.query.start()
    try:
        yield desk
    finally:
        await desk.query.stop()


async def order(client: ClientConnection, command: str, path: str) -> None:
    await client.send(json.dumps({"COMMAND": command, "DATA": path}))


async def listens(client: ClientConnection, *paths: str) -> None:
    """Listen, and wait for the reply to a question sent after it."""
    for path in paths:
        await order(client, "LISTEN", path)
    await client.send(encode("/lcm/mix", []))
    assert (await receive(client))[0] == "/lcm/mix"


async def receive(client: ClientConnection) -> tuple[str, Any]:
    """Return the next message: a command and its path, or an address and its first argument."""
    async with asyncio.timeout(PATIENCE):
        message = await client.recv()
    if isinstance(message, str):
        found = json.loads(message)
        assert found.keys() == {"COMMAND", "DATA"}
        return found["COMMAND"], found["DATA"]
    osc = OscMessage(message)
    return osc.address, osc.params[0]


# The tree

def test_the_whole_tree() -> None:
    async def scenario() -> None:
        async with served() as desk:
            desk.controls.apply_update([], {"fps": 29.5, "engine": "running", "frozen": False, "missed": 3})
            status, root = await desk.get("/")
            assert (status, root["FULL_PATH"], root["ACCESS"]) == (200, "/", 0)
            inside = root["CONTENTS"]["lcm"]["CONTENTS"]
            walk(root, "")
            assert {path.removeprefix("/lcm/") for path in methods(root)} == {
                *TABLE, *desk.controls.commands, *(f"status/{name}" for name in desk.controls.status)}
            assert inside["strength"] == {
                "FULL_PATH": "/lcm/strength", "ACCESS": 3, "TYPE": "f", "VALUE": [0.6], "LABEL": "strength",
                "DESCRIPTION": f"{TABLE['strength'].help} No effect while mode is not image.", "TAGS": ["Play"],
                "RANGE": [{"MIN": 0.0, "MAX": 1.0}], "CLIPMODE": ["both"]}
            assert inside["prompt_glide"]["UNIT"] == ["time.second"]
            assert (inside["steps"]["TYPE"], inside["steps"]["RANGE"]) == ("i", [{"MIN": 1, "MAX": 8}])
            assert (inside["seed"]["TYPE"], inside["seed"]["RANGE"]) == ("i", [{"MIN": 0, "MAX": 2**31 - 1}])
            assert (inside["freeze"]["TYPE"], inside["freeze"]["VALUE"]) == ("T", [False])
            assert (inside["prompt"]["TYPE"], inside["prompt"]["VALUE"]) == ("s", ["clouds"])
            assert inside["noise"]["RANGE"] == [{"VALS": ["fixed", "walking"]}]
            assert (inside["panic"]["TYPE"], inside["panic"]["ACCESS"]) == ("N", 2)
            assert (inside["size"]["TYPE"], len(inside["size"]["RANGE"])) == ("ii", 2)
            assert inside["recipe"]["RANGE"] == [{"VALS": ["ink", "sd-turbo"]}]
            assert {name: (node["TYPE"], node["VALUE"]) for name, node in inside["status"]["CONTENTS"].items()} == {
                "fps": ("f", [29.5]), "engine": ("s", ["running"]), "frozen": ("T", [False]), "missed": ("i", [3])}
            assert {node["ACCESS"] for node in inside["status"]["CONTENTS"].values()} == {1}
    asyncio.run(scenario())


def methods(node: dict[str, Any]) -> set[str]:
    """Return the paths of the nodes with a TYPE."""
    inside = (methods(each) for each in node.get("CONTENTS", {}).values())
    return set().union({node["FULL_PATH"]} if "TYPE" in node else (), *inside)


def walk(node: dict[str, Any], path: str) -> None:
    assert node["FULL_PATH"] == (path or "/")
    if "TYPE" in node:
        for key in ("VALUE", "RANGE", "CLIPMODE", "UNIT"):
            assert len(node.get(key, node["TYPE"])) == len(node["TYPE"])
    for name, inside in node.get("CONTENTS", {}).items():
        walk(inside, f"{path}/{name}")


def test_a_parameter_may_also_be_a_container() -> None:
    desk = Desk()
    names = ("control/depth", "control/depth/start", "control", "lora/ink")
    table = {name: Parameter(name, "float", 0.5, "") for name in names}
    desk.controls.replace_table(table, dict.fromkeys(table, math.pi))
    desk.controls.apply_update([], {"fps": math.nan})
    root = build_tree(method_nodes(desk.controls))
    walk(root, "")
    control = root["CONTENTS"]["lcm"]["CONTENTS"]["control"]
    assert control["VALUE"] == control["CONTENTS"]["depth"]["CONTENTS"]["start"]["VALUE"] == [math.pi]
    assert root["CONTENTS"]["lcm"]["CONTENTS"]["status"]["CONTENTS"]["fps"]["VALUE"] == [None]
    json.dumps(root, allow_nan=False)


@pytest.mark.parametrize(("path", "status", "answer"), [
    ("/lcm/strength?VALUE", 200, {"VALUE": [0.6]}),
    ("/lcm/strength/?TYPE", 200, {"TYPE": "f"}),
    ("/lcm/strength?RANGE", 200, {"RANGE": [{"MIN": 0.0, "MAX": 1.0}]}),
    ("/lcm/strength?ACCESS&FULL_PATH", 200, {"ACCESS": 3, "FULL_PATH": "/lcm/strength"}),
    ("/lcm?TYPE", 200, {}),
    ("/lcm/strength?UNIT", 200, {}),
    ("/lcm/panic?VALUE", 204, None),
    ("/lcm?VALUE", 204, None),
    ("/lcm/strength?EXTENDED_TYPE", 204, None),
    ("/lcm/strength?HTML", 204, None),
    ("/lcm/strength?COLOUR", 400, None),
    ("/lcm/strength?" + "VALUE&" * 100, 400, None),
    ("/lcm/strenth", 404, None),
    ("/lcm/strenth?TYPE", 404, None),
    ("/lcm/strength/deeper", 404, None),
    ("/../etc/passwd", 404, None),
])
def test_attributes(path: str, status: int, answer: Any) -> None:
    async def scenario() -> None:
        async with served() as desk:
            assert await desk.get(path) == (status, answer)
    asyncio.run(scenario())


def test_host_info() -> None:
    async def scenario() -> None:
        async with served(osc_port=9123) as desk:
            for path in ("/?HOST_INFO", "/no/where?HOST_INFO"):
                status, info = await desk.get(path)
                assert status == 200
                assert (info["NAME"], info["OSC_PORT"], info["OSC_TRANSPORT"]) == ("lcm-daemon mirror", 9123, "UDP")
                assert {"ACCESS", "VALUE", "RANGE", "DESCRIPTION", "LISTEN", "PATH_CHANGED"} <= {
                    name for name, there in info["EXTENSIONS"].items() if there is True}
    asyncio.run(scenario())


def test_values_are_current() -> None:
    async def scenario() -> None:
        async with served() as desk:
            desk.controls.apply_update([Change("strength", 0.25, "panel/1")], None)
            assert await desk.get("/lcm/strength?VALUE") == (200, {"VALUE": [0.25]})
    asyncio.run(scenario())


# Streaming

def test_the_tree_is_built_once_for_as_long_as_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with served() as desk:
            await desk.get("/")
            with monkeypatch.context() as patch:
                patch.setattr(tree, "build_tree", None)
                assert (await desk.get("/"))[1]["CONTENTS"].keys() == {"lcm"}
                assert (await desk.get("/lcm/strength?VALUE"))[1] == {"VALUE": [0.6]}
            desk.controls.set("strength", 0.25, "test")
            await desk.becomes("strength", 0.25)
            desk.controls.apply_update([], {"fps": 12.5})
            inside = (await desk.get("/"))[1]["CONTENTS"]["lcm"]["CONTENTS"]
            assert (inside["strength"]["VALUE"], inside["status"]["CONTENTS"]["fps"]["VALUE"]) == ([0.25], [12.5])
            assert (await desk.get("/lcm/strength?VALUE"))[1] == {"VALUE": [0.25]}
    asyncio.run(scenario())


def test_listen_and_ignore() -> None:
    async def scenario() -> None:
        async with served() as desk, desk.client() as client:
            await listens(client, "/lcm/strength", "/lcm/freeze", "/lcm/seed")
            desk.controls.apply_update([Change("steps", 4, "panel/1"), Change("strength", 0.5, "panel/1")], None)
            assert await receive(client) == ("/lcm/strength", 0.5)  # and no steps: the client does not listen to them
            desk.controls.apply_update([Change("freeze", True, "osc/127.0.0.1:9")], None)
            assert await receive(client) == ("/lcm/freeze", True)
            desk.controls.apply_update([Change("seed", 7, "osc/127.0.0.1:9")], None)
            async with asyncio.timeout(PATIENCE):
                assert await client.recv() == encode("/lcm/seed", [7])  # an i, as its TYPE says
            await order(client, "IGNORE", "/lcm/strength")
            await listens(client)
            desk.controls.apply_update([Change("strength", 0.75, "panel/1"), Change("seed", 8, "panel/1")], None)
            assert await receive(client) == ("/lcm/seed", 8)
    asyncio.run(scenario())


def test_packets_set_values_run_commands_and_are_not_echoed() -> None:
    async def scenario() -> None:
        async with served() as desk, desk.client() as client, desk.client() as other:
            await listens(client, "/lcm/steps", "/lcm/seed")
            await listens(other, "/lcm/steps")
            await client.send(encode("/lcm/prompt", ["ocean", 0.5, "lava", 0.5]))
            await client.send(encode("/lcm/steps", [5.0]))
            await desk.becomes("steps", 5)
            assert desk.controls.values["prompt"] == "ocean::0.5 lava::0.5"
            assert await receive(other) == ("/lcm/steps", 5)
            desk.controls.apply_update([Change("seed", 1, "panel/1")], None)
            assert await receive(client) == ("/lcm/seed", 1)  # and not its own steps before
            await client.send(encode("/lcm/panic", []))
            await client.send(encode("/lcm/mix", []))
            assert await receive(client) == ("/lcm/mix", 1.0)
            assert desk.controls.pop_requests().commands == [CommandRequest("panic", "oscquery/1")]
    asyncio.run(scenario())


def test_the_tree_follows_the_recipe() -> None:
    async def scenario() -> None:
        async with served() as desk, desk.client() as client:
            values = dict(desk.controls.values)
            await listens(client, "/lcm/steps")
            steps = Parameter("steps", "int", 1, "", 1, 4)
            desk.controls.replace_table(
                {**TABLE, "lora/ink": INK, "steps": steps}, {**values, "lora/ink": 0.75, "steps": 4})
            assert [await receive(client), await receive(client)] == [
                ("PATH_ADDED", "/lcm/lora/ink"), ("PATH_CHANGED", "/lcm")]
            assert await receive(client) == ("/lcm/steps", 4)
            assert await desk.get("/lcm/lora/ink?VALUE") == (200, {"VALUE": [0.75]})
            await listens(client, "/lcm/lora/ink")
            desk.controls.apply_update([Change("lora/ink", 0.5, "panel/1")], None)
            assert await receive(client) == ("/lcm/lora/ink", 0.5)
            desk.controls.replace_table({**TABLE, "steps": steps}, {**values, "steps": 4})
            assert [await receive(client), await receive(client)] == [
                ("PATH_REMOVED", "/lcm/lora/ink"), ("PATH_CHANGED", "/lcm")]
            assert await desk.get("/lcm/lora/ink") == (404, None)
            assert await receive(client) == ("/lcm/steps", 4)
            desk.controls.apply_update([], {"fps": 29.5})
            assert [await receive(client), await receive(client)] == [
                ("PATH_ADDED", "/lcm/status/fps"), ("PATH_CHANGED", "/lcm")]
            desk.controls.apply_update([], {"fps": 29.5, "engine": "rendering"})
            assert [await receive(client), await receive(client)] == [
                ("PATH_ADDED", "/lcm/status/engine"), ("PATH_CHANGED", "/lcm/status")]
            await listens(client, "/lcm/status/fps")
            desk.controls.apply_update([], {"fps": 30.0, "engine": "rendering"})
            assert await receive(client) == ("/lcm/status/fps", 30.0)
            desk.controls.replace_table(TABLE, values)
            assert await receive(client) == ("PATH_CHANGED", "/lcm/steps")  # its range has changed
    asyncio.run(scenario())


def test_only_the_newest_of_several_waiting_values_is_sent() -> None:
    async def scenario() -> None:
        async with served() as desk, desk.client() as client:
            await listens(client, "/lcm/seed")
            for seed in range(1, 1001):
                desk.controls.apply_update([Change("seed", seed, "panel/1")], None)
            assert await receive(client) == ("/lcm/seed", 1000)
    asyncio.run(scenario())


# Limits

def test_invalid_messages_are_counted_and_ignored() -> None:
    async def scenario() -> None:
        async with served() as desk, desk.client() as client:
            bad = ["", "x", "[]", "{}", "1", "[" * 9000,
                   '{"COMMAND": "LISTEN"}', '{"COMMAND": "LISTEN", "DATA": "/no"}',
                   '{"COMMAND": ["LISTEN"], "DATA": 1}', '{"COMMAND": "EXIT", "DATA": "/lcm/seed"}',
                   b"", b"x", b"#bundle\0\0\0\0\0\0\0\0\1\xff\xff\xff\xfc", encode("/lcm/prompt", [0.5, "x"])]
            for each in bad:
                await client.send(each)
            await desk.counts("oscquery/refused", len(bad))
            await client.send(encode("/unknown", [1]))
            await client.send(encode("/lcm/status/fps", [1]))
            await client.send(encode("/lcm/error", ["sent back"]))
            await desk.counts("oscquery/reflected", 2)
            assert desk.metrics.counts()["oscquery/unknown"] == 1
            await client.send(encode("/lcm/mix", []))
            while (received := await receive(client))[0] == "/lcm/error":
                assert "sent back" not in received[1]
            assert received[0] == "/lcm/mix"
    asyncio.run(scenario())


def test_pages_of_other_sites_are_refused() -> None:
    async def scenario() -> None:
        async with served() as desk:
            here = f"127.0.0.1:{desk.query.port}"
            assert (await desk.get("/", host="evil.example"))[0] == 403
            assert (await desk.get("/", origin="http://evil.example"))[0] == 403
            for name in (here, "localhost", "192.168.1.20:9080", socket.gethostname()):
                assert (await desk.get("/", host=name, origin=f"http://{name}".lower()))[0] == 200
            with pytest.raises(InvalidStatus):
                await desk.client(origin="http://evil.example")
            async with desk.client(origin=f"http://{here}") as client:
                await listens(client)
            assert desk.metrics.counts()["oscquery/foreign"] == 3
    asyncio.run(scenario())


def test_hosts_that_are_not_allowed_are_refused() -> None:
    async def scenario() -> None:
        async with served(allow=("127.0.0.2/32",)) as desk:
            assert (await desk.get("/"))[0] == 403
            with pytest.raises(InvalidStatus):
                await desk.client()
            async with desk.client(local_addr=("127.0.0.2", 0)) as client:
                await listens(client)
    asyncio.run(scenario())


def test_the_number_of_clients_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CLIENTS", 1)

    async def scenario() -> None:
        async with served() as desk, desk.client() as client:
            await listens(client)
            async with desk.client() as second:
                with pytest.raises(ConnectionClosed, match="1013"):
                    await second.recv()
    asyncio.run(scenario())


def test_a_client_that_is_too_far_behind_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_NOTIFICATIONS", 3)

    async def scenario() -> None:
        async with served() as desk, desk.client() as client:
            await listens(client)
            for number in range(4):
                desk.controls.apply_update([], {f"new{number}": 1})
            async with asyncio.timeout(PATIENCE):
                await client.wait_closed()
            assert client.close_code == 1008
    asyncio.run(scenario())


# Starting and stopping

def test_stopping_closes_everything_and_starting_again_works() -> None:
    async def scenario() -> None:
        desk = Desk()
        await desk.query.start()
        await desk.query.start()
        async with desk.client() as client:
            await listens(client)
            await desk.query.stop()
            await desk.query.stop()
            with pytest.raises(ConnectionClosed):
                await client.recv()
        controls = desk.controls
        assert controls.subscribers == []
        await desk.query.start()
        assert (await desk.get("/lcm?TYPE"))[0] == 200
        await desk.query.stop()
    asyncio.run(scenario())


def test_a_port_in_use_has_a_clear_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(LcmDaemonError, match=f"^OSCQuery: cannot listen on 127.0.0.1 port {port}: "):
            asyncio.run(served(port=port).__aenter__())


def test_the_shows_keys() -> None:
    problems = Problems()
    assert read_fields(compose("{host: localhost, mdns: true}", "show"), OscQuery.fields, problems) == {
        "port": 9080, "host": "127.0.0.1", "allow": (), "osc_port": 9000, "report": "target", "mdns": True}
    assert problems.found == []
    assert controllers.load("oscquery") is OscQuery
    with pytest.raises(ValueError, match="bogus"):
        Desk(bogus=1)


# mDNS

def zeroconf_or_skip() -> Any:
    need_module("zeroconf.asyncio", "zeroconf")
    return need_module("zeroconf")


@pytest.mark.slow
@pytest.mark.parametrize(("service", "port"), [(mdns.SERVICE, 0), (mdns.OSC_SERVICE, 9007)])
def test_it_is_announced_on_its_interface_with_osc(service: str, port: int) -> None:
    zeroconf = zeroconf_or_skip()
    osc = {"host": "127.0.0.1", "profiles": (), "map": ()}

    async def scenario() -> None:
        async with served(mdns=True, osc_port=9007, osc=osc) as desk:
            found: asyncio.Queue[str] = asyncio.Queue()
            browsing = zeroconf.asyncio.AsyncZeroconf(["127.0.0.1"])

            def hear(zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
                if name.startswith("lcm-daemon mirror"):  # others are of daemons of tests beside this one
                    found.put_nowait(name)

            browser = zeroconf.asyncio.AsyncServiceBrowser(
                browsing.zeroconf, service, handlers=[hear])
            try:
                async with asyncio.timeout(PATIENCE):
                    name = await found.get()
                info = await browsing.async_get_service_info(service, name)
                assert name == f"lcm-daemon mirror.{service}"
                assert (info.port, info.parsed_addresses()) == (port or desk.query.port, ["127.0.0.1"])
            finally:
                await browser.async_cancel()
                await browsing.async_close()
    asyncio.run(scenario())


@pytest.mark.parametrize(("host", "osc", "port"), [
    ("0.0.0.0", {"host": "0.0.0.0"}, 9007), ("0.0.0.0", {"host": "::"}, 9007), ("0.0.0.0", {"host": "239.0.0.7"}, 9007),
    ("0.0.0.0", {"host": "127.0.0.1"}, 0), ("0.0.0.0", None, 0), ("127.0.0.1", {"host": "127.0.0.1"}, 9007),
])
def test_osc_is_announced_where_it_can_be_reached(
    host: str, osc: dict[str, Any] | None, port: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    announced: list[int] = []

    class Announcement:
        def __init__(self, name: str, host: str, port: int, osc_port: int) -> None:
            announced.append(osc_port)

        async def start(self) -> None: ...

        async def stop(self) -> None: ...

    monkeypatch.setattr(mdns, "Announcement", Announcement)
    given = None if osc is None else {"profiles": (), "map": (), **osc}

    async def scenario() -> None:
        async with served(host=host, mdns=True, osc_port=9007, osc=given):
            assert announced == [port]
    asyncio.run(scenario())


def test_on_loopback_it_is_announced_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns, "Announcement", None)  # it would raise

    async def scenario() -> None:
        async with served() as desk:
            assert (await desk.get("/lcm?TYPE"))[0] == 200
    asyncio.run(scenario())


def test_without_zeroconf_the_log_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)

    async def scenario() -> None:
        async with served(mdns=True) as desk:
            assert (await desk.get("/lcm?TYPE"))[0] == 200
    asyncio.run(scenario())
    assert "install it with: pip install 'lcm-daemon[oscquery]'" in caplog.text
