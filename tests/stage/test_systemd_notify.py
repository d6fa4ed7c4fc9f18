"""Signs of life to a service manager, whose socket the test is."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lcm_daemon.stage.systemd_notify import WATCHDOG_INTERVAL, SystemdNotifier
from tests.conftest import need
from tests.rigs.daemon import Daemon

ABSTRACT = f"@lcm-daemon-test-{os.getpid()}"


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Its address, and the end at which it listens."""
    need(hasattr(socket, "AF_UNIX"), "service managers with a notify socket are those of Linux")
    need(request.param == "path" or sys.platform == "linux", "abstract socket names are Linux's own")
    address = ABSTRACT if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(address.replace("@", "\0", 1))
        ear.settimeout(30)
        yield address, ear


def test_the_manager_hears_of_the_start_of_each_second_and_of_the_end(manager: tuple[str, socket.socket]) -> None:
    address, ear = manager
    watchdog = SystemdNotifier({"NOTIFY_SOCKET": address})
    watchdog.ready()
    for beat in range(60):
        watchdog.alive(1000.0 + beat / 20)
    watchdog.stopping()
    heard = [ear.recv(100).decode() for _ in range(5)]
    assert heard == ["READY=1", *["WATCHDOG=1"] * round(3.0 / WATCHDOG_INTERVAL), "STOPPING=1"]


def test_nobody_listens_and_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        watchdog = SystemdNotifier(environment)
        watchdog.ready()
        watchdog.alive(0.0)
        watchdog.stopping()


def test_a_manager_that_does_not_listen_keeps_no_beat_waiting(manager: tuple[str, socket.socket]) -> None:
    watchdog = SystemdNotifier({"NOTIFY_SOCKET": manager[0]})
    for second in range(10_000):  # many more than its queue holds
        watchdog.alive(second * WATCHDOG_INTERVAL)


@pytest.mark.slow
def test_a_show_says_when_it_is_open_that_it_goes_on_and_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(sys.platform == "linux", "systemd is Linux's own")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with Daemon(tmp_path, {"recipe": "passthrough", "sinks": [], "engine": {"spare": False}}) as daemon:
            assert [ear.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            daemon.process.send_signal(signal.SIGTERM)
            while (word := ear.recv(100)) == b"WATCHDOG=1":
                pass
            assert word == b"STOPPING=1"
