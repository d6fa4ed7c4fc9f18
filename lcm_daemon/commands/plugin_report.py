"""What `list plugins`, `doctor`, `check` and `run` say of the plugins that are installed."""

from __future__ import annotations

from lcm_daemon.commands.output import format_table
from lcm_daemon.controllers import CONTROLLERS
from lcm_daemon.core.plugins import NameTable, Plugin
from lcm_daemon.recipes.registry import PIPELINES, PREPROCESSORS
from lcm_daemon.transports import TRANSPORTS

TABLES: tuple[NameTable, ...] = (PIPELINES, PREPROCESSORS, TRANSPORTS, CONTROLLERS)

# Loads every plugin, in a process of its own: a broken one may crash it.
LOADING = """
import json
from lcm_daemon import controllers, pipelines, transports
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.plugins import blame
from lcm_daemon.pipelines import preprocessors
from lcm_daemon.recipes.registry import PIPELINES, PREPROCESSORS
found = {}
for table, load in ((PIPELINES, pipelines.load_class), (PREPROCESSORS, preprocessors.load_class),
                    (transports.TRANSPORTS, transports.load), (controllers.CONTROLLERS, controllers.load)):
    for plugin in table.plugins:
        found[str(plugin)] = ""
        try:
            with blame(plugin):
                part = load(plugin.name)
                if table is transports.TRANSPORTS and not (probe := part.probe()).works:
                    found[str(plugin)] = f"the {plugin} does not work here: {probe.detail}"
        except LcmDaemonError as error:
            found[str(plugin)] = str(error)
print()
print(json.dumps(found))
"""


def plugins() -> list[Plugin]:
    """The plugins that are in the tables of names. Their code is not imported."""
    return [plugin for table in TABLES for plugin in table.plugins]


def refused_plugins() -> list[str]:
    """One line for each plugin that is not in the tables."""
    return [line for table in TABLES for line in table.refused]


def list_plugins() -> list[str]:
    """List the parts that other packages add."""
    rows = [(each.kind, each.name, each.package, each.version, each.path) for each in plugins()]
    lines = format_table([("KIND", "NAME", "PACKAGE", "VERSION", "PLACE"), *rows]) if rows else []
    return [*lines, *refused_plugins()] or ["no package adds a part; examples/plugins/README.md shows how one does"]
