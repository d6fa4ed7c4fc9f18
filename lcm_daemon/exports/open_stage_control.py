"""The session for Open Stage Control: the console's groups as tabs, bound both ways.

Properties and modes of the widgets are those of Open Stage Control 1.30 (its `src/client/widgets`). A session of that
version is read without a conversion. A text of a property is a small program there (`@{...}`, `JS{...}`), or JSON: what
would be taken for either is not written (`is_plain`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lcm_daemon.core.parameters import DRAW, Value
from lcm_daemon.exports.surface import Button, ControlKind, Surface, SurfaceControl, label_of

VERSION = "1.30.0"
HEADER_BUTTONS = ("panic", "undo", "redo", "cue/back", "cue/go", "tap")
HEADER_STATUS = ("cue", "fps")
MOST_IN_A_ROW = 6  # choices that are shown side by side; more are a dropdown
CELL, SQUARE = 80, 60  # heights in pixels
BREAKPOINTS = ("25%", "50%", "75%")  # of a logarithmic fader, which follows the third power
_PROGRAM = re.compile(r"(@|#|OSC|VAR|IMPORT|JS)\{")

Widget = dict[str, Any]


def build(surface: Surface) -> bytes:
    """The session as JSON. Raises LcmDaemonError if the show has no OSC."""
    surface.need_osc()
    target = f"{surface.host}:{surface.osc_port}"
    pager = {"type": "panel", "id": "pages", "expand": True, "tabs": _tabs(surface)}
    root = {"type": "root", "id": "root", "layout": "vertical", "padding": 4, "onCreate": _subscribe(target),
            "widgets": [_header(surface), pager]}
    _set_target(root, target)
    session = {"createdWith": "Open Stage Control", "version": VERSION, "type": "session", "content": root}
    return json.dumps(session, ensure_ascii=False, separators=(",", ":")).encode()


def is_plain(text: str) -> bool:
    """Whether a property with this text has it as its value."""
    try:
        json.loads(text)
    except ValueError:
        return not _PROGRAM.search(text)
    return False


def _subscribe(target: str) -> str:
    """A script: ask for every value and change, at the port that Open Stage Control sends from, and ask again."""
    return (f"const subscribe = () => send({json.dumps(target)}, '/lcm/subscribe', {{type: 'i', value: 0}}, "
            "{type: 'i', value: 60})\nsubscribe()\nsetInterval(subscribe, 20000)")


def _set_target(widget: Widget, target: str) -> None:
    if "address" in widget:
        widget["target"] = target
    for child in (*widget.get("widgets", ()), *widget.get("tabs", ())):
        _set_target(child, target)


def _header(surface: Surface) -> Widget:
    buttons = {button.name: button for button in surface.buttons()}
    shown = [{**_button(buttons[name], "header"), "expand": True} for name in HEADER_BUTTONS if name in buttons]
    addresses = {address.rpartition("/")[2]: address for address in surface.status_addresses()}
    texts = [{**_shown(addresses[name], "header"), "expand": True} for name in HEADER_STATUS]
    return {"type": "panel", "id": "header", "layout": "horizontal", "height": SQUARE, "scroll": False,
            "widgets": [*shown, *texts]}


def _tabs(surface: Surface) -> list[Widget]:
    """One tab for each group of parameters, then those of looks, prompts, recipes, commands and the status."""
    tabs = [_tab(group, 2, [_cell(control) for control in controls]) for group, controls in surface.pages().items()]
    for title, buttons in (("All looks", _cue_buttons(surface)), ("Bank", surface.prompt_buttons()),
                           ("Recipes", surface.recipe_buttons()), ("Commands", surface.buttons())):
        tabs.append(_tab(title, 4, [{**_button(button, title), "height": SQUARE} for button in buttons]))
    tabs.append(_tab("Status", 3, [_titled(f"status {address}", label_of(address.rpartition("/")[2]), [
        _shown(address, "status")]) for address in surface.status_addresses()]))
    return [tab for tab in tabs if tab["widgets"]]


def _cue_buttons(surface: Surface) -> list[Button]:
    """The buttons of the cues. A cue whose name cannot be written is called by its place in the list."""
    return [replace(button, arguments=(str(button.arguments[0]),)) for button in surface.cue_buttons_by(is_plain)]


def _tab(title: str, columns: int, widgets: list[Widget]) -> Widget:
    return {"type": "tab", "id": f"tab {title}", "label": title, "layout": "grid", "gridTemplate": columns,
            "padding": 4, "widgets": widgets}


def _titled(key: str, title: str, widgets: list[Widget]) -> Widget:
    """A title, and below it widgets side by side."""
    text = {"type": "text", "id": f"{key} title", "default": title, "align": "left", "height": 20}
    row = {"type": "panel", "id": f"{key} row", "layout": "horizontal", "expand": True, "scroll": False, "padding": 2,
           "alphaStroke": 0, "widgets": widgets}
    return {"type": "panel", "id": f"{key} cell", "layout": "vertical", "height": CELL, "scroll": False, "padding": 2,
            "widgets": [text, row]}


def _cell(control: SurfaceControl) -> Widget:
    unit = f" ({control.parameter.unit})" if control.parameter.unit else ""
    return _titled(control.parameter.name, control.label + unit, _BUILDERS[control.kind](control))


def _shown(address: str, page: str) -> Widget:
    """A text that the daemon reports."""
    return {"type": "text", "id": f"{page} {address}", "address": address, "bypass": True, "expand": True}


def _button(button: Button, page: str) -> Widget:
    """A button that gives a command. Without arguments of its own it sends 1, as every button does."""
    found: Widget = {"type": "button", "id": f"{page} {button.name} {' '.join(map(str, button.arguments))}".strip(),
                     "label": _label(button.label), "address": button.address, "wrap": "soft"}
    if button.arguments:
        return {**found, "mode": "momentary", "preArgs": list(button.arguments), "typeTags": _tags(button.arguments)}
    return {**found, "mode": "tap", "on": 1, "typeTags": "i"}


def _label(text: str) -> str:
    return text.replace("{", "(").replace("}", ")")


def _tags(arguments: Sequence[Value]) -> str:
    return "".join("s" if isinstance(each, str) else "i" if isinstance(each, int) else "f" for each in arguments)


def _value(control: SurfaceControl, kind: str, **properties: Any) -> Widget:
    """A widget with the value of a parameter. Widgets of one id show the same value, and one of them sends it.

    It has no `default`: a session that is loaded while a show plays must not set anything.
    """
    return {"type": kind, "id": control.parameter.name, "address": control.address, **properties}


def _fader(control: SurfaceControl) -> list[Widget]:
    whole = control.parameter.kind == "int"
    sent = {"typeTags": "i" if whole else "f", "decimals": 0 if whole else 3}
    steps = {"steps": int((control.high - control.low) / control.parameter.step) + 1} if whole else {}
    fader = _value(control, "fader", horizontal=True, design="compact", expand=True, range=_range(control),
                   **sent, **steps)
    return [fader, _value(control, "input", numeric=True, width=80, unit=control.parameter.unit, **sent)]


def _range(control: SurfaceControl) -> dict[str, float]:
    """The ends of a fader; a logarithmic one has points between them, so that it is finer at its low end."""
    ends = {"min": control.low, "max": control.high}
    if not control.parameter.logarithmic:
        return ends
    span = control.high - control.low
    between = {point: round(control.low + span * (float(point[:-1]) / 100) ** 3, 3) for point in BREAKPOINTS}
    return {"min": control.low, **between, "max": control.high}


def _toggle(control: SurfaceControl) -> list[Widget]:
    return [_value(control, "button", mode="toggle", on=1, off=0, typeTags="i", label=control.label, expand=True)]


def _menu(control: SurfaceControl) -> list[Widget]:
    choices = list(control.parameter.choices)
    kind = "switch" if len(choices) <= MOST_IN_A_ROW else "dropdown"
    layout = {"layout": "horizontal"} if kind == "switch" else {}
    return [_value(control, kind, values=choices, typeTags="s", expand=True, **layout)]


def _text(control: SurfaceControl) -> list[Widget]:
    return [_value(control, "input", align="left", typeTags="s", expand=True)]


def _number(control: SurfaceControl) -> list[Widget]:
    """A number to type, and where the parameter draws, a button for a random one."""
    widgets = [_value(control, "input", numeric=True, typeTags="i", decimals=0, expand=True)]
    if control.parameter.draws:
        widgets.append({"type": "button", "id": f"{control.parameter.name} random", "label": "random", "width": 80,
                        "address": control.address, "mode": "momentary", "preArgs": [DRAW], "typeTags": "i"})
    return widgets


_BUILDERS: Mapping[ControlKind, Callable[[SurfaceControl], list[Widget]]] = {
    "fader": _fader, "toggle": _toggle, "menu": _menu, "text": _text, "number": _number,
}
