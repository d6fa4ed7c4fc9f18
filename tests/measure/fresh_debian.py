"""Times a newcomer's first steps on a Debian that has nothing: the installer's one command, until the demo's picture.

    sudo python -m tests.measure.fresh_debian FOLDER [--suite trixie] [--torch WHEEL] [--command "..."]

debootstrap makes the smallest Debian in FOLDER (which may be kept for another run); the package's sources are copied to
`/root/lcm-daemon` in it, and the command runs there as root, in a mount namespace of its own. The network is this
machine's: the demo's page is on --port. Variables such as PIP_INDEX_URL and SSL_CERT_FILE apply inside too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
COPIED = ("lcm_daemon", "show_configs", "examples/install", "pyproject.toml", "README.md", "LICENSE")
INSIDE = "/root/lcm-daemon"
INSTALL = "sh examples/install/install.sh --yes --run"
PATIENCE = 3600.0  # seconds for the whole command
SCRIPT = """
set -e
mount --bind /dev "$0/dev"
mount -t tmpfs tmpfs "$0/dev/shm"
mount -t proc proc "$0/proc"
[ -z "$1" ] || { mkdir -p "$0$(dirname "$1")"; mount --bind "$(dirname "$1")" "$0$(dirname "$1")"; }
exec chroot "$0" /bin/sh -c "cd /root/lcm-daemon && $2"
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--torch", default="", help="a wheel or a version, as of the installer")
    parser.add_argument("--command", default=INSTALL, help="what runs in the sources' folder")
    parser.add_argument("--port", type=int, default=8220, help="of the demo's page; OSC has the next one")
    options = parser.parse_args(arguments)
    root = make_root(options.folder.absolute(), options.suite)
    command = f"{options.command} --torch {options.torch}" if options.torch else options.command
    print(f"{platform.machine()}, {os.cpu_count()} processors; Debian {options.suite}: {command}")
    for what, seconds in time_command(root, command, options.torch, options.port):
        print(f"{seconds:8.1f} s  {what}", flush=True)
    sizes = {name: size(root / name) for name in ("root/.local", "root/.cache", "")}
    print(", ".join(f"/{name}: {megabytes:.0f} MB" for name, megabytes in sizes.items()))


def make_root(root: Path, suite: str) -> Path:
    """Make the smallest Debian, if it is not there, and copy the sources into it."""
    if not (root / "etc/debian_version").exists():
        subprocess.run(["debootstrap", "--variant=minbase", "--include=ca-certificates", suite, root], check=True,
                       stdout=subprocess.DEVNULL)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/ca-certificates.crt")
    target = root / INSIDE.lstrip("/")
    shutil.rmtree(target, ignore_errors=True)
    for name in COPIED:
        source = ROOT / name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(source, target / name)
    return root


def time_command(root: Path, command: str, wheel: str, port: int) -> list[tuple[str, float]]:
    """Run the command until the demo renders, then end it. Returns what happened, and the seconds after the command."""
    passed = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_", "SSL_"))}
    environment = {**passed, "HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
                   "LCM_DAEMON__PANEL__PORT": str(port), "LCM_DAEMON__OSC__PORT": str(port + 1)}
    log = (root.parent / f"{root.name}.log").open("w")
    begin = time.perf_counter()
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", SCRIPT, root,
         wheel if wheel.endswith(".whl") else "", command],
        env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        return [(what, seconds - begin) for what, seconds in _moments(process, root, port, begin + PATIENCE)]
    finally:
        process.send_signal(signal.SIGKILL)  # the namespace's first process takes the others with it
        process.wait()
        log.close()
        _show(log)


def _moments(process: subprocess.Popen[bytes], root: Path, port: int, end: float) -> list[tuple[str, float]]:
    def installed() -> bool:
        return "lcm-daemon is installed" in (root.parent / f"{root.name}.log").read_text(errors="replace")

    conditions = {
        "installed": installed, "the page answers": lambda: bool(status(port)),
        "the first rendered picture": lambda: status(port).get("fps", 0) > 0,
    }
    found = []
    for what, condition in conditions.items():
        while not condition():
            if process.poll() is not None or time.perf_counter() > end:
                return [*found, (f"ended before: {what}", time.perf_counter())]
            time.sleep(0.1)
        found.append((what, time.perf_counter()))
    return found


def status(port: int) -> dict[str, Any]:
    """The daemon's status; empty while its page does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return dict(json.load(answer)["status"])
    except (OSError, ValueError, KeyError):
        return {}


def size(folder: Path) -> float:
    """Megabytes in a folder, as du counts them."""
    answer = subprocess.run(["du", "-sxm", folder], capture_output=True, text=True).stdout
    return float(answer.split()[0]) if answer else 0.0


def _show(log: IO[str]) -> None:
    sys.stdout.write(Path(log.name).read_text(errors="replace"))


if __name__ == "__main__":
    main()
