"""What a show needs of the machine: figures are graded, and what is broken is one line."""

from __future__ import annotations

import shutil
import socket
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from lcm_daemon.commands.readiness import machine
from lcm_daemon.commands.readiness.finding import FAULT, NOTE, OK
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show

Usage = namedtuple("Usage", "total used free")


def show(folder: Path, text: str = "{}") -> Show:
    path = folder / "mirror.yaml"
    path.write_text(text)
    return load_show(path, environment={})


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LCM_DAEMON_CACHE", str(tmp_path / "cache"))


def test_every_folder_that_is_written_is_looked_at(tmp_path: Path) -> None:
    text = ("log: {file: logs/a.log}\nsinks: [{transport: record, path: 'takes/{date}/x.mp4'}]\n"
            "audience: {keep: visitors}")
    found = {one.text.partition(" free for ")[2].partition(" in ")[::2] for one in machine.disks(show(tmp_path, text))}
    assert {use: Path(folder) for use, _, folder in ((use, "", folder) for use, folder in found)} == {
        "state": tmp_path / "state", "compiled models": tmp_path / "cache", "looks": tmp_path, "log": tmp_path / "logs",
        "recordings": tmp_path / "takes", "visitors' pictures": tmp_path / "visitors"}


def test_ndi_servers_that_answer_and_do_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (server, other)]
        other.close()
        servers = f"network: {{ndi_discovery: {addresses}}}\n"
        found = list(machine.ndi_servers(show(tmp_path, servers + "sinks: [{transport: ndi, name: lcm}]")))
        assert [(one.text, one.grade) for one in found] == [
            (f"{addresses[0]} answers", OK), (f"{addresses[1]} does not answer: Connection refused", NOTE)]
        assert list(machine.ndi_servers(show(tmp_path, servers))) == []


@pytest.mark.parametrize(("free", "grade"), [(50e9, OK), (1e9, NOTE), (1e6, FAULT)])
def test_a_full_disk_is_a_fault(free: float, grade: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1e12, 0, free))
    assert {one.grade for one in machine.disks(show(tmp_path))} == {grade}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    made = show(tmp_path, "sinks: [{transport: record, path: /proc/takes/a.mp4}]")
    bad = [one for one in machine.disks(made) if one.grade == FAULT]
    assert [one.text.partition(":")[0] for one in bad] == ["/proc/takes cannot be written (recordings)"]


@pytest.mark.parametrize(("free", "grade"), [(1e9, OK), (13e6, NOTE), (12e6, FAULT)])
def test_shared_memory_for_the_frames(free: float, grade: str, tmp_path: Path) -> None:
    """512x512: 6.3 MB for the desk and for an engine each, and for an engine beside it."""
    assert machine.shared_memory(show(tmp_path), free).grade == grade


def test_several_engines_and_a_guide_take_more(tmp_path: Path) -> None:
    more = show(tmp_path, "engines: [{device: cpu, engines: 3}]\nguide: {transport: testcard}")
    assert machine.shared_memory(more, 37e6).grade == FAULT
    assert machine.shared_memory(more, 70e6).grade == OK


@pytest.mark.parametrize(("free", "grade"), [(8e9, OK), (1.6e9, NOTE), (0.3e9, FAULT)])
def test_memory_beside_the_model(free: float, grade: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=free))
    assert next(iter(machine.memory(show(tmp_path)))).grade == grade


def test_what_a_recipe_takes() -> None:
    assert machine.gigabytes("~3.5 GB") == 3.5e9
    assert machine.gigabytes("") == 0.0


@pytest.mark.parametrize(("printed", "grade", "words"), [
    ("RTX 4090, 570.86, 24564, 812, 41\n", OK, "driver 570.86"),
    ("RTX 4090, 570.86, 24564, 24500, 41\n", NOTE, "takes"),
    ("RTX 4090, 570.86, [N/A], [N/A], 41\n", NOTE, "[N/A]"), (None, FAULT, "started again"),
])
def test_a_graphics_card(
    printed: str | None, grade: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(machine, "_printed", lambda *words: printed)
    (found,) = machine.driver(show(tmp_path, "recipe: {base: builtin, device: 'cuda:0'}"))
    assert found.grade == grade
    assert words in found.text


@pytest.mark.parametrize(("printed", "grades"), [
    ("Timezone=Europe/Berlin\nNTPSynchronized=yes\n", [OK]), ("Timezone=UTC\nNTPSynchronized=no\n", [NOTE]),
    (None, []), ("", []),
])
def test_the_clock(printed: str | None, grades: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(machine, "_printed", lambda *words: printed)
    assert [one.grade for one in machine.clock()] == grades


@pytest.mark.parametrize(("text", "allowed", "grades"), [
    ("{}", True, [OK]), ("{}", False, [NOTE]), ("real_time: false", False, []),
])
def test_real_time(
    text: str, allowed: bool, grades: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(machine, "may_keep_time", lambda: allowed)
    assert [one.grade for one in machine.real_time(show(tmp_path, text))] == grades


def test_ports_of_others_are_faults_and_its_own_are_not(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        made = show(tmp_path, f"osc: false\npanel: {{port: {other.getsockname()[1]}}}")
        (taken,) = machine.ports(made, plays=False)
        assert (taken.grade, taken.text.split()[0]) == (FAULT, "panel.port")
        assert [one.grade for one in machine.ports(made, plays=True)] == [OK]
    assert [one.text for one in machine.ports(made, plays=False)] == ["free"]
