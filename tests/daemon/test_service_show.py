"""What `service install` writes starts a show that reports to the service manager and ends in order."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lcm_daemon.cli import main
from tests.rigs.daemon import free_port


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is of Linux")
def test_the_command_of_a_unit_plays_reports_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    folder = tmp_path / "Zwei Räume"
    folder.mkdir()
    (folder / "mirror.yaml").write_text(
        f"recipe: passthrough\nosc: false\npanel: {{port: {free_port()}}}\nengine: {{spare: false}}\n")
    assert main(["service", "install", str(folder / "mirror.yaml"), "--dry-run", "--set", "name=50% hall"]) == 0
    unit = capsys.readouterr().out
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line.removeprefix("ExecStart="))]
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(60)
        with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={**os.environ, "NOTIFY_SOCKET": address}) as run:
            try:
                assert manager.recv(99) == b"READY=1"
                assert manager.recv(99) == b"WATCHDOG=1"
                run.send_signal(signal.SIGTERM)
                while manager.recv(99) != b"STOPPING=1":
                    pass
                printed, _ = run.communicate(timeout=30)
            finally:
                run.kill()
    assert run.returncode == 0
    assert "show     50% hall" in printed
