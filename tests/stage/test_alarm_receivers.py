"""Receivers of alarms, each against a real peer."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pythonosc.osc_message import OscMessage

from lcm_daemon.shows.alarm_options import AlarmOptions
from lcm_daemon.stage import alarm_receivers
from lcm_daemon.stage.alarm_policy import BEGINS, ENDS, LASTS, AlarmMessage
from lcm_daemon.stage.alarm_receivers import (
    AlarmNotSent,
    CommandReceiver,
    OscReceiver,
    WebhookReceiver,
    describe,
    receivers_of,
)

MESSAGE = AlarmMessage("disk", "0.4 GB are left", BEGINS, 5.0)


def test_osc() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(30)
        OscReceiver("localhost", peer.getsockname()[1]).send("mirror", MESSAGE)
        received = OscMessage(peer.recv(4096))
    assert (received.address, received.params) == ("/lcm/alarm", ["disk", "0.4 GB are left", "begins"])
    with pytest.raises(AlarmNotSent):
        OscReceiver("no.such.host.invalid", 9).send("mirror", MESSAGE)


class Hook(BaseHTTPRequestHandler):
    """Answers 200 at /good, a redirect at /elsewhere, and 500 at other paths."""

    bodies: list[dict[str, object]] = []

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response({"/good": 200, "/elsewhere": 302}.get(self.path.partition("?")[0], 500))
        self.send_header("Location", "/good")
        self.end_headers()

    def do_GET(self) -> None:
        self.bodies.append({"method": "GET"})

    def log_message(self, *args: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def hook() -> Iterator[str]:
    Hook.bodies = []
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_webhook(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_receivers.socket, "gethostname", lambda: "gallery-pc")
    WebhookReceiver(f"{hook}/good").send("mirror", MESSAGE)
    assert Hook.bodies == [Hook.bodies[0] | {
        "text": "mirror on gallery-pc: disk: 0.4 GB are left", "show": "mirror", "host": "gallery-pc", "cause": "disk",
        "alarm": "0.4 GB are left", "state": "begins", "times": 1}]


@pytest.mark.parametrize(("path", "reason"), [("/bad", "500"), ("/elsewhere", "302")])
def test_a_webhook_that_refuses_or_leads_elsewhere(hook: str, path: str, reason: str) -> None:
    receiver = WebhookReceiver(f"{hook}{path}?token=secret")
    with pytest.raises(AlarmNotSent, match=reason) as failed:
        receiver.send("mirror", MESSAGE)
    assert len(Hook.bodies) == 1, "it is not sent elsewhere"
    assert "secret" not in f"{failed.value}{receiver.name}"


def test_a_webhook_where_nothing_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(AlarmNotSent, match="refused"):
            WebhookReceiver(f"http://127.0.0.1:{closed.getsockname()[1]}/").send("mirror", MESSAGE)


class Talker(threading.Thread):
    """A server that answers one request with `parts`, with a pause before each; then it is silent."""

    def __init__(self, *parts: bytes, pause: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.parts, self.pause, self.got = parts, pause, b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        with self.listener, self.listener.accept()[0] as client, contextlib.suppress(OSError):
            self.got = client.recv(65536)
            for part in self.parts:
                time.sleep(self.pause)
                client.sendall(part)
            client.recv(65536)


@pytest.mark.parametrize("answer", [b"220 mail.example ready\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200])
def test_a_webhook_whose_answer_is_not_http(answer: bytes) -> None:
    with pytest.raises(AlarmNotSent, match="not HTTP"):
        WebhookReceiver(f"http://{Talker(answer).host}/secret").send("mirror", MESSAGE)


@pytest.mark.parametrize("parts", [(b"x",) * 100, (b"HTTP/1.1 200 OK\r\n", *(b"a: b\r\n",) * 50)])
def test_a_webhook_that_answers_for_ever(parts: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_receivers, "REQUEST_SECONDS", 0.2)
    with pytest.raises(AlarmNotSent, match=r"no answer within 0\.2 s"):
        WebhookReceiver(f"http://{Talker(*parts, pause=0.05).host}/").send("mirror", MESSAGE)


def test_the_words_of_a_webhook_that_refuses_stay_out_of_the_log() -> None:
    talker = Talker(b"HTTP/1.1 599 \x1b[2J/the/secret\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(AlarmNotSent) as failed:
        WebhookReceiver(f"http://{talker.host}/the/secret").send("mirror", MESSAGE)
    assert str(failed.value) == "the answer is 599"


def test_a_webhook_with_a_user_and_a_password() -> None:
    talker = Talker(b"HTTP/1.1 204 No Content\r\n\r\n")
    WebhookReceiver(f"http://bell:a%3Ab@{talker.host}/ring").send("mirror", MESSAGE)
    assert b"POST /ring HTTP/1.1" in talker.got
    assert b"Authorization: Basic YmVsbDphOmI=\r\n" in talker.got


def test_texts_that_are_not_unicode_and_names_that_no_host_has() -> None:
    odd = AlarmMessage("disk", "\udcff is full", BEGINS, 5.0)
    python("import sys; sys.exit(len(sys.stdin.read()) < 9)").send("mirror", odd)
    with pytest.raises(AlarmNotSent):
        OscReceiver("localhost", 9).send("mirror", odd)
    with pytest.raises(AlarmNotSent):
        OscReceiver(f"{'a' * 70}.example", 9).send("mirror", MESSAGE)


def python(script: str) -> CommandReceiver:
    return CommandReceiver([sys.executable, "-c", script])


def test_a_command(tmp_path: Path) -> None:
    file = tmp_path / "told"
    script = (f"import os, sys; open({str(file)!r}, 'w').write(sys.stdin.read() + "
              "'|'.join(os.environ['LCM_ALARM_' + x] for x in ('SHOW', 'CAUSE', 'TEXT', 'STATE')))")
    python(script).send("mirror", MESSAGE)
    sentence, variables = file.read_text().splitlines()
    assert sentence.endswith("disk: 0.4 GB are left")
    assert variables == "mirror|disk|0.4 GB are left|begins"


def test_a_command_that_fails_is_missing_or_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AlarmNotSent, match="exit code 3"):
        python("raise SystemExit(3)").send("mirror", MESSAGE)
    with pytest.raises(AlarmNotSent, match="cannot be started"):
        CommandReceiver(["/no/such/program"]).send("mirror", MESSAGE)
    monkeypatch.setattr(alarm_receivers, "COMMAND_SECONDS", 0.1)
    with pytest.raises(AlarmNotSent, match=r"did not end within 0\.1 s"):
        python("import time; time.sleep(60)").send("mirror", MESSAGE)


def test_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_receivers.socket, "gethostname", lambda: "pc")
    assert describe("m", AlarmMessage("disk", "full", LASTS, 7200.0, 0)) == "m on pc: disk: full (for 120 min already)"
    assert describe("m", AlarmMessage("disk", "full", BEGINS, 5.0, 4)) == (
        "m on pc: disk: full (4 times since the last message)")
    assert describe("m", AlarmMessage("disk", "full", ENDS, 5.0)) == "m on pc: disk: over (full)"


def test_names_hold_no_secrets() -> None:
    options = AlarmOptions(
        (("pc", 9001),), ("https://user:word@chat.example/services/T0KEN",), ("/usr/bin/logger", "-t"))
    assert [each.name for each in receivers_of(options)] == [
        "osc pc:9001", "webhook https://chat.example", "command logger"]
    assert "T0KEN" not in repr(options)
