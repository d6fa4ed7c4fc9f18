"""Sections of a show for the controllers of plugins, whose code is imported when a show has the section."""

from __future__ import annotations

from typing import Any

from lcm_daemon import controllers
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.plugins import PluginError
from lcm_daemon.core.schema import Custom, Field, Fields, OrFalse, Section
from lcm_daemon.core.schema_shapes import LateSection


def plugin_section(name: str) -> Field:
    """The section of a plugin's controller. It is off where a show does not name it."""

    def read(node: Node, problems: Problems) -> Any:
        try:
            return Section(controllers.load(name).fields).read(node, problems)
        except PluginError as error:
            return problems.add(node, str(error))

    return Field(OrFalse(Custom(read, "a mapping", LateSection(lambda: _keys(name)))), None,
                 "a controller of a plugin")


def _keys(name: str) -> Fields:
    """The keys of the section, for lists of keys and for editors; none if the plugin does not work."""
    try:
        return controllers.load(name).fields
    except PluginError:
        return {}
