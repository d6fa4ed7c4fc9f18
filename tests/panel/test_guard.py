"""Which Host headers name the panel."""

from __future__ import annotations

import socket

import pytest

from lcm_daemon.health import Health
from lcm_daemon.panel.guard import Guard


async def nothing(scope, receive, send):
    raise AssertionError


@pytest.mark.parametrize(("bound", "host", "known"), [
    ("127.0.0.1", "127.0.0.1:8000", True),
    ("127.0.0.1", "LOCALHOST", True),
    ("127.0.0.1", "[::1]:8000", True),
    ("127.0.0.1", "192.168.1.5:8000", False),
    ("127.0.0.1", "example.org", False),
    ("127.0.0.1", "localhost.example.org", False),
    ("127.0.0.1", "localhost:8000@example.org", False),
    ("127.0.0.1", "", False),
    ("192.168.1.5", "192.168.1.5:8000", True),
    ("192.168.1.5", "192.168.1.6:8000", False),
    ("0.0.0.0", "192.168.1.5:8000", True),
    ("0.0.0.0", "[fe80::1]:8000", True),
    ("0.0.0.0", socket.gethostname(), True),
    ("0.0.0.0", f"{socket.gethostname()}.local:8000", True),
    ("0.0.0.0", "example.org", False),
    ("vj.example.org", "VJ.example.org:8000", True),
])
def test_a_host_names_the_panel(bound, host, known):
    assert Guard(nothing, bound, Health()).knows(host) is known
