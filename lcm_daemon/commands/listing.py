"""`lcm-daemon list`: what this installation has. Each list imports only what it prints, so that it is there at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

from lcm_daemon.commands.output import format_table
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.plugins import PluginError
from lcm_daemon.core.schema import Fields

SOURCE_SEARCH_SECONDS = 2.0  # how long each transport looks for sources


def list_sources() -> list[str]:
    """List the sources that the transports find now."""
    from lcm_daemon import transports

    lines = []
    for name in transports.TRANSPORTS:
        try:
            source = transports.load(name).source
            for label in source.discover(SOURCE_SEARCH_SECONDS) if source else []:
                lines.append(f"{name}: {label}")
                lines += [f"    {line}" for line in source.details(label)] if source else []
        except LcmDaemonError as error:
            lines.append(str(error) if str(error).startswith(f"{name}: ") else f"{name}: {error}")
    return lines or ["no sources found (testcard and file need none)"]


def list_recipes() -> list[str]:
    """List the packaged recipes as a table."""
    from lcm_daemon.recipes.reader import load_recipe, recipe_names

    rows = [("NAME", "TITLE", "STEPS", "DOWNLOAD", "VRAM", "LICENCE")]
    for recipe in map(load_recipe, recipe_names()):
        steps = "-" if recipe.pipeline == "passthrough" else str(recipe.start_values()["steps"])
        rows.append((recipe.name, recipe.title, steps, recipe.download, recipe.vram, recipe.licence))
    return format_table(rows)


def list_parameters(recipe: str | None = None) -> list[str]:
    """List the parameters of every show, or those of a recipe."""
    from lcm_daemon.commands.arguments import find_recipes
    from lcm_daemon.core.parameter_table import TABLE

    table = find_recipes(recipe)[0].table() if recipe else TABLE
    lines = []
    for group, parameters in itertools.groupby(table.values(), lambda parameter: parameter.group):
        lines += ["", group, *(parameter.describe() for parameter in parameters)]
    return lines[1:]


def list_commands() -> list[str]:
    """List the commands that OSC, MIDI, OSCQuery and the page can give, with their arguments."""
    from lcm_daemon.core.requests import COMMANDS

    return [f"/lcm/{name + ' ' + command.usage:38} {command.help}" for name, command in COMMANDS.items()]


def list_status() -> list[str]:
    """List the entries of the status, which OSC, OSCQuery and the page show."""
    from lcm_daemon.core.status_table import STATUS

    return [f"/lcm/status/{name:16} {meaning}" for name, meaning in STATUS.items()]


def list_transports() -> list[str]:
    """List the transports and their options."""
    from lcm_daemon import transports
    from lcm_daemon.transports.endpoint import EVERY_SINK, EVERY_SOURCE

    lines = ["every source", *_options(EVERY_SOURCE), "every sink", *_options(EVERY_SINK)]
    for name in transports.TRANSPORTS:
        try:
            transport = transports.load(name)
        except PluginError as error:
            lines.append(str(error))
            continue
        for end, kind in (("source", transport.source), ("sink", transport.sink)):
            if kind:
                common = EVERY_SOURCE if end == "source" else EVERY_SINK
                lines.append(f"{name} ({end})")
                lines += _options({key: spec for key, spec in kind.fields.items() if key not in common})
    return lines


def _options(fields: Fields) -> list[str]:
    return [f"    {key:10} {spec.kind.describe()}. {spec.help}" for key, spec in fields.items()]


def list_prompts() -> list[str]:
    """List the words that the built-in model knows."""
    import yaml

    from lcm_daemon.recipes.reader import load_recipe

    file = Path(load_recipe("builtin").model) / "words.yaml"
    try:
        known = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise LcmDaemonError(f"{file}: cannot be read: {error.strerror}") from error
    lines = ["The built-in model knows these words and ignores all others."]
    for kind, words in known.items():
        lines += ["", kind, *(f"    {word:20} {meaning}" for word, meaning in words.items())]
    return lines


def list_shows() -> list[str]:
    """List the packaged shows."""
    from lcm_daemon.shows.library import show_files

    return [path.stem for path in show_files()]


def list_displays() -> list[str]:
    """List the displays that the window sink can fill."""
    from lcm_daemon.transports.window import list_displays

    return list_displays()


def list_audio() -> list[str]:
    """List the devices that the audio input can listen to."""
    from lcm_daemon.controllers.audio.device import list_devices

    return list_devices()


def list_plugins() -> list[str]:
    """List the parts that other packages add."""
    from lcm_daemon.commands.plugin_report import list_plugins

    return list_plugins()


def list_keys() -> list[str]:
    """List every key of a show."""
    from lcm_daemon.commands.list_keys import list_keys

    return list_keys()


LISTS: Mapping[str, Callable[[], list[str]]] = {
    "sources": list_sources,
    "recipes": list_recipes,
    "parameters": list_parameters,
    "commands": list_commands,
    "status": list_status,
    "transports": list_transports,
    "shows": list_shows,
    "prompts": list_prompts,
    "displays": list_displays,
    "audio": list_audio,
    "keys": list_keys,
    "plugins": list_plugins,
}
