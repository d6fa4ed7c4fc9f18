"""TaskScheduler: tasks of Windows' Task Scheduler. Their elements are in Microsoft's Task Scheduler Schema."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from lcm_daemon.commands.service.kiosk import browser_words, find_browser
from lcm_daemon.commands.service.plan import PREFIX, ServicePlan, ServiceState, ServiceStep

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
AGAIN = "PT1M"  # the shortest time after which the Task Scheduler starts a task again
NORMAL_PRIORITY = 5  # without the element it is 7, below normal, which costs frames
_MARK = "lcm-daemon service install has written this task for the show "


class TaskScheduler:
    """The service manager of Windows.

    Args:
        folder: Where the tasks' files are kept; None for the folder of local data.
        user: Name of the user; None for that of the process.
    """

    title = "the Task Scheduler"

    def __init__(self, folder: Path | None = None, user: str | None = None) -> None:
        local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        self._folder = folder or Path(local) / "lcm-daemon" / "Services"
        names = (os.environ.get("USERDOMAIN", ""), os.environ.get("USERNAME", ""))
        self._user = "\\".join(filter(None, names)) if user is None else user

    def problem(self) -> str:
        return "" if shutil.which("schtasks") else "this system has no schtasks"

    def files(self, plan: ServicePlan) -> Mapping[Path, bytes]:
        service, screen = self.written(plan.name, plan.is_system)
        found = {service: self._task(plan, plan.command, plan.is_system)}
        if plan.picture:
            words = (find_browser("win32"), *browser_words(plan.picture))
            found[screen] = self._task(plan, words, False)
        return found

    def written(self, name: str, is_system: bool) -> Sequence[Path]:
        return self._folder / f"{name}.xml", self._folder / f"lcm-screen-{name.removeprefix(PREFIX)}.xml"

    def _task(self, plan: ServicePlan, command: Sequence[str], at_boot: bool) -> bytes:
        ElementTree.register_namespace("", NAMESPACE)
        task = ElementTree.Element(f"{{{NAMESPACE}}}Task", version="1.3")
        for path, text in self._values(plan, command, at_boot):
            here = task
            for name in path.split("/"):
                found = here.find(f"{{{NAMESPACE}}}{name}")
                here = found if found is not None else ElementTree.SubElement(here, f"{{{NAMESPACE}}}{name}")
            here.text = text
        return bytes(ElementTree.tostring(task, encoding="utf-16", xml_declaration=True))  # what schtasks reads

    def _values(self, plan: ServicePlan, command: Sequence[str], at_boot: bool) -> Iterator[tuple[str, str]]:
        """What the elements of a task hold, in the order of the schema."""
        yield "RegistrationInfo/Description", f"{_MARK}{plan.show}"
        trigger = "Triggers/BootTrigger" if at_boot else "Triggers/LogonTrigger"
        yield f"{trigger}/Repetition/Interval", AGAIN  # one that has ended is started again
        yield f"{trigger}/Enabled", "true"
        if not at_boot:
            yield f"{trigger}/UserId", self._user
        yield "Principals/Principal/UserId", (plan.user if at_boot and plan.user else self._user)
        yield "Principals/Principal/LogonType", "S4U" if at_boot else "InteractiveToken"
        yield "Principals/Principal/RunLevel", "LeastPrivilege"
        yield "Settings/MultipleInstancesPolicy", "IgnoreNew"
        yield "Settings/DisallowStartIfOnBatteries", "false"
        yield "Settings/StopIfGoingOnBatteries", "false"
        yield "Settings/StartWhenAvailable", "true"
        yield "Settings/ExecutionTimeLimit", "PT0S"  # without end
        yield "Settings/Priority", str(NORMAL_PRIORITY)
        yield "Settings/RestartOnFailure/Interval", AGAIN
        yield "Settings/RestartOnFailure/Count", "255"
        words = self._with_variables(plan, command) if command is plan.command else command
        yield "Actions/Exec/Command", words[0]
        yield "Actions/Exec/Arguments", subprocess.list2cmdline(words[1:])
        yield "Actions/Exec/WorkingDirectory", str(plan.folder or self._folder)

    @staticmethod
    def _with_variables(plan: ServicePlan, command: Sequence[str]) -> Sequence[str]:
        """A task has no variables of its own: a shell sets those that are kept."""
        if not plan.environment:
            return command
        given = "".join(f'set "{name}={text.replace("%", "%%")}"&& ' for name, text in plan.environment.items())
        return ("cmd.exe", "/d", "/c", given + subprocess.list2cmdline(command))

    def show_of(self, content: bytes) -> str:
        try:
            task = ElementTree.fromstring(content)
        except (ElementTree.ParseError, ValueError):
            return ""
        found = task.findtext(f"{{{NAMESPACE}}}RegistrationInfo/{{{NAMESPACE}}}Description", "")
        return found.removeprefix(_MARK) if found.startswith(_MARK) else ""

    def install_steps(self, plan: ServicePlan) -> Sequence[ServiceStep]:
        return [ServiceStep(("schtasks", "/Create", "/F", "/TN", path.stem, "/XML", str(path)))
                for path in self.files(plan)]

    def start_step(self, plan: ServicePlan) -> ServiceStep:
        return ServiceStep(("schtasks", "/Run", "/TN", plan.name))

    def stop_steps(self, is_system: bool, files: Sequence[Path]) -> Sequence[ServiceStep]:
        return [ServiceStep(("schtasks", *words, "/TN", path.stem), if_fails="continue")
                for path in files for words in (("/End",), ("/Delete", "/F"))]

    def forget_steps(self, name: str, is_system: bool) -> Sequence[ServiceStep]:
        return []

    def state_words(self, name: str, is_system: bool) -> Sequence[str]:
        asked = (f"$t = Get-ScheduledTask -TaskName '{name}'; $i = $t | Get-ScheduledTaskInfo; "
                 "\"$($t.State)|$($i.LastRunTime)|$($i.LastTaskResult)\"")
        return ("powershell", "-NoProfile", "-Command", asked)

    def read_state(self, printed: str) -> ServiceState:
        found = re.match(r"(\w+)\|(.*)\|(\d+)", printed.strip())
        if found is None:
            return ServiceState("the Task Scheduler does not know it", False)
        state, since, result = found.groups()
        return ServiceState(f"{state}, last started {since}, last result {result}", state == "Running")

    def hints(self, plan: ServicePlan) -> Sequence[str]:
        found = ["Windows starts a show that has ended again within a minute"]
        if plan.is_system:
            return [*found, "Spout, cameras and windows need a logged-in user: for these, install it without --system"]
        return [*found, "switch on automatic login (netplwiz) and switch sleep off; start the show once by hand: "
                "Windows asks whether NDI may pass the firewall"]
