"""`lcm-daemon export`: writes a file with which another program controls a show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lcm_daemon.commands.output import format_table, print_line
from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.local_addresses import machine_name
from lcm_daemon.exports.formats import FORMATS, find_format

STANDARD_OUTPUT = "-"


def list_exports() -> int:
    """Print the exports. Returns the exit code."""
    for line in format_table([("WHAT", "FILE", "HELP"), *(
            (name, kind.file_name("SHOW"), kind.help) for name, kind in FORMATS.items())]):
        print_line(line)
    return 0


def export(what: str, name: str, overrides: Sequence[str], output: str = "") -> int:
    """Write an export of a show. Returns the exit code.

    Args:
        what: Name of the export.
        name: The show's file or name.
        overrides: As of `run --set`.
        output: The file; "-" for standard output; "" for the export's own name, in the present folder.

    Raises:
        LcmDaemonError: The export is unknown, the show has mistakes, or the file cannot be written.
    """
    from lcm_daemon.shows.reader import load_show
    from lcm_daemon.shows.surface import surface_of

    kind = find_format(what)
    surface = replace(surface_of(load_show(name, overrides)), machine=machine_name())
    data = kind.build(surface)
    if output == STANDARD_OUTPUT:
        if kind.binary and sys.stdout.isatty():
            raise LcmDaemonError(f"{what} is not text: write it to a file with -o FILE")
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return 0
    path = Path(output or kind.file_name(surface.show)).expanduser()
    is_special = path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir())
    try:
        if is_special:  # a link, a device or a pipe stays what it is
            path.write_bytes(data)
        else:
            write_atomically(path, data)
    except OSError as error:
        raise LcmDaemonError(f"{path}: cannot be written: {error.strerror}") from error
    print_line(f"{path}: {kind.help}")
    return 0
