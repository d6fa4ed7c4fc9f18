"""Origins of changes and requests in words for people."""

from __future__ import annotations


def describe_origin(origin: str) -> str:
    """The origin of a change for people: "osc/192.168.1.7:52311" becomes "osc 192.168.1.7"."""
    kind, _, rest = origin.partition("/")
    match kind:
        case "osc":
            return f"osc {rest.removeprefix('tcp/').rpartition(':')[0]}"
        case "oscquery":
            return "oscquery"
        case "midi":
            return f"midi {rest.rpartition('/')[0] or rest}"
        case "dmx":
            return f"dmx universe {rest.partition('/')[0]}"
        case "panel":
            return "page"
        case "cue":
            return f'cue "{rest}"'
        case "panic":
            return f"panic, {describe_origin(rest)}"
        case _:
            return origin
