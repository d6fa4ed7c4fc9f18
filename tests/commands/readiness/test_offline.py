"""A process of a copy reaches its own network, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lcm_daemon.commands.readiness.offline import attempts, is_elsewhere, without_internet

# The events are those that sockets raise before they do anything: nothing leaves this machine.
TRIES = """
import socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listener.getsockname()).close()
socket.getaddrinfo("localhost", 1)
sys.audit("socket.sendto", None, ("10.0.0.1", 9000))
sys.audit("socket.connect", None, "/run/dbus/system_bus_socket")
refused = []
def tries():
    for event in (("socket.getaddrinfo", "huggingface.co", 443), ("socket.connect", None, ("1.1.1.1", 53)),
                  ("socket.sendto", None, ("8.8.8.8", 53)), ("socket.connect", None, ("2606:4700::1111", 53, 0, 0))):
        try:
            sys.audit(*event)
        except ConnectionRefusedError as error:
            refused.append(str(error))
thread = threading.Thread(target=tries)
thread.start()
thread.join()
print(len([each for each in refused if "doctor refuses" in each]))
"""


def test_the_internet_is_refused_and_noted_and_this_machine_is_not() -> None:
    with without_internet() as (variables, refused):
        done = subprocess.run([sys.executable, "-P", "-c", TRIES], capture_output=True, text=True,
                              env={**os.environ, **variables})
        assert done.stdout.strip() == "4", done.stderr
        assert attempts(refused) == ["huggingface.co", "1.1.1.1", "8.8.8.8", "2606:4700::1111"]


def test_other_processes_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with without_internet() as (variables, refused):
        assert "LCM_DAEMON_REFUSED" not in os.environ
        assert Path(variables["PYTHONPATH"].split(os.pathsep)[0], "sitecustomize.py").is_file()
    assert not refused.exists()


@pytest.mark.parametrize(("host", "elsewhere"), [
    ("192.168.1.7", False), ("10.0.0.1", False), ("127.0.0.1", False), ("169.254.1.1", False), ("224.0.0.251", False),
    ("239.255.0.1", False), ("::1", False), ("fe80::1%eth0", False), ("wall.local", False),
    ("9.9.9.9", True), ("2606:4700::1111", True), ("huggingface.co", True),
])
def test_what_counts_as_elsewhere(host: str, elsewhere: bool) -> None:
    assert is_elsewhere(host) is elsewhere
