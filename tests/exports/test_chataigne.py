"""The session for Chataigne and the device for ossia score."""

from __future__ import annotations

import json

import pytest

from lcm_daemon.controllers.oscquery.tree import build_tree, method_nodes
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.exports import chataigne, ossia
from lcm_daemon.exports.surface import Surface
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of
from tests.exports.hostile import hostile_surface
from tests.exports.read_chataigne import module, nodes


@pytest.fixture(scope="module")
def demo() -> Surface:
    return surface_of(load_show("demo", ["oscquery.port=9080"], environment={}))


def test_the_copy_of_the_tree_says_what_the_daemon_serves(demo: Surface) -> None:
    controls = ControlState(dict(demo.table), dict(demo.values), Metrics(), lambda: None)
    served = {node["FULL_PATH"]: node for node in nodes(build_tree(method_nodes(controls)))}
    for node in nodes(module(chataigne.build(demo))["treeData"]):
        if node["FULL_PATH"].removeprefix("/lcm/") in demo.table:
            daemon = served[node["FULL_PATH"]]
            assert [node.get(key) for key in ("TYPE", "ACCESS", "VALUE", "RANGE", "DESCRIPTION")] == [
                daemon.get(key) for key in ("TYPE", "ACCESS", "VALUE", "RANGE", "DESCRIPTION")]


def test_the_module_is_connected_and_listens_to_every_container(demo: Surface) -> None:
    found = module(chataigne.build(demo))
    output = {each["controlAddress"]: each["value"] for each in found["params"]["containers"]["output"]["parameters"]}
    assert output == {"/local": True, "/remoteHost": "127.0.0.1", "/remotePort": 9080, "/customOSCPort": 9000}

    def check(values: dict[str, dict[str, object]], tree: dict[str, dict[str, object]]) -> None:
        assert values.keys() == {name for name, node in tree["CONTENTS"].items() if "CONTENTS" in node}
        for name, container in values.items():
            assert container["parameters"] == [{"value": True, "controlAddress": "/listen"}]
            check(container.get("containers", {}), tree["CONTENTS"][name])

    check(found["values"]["containers"], found["treeData"])


def test_score_finds_the_daemon(demo: Surface) -> None:
    device = json.loads(ossia.build(demo))["Device"]
    assert device == {"Name": "demo", "Protocol": "1187fefe-0468-49d1-9eb7-92d7f4e11f6f",
                      "Host": "ws://127.0.0.1:9080", "LocalPort": 0}
    assert json.loads(ossia.build(hostile_surface()))["Device"]["Name"] == "a_b_c"
