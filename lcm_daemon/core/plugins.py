"""Plugins: parts that other packages add to the tables of names, by entry points of the groups in GROUPS.

The names are read from the metadata of the installed packages when a name is looked up that is not a built-in one, or
when all names are listed; once a process. A plugin's own code is imported when the part is used.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lcm_daemon.core.errors import LcmDaemonError

GROUPS: Mapping[str, str] = {
    "pipeline": "lcm_daemon.pipelines",
    "preprocessor": "lcm_daemon.preprocessors",
    "transport": "lcm_daemon.transports",
    "controller": "lcm_daemon.controllers",
}
"""The kinds of parts, and the group of entry points of each."""

_KINDS = {group: kind for kind, group in GROUPS.items()}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")  # it is a word of shows, recipes and addresses
_INFO = (".dist-info", ".egg-info")
_MARK = b"lcm_daemon."  # in the entry points of packages that are read; those of all others are not parsed

Part = TypeVar("Part")


class PluginError(LcmDaemonError):
    """A plugin cannot be loaded, or has failed. The text names its package."""


@dataclass(frozen=True)
class Plugin:
    """A part that another package adds.

    Attributes:
        kind: A key of GROUPS.
        name: What shows and recipes call it.
        path: Where it is, "module:attribute".
        package: Name of the package.
        version: Version of the package.
    """

    kind: str
    name: str
    path: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of {self.package} {self.version}"


@functools.cache
def declared() -> tuple[Plugin, ...]:
    """Every part that a package declares, also those that are refused, sorted by package. Imports no plugin."""
    found: dict[str, list[Plugin]] = {}
    for folder in _info_folders():
        package, plugins = _read(folder)
        found.setdefault(package, plugins)  # of a package that is there twice, the first is imported
    return tuple(plugin for package in sorted(found) for plugin in found[package])


def _info_folders() -> Iterator[Path]:
    """The metadata of packages that may have entry points for us, in the order of `sys.path`."""
    for place in dict.fromkeys(sys.path):
        try:
            names = sorted(entry.name for entry in os.scandir(place or ".") if entry.name.endswith(_INFO))
        except OSError:
            continue
        for folder in (Path(place, name) for name in names):
            try:
                if _MARK in (folder / "entry_points.txt").read_bytes():
                    yield folder
            except OSError:
                continue


def _read(folder: Path) -> tuple[str, list[Plugin]]:
    """Name of the package, and its plugins. What is malformed is passed over."""
    from importlib.metadata import PathDistribution  # 50 ms that an installation without plugins need not wait for

    info = PathDistribution(folder)
    try:
        given = {key: info.metadata[key] for key in ("Name", "Version") if key in info.metadata}
        package, version = str(given.get("Name") or folder.stem), str(given.get("Version") or "without version")
        points = [point for point in info.entry_points if point.group in _KINDS]
    except (OSError, ValueError, TypeError, AttributeError, KeyError):  # what importlib raises for damaged files
        return folder.stem, []
    return package, [Plugin(_KINDS[each.group], each.name, each.value, package, version) for each in points]


@contextmanager
def blame(plugin: Plugin) -> Iterator[None]:
    """Turn what a plugin's code raises into one line that names its package.

    Raises:
        PluginError: The code has raised an error that is not an LcmDaemonError.
    """
    try:
        yield
    except LcmDaemonError:
        raise
    except (Exception, SystemExit) as error:  # code of others may raise anything, or call sys.exit
        reason = (str(error).strip().splitlines() or [""])[0]
        raise PluginError(f"the {plugin} does not work: {type(error).__name__}: {reason:.200}") from error


class NameTable(MutableMapping[str, str]):
    """The parts of one kind by name, each with its place "module:attribute": the built-in ones, then those of plugins.

    A plugin with the name of another part is refused, and listed in `refused`. Nothing is read from packages until a
    name is asked for that is not a built-in one.
    """

    def __init__(self, kind: str, own: Mapping[str, str], reserved: frozenset[str] = frozenset()) -> None:
        """kind: a key of GROUPS; own: the built-in parts; reserved: further names that plugins may not have."""
        self.kind, self._own, self._reserved = kind, dict(own), reserved
        self._found: tuple[dict[str, Plugin], tuple[str, ...]] | None = None

    def plugin(self, name: str) -> Plugin | None:
        """The plugin of that name; None for a built-in part and for an unknown name."""
        return None if name in self._own else self._plugins()[0].get(name)

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """The plugins that are in the table."""
        return tuple(self._plugins()[0].values())

    @property
    def refused(self) -> tuple[str, ...]:
        """One line for each plugin that is not in the table."""
        return self._plugins()[1]

    def load(self, name: str, is_right: Callable[[Any], bool], wanted: str, attribute: str = "") -> Any:
        """Import a part.

        Args:
            name: A name in the table.
            is_right: Whether an object is such a part. Asked for plugins.
            wanted: What such a part is, as a noun phrase, for errors.
            attribute: What is read from a module whose place names no attribute.

        Raises:
            KeyError: The table does not have the name.
            PluginError: The part is of a plugin, and cannot be imported, or is something else.
        """
        plugin = self.plugin(name)
        if plugin is None:
            return _import(self._own[name], attribute)
        with blame(plugin):
            part = _import(plugin.path, attribute)
            fits = is_right(part)
        if not fits:
            raise PluginError(f"the {plugin} does not work: {plugin.path} is not {wanted}")
        return part

    def load_class(self, name: str, base: type[Part]) -> type[Part]:
        """Import a part that is a class of `base`. Raises as `load` does."""

        def fits(part: Any) -> bool:
            return isinstance(part, type) and issubclass(part, base)

        kind: type[Part] = self.load(name, fits, f"a class of {base.__name__}")
        return kind

    def _plugins(self) -> tuple[dict[str, Plugin], tuple[str, ...]]:
        if self._found is None:
            found: dict[str, Plugin] = {}
            refused = []
            for plugin in (each for each in declared() if each.kind == self.kind):
                if problem := self._problem(plugin, found):
                    refused.append(f"the {plugin} is refused: {problem}")
                else:
                    found[plugin.name] = plugin
            self._found = found, tuple(refused)
        return self._found

    def _problem(self, plugin: Plugin, found: Mapping[str, Plugin]) -> str:
        if not _NAME.fullmatch(plugin.name):
            return "a name is 1 to 32 lower-case letters, digits and _, and begins with a letter"
        if plugin.name in self._own:
            return f"the built-in {self.kind} has this name"
        if plugin.name in self._reserved:
            return "another key of shows has this name"
        return f"{found[plugin.name].package} has this name too" if plugin.name in found else ""

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._plugins()[0]

    def __getitem__(self, name: str) -> str:
        return self._own[name] if name in self._own else self._plugins()[0][name].path

    def __setitem__(self, name: str, path: str) -> None:
        self._own[name] = path

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own, *self._plugins()[0]])

    def __len__(self) -> int:
        return len(self._own) + len(self._plugins()[0])


def _import(path: str, attribute: str) -> Any:
    module, _, own = path.partition(":")
    part = importlib.import_module(module)
    for name in (own or attribute).split("."):
        part = getattr(part, name)
    return part
