"""Ends: the sources and sinks of a show's plans, each built and put on its runner."""

from __future__ import annotations

import logging
from collections.abc import Callable

from lcm_daemon import transports
from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.core.frame import Size
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.transports.base import Endpoint, Sink, Source
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.transports.runner import SinkRunner, SourceRunner

log = logging.getLogger(__name__)


def build_source(
    plan: EndpointConfig | None, kind: str, size: Size, metrics: Metrics, arrived: Callable[[], None]
) -> SourceRunner | None:
    """The source of a plan; None where there is no plan. kind: its name in the counters ("source", "guide").

    arrived: called on the source's thread whenever a new frame is there.   Raises MissingIntegration.
    """
    source = _build(plan, transports.load(plan.transport).source) if plan else None
    if plan is None or not isinstance(source, Source):
        return None
    return SourceRunner(plan.label, source, size, plan.fit, metrics, arrived, kind)


def build_sink(plan: EndpointConfig, size: Size, fps: float, metrics: Metrics) -> SinkRunner | None:
    """The sink of a plan; None where it is optional and its integration is missing. Raises MissingIntegration."""
    sink = _build(plan, transports.load(plan.transport).sink)
    return SinkRunner(plan.label, sink, size, fps, metrics) if isinstance(sink, Sink) else None


def _build(plan: EndpointConfig, end: type[Endpoint] | None) -> Endpoint | None:
    assert end is not None
    probe = transports.load(plan.transport).probe()
    if probe.works or not probe.install:
        return end(plan.options)
    if not plan.optional:
        raise MissingIntegration(plan.transport, probe.detail, probe.install)
    log.info("%s is left out: %s; install it with: %s", plan.label, probe.detail, probe.install)
    return None
