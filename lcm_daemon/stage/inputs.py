"""Inputs: the source and the guide of a running show."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lcm_daemon.automation.look import Look
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Refused
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.live_source import LiveSource
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.transports.factory import build_source
from lcm_daemon.transports.runner import Runner, SourceRunner
from lcm_daemon.transports.source_table import OWN, PAGE, SourceTable

log = logging.getLogger(__name__)


def page_source(show: Show) -> str:
    """Name under which desk and stage share the frames of a page's camera; without one in the show, of this process."""
    return show.browser_source or f"page-{os.getpid()}"


def live_sources(show: Show) -> dict[str, EndpointConfig]:
    """The sources that source and guide can be changed to by a name of the show's, and the page's camera."""
    return {PAGE: EndpointConfig("browser", {"name": page_source(show)}), **show.sources}


def describe_sources(show: Show) -> dict[str, Mapping[str, Any]]:
    """The sources for the page's menu: transport, label and options by name. The page's camera comes once."""
    own = {OWN: show.source} if show.source else {}
    sources = {**own, **(show.sources if show.browser_source else live_sources(show))}
    return {name: {"transport": each.transport, "label": _short_label(each), "options": dict(each.options)}
            for name, each in sources.items()}


def _short_label(config: EndpointConfig) -> str:
    """What a page shows beside the name of a source: files without their folders."""
    if config.transport == "browser":
        return "camera or screen of a page"
    return f"file {Path(config.options['path']).name}" if config.transport == "file" else config.label


class Inputs:
    """Changes source and guide by name, and says which ones a resume file and a recorded cue must name.

    Args:
        show: the show.
        metrics: counters to report to.
        on_frame: called on a source's thread after each new frame.
        look: the look that the run begins with; None for the show's own.
    """

    def __init__(self, show: Show, metrics: Metrics, on_frame: Callable[[], None], look: Look | None = None) -> None:
        self.refusals = Refusals(metrics)
        self._show = show
        self._was_changed = bool(show.sources)
        self._asked_by: dict[str, str] = {}  # who asked for the last change, by kind

        def build(kind: str, config: EndpointConfig) -> SourceRunner | None:
            return build_source(config, kind, show.size, metrics, on_frame)

        def live(kind: str, own: EndpointConfig | None, name: str) -> LiveSource:
            table, make = SourceTable(own, live_sources(show)), partial(build, kind)
            replaces = kind == "source" and show.failsafe.mode in ("fade", "slate")  # the others keep the last picture
            lost_after = show.failsafe.hold_seconds if replaces else math.inf
            try:
                return LiveSource(kind, table, make, show.crossfade, name or OWN, lost_after)
            except LcmDaemonError as error:
                if not name:
                    raise
                log.warning("%s %s of the last run: %s; the show's own is used", kind, name, error)
                return LiveSource(kind, table, make, show.crossfade, lost_after=lost_after)

        self.source = live("source", show.source, look.source if look else "")
        self.guide = live("guide", show.guide, look.guide if look and show.can_guide else "")

    @property
    def error(self) -> str:
        """Why the last changes failed; empty if they did not."""
        return "; ".join(live.error for live in (self.source, self.guide) if live.error)

    def change(self, kind: str, name: str, origin: str, now: float) -> None:
        """Change the source or the guide (`kind`). A name that is not known is logged and shown in the status."""
        live = self.guide if kind == "guide" else self.source
        try:
            if live is self.guide and not self._show.can_guide:
                live.error = "guide: the show has none; give it a `guide`, or `sources`"
                raise Refused(live.error)
            live.change(name, now)
        except Refused as refusal:
            self.refusals.add(f"{kind}/unknown", origin, str(refusal))
        else:
            self._was_changed = True
            self._asked_by[kind] = origin

    def cancel(self) -> None:
        """Give up changes that have not begun to show."""
        self.source.cancel()
        self.guide.cancel()

    def step(self, now: float) -> None:
        """Take the next step of every change. Call this once a tick."""
        for live in (self.source, self.guide):
            if problem := live.step(now):
                self.refusals.report(self._asked_by.get(live.kind, ""), problem)

    def names(self) -> dict[str, str]:
        """The names of source and guide, for a cue or a resume file; "" if a show has only its own."""
        if not self._was_changed:
            return {}
        guide = {"guide": self.guide.wanted} if self._show.can_guide else {}
        return {"source": self.source.wanted, **guide}

    def runners(self) -> list[Runner]:
        """Every runner of a source that has a thread."""
        return [*self.source.runners(), *self.guide.runners()]
