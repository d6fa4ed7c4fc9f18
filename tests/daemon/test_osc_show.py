"""OSC and OSCQuery through a running daemon, with real bytes, `oscsend`, python-osc and `lcm-daemon send`."""

from __future__ import annotations

import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pythonosc.osc_message import OscMessage
from pythonosc.tcp_client import SimpleTCPClient
from websockets.sync.client import connect

from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.parameters import Value
from tests.conftest import need
from tests.rigs.daemon import Daemon, free_port, wait_for
from tests.rigs.network import namespace

PROMPTS = ["a red field", "a blue ocean::0.7 fog::0.3", "green hills"]
TCP, OSCQUERY = "tcp", "oscquery"


def text(data: bytes) -> bytes:
    return data + b"\0" * (4 - len(data) % 4)


def message(address: str, tags: bytes, data: bytes = b"") -> bytes:
    return text(address.encode()) + text(b"," + tags) + data


def bundle(*inside: bytes) -> bytes:
    return b"#bundle\0" + struct.pack(">Q", 1) + b"".join(struct.pack(">i", len(each)) + each for each in inside)


def number(value: float) -> bytes:
    return struct.pack(">f", value)


class Peer:
    """An OSC program with one UDP socket."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(10)
        self.port = self._socket.getsockname()[1]

    def send(self, address: str, *arguments: Value) -> None:
        self._socket.send(encode(address, arguments))

    def send_bytes(self, packet: bytes) -> None:
        self._socket.send(packet)

    def receive(self) -> tuple[str, list[Any]]:
        found = OscMessage(self._socket.recv(65536))
        return found.address, found.params

    def settled(self) -> list[tuple[str, list[Any]]]:
        """Everything that comes until all messages so far have been carried out or refused."""
        self.send("/lcm/sync", 7)
        found = []
        while (received := self.receive())[0] != "/lcm/sync":
            found.append(received)
        return found

    def value(self, name: str) -> Any:
        """The value of a parameter once all messages so far have been carried out."""
        self.settled()
        self.send("/lcm/get", name)
        return dict(self.settled())[f"/lcm/{name}"][0]

    def errors(self) -> list[str]:
        return [arguments[0] for address, arguments in self.settled() if address == "/lcm/error"]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    osc_port, tcp_port, query_port = free_port(socket.SOCK_DGRAM), free_port(), free_port()
    show = {
        "recipe": "passthrough", "resume": False, "output": {"size": [64, 64], "fps": 30}, "prompts": PROMPTS,
        "cues": [{"name": "Act One", "set": {"mix": 0.2}, "fade": 3}, {"name": "storm", "set": {"mix": 0.9}}],
        "modulation": [{"name": "wave", "to": "blend", "depth": 0.5, "rate": 1}],
        "osc": {"port": osc_port, "tcp": tcp_port, "host": "::", "profiles": ["streamdiffusiontd"], "map": [
            {"from": "/1/fader1", "to": "guidance", "input": [0, 10], "range": [0, 20]},
            {"from": "/1/red", "to": "prompt", "value": "red"},
            {"from": "/1/more", "to": "strength", "with": ["+", 0.25]},
            {"from": "/1/storm", "to": "cue/goto", "with": ["storm"]},
        ]},
        "oscquery": {"port": query_port},
    }
    with Daemon(tmp_path_factory.mktemp("osc"), show) as running:
        running.osc_port = osc_port
        running.ports = {TCP: tcp_port, OSCQUERY: query_port}  # type: ignore[attr-defined]
        yield running


@pytest.fixture
def peer(daemon: Daemon) -> Peer:
    return Peer(daemon.osc_port)


def ports(daemon: Daemon) -> dict[str, int]:
    found: dict[str, int] = daemon.ports  # type: ignore[attr-defined]
    return found


def send(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lcm_daemon", "send", "--port", str(daemon.osc_port), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("packet", "name", "value"), [
    (message("/lcm/strength", b"[f]", number(0.25)), "strength", 0.25),
    (message("/lcm/strength", b"[ff]", number(0.5) + number(0.75)), "strength", 0.5),
    (message("/lcm/strength", b"fX", number(0.75) + b"data"), "strength", 0.75),
    (message("/lcm/strength", b"If", number(0.125)), "strength", 0.125),
    (message("/lcm/prompt", b"S", text(b"symbol")), "prompt", "symbol"),
    (message("/lcm/prompt", b"c", b"\0\0\0x"), "prompt", "x"),
    (message("/lcm/prompt", b"sss", text(b"deep") + text(b"blue") + text(b"ocean")), "prompt", "deep blue ocean"),
    (message("/lcm/prompt", b"ssfsf", text(b"deep") + text(b"ocean") + number(0.75) + text(b"fog") + number(0.25)),
     "prompt", "deep ocean::0.75 fog::0.25"),
    (bundle(message("/lcm/ü", b"f", number(1.0)), message("/lcm/strength", b"f", number(0.375))), "strength", 0.375),
    (message("/lcm/strength", b"s", text(b"33%")), "strength", 0.33),
    (message("/lcm/strength", b"s", text(b"0,25")), "strength", 0.25),
])
def test_what_a_packet_sets(peer: Peer, packet: bytes, name: str, value: Value) -> None:
    peer.send("/lcm/strength", 0.9)
    peer.settled()
    peer.send_bytes(packet)
    assert peer.value(name) == pytest.approx(value)


def test_a_colour_is_no_number_and_an_impulse_is_a_button(daemon: Daemon, peer: Peer) -> None:
    peer.send("/lcm/strength", 0.5)
    peer.send_bytes(message("/lcm/strength", b"r", b"\0\0\0\xff"))
    assert peer.errors() == [r"strength takes a number, not b'\x00\x00\x00\xff'"]
    assert peer.value("strength") == 0.5
    peer.send("/lcm/cue/release")
    peer.send_bytes(message("/lcm/cue/go", b"I"))
    wait_for(lambda: daemon.status().get("cue") == "Act One", what="GO")
    peer.send("/lcm/cue/release")


def test_seven_wrong_values_are_seven_lines_and_seven_answers(daemon: Daemon, peer: Peer) -> None:
    before = daemon.status()["refused"]
    for wrong in "abcdefg":
        peer.send("/lcm/strength", f"wrong {wrong}")
    assert peer.errors() == [f"strength takes a number, not 'wrong {wrong}'" for wrong in "abcdefg"]
    lines = [line for line in daemon.log().splitlines() if "not 'wrong" in line]
    assert len(lines) == 7
    assert not any("times" in line for line in lines)
    wait_for(lambda: daemon.status()["refused"] == before + 7, what="the count")


def test_subscribers_hear_of_refusals_of_others(daemon: Daemon, peer: Peer) -> None:
    other = Peer(daemon.osc_port)
    other.send("/lcm/subscribe")
    other.settled()
    peer.send("/lcm/cue/goto", "nowhere")
    (error,) = peer.errors()
    assert error.startswith("cue/goto: no cue 'nowhere'")
    while (received := other.receive())[0] != "/lcm/error":
        pass
    assert received[1] == [error]
    other.send("/lcm/error", "sent back")
    other.send("/lcm/status/fps", 30.0)
    assert other.errors() == [], "reports that come back must not circle"
    other.send("/lcm/unsubscribe")


@pytest.mark.parametrize(("arguments", "code", "out", "error"), [
    (["/lcm/strength", "0.5"], 0, "", ""),
    (["/lcm/get", "strength"], 0, "/lcm/strength 0.5\n", ""),
    (["/lcm/strength", "lava"], 1, "", "strength takes a number, not 'lava'"),
    (["/lcm/strenght", "1"], 1, "", "unknown address /lcm/strenght; did you mean '/lcm/strength'?"),
    (["/lcm/cue/goto", "nowhere"], 1, "", "cue/goto: no cue 'nowhere'"),
    (["/lcm/next", "nothing", "1"], 1, "", "next: no parameter 'nothing'"),
    (["/lcm/recipe", "nothing"], 1, "", "recipe: 'nothing' is not known"),
    (["/lcm/prompts/play", "4"], 1, "", "prompts/play: no prompt 4; the show has 1 to 3"),
    (["/lcm/prompts/play", "2.5"], 1, "", "prompts/play: no prompt 2.5"),
    (["/lcm/adjust", "prompt", "1"], 1, "", "adjust: prompt is text"),
])
def test_send_prints_answers_and_refusals(
    daemon: Daemon, arguments: list[str], code: int, out: str, error: str
) -> None:
    found = send(daemon, *arguments)
    assert (found.returncode, found.stdout) == (code, out)
    assert error in found.stderr
    assert found.stderr.count("\n") == code


def test_send_says_that_nothing_listens() -> None:
    command = [sys.executable, "-m", "lcm_daemon", "send", "--port", str(free_port(socket.SOCK_DGRAM)), "/lcm/panic"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 2
    assert "is the daemon running" in found.stderr


def test_a_line_of_an_unknown_address_lists_no_addresses(daemon: Daemon, peer: Peer) -> None:
    peer.send("/tuio/2Dcur", "alive")
    assert peer.errors() == ["unknown address /tuio/2Dcur"]
    (line,) = [line for line in daemon.log().splitlines() if "2Dcur" in line]
    assert line.endswith(f"OSC: unknown address '/tuio/2Dcur' from 127.0.0.1:{peer.port}")


def test_moves_from_where_a_value_is(peer: Peer) -> None:
    peer.send("/lcm/strength", 0.5)
    for _ in range(3):
        peer.send("/lcm/strength", "+", 0.125)
    peer.send("/lcm/strength", "-", 0.25)
    peer.settled()
    peer.send("/lcm/strength", "?")
    assert dict(peer.settled())["/lcm/strength"] == [0.625]
    peer.send("/lcm/strength", "+", 5)
    assert peer.value("strength") == 1.0
    peer.send("/lcm/freeze", 0)
    peer.send("/lcm/freeze", "toggle")
    assert peer.value("freeze") == 1
    time.sleep(0.15)  # a repeat within 0.1 s is the same press
    peer.send("/lcm/freeze", "toggle")
    assert peer.value("freeze") == 0
    peer.send("/lcm/noise", "toggle")
    assert peer.value("noise") == "walking"
    peer.send("/lcm/noise", "-", 1)
    assert peer.value("noise") == "fixed"
    peer.send("/lcm/steps", 2)
    peer.send("/lcm/steps", "+", 1)
    assert peer.value("steps") == 3


def test_a_packet_that_is_skipped_is_reported_to_its_sender(peer: Peer) -> None:
    peer.send_bytes(message("/lcm/prompt", b"s", text("café".encode("latin-1"))))
    peer.send_bytes(bundle(message("/lcm/strength", b"f", number(0.25)), b"/lcm/\xfc\0\0"))
    malformed, address = peer.errors()
    assert malformed == "malformed packet: a string is not UTF-8"
    assert address.startswith("the address b'/lcm/")
    assert peer.value("strength") == 0.25


def test_commands_of_one_bundle_run_in_their_order(daemon: Daemon, peer: Peer) -> None:
    """The second `load` does not replace the first one: a GO is between them."""
    peer.send("/lcm/prompts/play", 1)
    peer.send_bytes(bundle(
        encode("/lcm/prompts/play", [2]), encode("/lcm/cue/record", ["second"]), encode("/lcm/prompts/play", [3]),
        encode("/lcm/cue/load", ["second"]), encode("/lcm/cue/go", []), encode("/lcm/cue/load", ["storm"])))
    assert peer.value("prompt") == PROMPTS[1]
    wait_for(lambda: daemon.status().get("cue") == "second", 5, "the cue that GO started")
    wait_for(lambda: daemon.status().get("upcoming_cue") == "storm", 5, "the cue that is loaded")
    peer.send("/lcm/quantise", 2, "bars")
    assert peer.value("quantise") == "2 bars"
    peer.send("/lcm/quantise", "off")
    peer.send("/lcm/cue/release")


def test_the_bank_of_prompts(peer: Peer) -> None:
    for place, prompt in enumerate(PROMPTS, 1):
        peer.send("/lcm/prompts/play", float(place))
        assert peer.value("prompt") == prompt


def test_the_map_has_buttons(daemon: Daemon, peer: Peer) -> None:
    peer.send("/1/red", 1.0)
    assert peer.value("prompt") == "red"
    peer.send("/lcm/prompt", "blue")
    peer.send("/1/red", 0.0)
    assert peer.value("prompt") == "blue", "a released button does nothing"
    peer.send("/1/red")
    assert peer.value("prompt") == "red"
    peer.send("/lcm/strength", 0.25)
    peer.send("/1/more", 1)
    peer.send("/1/more", 0)
    peer.send("/1/more", 1)
    assert peer.value("strength") == 0.75
    peer.send("/1/storm", 1)
    wait_for(lambda: daemon.status().get("cue") == "storm", what="the cue")


def test_words_of_a_cue_are_one_name(daemon: Daemon, peer: Peer) -> None:
    peer.send("/lcm/cue/goto", "Act", "One")
    assert peer.errors() == []
    wait_for(lambda: daemon.status().get("cue") == "Act One", what="the cue")
    peer.send("/lcm/status/upcoming_cue")
    assert dict(peer.settled())["/lcm/status/upcoming_cue"] == ["storm"]


def test_status_addresses_of_a_fade_and_of_values_in_force(daemon: Daemon, peer: Peer) -> None:
    peer.send("/lcm/mix", 1.0)
    peer.send("/lcm/cue/goto", "Act One")
    peer.send("/lcm/subscribe")
    seen: dict[str, list[Any]] = {}
    while not (0.3 < seen.get("/lcm/status/live/mix", [1.0])[-1] < 0.9):
        address, arguments = peer.receive()
        seen.setdefault(address, []).append(arguments[0])
    assert 0.0 < seen["/lcm/status/fade"][-1] < 1.0
    assert 0.0 < seen["/lcm/status/fade_left"][-1] < 3.0
    while len(set(seen["/lcm/status/live/blend"])) < 3:  # the wave moves it
        address, arguments = peer.receive()
        seen.setdefault(address, []).append(arguments[0])
    peer.send("/lcm/unsubscribe")


def test_oscsend(daemon: Daemon, peer: Peer) -> None:
    need(bool(shutil.which("oscsend")), "apt install liblo-tools")

    def oscsend(address: str, *arguments: str) -> None:
        subprocess.run(["oscsend", f"osc.udp://127.0.0.1:{daemon.osc_port}", address, *arguments], check=True,
                       timeout=30)

    oscsend("/lcm/prompt", "sss", "deep", "blue", "ocean")
    assert peer.value("prompt") == "deep blue ocean"
    oscsend("/lcm/strength", "cf", "a", "0.5")
    peer.send("/lcm/strength", 0.25)
    oscsend("/lcm/strength", "If", "0.75")
    assert peer.value("strength") == 0.75
    oscsend("/lcm/prompt", "S", "symbol")
    assert peer.value("prompt") == "symbol"


@pytest.mark.parametrize("mode", ["1.0", "1.1"])
def test_both_framings_of_tcp(daemon: Daemon, peer: Peer, mode: str) -> None:
    with SimpleTCPClient("127.0.0.1", ports(daemon)[TCP], mode=mode) as client:
        client.send_message("/lcm/seed", 192 + 219 * 256)  # bytes that SLIP escapes
        wait_for(lambda: peer.value("seed") == 192 + 219 * 256, what="the seed")
        client.send_message("/lcm/get", "seed")
        (packet,) = client.receive(10)
        assert OscMessage(packet).params == [192 + 219 * 256]
        peer.send("/lcm/seed", 0)
        peer.settled()


def test_ipv6(daemon: Daemon, peer: Peer) -> None:
    found = send(daemon, "--host", "::1", "/lcm/seed", "66")
    assert (found.returncode, found.stderr) == (0, "")
    assert peer.value("seed") == 66
    wait_for(lambda: daemon.status()["moved"] == "seed: osc [::1]", what="the origin")


# OSCQuery


def node(daemon: Daemon, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{ports(daemon)[OSCQUERY]}{path}", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_oscquery_shows_labels_ranges_and_maps(daemon: Daemon) -> None:
    seed = node(daemon, "/lcm/seed")
    assert (seed["TYPE"], seed["RANGE"]) == ("i", [{"MIN": 0, "MAX": 2**31 - 1}])
    strength = node(daemon, "/lcm/strength")
    assert strength["LABEL"] == "strength"
    assert strength["DESCRIPTION"].startswith("How much of the input")
    fader = node(daemon, "/1/fader1")
    assert (fader["TYPE"], fader["RANGE"], fader["ACCESS"]) == ("f", [{"MIN": 0.0, "MAX": 10.0}], 3)
    assert (fader["LABEL"], fader["TAGS"]) == ("guidance", ["alias"])
    assert node(daemon, "/1/red")["TYPE"] == "T"
    assert node(daemon, "/1/storm")["TYPE"] == "N"
    assert node(daemon, "/sdmode")["RANGE"] == [{"VALS": ["txt2img", "img2img"]}]
    assert node(daemon, "/t_list")["ACCESS"] == 2


def test_the_page_hears_what_the_stage_has_refused(daemon: Daemon) -> None:
    with connect(f"ws://127.0.0.1:{daemon.panel_port}/ws") as page:
        page.send(json.dumps({"command": {"name": "cue/goto", "arguments": ["nowhere"]}}))
        heard: dict[str, Any] = {}
        while "error" not in heard:
            received = page.recv(10)
            heard = json.loads(received) if isinstance(received, str) else {}
        assert heard["error"].startswith("cue/goto: no cue 'nowhere'")


def test_a_drawn_seed_is_shown_to_its_sender_too(daemon: Daemon, peer: Peer) -> None:
    def heard_by(page: Any) -> Any:
        while True:
            received = page.recv(10)
            content = json.loads(received) if isinstance(received, str) else {}
            values = {change["name"]: change["value"] for change in content.get("changes", ())}
            if "seed" in values:
                return values["seed"]

    peer.send("/lcm/subscribe")
    peer.settled()
    with connect(f"ws://127.0.0.1:{daemon.panel_port}/ws") as page:
        peer.send("/lcm/seed", -1)
        first = int(wait_for(lambda: dict(peer.settled()).get("/lcm/seed"), what="the seed")[0])
        assert first >= 0
        assert heard_by(page) == first
        page.send(json.dumps({"set": {"seed": -1}}))
        second = heard_by(page)
        assert int(wait_for(lambda: dict(peer.settled()).get("/lcm/seed"), what="the seed")[0]) == second != first
    peer.send("/lcm/next", "seed", -1)
    third = int(wait_for(lambda: dict(peer.settled()).get("/lcm/seed"), what="the seed")[0])
    assert third not in (first, second)
    assert peer.value("seed") == third


def test_a_part_of_a_prompt_without_effect_is_told(peer: Peer) -> None:
    peer.send("/lcm/prompt", "cats AND dogs <lora:ink:0.5>")
    assert peer.errors() == ["prompt: AND is read as a word; `ocean::0.7 lava::0.3` mixes two prompts",
                             "prompt: <lora:ink> has no effect: the recipe has no LoRA of that name"]
    assert peer.value("prompt") == "cats AND dogs <lora:ink:0.5>"


def test_the_map_works_over_oscquerys_websocket(daemon: Daemon, peer: Peer) -> None:
    def until(client: Any, address: str) -> list[Any]:
        while True:
            packet = client.recv(10)
            if isinstance(packet, bytes) and (found := OscMessage(packet)).address == address:
                params: list[Any] = found.params
                return params

    peer.send("/lcm/guidance", 0.0)
    peer.settled()
    with connect(f"ws://127.0.0.1:{ports(daemon)[OSCQUERY]}/") as client:
        for path in ("/1/fader1", "/lcm/guidance", "/lcm/status/live/guidance"):
            client.send(json.dumps({"COMMAND": "LISTEN", "DATA": path}))
        client.send(encode("/1/fader1", [5.0]))
        wait_for(lambda: peer.value("guidance") == 10.0, what="the value")
        while until(client, "/lcm/status/live/guidance") != [10.0]:
            pass
        peer.send("/lcm/guidance", 4.0)
        assert until(client, "/1/fader1") == [2.0]
        client.send(encode("/1/fader1", []))
        assert until(client, "/1/fader1") == [2.0]
        client.send(encode("/1/red", [1]))
        wait_for(lambda: peer.value("prompt") == "red", what="the prompt")
        client.send(encode("/lcm/cue/goto", ["nowhere"]))
        assert until(client, "/lcm/error")[0].startswith("cue/goto: no cue 'nowhere'")
        client.send(encode("/lcm/strength", ["?"]))
        assert until(client, "/lcm/strength") == [pytest.approx(peer.value("strength"))]
        client.send(encode("/lcm/seed", [2**31 - 1]))
        wait_for(lambda: peer.value("seed") == 2**31 - 1, what="the seed")


def test_multicast(tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    group = "239.83.77.1"
    with Daemon(tmp_path, {"recipe": "passthrough", "output": {"size": [64, 64]}, "resume": False,
                           "osc": {"host": group, "port": port}}) as daemon:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            sock.settimeout(10)
            sock.sendto(encode("/lcm/strength", [0.25]), (group, port))
            wait_for(lambda: daemon.values().get("strength") == 0.25, what="the value")
            sock.sendto(encode("/lcm/get", ["strength"]), (group, port))
            assert OscMessage(sock.recv(999)).params == [0.25]
        assert re.search(rf"OSC: listening on {group}: UDP {port}", daemon.log())


@pytest.mark.parametrize(("group", "own"), [("239.83.77.2", "10.77.0.1"), ("ff02::77%studio", "")])
def test_multicast_on_a_network_beside_others(group: str, own: str, tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    show = {"recipe": "passthrough", "output": {"size": [64, 64]}, "resume": False,
            "osc": {"host": group, "port": port}}
    with namespace(discovery=False) as net:
        net.add_network("studio", "10.77.0.1/24", "fd77::1/64")
        with net.inside(), Daemon(tmp_path, show) as daemon, socket.socket(
                socket.AF_INET if own else socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.settimeout(10)
            if own:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
            target = socket.getaddrinfo(group, port, type=socket.SOCK_DGRAM)[0][4]
            sock.sendto(encode("/lcm/strength", [0.25]), target)
            wait_for(lambda: daemon.values().get("strength") == 0.25, what="the value")
            sock.sendto(encode("/lcm/get", ["strength"]), target)
            assert OscMessage(sock.recv(999)).params == [0.25]
