"""`lcm-daemon check`: reads a show and reports every mistake, also what the show names and this machine lacks."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from lcm_daemon.core.document import Reference, path_exists
from lcm_daemon.core.errors import DocumentError, Problem
from lcm_daemon.core.parameters import Refused, Table
from lcm_daemon.core.requests import Commands, commands
from lcm_daemon.core.schema import nearest
from lcm_daemon.recipes.recipe import split_hub
from lcm_daemon.shows.library import find_show
from lcm_daemon.shows.reader import read_show
from lcm_daemon.shows.show import Show, parameter_table
from lcm_daemon.transports.endpoint import switch_names


def check(name: str, overrides: Sequence[str] = ()) -> int:
    """Print what a show does. Return the exit code.

    Raises:
        DocumentError: the show has mistakes; its text has one line for each, with file, line and column.
    """
    show, references = read_show(name, overrides)
    problems = list(find_missing(show, references))
    if problems:
        raise DocumentError(problems)
    print(f"{show.file}: no mistakes\n{show.describe()}")
    for line in ports_in_use(show):
        print(line)
    return 0


def find_missing(show: Show, references: Sequence[Reference]) -> Iterator[Problem]:
    """Yield a problem for each value that names something that is not there."""
    names = _Names(show)
    lookups: Mapping[str, Callable[[Reference], str]] = {
        "parameter": names.parameter_problem, "command": names.command_problem, "target": names.target_problem,
        "bank": names.bank_problem, "file": names.file_problem, "weights": names.weights_problem,
        "emptiness": lambda reference: "the show is empty; a show of defaults alone is {}",
        "value": names.value_problem, "arguments": names.arguments_problem,
        "failsafe": names.failsafe_problem, "device": _device_problem, "accelerator": names.accelerator_problem,
    }
    for reference in references:
        if problem := lookups[reference.kind](reference):
            yield reference.node.problem(problem)


class _Names:
    """What a show may name."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._base = find_show(show.file).resolve().parent

    @cached_property
    def _commands(self) -> Commands:
        return commands(tuple(self._show.catalogue()), tuple(switch_names(self._show.sinks)))

    @cached_property
    def _parameters(self) -> Table:
        """Of every recipe that the show may change to."""
        return parameter_table(list(self._show.catalogue().values()), self._show.modulators)

    @cached_property
    def _banks(self) -> Sequence[str]:
        from lcm_daemon.controllers.midi.mapping import ready_map, ready_map_names

        midi = self._show.controllers["midi"] or {}
        ready = [bank for name in ready_map_names() for bank in ready_map(name)["banks"]]
        return ("next", "previous", *midi.get("banks", ()), *ready)

    def parameter_problem(self, reference: Reference) -> str:
        name = reference.name
        if name in self._parameters:
            return ""
        if name in self._commands:
            return f"{name} is a command, not a parameter: write command: {name}"
        return f"no parameter {name!r:.80}{nearest(name, self._parameters)}"

    def command_problem(self, reference: Reference) -> str:
        name = reference.name
        if name in self._commands:
            return ""
        if name in self._parameters:
            return f"{name} is a parameter, not a command: write to: {name}"
        return f"no command {name!r:.80}{nearest(name, self._commands)}"

    def target_problem(self, reference: Reference) -> str:
        known = [*self._parameters, *self._commands]
        name = reference.name
        return "" if name in known else f"no parameter or command {name!r:.80}{nearest(name, known)}"

    def value_problem(self, reference: Reference) -> str:
        """A value that a line of a map sets. A wrong name of the parameter is a problem of its own."""
        parameter, node = self._parameters.get(reference.name), reference.node
        if parameter is None:
            return ""
        given = node.text if parameter.kind == "text" and node.is_text else node.value
        return _refusal(lambda: parameter.coerce(given))

    def arguments_problem(self, reference: Reference) -> str:
        """The arguments that a line of a map gives to a command, or to a parameter."""
        name, given = reference.name, reference.node.value
        if command := self._commands.get(name):
            reason = _refusal(lambda: command.coerce(given))
            return f"{name}: {reason}" if reason else ""
        parameter = self._parameters.get(name)
        if parameter is None or parameter.kind == "text" or given[0] in ("+", "-", "toggle"):
            return ""
        return _refusal(lambda: parameter.coerce(given[0]))

    def bank_problem(self, reference: Reference) -> str:
        name = reference.name
        return "" if name in self._banks else f"no bank {name!r:.80}{nearest(name, self._banks)}"

    def file_problem(self, reference: Reference) -> str:
        path = self._folder(reference) / Path(reference.name).expanduser()
        return "" if path_exists(path) else f"file or folder {str(path)!r:.200} does not exist"

    def weights_problem(self, reference: Reference) -> str:
        """Weights of the hub are looked for by `pull --offline`."""
        return "" if split_hub(reference.name) else self.file_problem(reference)

    def _folder(self, reference: Reference) -> Path:
        """The folder that relative paths start from: that of the file that names the path."""
        file = Path(reference.node.file)
        is_other = file.is_file() and file.resolve() != Path(self._show.file).resolve()
        return file.resolve().parent if is_other else self._base

    def failsafe_problem(self, reference: Reference) -> str:
        if reference.name != "slate" or self._show.slate:
            return ""
        return "failsafe: slate needs an image: add slate: FILE to output"

    def accelerator_problem(self, reference: Reference) -> str:
        """Ask torch and the accelerator's package, in a process of their own: this takes seconds."""
        if reference.name in ("auto", "none"):
            return ""
        from lcm_daemon.commands.doctor import probe_accelerators

        found = probe_accelerators("cpu" if self._show.recipe.device == "cpu" else "auto")
        if isinstance(found, str):
            return f"torch {found}"
        _, reason = found.get(reference.name, ("", ""))
        return f"{reference.name} does not work on this machine: {reason}" if reason else ""


def _refusal(coerce: Callable[[], object]) -> str:
    """The reason why a value is refused; empty if it is not."""
    try:
        coerce()
    except Refused as reason:
        return str(reason)
    return ""


def _device_problem(reference: Reference) -> str:
    if reference.name in ("auto", "cpu"):
        return ""
    from lcm_daemon.commands.doctor import probe_devices

    found = probe_devices()
    if isinstance(found, str):
        return f"torch {found}"
    wanted = "cuda:0" if reference.name == "cuda" else reference.name
    return "" if wanted in found else f"this machine has no device {reference.name}; there are {', '.join(found)}"


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
