"""The command `lcm-daemon` for terminals, and the entry in the menu of programs, by system."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from changes import Changes, program_of, quoted

ICON = Path("lcm_daemon", "controllers", "panel", "page", "icon.svg")
COMMENT = "Play the demo and open its page"
SHORTCUT = ("$link = (New-Object -ComObject WScript.Shell).CreateShortcut($env:LCM_LINK); "
            "$link.TargetPath = $env:LCM_PROGRAM; $link.Arguments = 'run --open'; "
            f"$link.Description = '{COMMENT}'; $link.Save()")


def add_command(changes: Changes, environment: Path) -> str:
    """Make `lcm-daemon` a command of the terminal. Returns what to type: its name, or a path that is not on PATH."""
    program = program_of(environment, "lcm-daemon")
    if sys.platform == "win32":  # this folder is on the PATH of every user
        path = Path(os.environ["LOCALAPPDATA"], "Microsoft", "WindowsApps", "lcm-daemon.cmd")
        written = changes.write(path, f'@"{program}" %*\r\n')
    else:
        path = Path.home() / ".local" / "bin" / "lcm-daemon"
        written = changes.write(path, f'#!/bin/sh\nexec {shlex.quote(str(program))} "$@"\n', 0o755)
    if not written:
        return shlex.join([str(program)])
    folders = os.environ.get("PATH", "").split(os.pathsep)
    if str(path.parent) in folders:
        return "lcm-daemon"
    print(f"  {path.parent} is not on your PATH; many systems add it at the next login")
    return str(path)


def add_menu_entry(changes: Changes, environment: Path) -> None:
    """Add an entry that plays the demo in a terminal and opens its page."""
    program = program_of(environment, "lcm-daemon")
    if sys.platform == "win32":
        _add_shortcut(changes, program)
    elif sys.platform == "darwin":
        changes.write(Path.home() / "Applications" / "lcm-daemon.command",
                      f"#!/bin/sh\nexec {shlex.quote(str(program))} run --open\n", 0o755)
    else:
        icon = next(environment.glob(f"lib/python3*/site-packages/{ICON}"), "")
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        changes.write(data / "applications" / "lcm-daemon.desktop", "\n".join([
            "[Desktop Entry]", "Type=Application", "Name=lcm-daemon", f"Comment={COMMENT}", f"Icon={icon}",
            f"Exec={quoted([program])} run --open", "Terminal=true", "Categories=AudioVideo;Video;", ""]))


def _add_shortcut(changes: Changes, program: Path) -> None:
    link = Path(os.environ["APPDATA"], "Microsoft", "Windows", "Start Menu", "Programs", "lcm-daemon.lnk")
    powershell = shutil.which("powershell") or shutil.which("pwsh")
    print(f"  writes {link}")
    if changes.dry or powershell is None:
        return
    changes.note(link)
    subprocess.run([powershell, "-NoProfile", "-Command", SHORTCUT],
                   env={**os.environ, "LCM_LINK": str(link), "LCM_PROGRAM": str(program)})
