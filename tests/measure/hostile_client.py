"""Hostile client: try everything on a daemon that is open to the network, and list what was not refused.

    python -m tests.measure.hostile_client [--ray] [--all]

The daemon listens on every network, with a pin, an allow list for OSC, and visitors. This program comes from the
machine's own address in the network, so it is a stranger. It requests every command and every parameter through the
page, OSCQuery and OSC (UDP and TCP), every method on every path, foreign hosts and origins, forged cookies, wrong pins,
paths outside, broken and endless requests, and uploads. With --ray it also calls a Ray cluster with a token, without
that token, on each port that listens. Nothing may be answered but refusals, and nothing in the show may change.
The program ends with 1 otherwise. --all prints the refusals too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import socket
import sys
import tempfile
import time
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.local_addresses import network_addresses
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Value
from lcm_daemon.core.requests import COMMANDS
from tests.rigs.daemon import Daemon, free_port, wait_for

PIN = "48151623"
PACE = 0.03  # seconds between two connections: of one address that opens more, those are refused before they speak
VIEW_ONLY = "view only"
OUTSIDE = ("/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/thumbnails/../../../etc/passwd",
           "/thumbnails/looks/..%2f..%2f..%2fetc%2fpasswd", "/thumbnails/pictures/..%2f1.jpg", "/assets/..%5c..%5cx",
           "/thumbnails/sources/%2fetc%2fpasswd.jpg", "/etc/passwd", "/\0", "/.git/config", "/show.yaml")
METHODS = ("POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "X" * 300)
PATHS = ("/", "/ws", "/output", "/health", "/parameters.json", "/frame.jpg", "/stream.mjpg", "/pictures",
         "/pictures/1", "/thumbnails/pictures/1.jpg", "/metrics")
RAW = (b"\xff" * 5000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
       b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n", b"\x16\x03\x01" + b"\0" * 300,
       b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
       b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
REFUSALS = range(400, 500)


@dataclass(frozen=True)
class Attempt:
    """What was tried at which door, how it was answered, and whether that is a refusal."""

    door: str
    what: str
    answer: str
    refused: bool


def ask(host: str, port: int, method: str, path: str, body: str = "", headers: dict[str, str] | None = None,
        ) -> tuple[int, str]:
    """Status and text of an answer; 400 if there was none that http.client understands."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    time.sleep(PACE)
    try:
        connection.putrequest(method, path, skip_host=bool(headers and "Host" in headers))
        for name, value in {**(headers or {}), **({"Content-Length": str(len(body))} if body else {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body.encode() or None)
        answer = connection.getresponse()
        return answer.status, answer.read(2000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return 400, type(error).__name__
    finally:
        connection.close()


def http_attempts(door: str, host: str, port: int) -> Iterator[Attempt]:
    """Methods, paths, hosts, origins and cookies."""
    for method, path in itertools.product(METHODS, PATHS):
        status, text = ask(host, port, method, path, "x")
        yield Attempt(door, f"{method:.9} {path}", f"{status} {text:.60}", status in REFUSALS or status == 501)
    for path in OUTSIDE:
        status, text = ask(host, port, "GET", urllib.parse.quote(path, safe="/%\\.") if "\0" in path else path)
        yield Attempt(door, f"GET {path!r}", f"{status} {text:.60}", status in REFUSALS and "root:" not in text)
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
                    {"Host": f"{host}.evil.example"}, {"Origin": f"http://{host}:1"}):
        status, text = ask(host, port, "GET", "/", headers=headers)
        yield Attempt(door, f"GET / {headers}", f"{status} {text:.60}", status in REFUSALS)


def raw_attempts(door: str, host: str, port: int) -> Iterator[Attempt]:
    """Bytes that make no request, or one that does not end."""
    for data in (*RAW, b"GET / HTTP/1.1\r\nHost: ", b"POST /pin HTTP/1.1\r\nHost: " + host.encode() +
                 b"\r\nContent-Length: 1000\r\n\r\npin="):
        time.sleep(PACE)
        begun, answer = time.perf_counter(), b""
        with contextlib.suppress(OSError), socket.create_connection((host, port), 5) as peer:
            peer.settimeout(15)
            with contextlib.suppress(ConnectionError):
                peer.sendall(data)
                while piece := peer.recv(4096):
                    answer += piece
        took = time.perf_counter() - begun
        status = answer.split(b" ", 2)[1:2]
        refused = (not status or status[0][:1] in b"45") and took < 8
        yield Attempt(door, f"bytes {data[:24]!r}", f"{answer[:50]!r} after {took:.1f} s", refused)


def pin_attempts(host: str, port: int) -> Iterator[Attempt]:
    """Guesses, and cookies that were not given to anyone."""
    statuses = [ask(host, port, "POST", "/pin", f"pin={number:08}",
                    {"Content-Type": "application/x-www-form-urlencoded"})[0] for number in range(12)]
    yield Attempt("page", "12 wrong pins", str(statuses), set(statuses[:5]) == {401} and set(statuses[5:]) == {429})
    status, _ = ask(host, port, "POST", "/pin", f"pin={PIN}", {"Content-Type": "application/x-www-form-urlencoded"})
    yield Attempt("page", "the pin, after too many guesses", str(status), status == 429)
    for cookie in ("a" * 43, "", "x" * 5000, "../" * 10):
        status, _ = ask(host, port, "POST", "/pictures", "x", {"Cookie": f"lcm_session_{port}={cookie}",
                                                               "Content-Type": "image/png"})
        yield Attempt("page", f"a forged cookie {cookie[:10]}", str(status), status in REFUSALS)


def some_value(parameter: Parameter) -> Value:
    """A value that the parameter may have, and does not have at the start."""
    if parameter.kind == "text":
        return "hacked"
    if parameter.kind == "bool":
        return not parameter.default
    if parameter.kind == "choice":
        return next((each for each in parameter.choices if each != parameter.default), "hacked")
    return parameter.high if parameter.high not in (parameter.default, float("inf")) else parameter.low


def requests() -> Iterator[tuple[str, list[Any]]]:
    """Every parameter and every command, each with arguments that it takes."""
    for name, parameter in TABLE.items():
        yield name, [some_value(parameter)]
    for name, command in COMMANDS.items():
        yield name, [some_value(argument) for argument in command.arguments]


async def page_attempts(host: str, port: int) -> AsyncIterator[Attempt]:
    """Everything that the page could request."""
    messages: list[Any] = [{"set": {name: arguments[0]}} for name, arguments in requests() if name in TABLE]
    messages += [{"command": {"name": name, "arguments": arguments}} for name, arguments in requests()
                 if name in COMMANDS]
    messages += [{"camera": "start"}, b"\xff\xd8\xff\xe0" + b"\0" * 1000, {"set": 5}, {"command": {"name": ["x"]}},
                 "not JSON", "[" * 60_000, {"nothing": "known"}, {"beat": 1e400}]
    async with connect(f"ws://{host}:{port}/ws", proxy=None, max_size=None) as page:
        for message in messages:
            await page.send(message if isinstance(message, bytes | str) else json.dumps(message))
            error = ""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    while not error:
                        heard = await page.recv()
                        error = json.loads(heard).get("error", "") if isinstance(heard, str) else ""
            yield Attempt("page", f"WebSocket {str(message)[:60]}", error or "nothing", bool(error) or _asks_nothing(
                message))
    for origin in ("https://evil.example", "null"):
        try:
            async with connect(f"ws://{host}:{port}/ws", proxy=None, origin=origin):  # type: ignore[arg-type]
                yield Attempt("page", f"WebSocket of {origin}", "let in", False)
        except (InvalidStatus, ConnectionClosed) as error:
            yield Attempt("page", f"WebSocket of {origin}", str(error)[:60], True)


def _asks_nothing(message: Any) -> bool:
    return isinstance(message, dict) and "beat" in message


async def query_attempts(host: str, port: int) -> AsyncIterator[Attempt]:
    """The same through OSCQuery."""
    async with connect(f"ws://{host}:{port}/", proxy=None) as peer:
        for name, arguments in requests():
            await peer.send(encode(f"/lcm/{name}", arguments))
            answer = ""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    while "/lcm/error" not in answer:
                        answer = str(await peer.recv())
            # The same refusal twice in a second is told once; that nothing has changed is checked at the end.
            yield Attempt("OSCQuery", f"/lcm/{name}", answer[:80] or "nothing", True)


def osc_attempts(host: str, udp: int, tcp: int) -> Iterator[Attempt]:
    """The same through OSC from a host that may not send."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((host, 0))
        sender.settimeout(0.5)
        for name, arguments in requests():
            sender.sendto(encode(f"/lcm/{name}", arguments), (host, udp))
        for address in ("/lcm/get", "/lcm/subscribe", "/lcm/strength"):
            sender.sendto(encode(address, []), (host, udp))
        try:
            answer = str(sender.recv(2000))
        except TimeoutError:
            answer = ""
        yield Attempt("OSC over UDP", "everything", answer or "nothing", not answer)
    with contextlib.suppress(OSError), socket.create_connection((host, tcp), 5) as peer:
        peer.settimeout(10)
        answer = ""
        with contextlib.suppress(ConnectionError):
            for name, arguments in requests():
                packet = encode(f"/lcm/{name}", arguments)
                peer.sendall(len(packet).to_bytes(4, "big") + packet)
            answer = str(peer.recv(2000) or "")
        yield Attempt("OSC over TCP", "everything", answer or "closed", not answer)


async def visitor_attempts(host: str, port: int) -> AsyncIterator[Attempt]:
    """The visitors' server, without a turn."""
    for path in ("/join/ws", "/ws", "/", "/join/../ws"):
        for cookie in ("", f"lcm_visitor_{port}={'a' * 43}"):
            try:
                async with connect(f"ws://{host}:{port}{path}", proxy=None, additional_headers={"Cookie": cookie},
                                   ) as page:
                    answer = str(await page.recv())[:60]
                yield Attempt("visitors", f"WebSocket {path}", answer, False)
            except (InvalidStatus, ConnectionClosed) as error:
                yield Attempt("visitors", f"WebSocket {path} {cookie[:8]}", str(error)[:60], True)


def ray_attempts() -> Iterator[Attempt]:
    """Each port of a cluster that asks for a token: calls without one, and with another one."""
    import grpc

    from tests.rigs.ray_cluster import RayNodes

    calls = ("/ray.rpc.NodeInfoGcsService/CheckAlive", "/ray.rpc.JobInfoGcsService/AddJob",
             "/ray.rpc.ActorInfoGcsService/CreateActor", "/ray.rpc.InternalKVGcsService/InternalKVPut",
             "/ray.rpc.NodeManagerService/GetNodeStats", "/ray.rpc.NodeManagerService/RequestWorkerLease",
             "/ray.rpc.CoreWorkerService/PushTask", "/ray.rpc.ObjectManagerService/Push",
             "/ray.rpc.RayletDriver/ClusterInfo", "/ray.rpc.RayletDriver/Schedule", "/ray.rpc.RayletDriver/KVPut")
    with tempfile.TemporaryDirectory() as homes, RayNodes(Path(homes), client=True) as cluster:
        client = int(cluster.client_address.rpartition(":")[2])
        wait_for(lambda: client in dict(listening(cluster.processes())), 30, "the port of Ray's client")
        for (port, name), token in itertools.product(sorted(listening(cluster.processes())), ("", "0" * 64)):
            metadata = (("authorization", f"Bearer {token}"),) if token else ()
            answers = set()
            with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
                for call in calls:
                    try:
                        channel.unary_unary(call)(b"", metadata=metadata, timeout=3)
                        answers.add(f"{call}: answered")
                    except grpc.RpcError as error:
                        answers.add(error.code().name)
            served = answers - {"UNAUTHENTICATED", "UNAVAILABLE", "UNIMPLEMENTED", "DEADLINE_EXCEEDED"}
            which = f"port of {name}, {'another' if token else 'no'} token"
            yield Attempt("Ray", which, ", ".join(sorted(answers)), not served)
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            for path in ("/get_or_create_runtime_env", "/api/jobs/", "/"):  # of the agents, which speak HTTP
                status, text = ask("127.0.0.1", port, "POST", path, "x", headers)
                yield Attempt("Ray", f"{which}: POST {path}", f"{status} {text:.40}", status in REFUSALS)


def listening(processes: list[Any]) -> set[tuple[int, str]]:
    """The TCP ports that processes listen on, and their names."""
    import psutil

    return {(each.laddr.port, process.name()) for process in processes if process.is_running()
            for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}


async def try_all(host: str, ports: dict[str, int]) -> list[Attempt]:
    """Everything on a daemon that listens on these ports."""
    found: list[Attempt] = []
    for door in ("page", "OSCQuery", "visitors"):
        found += await asyncio.to_thread(lambda name: list(http_attempts(name, host, ports[name])), door)
        found += await asyncio.to_thread(lambda name: list(raw_attempts(name, host, ports[name])), door)
    found += await asyncio.to_thread(lambda: list(pin_attempts(host, ports["page"])))
    found += await asyncio.to_thread(lambda: list(osc_attempts(host, ports["udp"], ports["tcp"])))
    for attempts in (page_attempts(host, ports["page"]), query_attempts(host, ports["OSCQuery"]),
                     visitor_attempts(host, ports["visitors"])):
        found += [attempt async for attempt in attempts]
    return found


def state_of(daemon: Daemon) -> dict[str, Any]:
    """What no stranger may change."""
    health = wait_for(lambda: daemon.health("status") and {"values": daemon.values(), **daemon.health("status")})
    kept = ("values", "recipe", "cue", "show", "desk_pid", "engine_pid", "recording", "source", "guide", "size")
    return {name: health.get(name) for name in kept}


def attack(host: str) -> list[Attempt]:
    """Open a daemon to the network, attack it, and compare."""
    ports = {name: free_port() for name in ("page", "OSCQuery", "visitors", "tcp")}
    ports["udp"] = free_port(socket.SOCK_DGRAM)
    show = {"recipe": "passthrough", "resume": False, "network": {"access": {"pin": PIN}},
            "panel": {"host": "0.0.0.0", "port": ports["page"]},
            "osc": {"host": "0.0.0.0", "port": ports["udp"], "tcp": ports["tcp"], "allow": ["localhost"]},
            "oscquery": {"host": "0.0.0.0", "port": ports["OSCQuery"], "mdns": False},
            "audience": {"host": "0.0.0.0", "port": ports["visitors"]}}
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), show)
        daemon.panel_port = ports["page"]
        with daemon:
            daemon.wait_rendering()
            before = state_of(daemon)
            found = asyncio.run(try_all(host, ports))
            after = state_of(daemon)
            files = sorted(path.name for path in Path(folder).iterdir())
            log = daemon.log()
    found += [Attempt("show", name, f"{before[name]} -> {after[name]}", before[name] == after[name])
              for name in before]
    found.append(Attempt("show", "files beside it", str(files), files == ["log.txt", "show.yaml"]))
    found.append(Attempt("log", f"{len(log)} bytes", log[-60:], len(log) < 200_000 and "Traceback" not in log))
    found.append(Attempt("log", "the pin", "", PIN not in log))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--ray-only", action="store_true")
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    addresses = network_addresses()
    if not addresses:
        sys.exit("this machine has no address in a network, from which a stranger could come")
    found = [] if arguments.ray_only else attack(addresses[0])
    found += list(ray_attempts()) if arguments.ray or arguments.ray_only else []
    for each in found:
        if arguments.all or not each.refused:
            print(f"{'refused' if each.refused else 'NOT REFUSED'}  {each.door:12} {each.what}: {each.answer}")
    bad = sum(not each.refused for each in found)
    print(f"{len(found)} attempts, {bad} not refused")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
