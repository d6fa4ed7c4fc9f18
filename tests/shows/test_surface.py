"""The surface of a show: its ports and ends, recorded looks, and what a control state knows better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lcm_daemon.exports.surface import Surface, SurfaceEnd
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import fixed_surface, surface_of


def surface(folder: Path, **show: Any) -> Surface:
    (folder / "club.yaml").write_text(yaml.safe_dump(show))
    return surface_of(load_show(folder / "club.yaml", environment={}))


def test_a_show_is_told_with_its_parameters_looks_and_ends(tmp_path: Path) -> None:
    (tmp_path / "club.cues.yaml").write_text(yaml.safe_dump([{"name": "Recorded", "values": {"mix": 0.5}}]))
    found = surface(
        tmp_path, name="Club", source={"transport": "ndi", "name": "CAM"}, cues=[{"name": "Intro"}],
        sinks=[{"transport": "spout", "name": "wall"}, {"transport": "record"}], parameters={"strength": 0.25},
        modulation=[{"name": "drift", "to": "mix"}], prompts=["lava"], sources={"two": {"transport": "testcard"}})
    assert (found.show, found.file, found.cues) == ("Club", "club.yaml", ("Intro", "Recorded"))
    assert (found.inputs, found.outputs) == (
        (SurfaceEnd("ndi", "CAM"), SurfaceEnd("testcard", "")), (SurfaceEnd("spout", "wall"), SurfaceEnd("record", "")))
    assert found.values["strength"] == 0.25
    assert "mod/drift/depth" in found.table
    assert {"builtin", "passthrough"} <= set(found.recipes)
    assert found.commands["recipe"].arguments[0].choices == found.recipes


@pytest.mark.parametrize(("osc", "host", "port"), [
    ({"port": 9100}, "127.0.0.1", 9100), ({"host": "0.0.0.0"}, "127.0.0.1", 9000), (False, "127.0.0.1", 0),
    ({"host": "192.168.7.7", "ports": [9200, 9201]}, "192.168.7.7", 9200),
])
def test_the_ports_are_those_that_programs_send_to(tmp_path: Path, osc: Any, host: str, port: int) -> None:
    found = surface(tmp_path, osc=osc, panel={"port": 8100})
    assert (found.host, found.osc_port, found.page_port, found.query_port) == (host, port, 8100, 0)


def test_each_server_has_its_own_address(tmp_path: Path) -> None:
    found = surface(tmp_path, osc={"host": "239.0.0.7"}, panel={"host": "10.0.0.5"}, oscquery={"host": "::1"})
    assert (found.host, found.page_url, found.query_url) == ("239.0.0.7", "http://10.0.0.5:8000", "http://[::1]:9080")


def test_a_name_with_control_characters_is_told_without_them(tmp_path: Path) -> None:
    assert surface(tmp_path, name="my\0 sh\now\u2028").show == "my  sh ow"


def test_a_packaged_show_is_known_by_its_name() -> None:
    assert fixed_surface(load_show("demo", environment={})).file == "demo"
