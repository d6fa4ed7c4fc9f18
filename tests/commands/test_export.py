"""`lcm-daemon export`: the list, the file, standard output, what cannot be written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lcm_daemon.cli import main
from lcm_daemon.core.local_addresses import machine_name
from lcm_daemon.exports.formats import FORMATS


def test_the_list_has_every_export(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["WHAT", *FORMATS]


def test_a_file_is_written_into_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "touchdesigner", "demo", "--set", "osc.port=9100"]) == 0
    assert capsys.readouterr().out.startswith("demo_touchdesigner.py: TouchDesigner: ")
    assert '"port": 9100' in (tmp_path / "demo_touchdesigner.py").read_text("utf-8")


def test_standard_output_has_the_file_alone(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["export", "touchdesigner", "demo", "-o", "-"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"# The component `lcm` for TouchDesigner")


@pytest.mark.skipif(sys.platform == "win32", reason="needs links")
def test_a_link_or_device_stays_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "file.json")
    assert main(["export", "obs", "demo", "-o", str(link)]) == 0
    assert link.is_symlink()
    assert (tmp_path / "file.json").read_text("utf-8").startswith("{")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert main(["export", "touchdesigner", "demo", "-o", str(pipe)]) == 0
        assert os.read(reader, 20) == b"# The component `lcm"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_file_with_an_ndi_sender_names_this_machine(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["export", "obs", "demo", "-o", "-"]) == 0
    assert f'"{machine_name()} (lcm)"'.encode() in capfdbinary.readouterr().out


@pytest.mark.parametrize(("arguments", "reason"), [
    (["touchdesigne"], "no export is named 'touchdesigne'"),
    (["touchdesigner", "no_such_show"], "no_such_show: cannot be read"),
    (["touchdesigner", "demo", "-o", "/dev/null/x"], "/dev/null/x: cannot be written"),
    (["touchdesigner", "demo", "--set", "osc=false"], "osc is off"),
    (["touchdesigner", "demo", "--set", "osc.prot=1"], "unknown key"),
])
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert len(error.splitlines()) == 1
