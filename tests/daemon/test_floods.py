"""A daemon under floods: the operator's page answers, an honest value is in force, and the picture goes on."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.measure.locked_out import Ports, flooding, open_page, set_by_osc
from tests.rigs.daemon import Daemon, free_port, wait_for

pytestmark = [pytest.mark.daemon, pytest.mark.slow]

SLOWNESS = 4.0  # of machines that do other things beside the tests; tests.measure.locked_out holds the true limits


def test_the_operator_is_not_locked_out(tmp_path: Path) -> None:
    """Bundles of 64 KB, idle connections and readers that do not read, at once."""
    ports = Ports(free_port(), free_port(socket.SOCK_DGRAM), free_port(), free_port())
    daemon = Daemon(tmp_path, {
        "recipe": "passthrough", "resume": False, "source": {"transport": "testcard"}, "panel": {"port": ports.page},
        "output": {"size": [256, 144], "fps": 30}, "osc": {"port": ports.osc, "tcp": ports.tcp},
        "oscquery": {"port": ports.query}})
    daemon.panel_port = ports.page
    with daemon:
        desk = daemon.wait_rendering()["desk_pid"]
        with connect(f"ws://127.0.0.1:{ports.page}/ws", max_size=None) as page:
            with flooding(["bundles", "idle_page", "slow_streams"], ports):
                assert open_page(ports) < 1.0 * SLOWNESS
                assert min(set_by_osc(ports, page, number) for number in range(4)) < 0.3 * SLOWNESS
                assert daemon.status()["output_fps"] > 15
            assert set_by_osc(ports, page, 9) < 0.3 * SLOWNESS, "what the flood has sent before does not come first"
        status = wait_for(daemon.status)
        assert status["desk_pid"] == desk, "no desk was replaced"
        counts = daemon.health("counts")
        assert counts.get("osc/dropped", 0) > 0, "the flood has lost moves, and they were counted"
        assert len(daemon.log()) < 100_000
