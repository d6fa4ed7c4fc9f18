"""OBS's scene collection: what its importer and its loader ask for, and the two sources' settings."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.exports import obs
from lcm_daemon.exports.surface import Surface
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of
from tests.exports.hostile import hostile_surface


@pytest.fixture(scope="module")
def demo() -> Surface:
    return surface_of(load_show("demo", environment={}))


def collection(surface: Surface) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(obs.build(surface))
    return found


def sources(surface: Surface) -> dict[str, dict[str, Any]]:
    return {source["name"]: source for source in collection(surface)["sources"]}


def test_the_importer_takes_it(demo: Surface) -> None:
    """StudioImporter::Check wants these three, and not null."""
    found = collection(demo)
    assert all(found[key] for key in ("name", "sources", "current_scene"))


def test_scenes_and_their_items_exist(demo: Surface) -> None:
    found, by_name = collection(demo), sources(demo)
    scenes = {name for name, source in by_name.items() if source["id"] == "scene"}
    assert {entry["name"] for entry in found["scene_order"]} == scenes
    assert {found["current_scene"], found["current_program_scene"]} <= scenes
    for scene in scenes:
        for item in by_name[scene]["settings"]["items"]:
            assert by_name[item["name"]]["uuid"] == item["source_uuid"]
            assert item["visible"]
    assert len({source["uuid"] for source in by_name.values()}) == len(by_name) == 4


def test_the_page_and_the_ndi_sender(demo: Surface) -> None:
    settings = {source["id"]: source["settings"] for source in sources(replace(demo, machine="STAGE")).values()}
    page = settings["browser_source"]
    assert page["url"] == "http://127.0.0.1:8000/output"
    assert (page["width"], page["height"], page["fps"]) == (512, 512, 30)
    assert settings["ndi_source"]["ndi_source_name"] == "STAGE (lcm)"


def test_a_show_with_one_picture_has_one_scene_and_without_one_is_refused(demo: Surface) -> None:
    assert len(sources(replace(demo, page_port=0))) == len(sources(replace(demo, outputs=()))) == 2
    with pytest.raises(LcmDaemonError, match="OBS finds no picture"):
        obs.build(replace(demo, page_port=0, outputs=()))


def test_names_are_quoted() -> None:
    assert collection(hostile_surface())["name"] == 'lcm a "b" <c>'


def test_it_is_the_same_each_time_and_another_for_another_show(demo: Surface) -> None:
    assert obs.build(demo) == obs.build(demo)
    other = sources(replace(demo, show="other"))
    assert {source["uuid"] for source in other.values()}.isdisjoint(
        source["uuid"] for source in sources(demo).values())
