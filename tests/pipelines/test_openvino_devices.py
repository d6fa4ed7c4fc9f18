"""OpenVINO's devices, and what its import must not do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import need_module


@pytest.mark.slow
def test_its_import_reports_nothing_and_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    need_module("openvino")
    code = """
import socket, sys
from lcm_daemon.pipelines.accelerators import openvino_devices
def refuse(*arguments): raise SystemExit("a host was looked up")
socket.getaddrinfo = socket.create_connection = refuse
assert "CPU" in openvino_devices.devices()
assert sys.modules["openvino_telemetry"] is None
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
