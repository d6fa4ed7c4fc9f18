"""The sheets of MIDI devices: a drawing of each, with what its controls do, as SVG for a printer or a screen.

A show's own lines count before those of a ready map, as in the daemon. A show without MIDI gets the sheets of every
ready map. Devices without a layout get a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.core.parameters import Table
from lcm_daemon.exports.midi_layouts import LAYOUTS, TITLES, Row, Shape
from lcm_daemon.exports.surface import MappedDevice, MidiLine, Surface, label_of

# The maps are files of the MIDI controller; they are read as data, since its code is above this package.
MAPS = Path(__file__).parents[1] / "controllers" / "midi" / "maps"
WIDTH, MARGIN, TITLE = 1123, 24, 62  # an A4 page in landscape is 1123 x 794 at 96 dots an inch
HEIGHTS: Mapping[Shape, int] = {"knob": 84, "fader": 112, "button": 66, "pad": 66}
TEXTS: Mapping[Shape, int] = {"knob": 56, "fader": 84, "button": 46, "pad": 46}  # where the text below a control begins
NAMES = 120  # width of the rows' names
LINE = 20  # height of a line of a list
KINDS = ("cc", "cc14", "nrpn", "rpn", "note", "pitchbend", "aftertouch", "program")  # of a line's control
FILL = {True: "#ffe2bf", False: "#ffffff"}

STYLE = ("text{font-family:Helvetica,Arial,sans-serif;font-size:11px;fill:#111}.title{font-size:20px;font-weight:bold}"
         ".row{font-size:11px;fill:#666}.number{font-size:9px;fill:#666}.control{stroke:#444;stroke-width:1}")


def build(surface: Surface) -> bytes:
    """One SVG with the sheet of each device, one below the other."""
    ready = sorted(path.stem for path in MAPS.glob("*.yaml"))
    devices = surface.midi or tuple(MappedDevice(TITLES.get(name, name), name) for name in ready)
    parts, top = [], 0
    for device in devices:
        drawn, height = _sheet(device, surface.table)
        parts.append(f'<g transform="translate(0 {top})">{drawn}</g>')
        top += height
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}">'
            f'<title>{escape(surface.show)}: MIDI</title><style>{STYLE}</style>'
            f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>{"".join(parts)}</svg>\n').encode()


def _sheet(device: MappedDevice, table: Table) -> tuple[str, int]:
    """The drawing of a device, and its height."""
    lines = [*device.lines, *(line for line in _ready(device.map) if not _is_used(line, device.lines))]
    lines = [replace(line, each=line.each or _choices(line, table)) for line in lines]
    title = f'<text class="title" x="{MARGIN}" y="40">{escape(device.name)}</text>'
    rows = LAYOUTS.get(device.map, ())
    drawn, top, seen = [title], TITLE, set()
    for row in rows:
        drawn.append(_row(row, lines, top))
        seen |= {id(line) for control in row.controls() for line in _lines_of(control, lines)}
        top += HEIGHTS[row.shape]
    for line in lines:
        if id(line) not in seen:  # a control that the drawing does not have
            drawn.append(_text(f"{_control_name(line)}: {line.target}", MARGIN, top + 14))
            top += LINE
    return "".join(drawn), top + MARGIN


def _choices(line: MidiLine, table: Table) -> tuple[str, ...]:
    """What each of the buttons of a choice chooses."""
    return table[line.parameter].choices if len(line.numbers) > 1 and line.parameter in table else ()


def _ready(name: str) -> list[MidiLine]:
    """The lines of a ready map."""
    path = MAPS / f"{name}.yaml"
    if not name or not path.is_file():
        return []
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [_line(raw) for lines in (found.get("map", ()), *found.get("banks", {}).values()) for raw in lines]


def _line(raw: Mapping[str, Any]) -> MidiLine:
    """A line of a map as its file has it: `{cc: 0, to: strength, range: [0.2, 0.9]}`."""
    kind = next(key for key in KINDS if key in raw)
    numbers = raw[kind] if isinstance(raw[kind], list) else [raw[kind]]
    target = label_of(str(raw.get("to") or raw.get("command") or f"bank {raw.get('bank')}"))
    if "value" in raw:
        target += " " + {True: "on", False: "off"}.get(raw["value"], str(raw["value"]))
    elif "range" in raw:
        target += " {:g} to {:g}".format(*raw["range"])
    return MidiLine(kind, tuple(numbers), int(raw.get("channel", 0)), target, str(raw.get("to", "")))


def _is_used(line: MidiLine, own: Sequence[MidiLine]) -> bool:
    """Whether the show uses a control of this line for something else."""
    return any(other.kind == line.kind and _same_channel(other.channel, line.channel)
               and not set(other.numbers).isdisjoint(line.numbers) for other in own)


def _same_channel(one: int, other: int) -> bool:
    return one == other or 0 in (one, other)


def _lines_of(control: tuple[str, int, int], lines: Sequence[MidiLine]) -> Iterator[MidiLine]:
    kind, number, channel = control
    return (line for line in lines
            if line.kind == kind and number in line.numbers and _same_channel(line.channel, channel))


def _row(row: Row, lines: Sequence[MidiLine], top: int) -> str:
    controls = row.controls()
    width = (WIDTH - 2 * MARGIN - NAMES) / max(8, len(controls))
    name = "".join(f'<text class="row" x="{MARGIN}" y="{top + 18 + place * 13}">{escape(part)}</text>'
                   for place, part in enumerate(row.name.split(", ")))
    return name + "".join(
        _control(row.shape, control, list(_lines_of(control, lines)), MARGIN + NAMES + place * width, top, width)
        for place, control in enumerate(controls))


def _control(
    shape: Shape, control: tuple[str, int, int], lines: Sequence[MidiLine], left: float, top: int, width: float,
) -> str:
    """A control with what it does below it, and its number."""
    kind, number, _ = control
    middle = left + width / 2
    fill = FILL[bool(lines)]
    drawn = _SHAPES[shape].format(x=middle, y=top + 6, fill=fill)
    text = " / ".join(_does(line, number) for line in lines)
    number_text = f'<text class="number" x="{middle}" y="{top + 24}" text-anchor="middle">{kind} {number}</text>'
    return drawn + number_text + _wrapped(text, middle, top + TEXTS[shape], int(width / 5.6))


def _does(line: MidiLine, number: int) -> str:
    """What one of several controls of a line does: "Mode text"."""
    place = line.numbers.index(number)
    if len(line.numbers) == 1:
        return line.target
    return f"{line.target} {line.each[place] if place < len(line.each) else place + 1}"


_SHAPES: Mapping[Shape, str] = {
    "knob": '<circle class="control" cx="{x}" cy="{y}" r="20" transform="translate(0 15)" fill="{fill}"/>',
    "fader": '<rect class="control" x="{x}" y="{y}" width="40" height="64" rx="4" transform="translate(-20 0)" '
             'fill="{fill}"/>',
    "button": '<rect class="control" x="{x}" y="{y}" width="64" height="26" rx="4" transform="translate(-32 0)" '
              'fill="{fill}"/>',
    "pad": '<rect class="control" x="{x}" y="{y}" width="76" height="28" rx="2" transform="translate(-38 0)" '
           'fill="{fill}"/>',
}


def _wrapped(text: str, x: float, y: float, most: int) -> str:
    """A text in at most two lines of `most` characters."""
    words, lines = text.split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= most and len(lines) < 2:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "".join(f'<text x="{x}" y="{y + place * 12}" text-anchor="middle">{escape(line)}</text>'
                   for place, line in enumerate(lines) if line)


def _text(text: str, x: float, y: float) -> str:
    return f'<text x="{x}" y="{y}">{escape(text)}</text>'


def _control_name(line: MidiLine) -> str:
    numbers = ", ".join(str(number) for number in line.numbers if number is not None)
    return f"{line.kind} {numbers}".strip() + (f", channel {line.channel}" if line.channel else "")
