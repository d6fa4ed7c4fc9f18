"""Build a show's sources and sinks, each with the runner that drives it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext

from lcm_daemon import transports
from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.core.frame import Size
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.plugins import blame
from lcm_daemon.transports.base import Endpoint, Sink, Source
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.transports.runner import SinkRunner, SourceRunner

log = logging.getLogger(__name__)

LOAD_DELAY = 1.0  # seconds from the building of an endpoint to the loading of its library


def build_source(
    config: EndpointConfig | None, kind: str, size: Size, metrics: Metrics, on_frame: Callable[[], None]
) -> SourceRunner | None:
    """Build a source and its runner.

    Args:
        config: the source's section of the show, or None.
        kind: name of the source in the metrics, "source" or "guide".
        size: (width, height) in pixels that input frames are fitted to.
        metrics: counters to report to.
        on_frame: called on the source's thread after each new frame.

    Returns:
        The runner, not yet started. None without a config, or if the source is optional and its integration is
        missing.

    Raises:
        MissingIntegration: the integration is missing and the source is not optional.
    """
    source = _build_endpoint(config, transports.load(config.transport).source) if config else None
    if config is None or not isinstance(source, Source):
        return None
    return SourceRunner(config.label, source, size, config.fit, metrics, on_frame, kind, config.silence, config.view)


def build_sink(config: EndpointConfig, size: Size, fps: float, metrics: Metrics) -> SinkRunner | None:
    """Build a sink and its runner, not yet started; None if it is optional and its integration is missing.

    Raises:
        MissingIntegration: the integration is missing and the sink is not optional.
    """
    sink = _build_endpoint(config, transports.load(config.transport).sink)
    if not isinstance(sink, Sink):
        return None
    runner = SinkRunner(config.label, sink, size, fps, metrics, config.view.alpha)
    runner.switch(not config.idle)
    return runner


def _load_later(load: Callable[[], object]) -> None:
    timer = threading.Timer(LOAD_DELAY, load)
    timer.daemon = True
    timer.start()


def _build_endpoint(config: EndpointConfig, endpoint_type: type[Endpoint] | None) -> Endpoint | None:
    plugin = transports.TRANSPORTS.plugin(config.transport)
    with blame(plugin) if plugin else nullcontext():
        return _build_working(config, endpoint_type)


def _build_working(config: EndpointConfig, endpoint_type: type[Endpoint] | None) -> Endpoint | None:
    assert endpoint_type is not None
    transport = transports.load(config.transport)
    if transport.find is None:
        probe = transport.probe()
    else:  # the library is loaded once the output has begun, and not only when a recording does: that holds up the tick
        probe = transport.find()
        _load_later(transport.probe)
    if probe.works or not probe.install:
        return endpoint_type(config.options)
    if not config.optional:
        raise MissingIntegration(config.transport, probe.detail, probe.install)
    log.info("%s: skipped, as it is optional: %s; install it with: %s", config.label, probe.detail, probe.install)
    return None
