"""Systemd: units of a show for the system or for a user, and the unit of a kiosk.

What each line does is in systemd.unit(5), systemd.service(5) and systemd.exec(5).
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import lcm_daemon
from lcm_daemon.commands.service.kiosk import browser_words, find_browser
from lcm_daemon.commands.service.plan import PREFIX, ServicePlan, ServiceState, ServiceStep
from lcm_daemon.commands.service.systemd_text import (
    ANY_USER,
    MARK,
    SYSTEM_ONLY,
    escape,
    quote,
    unit_text,
    words_of,
)
from lcm_daemon.core.errors import LcmDaemonError

SYSTEM_FOLDER = Path("/etc/systemd/system")
STATE, CACHE = "/var/lib/lcm-daemon", "/var/cache/lcm-daemon"  # what StateDirectory and CacheDirectory make
RT_PRIORITY = 10  # above those of core/thread_priority
NVIDIA_MODPROBE = Path("/usr/bin/nvidia-modprobe")
STEPS_SINCE = 254  # version of systemd that knows RestartSteps
SESSION = "graphical-session.target"
_DISPLAY_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR")

class Systemd:
    """The service manager of Linux.

    Args:
        home: The user's folder; None for that of the process.
        version: That of systemd; None asks it.
        session: Whether the desktop of this user starts SESSION; None asks.
        environment: os.environ if None.
    """

    title = "systemd"

    def __init__(
        self, home: Path | None = None, version: int | None = None, session: bool | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._home, self._given_version, self._given_session = home, version, session
        self._variables = os.environ if environment is None else environment

    def problem(self) -> str:
        return "" if shutil.which("systemctl") else "this system has no systemd: --dry-run prints what it would read"

    def files(self, plan: ServicePlan) -> Mapping[Path, bytes]:
        service, screen = self.written(plan.name, plan.is_system)
        found = {service: self._unit(plan)}
        if plan.picture:
            found[screen] = self._screen(plan)
        return {path: text.encode() for path, text in found.items()}

    def written(self, name: str, is_system: bool) -> Sequence[Path]:
        config = self._variables.get("XDG_CONFIG_HOME") or (self._home or Path.home()) / ".config"
        folder = SYSTEM_FOLDER if is_system else Path(config) / "systemd" / "user"
        return folder / f"{name}.service", folder / f"{_screen_name(name)}.service"

    def show_of(self, content: bytes) -> str:
        first = content.decode(errors="replace").partition("\n")[0]
        return first.removeprefix(MARK) if first.startswith(MARK) else ""

    # --- commands ---

    def install_steps(self, plan: ServicePlan) -> Sequence[ServiceStep]:
        units = [path.name for path in self.files(plan)]
        lasting = [] if plan.is_system or self._in_session(plan) else [
            ServiceStep(("loginctl", "enable-linger", getpass.getuser()), if_fails="report")]  # start without a login
        screen = [ServiceStep((*_systemctl(plan.is_system), "--no-block", "restart", unit), if_fails="report")
                  for unit in units[1:]]  # it waits for the daemon
        return [ServiceStep((*_systemctl(plan.is_system), "daemon-reload")),
                ServiceStep((*_systemctl(plan.is_system), "enable", *units)), *lasting, *screen]

    def start_step(self, plan: ServicePlan) -> ServiceStep:
        return ServiceStep((*_systemctl(plan.is_system), "restart", f"{plan.name}.service"))

    def stop_steps(self, is_system: bool, files: Sequence[Path]) -> Sequence[ServiceStep]:
        return [ServiceStep((*_systemctl(is_system), "disable", "--now", *(path.name for path in files)))]

    def forget_steps(self, name: str, is_system: bool) -> Sequence[ServiceStep]:
        return [ServiceStep((*_systemctl(is_system), "daemon-reload"), if_fails="report"),
                ServiceStep((*_systemctl(is_system), "reset-failed", f"{name}.service"), if_fails="continue")]

    def state_words(self, name: str, is_system: bool) -> Sequence[str]:
        shown = "ActiveState,SubState,UnitFileState,NRestarts,Result,ActiveEnterTimestamp,MainPID"
        return (*_systemctl(is_system), "show", f"--property={shown}", f"{name}.service")

    def read_state(self, printed: str) -> ServiceState:
        found = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
        active = found.get("ActiveState", "unknown")
        parts = [f"{active} ({found.get('SubState', '')})", found.get("UnitFileState") or "not enabled"]
        if found.get("ActiveEnterTimestamp"):
            parts.append(f"since {found['ActiveEnterTimestamp']}")
        parts.append(f"{found.get('NRestarts') or 0} restarts")
        if found.get("Result", "success") != "success":
            parts.append(f"the last run ended with {found['Result']}")
        return ServiceState(", ".join(parts), active == "active")

    def hints(self, plan: ServicePlan) -> Sequence[str]:
        found = [f"the log: journalctl {'-' if plan.is_system else '--user '}fu {plan.name}"]
        if plan.is_system:
            settings = " ".join(f"{name}={text}" for name, text in self._places(plan).items())
            found.append(f"models: sudo -u {plan.user} env {settings} {shlex.join(plan.program)} pull {plan.show}")
            if plan.needs_display and not plan.picture:
                found.append("the sink window finds no desktop in a service of the system: install it without "
                             "--system, or use --kiosk")
        elif plan.needs_display and not self._has_session:
            found.append(f"this desktop does not start {SESSION}: the service keeps the display of this terminal")
        if not plan.is_system:
            found.append("a user's service starts before the network; the show looks for its sources until it has one")
        if self._version < STEPS_SINCE:
            found.append(f"systemd {self._version} waits 2 s before each restart; later versions wait longer after "
                         "several")
        return found

    # --- units ---

    def _unit(self, plan: ServicePlan) -> str:
        return unit_text(plan.show, self._about(plan), self._service(plan), [f"WantedBy={self._target(plan)}"])

    def _about(self, plan: ServicePlan) -> Iterator[str]:
        yield f"Description=lcm-daemon plays {escape(plan.show.stem)}"
        if plan.is_system:
            yield "Wants=network-online.target"
            yield "After=network-online.target time-sync.target avahi-daemon.service nvidia-persistenced.service"
            yield f"RequiresMountsFor={quote(str(plan.show.parent))} {quote(str(Path(plan.command[0]).parent))}"
        elif self._in_session(plan):
            yield from (f"PartOf={SESSION}", f"After={SESSION}")
        yield "# It is started again without end, however often it has ended."
        yield "StartLimitIntervalSec=0"

    def _service(self, plan: ServicePlan) -> Iterator[str]:
        yield "# The stage reports each second that pictures went out. One that hangs is ended and started again."
        yield from ("Type=notify", "WatchdogSec=15", "TimeoutStartSec=120", "TimeoutStopSec=20", "Restart=always")
        yield from self._restarts()
        yield "# The stage ends its processes in order. The kernel may end an engine that takes all memory: the stage"
        yield "# replaces it, and the service continues. An engine that crashes writes no file of many GB."
        yield from ("KillMode=mixed", "OOMPolicy=continue", "LimitCORE=0", "LimitNOFILE=65536")
        yield f"LimitRTPRIO={RT_PRIORITY}"
        yield f"ExecStart={words_of(plan.command)}"
        if plan.is_system:
            yield from (f"User={plan.user}", "OOMScoreAdjust=-500")
            if NVIDIA_MODPROBE.exists():
                yield "# Makes /dev/nvidia-uvm. It needs rights that the service does not have."
                yield f"ExecStartPre=-+{NVIDIA_MODPROBE} -c=0 -u"
            yield "# The state of the show; downloaded and compiled models."
            yield from ("StateDirectory=lcm-daemon", "StateDirectoryMode=0700", "CacheDirectory=lcm-daemon")
        yield f"WorkingDirectory={escape(str(plan.folder or (STATE if plan.is_system else '~')))}"
        kept = {**plan.environment, **self._places(plan), **self._display(plan)}
        yield from (f"Environment={quote(f'{name}={text}')}" for name, text in kept.items())
        yield from self._hardening(plan)

    def _restarts(self) -> Iterator[str]:
        if self._version < STEPS_SINCE:
            yield "RestartSec=2"
            return
        yield "# After 1 s, later after up to 15 s: systemd counts restarts until the service is stopped by hand."
        yield from ("RestartSec=1", "RestartSteps=10", "RestartMaxDelaySec=15")

    def _places(self, plan: ServicePlan) -> dict[str, str]:
        """Where a service of the system keeps models, unless the variables say so."""
        if not plan.is_system:
            return {}
        own = _home_of(plan.user) / ".cache" / "huggingface"
        models = str(own) if own.is_dir() else f"{CACHE}/models"
        places = {"LCM_DAEMON_CACHE": CACHE, "HF_HOME": models}
        return {name: plan.environment.get(name, text) for name, text in places.items()}

    def _hardening(self, plan: ServicePlan) -> Iterator[str]:
        if not plan.is_system and NVIDIA_MODPROBE.exists():
            yield "# No limits: CUDA starts nvidia-modprobe, which has the rights of root."
            return
        yield "# What the show does not need. Cameras, cards, MIDI and the network stay as they are."
        yield from ANY_USER
        if not plan.is_system:
            return
        yield from SYSTEM_ONLY
        if not plan.shares_tmp:
            yield "PrivateTmp=yes"
        folders = self._writable(plan)
        yield from ("ProtectHome=read-only", f"ReadWritePaths={_optional(folders)}")
        if programs := [each for each in self._programs() if any(map(each.is_relative_to, folders))]:
            yield f"ReadOnlyPaths={_optional(programs)}"

    def _writable(self, plan: ServicePlan) -> list[Path]:
        """The folders that a service of the system may write to."""
        places = ("LCM_DAEMON_STATE", "LCM_DAEMON_CACHE")
        return [*plan.writable, *(Path(plan.environment[name]) for name in places if name in plan.environment),
                Path(CACHE)]

    def _programs(self) -> list[Path]:
        """What the service runs. A show beside it must not change it: `service uninstall` runs it as root."""
        return list(dict.fromkeys((Path(sys.prefix), Path(lcm_daemon.__file__).resolve().parent)))

    # --- displays ---

    def _screen(self, plan: ServicePlan) -> str:
        words = [find_browser(), f"--user-data-dir=%t/{_screen_name(plan.name)}", *browser_words(plan.picture)]
        waits = f"until {shlex.join([*plan.program, 'health', '--port', _port(plan.picture)])}; do sleep 1; done"
        about = [f"Description=The picture of {escape(plan.show.stem)} on the display", "StartLimitIntervalSec=0"]
        lines = ["# The browser shows an error page, and stays there, if the daemon is not there yet.",
                 "TimeoutStartSec=infinity", f"ExecStartPre={words_of(['/bin/sh', '-c', waits])}",
                 "Restart=always", "RestartSec=2", f"RuntimeDirectory={_screen_name(plan.name)}"]
        if not plan.is_system:
            target = [f"PartOf={SESSION}", f"After={SESSION}"] if self._in_session(plan) else []
            shown = [f"Environment={quote(f'{name}={text}')}" for name, text in self._display(plan).items()]
            return unit_text(plan.show, [*about, *target], [f"ExecStart={words_of(words, raw='%t')}", *shown, *lines],
                         [f"WantedBy={self._target(plan)}"])
        cage = shutil.which("cage") or "/usr/bin/cage"
        console = [  # a session on the first console, without a desktop
            f"ExecStart={words_of([cage, '-s', '--', *words], raw='%t')}", f"User={plan.user}", "PAMName=login",
            "TTYPath=/dev/tty1", "StandardInput=tty", "UtmpIdentifier=tty1", "UtmpMode=user",
            "# The console must not go blank while no key is pressed.",
            "ExecStartPre=+/usr/bin/setterm --term linux --blank 0 --powerdown 0 --powersave off --cursor off"]
        return unit_text(plan.show, [*about, "After=systemd-user-sessions.service", "Conflicts=getty@tty1.service"],
                     [*console, *lines], ["WantedBy=multi-user.target"])

    def _target(self, plan: ServicePlan) -> str:
        if plan.is_system:
            return "multi-user.target"
        return SESSION if self._in_session(plan) else "default.target"

    def _in_session(self, plan: ServicePlan) -> bool:
        return plan.needs_display and not plan.is_system and self._has_session

    def _display(self, plan: ServicePlan) -> dict[str, str]:
        """The display of this terminal, for a service that does not start with a desktop."""
        if plan.is_system or not plan.needs_display or self._has_session:
            return {}
        return {name: self._variables[name] for name in _DISPLAY_VARIABLES if self._variables.get(name)}

    @property
    def _has_session(self) -> bool:
        if self._given_session is None:
            self._given_session = _printed("systemctl", "--user", "is-active", SESSION).strip() == "active"
        return self._given_session

    @property
    def _version(self) -> int:
        if self._given_version is None:
            found = re.match(r"systemd (\d+)", _printed("systemctl", "--version"))
            self._given_version = int(found[1]) if found else 0
        return self._given_version


def _optional(paths: Sequence[Path]) -> str:
    """A list of paths; one that is missing is ignored by systemd."""
    return " ".join(quote(f"-{path}") for path in dict.fromkeys(paths))


def _systemctl(is_system: bool) -> tuple[str, ...]:
    return ("systemctl",) if is_system else ("systemctl", "--user")


def _screen_name(name: str) -> str:
    return f"lcm-screen-{name.removeprefix(PREFIX)}"


def _port(url: str) -> str:
    return url.rpartition(":")[2].partition("/")[0]


def _home_of(user: str) -> Path:
    """The home folder of a user, which may not exist."""
    if sys.platform == "win32":
        raise LcmDaemonError("systemd is a part of Linux")
    import pwd

    try:
        return Path(pwd.getpwnam(user).pw_dir)
    except KeyError as error:
        raise LcmDaemonError(f"this machine has no user {user!r}: name another one with --user") from error


def _printed(*words: str) -> str:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(words, capture_output=True, text=True, timeout=10).stdout
    return ""
