"""Resolume Arena and Avenue 7: an OSC output preset. Resolume's dashboard dials move the show's parameters.

The form of the file is that of presets which Resolume 7.0 to 7.2 and 7.13 have written: the element OSCShortcutPreset
with versionInfo and ShortcutManager, and in it a Shortcut for each control, with two ShortcutPaths, Subtarget and
RawInputMessage. A control that sends to another address than its own has hasCustomOutputPath="1". Read in
Shortcuts/OSC/Default.xml of github.com/conc2304/resolume-project-preferences and of
github.com/matzemayr/Resolume-Arena, in Tests/Editor/Maps/Simple of github.com/stella3d/Resolink, and in
resolume.com/forum/viewtopic.php?t=23104 (another address). No preset with a button was found: its behaviour is
derived from those of MIDI and DMX presets.

A dial sends 0 to 1, so it goes to /lcm/fader/NAME, at which that is the whole range of a parameter. What the show's
`osc.map` expects at Resolume's own addresses is sent there, and nowhere else: a dial sends one message.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from lcm_daemon.core.osc_names import FADER
from lcm_daemon.exports.surface import Surface, SurfaceControl

DIALS = 8  # of a dashboard
OWN_ROOTS = ("/composition/", "/application/")  # what Resolume's own addresses start with
EVENTS = (  # last parts of the addresses of buttons
    "connect", "connectnextcolumn", "connectprevcolumn", "connectnextclip", "connectprevclip", "tempotap", "resync",
    "clear", "disconnectall")
SWITCHES = ("bypassed", "solo", "selected")  # of switches
OSC_MESSAGE = 6 << 56  # RawInputMessage's key: the kind of input is its highest byte
VALUE, EVENT = 26, 26 + 1024  # behaviour; MIDI and DMX presets add 1024 for a button too, to 8 and to 22
KINDS: Mapping[str, tuple[str, int]] = {  # paramNodeName and behaviour
    **dict.fromkeys(EVENTS, ("ParamEvent", EVENT)), **dict.fromkeys(SWITCHES, ("RangedParam[bool]", VALUE))}
DIAL = ("ParamRange", VALUE)
THIS_ONE, ANY_LAYER, ANY_SCOPE = "1", "11", "-1"  # allowedTranslationTypes: what the target may be changed to
FIRST_ID = 1_600_000_000_000  # Resolume's are times in ms


@dataclass(frozen=True)
class ResolumeOutput:
    """A control of Resolume that sends.

    Attributes:
        path: Resolume's own address of the control.
        address: Where it sends to; the same for its own address.
        to: The parameter or command that it moves.
        control: The parameter, as a fader; None where the show's `osc.map` says how it is moved.
    """

    path: str
    address: str
    to: str
    control: SurfaceControl | None = None

    @property
    def kind(self) -> tuple[str, int]:
        """The control's paramNodeName and behaviour."""
        return KINDS.get(self.path.rpartition("/")[2], DIAL)


def outputs(surface: Surface) -> list[ResolumeOutput]:
    """What Resolume sends for a show: what its `osc.map` expects, then a dial for each other parameter but texts."""
    mapped = [ResolumeOutput(address, address, to) for address, to in surface.mapped.items()
              if address.startswith(OWN_ROOTS)]
    taken, moved = {output.path for output in mapped}, {output.to for output in mapped}
    dials = (path for path in dials_in_order() if path not in taken)
    controls = [control for control in surface.controls()
                if control.kind != "text" and control.parameter.name not in moved]
    faders = [ResolumeOutput(path, FADER + control.parameter.name, control.parameter.name, control)
              for control, path in zip(sorted(controls, key=_is_played_less), dials, strict=False)]
    return [*mapped, *faders]


def _is_played_less(control: SurfaceControl) -> bool:
    """Whether a control comes after the faders that are played, such as strength: a time, a whole number, a choice."""
    return control.kind != "fader" or control.parameter.kind != "float" or bool(control.parameter.unit)


def dials_in_order() -> Iterator[str]:
    """The dials of the composition's dashboard, then those of each layer's, without an end."""
    dashboards = chain(("/composition",), (f"/composition/layers/{layer}" for layer in count(1)))
    return (f"{dashboard}/dashboard/link{dial}" for dashboard in dashboards for dial in range(1, DIALS + 1))


def preset_name(surface: Surface) -> str:
    """The name that Resolume's menu of presets shows."""
    return f"lcm {surface.show}"


def build(surface: Surface) -> bytes:
    """The preset. Raises LcmDaemonError if OSC is off."""
    surface.need_osc()
    name = preset_name(surface)
    number = zlib.crc32(name.encode())
    preset = Element("OSCShortcutPreset", name=name, presetId=str(number - 2**31))
    SubElement(preset, "versionInfo", name="Resolume Arena", majorVersion="7", minorVersion="13", microVersion="2",
               revision="17774")
    manager = SubElement(preset, "ShortcutManager", name="OSCShortcutManagerShortcuts")
    for place, output in enumerate(outputs(surface)):
        _add_shortcut(manager, output, FIRST_ID + number + place)
    ElementTree.indent(preset, "\t")
    text = ElementTree.tostring(preset, "unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _add_shortcut(manager: Element, output: ResolumeOutput, number: int) -> None:
    kind, behaviour = output.kind
    shortcut = SubElement(
        manager, "Shortcut", name="Shortcut", uniqueId=str(number), paramNodeName=kind, behaviour=str(behaviour),
        hasCustomOutputPath=str(int(output.address != output.path)))
    scope = ANY_LAYER if output.path.startswith("/composition/layers/") else THIS_ONE
    for name, path, allowed in (("InputPath", output.path, scope), ("OutputPath", output.address, ANY_SCOPE)):
        SubElement(shortcut, "ShortcutPath", name=name, path=path, translationType="1", allowedTranslationTypes=allowed)
    if output.kind == DIAL:
        SubElement(shortcut, "Subtarget", type="5", optionIndex="-1")
    SubElement(shortcut, "RawInputMessage", name="RawInputMessage", key=str(OSC_MESSAGE), value="0")
