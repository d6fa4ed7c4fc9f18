"""The exports by name. Each has a module with `build(surface) -> bytes`, which is imported when it is built."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.exports.surface import Surface

MOST_OF_A_NAME = 180  # bytes of a show's name in the name of a file, which may have 255
DEVICES = r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?"  # names that Windows has for devices, with any ending


@dataclass(frozen=True)
class Format:
    """One export.

    Attributes:
        file: Name of the file; {show} is the show's name.
        help: What it is for, as one line.
        module: The module that builds it, with a function `build(surface: Surface) -> bytes`.
        binary: Whether it is not text that a terminal can show.
        program: The program that opens it, as its maker writes it.
        needs: Sections of the show that must be on for it: "osc", "oscquery".
    """

    file: str
    help: str
    module: str
    binary: bool = False
    program: str = ""
    needs: tuple[str, ...] = ()

    def build(self, surface: Surface) -> bytes:
        """Build the file. Raises LcmDaemonError if the show lacks what it needs, such as OSC."""
        built: bytes = importlib.import_module(self.module).build(surface)
        return built

    def file_name(self, show: str) -> str:
        """The name of the file for a show of this name: letters, digits, "_", "-" and "." of it, the rest as "_"."""
        safe = re.sub(r"[^\w.-]+", "_", show).strip("._").encode()[:MOST_OF_A_NAME].decode(errors="ignore")
        is_device = re.fullmatch(DEVICES, safe, re.IGNORECASE) is not None
        return self.file.format(show=f"show_{safe}" if is_device else safe or "show")


FORMATS: Mapping[str, Format] = {
    "touchdesigner": Format(
        "{show}_touchdesigner.py", "TouchDesigner: a script that builds a component with pictures, parameters, cues",
        "lcm_daemon.exports.touchdesigner", program="TouchDesigner", needs=("osc",)),
    "resolume": Format(
        "{show}_resolume.xml", "Resolume: an OSC output preset, with which its dashboard dials move the parameters",
        "lcm_daemon.exports.resolume", program="Resolume Arena and Avenue", needs=("osc",)),
    "resolume-notes": Format(
        "{show}_resolume.md", "Resolume: what to choose where, and which dial moves what",
        "lcm_daemon.exports.resolume_notes", program="Resolume Arena and Avenue", needs=("osc",)),
    "obs": Format(
        "{show}_obs.json", "OBS Studio: a scene collection with the picture, by the page's /output and by NDI",
        "lcm_daemon.exports.obs", program="OBS Studio"),
    "touchosc": Format(
        "{show}.tosc", "TouchOSC: a layout with the console's groups as tabs, bound both ways",
        "lcm_daemon.exports.touchosc", binary=True, program="TouchOSC", needs=("osc",)),
    "open-stage-control": Format(
        "{show}_open_stage_control.json", "Open Stage Control: a session with the console's groups as tabs",
        "lcm_daemon.exports.open_stage_control", program="Open Stage Control", needs=("osc",)),
    "companion": Format(
        "{show}.companionconfig", "Bitfocus Companion: pages of buttons for commands, looks, prompts and parameters",
        "lcm_daemon.exports.companion", program="Bitfocus Companion", needs=("osc",)),
    "qlab": Format(
        "{show}_qlab.applescript", "QLab 5: a script that makes cues for looks, prompts, commands, parameters",
        "lcm_daemon.exports.qlab", program="QLab", needs=("osc",)),
    "max": Format(
        "{show}.maxpat", "Max: a patcher with every parameter, bound both ways; as parameters of Live in Max for Live",
        "lcm_daemon.exports.max_for_live", program="Max and Max for Live", needs=("osc",)),
    "max-for-live": Format(
        "{show}.amxd", "Max for Live: a device for Live's MIDI tracks, the same as `max` ready to be dropped into Live",
        "lcm_daemon.exports.max_device", binary=True, program="Ableton Live with Max for Live", needs=("osc",)),
    "chataigne": Format(
        "{show}.noisette", "Chataigne: a session with the daemon's tree, over OSCQuery",
        "lcm_daemon.exports.chataigne", program="Chataigne", needs=("osc", "oscquery")),
    "ossia": Format(
        "{show}.device", "ossia score: a device that reads the daemon's tree over OSCQuery",
        "lcm_daemon.exports.ossia", program="ossia score", needs=("osc", "oscquery")),
    "midi": Format(
        "{show}_midi.svg", "MIDI: sheets of the devices, with what their controls do; without MIDI, of every ready map",
        "lcm_daemon.exports.midi_sheet", program="a browser or printer"),
}


def find_format(name: str) -> Format:
    """The export of this name. Raises LcmDaemonError."""
    if name not in FORMATS:
        raise LcmDaemonError(f"no export is named {name!r:.80}{nearest(name[:80], list(FORMATS))}")
    return FORMATS[name]
