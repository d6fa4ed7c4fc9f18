"""The patcher for Max and Max for Live: every parameter as a Live parameter, with buttons for commands, looks, prompts.

Its presentation has the height of a device. Each control sends OSC by `udpsend`, and is set by what the daemon reports
to `udpreceive`. max_device.py makes a device for Live of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lcm_daemon.exports.max_patch import Patch, Place, live_parameter
from lcm_daemon.exports.surface import Button, ControlKind, Surface, SurfaceControl

RECEIVE_PORT = 9003
COLUMN, ROW, ROWS = 60.0, 54.0, 3  # of the presentation; three rows are the height of a device
STEP = 30.0  # between rows of the patcher
MOST_INTS = 256  # values of a whole number that Live can hold as a parameter
EXPONENT = 3.0  # of a logarithmic parameter
_NOT_IN_A_MESSAGE = re.compile(r'[$"\\,;]|^[-+\d.]+$')  # what a message box takes for something else


@dataclass
class _Builder:
    """What is built, and the boxes that all controls share."""

    patch: Patch
    sender: str = ""
    receiver: str = ""
    row: int = 0

    def next_row(self) -> float:
        """The top of the next row of the patcher."""
        self.row += 1
        return 100.0 + self.row * STEP


def build(surface: Surface) -> bytes:
    """The `.maxpat` file. Raises LcmDaemonError if the show has no OSC."""
    return patch_of(surface).to_json()


def patch_of(surface: Surface) -> Patch:
    """The patcher of a show. Raises LcmDaemonError if the show has no OSC."""
    surface.need_osc()
    builder = _Builder(Patch())
    _connect_to_daemon(builder, surface)
    cells = _cells()
    for control in surface.controls():
        _add_control(builder, control, next(cells))
    looks = surface.cue_buttons_by(lambda name: not _NOT_IN_A_MESSAGE.search(name))
    for button in (*surface.buttons(), *looks, *surface.prompt_buttons()):
        _add_button(builder, button, next(cells))
    if surface.recipes:
        _add_recipes(builder, surface, next(cells))
    return builder.patch


def _cells() -> Iterator[Place]:
    """Places in the presentation, down each column."""
    place = 0
    while True:
        yield Place(4 + place // ROWS * COLUMN, 2 + place % ROWS * ROW, COLUMN - 4, ROW - 4)
        place += 1


def _connect_to_daemon(builder: _Builder, surface: Surface) -> None:
    """Add what sends and receives, and asks the daemon for every value and change."""
    patch = builder.patch
    builder.sender = patch.object(f"udpsend {surface.host} {surface.osc_port}", Place(700, 60, 160, 22))
    builder.receiver = patch.object(f"udpreceive {RECEIVE_PORT}", Place(500, 60, 120, 22))
    start = patch.object("live.thisdevice", Place(20, 20, 100, 22))
    again = patch.object("metro 20000 @active 1", Place(20, 50, 130, 22))
    ask = patch.add("message", Place(200, 50, 180, 22), text=f"/lcm/subscribe {RECEIVE_PORT} 60")
    patch.connect(start, ask)
    patch.connect(again, ask, builder.sender)


def _add_control(builder: _Builder, control: SurfaceControl, cell: Place) -> None:
    """Add a parameter: its control, what sends it and what sets it."""
    top, patch = builder.next_row(), builder.patch
    kind, outlet, setter, attributes = _KINDS[control.kind](control)
    shown = cell
    if kind != "live.dial":
        patch.add("comment", Place(20, top, 100, 18), cell._replace(h=16), text=control.label)
        shown = Place(cell.x, cell.y + 18, cell.w, 18)
    box = patch.add(kind, Place(130, top, 100, 22), shown, **attributes)
    if kind == "textedit":
        text = patch.object("route text", Place(240, top, 60, 22))
        patch.connect(box, text, patch.object(f"prepend {control.address}", Place(310, top, 180, 22)), builder.sender)
    else:
        patch.connect(box, patch.object(f"prepend {control.address}", Place(310, top, 180, 22)), builder.sender,
                      outlet=outlet)
    route = patch.object(f"route {control.address}", Place(500, top, 180, 22))
    patch.connect(builder.receiver, route, patch.object(f"prepend {setter}", Place(700, top, 110, 22)), box)


def _add_button(builder: _Builder, button: Button, cell: Place) -> None:
    """Add a button: a message box holds what it sends."""
    top, patch = builder.next_row(), builder.patch
    name = f"{button.name} {' '.join(map(str, button.arguments))}".strip()
    parameter = live_parameter(name, 2, choices=("off", "on"))
    box = patch.add("live.text", Place(130, top, 100, 22), cell._replace(h=20.0), mode=0, text=button.label,
                    texton=button.label, **parameter)
    message = patch.add("message", Place(310, top, 260, 22), text=message_text(button))
    patch.connect(box, message, builder.sender)


def message_text(button: Button) -> str:
    """What a message box holds for a button: texts are quoted."""
    typed = [f'"{each}"' if isinstance(each, str) else f"{each:.9g}" for each in button.arguments]
    return " ".join([button.address, *(typed or ["1"])])


def _add_recipes(builder: _Builder, surface: Surface, cell: Place) -> None:
    """Add the menu of recipes. It is not a Live parameter: to open a Live set must not change the recipe."""
    top, patch = builder.next_row(), builder.patch
    items = [item for recipe in surface.recipes for item in (recipe, ",")][:-1]
    patch.add("comment", Place(20, top, 100, 18), cell._replace(h=16), text="Recipe")
    box = patch.add("umenu", Place(130, top, 160, 22), Place(cell.x, cell.y + 18, 2 * cell.w, 18), items=items,
                    parameter_enable=0)
    patch.connect(box, patch.object("prepend /lcm/recipe", Place(310, top, 180, 22)), builder.sender, outlet=1)


Shape = tuple[str, int, str, dict[str, object]]  # class, outlet that is sent, message that sets it, attributes


def _fader(control: SurfaceControl) -> Shape:
    parameter = control.parameter
    whole = parameter.kind == "int"
    if whole and control.high - control.low >= MOST_INTS:
        return _number(control)
    exponent = EXPONENT if parameter.logarithmic else 1.0
    attributes = live_parameter(parameter.name, int(whole), control.low, control.high, float(control.value),
                                exponent=exponent)
    return "live.dial", 0, "set", attributes


def _toggle(control: SurfaceControl) -> Shape:
    attributes = live_parameter(control.parameter.name, 2, start=int(bool(control.value)), choices=("off", "on"))
    return "live.toggle", 0, "set", attributes


def _menu(control: SurfaceControl) -> Shape:
    choices = control.parameter.choices
    attributes = live_parameter(control.parameter.name, 2, start=choices.index(str(control.value)), choices=choices)
    return "live.menu", 1, "setsymbol", attributes


def _text(control: SurfaceControl) -> Shape:
    return "textedit", 0, "set", {"text": str(control.value), "keymode": 1, "lines": 1, "parameter_enable": 0}


def _number(control: SurfaceControl) -> Shape:
    return "number", 0, "set", {"parameter_enable": 0, "minimum": int(control.low), "maximum": int(control.high)}


_KINDS: Mapping[ControlKind, Callable[[SurfaceControl], Shape]] = {
    "fader": _fader, "toggle": _toggle, "menu": _menu, "text": _text, "number": _number,
}
