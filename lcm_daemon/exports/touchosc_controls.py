"""The controls of a TouchOSC layout: each parameter and command as the nodes that show and send it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lcm_daemon.core.parameters import DRAW
from lcm_daemon.exports.surface import Button, ControlKind, SurfaceControl
from lcm_daemon.exports.touchosc_nodes import (
    Bounds,
    Colour,
    Conversion,
    Property,
    ToscNode,
    constant,
    local_message,
    osc_message,
    variable,
)

COLUMN, ROW = 512, 93  # size of a control's cell
CAPTION, GAP = 24, 6
ON, OFF, PANIC = Colour(0.9, 0.45, 0.1), Colour(0.12, 0.12, 0.14), Colour(0.7, 0.1, 0.1)
ACCENT = Colour(0.2, 0.55, 0.8)
FINE_HIGH = 30.0  # seconds: the highest value of a logarithmic fader, since TouchOSC's faders are linear

MENU_SCRIPT = f"""-- Light the button of the choice that the daemon reports.
function onReceiveOSC(message)
  if message[1] == self.tag and message[2][1] then
    for i = 1, #self.children do
      local child = self.children[i]
      if child.tag ~= '' then
        child.color = child.tag == message[2][1].value and Color{tuple(ON)} or Color{tuple(OFF)}
      end
    end
  end
  return false
end
"""


def control_cell(control: SurfaceControl, frame: Bounds) -> list[ToscNode]:
    """The nodes of a parameter: a caption above, and what sends and shows its value below."""
    caption = Bounds(frame.x + GAP, frame.y, (frame.w - 2 * GAP) * 2 // 3, CAPTION)
    body = Bounds(frame.x + GAP, frame.y + CAPTION, frame.w - 2 * GAP, frame.h - CAPTION - GAP)
    unit = f" ({control.parameter.unit})" if control.parameter.unit else ""
    title = label(f"{control.address} caption", control.label + unit, caption, textAlignH=1)
    return [title, *_BUILDERS[control.kind](control, body)]


def label(key: str, text: str, frame: Bounds, **properties: Property) -> ToscNode:
    """A text that stays the same."""
    return ToscNode("LABEL", key, text, frame, properties, {"text": text})


def shown_text(page: str, title: str, address: str, frame: Bounds) -> list[ToscNode]:
    """A title, and below it what the daemon reports at an address."""
    half = frame.h // 2
    shown = label(f"{page} {address}", "", Bounds(frame.x, frame.y + half, frame.w, frame.h - half), textColor=ON)
    shown.name = title
    shown.messages = [_received(address)]
    return [label(f"{page} {address} caption", title, frame._replace(h=half)), shown]


def _received(address: str) -> str:
    return osc_message(address, [variable("text", "STRING")], send=False)


def command_button(page: str, button: Button, frame: Bounds) -> list[ToscNode]:
    """A button that gives a command, and its text."""
    values = "/".join(map(str, button.arguments))
    sent = [constant(argument) for argument in button.arguments] or [constant(1)]
    colour = PANIC if button.name == "panic" else OFF
    return _pressed(f"{page} {button.address} {values}", button.label, frame, button.address, sent, {"color": colour})


def _pressed(
    key: str, text: str, frame: Bounds, address: str, arguments: list[str], properties: Mapping[str, Property],
) -> list[ToscNode]:
    """A button that sends a message when it is pressed, and its text, for which TouchOSC has another control."""
    message = osc_message(address, arguments, condition="RISE", receive=False)
    return [ToscNode("BUTTON", key, text, frame, properties, messages=[message]), label(f"{key} caption", text, frame)]


def _fader(control: SurfaceControl, frame: Bounds) -> list[ToscNode]:
    whole = control.parameter.kind == "int"
    high = min(control.high, FINE_HIGH) if control.parameter.logarithmic else control.high
    start = (float(control.value) - control.low) / (high - control.low)
    corner = Bounds(frame.x + frame.w * 2 // 3, frame.y - CAPTION, frame.w // 3, CAPTION)
    shown = label(f"{control.address} value", f"{control.value:.4g}", corner, textAlignH=3)
    conversion: Conversion = "INTEGER" if whole else "FLOAT"
    steps = {"gridSteps": min(int(high - control.low) + 1, 41)} if whole else {}
    properties: dict[str, Property] = {"color": ACCENT, "tag": control.address, **steps}
    messages = [osc_message(control.address, [variable("x", conversion, control.low, high)]),
                local_message(shown, control.low, high, conversion)]
    fader = ToscNode("FADER", control.address, control.parameter.name, frame, properties,
                     {"x": min(max(start, 0.0), 1.0)}, messages)
    return [fader, shown]


def _toggle(control: SurfaceControl, frame: Bounds) -> list[ToscNode]:
    return [ToscNode("BUTTON", control.address, control.parameter.name, frame, {"buttonType": 2, "color": ON},
                 {"x": float(control.value)}, [osc_message(control.address, [variable("x", "INTEGER")])])]


def _menu(control: SurfaceControl, frame: Bounds) -> list[ToscNode]:
    choices = control.parameter.choices
    width = frame.w // len(choices)
    children = [node for place, choice in enumerate(choices) for node in _pressed(
        f"{control.address} {choice}", choice, Bounds(place * width, 0, width - 2, frame.h), control.address,
        [constant(choice)], {"tag": choice, "color": ON if choice == control.value else OFF})]
    properties = {"tag": control.address, "script": MENU_SCRIPT}
    return [ToscNode("GROUP", control.address, control.parameter.name, frame, properties, children=children)]


def _text(control: SurfaceControl, frame: Bounds) -> list[ToscNode]:
    node = label(control.address, str(control.value), frame, textColor=ON)
    node.name = control.parameter.name
    node.messages = [_received(control.address)]
    return [node]


def _number(control: SurfaceControl, frame: Bounds) -> list[ToscNode]:
    """The number, and buttons that move it by one and draw a random one."""
    moves: dict[str, list[str]] = {"-": [constant("-"), constant(1)], "+": [constant("+"), constant(1)]}
    if control.parameter.draws:
        moves["random"] = [constant(DRAW)]
    width = frame.w // (len(moves) + 1)
    nodes = _text(control, frame._replace(w=width))
    for place, (text, arguments) in enumerate(moves.items(), 1):
        nodes += _pressed(f"{control.address} {text}", text, frame._replace(x=frame.x + place * width, w=width - 2),
                          control.address, arguments, {"color": ACCENT})
    return nodes


_BUILDERS: Mapping[ControlKind, Callable[[SurfaceControl, Bounds], list[ToscNode]]] = {
    "fader": _fader, "toggle": _toggle, "menu": _menu, "text": _text, "number": _number,
}
