"""The exports that there are. Each has a module with `build(surface) -> bytes`, which is imported when it is built."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.exports.surface import Surface

MOST_OF_A_NAME = 60  # characters of a show's name in the name of a file


@dataclass(frozen=True)
class Format:
    """One export.

    Attributes:
        file: Name of the file; {show} is the show's name.
        help: What it is for, as one line.
        module: The module that builds it, with a function `build(surface: Surface) -> bytes`.
        binary: Whether it is not text that a terminal can show.
        program: The program that opens it, as its maker writes it.
    """

    file: str
    help: str
    module: str
    binary: bool = False
    program: str = ""

    def build(self, surface: Surface) -> bytes:
        """Build the file. Raises LcmDaemonError if the show lacks what it needs, such as OSC."""
        built: bytes = importlib.import_module(self.module).build(surface)
        return built

    def file_name(self, show: str) -> str:
        """The name of the file for a show of this name: letters, digits, "_", "-" and "." of it, the rest as "_"."""
        safe = re.sub(r"[^\w.-]+", "_", show).strip("._")[:MOST_OF_A_NAME]
        return self.file.format(show=safe or "show")


FORMATS: Mapping[str, Format] = {
    "touchdesigner": Format(
        "{show}_touchdesigner.py", "TouchDesigner: a script that builds a component with pictures, parameters, cues",
        "lcm_daemon.exports.touchdesigner", program="TouchDesigner"),
    "resolume": Format(
        "{show}_resolume.xml", "Resolume: an OSC output preset, with which its dashboard dials move the parameters",
        "lcm_daemon.exports.resolume", program="Resolume Arena and Avenue"),
    "resolume-notes": Format(
        "{show}_resolume.md", "Resolume: what to choose where, and which dial moves what",
        "lcm_daemon.exports.resolume_notes", program="Resolume Arena and Avenue"),
    "obs": Format(
        "{show}_obs.json", "OBS Studio: a scene collection with the picture, by the page's /output and by NDI",
        "lcm_daemon.exports.obs", program="OBS Studio"),
}


def find_format(name: str) -> Format:
    """The export of this name. Raises LcmDaemonError."""
    if name not in FORMATS:
        raise LcmDaemonError(f"no export is named {name!r:.80}{nearest(name[:80], list(FORMATS))}")
    return FORMATS[name]
