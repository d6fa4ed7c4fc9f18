"""`lcm-daemon doctor`: checks every integration and device of this machine, and whether a show can open on it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lcm_daemon import __version__, transports
from lcm_daemon.commands import probes
from lcm_daemon.commands.midi_list import backend_opener, list_ports
from lcm_daemon.commands.output import print_line
from lcm_daemon.commands.plugin_report import LOADING, plugins, refused_plugins
from lcm_daemon.commands.running_engines import running_engines
from lcm_daemon.controllers.midi.rtmidi_library import missing_rtmidi, rtmidi_version
from lcm_daemon.controllers.osc.udp import check_receive_buffer
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.pipelines import accelerators
from lcm_daemon.pipelines.weights import inspect
from lcm_daemon.recipes.reader import load_recipe, recipe_names
from lcm_daemon.shows.library import read_text

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "huggingface_hub", "numpy", "av", "python-osc",
             "mido")
NO_CUDA = ("this torch has no CUDA, but nvidia-smi finds an NVIDIA card: run pip uninstall torch, then the command for "
           "CUDA that pytorch.org gives for this system")

Row = tuple[str, bool, str]  # name, whether it works, details

def doctor(show: str | None, overrides: Sequence[str] = (), plays: bool = True) -> int:
    """Print the report on this machine, and on a show. Returns the exit code: 1 if the show is not ready to open.

    Args:
        show: Its file or name; None for the machine alone.
        overrides: Values that replace those of the show.
        plays: Whether a copy of the show is played.

    Raises:
        LcmDaemonError: The show cannot be read.
    """
    if show is not None:
        read_text(show)  # a wrong name is an error before everything else
    for line in examine(show):
        print_line(line)
    if show is None:
        return 0
    from lcm_daemon.commands.readiness.report import examine_show

    return examine_show(show, overrides, plays, print_line)


def examine(show: str | None = None) -> Iterator[str]:
    """Yield the lines of the report. A broken integration is reported and never raises.

    show: Name or file of a show: the engines of a daemon that plays it are listed.
    """
    yield f"lcm-daemon {__version__}, Python {platform.python_version()}, {platform.platform()}"
    found: dict[str, Row] = {}
    sections: Mapping[str, Iterable[Row]] = {
        "libraries": (_check_library(name) for name in LIBRARIES),
        "devices": _check_devices(),
        "accelerators": _check_accelerators(),
        "accelerators' packages": map(_package_row, *zip(*accelerators.versions(), strict=True)),
        "transports": (_check_transport(name) for name in transports.TRANSPORTS if not _is_plugin(name)),
        "pictures": [_check_extra("heif", "pillow_heif", "pillow-heif")],
        "network": [_check_extra("tls", "cryptography", "cryptography")],
        "controllers": [_check_osc(), _check_midi(), _check_extra("link", "aalink", "aalink")],
        "engines": _check_engines(show),
        "recipes": (_check_recipe(name) for name in recipe_names()),
        "plugins": _check_plugins(),
    }
    for title, rows in sections.items():
        yield f"\n{title}"
        for row in rows:
            name, works, detail = row
            found.setdefault(name, row)
            yield f"  {'works  ' if works else 'missing'}  {name:16} {detail}"
    yield f"\n{verdict(found)}"


def _check_library(name: str) -> Row:
    try:
        return name, True, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return name, False, f"not installed; install it with: pip install {name}"


def verdict(found: Mapping[str, Row], system: str = sys.platform) -> str:
    """One line: what this machine is ready for, and why not for the rest.

    Args:
        found: The rows of the report by their names.
        system: As `sys.platform`: what exists on other systems only is not named.
    """
    missing = [name for name in LIBRARIES if name in found and not found[name][1]]
    wanted = {"demo": ("", "builtin"), "NDI": ("ndi",), "window": ("window",), "MIDI": ("midi",),
              "OpenVINO": ("openvino",)}
    wanted |= {"win32": {"Spout": ("spout",)}, "darwin": {"Syphon": ("syphon",), "MPS": ("mps",)}}.get(system, {})
    ready, not_ready = [], []
    rows: dict[str, Row] = {**found, "": ("", not missing, f"{', '.join(missing)} is not installed")}
    for name, parts in wanted.items():
        problem = next((rows[part][2] for part in parts if part in rows and not rows[part][1]), "")
        ready += [] if problem else [name]
        not_ready += [f"{name}, because {problem.partition('; ')[0]}"] if problem else []
    if system != "darwin":
        cards = [name for name in found if name.startswith("cuda:")]
        reason = found["cuda"][2] if "cuda" in found else "torch finds no NVIDIA card"
        ready += ["CUDA"] if cards else []
        not_ready += [] if cards else [f"CUDA, because {reason.partition(':')[0]}"]
    line = f"ready for: {', '.join(ready) or 'nothing'}"
    return f"{line}; not for: {'; '.join(not_ready)}" if not_ready else line


def _check_devices() -> list[Row]:
    found = probes.run_json(probes.DEVICES)
    if isinstance(found, str):
        return [("torch", False, found)]
    rows = [(name, True, detail) for name, detail in found["devices"].items()]
    if not found["cuda"] and shutil.which("nvidia-smi"):
        rows.append(("cuda", False, NO_CUDA))
    return rows


def _check_accelerators() -> list[Row]:
    """Check the accelerators on the device that recipes use by default."""
    found = probes.probe_accelerators("auto")
    if isinstance(found, str):
        return [("torch", False, found)]
    return [(name, not reason, reason or f"on {device}") for name, (device, reason) in found.items()]


def _package_row(name: str, installed: str, supported: str) -> Row:
    return name, bool(installed), f"{installed or 'not installed'}; written for {supported}"


def _check_transport(name: str) -> Row:
    probe = transports.load(name).probe()
    return name, probe.works, probe.detail + (f"; install it with: {probe.install}" if probe.install else "")


def _is_plugin(transport: str) -> bool:
    return transports.TRANSPORTS.plugin(transport) is not None


def _check_plugins() -> list[Row]:
    """Load each plugin in a process of its own, and ask its transports whether they work here."""
    installed = plugins()
    if not installed and not refused_plugins():
        return [("plugins", True, "no package adds a part")]
    found = probes.run_json(LOADING) if installed else {}
    rows: list[Row] = []
    for plugin in installed:
        problem = found if isinstance(found, str) else found[str(plugin)]
        rows.append((plugin.name, not problem, str(problem or plugin)))
    return [*rows, *(("plugins", False, line) for line in refused_plugins())]


def _check_extra(name: str, module: str, package: str) -> Row:
    """Check a package that is installed with an extra."""
    if importlib.util.find_spec(module) is None:
        return name, False, f'{package} is not installed; install it with: pip install "lcm-daemon[{name}]"'
    return name, True, f"{package} {importlib.metadata.version(package)}"


def _check_engines(show: str | None) -> Iterator[Row]:
    yield from running_engines(show)
    yield _check_extra("ray", "ray", "ray")


def _check_osc() -> Row:
    try:
        return "osc", True, check_receive_buffer()
    except LcmDaemonError as error:
        return "osc", False, str(error)


def _check_midi() -> Row:
    if not (version := rtmidi_version()):
        error = missing_rtmidi()
        return "midi", False, f"{error.reason}; install it with: {error.install}"
    try:
        return "midi", True, "; ".join([version, *list_ports(backend_opener("auto"))])
    except LcmDaemonError as error:
        return "midi", False, f"{str(error).removeprefix('MIDI: ')}; {version}"


def _check_recipe(name: str) -> Row:
    recipe = load_recipe(name)
    if recipe.pipeline == "passthrough":
        return name, True, recipe.title
    _, problems = inspect(recipe)
    if problems.wrong:
        return name, False, problems.line()
    if problems:
        return name, False, f"{recipe.download}; download it with: lcm-daemon pull {name}"
    return name, True, recipe.title
