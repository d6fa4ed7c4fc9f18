"""`lcm-daemon health`: one line and an exit code, whatever answers at the panel's port."""

from __future__ import annotations

import datetime
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.cli import main
from tests.rigs.daemon import free_port

STATUS = {"show": "mirror", "output_fps": 30.0, "engine": "rendering"}
HEALTH = {"status_age": 0.4, "status": STATUS, "live": {}, "without_effect": {}}


class Panel(http.server.BaseHTTPRequestHandler):
    """Answers as a panel does."""

    code, health = 200, HEALTH

    def do_GET(self) -> None:
        self.send_response(self.code)
        self.end_headers()
        self.wfile.write(json.dumps(self.health).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def panel() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("AnotherPanel", (Panel,), {})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(("code", "change", "exit_code", "said"), [
    (200, {}, 0, "mirror plays at 30.0 fps; engine: rendering\n"),
    (200, {"status": {**STATUS, "alarm": "slate"}}, 0, "mirror plays at 30.0 fps; engine: rendering; slate\n"),
    (200, {"status": {**STATUS, "engine": "unloaded", "hours": "closed until Mon 30 Nov 10:00"}}, 0,
     "mirror plays at 30.0 fps; engine: unloaded; closed until Mon 30 Nov 10:00\n"),
    (200, {"status": {**STATUS, "engines": "1 of 2 render"}}, 0,
     "mirror plays at 30.0 fps; engine: rendering; 1 of 2 render\n"),
    (200, {"status_age": 7.5}, 1, "the stage does not play: its status is 7.5 s old\n"),
    (200, {"status_age": None, "status": {}}, 1, "the stage does not play: no status yet\n"),
    (200, {"status": []}, 1, "the answer is not that of an lcm-daemon of this version\n"),
    (401, {}, 0, "the daemon answers, but does not show its status to this address without the pin\n"),
    (404, {}, 1, "the answer is 404 Not Found; set --host and --port to those of the daemon's panel\n"),
])
def test_one_line_and_a_code(
    code: int, change: dict[str, Any], exit_code: int, said: str, panel: http.server.ThreadingHTTPServer,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: Any = panel.RequestHandlerClass
    answers.code, answers.health = code, {**HEALTH, **change}
    monkeypatch.setenv("LCM_DAEMON__PANEL__PORT", str(panel.server_port))
    assert main(["health"]) == exit_code
    output = capsys.readouterr()
    assert (output.out + output.err).endswith(said)
    assert (output.err == "") == (exit_code == 0)


def test_a_panel_that_speaks_https_answers_too(
    panel: http.server.ThreadingHTTPServer, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    self_signed = pytest.importorskip("lcm_daemon.web.self_signed")
    files = tmp_path / "a.pem", tmp_path / "a-key.pem"
    self_signed.make_certificate(*files, ["lcm.lan"], datetime.datetime.now(datetime.UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    panel.socket = context.wrap_socket(panel.socket, server_side=True)
    assert main(["health", "--port", str(panel.server_port)]) == 0
    assert capsys.readouterr().out.startswith("mirror plays")


@pytest.mark.parametrize(("variable", "said"), [
    ("", "no daemon answers ("), ("http", "LCM_DAEMON__PANEL__PORT: 'http' is not a port"),
    ("65536", "LCM_DAEMON__PANEL__PORT: '65536' is not a port"),
])
def test_no_daemon_is_one_line(
    variable: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LCM_DAEMON__PANEL__PORT", variable or str(free_port()))
    assert main(["health"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
