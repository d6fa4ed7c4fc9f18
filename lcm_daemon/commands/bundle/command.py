"""`lcm-daemon bundle`: packs a show, its files, its models and all packages into one file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from lcm_daemon.commands.bundle.archive import BundleWriter
from lcm_daemon.commands.bundle.hub_files import check_models, hub_files
from lcm_daemon.commands.bundle.manifest import MODELS, SHOW, WHEELS, Manifest, name_problem
from lcm_daemon.commands.bundle.packages import Packages, needed_packages
from lcm_daemon.commands.bundle.show_files import ShowFiles, show_files
from lcm_daemon.commands.bundle.wheels import pip_wheel
from lcm_daemon.commands.output import PrintLine, print_line
from lcm_daemon.core.document import resolved
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.recipes.downloads import format_size
from lcm_daemon.shows.library import find_show
from lcm_daemon.shows.reader import inspect_show

SUFFIX = ".pyz"  # of programs in zip files (PEP 441)


def bundle(
    name: str, output: str = "", print_line: PrintLine = print_line, find: Callable[[Path], Packages] = needed_packages
) -> int:
    """Write the bundle of a show. Returns the exit code. No network is asked.

    Variables and options that change the show do not count: the bundle has the show as its file says.

    Args:
        name: File or name of the show.
        output: The file to write; "" for the name of the show, in the current folder.
        print_line: Receives the output.
        find: Finds the packages; it gets a folder for what it builds.

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
    target = resolved(Path(output or f"{file.stem}{SUFFIX}"))
    if target.is_dir():
        raise LcmDaemonError(f"{target} is a folder; name a file with -o")
    if target.exists() and not target.is_file():
        raise LcmDaemonError(f"{target} is a device or a pipe; name a file with -o")
    if not target.parent.is_dir():
        raise LcmDaemonError(f"the folder {target.parent} does not exist")
    check_models(show)
    try:
        with tempfile.TemporaryDirectory(prefix=".bundle-", dir=target.parent) as name, BundleWriter(target) as writer:
            folder = Path(name)
            packages = find(folder)
            found = show_files(reading, writer.is_own)
            if target == resolved(file) or target in found.files.values():
                raise LcmDaemonError(f"{target} is a file of the show; name another one with -o")
            for path, source in sorted({**found.files, **hub_files(show)}.items()):
                writer.add(path, source)
            print_line(f"{len(packages.installed)} packages are packed")
            _add_wheels(writer, packages, folder)
            manifest = writer.finish(file.stem, found.show)
    except OSError as error:
        raise LcmDaemonError(f"{error.filename or target}: {error.strerror or error}") from error
    for line in _report(target, manifest, found, packages):
        print_line(line)
    return 0


def _add_wheels(writer: BundleWriter, packages: Packages, folder: Path) -> None:
    """Pack the packages one after another, and pip. folder: Where there is room for the largest wheel."""
    for name in packages.installed:
        wheel = packages.wheel(name, folder)
        writer.add(f"{WHEELS}/{wheel.name}", wheel)
        wheel.unlink()
    if "pip" not in packages.installed:
        wheel = pip_wheel(folder)
        writer.add(f"{WHEELS}/{wheel.name}", wheel)


def _report(target: Path, manifest: Manifest, found: ShowFiles, packages: Packages) -> list[str]:
    """What the bundle has, one line each."""
    torch = f"; torch {packages.installed['torch'].version}" if "torch" in packages.installed else ""
    extras = f"; extras {', '.join(packages.extras)}" if packages.extras else ""
    rows = [("show", f"{found.show}, {_files(manifest, SHOW)}"),
            *(("", f"{here} as {place}") for here, place in sorted(found.moved.items())),
            ("models", _files(manifest, MODELS)),
            ("packages", f"{_files(manifest, WHEELS)}{torch}{extras}"),
            *(("not in it", line) for line in found.left_out),
            ("for", f"Python {manifest.python} on {manifest.system}, as here"),
            ("file", f"{target}, {format_size(target.stat().st_size)}"),
            ("then", f"on the other machine: python{manifest.python} {target.name} [DIR]")]
    return [f"  {word:9} {text}" for word, text in rows]


def _files(manifest: Manifest, folder: str) -> str:
    """How many files a folder of the bundle has, and their size."""
    count = sum(file.path.startswith(f"{folder}/") for file in manifest.files)
    size = format_size(manifest.size(f"{folder}/"))
    return f"{count} file{'s' if count > 1 else ''}, {size}" if count else "none from the hub"
