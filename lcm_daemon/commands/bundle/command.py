"""`lcm-daemon bundle`: packs a show, its files, its models and all packages into one file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import Distribution
from pathlib import Path

from lcm_daemon.commands.bundle import wheels
from lcm_daemon.commands.bundle.archive import BundleWriter
from lcm_daemon.commands.bundle.hub_files import check_models, hub_files
from lcm_daemon.commands.bundle.manifest import MODELS, SHOW, WHEELS, Manifest, name_problem
from lcm_daemon.commands.bundle.show_files import ShowFiles, show_files
from lcm_daemon.commands.output import PrintLine, print_line
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.recipes.downloads import format_size
from lcm_daemon.shows.library import find_show
from lcm_daemon.shows.reader import inspect_show

SUFFIX = ".pyz"  # of programs in zip files (PEP 441)


def bundle(
    name: str, output: str = "", packages: Sequence[Distribution] | None = None, print_line: PrintLine = print_line
) -> int:
    """Write the bundle of a show. Returns the exit code. No network is asked.

    Variables and options that change the show do not count: the bundle has the show as its file says.

    Args:
        name: File or name of the show.
        output: The file to write; "" for the name of the show, in the current folder.
        packages: What is packed; None for lcm-daemon, its plugins, and all that they need.
        print_line: Receives the output.

    Raises:
        DocumentError: The show has mistakes, or names files that are not there.
        LcmDaemonError: A model is missing, a package is damaged, or the bundle cannot be written.
    """
    file = find_show(name)
    reading = inspect_show(file, environment={})
    reading.problems.raise_if_any()
    show = reading.show
    assert show is not None
    if problem := name_problem(file.stem):
        raise LcmDaemonError(f"the show {file.stem!r:.80} cannot be packed: it {problem}")
    target = Path(output or f"{file.stem}{SUFFIX}").absolute()
    if target.is_dir():
        raise LcmDaemonError(f"{target} is a folder; name a file with -o")
    check_models(show)
    packages = wheels.needed_packages() if packages is None else packages
    try:
        with BundleWriter(target) as writer:
            found = show_files(reading, writer.is_own)
            for path, source in sorted({**found.files, **hub_files(show)}.items()):
                writer.add(path, source)
            print_line(f"{len(packages)} packages are packed")
            _add_wheels(writer, packages, target.parent)
            manifest = writer.finish(file.stem, found.show)
    except OSError as error:
        raise LcmDaemonError(f"{error.filename or target}: {error.strerror or error}") from error
    for line in _report(target, manifest, found, packages):
        print_line(line)
    return 0


def _add_wheels(writer: BundleWriter, packages: Sequence[Distribution], folder: Path) -> None:
    """Pack the packages one after another, and pip. folder: Where there is room for the largest wheel."""
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=folder) as name:
        place = Path(name)
        for package in (*packages, None):
            wheel = wheels.pip_wheel(place) if package is None else wheels.repack(package, place)
            writer.add(f"{WHEELS}/{wheel.name}", wheel)
            os.unlink(wheel)


def _report(target: Path, manifest: Manifest, found: ShowFiles, packages: Sequence[Distribution]) -> list[str]:
    """What the bundle has, one line each."""
    versions = {package.metadata["Name"].lower(): package.version for package in packages}
    extras = ", ".join(wheels.installed_extras()) if wheels.OURS in versions else ""
    torch = f"; torch {versions['torch']}" if "torch" in versions else ""
    rows = [("show", f"{found.show}, {_files(manifest, SHOW)}"),
            *(("", f"{here} as {place}") for here, place in sorted(found.moved.items())),
            ("models", _files(manifest, MODELS)),
            ("packages", f"{_files(manifest, WHEELS)}{torch}" + (f"; extras {extras}" if extras else "")),
            *(("not in it", line) for line in found.left_out),
            ("for", f"Python {manifest.python} on {manifest.system}, as here"),
            ("file", f"{target}, {format_size(target.stat().st_size)}"),
            ("then", f"on the other machine: python{manifest.python} {target.name} [DIR]")]
    return [f"  {word:9} {text}" for word, text in rows]


def _files(manifest: Manifest, folder: str) -> str:
    count = sum(file.path.startswith(f"{folder}/") for file in manifest.files)
    return f"{count} files, {format_size(manifest.size(f'{folder}/'))}" if count else "none from the hub"
