"""The text of a crash report, and what it is made of. All of it may take time: it runs on a thread."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from lcm_daemon import __version__
from lcm_daemon.core.redaction import Redaction, without_quotations
from lcm_daemon.core.regular_file import open_regular
from lcm_daemon.processes.log_file import numbered

LINES = 200  # of the process, at most
LINES_AROUND = 50  # of the other processes
PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy", "openvino",
            "torch-tensorrt", "ray", "av", "ndi-python", "uvicorn", "python-osc", "python-rtmidi",
            "supriya-midi")
_DRIVER = Path("/proc/driver/nvidia/version")
_ENGINE = "engine"


@dataclass(frozen=True)
class Crash:
    """What the stage knows of the end of a process.

    Attributes:
        kind: "engine", "desk", "audience".
        pid: Its process id.
        facts: Name and value of each line of the report's head, without versions.
        private: Texts that must not be in the report; None if all may be.
    """

    kind: str
    pid: int
    facts: Mapping[str, str]
    private: Sequence[str] | None = ()


def compose(crash: Crash, recent: Path, stacks: str) -> str:
    """The report.

    Args:
        recent: The daemon's file of recent lines.
        stacks: Of its threads at a fatal signal; "" for none.
    """
    redaction = Redaction(crash.private or ())
    hides_quotes = crash.private is not None
    facts = dict(crash.facts)
    if hides_quotes and crash.kind != _ENGINE and "text" in facts:
        facts["text"] = without_quotations(facts["text"])
    head = {**facts, **_system()}
    lines = list(read_recent(recent))
    own = [line for line in lines if line.get("pid") == crash.pid][-LINES:]
    others = [line for line in lines if line.get("pid") != crash.pid][-LINES_AROUND:]
    parts = [
        f"lcm-daemon {__version__}: report of a process that has failed\n",
        *(f"{name:18} {redaction.apply(value)}" for name, value in head.items()),
        *(["", "--- stacks of its threads ---", "", stacks] if stacks else []),
        "", f"--- its last {len(own)} log lines ---", "", *_shown(own, redaction, hides_quotes),
        "", f"--- the last {len(others)} of the other processes ---", "", *_shown(others, redaction, hides_quotes)]
    return "\n".join(parts) + "\n"


def read_recent(path: Path) -> Iterator[dict[str, Any]]:
    """The recent log lines of a daemon, oldest first; without what is damaged or missing."""
    for file in (numbered(path, 1), path):
        with contextlib.suppress(OSError), open_regular(file) as opened:
            for line in opened.read().decode("utf-8", "replace").split("\n"):  # texts may have other ends of lines
                with contextlib.suppress(ValueError, RecursionError):
                    if isinstance(found := json.loads(line), dict):
                        yield found


def _shown(lines: Iterable[Mapping[str, Any]], redaction: Redaction, hides_quotes: bool) -> Iterator[str]:
    """Lines as text. What other processes than engines quote was sent to them, and is hidden."""
    for line in lines:
        message, process = str(line.get("message", "")), str(line.get("process", ""))
        more = [str(line[key]) for key in ("traceback", "stack") if key in line]
        if hides_quotes and process != _ENGINE:
            message, more = without_quotations(message), [*map(_without_quotes_of_errors, more)]
        text = (f"{line.get('time', '')} {str(line.get('level', ''))[:1].upper()} {process} {line.get('pid', '')} "
                f"{line.get('logger', '')}: {message}")
        yield redaction.apply("\n".join([text, *more]))


def _without_quotes_of_errors(traceback: str) -> str:
    """A traceback whose errors quote nothing. Its lines of code are indented, and stay."""
    return "\n".join(line if line.startswith(" ") else without_quotations(line) for line in traceback.split("\n"))


def _system() -> dict[str, str]:
    """Versions, the computer and its load."""
    found = {"versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
             "system": f"{platform.platform()}, {os.cpu_count()} processors"}
    with contextlib.suppress(OSError):
        found["driver"] = _DRIVER.read_text("utf-8", "replace").splitlines()[0]
    memory = psutil.virtual_memory()
    found["memory"] = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    if sys.platform != "win32":
        found["load"] = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return found


def _versions() -> Iterator[str]:
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"
