"""Launchd: agents of a logged-in user and daemons of the system, on macOS. The keys are in launchd.plist(5)."""

from __future__ import annotations

import os
import plistlib
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lcm_daemon.commands.service.kiosk import browser_words, find_browser
from lcm_daemon.commands.service.plan import PREFIX, ServicePlan, ServiceState, ServiceStep

SYSTEM_FOLDER = Path("/Library/LaunchDaemons")
DESCRIPTORS = 8192  # launchd gives 256
THROTTLE = 2  # seconds between two starts; without the key they are 10
_MARK = "LCM_DAEMON_SERVICE"  # a variable that names the show


class Launchd:
    """The service manager of macOS.

    Args:
        home: The user's folder; None for that of the process.
        uid: The user's number; None for that of the process.
    """

    title = "launchd"

    def __init__(self, home: Path | None = None, uid: int | None = None) -> None:
        self._home = home or Path.home()
        self._uid = uid if uid is not None else getattr(os, "getuid", lambda: 0)()

    def problem(self) -> str:
        return "" if shutil.which("launchctl") else "this system has no launchctl"

    def files(self, plan: ServicePlan) -> Mapping[Path, bytes]:
        service, screen = self.written(plan.name, plan.is_system)
        found = {service: self._service(plan)}
        if plan.picture:
            words = [find_browser("darwin"), *browser_words(plan.picture)]
            found[screen] = {"Label": screen.stem, "ProgramArguments": words, "RunAtLoad": True, "KeepAlive": True,
                             "ProcessType": "Interactive", "LimitLoadToSessionType": "Aqua",
                             "EnvironmentVariables": {_MARK: str(plan.show)}}
        return {path: plistlib.dumps(content, sort_keys=False) for path, content in found.items()}

    def _service(self, plan: ServicePlan) -> dict[str, Any]:
        folder = plan.folder or self._home
        limits = {"NumberOfFiles": DESCRIPTORS}
        common = {
            "Label": plan.name, "ProgramArguments": list(plan.command), "WorkingDirectory": str(folder),
            "EnvironmentVariables": {**plan.environment, _MARK: str(plan.show)}, "RunAtLoad": True, "KeepAlive": True,
            "ThrottleInterval": THROTTLE, "ExitTimeOut": 20, "ProcessType": "Interactive",
            "SoftResourceLimits": {**limits, "Core": 0}, "HardResourceLimits": limits,
            "StandardOutPath": str(self._log(plan)), "StandardErrorPath": str(self._log(plan))}
        return common | ({"UserName": plan.user} if plan.is_system else {"LimitLoadToSessionType": "Aqua"})

    def _log(self, plan: ServicePlan) -> Path:
        return (Path("/Library/Logs") if plan.is_system else self._home / "Library" / "Logs") / f"{plan.name}.log"

    def written(self, name: str, is_system: bool) -> Sequence[Path]:
        agents = self._home / "Library" / "LaunchAgents"  # a browser needs a logged-in user
        screen = agents / f"lcm-screen-{name.removeprefix(PREFIX)}.plist"
        return (SYSTEM_FOLDER if is_system else agents) / f"{name}.plist", screen

    def show_of(self, content: bytes) -> str:
        try:
            return str(plistlib.loads(content)["EnvironmentVariables"][_MARK])
        except (ValueError, KeyError, TypeError, plistlib.InvalidFileException):
            return ""

    def install_steps(self, plan: ServicePlan) -> Sequence[ServiceStep]:
        paths = self.files(plan)
        return [ServiceStep(("launchctl", "bootout", self._target(path)), if_fails="continue") for path in paths] + [
            ServiceStep(("launchctl", "bootstrap", self._domain(path), str(path))) for path in paths]

    def start_step(self, plan: ServicePlan) -> ServiceStep:
        return ServiceStep(("launchctl", "kickstart", self._target(self.written(plan.name, plan.is_system)[0])))

    def stop_steps(self, is_system: bool, files: Sequence[Path]) -> Sequence[ServiceStep]:
        return [ServiceStep(("launchctl", "bootout", self._target(path)), if_fails="continue") for path in files]

    def forget_steps(self, name: str, is_system: bool) -> Sequence[ServiceStep]:
        return []

    def state_words(self, name: str, is_system: bool) -> Sequence[str]:
        return ("launchctl", "print", self._target(self.written(name, is_system)[0]))

    def read_state(self, printed: str) -> ServiceState:
        found = dict(re.findall(r"^\t([a-z ]+) = (.*)$", printed, re.MULTILINE))
        state = found.get("state", "not loaded")
        runs = f", {found['runs']} starts" if "runs" in found else ""
        last = found.get("last exit code", "(never exited)")
        return ServiceState(f"{state}{runs}{'' if 'never' in last else f', the last run ended with {last}'}",
                            state == "running")

    def hints(self, plan: ServicePlan) -> Sequence[str]:
        found = [f"the log: {self._log(plan)}"]
        if plan.is_system:
            return [*found, "Syphon, cameras and windows need a logged-in user: for these, install it without --system"]
        return [*found, "switch on automatic login and switch sleep off; start the show once by hand: macOS asks for "
                "access to the camera and to the local network"]

    def _domain(self, path: Path) -> str:
        return "system" if path.parent == SYSTEM_FOLDER else f"gui/{self._uid}"

    def _target(self, path: Path) -> str:
        return f"{self._domain(path)}/{path.stem}"
