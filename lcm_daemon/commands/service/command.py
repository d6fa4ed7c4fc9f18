"""`lcm-daemon service install|status|uninstall SHOW`: one installer for the service managers of all systems."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lcm_daemon.commands.output import PrintLine, print_line
from lcm_daemon.commands.service.plan import ServiceManager, ServicePlan, ServiceStep, make_plan, service_name
from lcm_daemon.commands.service.reach import blocked
from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.shows.library import find_show

RUN_SECONDS = 180.0  # a start may wait for the show to open

Run = Callable[[Sequence[str]], tuple[int, str]]  # run a command: its exit code, and what it has printed


def service(options: argparse.Namespace) -> int:
    """Do what the command line asks for. Returns the exit code.

    Raises:
        LcmDaemonError: The show has mistakes, or the service cannot be installed or removed.
    """
    services = Services(this_systems_manager(), run_command, is_administrator(), options.dry_run)
    if options.action == "status":
        return services.status(options.show, options.system, options.name)
    if options.action == "uninstall":
        return services.uninstall(options.show, options.system, options.name)
    user = (options.user or default_user(find_show(options.show))) if options.system else ""
    plan = make_plan(options.show, options.overrides, options.system, user, options.kiosk, options.name)
    return services.install(plan)


def this_systems_manager() -> ServiceManager:
    """The service manager of this system."""
    if sys.platform == "darwin":
        from lcm_daemon.commands.service.launchd import Launchd

        return Launchd()
    if sys.platform == "win32":
        from lcm_daemon.commands.service.task_scheduler import TaskScheduler

        return TaskScheduler()
    from lcm_daemon.commands.service.systemd import Systemd

    return Systemd()


def default_user(show: Path, environment: Mapping[str, str] | None = None) -> str:
    """The user that a service of the system runs as: the one who called sudo, or the owner of the show.

    Raises:
        LcmDaemonError: It would be root.
    """
    if sys.platform == "win32":
        return ""
    given = (os.environ if environment is None else environment).get("SUDO_USER", "root")
    with contextlib.suppress(OSError, KeyError):
        found = given if given != "root" else show.owner()
        if found != "root":
            return found
    raise LcmDaemonError("the show would run as root: name the user that it runs as with --user")


def is_administrator() -> bool:
    """Whether this process may change services of the system; on Windows the system itself says so."""
    return sys.platform == "win32" or os.geteuid() == 0


def run_command(words: Sequence[str]) -> tuple[int, str]:
    """Run a command of the system; as `Run`."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=RUN_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, f"{done.stdout}{done.stderr}".strip()


@dataclass(frozen=True)
class Services:
    """Installs, removes, and looks after services.

    Attributes:
        manager: That of this system.
        run: Runs a command.
        is_administrator: Whether services of the system can be changed.
        dry_run: Print what would be done, and change nothing.
        print_line: Receives the output.
    """

    manager: ServiceManager
    run: Run
    is_administrator: bool
    dry_run: bool = False
    print_line: PrintLine = print_line

    def install(self, plan: ServicePlan) -> int:
        """Write the files of a service and start it. Returns 0 if it plays, 1 if its start has failed.

        Raises:
            LcmDaemonError: It cannot be installed; everything is as it was.
        """
        files = self.manager.files(plan)
        steps, start = self.manager.install_steps(plan), self.manager.start_step(plan)
        if self.dry_run:
            self._describe(files, [*steps, start])
            return 0
        self._check(plan.is_system)
        for path in self.manager.written(plan.name, plan.is_system):
            self._check_owner(path, str(plan.show))
        self._make_folders(plan)
        self._remove([path for path in self.manager.written(plan.name, plan.is_system)
                      if path.exists() and path not in files], plan.is_system)  # an earlier kiosk
        self._write(files, steps)
        for path in files:
            self.print_line(f"{path.stem}: installed in {path}")
        code, printed = self.run(start.words)
        for hint in (*blocked(plan.user, (Path(sys.executable), plan.show)), *self.manager.hints(plan)):
            self.print_line(f"  {hint}")
        if code:
            self.print_line(f"{plan.name}: the start has failed, and is tried again: {_last_line(printed)}")
            return 1
        self.print_line(f"{plan.name}: started; it will start with the machine")
        return 0

    def status(self, show: str, is_system: bool, name: str = "") -> int:
        """Print whether a service is installed and runs. Returns 0 if it runs, else 1."""
        name = service_name(show, name)
        places = {system: self.manager.written(name, system)[0] for system in (is_system, not is_system)}
        installed = [system for system, path in places.items() if path.exists()]
        if not installed:
            self.print_line(f"{name}: not installed; {' and '.join(map(str, places.values()))} do not exist")
            return 1
        is_system, path = installed[0], places[installed[0]]
        played = self.manager.show_of(_read(path) or b"")
        code, printed = self.run(self.manager.state_words(name, is_system))
        state = self.manager.read_state(printed)
        self.print_line(f"{name}: {state.text}\n  file     {path}\n  show     {played or 'written by hand'}")
        if played and not Path(played).is_file():
            self.print_line("  the show's file does not exist")
        if code:
            self.print_line(f"  {self.manager.title}: {_last_line(printed)}")
        return 0 if state.runs else 1

    def uninstall(self, show: str, is_system: bool, name: str = "") -> int:
        """End a service and remove its files. Returns 0; 1 if there is none.

        Raises:
            LcmDaemonError: It is not of this show, or cannot be removed.
        """
        name = service_name(show, name)
        paths = [path for path in self.manager.written(name, is_system) if path.exists()]
        if not paths:
            self.print_line(f"{name}: not installed")
            return 1
        before, after = self.manager.stop_steps(is_system, paths), self.manager.forget_steps(name, is_system)
        if self.dry_run:
            self._print_steps(before)
            for path in paths:
                self.print_line(f"remove {path}")
            self._print_steps(after)
            return 0
        self._check(is_system)
        for path in paths:
            self._check_owner(path)
        self._remove(paths, is_system)
        self._run_all(after)
        self.print_line(f"{name}: ended and removed; the show's files, its state and its models are as they were")
        return 0

    # --- parts of these ---

    def _check(self, is_system: bool) -> None:
        if problem := self.manager.problem():
            raise LcmDaemonError(problem)
        if is_system and not self.is_administrator:
            raise LcmDaemonError("--system needs the rights of an administrator: run it with sudo")
        if not is_system and "SUDO_USER" in os.environ and self.is_administrator:
            raise LcmDaemonError("under sudo this would be a service of root: run it without sudo, or with --system")

    def _check_owner(self, path: Path, show: str = "") -> None:
        """Refuse to replace or remove a file that `service install` did not write, or wrote for another show."""
        content = _read(path)
        if content is None:
            return
        found = self.manager.show_of(content)
        if not found:
            raise LcmDaemonError(f"{path}: it was not written by lcm-daemon service install; it is left as it is")
        if show and found != show:
            raise LcmDaemonError(f"{path}: it is the service of {found}; give this show another one with --name")

    def _remove(self, paths: Sequence[Path], is_system: bool) -> None:
        if paths:
            self._run_all(self.manager.stop_steps(is_system, paths))
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise LcmDaemonError(f"{path}: cannot be removed: {error.strerror}") from error

    def _make_folders(self, plan: ServicePlan) -> None:
        """Make the folders that the show writes to and that do not exist, for the user that it runs as."""
        for folder in plan.writable:
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if plan.is_system and plan.user and sys.platform != "win32":
                    import shutil

                    for path in missing:
                        shutil.chown(path, plan.user)
            except (OSError, LookupError) as error:
                raise LcmDaemonError(f"{folder}: the show writes there, and it cannot be made: {error}") from error

    def _write(self, files: Mapping[Path, bytes], steps: Sequence[ServiceStep]) -> None:
        """Write the files and run the steps, or leave the files as they were."""
        before = {path: _read(path) for path in files}
        try:
            for path, content in files.items():
                write_atomically(path, content)
            self._run_all(steps)
        except (OSError, LcmDaemonError) as error:
            for path, earlier in before.items():
                with contextlib.suppress(OSError):
                    if earlier is None:
                        path.unlink(missing_ok=True)
                    else:
                        write_atomically(path, earlier)
            raise LcmDaemonError(f"the service cannot be installed: {error}") from error

    def _run_all(self, steps: Sequence[ServiceStep]) -> None:
        for step in steps:
            code, printed = self.run(step.words)
            if code and step.if_fails != "continue":
                text = f"{shlex.join(step.words)}: {_last_line(printed) or f'exit code {code}'}"
                if step.if_fails == "undo":
                    raise LcmDaemonError(text)
                self.print_line(f"  {text}")

    def _describe(self, files: Mapping[Path, bytes], steps: Sequence[ServiceStep]) -> None:
        for path, content in files.items():
            encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
            self.print_line(f"--- {path}\n{content.decode(encoding)}")
        self._print_steps(steps)

    def _print_steps(self, steps: Sequence[ServiceStep]) -> None:
        for step in steps:
            self.print_line(f"run {shlex.join(step.words)}")


def _read(path: Path) -> bytes | None:
    """The content of a file; None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LcmDaemonError(f"{path}: cannot be read: {error.strerror}") from error


def _last_line(printed: str) -> str:
    return next((line.strip() for line in reversed(printed.splitlines()) if line.strip()), "")
