"""Doctor: every integration and device of this machine, works or not, and what to install."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from lcm_daemon import __version__, transports
from lcm_daemon.controllers.midi.ports import missing_rtmidi
from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines import accelerators
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.reader import load_recipe, recipe_names

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "huggingface_hub", "numpy", "av", "python-osc",
             "mido")
NO_CUDA = ("this torch has no CUDA, and nvidia-smi says that there is an NVIDIA card: pip uninstall torch, then the "
           "command for CUDA that pytorch.org gives for this system")
SECONDS = 120  # that a library may take to start

Row = tuple[str, bool, str]  # name, whether it works, the detail

_DEVICES = """
import json, torch
found = {"cpu": f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"}
for i in range(torch.cuda.device_count()):
    p = torch.cuda.get_device_properties(i)
    found[f"cuda:{i}"] = f"{p.name}, {p.total_memory / 2**30:.0f} GiB"
if torch.backends.mps.is_available():
    found["mps"] = "Apple GPU"
print(json.dumps({"devices": found, "cuda": bool(torch.version.cuda or torch.version.hip)}))
"""
_ACCELERATORS = """
import json, torch
from lcm_daemon.pipelines.accelerators import load
from lcm_daemon.pipelines.device import choose_device
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import ACCELERATORS
device = choose_device(Recipe("doctor"))
print(json.dumps({name: [device.type, load(name).probe(device)] for name in ACCELERATORS if name != "none"}))
"""


def examine() -> Iterator[str]:
    """The report, line by line; nothing raises, whatever is broken."""
    yield f"lcm-daemon {__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield from _section("libraries", (_library(name) for name in LIBRARIES))
    yield from _section("devices", _devices())
    yield from _section("accelerators", _accelerators())
    yield from _section("accelerators' packages", map(_package, *zip(*accelerators.versions(), strict=True)))
    yield from _section("transports", (_transport(name) for name in transports.TRANSPORTS))
    yield from _section("controllers", [_midi(), _extra("link", "aalink", "aalink")])
    yield from _section("recipes", (_recipe(name) for name in recipe_names()))


def _section(title: str, rows: Iterable[Row]) -> Iterator[str]:
    yield f"\n{title}"
    for name, works, detail in rows:
        yield f"  {'works  ' if works else 'missing'}  {name:16} {detail}"


def _library(name: str) -> Row:
    try:
        return name, True, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return name, False, f"not installed; install it with: pip install {name}"


def _devices() -> list[Row]:
    found = _ask(_DEVICES)
    if isinstance(found, str):
        return [("torch", False, found)]
    rows = [(name, True, detail) for name, detail in found["devices"].items()]
    if not found["cuda"] and shutil.which("nvidia-smi"):
        rows.append(("cuda", False, NO_CUDA))
    return rows


def _accelerators() -> list[Row]:
    """Of the device that recipes run on by themselves."""
    found = _ask(_ACCELERATORS)
    if isinstance(found, str):
        return [("torch", False, found)]
    return [(name, not reason, reason or f"on {device}") for name, (device, reason) in found.items()]


def _package(name: str, installed: str, supported: str) -> Row:
    return name, bool(installed), f"{installed or 'not installed'}; written for {supported}"


def _ask(code: str) -> dict[str, Any] | str:
    """What `code` prints as JSON, or in one line what keeps it from doing so.

    In a process of its own: a broken driver may take that one down, not the doctor.
    """
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"does not start within {SECONDS} s; reinstall torch"
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return f"does not start: {last:.200}"
    return found


def _transport(name: str) -> Row:
    probe = transports.load(name).probe()
    return name, probe.works, probe.detail + (f"; install it with: {probe.install}" if probe.install else "")


def _extra(name: str, module: str, package: str) -> Row:
    """A controller's package, which comes with the extra of that name."""
    if importlib.util.find_spec(module) is None:
        return name, False, f'{package} is not installed; install it with: pip install "lcm-daemon[{name}]"'
    return name, True, f"{package} {importlib.metadata.version(package)}"


def _midi() -> Row:
    if importlib.util.find_spec("rtmidi") is None:
        error = missing_rtmidi()
        return "midi", False, f"{error.reason}; install it with: {error.install}"
    return "midi", True, f"python-rtmidi {importlib.metadata.version('python-rtmidi')}"


def _recipe(name: str) -> Row:
    recipe = load_recipe(name)
    if recipe.pipeline == "passthrough":
        return name, True, recipe.title
    try:
        locate(recipe)
    except RecipeError as error:
        return name, False, f"{recipe.download}; fetch it with: lcm-daemon pull {name}" if recipe.files else str(error)
    return name, True, recipe.title
