"""Lines of systemd's units: how words are written, and what a service may not do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

MARK = "# lcm-daemon service install has written this file for the show "
_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")

# Not in these lists, because a show needs it: PrivateDevices (cameras, cards, MIDI), ProtectClock (it closes
# /dev to everything but the clock), MemoryDenyWriteExecute (compilers make code), PrivateNetwork, PrivateUsers (the
# groups video and render), RestrictRealtime (the output's threads run before all others), RemoveIPC (shared memory of
# other programs of the same user).
ANY_USER = (  # what needs no rights
    "NoNewPrivileges=yes", "LockPersonality=yes", "RestrictNamespaces=yes", "RestrictSUIDSGID=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures=native", "SystemCallFilter=@system-service", "SystemCallFilter=~@privileged",
    "SystemCallErrorNumber=EPERM",
)
SYSTEM_ONLY = (
    "CapabilityBoundingSet=", "ProtectSystem=strict", "ProtectControlGroups=yes", "ProtectHostname=yes",
    "ProtectKernelLogs=yes", "ProtectKernelModules=yes", "ProtectKernelTunables=yes", "ProtectProc=invisible",
)


def unit_text(show: Path, about: Iterable[str], service: Iterable[str], install: Iterable[str]) -> str:
    """A unit of these lines."""
    return "\n".join([f"{MARK}{show}", "[Unit]", *about, "", "[Service]", *service, "", "[Install]", *install, ""])


def escape(text: str) -> str:
    """Text in which systemd looks for specifiers, such as %n."""
    return text.replace("%", "%%")


def quote(text: str) -> str:
    """One word of a list."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + escape(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def words_of(words: Sequence[str], raw: str = "") -> str:
    """A command line of ExecStart, in which $ begins a variable. raw: A specifier that is meant as such."""
    quoted = (quote(word).replace("$", "$$") for word in words)
    return " ".join(word.replace(f"%{raw}", raw) if raw else word for word in quoted)
