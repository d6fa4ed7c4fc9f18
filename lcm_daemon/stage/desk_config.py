"""What the desk of a show is started with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lcm_daemon.core.live_values import Parameters
from lcm_daemon.desk.desk import DeskConfig
from lcm_daemon.shows.show import Show
from lcm_daemon.shows.surface import fixed_surface
from lcm_daemon.stage.inputs import describe_sources, page_source
from lcm_daemon.transports.endpoint import switch_names


def desk_config(show: Show, parameters: Parameters, recipes: Iterable[str], looks: Path | None) -> DeskConfig:
    """The configuration of a desk.

    Args:
        show: The show.
        parameters: The live values.
        recipes: Names of the recipes that the show can change to.
        looks: Folder with the thumbnails of the looks.
    """
    options = show.desk_options
    if "panel" in options:
        options["panel"] = {**options["panel"], "surface": fixed_surface(show)}
    return DeskConfig(
        show.name, parameters.shown(), parameters.targets(), options, tuple(recipes),
        browser_source=page_source(show), sources=describe_sources(show), network=show.network,
        sinks=tuple(switch_names(show.sinks)), cue_destinations=show.cue_destinations, looks_folder=looks)
