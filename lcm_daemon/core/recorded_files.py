"""The files of an installed package, as its RECORD lists them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib.metadata import Distribution, FileHash, PackagePath


def recorded_files(package: Distribution) -> Iterator[PackagePath]:
    """Yield every file that was installed; none if the package keeps no RECORD.

    `Distribution.files` leaves out those that are missing, from Python 3.12 on. The format is that of
    https://packaging.python.org/specifications/recording-installed-packages.
    """
    for name, hash_text, *_ in csv.reader((package.read_text("RECORD") or "").splitlines()):
        file = PackagePath(name)
        file.hash, file.dist = FileHash(hash_text) if hash_text else None, package
        yield file
