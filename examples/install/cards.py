"""The graphics cards of this machine, and the build of torch that suits them. Uses the standard library alone."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Version = tuple[int, ...]

PCI = Path("/sys/bus/pci/devices")
NVIDIA, AMD = "0x10de", "0x1002"  # PCI vendors
DISPLAY = "0x03"  # how the PCI class of a graphics card begins
NVIDIA_SMI = ("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi")  # the second in the Windows Subsystem for Linux
ANSWER_TIME = 30.0  # seconds; a driver that hangs must not stop the installation


@dataclass(frozen=True)
class Build:
    """A build of torch for CUDA.

    Attributes:
        backend: Its name in uv's option --torch-backend.
        linux, windows: The oldest driver that it runs with.
        oldest, newest: Compute capability of the cards that it has code for.
    """

    backend: str
    linux: Version
    windows: Version
    oldest: Version
    newest: Version

    def runs_with(self, driver: Version, system: str) -> bool:
        return driver >= (self.windows if system == "win32" else self.linux)

    def supports(self, card: Card) -> bool:
        return not card.capability or self.oldest <= card.capability <= self.newest


# The best one first. Drivers: the table of minor version compatibility in the release notes of NVIDIA's CUDA toolkit.
# Cards: the release matrix in PyTorch's RELEASE.md. The builds for CUDA 13 have no code for Maxwell, Pascal and Volta,
# those for CUDA 12.6 none for Blackwell. torch 2.14 is the last one that was built for CUDA 12.6.
BUILDS = (
    Build("cu130", (580,), (580,), (7, 5), (99, 0)),
    Build("cu126", (525, 60, 13), (528, 33), (5, 0), (9, 0)),
    Build("cu128", (525, 60, 13), (528, 33), (7, 5), (12, 1)),
)


@dataclass(frozen=True)
class Card:
    """An NVIDIA card. capability: Its compute capability, such as (8, 6); empty if the driver does not tell it."""

    name: str
    driver: Version
    capability: Version = ()

    def __str__(self) -> str:
        capability = f", compute capability {'.'.join(map(str, self.capability))}" if self.capability else ""
        return f"{self.name}, driver {'.'.join(f'{part:02}' for part in self.driver)}{capability}"


@dataclass(frozen=True)
class Choice:
    """The build of torch to install.

    Attributes:
        backend: As in uv's option --torch-backend; empty for the build of the usual index.
        found: The graphics cards, in words.
        reason: Why this build.
    """

    backend: str
    found: str
    reason: str


def choose_torch(system: str = sys.platform, machine: str = platform.machine()) -> Choice:
    """Look at this machine's cards and choose.

    Args:
        system: As `sys.platform`.
        machine: As `platform.machine()`.

    Raises:
        SystemExit: torch has no build for this machine.
    """
    if system == "darwin":
        if machine != "arm64":
            raise SystemExit("torch has no build for Macs with Intel processors: lcm-daemon needs Apple silicon.")
        return Choice("", "Apple silicon", "torch for Macs uses it through Metal (MPS)")
    if cards := list(nvidia_cards()):
        return choose_build(cards, system)
    vendors = pci_vendors()
    if NVIDIA in vendors:
        return Choice("cpu", "an NVIDIA card without a working driver",
                      "nvidia-smi does not answer; install NVIDIA's driver, then run this again")
    if AMD in vendors:
        return Choice("cpu", "an AMD card", "torch for ROCm was not tested; --torch rocm7.2 installs it")
    return Choice("cpu", "none that torch uses", "the CPU renders, with OpenVINO")


def choose_build(cards: Sequence[Card], system: str) -> Choice:
    """Choose the build for NVIDIA cards: the first one with code for all of them, else the one for the newest."""
    found = "; ".join(map(str, cards))
    builds = [build for build in BUILDS if build.runs_with(cards[0].driver, system)]
    if not builds:
        oldest = BUILDS[-1].windows if system == "win32" else BUILDS[-1].linux
        return Choice("cpu", found, f"the driver is older than {'.'.join(map(str, oldest))}, which CUDA 12 needs; "
                                    "install a newer one, then run this again")
    for build in builds:
        if all(build.supports(card) for card in cards):
            return Choice(build.backend, found, "it runs with this driver and has code for this card" if len(cards) == 1
                          else "it runs with this driver and has code for these cards")
    newest = max(cards, key=lambda card: card.capability)
    for build in builds:
        if build.supports(newest):
            unused = ", ".join(card.name for card in cards if not build.supports(card))
            return Choice(build.backend, found, f"it has code for the newest card; {unused} cannot be used with it")
    wanted = "older than what torch is built for" if newest.capability < (5, 0) else "too new for this driver"
    return Choice("cpu", found, f"the card is {wanted}")


def nvidia_cards() -> Iterator[Card]:
    """Yield the cards that nvidia-smi lists; none if the driver is absent or the command fails."""
    for program in filter(shutil.which, NVIDIA_SMI):
        for query in ("name,driver_version,compute_cap", "name,driver_version"):  # drivers before 495 lack the third
            if lines := _ask([program, f"--query-gpu={query}", "--format=csv,noheader"]):
                yield from filter(None, (read_row(line, query.count(",")) for line in lines))
                return


def read_row(line: str, commas: int) -> Card | None:
    """Read a row of nvidia-smi, such as "NVIDIA GeForce RTX 3080, 550.54.14, 8.6"; None for any other line."""
    name, *rest = (part.strip() for part in line.rsplit(",", commas))
    versions = [_version(text) for text in rest]
    if len(versions) != commas or not versions[0]:
        return None
    return Card(name, *versions)


def _version(text: str) -> Version:
    """Read "550.54.14"; empty for another text, such as "[N/A]"."""
    parts = text.split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


def _ask(command: Sequence[str]) -> list[str]:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=ANSWER_TIME)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.splitlines() if answer.returncode == 0 else []


def pci_vendors() -> set[str]:
    """The vendors of this machine's graphics cards, such as "0x10de". Linux only; empty elsewhere."""
    found = set()
    for device in PCI.glob("*"):
        try:
            if (device / "class").read_text().startswith(DISPLAY):
                found.add((device / "vendor").read_text().strip())
        except OSError:
            continue
    return found
