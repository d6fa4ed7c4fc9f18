"""Names of OSC that controllers and exports share: the fixed addresses, and the type tag of each kind of parameter."""

from __future__ import annotations

from collections.abc import Mapping

from lcm_daemon.core.parameters import ParameterKind

ROOT = "/lcm/"
STATUS = ROOT + "status/"
LIVE_VALUES = STATUS + "live/"  # values in force: with fade, modulation and the governor's changes
ERROR = ROOT + "error"  # why a message was refused, to its sender and to every subscriber
SYNC = ROOT + "sync"  # is sent back once everything before it has been handled
FADER = ROOT + "fader/"  # a parameter by the position of a fader, 0 to 1: for programs that send nothing else

# https://opensoundcontrol.stanford.edu/spec-1_0.html: T is true; false has the tag F.
TYPE_TAGS: Mapping[ParameterKind, str] = {"float": "f", "int": "i", "bool": "T", "text": "s", "choice": "s"}
