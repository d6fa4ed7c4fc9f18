"""The nodes of a TouchOSC layout and the OSC messages of its controls, as XML.

A `.tosc` file is one XML document, packed with zlib. Its root `lexml` holds one node, whose children are the controls.
Keys, types and default properties are those that the editor of TouchOSC 1.5 writes (`lexml` version 6), after layouts
that come with it; their meaning is in https://hexler.net/touchosc/manual/script-properties-and-values.
"""

from __future__ import annotations

import re
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["GROUP", "PAGER", "BUTTON", "FADER", "LABEL"]
_NOT_IN_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")  # a carriage return becomes a new line
EVERY_CONNECTION = "1" * 10  # TouchOSC has ten connections


class Bounds(NamedTuple):
    """Where a node is, in points of its parent."""

    x: int
    y: int
    w: int
    h: int


class Colour(NamedTuple):
    """Red, green, blue and alpha, 0 to 1."""

    r: float
    g: float
    b: float
    a: float = 1.0


Property = bool | int | float | str | Bounds | Colour

_COMMON: Mapping[str, Property] = {
    "background": True, "color": Colour(0.25, 0.25, 0.25), "cornerRadius": 1.0, "grabFocus": True, "interactive": True,
    "locked": False, "orientation": 0, "outline": True, "outlineStyle": 1, "pointerPriority": 0, "shape": 1,
    "visible": True,
}
_OF_KIND: Mapping[Kind, Mapping[str, Property]] = {
    "GROUP": {"grabFocus": False, "interactive": False, "outline": False, "outlineStyle": 0, "background": False},
    "PAGER": {"grabFocus": False, "outlineStyle": 0, "tabLabels": True, "tabbar": True, "tabbarDoubleTap": False,
              "tabbarSize": 40, "textSizeOff": 14, "textSizeOn": 14},
    "BUTTON": {"buttonType": 0, "press": True, "release": True, "valuePosition": False},
    "FADER": {"bar": True, "barDisplay": 0, "cursor": True, "cursorDisplay": 0, "grid": True, "gridSteps": 10,
              "gridColor": Colour(0.0, 0.0, 0.0, 0.25), "response": 0, "responseFactor": 100, "orientation": 1},
    "LABEL": {"background": False, "font": 0, "interactive": False, "outline": False, "textAlignH": 2, "textAlignV": 2,
              "textClip": True, "textColor": Colour(1.0, 1.0, 1.0), "textLength": 0, "textSize": 14},
}
_VALUES: Mapping[Kind, Mapping[str, float | str]] = {
    "GROUP": {}, "PAGER": {"page": 0}, "BUTTON": {"x": 0}, "FADER": {"x": 0}, "LABEL": {"text": ""},
}


@dataclass
class ToscNode:
    """A control of the layout.

    Attributes:
        kind: Its type.
        key: Unique in the layout; its ID is made from it.
        name: Its name, which the editor and scripts show.
        frame: Where it is.
        properties: What differs from the defaults of its kind.
        values: What differs from its values at the start: `x` is 0 to 1, `text` a text.
        messages: Its messages, from `osc_message` and `local_message`.
        children: Of a group or pager.
    """

    kind: Kind
    key: str
    name: str
    frame: Bounds
    properties: Mapping[str, Property] = field(default_factory=dict)
    values: Mapping[str, float | str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    children: list[ToscNode] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Its ID: the same each time that the layout is built."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"lcm-daemon/touchosc/{self.key}"))


def pack(root: ToscNode) -> bytes:
    """The file: a `lexml` document of version 6, packed with zlib's level 9 as the editor does."""
    tree = _node(root, "<includes></includes>")
    return zlib.compress(f"<?xml version='1.0' encoding='UTF-8'?><lexml version='6'>{tree}</lexml>".encode(), 9)


def _node(node: ToscNode, before: str = "") -> str:
    properties = {**_COMMON, **_OF_KIND[node.kind], **node.properties, "name": node.name, "frame": node.frame}
    values = {**_VALUES[node.kind], **node.values}
    return (f"<node ID='{node.id}' type='{node.kind}'>{before}"
            f"<properties>{''.join(_property(key, properties[key]) for key in sorted(properties))}</properties>"
            f"<values>{''.join(_value(key, value) for key, value in values.items())}{_value('touch', 'false')}</values>"
            + _list("messages", node.messages) + _list("children", map(_node, node.children)) + "</node>")


def _list(tag: str, parts: Iterable[str]) -> str:
    joined = "".join(parts)
    return f"<{tag}>{joined}</{tag}>" if joined else ""


def _property(key: str, value: Property) -> str:
    if isinstance(value, bool):
        kind, text = "b", str(int(value))
    elif isinstance(value, int):
        kind, text = "i", str(value)
    elif isinstance(value, float):
        kind, text = "f", f"{value:g}"
    elif isinstance(value, str):
        kind, text = "s", cdata(value)
    else:
        kind = "r" if isinstance(value, Bounds) else "c"
        text = "".join(f"<{name}>{part:g}</{name}>" for name, part in value._asdict().items())
    return f"<property type='{kind}'><key>{cdata(key)}</key><value>{text}</value></property>"


def _value(key: str, value: float | str) -> str:
    text = value if isinstance(value, str) else f"{value:.6g}"
    return (f"<value><key>{cdata(key)}</key><locked>0</locked><lockedDefaultCurrent>0</lockedDefaultCurrent>"
            f"<default>{cdata(text)}</default><defaultPull>0</defaultPull></value>")


def without_control_characters(text: str) -> str:
    """A text without the characters that XML cannot hold. Others that are not seen stay: emoji are joined by them."""
    return _NOT_IN_XML.sub("", text)


def cdata(text: str) -> str:
    """A text for XML, without characters that XML cannot hold; "]]>" is divided."""
    held = without_control_characters(text)
    return f"<![CDATA[{held.replace(']]>', ']]]]><![CDATA[>')}]]>"


Conversion = Literal["INTEGER", "FLOAT", "STRING"]


def constant(value: float | str) -> str:
    """An argument, or a part of an address, that is always the same."""
    conversion = "STRING" if isinstance(value, str) else "INTEGER" if isinstance(value, int) else "FLOAT"
    return _partial("CONSTANT", conversion, value if isinstance(value, str) else f"{value:g}", 0, 1)


def variable(key: str, conversion: Conversion, low: float = 0, high: float = 1) -> str:
    """An argument that is a value of the control; `x`, which is 0 to 1, is scaled to a range, and back on receiving."""
    return _partial("VALUE", conversion, key, low, high)


def _partial(kind: str, conversion: str, value: str, low: float, high: float) -> str:
    return (f"<partial><type>{kind}</type><conversion>{conversion}</conversion><value>{cdata(value)}</value>"
            f"<scaleMin>{low:.10g}</scaleMin><scaleMax>{high:.10g}</scaleMax></partial>")


def osc_message(
    address: str, arguments: Sequence[str], trigger: str = "x", condition: str = "ANY", receive: bool = True,
    send: bool = True,
) -> str:
    """An OSC message of a control.

    Args:
        address: Its address.
        arguments: From `constant` and `variable`.
        trigger: The control's value whose change sends it.
        condition: "ANY" change, "RISE" (a button is pressed) or "FALL".
        receive: Whether a message with this address sets the control. It is not sent back then.
        send: Whether it is sent.
    """
    return (f"<osc><enabled>1</enabled><send>{int(send)}</send><receive>{int(receive)}</receive><feedback>0</feedback>"
            f"<noDuplicates>0</noDuplicates><connections>{EVERY_CONNECTION}</connections>"
            + (_trigger(trigger, condition) if send else "")
            + f"<path>{constant(address)}</path><arguments>{''.join(arguments)}</arguments></osc>")


def local_message(target: ToscNode, low: float, high: float, conversion: Conversion) -> str:
    """A message of a fader that writes its value, in a range, into a label of the same layout."""
    return (f"<local><enabled>1</enabled>{_trigger('x', 'ANY')}<type>VALUE</type><conversion>{conversion}</conversion>"
            f"<value>{cdata('x')}</value><scaleMin>{low:.10g}</scaleMin><scaleMax>{high:.10g}</scaleMax>"
            f"<dstType>VALUE</dstType><dstVar>{cdata('text')}</dstVar><dstID>{cdata(target.id)}</dstID></local>")


def _trigger(value: str, condition: str) -> str:
    return (f"<triggers><trigger><var>{cdata(value)}</var><condition>{condition}</condition></trigger></triggers>")
