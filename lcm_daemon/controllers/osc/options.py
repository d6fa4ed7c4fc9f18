"""The show's keys for OSC, read and checked."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lcm_daemon.controllers.curves import CURVES
from lcm_daemon.controllers.osc.aliases import MAP, PROFILES, Mapped
from lcm_daemon.controllers.osc.allowlist import network_of
from lcm_daemon.controllers.osc.dispatch import ROOT
from lcm_daemon.controllers.osc.subscribers import OWN, endpoint
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.schema import Choice, Custom, Field, Fields, Items, Node, Number, Problems, Text, read_fields

_PORT = Number(0, 65535, whole=True)
_NUMBER = Number(-1e9, 1e9)
_PATTERN = frozenset("*?[]{},# ")  # in an address they are a pattern's


@dataclass(frozen=True)
class Listener:
    """A subscriber that the show names. words: whose addresses it is told, as OWN, MAP or a profile's name."""

    endpoint: str
    words: tuple[str, ...] = (OWN,)


def _read_host(node: Node, problems: Problems) -> str | None:
    text = Text().read(node, problems)
    if text is None:
        return None
    try:
        return str(ipaddress.IPv4Address("127.0.0.1" if text == "localhost" else text))
    except ValueError:
        problems.add(node, f"{text!r:.80} is not {HOST.describe()}")
        return None


def _read_network(node: Node, problems: Problems) -> str | None:
    text = Text().read(node, problems)
    if text is None:
        return None
    try:
        return str(network_of(text))
    except ValueError:
        problems.add(node, f"{text!r:.80} is not {NETWORK.describe()}")
        return None


def _read_listener(node: Node, problems: Problems) -> Listener | None:
    if isinstance(node.raw, yaml.MappingNode):
        found = read_fields(node, {"to": Field(_ENDPOINT), "addresses": Field(Items(_WORD), (OWN,))}, problems)
        return Listener(found.get("to") or "", found.get("addresses") or ())
    text = _ENDPOINT.read(node, problems)
    return Listener(text) if text else None


def _read_endpoint(node: Node, problems: Problems) -> str | None:
    text = Text().read(node, problems)
    if text is None:
        return None
    try:
        return str(endpoint(text, "127.0.0.1"))
    except LcmDaemonError:
        problems.add(node, f"{text!r:.80} is not {_ENDPOINT.describe()}")
        return None


def _read_range(node: Node, problems: Problems) -> tuple[float, float] | None:
    found = Items(_NUMBER).read(node, problems)
    if found and len(found) == 2 and None not in found and found[0] != found[1]:
        return found[0], found[1]
    problems.add(node, f"a range is {_RANGE.describe()}")
    return None


def _read_address(node: Node, problems: Problems) -> str | None:
    text = Text().read(node, problems)
    if text and text.startswith("/") and text.isascii() and text.isprintable() and not _PATTERN & set(text):
        if not text.startswith(ROOT):
            return str(text)
        problems.add(node, f"addresses that begin with {ROOT} are the daemon's own")
    elif text is not None:
        problems.add(node, f"{text!r:.80} is not {_ADDRESS.describe()}")
    return None


def _read_mapped(node: Node, problems: Problems) -> Mapped | None:
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, f"it is not {_MAPPED.describe()}")
        return None
    found = read_fields(node, _MAP, problems)
    return Mapped(found.get("from") or "/", found.get("to") or "", found.get("range"), found.get("input"),
                  found.get("curve"), found.get("argument") or 0)


HOST = Custom(_read_host, "an IPv4 address such as 127.0.0.1 (this machine alone) or 0.0.0.0 (every network)")
NETWORK = Custom(_read_network, "an IPv4 address such as 192.168.1.20, or a network such as 192.168.1.0/24")
_ENDPOINT = Custom(_read_endpoint, 'an IPv4 address and a port such as "127.0.0.1:9001"')
_WORD = Choice((OWN, MAP, *PROFILES))
_LISTENER = Custom(_read_listener, f'{_ENDPOINT.describe()}, or a mapping {{to: "127.0.0.1:9001", addresses: [{MAP}]}}')
_RANGE = Custom(_read_range, "two different numbers such as [0.2, 0.9]")
_ADDRESS = Custom(_read_address, "an OSC address such as /1/fader3")
_MAPPED = Custom(_read_mapped, "a mapping such as {from: /1/fader3, to: strength, range: [0.2, 0.9], curve: exp}")

_MAP: Fields = {
    "from": Field(_ADDRESS, help="The address that comes in."),
    "to": Field(Text(), help="The parameter it moves, or the command it gives."),
    "range": Field(_RANGE, None, "Where the parameter stands at the fader's two ends; its own range if left out."),
    "input": Field(_RANGE, None, "What the fader sends at its two ends; [0, 1] if left out."),
    "curve": Field(Choice(tuple(CURVES)), None, "The way in between; linear if left out."),
    "argument": Field(Number(0, 255, whole=True), 0, "Which of the message's arguments counts, from 0."),
}

FIELDS: Fields = {
    "port": Field(_PORT, 9000, "The UDP port that listens; 0 takes any free one."),
    "ports": Field(Items(_PORT), (), "Several UDP ports, in place of `port`; feedback leaves from the first."),
    "tcp": Field(_PORT, None, "A TCP port that listens beside them; 0 takes any free one."),
    "host": Field(HOST, "127.0.0.1", "The address that listens; 0.0.0.0 opens it to every network."),
    "allow": Field(Items(NETWORK), (), "Who may send, as addresses and networks; everybody if empty."),
    "feedback": Field(Items(_LISTENER), (), "Subscribers from the start, each host:port."),
    "feedback_rate": Field(Number(1, 1000), 60.0, "Most messages a second to one subscriber about one parameter."),
    "profiles": Field(Items(Choice(tuple(PROFILES))), (), "Whose addresses are answered to as well."),
    "map": Field(Items(_MAPPED), (), "The show's own addresses for parameters and commands."),
}


def filled(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with every default; ValueError for one that there is not."""
    if set(options) - set(FIELDS):
        raise ValueError(f"Osc knows no option {sorted(set(options) - set(FIELDS))}")
    return {name: options.get(name, spec.default) for name, spec in FIELDS.items()}
