"""The show's section `alarms`: who is notified of an alarm, and how often."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from lcm_daemon.automation.cue_messages import read_destination
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Custom, Field, Fields, Items, Number, OrFalse, Section, Text
from lcm_daemon.core.schema_shapes import Either


@dataclass(frozen=True)
class AlarmOptions:
    """Who is notified of an alarm, and how often.

    Attributes:
        osc: Hosts and ports that get `/lcm/alarm`.
        webhooks: Addresses that get a POST request. They may hold secrets.
        command: A program and its arguments, which is started; empty for none.
        after: Seconds that an alarm must last, or be over, before it is sent.
        pause: Seconds between two messages about one cause, at least.
        repeat: Seconds after which an alarm that lasts is sent again; 0 for never.
    """

    osc: tuple[tuple[str, int], ...] = ()
    webhooks: tuple[str, ...] = field(default=(), repr=False)
    command: tuple[str, ...] = ()
    after: float = 5.0
    pause: float = 60.0
    repeat: float = 3600.0


def _read_webhook(node: Node, problems: Problems) -> str | None:
    text: str | None = Text().read(node, problems)
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and text.isascii() and text.isprintable()
        good = good and " " not in text and parts.port != 0
    except ValueError:
        good = False
    if not good:
        problems.add(node, f"a webhook is {_WEBHOOK.describe()}")  # without the text, which may hold a secret
        return None
    return text


def _read_command(node: Node, problems: Problems) -> tuple[str, ...] | None:
    if isinstance(node.raw, yaml.SequenceNode):
        words = Items(Text()).read(node, problems)
    else:
        text = Text().read(node, problems)
        try:
            words = None if text is None else tuple(shlex.split(text))
        except ValueError as error:
            problems.add(node, f"{text!r:.80} is not {COMMAND.describe()}: {str(error).lower()}")
            return None
    if words is None or None in words:
        return None
    if not words or not words[0] or any("\0" in word for word in words):
        problems.add(node, f"a command is {COMMAND.describe()}")
        return None
    return tuple(words)


def _one_or_several(kind: Custom) -> Custom:
    """A value, or a list of them. Reads to a tuple."""
    def read(node: Node, problems: Problems) -> tuple[Any, ...]:
        found = Items(kind).read(node, problems) if isinstance(node.raw, yaml.SequenceNode) else (
            kind.read(node, problems),)
        return tuple(each for each in found if each is not None)

    return Custom(read, f"{kind.describe()}, or a list of such", Either((Text(), Items(Text()))))


_WEBHOOK = Custom(_read_webhook, "an address such as https://example.org/hook", Text())
COMMAND = Custom(_read_command, "a program and its arguments, such as [logger, -t, mirror]",
                  Either((Text(), Items(Text()))))
_DESTINATION = Custom(read_destination, "a host and a port such as 192.168.1.20:9001", Text())
_FIELDS: Fields = {
    "osc": Field(_one_or_several(_DESTINATION), (), "where OSC messages /lcm/alarm go, each as host:port"),
    "webhook": Field(_one_or_several(_WEBHOOK), (), "addresses that get a POST request with JSON"),
    "command": Field(COMMAND, (), "a program that is started; LCM_ALARM_TEXT and other variables say what is wrong"),
    "after": Field(Number(0, 3600), 5.0, "seconds that an alarm must last, or be over, before it is sent"),
    "pause": Field(Number(0, 86_400), 60.0, "seconds between two messages about one cause, at least"),
    "repeat": Field(Number(0, 604_800), 3600.0, "seconds after which an alarm that lasts is sent again; 0 for never"),
}
ALARMS = Field(OrFalse(Section(_FIELDS)), None, "who is notified when the show needs a person")


def read_alarms(found: Mapping[str, Any] | None) -> AlarmOptions | None:
    """What the section says; None without it, or if it names no receiver."""
    if found is None or not (found["osc"] or found["webhook"] or found["command"]):
        return None
    return AlarmOptions(found["osc"], found["webhook"], found["command"] or (), found["after"] or 0.0,
                        found["pause"] or 0.0, found["repeat"] or 0.0)
