"""Resolume: a page that says what to choose where, and which dial of the preset (resolume.py) moves what."""

from __future__ import annotations

from collections.abc import Iterator

from lcm_daemon.exports.formats import FORMATS
from lcm_daemon.exports.resolume import ResolumeOutput, outputs, preset_name
from lcm_daemon.exports.surface import Surface, SurfaceControl, SurfaceEnd

SHARED = {"spout": "Windows", "syphon": "macOS", "ndi": "every system, also over the network"}
FOLDERS = ("Documents/Resolume Arena/Shortcuts/OSC", "Documents/Resolume Avenue/Shortcuts/OSC")


def build(surface: Surface) -> bytes:
    """The page, as Markdown. Raises LcmDaemonError if OSC is off."""
    surface.need_osc()
    parts = (f"# {surface.show}: Resolume", _picture_in(surface), _picture_out(surface), _osc(surface), _table(surface))
    return ("\n\n".join(parts) + "\n").encode()


def _picture_in(surface: Surface) -> str:
    rows = [f"- {SHARED[end.transport]}: Sources → {_menu(end)} → `{_sender(surface, end)}`. Drag it onto a clip."
            for end in surface.outputs if end.transport in SHARED and end.name]
    return "\n".join(["## The daemon's picture in Resolume", "", *(rows or [
        "The show has no sink that Resolume receives: add `{transport: ndi, name: lcm}` to its `sinks`."])])


def _picture_out(surface: Surface) -> str:
    wanted = [end for end in surface.inputs if end.transport in SHARED and end.name]
    names = ", ".join(f"`{end.name}` ({end.transport})" for end in wanted)
    ready = f"The show looks for {names}: give the screen this name." if wanted else (
        "`lcm-daemon list sources` prints the screen's name for the show's `source`, "
        'for example `{transport: ndi, name: "lcm in"}`.')
    return "\n".join([
        "## Resolume's picture in the daemon", "",
        "Output → Advanced: add a screen, and choose its device: Spout (Windows), Syphon (macOS) or NDI. As the input",
        "of its slice choose the layer or group that the daemon renders, and not the composition: that contains the",
        f"daemon's own clip. {ready}"])


def _osc(surface: Surface) -> str:
    file = FORMATS["resolume"].file_name(surface.show)
    return "\n".join([
        "## Resolume's dials move the parameters", "",
        f"1. Put `{file}` into `{FOLDERS[0]}`, with Avenue into",
        f"   `{FOLDERS[1]}`, and start Resolume again.",
        f"2. Preferences → OSC: OSC Output on, to `{surface.host}` (or the daemon's address), port {surface.osc_port}.",
        f"3. Shortcuts → Edit OSC, and choose the preset `{preset_name(surface)}` in the panel Shortcuts.", "",
        "A dial sends one message. Do not choose *Output All OSC Messages*: it sends each dial a second time, and the",
        "position of every clip hundreds of times a second."])


def _table(surface: Surface) -> str:
    rows = [f"| {_place(output)} | {_target(output)} |" for output in outputs(surface)]
    texts = ", ".join(f"`{control.address}`" for control in surface.controls() if control.kind == "text")
    return "\n".join([
        "| control in Resolume | what it moves |", "|---|---|", *rows, "",
        f"Texts have no dial: {texts}. To send one from a text parameter, choose *Custom Address* for its OSC",
        "output in Shortcuts → Edit OSC, and write the address there."])


def _place(output: ResolumeOutput) -> str:
    """Where the control is: "Composition, Dashboard, Link 1"."""
    return ", ".join(_names(output.path)) if "/dashboard/" in output.path else f"`{output.path}`"


def _names(path: str) -> Iterator[str]:
    layer = path.removeprefix("/composition/layers/")
    yield "Composition" if layer == path else f"Layer {layer.partition('/')[0]}"
    yield "Dashboard"
    yield f"Link {path.rpartition('/link')[2]}"


def _target(output: ResolumeOutput) -> str:
    if output.control is None:
        return f"`{output.to}`, as the show's `osc.map` says"
    return _range(output.control)


def _range(control: SurfaceControl) -> str:
    choices = ", ".join(control.parameter.choices)
    low, high = control.parameter.low, control.parameter.high
    return f"{control.label}: {choices or ('off, on' if control.kind == 'toggle' else f'{low:.10g} to {high:.10g}')}"


def _menu(end: SurfaceEnd) -> str:
    return {"spout": "Spout", "syphon": "Syphon", "ndi": "NDI"}[end.transport]


def _sender(surface: Surface, end: SurfaceEnd) -> str:
    return f"{surface.machine} ({end.name})" if end.transport == "ndi" else end.name
