"""Surface: what an export may say about a show, and the parts of it that several exports share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Size
from lcm_daemon.core.osc_names import ROOT, STATUS, TYPE_TAGS
from lcm_daemon.core.parameters import Parameter, Table, Value
from lcm_daemon.core.requests import Command

ControlKind = Literal["fader", "toggle", "menu", "text", "number"]
MOST_ON_A_FADER = 1000  # steps of a whole number; with more, a fader is too coarse
MOST_INT = 2**31 - 1  # of an OSC int32
DEFAULT_PORTS = {"osc": 9000, "oscquery": 9080}  # that a message proposes


@dataclass(frozen=True)
class SurfaceEnd:
    """A source or sink of the show.

    Attributes:
        transport: "ndi", "spout", "syphon", "window", ...
        name: Of a sink, the name that other programs see; of a source, the one that the daemon looks for. May be "".
    """

    transport: str
    name: str


@dataclass(frozen=True)
class SurfaceControl:
    """A parameter as other programs show it.

    Attributes:
        parameter: The parameter.
        value: Its value at the start.
        kind: What suits it. A menu sends the name of the choice; a toggle 1 or 0.
    """

    parameter: Parameter
    value: Value
    kind: ControlKind

    @property
    def address(self) -> str:
        """Its OSC address, such as "/lcm/strength"."""
        return ROOT + self.parameter.name

    @property
    def tag(self) -> str:
        """Its OSC type tag: f, i, s or T."""
        return TYPE_TAGS[self.parameter.kind]

    @property
    def label(self) -> str:
        """Its name for people, such as "Prompt weight"."""
        return label_of(self.parameter.name)

    @property
    def low(self) -> float:
        """The lowest value of a number; 0 for the place of a choice, and for a switch."""
        return self.parameter.low if math.isfinite(self.parameter.low) else 0.0

    @property
    def high(self) -> float:
        """The highest value of a number that an OSC int32 can hold; the last place of a choice; 1 for a switch."""
        if math.isfinite(self.parameter.high):
            return min(self.parameter.high, float(MOST_INT))
        return float(max(1, len(self.parameter.choices) - 1))


@dataclass(frozen=True)
class Button:
    """A command as other programs show it: one press gives it.

    Attributes:
        name: Its name, such as "cue/go".
        command: The command.
        arguments: What the press sends.
        label: For people.
    """

    name: str
    command: Command
    arguments: tuple[Value, ...]
    label: str

    @property
    def address(self) -> str:
        """Its OSC address, such as "/lcm/cue/go"."""
        return ROOT + self.name


@dataclass(frozen=True)
class MidiLine:
    """A line of a MIDI map, for people.

    Attributes:
        kind: Kind of the control, such as "cc" or "note".
        numbers: Its numbers; None where the kind has none.
        channel: 1 to 16, or 0 for any.
        target: What it does, such as "Strength 0.2 to 0.9".
        parameter: Name of the parameter that it moves, or "".
        each: Of several numbers, what each of them sets, if the line says so.
    """

    kind: str
    numbers: tuple[int | None, ...]
    channel: int
    target: str
    parameter: str = ""
    each: tuple[str, ...] = ()


@dataclass(frozen=True)
class MappedDevice:
    """A MIDI device of the show.

    Attributes:
        name: Its name, or a pattern.
        map: Name of its ready map, or "".
        lines: The show's own lines for it, which count before those of the map.
    """

    name: str
    map: str = ""
    lines: tuple[MidiLine, ...] = ()


@dataclass(frozen=True)
class Surface:
    """What an export may say about a show, as plain data.

    Attributes:
        show: Name of the show.
        table: Every parameter in the order in which controllers show them, see `in_groups`.
        values: Value of each at the start.
        commands: The commands by name.
        cues: Names of the cues in order.
        recipes: Names of the recipes that can be changed to.
        recipe: The recipe that the table belongs to.
        prompts: The bank of prompts; a place that is free is "".
        status: What each entry of the status means, see core/status_table.
        modulators: Names of the modulators.
        fps: Rate of the output.
        size: (width, height) of the output in pixels.
        inputs: The source and the guide, then what they can be changed to.
        outputs: The sinks.
        host: Address at which the daemon receives OSC, for programs on the same machine.
        page_host: Address of the page; "" for that of OSC.
        query_host: Address of OSCQuery; "" for that of OSC.
        osc_port: UDP port of OSC; 0 if it is off.
        page_port: TCP port of the page; 0 if it is off or takes any free one.
        query_port: TCP port of OSCQuery; 0 if it is off or takes any free one.
        secure: Whether the page speaks TLS.
        file: What `lcm-daemon run` is given: the file of the show without its folder, or the name of a packaged one.
        machine: Name of the daemon's machine as NDI shows it: "STAGE" of the sender "STAGE (lcm)".
        mapped: What the addresses of the show's `osc.map` move, a parameter or a command, by address.
        midi: The show's MIDI devices.
    """

    show: str
    table: Table
    values: Mapping[str, Value]
    commands: Mapping[str, Command]
    cues: tuple[str, ...]
    recipes: tuple[str, ...]
    recipe: str
    prompts: tuple[str, ...]
    status: Mapping[str, str]
    modulators: tuple[str, ...]
    fps: float
    size: Size
    inputs: tuple[SurfaceEnd, ...]
    outputs: tuple[SurfaceEnd, ...]
    host: str
    osc_port: int
    page_port: int
    query_port: int
    secure: bool = False
    file: str = ""
    machine: str = "MACHINE"
    mapped: Mapping[str, str] = field(default_factory=dict)
    midi: tuple[MappedDevice, ...] = ()
    page_host: str = ""
    query_host: str = ""

    def controls(self) -> list[SurfaceControl]:
        """Every parameter in order."""
        return [SurfaceControl(parameter, self.values.get(name, parameter.default), control_kind(parameter))
                for name, parameter in self.table.items()]

    def pages(self) -> dict[str, list[SurfaceControl]]:
        """The controls by group, in order; those without one are on the page "Other"."""
        grouped = groupby(self.controls(), lambda control: control.parameter.group or "Other")
        pages: dict[str, list[SurfaceControl]] = {}
        for group, controls in grouped:
            pages.setdefault(group, []).extend(controls)
        return pages

    def buttons(self) -> list[Button]:
        """The commands of a console that one press can give: panic, undo, GO and others. See also `cue_buttons`."""
        return [Button(name, self.commands[name], (), label_of(name)) for name in PRESSED if name in self.commands]

    def cue_buttons(self) -> list[Button]:
        """One button for each cue, which starts it."""
        return [Button("cue/goto", self.commands["cue/goto"], (cue,), cue) for cue in self.cues]

    def cue_buttons_by(self, is_sendable: Callable[[str], bool]) -> list[Button]:
        """The buttons of the cues for a program that cannot send every name.

        A cue whose name it cannot send is called by the number that its name is, or by its place in the list, counted
        from 1. One whose place is the name of another cue has no button: the daemon would start the other one.
        """
        numbers, found = [number_of(cue) for cue in self.cues], []
        for place, (button, number) in enumerate(zip(self.cue_buttons(), numbers, strict=True), 1):
            if is_sendable(button.label):
                found.append(button)
            elif number is not None or place not in numbers:
                found.append(replace(button, arguments=(place if number is None else number,)))
        return found

    def prompt_buttons(self) -> list[Button]:
        """One button for each prompt of the bank. The daemon counts them from 1."""
        return [Button("prompts/play", self.commands["prompts/play"], (float(place),), prompt)
                for place, prompt in enumerate(self.prompts, 1) if prompt]

    def recipe_buttons(self) -> list[Button]:
        """One button for each recipe that can be changed to."""
        return [Button("recipe", self.commands["recipe"], (recipe,), recipe) for recipe in self.recipes]

    def status_addresses(self) -> dict[str, str]:
        """The meaning of each entry of the status, by OSC address. The daemon sends them to subscribers."""
        return {STATUS + name: meaning for name, meaning in self.status.items()}

    def missing(self, *sections: str) -> str:
        """Why an export cannot be built that needs these sections of a show, osc or oscquery; empty if it can."""
        ports = {"osc": self.osc_port, "oscquery": self.query_port}
        return next((f"show {self.show}: {each} is off or takes any free port, and this export needs it: give the show "
                     f"`{each}: {{port: {DEFAULT_PORTS[each]}}}`" for each in sections if not ports[each]), "")

    def need(self, *sections: str) -> None:
        """Raises LcmDaemonError if `missing` says why."""
        if reason := self.missing(*sections):
            raise LcmDaemonError(reason)

    def need_osc(self) -> None:
        """Raises LcmDaemonError if OSC is off: for exports that send it."""
        self.need("osc")

    def output(self, *transports: str) -> SurfaceEnd | None:
        """The first sink of one of these transports."""
        return next(iter(self._ends(self.outputs, transports)), None)

    def input(self, *transports: str) -> SurfaceEnd | None:
        """The first source of one of these transports."""
        return next(iter(self._ends(self.inputs, transports)), None)

    @staticmethod
    def _ends(ends: Sequence[SurfaceEnd], transports: Sequence[str]) -> Iterator[SurfaceEnd]:
        return (end for end in ends if end.transport in transports)

    @property
    def page_url(self) -> str:
        """URL of the page, without a slash at its end; "" if it is off. /output below it is the picture alone."""
        scheme = "https" if self.secure else "http"
        return f"{scheme}://{in_url(self.page_host or self.host)}:{self.page_port}" if self.page_port else ""

    @property
    def query_url(self) -> str:
        """URL of OSCQuery, without a slash at its end; "" if it is off."""
        return f"http://{in_url(self.query_host or self.host)}:{self.query_port}" if self.query_port else ""


PRESSED = ("panic", "undo", "redo", "undo_panic", "cue/go", "cue/back", "cue/pause", "cue/resume", "cue/stop",
           "cue/release", "tap", "record/start", "record/stop", "engine/restart")


def control_kind(parameter: Parameter) -> ControlKind:
    """The control that suits a parameter."""
    if parameter.kind == "bool":
        return "toggle"
    if parameter.kind == "choice":
        return "menu"
    if parameter.kind == "text":
        return "text"
    span = parameter.high - parameter.low
    is_wide = parameter.kind == "int" and span / parameter.step > MOST_ON_A_FADER
    return "number" if is_wide or not math.isfinite(span) else "fader"


def in_url(host: str) -> str:
    """A host as a URL has it: an address of IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def number_of(name: str) -> float | int | None:
    """The number that a cue's name is, or None. The daemon takes a number for the name."""
    try:
        number = float(name)
    except ValueError:
        return None
    if not abs(number) < MOST_INT:
        return None
    return int(number) if number.is_integer() else number


def label_of(name: str) -> str:
    """The name of a parameter or command for people: "Mod drift depth" for "mod/drift/depth"."""
    words = name.replace("/", " ").replace("_", " ")
    return words[:1].upper() + words[1:]
