"""The panel's server over a real loopback socket."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import signal
import socket
import time
from contextlib import AsyncExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lcm_daemon import __version__
from lcm_daemon.controllers.panel.controller import Panel
from lcm_daemon.controllers.panel.server import CLIENT_LIMIT
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.network import NetworkPolicy
from lcm_daemon.core.parameters import Parameter
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.core.requests import COMMANDS, CommandRequest, ParameterState
from lcm_daemon.core.stage_numbers import StageNumbers
from lcm_daemon.web import seats
from tests.rigs.daemon import free_port
from tests.rigs.panel import PATIENCE, SHOWN, Rig, get, serving, until, visiting

pytestmark = pytest.mark.slow  # each test opens sockets and waits for their other end

FIELDS = {"name", "kind", "default", "help", "low", "high", "unit", "step", "logarithmic", "draws", "glide", "choices",
          "glided_by", "group", "needs"}


def test_hello_tells_everything_a_page_needs():
    async def scenario():
        rig = Rig()
        rig.controls.status = {"fps": 12.5, "latency": math.nan}
        async with serving(rig) as panel, visiting(panel) as page:
            return page.hello

    hello = asyncio.run(scenario())
    assert (hello["version"], hello["show"], hello["you"]) == (__version__, "mirror", "panel/1")
    assert hello["values"] == {**{n: p.default for n, p in SHOWN.items()}, "prompt": "ocean", "strength": 0.5}
    assert hello["status"] == {"fps": 12.5, "latency": None}
    assert {c["name"]: c["help"] for c in hello["commands"]} == {n: c.help for n, c in COMMANDS.items()}


def test_every_parameter_of_the_table_is_in_hello_and_in_parameters_json():
    async def scenario():
        async with serving(Rig()) as panel, visiting(panel) as page:
            return page.hello["parameters"], (await get(panel, "/parameters.json")).json["parameters"]

    said, served = asyncio.run(scenario())
    assert said == served
    assert [p["name"] for p in said] == list(SHOWN)
    for told in said:
        declared = dataclasses.asdict(SHOWN[told["name"]])
        assert set(told) == FIELDS == set(declared) - {"look", "recorded"}  # which are the stage's own business
        for key in FIELDS - {"needs"}:
            value = declared[key]
            open_range = isinstance(value, float) and math.isinf(value)
            assert told[key] == (None if open_range else list(value) if isinstance(value, tuple) else value)
    assert next(p["needs"] for p in said if p["name"] == "noise_speed") == [{
        "reason": "noise is fixed",
        "conditions": [{"parameter": "noise", "above": None, "below": None, "values": ["walking"], "filled": False}]}]


def test_a_move_reaches_the_board_and_every_client_but_its_sender():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as mover, visiting(panel) as other:
            await mover.send({"set": {"strength": 0.25, "freeze": True}})
            heard = await other.heard("changes")
            return rig.taken, heard, await mover.silent()

    taken, heard, silent = asyncio.run(scenario())
    assert [(c.name, c.value, c.origin) for c in taken] == [("strength", 0.25, "panel/1"), ("freeze", True, "panel/1")]
    assert heard == [{"name": "strength", "value": 0.25, "origin": "panel/1"},
                     {"name": "freeze", "value": True, "origin": "panel/1"}]
    assert silent


def test_what_others_change_reaches_every_client():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as one, visiting(panel) as two:
            rig.move("seed", 7, "osc/127.0.0.1:9")
            return [await page.heard("changes") for page in (one, two)]

    assert asyncio.run(scenario()) == [[{"name": "seed", "value": 7, "origin": "osc/127.0.0.1:9"}]] * 2


@pytest.mark.parametrize(("sent", "corrected"), [
    ({"strength": 7}, 1.0), ({"steps": 2.6}, 3), ({"strength": "0.25"}, 0.25), ({"prompt": "  lava\n"}, "lava"),
    ({"mode": 1}, "text"),
])
def test_a_value_that_was_clamped_is_corrected_at_its_sender(sent, corrected):
    async def scenario():
        async with serving(Rig()) as panel, visiting(panel) as page:
            await page.send({"set": sent})
            return await page.heard("changes")

    (name,) = sent
    assert asyncio.run(scenario()) == [{"name": name, "value": corrected, "origin": "panel/1"}]


@pytest.mark.parametrize(("name", "value"), [
    ("strength", "much"), ("strength", math.nan), ("strength", math.inf), ("steps", [3]), ("mode", "video"),
    ("prompt", {"a": 1}), ("freeze", None), ("seed", "x" * 5000),
])
def test_a_value_that_is_refused_is_answered_and_the_old_one_shown_again(name, value):
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            await page.send({"set": {name: value}})
            return await page.heard("error"), await page.heard("changes"), rig

    error, changes, rig = asyncio.run(scenario())
    assert error.startswith(name)
    assert len(error) < 200
    assert changes == [{"name": name, "value": rig.parameters.targets()[name], "origin": "panel/1"}]
    assert rig.controls.metrics.counts("desk/") == {"desk/refused": 1}
    assert not rig.taken


def test_what_the_stage_refuses_is_answered_to_the_client_that_asked():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page, visiting(panel) as other:
            rig.controls.apply_update([], None, refusals=[
                Refusal("panel/2", "cue/goto: no cue 'a'"), Refusal("osc/1", "x"), Refusal("panel/1", "next: no")])
            return await page.heard("error"), await other.heard("error")

    assert asyncio.run(scenario()) == ("next: no", "cue/goto: no cue 'a'")


def test_an_unknown_name_and_an_unknown_command_are_answered():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            await page.send({"set": {"colour": 1}})
            await page.send({"command": "explode"})
            return [await page.heard("error") for _ in range(2)], rig.controls.metrics.counts("desk/")

    errors, counts = asyncio.run(scenario())
    assert errors == ["no parameter 'colour'", "no command 'explode'"]
    assert counts == {"desk/unknown": 2}


def test_a_command_with_arguments():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            for wrong in (["sd-trubo"], "sd-turbo"):
                await page.send({"command": {"name": "recipe", "arguments": wrong}})
            errors = [await page.heard("error") for _ in range(2)]
            await page.send({"command": {"name": "recipe", "arguments": ["sd-turbo"]}})
            await until(lambda: rig.called)
            return page.hello["commands"], errors, rig.called

    told, errors, called = asyncio.run(scenario())
    (argument,) = next(command["arguments"] for command in told if command["name"] == "recipe")
    assert (argument["name"], argument["choices"]) == ("name", ["ink", "sd-turbo"])
    assert errors == ["recipe: 'sd-trubo' is not known; did you mean 'sd-turbo'?",
                      "command: expected a name, or an object with name and arguments"]
    assert called == [CommandRequest("recipe", "panel/1", ("sd-turbo",))]


def test_a_page_hears_of_the_parameters_of_another_recipe():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            rig.change_recipe(Parameter("lora/ink", "float", 0.5, "How much ink.", -2.0, 2.0))
            come = await page.heard("table")
            await page.send({"set": {"lora/ink": 1.5}})
            await until(lambda: rig.taken)
            rig.change_recipe()
            gone = await page.heard("table")
            await page.send({"set": {"lora/ink": 0.1}})
            return come, rig.taken, gone, await page.heard("error")

    come, taken, gone, error = asyncio.run(scenario())
    assert [p["name"] for p in come["parameters"]] == [*SHOWN, "lora/ink"]
    assert come["values"]["lora/ink"] == 0.5
    assert [(change.name, change.value) for change in taken] == [("lora/ink", 1.5)]
    assert [p["name"] for p in gone["parameters"]] == list(gone["values"]) == list(SHOWN)
    assert error == "no parameter 'lora/ink'"


def test_panic_is_told_to_its_sender_too_even_while_a_move_of_its_own_is_under_way():
    async def scenario():
        rig = Rig(answers=False)
        async with serving(rig) as panel, visiting(panel) as page:
            await page.send({"set": {"strength": 0.9}})
            await until(lambda: rig.controls._queue.changes)
            rig.answer()
            await page.send({"set": {"strength": 0.8}})
            await page.send({"command": "panic"})
            await until(lambda: rig.controls._queue.commands)
            rig.answer()
            return await page.heard("changes")

    assert asyncio.run(scenario()) == [{"name": "strength", "value": 0.5, "origin": "panel/1"}]


@pytest.mark.slow
def test_a_move_that_a_panic_voided_is_put_right():
    async def scenario():
        rig = Rig(answers=False)
        async with serving(rig) as panel, visiting(panel) as page:
            await page.send({"set": {"strength": 0.9}})
            await until(lambda: rig.controls._queue.changes)
            rig.controls.command("panic", "osc/127.0.0.1:9")
            rig.answer()
            return await page.heard("changes")

    assert asyncio.run(scenario()) == [{"name": "strength", "value": 0.5, "origin": "panel"}]


def test_status_reaches_every_client():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as one, visiting(panel) as two:
            rig.controls.apply_update([], {"fps": 29.9, "engine": "rendering"})
            return [await page.heard("status") for page in (one, two)]

    assert asyncio.run(scenario()) == [{"fps": 29.9, "engine": "rendering"}] * 2


@pytest.mark.parametrize("message", [
    "", "{", "nonsense", "[]", "7", "null", '"set"', b"\x00\xff", "[" * 60000, '{"set": 1}', '{"set": [1]}',
    '{"frame": "more"}', '{"frame": null}', '{"fly": 1}', "{\"set\": " + "9" * 5000 + "}",
])
def test_a_malformed_message_is_counted_and_answered_and_ends_nothing(message):
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            await page.send(message)
            error = await page.heard("error")
            await page.send({"set": {"prompt": "still here \ud800"}})
            await until(lambda: rig.taken)
            return error, rig

    error, rig = asyncio.run(scenario())
    assert 0 < len(error) < 200
    assert "\n" not in error
    assert rig.controls.metrics.counts("panel/malformed") == {"panel/malformed": 1}
    assert rig.taken[0].value == "still here"


def test_a_message_that_is_too_long_ends_its_connection_alone():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page, visiting(panel) as other:
            await page.send("x" * 100_000)
            with pytest.raises(ConnectionClosed) as closed:
                await page.heard("anything")
            await other.send({"set": {"steps": 4}})
            await until(lambda: rig.taken)
            return closed.value.rcvd.code

    assert asyncio.run(scenario()) == 1009


def test_health_tells_status_values_and_counts():
    async def scenario():
        rig = Rig()
        rig.controls.apply_update([], {"fps": 30.0, "latency": math.inf}, {"mix": ParameterState(1.0, 0.5, "page")})
        rig.controls.numbers = StageNumbers(time.monotonic())
        async with serving(rig) as panel, visiting(panel) as page:
            await page.send("nonsense")
            await page.heard("error")
            return (await get(panel, "/health")).json

    metrics = asyncio.run(scenario())
    assert 0.0 <= metrics["status_age"] < PATIENCE
    assert metrics == {"version": __version__, "clients": 1, "status_age": metrics["status_age"],
                      "status": {"fps": 30.0, "latency": None},
                      "values": {**{n: p.default for n, p in SHOWN.items()}, "prompt": "ocean", "strength": 0.5},
                      "live": {"mix": {"base": 1.0, "value": 0.5, "by": "page"}},
                      "without_effect": {"blend": "prompt B is empty", "negative_prompt": "guidance is 1 or lower",
                                         "noise_speed": "noise is fixed", "prompt_b": "blend is 0"},
                      "counts": {"panel/malformed": 1}, "engines": [], "audience": {}}


def test_the_head_of_a_stream_ends():
    """It has no body that its client could fail to read, so it would keep its seat."""
    async def scenario():
        async with serving(Rig()) as panel:
            reader, writer = await asyncio.open_connection("127.0.0.1", panel.port)
            writer.write(f"HEAD /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{panel.port}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            await until(lambda: not panel._server._seats)
            writer.close()
            return head

    head = asyncio.run(scenario())
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"multipart/x-mixed-replace" in head


def test_more_clients_than_the_limit_are_turned_away_and_a_place_becomes_free_again(monkeypatch):
    monkeypatch.setattr(seats, "SILENT_SECONDS", math.inf)

    async def scenario():
        rig = Rig()
        async with serving(rig) as panel:
            async with AsyncExitStack() as stack:
                for _ in range(CLIENT_LIMIT):
                    await stack.enter_async_context(visiting(panel))
                with pytest.raises(ConnectionClosed) as closed:
                    async with visiting(panel):
                        pass
                stream = await get(panel, "/stream.mjpg")
            await until(lambda: not panel._server._seats)
            async with visiting(panel) as page:
                counts = rig.controls.metrics.counts("panel/full")
                return closed.value.rcvd.code, stream.status, page.hello["show"], counts

    assert asyncio.run(scenario()) == (1013, 503, "mirror", {"panel/full": 2})


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Host": "evil.example:8000"}, {"Host": ""}, {"Host": "127.0.0.1.evil.example"},
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": "http://[::"},
])
def test_requests_of_other_sites_are_refused(headers):
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel:
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
                       "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}
            answers = [await get(panel, "/health", **headers), await get(panel, "/ws", **upgrade, **headers)]
            return [a.status for a in answers], [b"version" in a.body for a in answers]

    statuses, leaked = asyncio.run(scenario())
    assert all(status in (400, 403) for status in statuses)  # a request without a Host is not even HTTP/1.1
    assert leaked == [False, False]


def test_the_panels_own_page_and_a_client_without_a_browser_are_let_in():
    async def scenario():
        async with serving(Rig()) as panel:
            for host in ("127.0.0.1", "localhost"):
                async with visiting(panel, origin=None if host == "localhost" else f"http://{host}:{panel.port}"):
                    pass
            return (await get(panel, "/health", Host="localhost:9", Origin="http://localhost:9")).status

    assert asyncio.run(scenario()) == 200


def test_the_shows_network_section_holds_for_the_panel():
    async def scenario():
        rig = Rig()
        rig.controls.network = NetworkPolicy(hosts=("lcm.lan",), origins=("https://studio.example",))
        async with serving(rig) as panel:
            async with visiting(panel, origin="https://studio.example"):
                pass
            named = await get(panel, "/health", Host="lcm.lan:9080")
            read = await get(panel, "/health", Origin="https://studio.example")
            foreign = await get(panel, "/health", Origin="https://other.example")
        rig.controls.network = NetworkPolicy(allow=("192.0.2.1",))
        async with serving(rig) as panel:
            denied = await get(panel, "/health")
        return named.status, read.headers["access-control-allow-origin"], foreign.status, denied.status, denied.body

    named, origin, foreign, denied, why = asyncio.run(scenario())
    assert (named, origin, foreign, denied) == (200, "https://studio.example", 403, 403)
    assert b"the show does not allow the address 127.0.0.1; to allow it, add it to allow" in why


@pytest.mark.parametrize(("embed", "referer", "policy"), [
    ((), "https://a.example/x", "same-origin"), (("https://a.example",), "https://a.example/x", "cross-origin"),
    (("https://a.example",), "https://b.example/", "same-origin"), (("https://a.example",), "", "same-origin"),
    (("*",), "", "cross-origin"), (("https://a.example",), "http://[", "same-origin"),
])
def test_pages_may_embed_frames_where_the_show_says(embed, referer, policy):
    async def scenario():
        rig = Rig()
        rig.controls.network = NetworkPolicy(embed=embed)
        async with serving(rig) as panel:
            rig.show()
            frame = await get(panel, "/frame.jpg", Referer=referer)
            return frame, await get(panel, "/")

    frame, page = asyncio.run(scenario())
    assert frame.headers["cross-origin-resource-policy"] == policy
    ancestors = " ".join(["frame-ancestors 'self'", *embed])
    assert page.headers["content-security-policy"].endswith(f"; {ancestors}")
    assert frame.headers["content-security-policy"] == ancestors


def test_a_foreign_origin_cannot_open_the_websocket():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel:
            with pytest.raises(InvalidStatus) as refused:
                async with visiting(panel, origin="http://evil.example"):
                    pass
            return refused.value.response.status_code, rig.controls.metrics.counts("panel/foreign")

    assert asyncio.run(scenario()) == (403, {"panel/foreign": 1})


def test_a_port_in_use_is_one_clear_line():
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(LcmDaemonError) as error:
                await Panel(Rig().controls, {"port": port}).start()
            return port, str(error.value)

    port, text = asyncio.run(scenario())
    assert text.startswith(f"panel: cannot listen on 127.0.0.1 port {port}: ")
    assert "panel.port" in text
    assert "\n" not in text


@pytest.mark.parametrize("host", ["", "192.0.2.1", "no such host"])
def test_an_address_that_cannot_be_listened_on_is_one_clear_line(host):
    with pytest.raises(LcmDaemonError, match=r"^panel: cannot listen on .*$"):
        asyncio.run(Panel(Rig().controls, {"port": 0, "host": host}).start())


def test_stop_ends_clients_and_streams_frees_the_port_and_may_come_twice():
    async def scenario():
        rig = Rig()
        panel = Panel(rig.controls, {"port": free_port()})
        await panel.stop()
        await panel.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", panel.port)
        writer.write(f"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{panel.port}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        async with visiting(panel) as page:
            started = time.perf_counter()
            await panel.stop()
            await panel.stop()
            took = time.perf_counter() - started
            with pytest.raises(ConnectionClosed):
                await page.heard("anything")
        writer.close()
        async with serving(rig, port=panel.port):
            pass
        return took, rig.controls.subscribers

    took, subscribers = asyncio.run(scenario())
    assert took < 3.0
    assert subscribers == []


def test_signals_stay_with_the_desk():
    async def scenario():
        async with serving(Rig()):
            return [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]

    async def without():
        return [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]

    assert asyncio.run(scenario())[1] == asyncio.run(without())[1]


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "http://127.0.0.1:8000"), ("::", "http://[::1]:8000")])
def test_the_address_is_one_that_a_browser_on_this_machine_opens(host, address):
    assert Panel(Rig().controls, {"host": host}).address == address


def test_the_page_address_is_logged(caplog):
    async def scenario():
        async with serving(Rig()) as panel:
            return panel.address

    caplog.set_level("INFO")
    assert f"panel: serving the page at {asyncio.run(scenario())}" in caplog.messages


def test_the_sink_of_the_browser_source_is_open_while_the_panel_runs():
    events = []

    class Sink:
        def write(self, frame):
            pass

        def close(self):
            events.append("closed")

    async def scenario(source):
        rig = Rig()
        rig.controls.browser_source = source
        panel = Panel(rig.controls, {"port": 0}, lambda name: events.append(name) or Sink())
        await panel.start()
        async with visiting(panel) as page:
            camera = page.hello["camera"]
        await panel.stop()
        return camera

    assert [asyncio.run(scenario(source)) for source in ("", "page")] == [False, True]
    assert events == ["page", "closed"]


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match="colour"):
        Panel(Rig().controls, {"colour": 1})


@pytest.mark.slow
def test_a_flood_of_moves_is_taken_and_the_newest_counts():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as mover, visiting(panel) as other:
            for n in range(2000):
                await mover.send({"set": {"strength": n / 2000}})
            value, messages = 0.0, 0
            while value != 1999 / 2000:
                value, messages = (await other.heard("changes"))[-1]["value"], messages + 1
            return messages, await mover.silent()

    messages, silent = asyncio.run(scenario())
    assert messages <= 2000
    assert silent
