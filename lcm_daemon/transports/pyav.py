"""PyAV (FFmpeg), loaded when an endpoint that needs it is opened."""

from __future__ import annotations

import importlib.util
from typing import Any

from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.transports.base import Probe

INSTALL = "pip install av"


def load(integration: str) -> Any:
    """Import and return the package `av`; raises MissingIntegration, in the name of `integration`, if that fails."""
    try:
        import av
    except ImportError as error:
        raise MissingIntegration(integration, f"PyAV cannot be loaded ({reason(error)})", INSTALL) from error
    return av


def reason(error: BaseException) -> str:
    """First line of a library's error message."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]


def find() -> Probe:
    """Test whether PyAV is installed, without loading it: that takes as long as the rest of a show's outputs."""
    if importlib.util.find_spec("av") is None:
        return Probe(False, "PyAV is not installed", INSTALL)
    return Probe(True, "PyAV")


def probe() -> Probe:
    """Test whether PyAV can be loaded."""
    try:
        return Probe(True, f"PyAV {load('').__version__}")
    except MissingIntegration as error:
        return Probe(False, error.reason, error.install)
