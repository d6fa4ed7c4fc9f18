"""Looks up what a show names: parameters, commands, cues, files, devices. Returns what is wrong with each name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lcm_daemon.automation.cue_names import find_cue
from lcm_daemon.automation.cue_store import CueStore
from lcm_daemon.commands.check_weights import folder_of
from lcm_daemon.core.document import Reference, path_exists
from lcm_daemon.core.errors import MissingIntegration, Problem
from lcm_daemon.core.parameters import Refused
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.recipes.recipe import split_hub
from lcm_daemon.shows.library import companion_file
from lcm_daemon.shows.names import ShowNames
from lcm_daemon.transports.source_table import source_problem


def find_missing(names: ShowNames, references: Sequence[Reference]) -> Iterator[Problem]:
    """Yield a problem for each value that names something that is not there."""
    lookups = _Lookups(names, references)
    kinds: Mapping[str, Callable[[Reference], str]] = {
        "parameter": lookups.parameter_problem, "command": lookups.command_problem, "target": lookups.target_problem,
        "bank": lookups.bank_problem, "file": lookups.file_problem, "weights": lookups.weights_problem,
        "emptiness": lambda reference: "the show is empty; a show of defaults alone is {}",
        "repeat": lambda reference: reference.name,
        "value": lookups.value_problem, "arguments": lookups.arguments_problem, "subject": lookups.subject_problem,
        "failsafe": lookups.failsafe_problem, "device": _device_problem, "accelerator": lookups.accelerator_problem,
        "codec": _codec_problem, "cue": lookups.cue_problem,
        "document": lambda reference: "",
    }
    for reference in references:
        if problem := kinds[reference.kind](reference):
            yield reference.node.problem(problem)


class _Lookups:
    """The lookups of one show, by the kinds of references."""

    def __init__(self, names: ShowNames, references: Sequence[Reference]) -> None:
        self._names = names
        self._recorded = [str(given[0]) for reference in references if reference.name == "cue/record"
                          and (given := _as_list(reference.node.value))]  # cues that buttons of the show record
        self._subjects: Mapping[str, Callable[[Any], str]] = {  # commands whose first argument is a name
            "cue/goto": self._cue_problem, "cue/load": self._cue_problem, "prompts/play": self._prompt_problem,
            "source": self._source_problem, "guide": self._source_problem,
            **dict.fromkeys(("adjust", "toggle", "next"), self._parameter_problem),
        }

    @cached_property
    def _banks(self) -> Sequence[str]:
        from lcm_daemon.controllers.midi.mapping import ready_map, ready_map_names

        ready = [bank for name in ready_map_names() for bank in ready_map(name)["banks"]]
        return ("next", "previous", *self._names.banks, *ready)

    @cached_property
    def _cues(self) -> Sequence[str]:
        """The cues of the show, those recorded in an earlier run, and those that its maps record."""
        recorded = CueStore(companion_file(self._names.file)).read().cues
        return list(dict.fromkeys([*self._names.cues, *(cue.name for cue in recorded), *self._recorded]))

    def parameter_problem(self, reference: Reference) -> str:
        if reference.name in self._names.commands:
            return f"{reference.name} is a command, not a parameter: write command: {reference.name}"
        return self._parameter_problem(reference.name)

    def _parameter_problem(self, name: Any) -> str:
        known = self._names.table
        return "" if self._names.may_exist(str(name)) else f"no parameter {name!r:.80}{nearest(str(name), known)}"

    def command_problem(self, reference: Reference) -> str:
        name = reference.name
        if name in self._names.table:
            return f"{name} is a parameter, not a command: write to: {name}"
        known = self._names.commands
        return "" if self._names.may_exist(name) else f"no command {name!r:.80}{nearest(name, known)}"

    def target_problem(self, reference: Reference) -> str:
        name, known = reference.name, [*self._names.table, *self._names.commands]
        return "" if self._names.may_exist(name) else f"no parameter or command {name!r:.80}{nearest(name, known)}"

    def value_problem(self, reference: Reference) -> str:
        """A value that a line of a map sets. A wrong name of the parameter is a problem of its own."""
        parameter, node = self._names.table.get(reference.name), reference.node
        if parameter is None:
            return self.arguments_problem(reference)
        given = node.text if parameter.kind == "text" and node.is_text else node.value
        return "" if node.is_null else _refusal(lambda: parameter.coerce(given))

    def arguments_problem(self, reference: Reference) -> str:
        """The arguments that a line of a map gives to a command, or to a parameter."""
        name, given = reference.name, _as_list(reference.node.value)
        if not given:
            return ""
        if command := self._names.commands.get(name):
            reason = _refusal(lambda: command.coerce(given)) or self._subject_of(name, given)
            return f"{name}: {reason}" if reason and not self._is_unread(name, given) else ""
        parameter = self._names.table.get(name)
        if parameter is None or parameter.kind == "text" or given[0] in ("+", "-", "toggle"):
            return ""
        return _refusal(lambda: parameter.coerce(given[0]))

    def subject_problem(self, reference: Reference) -> str:
        """The first argument of a command, where the control adds the others."""
        reason = self._subject_of(reference.name, _as_list(reference.node.value))
        return f"{reference.name}: {reason}" if reason else ""

    def _subject_of(self, command: str, given: Sequence[Any]) -> str:
        return self._subjects[command](given[0]) if given and command in self._subjects else ""

    def _is_unread(self, command: str, given: Sequence[Any]) -> bool:
        """Whether it is the name of a recipe with a mistake: what it is may not be known, but it is there."""
        return command == "recipe" and bool(given) and given[0] in self._names.recipes

    def cue_problem(self, reference: Reference) -> str:
        return self._cue_problem(reference.name)

    def _cue_problem(self, name: Any) -> str:
        is_there = find_cue(self._cues, str(name)) >= 0
        return "" if is_there else f"no cue {str(name)!r:.80}{nearest(str(name), self._cues)}"

    def _source_problem(self, name: Any) -> str:
        return source_problem(str(name), self._names.sources)

    def _prompt_problem(self, number: Any) -> str:
        count = self._names.prompts
        is_there = isinstance(number, int | float) and 1 <= number <= count
        return "" if is_there else f"no prompt {number!r:.80}; the bank `prompts` has {count}"

    def bank_problem(self, reference: Reference) -> str:
        name = reference.name
        return "" if name in self._banks else f"no bank {name!r:.80}{nearest(name, self._banks)}"

    def file_problem(self, reference: Reference) -> str:
        path = folder_of(reference, self._names.file) / Path(reference.name).expanduser()
        return "" if path_exists(path) else f"file or folder {str(path)!r:.200} does not exist"

    def weights_problem(self, reference: Reference) -> str:
        """Weights of the hub, and what files contain, are looked at by `check_weights`."""
        return "" if split_hub(reference.name) else self.file_problem(reference)

    def failsafe_problem(self, reference: Reference) -> str:
        if reference.name != "slate" or self._names.slate:
            return ""
        return "failsafe: slate needs an image: add slate: FILE to output"

    def accelerator_problem(self, reference: Reference) -> str:
        """Ask torch and the accelerator's package, in a process of their own: this takes seconds."""
        if reference.name in ("auto", "none"):
            return ""
        from lcm_daemon.commands.probes import probe_accelerators

        recipe = self._names.recipe
        on_cpu = recipe is not None and (recipe.device == "cpu" or recipe.device.startswith("openvino:"))
        found = probe_accelerators("cpu" if on_cpu else "auto")
        if isinstance(found, str):
            return f"torch {found}"
        _, reason = found.get(reference.name, ("", ""))
        return f"{reference.name} does not work on this machine: {reason}" if reason else ""


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


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
    from lcm_daemon.commands.probes import probe_devices

    found = probe_devices()
    if isinstance(found, str):
        return f"torch {found}"
    first = {"cuda": "cuda:0", "openvino:GPU": "openvino:GPU.0"}.get(reference.name, "")  # where there are several
    is_there = reference.name in found or first in found
    return "" if is_there else f"this machine has no device {reference.name}; there are {', '.join(found)}"


def _codec_problem(reference: Reference) -> str:
    """Whether FFmpeg has an encoder for a recording. Without PyAV, `run` skips or refuses the sink."""
    from lcm_daemon.transports import pyav
    from lcm_daemon.transports.record import CODECS, available_encoders

    try:
        available = available_encoders(pyav.load("record"))
    except MissingIntegration:
        return ""
    wanted = [encoder.name for encoder in CODECS[reference.name]]
    is_there = not available.isdisjoint(wanted)
    return "" if is_there else f"the FFmpeg of PyAV on this machine has no encoder {' or '.join(wanted)}"
