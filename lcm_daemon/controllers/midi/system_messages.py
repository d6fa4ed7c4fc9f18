"""SystemMessages: MTC, MSC and MMC, the MIDI messages that belong to no control of a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lcm_daemon.controllers.midi.options import MMC, MSC, settings_of
from lcm_daemon.controllers.midi.port_names import DevicePattern, DevicePort
from lcm_daemon.controllers.midi.show_control import MachineControl, ShowControl
from lcm_daemon.controllers.timecode.mtc import MtcReader
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.timecode import TimecodeReport

if TYPE_CHECKING:
    from mido import Message


class SystemMessages:
    """Hands timecode to the control state, and carries out MSC and MMC.

    Args:
        controls: Control state of the show.
        options: The keys of `midi:` in the show.
    """

    def __init__(self, controls: ControlState, options: Mapping[str, Any]) -> None:
        self._controls, timecode = controls, options["timecode"]
        self._is_timecode_wanted, self._timecode_source = bool(timecode), None
        if isinstance(timecode, Mapping):
            self._timecode_source = DevicePattern(str(timecode["device"]), timecode.get("number"), outputs=False)
        show_control = settings_of(options["show_control"], MSC)
        machine_control = settings_of(options["machine_control"], MMC)
        self._show_control = None if show_control is None else ShowControl(
            show_control["device_id"], show_control["format"])
        self._machine_control = None if machine_control is None else MachineControl(machine_control["device_id"])
        self._readers: dict[DevicePort, MtcReader] = {}

    @property
    def patterns(self) -> Sequence[DevicePattern]:
        """The device that timecode comes from, if the show names one: its input is opened for that too."""
        return [self._timecode_source] if self._timecode_source else []

    def receive(self, message: Message, port: DevicePort, time: float) -> None:
        """Handle a quarter frame or a system exclusive message that has arrived at `time` (seconds of perf_counter)."""
        if self._is_timecode_wanted and (self._timecode_source is None or self._timecode_source.matches(port)):
            report = self._read_timecode(message, port, time)
            if report is not None:
                self._controls.timecode.receive(report)
        if message.type == "sysex":
            self._carry_out(message.data, f"midi/{port.kind.partition(':')[0]}")

    def _read_timecode(self, message: Message, port: DevicePort, time: float) -> TimecodeReport | None:
        if port not in self._readers:
            self._readers[port] = MtcReader(f"midi/{port.kind.partition(':')[0]}")
        reader = self._readers[port]
        if message.type == "quarter_frame":
            return reader.on_quarter_frame(message.frame_type, message.frame_value, time)
        return reader.on_sysex(message.data, time)

    def _carry_out(self, data: Sequence[int], device: str) -> None:
        if self._show_control is not None:
            for name, arguments in self._show_control.read(data):
                self._controls.command(name, f"{device}/MSC", arguments)
        if self._machine_control is not None:
            is_paused = bool(self._controls.status.get("paused"))
            for name, arguments in self._machine_control.read(data, is_paused):
                self._controls.command(name, f"{device}/MMC", arguments)
