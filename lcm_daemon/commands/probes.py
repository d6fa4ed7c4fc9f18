"""Asks torch and the libraries of accelerators, in processes of their own, which devices work on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

IMPORT_TIMEOUT = 120  # seconds that libraries may take to start

DEVICES = """
import json, torch
from lcm_daemon.pipelines.accelerators.openvino_devices import devices
from lcm_daemon.pipelines.precision import of_device
names = {"cpu": f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"}
for i in range(torch.cuda.device_count()):
    p = torch.cuda.get_device_properties(i)
    names[f"cuda:{i}"] = f"{p.name}, {p.total_memory / 2**30:.0f} GiB"
if torch.backends.mps.is_available():
    names["mps"] = "Apple GPU"
found = {name: f"{text}; recipes run in {of_device(torch.device(name))}" for name, text in names.items()}
found |= {f"openvino:{name}": text for name, text in devices().items()}
print(json.dumps({"devices": found, "cuda": bool(torch.version.cuda or torch.version.hip)}))
"""
_ACCELERATORS = """
import json, torch
from lcm_daemon.pipelines.accelerators import load
from lcm_daemon.pipelines.device import choose_device
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import ACCELERATORS
device = choose_device(Recipe("doctor", device="{device}"))
print(json.dumps({name: [device.type, load(name).probe(device)] for name in ACCELERATORS if name != "none"}))
"""


def probe_devices() -> Mapping[str, str] | str:
    """The devices that torch finds, each with a description; or one line about why torch does not start."""
    found = run_json(DEVICES)
    return found if isinstance(found, str) else found["devices"]


def probe_accelerators(device: str) -> Mapping[str, tuple[str, str]] | str:
    """Test every accelerator for a device of a recipe ("auto", "cuda:1", ...).

    Returns:
        For each, the kind of device and why it does not work there, or an empty string. Or one line about why torch
        does not start.
    """
    return run_json(_ACCELERATORS.replace("{device}", device))


def run_json(code: str) -> dict[str, Any] | str:
    """Run code in a process of its own and return the JSON that it prints, or one line about its failure.

    A broken driver may crash that process, but not the doctor.
    """
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=IMPORT_TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"does not start within {IMPORT_TIMEOUT} s; reinstall torch"
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return f"does not start: {last:.200}"
    return found
