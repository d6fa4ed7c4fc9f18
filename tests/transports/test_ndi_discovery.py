"""NDI Discovery Servers: the file that the runtime reads, and that the real runtime then calls the server."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.transports import ndi_discovery
from lcm_daemon.transports.ndi_discovery import FILE, OF_THE_MACHINE, VARIABLE, servers_in_use, use_servers, variables
from tests.rigs.network import Network, namespace

OWN = {"ndi": {"machinename": "STAGE", "networks": {"ips": "10.0.0.9,", "discovery": "10.0.0.1"}}, "other": 5}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of a machine with settings of its own."""
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path / "state"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / FILE).write_text(json.dumps(OWN))
    return {VARIABLE: str(tmp_path / "own")}


def settings(environment: dict[str, str]) -> Any:
    return json.loads(Path(environment[VARIABLE], FILE).read_text())


def test_servers_are_laid_over_the_machines_settings(machine: dict[str, str]) -> None:
    own = machine[VARIABLE]
    use_servers(["10.0.0.5", "10.0.0.6:5960"], machine)
    assert settings(machine) == {"ndi": {"machinename": "STAGE", "networks": {
        "ips": "10.0.0.9,", "discovery": "10.0.0.5,10.0.0.6:5960"}}, "other": 5}
    assert servers_in_use(machine) == ["10.0.0.5", "10.0.0.6:5960"]
    use_servers(["10.0.0.7"], machine)
    assert servers_in_use(machine) == ["10.0.0.7"]
    use_servers([], machine)
    assert machine == {VARIABLE: own}
    assert servers_in_use(machine) == ["10.0.0.1"]


def test_without_servers_nothing_changes(machine: dict[str, str], tmp_path: Path) -> None:
    before = dict(machine)
    use_servers([], machine)
    assert (machine, variables([], machine)) == (before, {})
    assert not (tmp_path / "state").exists()


def test_a_process_that_a_show_has_started_adds_nothing(machine: dict[str, str]) -> None:
    use_servers(["10.0.0.5"], machine)
    assert variables(["10.0.0.5"], machine) == machine
    assert variables(["10.0.0.8"], machine)[OF_THE_MACHINE] == machine[OF_THE_MACHINE]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ndi": 5}', '{"ndi": {"networks": []}}', "\ufeff{}"])
def test_settings_that_the_runtime_cannot_read_either(machine: dict[str, str], content: str) -> None:
    Path(machine[VARIABLE], FILE).write_text(content, "utf-8")
    assert servers_in_use(machine) == []
    use_servers(["10.0.0.5"], machine)
    assert settings(machine)["ndi"]["networks"] == {"discovery": "10.0.0.5"}


def test_a_folder_that_cannot_be_written(
    machine: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path / "file"))
    assert variables(["10.0.0.5"], machine) == {}
    assert "the Discovery Servers are not used" in caplog.text


def test_whether_a_server_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert ndi_discovery.answers(address) == ""
    assert ndi_discovery.answers(address) == "Connection refused"


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    pytest.importorskip("NDIlib")
    with namespace(discovery=False) as network:
        yield network


def call_server(pipe: Connection, state: str, ends: str) -> None:
    """A child: names a server, opens a sink or a source, and sends how long it takes until the server is called."""
    from lcm_daemon.transports.ndi import NdiSink, NdiSource

    os.environ["LCM_DAEMON_STATE"] = state
    with socket.create_server(("127.0.0.1", 0)) as server:
        use_servers([f"127.0.0.1:{server.getsockname()[1]}"])
        server.settimeout(10)
        end: Any = NdiSink({"name": "announced"}) if ends == "sink" else NdiSource({"name": "wanted"})
        end.open((64, 48), 30) if ends == "sink" else end.open()
        start = time.perf_counter()
        connection = server.accept()[0]
        pipe.send(time.perf_counter() - start)
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["sink", "source"])
def test_the_runtime_calls_the_server(net: Network, tmp_path: Path, ends: str) -> None:
    assert net.call(call_server, str(tmp_path), ends, seconds=30) < 10
