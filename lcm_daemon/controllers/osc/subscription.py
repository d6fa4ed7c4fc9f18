"""Reads the arguments of `/lcm/subscribe` and `/lcm/unsubscribe`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lcm_daemon.controllers.osc.ip import ANY, parse_ip
from lcm_daemon.controllers.osc.subscribers import DEFAULT_LIFETIME, MAX_LIFETIME, Subscriber, parse_endpoint
from lcm_daemon.controllers.osc.udp import Address
from lcm_daemon.controllers.osc_protocol.aliases import OWN_NAMESPACE
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.parameters import Refused


def is_own_port(listener: Address, host: str, ports: Sequence[int]) -> bool:
    """Whether a listener is the controller itself, which listens on these UDP ports of `host`."""
    reached = listener.host == host or (host in ANY and parse_ip(listener.host).is_loopback)
    return reached and listener.port in ports and not listener.tcp


def read_listener(arguments: Sequence[Any], source: Address, host: str, ports: Sequence[int]) -> Address:
    """The listener of a subscription: a port of the sender's host, and not this controller.

    Args:
        arguments: The message's arguments: nothing or 0 for the source itself, or a port.
        source: The sender.
        host: The host that the controller listens on.
        ports: The UDP ports that it listens on.

    Raises:
        Refused: It is neither.
    """
    try:
        named = bool(arguments) and (len(arguments) == 1 or arguments[0] != 0)
        listener = parse_endpoint(arguments[0], source.host) if named else source
    except LcmDaemonError as error:
        raise Refused(str(error)) from error
    if listener.host != source.host or is_own_port(listener, host, ports):
        raise Refused(f"{listener} is not a port of the sender's host, or is this daemon's own port")
    return listener


def read_subscriber(
    arguments: Sequence[Any], source: Address, listener: Address, before: Subscriber | None, known: Sequence[str],
) -> Subscriber:
    """The subscriber that a message asks for.

    Args:
        arguments: The message's arguments: the port, the lifetime, the namespaces.
        source: The sender.
        listener: Where the subscriber listens.
        before: The subscriber that listens there already.
        known: The other namespaces besides OWN_NAMESPACE.

    Raises:
        Refused: The lifetime or the namespaces are invalid.
    """
    namespaces: Sequence[str] = (OWN_NAMESPACE,)
    if len(arguments) > 2:
        namespaces = _read_namespaces(arguments[2], (OWN_NAMESPACE, *known))
    elif before is not None:
        namespaces = tuple(before.namespaces)
    seconds = DEFAULT_LIFETIME
    if listener.tcp or (before is not None and before.seconds == math.inf):
        seconds = math.inf
    elif len(arguments) > 1:
        seconds = _read_lifetime(arguments[1])
    return Subscriber(source, namespaces, seconds)


def _read_namespaces(value: Any, known: Sequence[str]) -> Sequence[str]:
    namespaces = tuple(dict.fromkeys(str(value)[:200].split()))
    if not namespaces or not set(known).issuperset(namespaces):
        raise Refused(f"a subscription can name the addresses of {', '.join(known)}, not {value!r:.80}")
    return namespaces


def _read_lifetime(value: Any) -> float:
    if isinstance(value, int | float) and 0 < value < math.inf:
        return min(float(value), MAX_LIFETIME)
    raise Refused(f"{value!r:.80} is not the lifetime of a subscription in seconds")
