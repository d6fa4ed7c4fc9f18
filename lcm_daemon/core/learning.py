"""Learning: binds the next control that moves to a target while the show plays, and changes bindings afterwards.

A target is a parameter, or a command with the argument that it always gets: `strength`, `cue/go`, `cue/goto Act One`.
A controller with a map (MIDI, OSC) registers itself. While a target is being learned, it acts on no message: it
collects what one control sends, and offers that as a line of its map. A control that moves something already is only
bound once that is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from lcm_daemon.core.bindings import BindingEdit, Line, identity
from lcm_daemon.core.learn_target import Target, TargetNames, read_target, target_name
from lcm_daemon.core.parameters import Refused, Value
from lcm_daemon.core.refusals import Refusal

LIMIT = 30.0  # seconds; learning that is not ended must not keep the devices from playing
KEPT = "learn"  # key of `ControlState.kept`: the edits of this run, in their order
MOVE, SHARE = "move", "share"  # what happens to the other binding of a control
_KEPT_KEYS = ("range", "curve", "takeover", "step")  # kept when a parameter gets another control
_BUTTON_KEYS = ("button", "value", "values")

class LearningControls(TargetNames, Protocol):
    """What learning needs of the control state of a show."""

    values: dict[str, Value]
    kept: dict[str, Any]

    def set_list(self, name: str, rows: tuple[Mapping[str, Value], ...]) -> None: ...

    def report_refusal(self, refusal: Refusal) -> None: ...

    def keep_for_restart(self, controller: str, state: Any) -> None: ...


class MapOwner(Protocol):
    """A controller that has a map of bindings."""

    section: str
    command_key: str  # the key of a line that names its command

    def lines(self) -> Sequence[Line]:
        """The lines of the show's map, with the changes of this run."""

    def users(self, line: Line) -> Sequence[Line]:
        """The lines, also those of ready maps, that the control of this line moves already."""

    def use(self, edit: BindingEdit) -> None:
        """Act on a change. Raises Refused for a line that has a mistake."""

    def label(self, line: Line) -> str:
        """The control of a line in few words, such as "cc 7 ch 1"."""


class Learning:
    """The bindings of a show, and the target that is being learned.

    Attributes:
        on_start: Called when learning starts, to open what is not open yet.
        call_later: Calls a function after some seconds and returns its handle; None for no limit.
    """

    def __init__(self, controls: LearningControls) -> None:
        self._target: Target | None = None
        self.on_start: Callable[[], None] = lambda: None
        self.call_later: Callable[[float, Callable[[], None]], Any] | None = None
        self._controls = controls
        self._owners: dict[str, MapOwner] = {}
        self._offered: tuple[str, Line] | None = None  # a control that moves something else already
        self._timer: Any = None

    @property
    def target(self) -> str:
        """What the next control is bound to; "" while nothing is learned."""
        return self._target.name if self._target is not None else ""

    @property
    def is_command(self) -> bool:
        """Whether a command is being learned, which a button runs."""
        return self._target is not None and self._target.is_command

    def register(self, owner: MapOwner) -> None:
        """Add a controller with a map. Changes of this run that an earlier desk has kept are used again."""
        self._owners[owner.section] = owner
        for edit in self._edits():
            if edit.section == owner.section:
                owner.use(edit)
        self.publish()

    def wants(self, section: str) -> bool:
        """Whether the next control of this section is to be offered, and nothing else done with it."""
        return bool(self.target) and self._offered is None and section in self._owners

    # --- commands ---

    def start(self, origin: str, arguments: Sequence[Value]) -> None:
        """Learn a parameter or a command. Raises Refused."""
        target = read_target(str(arguments[0]), self._controls)
        self._end()
        self._target = target
        if self.call_later is not None:
            self._timer = self.call_later(LIMIT, self._end)
        self.on_start()
        self.publish()

    def cancel(self, origin: str = "", arguments: Sequence[Value] = ()) -> None:
        """End learning without a binding."""
        self._end()

    def accept(self, origin: str, arguments: Sequence[Value]) -> None:
        """Bind the control that moves something already: `move` takes it from there, `share` keeps both."""
        if self._offered is None:
            raise Refused("learn: no control waits to be accepted")
        section, line = self._offered
        if not arguments or arguments[0] == MOVE:
            own = [identity(section, each) for each in self._owners[section].lines()]
            for other in self._others(section, line):
                if identity(section, other) in own:
                    self._use(BindingEdit(section, other, removed=True))
        self._bind(section, line)

    def set_range(self, origin: str, arguments: Sequence[Value]) -> None:
        """Set the values at the two ends of a control."""
        name, low, high, *control = arguments
        self._check_has_range(str(name))
        if low == high:
            raise Refused("learn: the two ends of a range differ")
        self._change(str(name), control, {"range": [low, high]})

    def set_curve(self, origin: str, arguments: Sequence[Value]) -> None:
        """Set the curve between the ends."""
        name, curve, *control = arguments
        self._check_has_range(str(name))
        self._change(str(name), control, {"curve": str(curve)})

    def remove(self, origin: str, arguments: Sequence[Value]) -> None:
        """Remove the bindings of a target, or the one of a control."""
        name, *control = arguments
        for section, line in self._find(str(name), control):
            self._use(BindingEdit(section, line, removed=True))
        self.publish()

    # --- controllers ---

    def offer(self, section: str, line: Line, is_button: bool = False) -> None:
        """Bind a control. If it moves something else already, ask first.

        Args:
            section: The section of its map.
            line: The line, without its target.
            is_button: Whether it was pressed, not turned. A button toggles a switch; of anything else it sets the value
                that is in effect now. Nothing else can run a command.
        """
        if not self.wants(section):
            return
        if self.is_command and not is_button:
            text = f"learn: {self.target} needs a button, and {self._owners[section].label(line)} is none"
            self._controls.report_refusal(Refusal("learn", text))
            return
        if is_button and not self.is_command:
            is_switch = self._controls.table[self.target].kind == "bool"
            line = {**line, **({"button": "toggle"} if is_switch else {"value": self._controls.values[self.target]})}
        if self._others(section, line):
            self._offered = section, line
            self.publish()
        else:
            self._bind(section, line)

    def _others(self, section: str, line: Line) -> list[Line]:
        users = self._owners[section].users(line)
        is_other = _BUTTON_KEYS if not self.is_command else ()
        return [user for user in users
                if self._name(user) != self.target or any(key in user for key in is_other)]

    def _bind(self, section: str, line: Line) -> None:
        assert self._target is not None
        owner = self._owners[section]
        new = {**line, **self._target.keys(owner.command_key)}
        old = next((each for each in owner.lines() if self._is_replaced(each, new)), None)
        kept = {key: old[key] for key in _KEPT_KEYS if key in old} if old is not None else {}
        try:
            self._use(BindingEdit(section, new, {**{key: new.get(key) for key in _KEPT_KEYS}, **kept}, replaces=old))
        finally:
            self._end()

    def _change(self, name: str, control: Sequence[Value], put: Line) -> None:
        for section, line in self._find(name, control):
            self._use(BindingEdit(section, line, put))
        self.publish()

    def _find(self, name: str, control: Sequence[Value]) -> list[tuple[str, Line]]:
        """Section and line of each binding of a target, or of the one with the control. Raises Refused if none."""
        found = [(section, line) for section, owner in self._owners.items() for line in owner.lines()
                 if self._name(line) == name and (not control or owner.label(line) == control[0])]
        if not found:
            raise Refused(f"learn: {name!r:.80} has no binding{f' {control[0]!r:.80}' if control else ''}")
        return found

    def _use(self, edit: BindingEdit) -> None:
        self._owners[edit.section].use(edit)
        self._controls.keep_for_restart(KEPT, (*self._edits(), edit))

    def _edits(self) -> tuple[BindingEdit, ...]:
        found: tuple[BindingEdit, ...] = self._controls.kept.get(KEPT, ())
        return found

    def _end(self) -> None:
        self._target = self._offered = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.publish()

    # --- what people see ---

    def publish(self) -> None:
        """Tell every page what is being learned, and which bindings there are."""
        self._controls.set_list("learning", (self._learning_row(),) if self.target else ())
        rows = [self._row(owner, line) for owner in self._owners.values() for line in owner.lines()
                if self._exists(line)]
        self._controls.set_list("bindings", tuple(rows))

    def _learning_row(self) -> Mapping[str, Value]:
        if self._offered is None:
            return {"to": self.target, "control": "", "conflict": ""}
        section, line = self._offered
        others = dict.fromkeys(self._name(other) for other in self._others(section, line))
        return {"to": self.target, "control": self._owners[section].label(line), "conflict": ", ".join(others)}

    def _row(self, owner: MapOwner, line: Line) -> Mapping[str, Value]:
        parameter = self._controls.table.get(line.get("to", ""))
        low, high = (0.0, 0.0) if parameter is None else line.get("range") or (parameter.low, parameter.high)
        is_range = low != high and math.isfinite(high - low) and not any(key in line for key in _BUTTON_KEYS)
        return {"to": self._name(line), "section": owner.section, "control": owner.label(line),
                "low": low if is_range else 0.0, "high": high if is_range else 0.0, "ranged": is_range,
                "curve": str(line.get("curve") or "linear")}

    def _name(self, line: Line) -> str:
        """The target of a line."""
        return target_name(line, self._controls.table)

    def _exists(self, line: Line) -> bool:
        """Whether the target of a line is a parameter of the present recipe, or a command."""
        word = line.get("command") or line.get("to")
        return word in self._controls.table or word in self._controls.commands

    def _is_replaced(self, old: Line, new: Line) -> bool:
        """Whether a new binding takes the place of an old one: of the same kind, for the same target and device."""
        same_device = old.get("device", "*") == new.get("device", "*")
        if not same_device or self._name(old) != self._name(new):
            return False
        if self.is_command:
            return "range" not in old  # with one, a fader sends its value
        return all(old.get(key) == new.get(key) for key in _BUTTON_KEYS)

    def _check_has_range(self, name: str) -> None:
        """Raise Refused for a command."""
        if name not in self._controls.table and name.partition(" ")[0] in self._controls.commands:
            raise Refused(f"learn: {name} is a command, which has no range or curve")
