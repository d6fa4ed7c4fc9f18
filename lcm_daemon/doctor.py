"""Doctor: every integration and device of this machine, works or not, and what to install."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Iterator

from lcm_daemon import __version__, transports
from lcm_daemon.errors import RecipeError
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipe import load_recipe, names

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "numpy", "av", "python-osc", "mido")

_DEVICES = """
import json, torch
found = {"cpu": f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"}
for i in range(torch.cuda.device_count()):
    p = torch.cuda.get_device_properties(i)
    found[f"cuda:{i}"] = f"{p.name}, {p.total_memory / 2**30:.0f} GiB"
if torch.backends.mps.is_available():
    found["mps"] = "Apple GPU"
print(json.dumps(found))
"""


def examine() -> Iterator[str]:
    """The report, line by line; nothing raises, whatever is broken."""
    yield f"lcm-daemon {__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield from _section("libraries", (_library(name) for name in LIBRARIES))
    yield from _section("devices", _devices())
    yield from _section("transports", (_transport(name) for name in transports.TRANSPORTS))
    yield from _section("controllers", [_midi()])
    yield from _section("recipes", (_recipe(name) for name in names()))


def _section(title: str, rows: Iterator[tuple[str, bool, str]] | list[tuple[str, bool, str]]) -> Iterator[str]:
    yield f"\n{title}"
    for name, works, detail in rows:
        yield f"  {'works  ' if works else 'missing'}  {name:16} {detail}"


def _library(name: str) -> tuple[str, bool, str]:
    try:
        return name, True, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return name, False, f"not installed; install it with: pip install {name}"


def _devices() -> list[tuple[str, bool, str]]:
    """Asked in a process of its own: a broken driver may take that one down, not the doctor."""
    try:
        answer = subprocess.run([sys.executable, "-c", _DEVICES], capture_output=True, text=True, timeout=120)
        found: dict[str, str] = json.loads(answer.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError, OSError) as error:
        return [("torch", False, f"does not start: {type(error).__name__}; reinstall torch")]
    return [(name, True, detail) for name, detail in found.items()]


def _transport(name: str) -> tuple[str, bool, str]:
    probe = transports.load(name).probe()
    return name, probe.works, probe.detail + (f"; install it with: {probe.install}" if probe.install else "")


def _midi() -> tuple[str, bool, str]:
    if importlib.util.find_spec("rtmidi") is None:
        return "midi", False, 'python-rtmidi is not installed; install it with: pip install "lcm-daemon[midi]"'
    return "midi", True, "python-rtmidi " + importlib.metadata.version("python-rtmidi")


def _recipe(name: str) -> tuple[str, bool, str]:
    recipe = load_recipe(name)
    if recipe.pipeline == "passthrough":
        return name, True, recipe.title
    try:
        locate(recipe)
    except RecipeError as error:
        return name, False, str(error)
    return name, True, recipe.title
