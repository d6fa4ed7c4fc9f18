"""ServicePlan: what a service starts and needs, read from a show. One of the service managers makes files of it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from lcm_daemon.core.document import path_exists
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.shows.library import is_packaged
from lcm_daemon.shows.reader import ENVIRONMENT_PREFIX, load_show
from lcm_daemon.shows.show import Show
from lcm_daemon.web.address import browser_url

PREFIX = "lcm-daemon-"
KEPT_VARIABLES = frozenset((  # where models, state and libraries are; what the show sees of cards and clocks
    "HF_HOME", "HF_HUB_CACHE", "LCM_DAEMON_CACHE", "LCM_DAEMON_STATE", "XDG_CACHE_HOME", "XDG_STATE_HOME",
    "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "NDI_CONFIG_DIR", "NDI_RUNTIME_DIR_V5", "NDI_RUNTIME_DIR_V6",
    "OMP_NUM_THREADS", "SDL_VIDEODRIVER", "TZ",
))
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class ServicePlan:
    """What is installed.

    Attributes:
        name: Name of the service: "lcm-daemon-mirror".
        show: Absolute path of the show.
        command: The words that start it; the show follows `run`.
        folder: Where it starts, an absolute path; None for that of the state, as of a show that comes with the package.
        writable: Folders beside those of state and cache that it writes to: looks, recordings, visitors'
            pictures, the log.
        environment: Variables that it starts with.
        is_system: Whether it starts with the machine, before a user has logged in.
        user: The user that it runs as; "" for the one who installs it.
        needs_display: Whether it opens a window, itself or in a browser.
        shares_tmp: Whether it meets other programs in /tmp: a display's server, a Ray cluster.
        picture: Address of the page `/output`, for a browser on this machine; "" without a kiosk.
    """

    name: str
    show: Path
    command: tuple[str, ...]
    folder: Path | None
    writable: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    is_system: bool = False
    user: str = ""
    needs_display: bool = False
    shares_tmp: bool = False
    picture: str = ""

    @property
    def program(self) -> tuple[str, ...]:
        """The words that start lcm-daemon, without a command of it."""
        return self.command[:self.command.index("run")]


@dataclass(frozen=True)
class ServiceStep:
    """A command of the system. if_fails: Undo the installation, report it and continue, or only continue."""

    words: tuple[str, ...]
    if_fails: Literal["undo", "report", "continue"] = "undo"


@dataclass(frozen=True)
class ServiceState:
    """What the system says of an installed service: `text` for people, and whether it runs."""

    text: str
    runs: bool


class ServiceManager(Protocol):
    """The part of a system that starts services. All paths are absolute."""

    title: str

    def problem(self) -> str:
        """Why services cannot be installed here; "" if they can."""

    def files(self, plan: ServicePlan) -> Mapping[Path, bytes]:
        """What to write. The first one is the show's service."""

    def written(self, name: str, is_system: bool) -> Sequence[Path]:
        """The files that `files` makes for a service of this name, whether they exist or not."""

    def show_of(self, content: bytes) -> str:
        """The show of a service's file; "" if the file is not one that `files` made."""

    def install_steps(self, plan: ServicePlan) -> Sequence[ServiceStep]:
        """What to run once the files are there, except for the start."""

    def start_step(self, plan: ServicePlan) -> ServiceStep:
        """What starts the service, or starts it again, with the new files."""

    def stop_steps(self, is_system: bool, files: Sequence[Path]) -> Sequence[ServiceStep]:
        """What to run before the files are removed. files: Those of `written` that exist."""

    def forget_steps(self, name: str, is_system: bool) -> Sequence[ServiceStep]:
        """What to run after that."""

    def state_words(self, name: str, is_system: bool) -> Sequence[str]:
        """The command that prints the state."""

    def read_state(self, printed: str) -> ServiceState:
        """What that command has printed, read."""

    def hints(self, plan: ServicePlan) -> Sequence[str]:
        """What the user should know or do, a line each."""


def service_name(show: str, name: str = "") -> str:
    """Name of the service of a show file, or of the show of a package. name: Used in place of the file's."""
    cleaned = _NOT_IN_NAMES.sub("-", name or Path(show).stem).strip("-.")
    if not cleaned:
        raise LcmDaemonError(f"{name or Path(show).stem!r}: a service's name needs a letter or digit of ASCII; set "
                             "one with --name")
    return cleaned if cleaned.startswith(PREFIX) else PREFIX + cleaned


def make_plan(
    name: str, overrides: Sequence[str] = (), is_system: bool = False, user: str = "", kiosk: bool = False,
    service: str = "", environment: Mapping[str, str] | None = None,
) -> ServicePlan:
    """Read a show and plan its service.

    Args:
        name: The show's file, or the name of a show that comes with the package.
        overrides: Values that replace those of the show, as of `run --set`.
        is_system: As of `ServicePlan`.
        user: As of `ServicePlan`.
        kiosk: Fill the display with the page `/output`, in a browser.
        service: Name of the service in place of the file's.
        environment: os.environ if None.

    Raises:
        LcmDaemonError: The show has mistakes, or its path cannot be written into a service's file.
    """
    variables = kept_variables(os.environ if environment is None else environment)
    show = load_show(name, overrides, environment)
    file = Path(show.file).resolve()
    words = [word for override in overrides for word in ("--set", override)]
    window = any(sink.transport == "window" for sink in show.sinks)
    plan = ServicePlan(
        name=service_name(str(file), service), show=file, command=(*_program(), "run", str(file), *words),
        folder=None if is_packaged(file) else file.parent, writable=tuple(_written_folders(show, file)),
        environment=variables, is_system=is_system, user=user, needs_display=window or kiosk,
        shares_tmp=window or any(group.ray for group in show.engines), picture=_picture(show) if kiosk else "")
    for text in (*plan.command, *map(str, plan.writable), *variables.values()):
        if _CONTROL.search(text):
            raise LcmDaemonError(f"{text!r:.80} has a line break or another control character, which a service's file "
                                 "cannot hold")
    return plan


def kept_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a service keeps of those with which it is installed."""
    return {name: text for name, text in sorted(environment.items())
            if text and (name in KEPT_VARIABLES or name.startswith(ENVIRONMENT_PREFIX))}


def _program() -> list[str]:
    """What starts lcm-daemon with this Python."""
    script = Path(sys.executable).with_name("lcm-daemon.exe" if os.name == "nt" else "lcm-daemon")
    if path_exists(script):
        return [str(script)]
    return [sys.executable, "-P", "-m", "lcm_daemon"]  # -P: no module of the folder that it starts in


def _written_folders(show: Show, file: Path) -> list[Path]:
    """The folders of looks, recordings, visitors' pictures and the log. A show that comes with the package has them in
    the state's."""
    if is_packaged(file):
        return []
    found = [file.parent, *([Path(show.unattended.log.file).parent] if show.unattended.log.file else [])]
    if show.audience is not None and show.audience.keep:
        found.append(Path(show.audience.keep))
    for sink in show.sinks:
        if sink.transport == "record":
            parts = Path(str(sink.options["path"])).absolute().parent.parts
            fixed = [part for index, part in enumerate(parts) if not any("{" in before for before in parts[:index + 1])]
            found.append(Path(*fixed))
    return list(dict.fromkeys(path for path in found if not any(other in path.parents for other in found)))


def _picture(show: Show) -> str:
    panel = show.controllers["panel"]
    if panel is None or not panel["port"]:
        raise LcmDaemonError(f"{show.file}: --kiosk shows the page /output, and the page (panel) is off or on any port")
    if show.network.access.pin and show.network.access.local_pin:
        raise LcmDaemonError(f"{show.file}: network.access.local_pin makes the browser of --kiosk ask for the pin")
    return f"{browser_url(panel['host'], panel['port'], show.network.tls is not None)}/output"
