"""The tree of a show's addresses as OSCQuery gives it: for programs that keep a copy of it in their files.

https://github.com/Vidvox/OSCQueryProposal. What the running daemon serves replaces it once they are connected.
"""

from __future__ import annotations

from typing import Any

from lcm_daemon.exports.surface import Button, Surface, SurfaceControl

READ, WRITE, READ_WRITE = 1, 2, 3  # ACCESS

Node = dict[str, Any]


def tree_of(surface: Surface) -> Node:
    """The root of the tree: containers have CONTENTS; addresses TYPE, ACCESS, and perhaps VALUE and RANGE."""
    root: Node = {"FULL_PATH": "/", "CONTENTS": {}}
    for control in surface.controls():
        _put(root, control.address, _parameter(control))
    for button in surface.buttons():
        _put(root, button.address, {"TYPE": "N", "ACCESS": WRITE, "DESCRIPTION": button.command.help})
    for choices in (surface.cue_buttons(), surface.recipe_buttons(), surface.prompt_buttons()):
        if choices:
            _put(root, choices[0].address, _choice(choices))
    for address, meaning in surface.status_addresses().items():
        _put(root, address, {"TYPE": "s", "ACCESS": READ, "VALUE": [""], "DESCRIPTION": meaning})
    return root


def _put(root: Node, address: str, node: Node) -> None:
    """Put an address into the containers of its path. One that others begin with has CONTENTS beside its TYPE."""
    *folders, name = address.strip("/").split("/")
    here, path = root, ""
    for folder in folders:
        path = f"{path}/{folder}"
        here = here["CONTENTS"].setdefault(folder, {"FULL_PATH": path})
        here.setdefault("CONTENTS", {})
    here["CONTENTS"].setdefault(name, {}).update({"FULL_PATH": address, **node})


def _parameter(control: SurfaceControl) -> Node:
    parameter = control.parameter
    node: Node = {"TYPE": control.tag, "ACCESS": READ_WRITE, "VALUE": [control.value],
                  "DESCRIPTION": parameter.description}
    if control.kind == "menu":
        node["RANGE"] = [{"VALS": list(parameter.choices)}]
    elif parameter.kind in ("float", "int"):
        node["RANGE"] = [{"MIN": control.low, "MAX": control.high}]
    return node


def _choice(buttons: list[Button]) -> Node:
    """A command that takes one of several values."""
    values = [button.arguments[0] for button in buttons]
    help_ = buttons[0].command.help
    if isinstance(values[0], str):
        return {"TYPE": "s", "ACCESS": WRITE, "RANGE": [{"VALS": values}], "DESCRIPTION": help_}
    return {"TYPE": "f", "ACCESS": WRITE, "RANGE": [{"MIN": values[0], "MAX": values[-1]}], "DESCRIPTION": help_}

