"""TouchDesigner: a Python script for a Text DAT (Run Script), which builds the component `lcm`.

The component's own module is `scripts/touchdesigner.py.txt`; it runs inside TouchDesigner. The script puts it into a
Text DAT of the component, beside the show as JSON, and calls its `build`. Running the script again brings the component
up to date and keeps its values.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from lcm_daemon.exports.surface import Button, Surface, SurfaceControl, SurfaceEnd

HEAD = """# The component `lcm` for TouchDesigner 2022.24200 and later: pictures, parameters, cues of the show {show}.
# Written by: lcm-daemon export touchdesigner
# 1. Put this text into a Text DAT (drag the file into a network). 2. Right-click the DAT, Run Script.
# The component appears beside the DAT. Run the script again after another export: nothing is doubled.
# To keep it: right-click the component `lcm`, Save Component .tox, choose a name.

"""
BUILDER = """
home = me.parent()
lcm = home.op('lcm')
if lcm is None:
    lcm = home.create('baseCOMP', 'lcm')
    lcm.nodeX, lcm.nodeY = me.nodeX + 200, me.nodeY
for name, text, place in (('code', CODE, 0), ('show', SHOW, 150)):
    dat = lcm.op(name) or lcm.create('textDAT', name)
    dat.text = text
    dat.nodeX, dat.nodeY = -600, place
lcm.op('code').module.build(lcm)
"""
SENT_NAME = "td"  # of TouchDesigner's picture, where the show does not look for another one
SHARED = ("spout", "syphon", "ndi")


def build(surface: Surface) -> bytes:
    """The script. Raises LcmDaemonError if OSC is off."""
    surface.need_osc()
    code = resources.files(__package__).joinpath("scripts", "touchdesigner.py.txt").read_text("utf-8")
    show = json.dumps(describe(surface), indent=1).replace("'", "\\u0027")
    title = " ".join(surface.show.split())
    return f"{HEAD.format(show=title)}SHOW = r'''{show}'''\n\nCODE = r\"\"\"{code}\"\"\"\n{BUILDER}".encode()


def describe(surface: Surface) -> dict[str, Any]:
    """The show, as the component's module reads it."""
    query = surface.query_url and f"{surface.query_url}/lcm"
    page = surface.page_url and f"{surface.page_url}/parameters.json"
    source = next((end.transport for end in surface.inputs if end.transport in SHARED), "")
    return {
        "show": surface.show, "transport": "ndi" if source == "ndi" else "local", "file": surface.file,
        "host": surface.host, "port": surface.osc_port,
        "query": query or page, "recipe": surface.recipe, "recipes": surface.recipes, "cues": surface.cues,
        "input": {kind: _name(surface.input(kind), SENT_NAME) for kind in SHARED},
        "output": {kind: _name(surface.output(kind), "lcm") for kind in SHARED},
        "controls": [_control(control) for control in surface.controls()],
        "buttons": [_button(button) for button in surface.buttons()],
        "prompts": [_button(button) for button in surface.prompt_buttons()],
    }


def _name(end: SurfaceEnd | None, default: str) -> str:
    return end.name if end is not None and end.name else default


def _control(control: SurfaceControl) -> dict[str, Any]:
    parameter = control.parameter
    return {"name": parameter.name, "address": control.address, "type": control.tag, "kind": control.kind,
            "label": control.label, "help": parameter.description, "group": parameter.group, "value": control.value,
            "low": control.low, "high": control.high, "choices": parameter.choices}


def _button(button: Button) -> dict[str, Any]:
    return {"label": button.label, "address": button.address, "arguments": button.arguments,
            "help": button.command.help}
