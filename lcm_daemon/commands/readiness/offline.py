"""Refuses connections to the internet in the processes of a copy of a show, and notes which were tried.

A folder with a module `sitecustomize`, which Python imports at the start of every process, is put before its path. The
module adds a hook for the audit events of Python's sockets (https://docs.python.org/3/library/audit_events.html).
Native libraries are not watched.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

VARIABLE = "LCM_DAEMON_REFUSED"  # names the file that attempts are written to
_MODULE = "from lcm_daemon.commands.readiness.offline import refuse\nrefuse()\n"
_MOST_BYTES = 1 << 16  # of that file


@contextlib.contextmanager
def without_internet() -> Iterator[tuple[Mapping[str, str], Path]]:
    """While it is used: the variables of processes that reach no internet, and the file of what they tried."""
    with tempfile.TemporaryDirectory() as name:
        folder, refused = Path(name), Path(name, "refused.txt")
        (folder / "sitecustomize.py").write_text(_MODULE)
        refused.touch()
        paths = filter(None, (str(folder), *_package_root(), os.environ.get("PYTHONPATH")))
        yield {"PYTHONPATH": os.pathsep.join(paths), VARIABLE: str(refused)}, refused


def attempts(refused: Path) -> list[str]:
    """The hosts that were asked for, each once."""
    return list(dict.fromkeys(refused.read_text("utf-8", errors="replace").splitlines()))


def refuse() -> None:
    """Refuse them in this process, if VARIABLE says so."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    own = {"", "localhost", socket.gethostname().lower()}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"):
            host = _host(event, arguments)
            if host not in own and is_elsewhere(host):
                with contextlib.suppress(OSError):
                    _note(path, host)
                raise ConnectionRefusedError(f"{host}: doctor refuses connections to the internet")

    sys.addaudithook(hook)


def is_elsewhere(host: str) -> bool:
    """Whether a host is outside of this machine and its network: a public address, or a name that DNS knows."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return not host.endswith((".local", ".localhost", ".lan"))
    return address.is_global and not address.is_multicast


def _host(event: str, arguments: tuple[Any, ...]) -> str:
    """The host that an event is about; "" for a socket of the system, or none."""
    where = arguments[0] if event in ("socket.getaddrinfo", "socket.gethostbyname") else arguments[1]
    if isinstance(where, tuple):
        where = where[0] if where else ""
    if isinstance(where, bytes):
        where = where.decode(errors="replace")
    return where.lower() if isinstance(where, str) and not where.startswith(("/", "\0")) else ""


def _note(path: str, host: str) -> None:
    number = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        if os.fstat(number).st_size < _MOST_BYTES:
            os.write(number, f"{host}\n".encode())
    finally:
        os.close(number)


def _package_root() -> Iterator[str]:
    """Where this package is, for a Python that does not have it installed."""
    yield str(Path(__file__).parents[3])
