"""The layout for TouchOSC: the console's groups as tabs, with what the daemon reports shown on every control.

Faders and switches are bound both ways by their own messages. A menu is a row of buttons whose lamps a script sets. A
text is shown only: TouchOSC cannot type. A script of the layout subscribes to the daemon, which then sends every value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from lcm_daemon.exports.surface import Surface, label_of
from lcm_daemon.exports.touchosc_controls import COLUMN, OFF, ON, ROW, command_button, control_cell, shown_text
from lcm_daemon.exports.touchosc_nodes import Bounds, Colour, ToscNode, pack, without_control_characters

WIDTH, HEIGHT = 1024, 768  # of a tablet; TouchOSC scales a layout to its screen
HEADER, TABS = 72, 40  # heights
CELLS = (WIDTH // COLUMN) * ((HEIGHT - HEADER - TABS) // ROW)  # controls of a tab
ACROSS, DOWN = 4, 10  # buttons of a tab
HEADER_BUTTONS = ("panic", "undo", "redo", "cue/back", "cue/go", "tap")
HEADER_STATUS = ("cue", "fps")
RECEIVE_PORT = 9001
TEXT = Colour(1.0, 1.0, 1.0)
Item = TypeVar("Item")

SCRIPT = f"""-- Ask the daemon for every value and every later change. It sends them to TouchOSC's Receive Port,
-- which must be this one. It is asked again before the subscription ends.
local RECEIVE_PORT = {RECEIVE_PORT}
local asked = -20000
local faders = {{}}

function init()
  local pages = self.children.pages.children
  for i = 1, #pages do
    for j = 1, #pages[i].children do
      local control = pages[i].children[j]
      if control.tag and control.tag ~= '' then faders[control.tag] = control end
    end
  end
end

function update()
  local now = getMillis()
  if now - asked >= 20000 then
    asked = now
    sendOSC('/lcm/subscribe', RECEIVE_PORT, 60)
  end
end

-- A fader that is touched is not moved by what arrives for it.
function onReceiveOSC(message)
  local fader = faders[message[1]]
  return fader ~= nil and fader.values.touch == true
end
"""


def build(surface: Surface) -> bytes:
    """The `.tosc` file of a show. Raises LcmDaemonError if the show has no OSC."""
    surface.need_osc()
    pager = ToscNode("PAGER", "pager", "pages", Bounds(0, HEADER, WIDTH, HEIGHT - HEADER), children=_pages(surface))
    root = ToscNode("GROUP", "root", surface.show, Bounds(0, 0, WIDTH, HEIGHT), {"background": True, "script": SCRIPT,
                "color": OFF}, children=[*_header(surface), pager])
    return pack(root)


def _header(surface: Surface) -> list[ToscNode]:
    """PANIC, GO and others, and what plays: above the tabs."""
    buttons = {button.name: button for button in surface.buttons()}
    shown = [buttons[name] for name in HEADER_BUTTONS if name in buttons]
    width = WIDTH // (len(shown) + 2 * len(HEADER_STATUS))
    nodes = [node for place, button in enumerate(shown)
             for node in command_button("header", button, Bounds(place * width + 3, 4, width - 6, HEADER - 8))]
    addresses = {address.rpartition("/")[2]: address for address in surface.status_addresses()}
    for place, name in enumerate(HEADER_STATUS):
        frame = Bounds((len(shown) + 2 * place) * width + 3, 4, 2 * width - 6, HEADER - 8)
        nodes += shown_text("header", label_of(name), addresses[name], frame)
    return nodes


def _pages(surface: Surface) -> list[ToscNode]:
    """One tab for each group of parameters, then those of looks, prompts, recipes, commands and the status."""
    pages = []
    for group, controls in surface.pages().items():
        for title, part in _parts(group, controls, CELLS):
            pages.append(_page(title, [node for place, control in enumerate(part)
                                       for node in control_cell(control, _cell(place))]))
    for group, buttons in (("All looks", surface.cue_buttons_by(is_sendable)), ("Bank", surface.prompt_buttons()),
                           ("Recipes", surface.recipe_buttons()), ("Commands", surface.buttons())):
        for title, some in _parts(group, buttons, ACROSS * DOWN):
            pages.append(_page(title, [node for place, button in enumerate(some)
                                       for node in command_button(title, button, _square(place))]))
    for title, entries in _parts("Status", list(surface.status_addresses()), ACROSS * DOWN):
        pages.append(_page(title, [node for place, address in enumerate(entries) for node in shown_text(
            title, label_of(address.rpartition("/")[2]), address, _square(place))]))
    return pages


def is_sendable(name: str) -> bool:
    """Whether a layout, which is XML, can hold a text as it is."""
    return without_control_characters(name) == name


def _parts(title: str, items: Sequence[Item], most: int) -> list[tuple[str, Sequence[Item]]]:
    """The items in tabs of at most `most`: "Play", "Play 2", ... Nothing for a group that is empty."""
    return [(f"{title} {start // most + 1}" if start else title, items[start:start + most])
            for start in range(0, len(items), most)]


def _page(title: str, children: list[ToscNode]) -> ToscNode:
    colours = {"tabColorOff": OFF, "tabColorOn": ON, "textColorOff": TEXT, "textColorOn": TEXT}
    frame = Bounds(0, TABS, WIDTH, HEIGHT - HEADER - TABS)
    return ToscNode("GROUP", f"page {title}", title, frame, {"tabLabel": title, **colours}, children=children)


def _cell(place: int) -> Bounds:
    """The frame of a control, down the first column and then the next."""
    down = CELLS // (WIDTH // COLUMN)
    return Bounds(place // down * COLUMN, place % down * ROW, COLUMN, ROW)


def _square(place: int) -> Bounds:
    """The frame of a button."""
    width, height = WIDTH // ACROSS, (HEIGHT - HEADER - TABS) // DOWN
    return Bounds(place % ACROSS * width + 4, place // ACROSS * height + 4, width - 8, height - 8)
