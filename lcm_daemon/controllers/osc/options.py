"""The show's keys for OSC."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from lcm_daemon.controllers.allowlist import LISTEN_HOST, NETWORK
from lcm_daemon.controllers.base import REPORT
from lcm_daemon.controllers.curves import FADER_CURVES
from lcm_daemon.controllers.osc.subscribers import parse_endpoint
from lcm_daemon.controllers.osc.timetags import AUTO, MODES
from lcm_daemon.controllers.osc_protocol.aliases import MAP_NAMESPACE, OWN_NAMESPACE, PROFILES, MapEntry
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.osc_names import ROOT
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.schema import Choice, Custom, Field, Fields, Items, Number, Section, Text, read_fields
from lcm_daemon.core.schema_shapes import Either

_PORT = Number(0, 65535, whole=True)
_NUMBER = Number(-1e9, 1e9)
_PATTERN_CHARACTERS = frozenset("*?[]{},# ")  # reserved in OSC addresses


@dataclass(frozen=True)
class FixedSubscriber:
    """A subscriber that the show names.

    Attributes:
        endpoint: "host:port".
        namespaces: Whose addresses it receives: OWN_NAMESPACE, MAP_NAMESPACE or keys of PROFILES.
    """

    endpoint: str
    namespaces: tuple[str, ...] = (OWN_NAMESPACE,)


def _read_subscriber(node: Node, problems: Problems) -> FixedSubscriber | None:
    if isinstance(node.raw, yaml.MappingNode):
        found = read_fields(node, _SUBSCRIBER_FIELDS, problems)
        return FixedSubscriber(found.get("to") or "", found.get("addresses") or ())
    text = _ENDPOINT.read(node, problems)
    return FixedSubscriber(text) if text else None


def _read_endpoint(node: Node, problems: Problems) -> str | None:
    text = Text().read(node, problems)
    if text is None:
        return None
    try:
        return str(parse_endpoint(text, "127.0.0.1"))
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
    if text and text.startswith("/") and text.isascii() and text.isprintable() and not _PATTERN_CHARACTERS & set(text):
        if not text.startswith(ROOT):
            return str(text)
        problems.add(node, f"addresses that start with {ROOT} are reserved for the daemon")
    elif text is not None:
        problems.add(node, f"{text!r:.80} is not {_ADDRESS.describe()}")
    return None


def _read_map_entry(node: Node, problems: Problems) -> MapEntry | None:
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, f"an entry of the map is {MAP_ENTRY.describe()}")
        return None
    found = read_fields(node, _MAP_FIELDS, problems)
    value, arguments = found["value"], found["with"]
    if value is not None and arguments:
        problems.add(node, "`value` and `with` cannot be together: `with` holds all arguments")
    if (value is not None or arguments) and (found["range"] or found["input"] or found["curve"]):
        problems.add(node, "`value` and `with` do not depend on the message: remove range, input and curve")
    for key, given in node.items():
        if kind := _CHECKED.get(str(key.raw.value)):
            problems.refer(given, kind, found["to"] or "")
    return MapEntry(found["from"] or "/", found["to"] or "", found["range"], found["input"], found["curve"],
                    found["argument"] or 0, tuple(arguments or ()) or (() if value is None else (value,)),
                    value is not None)


def _read_scalar(node: Node, problems: Problems) -> Value | None:
    if isinstance(node.raw, yaml.ScalarNode) and isinstance(node.value, bool | int | float | str):
        return node.value
    problems.add(node, f"{node.value!r:.80} is not a number, true, false or text")
    return None


_ENDPOINT = Custom(_read_endpoint, 'an IP address and a port such as "127.0.0.1:9001" or "[::1]:9001"')
_NAMESPACE = Choice((OWN_NAMESPACE, MAP_NAMESPACE, *PROFILES))
_SUBSCRIBER_FIELDS: Fields = {
    "to": Field(_ENDPOINT, help="where it listens, as host:port"),
    "addresses": Field(Items(_NAMESPACE), (OWN_NAMESPACE,), "whose addresses it receives"),
}
_SUBSCRIBER = Custom(
    _read_subscriber,
    f'{_ENDPOINT.describe()}, or a mapping {{to: "127.0.0.1:9001", addresses: [{MAP_NAMESPACE}]}}',
    Either((Text(), Section(_SUBSCRIBER_FIELDS))))
_RANGE = Custom(_read_range, "two different numbers such as [0.2, 0.9]", Items(_NUMBER))
_ADDRESS = Custom(_read_address, "an OSC address such as /1/fader3", Text())

_SCALAR = Custom(_read_scalar, "a number, true, false or text")
_CHECKED = {"value": "value", "with": "arguments"}  # keys that fit the target or not, with their Reference.kind
_MAP_FIELDS: Fields = {
    "from": Field(_ADDRESS, help="OSC address of the incoming message"),
    "to": Field(Text("target"), help="parameter to set, or command to run"),
    "range": Field(_RANGE, None, "parameter values at the fader's two ends; default: the parameter's own range"),
    "input": Field(_RANGE, None, "what the fader sends at its two ends; default: [0, 1]"),
    "curve": Field(Choice(tuple(FADER_CURVES)), None, "curve between the two ends; default: linear"),
    "argument": Field(Number(0, 255, whole=True), 0, "index of the message's argument that counts, from 0"),
    "value": Field(_SCALAR, None, "value that every message sets, except a released button's"),
    "with": Field(Items(_SCALAR), (), "arguments in place of the message's own; a released button does nothing"),
}

MAP_ENTRY = Custom(
    _read_map_entry, "a mapping such as {from: /1/fader3, to: strength, range: [0.2, 0.9], curve: exp}",
    Section(_MAP_FIELDS))

FIELDS: Fields = {
    "port": Field(_PORT, 9000, "UDP port to listen on; 0 takes any free one"),
    "ports": Field(Items(_PORT), (), "several UDP ports, instead of `port`; feedback is sent from the first"),
    "tcp": Field(_PORT, None, "TCP port to listen on as well; 0 takes any free one"),
    "host": Field(LISTEN_HOST, "127.0.0.1", "address to listen on; 0.0.0.0 opens OSC to every network, :: also to "
                  "IPv6; a multicast group such as 239.0.0.7 is joined on every network"),
    "allow": Field(Items(NETWORK), (), "addresses and networks that may send; an empty list allows all"),
    "feedback": Field(Items(_SUBSCRIBER), (), "subscribers from the start, each as host:port"),
    "feedback_rate": Field(Number(1, 1000), 60.0, "most messages a second about one parameter to one subscriber"),
    "report": REPORT,
    "time_tags": Field(
        Choice(MODES), AUTO, "when a bundle whose time tag is ahead is carried out: then (honour), at once (ignore), "
        "or then unless the sender's tags are steadily ahead, as those of a wrong clock are (auto)"),
    "profiles": Field(Items(Choice(tuple(PROFILES))), (), "tools whose OSC addresses are accepted as well"),
    "map": Field(Items(MAP_ENTRY), (), "own OSC addresses for parameters and commands"),
}
