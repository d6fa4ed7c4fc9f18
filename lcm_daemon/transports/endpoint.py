"""Configuration of a source or sink, read from a show against the options of its transport."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.frame import Fit
from lcm_daemon.core.plugins import PluginError
from lcm_daemon.core.schema import Boolean, Choice, Custom, Field, Fields, PathText, Text, read_fields
from lcm_daemon.core.schema_shapes import Variants
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.transports import TRANSPORTS, load
from lcm_daemon.transports.base import Endpoint
from lcm_daemon.transports.placement import ALPHA, DEFAULT_VIEW, VIEW, View, read_view
from lcm_daemon.transports.silence import DEFAULT_SILENCE, SILENCE, SilencePolicy

_OPTIONAL = Field(Boolean(), False, "skip it where its library is not installed")
EVERY_SOURCE: Fields = {
    "fit": Field(Choice(get_args(Fit)), "cover", "fill the output, show everything, or ignore the shape"),
    **VIEW, **SILENCE, "optional": _OPTIONAL,
}
EVERY_SINK: Fields = {
    "alpha": ALPHA, "idle": Field(Boolean(), False, "begin switched off, until /lcm/sink/NAME 1"),
    "optional": _OPTIONAL,
}


@dataclass(frozen=True)
class EndpointConfig:
    """One source or sink of a show.

    Attributes:
        transport: name of the transport, a key of TRANSPORTS.
        options: the transport's own options.
        fit: how frames are brought to the output size; for sources only.
        optional: skip the endpoint if its integration is missing.
        silence: what a source is that sends no new frame.
        idle: whether a sink begins switched off.
        view: how a source's frames are turned, mirrored and aligned; of a sink only its alpha.
    """

    transport: str
    options: Mapping[str, Any]
    fit: Fit = "cover"
    optional: bool = False
    silence: SilencePolicy = DEFAULT_SILENCE
    idle: bool = False
    view: View = DEFAULT_VIEW

    @property
    def label(self) -> str:
        """Name in log and status, such as "ndi lcm" or "window 2"."""
        name = self.options.get("name") or self.options.get("path") or self.options.get("display") or ""
        return f"{self.transport} {name}".strip()


def source_schema(base: Path) -> Custom:
    """Schema of a source. base: the folder that relative paths start from."""
    return _endpoint_schema(base, is_sink=False)


def sink_schema(base: Path) -> Custom:
    """Schema of a sink. base: the folder that relative paths start from."""
    return _endpoint_schema(base, is_sink=True)


def _endpoint_schema(base: Path, is_sink: bool) -> Custom:
    """The key `transport` decides which options the other keys are read against."""
    common = {"transport": Field(Text()), **(EVERY_SINK if is_sink else EVERY_SOURCE)}

    def read(node: Node, problems: Problems) -> EndpointConfig | None:
        name = _read_transport(node, is_sink, problems)
        if name is None:
            return None
        endpoint_type = _endpoint_type(name, is_sink)
        assert endpoint_type is not None
        own = {key: Field(PathText("" if is_sink else "file"), spec.default, spec.help) if key == "path" else spec
               for key, spec in endpoint_type.fields.items()}
        before = len(problems)
        values = read_fields(node, {**common, **own}, problems)
        options = {key: values[key] for key in own}
        places = {key.raw.value: value for key, value in node.items()}
        for key, problem in endpoint_type.option_problems(options).items() if len(problems) == before else ():
            problems.add(places.get(key, node), problem)
        if isinstance(options.get("path"), str) and options["path"]:  # REQUIRED where it is missing
            options["path"] = str(base / Path(options["path"]).expanduser())
        silence = SilencePolicy(values.get("unchanged", ""), values.get("after"))
        return EndpointConfig(
            name, options, values.get("fit", "cover"), values["optional"], silence, values.get("idle", False),
            read_view(values),
        )

    return Custom(read, "a mapping with the key transport", _shape(is_sink))


@functools.cache  # one object for every source, so that the list of keys prints it once
def _shape(is_sink: bool) -> Variants:
    def fields() -> Mapping[str, Fields]:
        return {name: end.fields for name, end in _endpoint_types(is_sink).items()}

    return Variants("transport", {"transport": Field(Text()), **(EVERY_SINK if is_sink else EVERY_SOURCE)}, fields)


def sender(sink: EndpointConfig) -> str:
    """The sink by the name that receivers find it by, such as "the memory sink 'lcm'"; empty without one."""
    name = sink.options.get("name")
    return f"the {sink.transport} sink {name!r:.80}" if name else ""


def switch_names(sinks: Sequence[EndpointConfig]) -> dict[str, list[int]]:
    """The names by which sinks are switched off and on, each with the places of its sinks in the list.

    A sink is called by its name, or by its transport where it has none. Where several have one name, that name is all
    of them, and each is also called TRANSPORT-NAME, a window by its display: window-2. Characters that an OSC address
    cannot have become "_".
    """
    found: dict[str, list[int]] = {}
    for place, sink in enumerate(sinks):
        found.setdefault(_address_part(sink.options.get("name") or sink.transport), []).append(place)
    for name, places in list(found.items()):
        for place in places if len(places) > 1 else ():
            own = sinks[place].options.get("display") or name
            found.setdefault(_address_part(f"{sinks[place].transport}-{own}"), []).append(place)
    return found


def _address_part(name: str) -> str:
    return re.sub(r"[^!-~]|[#*,/?\[\]{}]", "_", name)


def _endpoint_type(name: str, is_sink: bool) -> type[Endpoint] | None:
    transport = load(name)
    return transport.sink if is_sink else transport.source


def _endpoint_types(is_sink: bool) -> dict[str, type[Endpoint]]:
    """Every kind of source or of sink, without plugins that do not work."""
    found: dict[str, type[Endpoint]] = {}
    for name in TRANSPORTS:
        with suppress(PluginError):
            if (end := _endpoint_type(name, is_sink)) is not None:
                found[name] = end
    return found


def _read_transport(node: Node, is_sink: bool, problems: Problems) -> str | None:
    """The value of the key `transport`, if that transport has the wanted kind of endpoint."""
    pairs = node.items() if isinstance(node.raw, yaml.MappingNode) else []
    value = next((value for key, value in pairs if key.raw.value == "transport"), None)
    name = value.raw.value if value and isinstance(value.raw, yaml.ScalarNode) else ""
    try:
        if name in TRANSPORTS and _endpoint_type(name, is_sink) is not None:
            return str(name)
    except PluginError as error:
        problems.add(value or node, str(error))
        return None
    kind = "sink" if is_sink else "source"
    known = list(_endpoint_types(is_sink))
    if value is None:
        problems.add(node, f"a {kind} is a mapping with the key transport: {', '.join(known)}")
    else:
        problems.add(value, f"no {kind} has the transport {name!r:.80}{nearest(name, known)}")
    return None
