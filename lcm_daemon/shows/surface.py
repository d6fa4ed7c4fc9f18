"""The surface of a show: what its exports say about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lcm_daemon.automation.cue_store import CueStore
from lcm_daemon.core.requests import commands
from lcm_daemon.core.status_table import STATUS
from lcm_daemon.exports.surface import Surface, SurfaceEnd
from lcm_daemon.shows.library import FOLDER
from lcm_daemon.shows.midi_lines import midi_devices
from lcm_daemon.shows.show import Show
from lcm_daemon.transports.endpoint import EndpointConfig, switch_names

LOCAL_HOST = "127.0.0.1"
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # also those that end a line
EVERY_ADDRESS = ("0.0.0.0", "::", "")  # a server that listens there is also reached at LOCAL_HOST


def surface_of(show: Show) -> Surface:
    """What the exports of a show are built from: the show as its file says, with the cues that were recorded."""
    recipes = tuple(show.catalogue())
    return replace(
        fixed_surface(show), table=show.table(show.recipe), values=show.start_values(show.recipe),
        commands=commands(recipes, tuple(switch_names(show.sinks)), show.network.max_size), cues=_cues(show),
        recipes=recipes, status=STATUS)


def fixed_surface(show: Show) -> Surface:
    """The part of it that stays while the show plays: sources, sinks, ports. The rest is empty. Reads no file."""
    osc, panel, query = (show.controllers.get(name) for name in ("osc", "panel", "oscquery"))
    sources = (show.source, show.guide, *show.sources.values())
    return Surface(
        _CONTROL_CHARACTERS.sub(" ", show.name).strip(), {}, {}, {}, (), (), show.recipe.name, show.prompts, {},
        tuple(modulator.name for modulator in show.modulators), show.fps, show.size,
        tuple(_end(source) for source in sources if source), tuple(map(_end, show.sinks)),
        _host(osc or panel or {}), _osc_port(osc), _port(panel), _port(query), show.network.tls is not None,
        _file(show), mapped={entry.address: entry.to for entry in (osc or {}).get("map", ())},
        midi=midi_devices(show.controllers.get("midi")), page_host=_host(panel or {}), query_host=_host(query or {}))


def _file(show: Show) -> str:
    file = Path(show.file)
    return file.stem if file.parent == FOLDER else file.name


def _cues(show: Show) -> tuple[str, ...]:
    """Names of the show's cues, then of those that were recorded."""
    recorded = CueStore(show.companion_file).read().cues
    return tuple(dict.fromkeys(cue.name for cue in (*show.cues, *recorded)))


def _end(config: EndpointConfig) -> SurfaceEnd:
    return SurfaceEnd(config.transport, str(config.options.get("name") or config.options.get("display") or ""))


def _host(options: Mapping[str, Any]) -> str:
    host = str(options.get("host", LOCAL_HOST))
    return LOCAL_HOST if host in EVERY_ADDRESS else host


def _osc_port(options: Mapping[str, Any] | None) -> int:
    return int((options["ports"] or (options["port"],))[0]) if options is not None else 0


def _port(options: Mapping[str, Any] | None) -> int:
    return int(options["port"]) if options is not None else 0
