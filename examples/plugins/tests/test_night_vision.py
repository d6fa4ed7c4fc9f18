"""The contract tests of lcm-daemon, for the parts of this package."""

from __future__ import annotations

from night_vision.bright import Bright
from night_vision.night import Night
from night_vision.pulse import Pulse
from night_vision.ramp import TRANSPORT, Ramp

from lcm_daemon.contracts.controllers import check_controller
from lcm_daemon.contracts.pipelines import check_pipeline
from lcm_daemon.contracts.preprocessors import check_preprocessor
from lcm_daemon.contracts.transports import check_source, check_transport
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.requests import commands
from lcm_daemon.recipes.recipe import Recipe


def test_ramp() -> None:
    check_transport(TRANSPORT)
    check_source(Ramp({}))


def test_night() -> None:
    check_pipeline(Night, Recipe("night", pipeline="night"))


def test_bright() -> None:
    check_preprocessor(Bright)


def test_pulse() -> None:
    values = {name: parameter.default for name, parameter in TABLE.items()}
    check_controller(Pulse, ControlState(TABLE, values, Metrics(), lambda: None, commands([])), {"seconds": 5.0})
