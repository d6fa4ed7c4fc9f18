"""Lamps: what came in over OSC and MIDI, a few times a second."""

from __future__ import annotations

from lcm_daemon.controllers.panel.lamps import Lamps
from lcm_daemon.core.activity import LONGEST
from tests.rigs.panel import Rig


def test_the_list_has_the_number_of_messages_and_the_last_one() -> None:
    rig = Rig()
    lamps, heard = Lamps(rig.controls), []
    rig.controls.subscribe(on_list=heard.append)
    lamps.update_list()
    assert heard == []
    for number in range(1000):
        rig.controls.activity.note("osc", f"/lcm/strength {number}", "10.0.0.7")
    rig.controls.activity.note("midi", "x" * 500, "nanoKONTROL")
    lamps.update_list()
    lamps.update_list()
    assert heard == ["activity"]
    osc, midi = rig.controls.lists["activity"]
    assert osc == {"name": "osc", "count": 1000, "last": "/lcm/strength 999 from 10.0.0.7"}
    assert midi["last"] == f"{'x' * LONGEST} from nanoKONTROL"
