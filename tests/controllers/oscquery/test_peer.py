"""OSC and OSCQuery with one control state, and a client that shares no code with them (oscquery_peer.py)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lcm_daemon.controllers.osc.controller import Osc
from lcm_daemon.controllers.oscquery.controller import OscQuery
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Table
from lcm_daemon.core.requests import commands
from lcm_daemon.recipes.reader import load_recipe
from tests.conftest import need_module
from tests.rigs.echo import echo
from tests.rigs.oscquery_peer import PATIENCE, Query, Udp

SERVICE = "_oscjson._tcp.local."


class Desk:
    """Both controllers on one control state, and a stand-in for the stage."""

    def __init__(self, recipe: str, **options: Any) -> None:
        self.controls = ControlState({}, {}, Metrics(), self._wake, commands(["builtin", "passthrough"]))
        self.controls.show = "mirror"
        self.change_recipe(recipe)
        self.osc = Osc(self.controls, {"port": 0})
        self._options = options

    def change_recipe(self, recipe: str) -> None:
        table: Table = load_recipe(recipe).table()
        values = {name: self.controls.values.get(name, p.default) for name, p in table.items()}
        self.controls.replace_table(table, values)

    def _wake(self) -> None:
        asyncio.get_running_loop().call_soon(echo, self.controls)

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[Query]:
        await self.osc.start()
        self.query = OscQuery(self.controls, {"port": 0, "osc_port": self.osc.port, **self._options})
        await self.query.start()
        try:
            yield Query("127.0.0.1", self.query.port)
        finally:
            await self.query.stop()
            await self.osc.stop()


def test_a_client_reads_the_tree_sets_values_and_listens() -> None:
    async def scenario() -> None:
        async with Desk("builtin").served() as query:
            info = (await query.get("/?HOST_INFO"))[1]
            methods = await query.methods()
            assert info["EXTENSIONS"]["LISTEN"]
            assert info["OSC_TRANSPORT"] == "UDP"
            assert methods["/lcm/lora/ink"]["RANGE"] == [{"MIN": -2.0, "MAX": 2.0}]
            with Udp(info["OSC_PORT"]) as udp:
                async with query.stream() as stream:
                    await stream.command("LISTEN", "/lcm/lora/ink")
                    await stream.send("/lcm/mix")  # its answer comes after
                    assert await stream.receive() == ("/lcm/mix", [1.0])
                    udp.send("/lcm/strength", "f", 0.25)
                    udp.send("/lcm/lora/ink", "f", 1.5)
                    assert await stream.receive() == ("/lcm/lora/ink", [1.5])
            assert await query.get("/lcm/lora/ink?VALUE") == (200, {"VALUE": [1.5]})
            assert await query.get("/lcm/lora/pen?VALUE") == (404, None)
            assert await query.get("/lcm/lora?VALUE") == (204, None)
    asyncio.run(scenario())


@pytest.mark.slow
def test_every_method_conforms_to_the_proposal() -> None:
    async def scenario() -> None:
        async with Desk("builtin").served() as query:
            for path, node in (await query.methods()).items():
                assert node["ACCESS"] in (1, 2, 3)
                assert set(node["TYPE"]) <= set("ifhsTN"), path
                for key in ("VALUE", "RANGE", "UNIT", "CLIPMODE"):
                    assert len(node.get(key, node["TYPE"])) == len(node["TYPE"]), (path, key)
                for attribute in node.keys() & {"VALUE", "TYPE", "RANGE", "ACCESS", "DESCRIPTION", "FULL_PATH"}:
                    status, answer = await query.get(f"{path}?{attribute}")
                    readable = attribute != "VALUE" or node["ACCESS"] & 1
                    assert (status, answer) == ((200, {attribute: node[attribute]}) if readable else (204, None))
    asyncio.run(scenario())


def test_a_tree_that_follows_the_notifications_stays_correct() -> None:
    """One client follows PATH_ADDED and PATH_REMOVED, another PATH_CHANGED; both end with the server's tree."""
    async def scenario() -> None:
        desk = Desk("passthrough")
        async with desk.served() as query, query.stream() as stream:
            known = set(await query.methods())
            reloaded = dict.fromkeys(known)
            for recipe in ("builtin", "sd15-canny", "sdxl-ip-adapter", "sd15-canny", "passthrough"):
                await stream.send("/lcm/mix")
                await stream.receive_from("/lcm/mix")
                desk.change_recipe(recipe)
                while (message := await stream.receive())[0] != "PATH_CHANGED":
                    {"PATH_ADDED": known.add, "PATH_REMOVED": known.remove}[message[0]](message[1])
                for path in [path for path in reloaded if f"{path}/".startswith(f"{message[1]}/")]:
                    del reloaded[path]
                reloaded |= await query.methods(message[1])
                assert known == reloaded.keys() == (await query.methods()).keys()
                assert f"/lcm/{[*load_recipe(recipe).table()][-1]}" in known
    asyncio.run(scenario())


@pytest.mark.slow
def test_python_oscquery_as_the_client() -> None:
    """python-oscquery finds the daemon by mDNS and parses the tree; it refuses malformed nodes."""
    need_module("pythonoscquery", "python-oscquery")
    need_module("zeroconf")
    from pythonoscquery.osc_query_client import OSCQueryClient
    from zeroconf import ServiceBrowser, Zeroconf

    async def scenario() -> None:
        found: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        class FixedSubscriber:
            def add_service(self, zeroconf: Zeroconf, kind: str, name: str) -> None:
                if name.startswith("lcm-daemon mirror"):  # others are of daemons of tests beside this one
                    loop.call_soon_threadsafe(found.put_nowait, name)

            def update_service(self, zeroconf: Zeroconf, kind: str, name: str) -> None: ...

            def remove_service(self, zeroconf: Zeroconf, kind: str, name: str) -> None: ...

        desk = Desk("builtin", mdns=True)
        async with desk.served():
            port = desk.osc.port
            zeroconf = await asyncio.to_thread(Zeroconf, ["127.0.0.1"])
            browser = ServiceBrowser(zeroconf, SERVICE, FixedSubscriber())  # type: ignore[arg-type]
            try:
                async with asyncio.timeout(PATIENCE):
                    name = await found.get()
                client = OSCQueryClient(await asyncio.to_thread(zeroconf.get_service_info, SERVICE, name))
                info = await asyncio.to_thread(client.get_host_info)
                root = await asyncio.to_thread(client.query_node)
            finally:
                await asyncio.to_thread(browser.cancel)
                await asyncio.to_thread(zeroconf.close)
        assert (info.name, info.osc_port, info.osc_transport) == ("lcm-daemon mirror", port, "UDP")
        assert root.find_subnode("/lcm/control/edges/weight").value == [0]
        assert len([node for node in root if node.value]) == len(desk.controls.table) + len(desk.controls.commands)

    asyncio.run(scenario())
