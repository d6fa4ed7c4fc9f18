"""NDI Discovery Servers: where NDI looks for senders, and announces its own, where multicast does not reach.

The runtime reads its servers from `ndi-config.v1.json` once in a process; NDI_CONFIG_DIR names the folder of that file
(https://docs.ndi.video/docs/sdk/configuration-files, https://docs.ndi.video/docs/sdk/platform-considerations). So a
show's servers are laid over the machine's own file, in a folder of ours, before the first source or sink is opened.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.paths import state_folder

VARIABLE = "NDI_CONFIG_DIR"
OF_THE_MACHINE = "LCM_DAEMON_NDI_CONFIG_DIR"  # what VARIABLE was before a show replaced it; may be empty
FILE = "ndi-config.v1.json"
PORT = 5959  # of a server, where its address has none
ANSWER_SECONDS = 2.0

log = logging.getLogger(__name__)


def use_servers(servers: Sequence[str], environment: MutableMapping[str, str] = os.environ) -> None:
    """Let this process, and those that it starts, use these servers; without servers, those of the machine.

    Call it before the runtime is loaded. What is changed later counts for processes that are started after it.

    Args:
        servers: Addresses, such as "10.0.0.5" or "10.0.0.5:5959".
        environment: The variables of the process.
    """
    before = environment.get(VARIABLE, "")
    if OF_THE_MACHINE in environment:
        environment[VARIABLE] = environment.pop(OF_THE_MACHINE)
        if not environment[VARIABLE]:
            del environment[VARIABLE]
    environment.update(variables(servers, environment))
    runtime = sys.modules.get("lcm_daemon.transports.ndi_library")
    if environment.get(VARIABLE, "") != before and runtime is not None and runtime.is_loaded():
        log.warning("ndi: network.ndi_discovery has changed: it counts once the daemon is started again")


def variables(servers: Sequence[str], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of a process that uses these servers; none without servers, or if they cannot be written."""
    if not servers:
        return {}
    machines = environment.get(OF_THE_MACHINE, environment.get(VARIABLE, ""))
    settings = _with_servers(_read(_folder(machines) / FILE), servers)
    text = json.dumps(settings, indent=1)
    folder = state_folder() / "ndi" / hashlib.sha256(text.encode()).hexdigest()[:12]
    try:
        if not (folder / FILE).exists():
            write_atomically(folder / FILE, text)
    except OSError as error:
        log.warning("ndi: the Discovery Servers are not used: %s cannot be written: %s", folder / FILE, error.strerror)
        return {}
    return {VARIABLE: str(folder), OF_THE_MACHINE: machines}


def servers_in_use(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The servers that the runtime would use in this process: those of a show, or of the machine."""
    networks = _section(_section(_read(_folder(environment.get(VARIABLE, "")) / FILE), "ndi"), "networks")
    return [server.strip() for server in str(networks.get("discovery") or "").split(",") if server.strip()]


def answers(server: str, seconds: float = ANSWER_SECONDS) -> str:
    """Connect to a server. Returns why that is not possible; "" if it is."""
    host, _, port = server.partition(":")
    try:
        socket.create_connection((host, int(port or PORT)), seconds).close()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def _folder(given: str) -> Path:
    """The folder that the runtime reads: the one that a variable names, or the system's."""
    if given:
        return Path(given)
    return Path("C:/ProgramData/NDI") if sys.platform == "win32" else Path("~/.ndi").expanduser()


def _read(file: Path) -> dict[str, Any]:
    """The settings in a file; none if it is absent or damaged, as for the runtime."""
    try:
        found = json.loads(file.read_text("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("ndi: %s cannot be read, and is not used: %s", file, error)
        return {}
    return found if isinstance(found, dict) else {}


def _with_servers(settings: dict[str, Any], servers: Sequence[str]) -> dict[str, Any]:
    ndi = _section(settings, "ndi")
    networks = {**_section(ndi, "networks"), "discovery": ",".join(servers)}
    return {**settings, "ndi": {**ndi, "networks": networks}}


def _section(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = settings.get(name)
    return dict(found) if isinstance(found, dict) else {}
