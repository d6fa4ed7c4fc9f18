"""`list parameters --live` against a real daemon, against what is none, and against nothing."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lcm_daemon.cli import main
from lcm_daemon.commands.list_live import HEADER, list_live
from lcm_daemon.controllers.osc.sender import send
from tests.rigs.daemon import Daemon, free_port, wait_for

SHOW = {
    "recipe": "passthrough", "output": {"size": [64, 64], "fps": 30}, "parameters": {"strength": 0.5},
    "cues": [{"name": "Ocean", "set": {"mix": 0.25, "prompt": "deep blue"}}],
    "modulation": [{"name": "slow", "to": "strength", "wave": "square", "rate": 0, "depth": 0.1}],
}


def row(lines: list[str], name: str) -> tuple[str, ...]:
    """A row's cells, by the places of its head."""
    places = [lines[0].index(head) for head in HEADER]
    line = next(line for line in lines if line.startswith(f"{name} "))
    return tuple(line[a:b].strip() for a, b in itertools.pairwise(places))


@pytest.mark.slow
def test_a_running_daemon_says_who_set_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Daemon(tmp_path, SHOW) as daemon:
        def live() -> list[str]:
            return list_live("127.0.0.1", daemon.panel_port)

        wait_for(lambda: len(live()) > 1, what="the first status")
        assert row(live(), "strength") == ("strength", "0.5", "0.6", "show, lfo slow")
        send("/lcm/cue/go", [], "127.0.0.1", daemon.osc_port)
        wait_for(lambda: row(live(), "mix") == ("mix", "0.25", "0.25", 'cue "Ocean"'), what="the cue")
        send("/lcm/strength", ["0.3"], "127.0.0.1", daemon.osc_port)
        wait_for(lambda: row(live(), "strength") == ("strength", "0.3", "0.4", "osc 127.0.0.1, lfo slow"), what="OSC")
        assert daemon.status()["moved"] == "strength: osc 127.0.0.1"
        send("/lcm/panic", [], "127.0.0.1", daemon.osc_port)
        wait_for(lambda: row(live(), "mix")[3] == "panic, osc 127.0.0.1", what="the panic")
        daemon.kill_desk()
        wait_for(lambda: daemon.status() and len(live()) > 1, what="another desk")
        assert row(live(), "mix")[3] == "panic, osc 127.0.0.1"
        assert main(["list", "parameters", "--live", "--port", str(daemon.panel_port)]) == 0
        assert capsys.readouterr().out.split()[:2] == ["PARAMETER", "BASE"]
        assert main(["health", "--port", str(daemon.panel_port)]) == 0
        assert " plays at " in capsys.readouterr().out


class Stranger(http.server.BaseHTTPRequestHandler):
    """A web server that is not a daemon."""

    code, body = 404, b""

    def do_GET(self) -> None:
        self.send_response(self.code)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None: ...


class Talker(Stranger):
    code, body = 200, b"[]"


@contextlib.contextmanager
def serving(kind: type[Stranger]) -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "said"), [
    (Stranger, "the answer is 404"), (Talker, "not that of an lcm-daemon of this version"),
])
def test_what_is_no_daemon_is_one_clear_line(
    kind: type[Stranger], said: str, capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(kind) as port:
        assert main(["list", "parameters", "--live", "--port", str(port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert f"http://127.0.0.1:{port}/health" in line


def test_where_nothing_answers_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert main(["list", "parameters", "--live", "--port", str(port)]) == 2
    assert capsys.readouterr().err.startswith(f"http://127.0.0.1:{port}/health: no daemon answers (")


@pytest.mark.parametrize("words", [["recipes", "--live"], ["parameters", "builtin", "--live"]])
def test_live_goes_with_parameters_alone(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *words]) == 2
    assert "--live goes with" in capsys.readouterr().err
