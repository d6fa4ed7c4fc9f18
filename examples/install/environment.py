"""The virtual environment of lcm-daemon: how it is made, and what is installed into it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from changes import Changes, program_of

SOURCES = ("lcm_daemon", "show_configs", "pyproject.toml", "README.md", "LICENSE")  # what the package is built from
PYTHONS = ((3, 11), (3, 14))  # from, and before: as requires-python in pyproject.toml
CHECK = """
import sys, torch
on_card = sys.argv[1].startswith("cu")
torch.ones(1, device="cuda" if on_card else "cpu").add(1).item()
names = [torch.cuda.get_device_name(card) for card in range(torch.cuda.device_count())] if on_card else ["the CPU"]
print(f"torch {torch.__version__} computes on {', '.join(names)}")
"""


def make_environment(changes: Changes, environment: Path, backend: str) -> None:
    """Make the environment, or keep the one of an earlier run if its Python still works.

    Raises:
        SystemExit: Something else has its place.
    """
    if environment.exists() and not changes.is_ours(environment):
        raise SystemExit(f"{environment} exists and is not ours. Name another folder with --dir.")
    if works(program_of(environment, "python")):
        print(f"  {environment} is kept")
        return
    changes.note(environment)
    if uv := find_uv(backend):
        changes.run(uv, "venv", "--clear", "--python", sys.executable, environment)
    else:
        changes.run(sys.executable, "-m", "venv", "--clear", environment)


def works(python: Path) -> bool:
    """Whether an environment's Python starts and has a version that lcm-daemon runs with."""
    code = f"import sys; raise SystemExit(not {PYTHONS[0]} <= sys.version_info[:2] < {PYTHONS[1]})"
    return python.is_file() and subprocess.run([python, "-c", code], capture_output=True).returncode == 0


def find_uv(backend: str) -> str | None:
    """The user's own uv, if it is new enough to know the build of torch."""
    if not (uv := shutil.which("uv")):
        return None
    text = subprocess.run([uv, "pip", "install", "--help"], capture_output=True, text=True, errors="replace").stdout
    return uv if "--torch-backend" in text and backend in text else None


def own_uv(changes: Changes, environment: Path) -> Path:
    """A uv inside the environment, where the user has none."""
    uv, python = program_of(environment, "uv"), program_of(environment, "python")
    if not uv.exists():
        if not changes.dry and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode:
            changes.run(python, "-m", "ensurepip")  # the environment was made by a uv that is gone
        changes.run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv")
    return uv


def check_source(source: str) -> None:
    """Raise SystemExit if this is neither a checkout nor a wheel of lcm-daemon."""
    path = Path(source)
    if path.is_dir() and not all((path / name).exists() for name in SOURCES):
        raise SystemExit(f"{path} is not a checkout of lcm-daemon.")
    if not path.exists():
        raise SystemExit(f"{path} does not exist. --source takes a checkout or a wheel of lcm-daemon.")


def install_packages(changes: Changes, environment: Path, source: str, extras: str, backend: str, torch: str) -> None:
    """Install torch and lcm-daemon, with what they need. What an earlier run installed stays where it is new enough.

    Args:
        changes: What happens, or is only printed.
        environment: Where.
        source: A checkout or a wheel of lcm-daemon.
        extras: Its optional parts, separated by commas.
        backend: The build of torch, as in uv's --torch-backend; empty for that of the usual index.
        torch: The requirement of torch.
    """
    uv = find_uv(backend) or own_uv(changes, environment)
    build = f"{backend} {torch}"
    is_other = changes.before.get("torch", build) != build  # than the build that is installed
    with tempfile.TemporaryDirectory() as folder:
        path = Path(source).absolute()
        package = copy_source(path, Path(folder)) if path.is_dir() and not changes.dry else path
        changes.run(
            uv, "pip", "install", "--python", program_of(environment, "python"),
            *(("--torch-backend", backend) if backend else ()), *(("--reinstall-package", "torch") if is_other else ()),
            "--reinstall-package", "lcm-daemon", torch, f"lcm-daemon[{extras}] @ {package.as_uri()}")
    changes.note(environment, torch=build)


def copy_source(checkout: Path, folder: Path) -> Path:
    """Copy what the package is built from. A build in the checkout would take files from an earlier build."""
    ignore = shutil.ignore_patterns("__pycache__", "node_modules", "*.pyc")
    for name in SOURCES:
        source = checkout / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy2(source, folder / name)
    return folder


def check_torch(changes: Changes, environment: Path, backend: str) -> None:
    """Compute one number with torch, on the card if the build is for one, and print what computes."""
    if changes.dry:
        return
    answer = subprocess.run([program_of(environment, "python"), "-c", CHECK, backend], capture_output=True, text=True)
    for line in answer.stdout.splitlines():
        print(f"  {line}")
    if answer.returncode:
        reason = (answer.stderr.strip() or "no reason given").splitlines()[-1]
        print(f"  torch does not compute here, so lcm-daemon cannot render with it: {reason}")
