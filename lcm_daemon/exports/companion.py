"""The buttons for Bitfocus Companion: pages of a Stream Deck with commands, looks, prompts, recipes and parameters.

The file is a full export of version 6, that of Companion 3.5; later ones convert it (Companion's `lib/Data/Upgrades`).
Its module `generic-osc`, which has to be installed in Companion 4, sends and hears the messages. Import the connection,
the pages and the trigger, which asks the daemon for what the lamps of the buttons show.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lcm_daemon.core.parameters import Value
from lcm_daemon.exports.surface import Button, Surface, SurfaceControl

CONNECTION = "lcm"
FEEDBACK_PORT = 9002
COLUMNS, ROWS = 8, 4  # of a Stream Deck XL; the first column has the buttons of pages
GRID = {"minColumn": 0, "maxColumn": COLUMNS - 1, "minRow": 0, "maxRow": ROWS - 1}
WHITE, BLACK, RED, BLUE, LIT = 0xFFFFFF, 0x000000, 0xA01010, 0x10305A, 0xE07010
_CHANGED = re.compile(r"\$\(|[\\\u201c-\u201f]")
MOVES = 20  # presses of + from the low end of a parameter to its high end

Json = dict[str, Any]


@dataclass(frozen=True)
class DeckKey:
    """A button of Companion.

    Attributes:
        text: What it says.
        action: What a press does, from `_action`.
        feedback: What lights it, from `_feedback`; None for nothing.
        colour: Its colour, 0xRRGGBB.
    """

    text: str
    action: Json
    feedback: Json | None = None
    colour: int = BLACK


def build(surface: Surface) -> bytes:
    """The `.companionconfig` file as JSON. Raises LcmDaemonError if the show has no OSC."""
    surface.need_osc()
    pages = {str(number): _page(name, keys) for number, (name, keys) in enumerate(_pages(surface), 1)}
    export = {"version": 6, "type": "full", "pages": pages, "triggers": {_id("trigger"): _subscription()},
              "instances": {CONNECTION: _connection(surface)}, "custom_variables": {}, "surfaces": {},
              "surfaceGroups": {}}
    return json.dumps(export, ensure_ascii=False, separators=(",", ":")).encode()


def _id(key: str) -> str:
    """An id that is the same each time that the file is built."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"lcm-daemon/companion/{key}"))


def _connection(surface: Surface) -> Json:
    config = {"host": surface.host, "targetPort": str(surface.osc_port), "protocol": "udp", "listen": True,
              "feedbackPort": str(FEEDBACK_PORT)}
    return {"instance_type": "generic-osc", "label": CONNECTION, "enabled": True, "isFirstInit": False,
            "lastUpgradeIndex": 0, "sortOrder": 0, "config": config}


def _subscription() -> Json:
    """A trigger: ask for every value and change, at the port that the module sends from, and ask again."""
    ask = _action("/lcm/subscribe", [0, 60])
    return {"type": "trigger", "options": {"name": "lcm: ask for values", "enabled": True, "sortOrder": 0},
            "action_sets": {"0": [ask]}, "condition": [],
            "events": [{"id": _id("interval"), "type": "interval", "enabled": True, "options": {"seconds": 20}}]}


def _pages(surface: Surface) -> Iterator[tuple[str, Sequence[DeckKey | None]]]:
    """Names and buttons of the pages. None is a free place."""
    parameters = _in_rows([_keys(control) for control in surface.controls()])
    groups: dict[str, Sequence[DeckKey | None]] = {
        "lcm": [_command(button) for button in surface.buttons()],
        "lcm looks": [_look(button) for button in surface.cue_buttons_by(is_plain)],
        "lcm prompts": [_command(button) for button in surface.prompt_buttons()],
        "lcm parameters": parameters,
        "lcm recipes": [_command(button, "/lcm/status/recipe") for button in surface.recipe_buttons()],
    }
    room = (COLUMNS - 1) * ROWS
    for name, keys in groups.items():
        for start in range(0, len(keys), room):
            yield f"{name} {start // room + 1}" if start else name, keys[start:start + room]


def _in_rows(units: Sequence[Sequence[DeckKey]]) -> list[DeckKey | None]:
    """Buttons in rows: those of one parameter side by side, if a row has room for them."""
    placed: list[DeckKey | None] = []
    for unit in units:
        room = -len(placed) % (COLUMNS - 1)
        if room < len(unit) < COLUMNS:
            placed += [None] * room
        placed += unit
    return placed


def _page(name: str, keys: Sequence[DeckKey | None]) -> Json:
    controls: dict[str, dict[str, Json]] = {
        str(row): {"0": {"type": kind}} for row, kind in enumerate(("pageup", "pagenum", "pagedown"))}
    for place, key in enumerate(keys):
        row, column = divmod(place, COLUMNS - 1)
        if key is not None:
            controls.setdefault(str(row), {})[str(column + 1)] = _button(key)
    return {"name": name, "controls": controls, "gridSize": GRID}


def _button(key: DeckKey) -> Json:
    style = {"text": key.text, "size": "auto", "alignment": "center:center", "color": WHITE, "bgcolor": key.colour,
             "show_topbar": "default"}
    return {"type": "button", "style": style, "options": {"rotaryActions": False, "stepAutoProgress": True},
            "feedbacks": [key.feedback] if key.feedback else [],
            "steps": {"0": {"action_sets": {"down": [key.action], "up": []}, "options": {"runWhileHeld": []}}}}


def _action(address: str, arguments: Sequence[Value]) -> Json:
    """An action of the module `generic-osc`: send a message with these arguments."""
    options = {"path": address, "arguments": " ".join(map(_typed, arguments)), "sanitise": True}
    return {"id": _id(f"{address} {arguments}"), "instance": CONNECTION, "action": "send_multiple", "options": options}


def _typed(argument: Value) -> str:
    """An argument as the module reads it: texts in quotes, whole numbers without a point."""
    if isinstance(argument, str):
        return '"' + argument.replace('"', '\\"') + '"'
    return f"{argument:d}" if isinstance(argument, int) else f"{argument:.6f}"


def _feedback(address: str, value: Value) -> Json:
    """What lights a button: the daemon reports this value at this address."""
    kind = "string" if isinstance(value, str) else "int"
    compared = value if isinstance(value, str) else str(int(value))
    options = {"path": address, "arguments": compared, "comparison": "equal"}
    return {"id": _id(f"feedback {address} {value}"), "instance_id": CONNECTION, "type": f"osc_feedback_{kind}",
            "options": options, "isInverted": False, "style": {"bgcolor": LIT, "color": WHITE}}


def is_plain(text: str) -> bool:
    """Whether the module sends this text as it is.

    "$(...)" is a variable, a backslash protects a quote, and typographic quotes become plain ones.
    """
    return bool(text) and not _CHANGED.search(text)


def _command(button: Button, lamp: str = "") -> DeckKey:
    colour = RED if button.name == "panic" else BLACK
    feedback = _feedback(lamp, button.arguments[0]) if lamp else None
    return DeckKey(button.label, _action(button.address, button.arguments), feedback, colour)


def _look(button: Button) -> DeckKey:
    """A look, which is lit while it plays."""
    action = _action(button.address, button.arguments)
    return DeckKey(button.label, action, _feedback("/lcm/status/cue", button.label))


def _keys(control: SurfaceControl) -> list[DeckKey]:
    """The buttons of a parameter: one for each choice, a switch, + and -, or its text at the start."""
    parameter, address = control.parameter, control.address
    if control.kind == "menu":
        return [DeckKey(f"{control.label}\n{choice}", _action(address, [choice]), _feedback(address, choice), BLUE)
                for choice in parameter.choices]
    if control.kind == "toggle":
        return [DeckKey(control.label, _action(address, ["toggle"]), _feedback(address, 1), BLUE)]
    if control.kind == "text":
        return [DeckKey(f"{control.label}\nof the show", _action(address, [_text_of(control)]), colour=BLUE)]
    amount = _amount(control)
    return [DeckKey(f"{control.label} {sign}", _action(address, [sign, amount]), colour=BLUE) for sign in ("-", "+")]


def _text_of(control: SurfaceControl) -> str:
    text = str(control.value)
    return text if is_plain(text) else " "  # the module sends no empty text; the daemon cuts a blank one to it


def _amount(control: SurfaceControl) -> Value:
    """How far one press moves a number."""
    if control.parameter.kind == "int":
        moves = 1.0 if control.kind == "number" else (control.high - control.low) / MOVES
        return max(control.parameter.step, round(moves))
    return round((control.high - control.low) / MOVES, 6)
