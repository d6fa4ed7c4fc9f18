"""Which installed packages a bundle needs: lcm-daemon, plugins for it, and all that they need, as they are here."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Any

from lcm_daemon.commands.bundle.wheels import build, editable_source, find_installed, repack
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.plugins import declared

OURS = "lcm-daemon"
_NOT_FOR_USERS = ("dev",)  # extras that are not packed


@dataclass(frozen=True)
class Packages:
    """What is packed.

    Attributes:
        installed: Every package, by name. Of one that was installed with `pip install -e`, what is said in its wheel.
        built: The wheels of those, which were built of their source.
        extras: The extras of the first one that are complete here.
    """

    installed: Mapping[str, Distribution]
    built: Mapping[str, Path] = field(default_factory=dict)
    extras: tuple[str, ...] = ()

    def wheel(self, name: str, folder: Path) -> Path:
        """The wheel of a package; one that is not built is written into `folder`. Raises as `repack` does."""
        return self.built.get(name) or repack(self.installed[name], folder)


def needed_packages(folder: Path, first: str = OURS) -> Packages:
    """The package `first`, plugins for it, and every package that they need, as they are installed here.

    An extra of `first` is packed if all that it needs is installed.

    Args:
        folder: Where wheels are built.
        first: Name of the package.

    Raises:
        LcmDaemonError: A package that is needed is not installed, or cannot be built.
    """
    found: dict[str, Distribution] = {}
    built: dict[str, Path] = {}

    def look_up(name: str, by: str = "") -> Distribution:
        key = _normal(name)
        if key not in found:
            found[key] = _find(name, by)
            if source := editable_source(found[key]):  # what is installed may be older than the source
                built[key] = build(source, folder)
                found[key] = _inside(built[key])
        return found[key]

    extras = tuple(_installed_extras(look_up(first)))
    pending = [(first, extras, ""), *((plugin.package, (), "") for plugin in declared() if first == OURS)]
    visited = set()
    while pending:
        name, chosen, by = pending.pop()
        if (_normal(name), chosen) not in visited:
            visited.add((_normal(name), chosen))
            needs = _needs(look_up(name, by), chosen)
            pending += [(need.name, tuple(sorted(need.extras)), name) for need in needs]
    return Packages(dict(sorted(found.items())), built, extras)


def _installed_extras(package: Distribution) -> Iterator[str]:
    plain = set(map(str, _needs(package, ())))
    for extra in package.metadata.get_all("Provides-Extra") or []:
        own = [need for need in _needs(package, (extra,)) if str(need) not in plain]
        if own and extra not in _NOT_FOR_USERS and all(find_installed(need.name) for need in own):
            yield extra


def _inside(wheel: Path) -> Distribution:
    """What a wheel says of its package."""
    name, version, *_ = wheel.name.split("-")
    return PathDistribution(zipfile.Path(wheel, f"{name}-{version}.dist-info/"))


def _needs(package: Distribution, extras: Sequence[str]) -> list[Any]:
    """The requirements of a package on this machine, with these extras."""
    from packaging.requirements import Requirement

    found = [Requirement(text) for text in package.requires or ()]
    return [need for need in found
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras))]


def _find(name: str, by: str) -> Distribution:
    found = find_installed(name)
    if found is None:
        raise LcmDaemonError(f"the package {name}{f', which {by} needs,' if by else ''} is not installed here")
    return found


def _normal(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
