"""`lcm-daemon check`: reads a show and reports every mistake, also what the show names and this machine lacks."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

from lcm_daemon.commands.check_effects import without_effect
from lcm_daemon.commands.check_guide import without_guide
from lcm_daemon.commands.check_large import larger_and_smoother
from lcm_daemon.commands.check_names import find_missing
from lcm_daemon.commands.check_weights import absent_weights, weight_problems
from lcm_daemon.commands.network_report import visitor_rows
from lcm_daemon.commands.plugin_report import refused_plugins
from lcm_daemon.core.errors import DocumentError, Problem
from lcm_daemon.pipelines.prompt_notes import PROMPTS, notes
from lcm_daemon.recipes.registry import AUTO
from lcm_daemon.render.session_frames import what_keeps_memory
from lcm_daemon.shows.reader import ShowReading, inspect_show
from lcm_daemon.shows.show import Show


def check(name: str, overrides: Sequence[str] = ()) -> int:
    """Print what a show does. Return the exit code.

    Raises:
        DocumentError: the show has mistakes; its text has one line for each, with file, line and column.
    """
    reading = inspect_show(name, overrides)
    if problems := find_problems(reading):
        raise DocumentError(problems)
    show = reading.show
    assert show is not None
    print(f"{show.file}: no mistakes\n{show.describe()}")
    visitors = [f"  {word:8} {address}  {where}" for word, address, where in visitor_rows(show, ())]
    for line in [*visitors, *unused_in_prompts(show), *without_effect(show), *bound_to_one_engine(show),
                 *refused_plugins(),
                 *without_guide(show), *absent_weights(show), *larger_and_smoother(show), *ports_in_use(show)]:
        print(line)
    return 0


def find_problems(reading: ShowReading) -> list[Problem]:
    """The mistakes of a show, and what it names that is not there."""
    if not reading.names:
        return [*reading.problems.found]
    references = reading.problems.references
    found = [*reading.problems.found, *find_missing(reading.names, references)]
    return [*found, *weight_problems(reading.names, references, found)]


def bound_to_one_engine(show: Show) -> list[str]:
    """What keeps the show's own picture, or a visitor's, on one of its engines: one line for its start and each cue."""
    if not any(group.engines > 1 or group.device == AUTO for group in show.engines) and len(show.engines) < 2:
        return []
    start = show.start_values(show.recipe)
    moments = [("at the start", what_keeps_memory(show.recipe, start)),
               *((f"in cue {cue.name}", what_keeps_memory(show.recipe, cue.values)) for cue in show.cues)]
    return [f"  engines  one of them renders all frames of a picture {when}: {', '.join(what)} "
            f"{'needs' if len(what) == 1 else 'need'} the frames before" for when, what in moments if what]


def unused_in_prompts(show: Show) -> list[str]:
    """One line for each part of a prompt that has no effect, though it has one in other tools."""
    start = show.start_values(show.recipe)
    prompts = [("at the start", name, start[name]) for name in PROMPTS]
    prompts += [(f"in cue {cue.name}", name, cue.values[name]) for cue in show.cues for name in PROMPTS
                if name in cue.values]
    prompts += [("in the bank", "prompt", text) for text in show.prompts]
    return [f"  prompt   {when}: {note}" for when, name, text in prompts
            for note in notes(name, str(text), show.recipe)]


def ports_in_use(show: Show) -> list[str]:
    """One line for each port of the show that another program has, or this show if it plays already."""
    osc, panel, query = (show.controllers[name] for name in ("osc", "panel", "oscquery"))
    wanted: list[tuple[str, str, int, socket.SocketKind]] = []
    if osc:
        wanted += [("osc.port", osc["host"], port, socket.SOCK_DGRAM) for port in osc["ports"] or (osc["port"],)]
        if osc["tcp"]:
            wanted.append(("osc.tcp", osc["host"], osc["tcp"], socket.SOCK_STREAM))
    wanted += [(f"{name}.port", section["host"], section["port"], socket.SOCK_STREAM)
               for name, section in (("panel", panel), ("oscquery", query)) if section]
    if show.audience:
        wanted.append(("audience.port", show.audience.host, show.audience.port, socket.SOCK_STREAM))
    in_use = [f"  in use   {key} {port}: another program, or this show, uses it now"
              for key, host, port, kind in wanted if port and _is_in_use(host, port, kind)]
    return [*_named_twice(wanted), *in_use]


def _named_twice(wanted: Sequence[tuple[str, str, int, socket.SocketKind]]) -> Iterator[str]:
    """One line for each port that the show gives to two of its servers."""
    owners: dict[tuple[int, socket.SocketKind], str] = {}
    for key, _, port, kind in wanted:
        if port and (port, kind) in owners:
            yield f"  in use   {key} {port}: {owners[port, kind]} of this show has it"
        owners[port, kind] = key


def _is_in_use(host: str, port: int, kind: socket.SocketKind) -> bool:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind)[0]
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM and hasattr(socket, "SO_REUSEADDR"):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return True
    return False
