"""The contents of the messages to visitors' pages. server.py describes the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lcm_daemon.audience.config import ServerConfig
from lcm_daemon.controllers.panel.messages import describe_parameter
from lcm_daemon.core.parameters import Table, Value
from lcm_daemon.shows.audience import VISITOR

CAMERA = {"side": 256, "fps": 5}  # pixels of each side, and frames a second, that a page sends of its camera


def show(config: ServerConfig) -> dict[str, Any]:
    """What every visitor reads about the show."""
    audience = config.audience
    return {"show": config.show, "camera": CAMERA if audience.source == VISITOR else None, "keeps": bool(audience.keep),
            "seconds": audience.seconds}


def hello(config: ServerConfig, number: int) -> dict[str, Any]:
    """The first message on a connection."""
    return {**show(config), "number": number}


def waiting(place: int, wait: float) -> dict[str, Any]:
    """Where a session is that waits: its place in the queue, from 1, and the expected seconds until its turn."""
    return {"phase": "waiting", "place": place, "wait": round(wait)}


def turn(left: float) -> dict[str, Any]:
    """What is left of a turn, in seconds."""
    return {"phase": "turn", "left": round(left, 1)}


def table(parameters: Table, values: Mapping[str, Value]) -> dict[str, Any]:
    """The controls of a turn."""
    return {"parameters": [describe_parameter(each) for each in parameters.values()], "values": dict(values)}
