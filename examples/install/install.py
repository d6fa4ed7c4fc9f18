"""Installs lcm-daemon for this user. Called by install.sh and install.ps1, which find a Python for it.

Uses the standard library alone: it runs before anything is installed. README.md beside this file describes the options.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cards import Choice, choose_torch
from changes import Changes, find_user, program_of
from environment import check_source, check_torch, install_packages, make_environment
from menu import add_command, add_menu_entry

CHECKOUT = Path(__file__).resolve().parents[2]
EXTRAS = ("ndi", "midi", "oscquery", "heif", "tls", "window")
MORE = {"darwin": ("syphon",), "win32": ("spout", "openvino"), "linux": ("openvino",)}

SERVICE = "lcm-daemon-*.*"  # the files of `lcm-daemon service install`
SYSTEM_SERVICES = (Path("/etc/systemd/system"), Path("/Library/LaunchDaemons"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Install, update or remove. Raises SystemExit with a text if something is missing."""
    options = parse(arguments)
    find_user()
    changes, environment = Changes(options.dir, options.dry_run), options.dir / "venv"
    if options.uninstall:
        return uninstall(changes)
    check_source(options.source)
    choice = choose_torch()
    backend, torch = read_torch(options.torch, choice.backend)
    print(f"graphics card: {choice.found}")
    print(f"torch:         {describe(backend, torch)}" + ("" if options.torch else f": {choice.reason}"))
    print(f"Python:        {sys.version.split()[0]}, {sys.executable}\nfolder:        {options.dir}")
    print("\nThe environment")
    make_environment(changes, environment, backend)
    print("\nThe packages")
    extras = options.extras or ",".join(default_extras(choice))
    install_packages(changes, environment, options.source, extras, backend, torch)
    check_torch(changes, environment, backend)
    print("\nThe command and the menu entry")
    command = add_command(changes, environment)
    add_menu_entry(changes, environment)
    return finish(changes, environment, command, options.run)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="install", description="Install lcm-daemon for this user.")
    add = parser.add_argument
    add("--dry-run", action="store_true", help="print every command and file, and change nothing")
    add("--uninstall", action="store_true", help="remove what the installer made; shows, looks and models stay")
    add("--run", action="store_true", help="play the demo afterwards")
    add("--yes", action="store_true", help="install what the system lacks without a question")
    add("--torch", metavar="WHAT", help="a build, such as cpu, cu126 or rocm7.2; a version, such as torch==2.13.0, of "
        "the usual index; or a wheel")
    add("--extras", metavar="LIST", help="optional parts, such as ndi,openvino")
    add("--source", default=str(CHECKOUT), metavar="WHAT", help="a checkout or a wheel (this checkout)")
    add("--dir", type=Path, default=default_folder(), metavar="FOLDER", help="where the environment lies")
    options = parser.parse_args(arguments)
    options.dir = options.dir.expanduser().absolute()
    return options


def default_folder() -> Path:
    """The folder of lcm-daemon among this user's programs."""
    if sys.platform == "win32":
        return Path(os.environ["LOCALAPPDATA"], "Programs", "lcm-daemon")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share", "lcm-daemon")


def default_extras(choice: Choice) -> tuple[str, ...]:
    return (*EXTRAS, *MORE.get(sys.platform, ()), *(("gpu",) if choice.backend.startswith("cu") else ()))


def read_torch(given: str | None, chosen: str) -> tuple[str, str]:
    """The build of torch (empty: that of the usual index) and its requirement, from --torch or from the card."""
    if given is None:
        return chosen, "torch"
    if given.endswith(".whl"):
        return "", str(Path(given).expanduser().absolute())
    return ("", given) if given.startswith("torch") else (given, "torch")


def describe(backend: str, torch: str) -> str:
    if torch != "torch":
        return torch
    if backend.startswith("cu"):
        return f"for CUDA {backend[2:-1]}.{backend[-1]}"
    return {"": "the usual build", "cpu": "for the CPU"}.get(backend, backend)


def uninstall(changes: Changes) -> None:
    """Remove what was made. Raises SystemExit if a service still plays with it."""
    if services := sorted(unit.name for unit in find_services(changes.folder)):
        raise SystemExit(f"These services play with this installation: {', '.join(services)}. Remove them first: "
                         "lcm-daemon service uninstall SHOW, with --system for one of the system")
    changes.remove_all()
    print("Nothing was changed." if changes.dry else
          "Shows, looks, downloaded models and the state of shows stay where they are.")


def find_services(folder: Path) -> Iterator[Path]:
    """The services of this user, and those of the system that start a program in this folder."""
    units = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "systemd", "user")
    yield from units.glob(SERVICE)
    yield from Path.home().joinpath("Library", "LaunchAgents").glob(SERVICE)
    for place in SYSTEM_SERVICES:
        for unit in place.glob(SERVICE):
            with contextlib.suppress(OSError):
                if str(folder) in unit.read_text("utf-8", errors="replace"):
                    yield unit


def finish(changes: Changes, environment: Path, command: str, plays: bool) -> None:
    """Say how to play, or play."""
    if changes.dry:
        print("\nNothing was changed.")
        return
    print(f"\nlcm-daemon is installed. It plays the demo with:\n\n  {command} run --open\n\n"
          f"What works on this machine:  {command} doctor", flush=True)
    if not plays:
        return
    words = [str(program_of(environment, "lcm-daemon")), "run", "--open"]
    if sys.platform == "win32":  # there, exec would leave the terminal to two programs
        raise SystemExit(subprocess.run(words).returncode)
    os.execv(words[0], words)


if __name__ == "__main__":
    try:
        main()
    except OSError as problem:
        place = f"{problem.filename}: " if problem.filename else ""
        raise SystemExit(f"\nStopped: {place}{problem.strerror}.") from None
    except KeyboardInterrupt:
        raise SystemExit("\nInterrupted. Run the installer again to go on, or with --uninstall to remove what it has "
                         "made.") from None
