"""The AppleScript for QLab 5: it makes a Network cue for each look, prompt, recipe, command and parameter of the show.

QLab sends OSC through a network patch of the workspace, which scripts can name but not make. A message is written as in
https://qlab.app/docs/v5/networking/network-cues/. The script is ASCII: a script file has no encoding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lcm_daemon.core.parameters import Value
from lcm_daemon.exports.surface import Surface

PATCH = "lcm"
_QUERY = re.compile(r'[#"\\]')  # QLab replaces #...# by the result of a query; quotes and backslashes end a text

HEAD = """-- Makes the cues of the show {show} in the front workspace of QLab 5: in Script Editor, press the triangle.
--
-- First, in QLab: Workspace Settings > Network > Network Outputs: add a patch named "{patch}", type "OSC message",
-- network UDP, destination {host}, port {port}.
-- The script makes groups that you can move, copy from and delete. To make them again, delete the old ones first.

property patchName : "{patch}"

on groupOf(theNumber, theName)
	tell application id "com.figure53.QLab.5" to tell front workspace
		if exists (cue theNumber) then error "Cue " & theNumber & " exists: delete the groups of an earlier run first."
		make type "Group"
		set theGroup to last item of (selected as list)
		set q number of theGroup to theNumber
		set q name of theGroup to theName
		return theGroup
	end tell
end groupOf

on addCue(theGroup, theName, theMessage)
	tell application id "com.figure53.QLab.5" to tell front workspace
		make type "Network"
		set theCue to last item of (selected as list)
		set network patch name of theCue to patchName
		set custom string of theCue to theMessage
		set q number of theCue to ""
		set q name of theCue to theName
		move cue id (uniqueID of theCue) of parent of theCue to end of theGroup
	end tell
end addCue
"""


def build(surface: Surface) -> bytes:
    """The script. Raises LcmDaemonError if the show has no OSC."""
    surface.need_osc()
    lines = [HEAD.format(show=_comment(surface.show), patch=PATCH, host=surface.host, port=surface.osc_port)]
    for number, (title, messages) in enumerate(_groups(surface).items(), 1):
        lines.append(f"\nset theGroup to groupOf({literal(f'lcm {number}')}, {literal(f'{surface.show}: {title}')})")
        lines += [f"addCue(theGroup, {literal(name)}, {literal(message)})" for name, message in messages]
    return ("\n".join(lines) + "\n").encode()


def _groups(surface: Surface) -> dict[str, list[tuple[str, str]]]:
    """Names and messages of the cues by group; none without cues."""
    looks = surface.cue_buttons_by(lambda name: not _QUERY.search(name))
    groups = {
        "looks": [(button.label, osc_text(button.address, button.arguments)) for button in looks],
        "prompts": [(button.label, osc_text(button.address, button.arguments)) for button in surface.prompt_buttons()],
        "recipes": [(button.label, osc_text(button.address, button.arguments)) for button in surface.recipe_buttons()],
        "commands": [(button.label, button.address) for button in surface.buttons()],
        "parameters": [(control.label, osc_text(control.address, (control.value,))) for control in surface.controls()],
    }
    return {title: messages for title, messages in groups.items() if messages}


def osc_text(address: str, arguments: Sequence[Value]) -> str:
    """An OSC message as it is typed in a Network cue. Texts are quoted, without what QLab cannot send in them."""
    typed = [f'"{_QUERY.sub("", each)}"' if isinstance(each, str) else f"{each:d}" if isinstance(each, int) else
             f"{each:.6f}".rstrip("0").ljust(len(f"{each:.0f}") + 2, "0") for each in arguments]
    return " ".join([address, *typed])


def literal(text: str) -> str:
    """A text of AppleScript; what is not ASCII is given by its code points."""
    runs = re.findall(r"[\x20-\x7e]+|[^\x20-\x7e]+", text)
    parts = [_quoted(run) if run.isascii() and run.isprintable() else _code_points(run) for run in runs]
    return " & ".join(parts) or '""'


def _quoted(run: str) -> str:
    return '"' + run.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _code_points(run: str) -> str:
    return f"(character id {{{', '.join(str(ord(character)) for character in run)}}})"


def _comment(text: str) -> str:
    return "".join(character if character.isascii() and character.isprintable() else "?" for character in text)
