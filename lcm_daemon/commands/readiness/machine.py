"""What a show needs of the machine: disks, memory, clock, graphics driver, ports."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from lcm_daemon.commands.check import ports_in_use
from lcm_daemon.commands.readiness.finding import FAULT, NOTE, OK, Finding
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.paths import cache_folder, state_folder
from lcm_daemon.core.thread_priority import may_keep_time
from lcm_daemon.shows.library import is_packaged
from lcm_daemon.shows.show import Show
from lcm_daemon.transports import ndi_discovery

LITTLE_DISK, TOO_LITTLE_DISK = 2e9, 100e6  # bytes
RECORDING_DISK = 20e9  # bytes that a disk of recordings should have
LITTLE_MEMORY, TOO_LITTLE_MEMORY = 1.5e9, 300e6  # bytes beside what the model takes
SHARED_MEMORY = Path("/dev/shm")  # of Linux; elsewhere frames lie in the memory
SLOTS = 6  # pictures of four bytes a pixel in the slots of a process: three slots of an input and an output
COMMAND_SECONDS = 20.0
_DRIVER_KEYS = ("name", "driver_version", "memory.total", "memory.used", "temperature.gpu")


def ndi_servers(show: Show) -> Iterator[Finding]:
    """Whether the NDI Discovery Servers of the show, or of the machine, answer, if it has sources or sinks of NDI."""
    ends = (show.source, show.guide, *show.sources.values(), *show.sinks)
    if not any(end is not None and end.transport == "ndi" for end in ends):
        return
    for server in show.network.ndi_discovery or ndi_discovery.servers_in_use():
        problem = ndi_discovery.answers(server)
        text = f"{server} does not answer: {problem}" if problem else f"{server} answers"
        yield Finding("NDI server", text, NOTE if problem else OK)


def disks(show: Show) -> Iterator[Finding]:
    """Every folder that the show writes to: whether it can be written, and what is free."""
    wanted: dict[Path, tuple[str, float]] = {}
    with contextlib.suppress(LcmDaemonError):
        wanted = {state_folder(): ("state", LITTLE_DISK), cache_folder(): ("compiled models", LITTLE_DISK)}
    if not is_packaged(Path(show.file)):
        wanted[Path(show.file).resolve().parent] = ("looks", LITTLE_DISK)
    if show.unattended.log.file:
        wanted[Path(show.unattended.log.file).absolute().parent] = ("log", LITTLE_DISK)
    if show.audience is not None and show.audience.keep:
        wanted[Path(show.audience.keep).absolute()] = ("visitors' pictures", LITTLE_DISK)
    for sink in show.sinks:
        if sink.transport == "record":
            wanted[_fixed_part(Path(str(sink.options["path"])))] = ("recordings", RECORDING_DISK)
    for folder, (use, little) in wanted.items():
        yield _disk(folder, use, little)


def _fixed_part(path: Path) -> Path:
    """The folder of a recording, up to the first part that depends on the time."""
    folder = path.absolute().parent
    return next((each.parent for each in reversed([folder, *folder.parents]) if "{" in each.name), folder)


def _disk(folder: Path, use: str, little: float) -> Finding:
    here = next((each for each in (folder, *folder.parents) if each.is_dir()), Path("/"))
    try:
        with tempfile.TemporaryFile(dir=here):
            free = shutil.disk_usage(here).free
    except OSError as error:
        return Finding("disk", f"{folder} cannot be written ({use}): {error.strerror}", FAULT)
    text = f"{free / 1e9:.1f} GB free for {use} in {folder}"
    return Finding("disk", text, FAULT if free < TOO_LITTLE_DISK else NOTE if free < little else OK)


def memory(show: Show) -> Iterator[Finding]:
    """Memory that is free for the model, and shared memory for frames."""
    free = psutil.virtual_memory().available
    model = 0.0 if _is_on_a_card(show) else gigabytes(show.recipe.vram)
    left = free - model
    text = f"{free / 1e9:.1f} GB free" + (f"; {show.recipe.name} takes {model / 1e9:.1f} GB" if model else "")
    yield Finding("memory", text, FAULT if left < TOO_LITTLE_MEMORY else NOTE if left < LITTLE_MEMORY else OK)
    if SHARED_MEMORY.is_dir():
        yield shared_memory(show, shutil.disk_usage(SHARED_MEMORY).free)


def shared_memory(show: Show, free: float) -> Finding:
    """Whether the frames between the processes fit. free: Bytes that are free in SHARED_MEMORY."""
    width, height = show.size
    each = SLOTS * width * height * 4 * (1.5 if show.can_guide else 1.0)
    engines = sum(group.engines for group in show.engines) or 1
    needed, best = each * (1 + engines), each * (1 + 2 * engines)  # a change of recipe starts others beside them
    text = f"{free / 1e6:.0f} MB free in {SHARED_MEMORY}; frames take {needed / 1e6:.0f} to {best / 1e6:.0f} MB"
    return Finding("shared memory", text, FAULT if free < needed else NOTE if free < best else OK)


def gigabytes(text: str) -> float:
    """Bytes of a recipe's `vram`, such as "~3.5 GB"; 0.0 if it does not say."""
    found = re.search(r"([\d.]+) ?GB", text)
    return float(found[1]) * 1e9 if found else 0.0


def _is_on_a_card(show: Show) -> bool:
    return show.recipe.device.startswith("cuda") or (show.recipe.device == "auto" and bool(shutil.which("nvidia-smi")))


def clock() -> Iterator[Finding]:
    """Whether the clock is set from the network. Linux with systemd only."""
    if not sys.platform.startswith("linux") or not shutil.which("timedatectl"):
        return
    printed = _printed("timedatectl", "show", "--property=NTPSynchronized,Timezone")
    if printed is None or "NTPSynchronized" not in printed:
        return
    zone = next((line.partition("=")[2] for line in printed.splitlines() if line.startswith("Timezone=")), "")
    if "NTPSynchronized=yes" in printed:
        yield Finding("clock", f"set from the network; zone {zone}")
    else:
        yield Finding("clock", f"not set from the network; zone {zone}: schedules are as wrong as it is", NOTE)


def real_time(show: Show) -> Iterator[Finding]:
    """Whether the output's threads may run before all others. Linux only."""
    if not sys.platform.startswith("linux") or not show.unattended.real_time:
        return
    if may_keep_time():
        yield Finding("real time", "the output's threads run before those of all programs")
    else:
        yield Finding("real time", "not allowed for this user, so that the output is late beside busy programs; "
                      "service install --system allows it, or rtprio of limits.conf(5)", NOTE)


def driver(show: Show) -> Iterator[Finding]:
    """The driver and memory of NVIDIA's cards."""
    if not shutil.which("nvidia-smi"):
        return
    printed = _printed("nvidia-smi", f"--query-gpu={','.join(_DRIVER_KEYS)}", "--format=csv,noheader,nounits")
    if printed is None:
        yield Finding("nvidia driver", "nvidia-smi fails: after an update of the driver, the machine must be started "
                      "again", FAULT if show.recipe.device.startswith("cuda") else NOTE)
        return
    for number, line in enumerate(printed.strip().splitlines()):
        yield _card(number, [cell.strip() for cell in line.split(",")], show)


def _card(number: int, cells: list[str], show: Show) -> Finding:
    if len(cells) != len(_DRIVER_KEYS) or not all(cell.isdecimal() for cell in cells[2:4]):
        return Finding(f"cuda:{number}", ", ".join(cells), NOTE)
    name, version, total, used, heat = cells
    free, needed = (int(total) - int(used)) * 2**20, gigabytes(show.recipe.vram)
    text = f"{name}, driver {version}, {free / 1e9:.1f} of {int(total) * 2**20 / 1e9:.1f} GB free, {heat} °C"
    if needed > free and _is_on_a_card(show):
        return Finding(f"cuda:{number}", f"{text}; {show.recipe.name} takes {needed / 1e9:.1f} GB", NOTE)
    return Finding(f"cuda:{number}", text)


def _printed(*words: str) -> str | None:
    """What a command of the system prints; None if it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=COMMAND_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def ports(show: Show, plays: bool) -> Iterator[Finding]:
    """The ports of the show. plays: It plays now, and has them."""
    taken = [line.split(maxsplit=2)[2] for line in ports_in_use(show)]
    if plays:
        yield Finding("ports", f"{len(taken)} in use, by this show, which plays now")
    elif taken:
        yield from (Finding("ports", line, FAULT) for line in taken)
    else:
        yield Finding("ports", "free")
