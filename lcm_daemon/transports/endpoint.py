"""EndpointConfig: a source or a sink as a show has it, read against the option table of its transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from lcm_daemon.core.frame import Fit
from lcm_daemon.core.schema import (
    Boolean,
    Choice,
    Custom,
    Field,
    Fields,
    Node,
    PathText,
    Reader,
    Text,
    nearest,
    read_fields,
)
from lcm_daemon.transports import TRANSPORTS, load


@dataclass(frozen=True)
class EndpointConfig:
    """One source or sink of a show. `options` are the transport's own; `fit` is for sources, `optional` for both."""

    transport: str
    options: Mapping[str, Any]
    fit: Fit = "cover"
    optional: bool = False

    @property
    def label(self) -> str:
        """As the log and the status call it: "ndi lcm"."""
        name = self.options.get("name") or self.options.get("path") or ""
        return f"{self.transport} {name}".strip()


def source_plan(base: Path) -> Custom:
    """A source. base: the folder that relative paths start from."""
    return _end(base, False)


def sink_plan(base: Path) -> Custom:
    """A sink. base: the folder that relative paths start from."""
    return _end(base, True)


def _end(base: Path, is_sink: bool) -> Custom:
    """`transport` says whose option table the other keys are read against."""
    common: Fields = {"transport": Field(Text()), "optional": Field(Boolean(), False)}
    common = common if is_sink else {**common, "fit": Field(Choice(get_args(Fit)), "cover")}

    def read(node: Node, reader: Reader) -> EndpointConfig | None:
        name = _transport(node, is_sink, reader)
        if name is None:
            return None
        end = load(name).sink if is_sink else load(name).source
        assert end is not None
        own = {key: Field(PathText(), spec.default, spec.help) if key == "path" else spec
               for key, spec in end.fields.items()}
        found = read_fields(node, {**common, **own}, reader)
        options = {key: found[key] for key in own}
        if options.get("path"):
            options["path"] = str(base / Path(options["path"]).expanduser())
        return EndpointConfig(name, options, found.get("fit", "cover"), found["optional"])

    return Custom(read, "a mapping with the key transport")


def _transport(node: Node, is_sink: bool, reader: Reader) -> str | None:
    """The transport's name, if it has the end that is asked for."""
    pairs = node.items() if isinstance(node.raw, yaml.MappingNode) else []
    value = next((value for key, value in pairs if key.raw.value == "transport"), None)
    name = value.raw.value if value and isinstance(value.raw, yaml.ScalarNode) else ""
    end = "sink" if is_sink else "source"
    if name in TRANSPORTS and getattr(load(name), end) is not None:
        return str(name)
    fitting = [name for name in TRANSPORTS if getattr(load(name), end) is not None]
    if value is None:
        reader.complain(node, f"a {end} is a mapping with the key transport: {', '.join(fitting)}")
    else:
        reader.complain(value, f"{name!r:.80} is no {end}{nearest(name, fitting)}")
    return None
