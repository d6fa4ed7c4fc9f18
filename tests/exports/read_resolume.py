"""What Resolume sends with an OSC output preset: read as Resolume's own presets are, by their elements."""

from __future__ import annotations

from xml.etree import ElementTree

from lcm_daemon.core.parameters import Value

MIDDLE, PRESSED = 0.5, 1  # what a dial in its middle sends, and a button


def addresses(data: bytes) -> list[tuple[str, list[Value]]]:
    """Address and arguments of each control's message."""
    found: list[tuple[str, list[Value]]] = []
    for shortcut in ElementTree.fromstring(data).iterfind("ShortcutManager/Shortcut"):
        paths = {path.attrib["name"]: path.attrib["path"] for path in shortcut.iterfind("ShortcutPath")}
        is_custom = shortcut.attrib["hasCustomOutputPath"] == "1"
        value: Value = PRESSED if shortcut.attrib["paramNodeName"] == "ParamEvent" else MIDDLE
        found.append((paths["OutputPath" if is_custom else "InputPath"], [value]))
    return found
