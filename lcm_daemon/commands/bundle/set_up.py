"""The environment of an unpacked bundle: its packages, what starts its show, and the check of it.

A bundle holds a copy of this module: it imports the standard library and `core.errors` alone.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from lcm_daemon.commands.bundle.manifest import MODELS, WHEELS
from lcm_daemon.core.errors import LcmDaemonError

ENVIRONMENT = "venv"  # the folder of the packages
_STARTER = "run.bat" if os.name == "nt" else "run"
_MOST_LINES = 12  # of a program that failed
# Python runs this line at each start: every program of the environment, services too, finds the models that came with
# the bundle, and asks the hub for none (https://docs.python.org/3/library/site.html).
_MODELS_LINE = ("import os, sys; os.environ.setdefault('HF_HUB_CACHE', os.path.join(os.path.dirname(sys.prefix), "
                f"{MODELS!r})); os.environ.setdefault('HF_HUB_OFFLINE', '1')\n")


def install(folder: Path) -> None:
    """Make the environment of an unpacked bundle and install its packages, without a network.

    pip is run from its own wheel, which is one of the bundle's: Python may come without pip and ensurepip.

    Raises:
        LcmDaemonError: A program fails; the text has its last lines.
    """
    wheels = sorted((folder / WHEELS).glob("*.whl"))
    pip = next((wheel for wheel in wheels if wheel.name.startswith("pip-")), None)
    if pip is None:
        raise LcmDaemonError("it is not complete: pip is missing")
    environment = folder / ENVIRONMENT
    print(f"{len(wheels) - 1} packages are installed in {environment}", flush=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(environment)])
    _run([str(_python(folder)), str(pip / "pip"), "install", "--no-index", "--no-deps", "--no-cache-dir",
          "--disable-pip-version-check", "--quiet", *(str(wheel) for wheel in wheels if wheel != pip)])
    base = {"base": str(environment), "platbase": str(environment)}
    site = Path(sysconfig.get_path("purelib", "venv", base))
    (site / "lcm_daemon_bundle.pth").write_text(_MODELS_LINE, "utf-8")
    shutil.rmtree(folder / WHEELS)


def write_starter(folder: Path, show: str) -> None:
    """Write the program that starts the show, also after the folder was moved.

    show: Path of the show in the folder.
    """
    starter = folder / _STARTER
    if os.name == "nt":
        place = show.replace("/", "\\").replace("%", "%%")
        starter.write_text(f'@chcp 65001 >nul\n@"%~dp0{ENVIRONMENT}\\Scripts\\python.exe" -P -m lcm_daemon run '
                           f'"%~dp0{place}" %*\n', "utf-8")
        return
    starter.write_text('#!/bin/sh\nhere=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)\n'
                       f'exec "$here/{ENVIRONMENT}/bin/python" -P -m lcm_daemon run "$here"/{shlex.quote(show)} "$@"\n',
                       "utf-8")
    starter.chmod(0o755)


def check_show(folder: Path, show: str) -> int:
    """Let the installed lcm-daemon check the show, and print what starts it. Returns the exit code: 1 for mistakes."""
    file = folder.joinpath(*show.split("/"))
    print(flush=True)
    done = subprocess.run([str(_python(folder)), "-P", "-m", "lcm_daemon", "check", str(file)], check=False)
    program = str(_python(folder).with_name("lcm-daemon"))
    print(f"\nplay it:             {_line(str(folder / _STARTER))}\n"
          f"check this machine:  {_line(program, 'doctor', str(file))}\n"
          f"start with it:       {_line(program, 'service', 'install', str(file))}", flush=True)
    return min(done.returncode, 1)


def _line(*words: str) -> str:
    """A command as it is typed into a terminal."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _python(folder: Path) -> Path:
    """The Python of the environment."""
    return folder / ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: Sequence[str]) -> None:
    """Run a program without the settings of this machine's pip and Python. Raises LcmDaemonError if it fails."""
    plain = {name: text for name, text in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    done = subprocess.run(command, env={**plain, "PIP_CONFIG_FILE": os.devnull}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        raise LcmDaemonError("\n".join([f"{Path(command[0]).name} has failed:", *lines[-_MOST_LINES:]]))
