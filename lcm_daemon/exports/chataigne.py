"""The session for Chataigne: an OSCQuery module that is connected to the daemon, with its tree and both ways enabled.

The module's keys are those of Chataigne 1.9 and later (`GenericOSCQueryModule`), after a session that it has saved. It
reads the tree of the running daemon when the session is opened; the copy in the file lets mappings be made without it.
"""

from __future__ import annotations

import json
from typing import Any

from lcm_daemon.exports.query_tree import Node, tree_of
from lcm_daemon.exports.surface import Surface

VERSION, VERSION_NUMBER = "1.9.24", 67864
EMPTY = {"viewOffset": [0, 0], "viewZoom": 1.0}

Json = dict[str, Any]


def build(surface: Surface) -> bytes:
    """The `.noisette` file as JSON. Raises LcmDaemonError if the show has no OSC or no OSCQuery."""
    surface.need("osc", "oscquery")
    session = {"metaData": {"version": VERSION, "versionNumber": VERSION_NUMBER}, "projectSettings": {},
               "modules": {"items": [_module(surface)], **EMPTY}, "customVariables": EMPTY, "states": EMPTY,
               "sequences": EMPTY, "routers": EMPTY}
    return json.dumps(session, indent=1, ensure_ascii=False).encode()


def _module(surface: Surface) -> Json:
    tree = tree_of(surface)
    own = [_parameter("/useAddressForNaming", True)]  # names in place of the sentences of DESCRIPTION
    output = [_parameter("/local", surface.host == "127.0.0.1"), _parameter("/remoteHost", surface.host),
              {**_parameter("/remotePort", surface.query_port), "hexMode": False},
              {**_parameter("/customOSCPort", surface.osc_port), "hexMode": False, "enabled": True}]
    return {"niceName": "lcm", "type": "OSCQuery", "scripts": EMPTY, "templates": EMPTY,
            "params": {"parameters": own, "containers": {"output": {"parameters": output}}},
            "values": {"containers": _containers(tree)}, "treeData": tree, "hasListenExtension": True}


def _parameter(address: str, value: object) -> Json:
    return {"value": value, "controlAddress": address}


def _containers(node: Node) -> Json:
    """The containers of a node, each with `listen` on: the daemon reports what changes in them."""
    return {name: _container(name, child) for name, child in node["CONTENTS"].items() if "CONTENTS" in child}


def _container(name: str, node: Node) -> Json:
    found: Json = {"parameters": [_parameter("/listen", True)], "owned": True, "niceName": name}
    inner = _containers(node)
    return {**found, "containers": inner} if inner else found
