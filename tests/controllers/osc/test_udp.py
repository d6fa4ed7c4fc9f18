"""The socket: what the system grants, and errors that say what to do."""

from __future__ import annotations

import errno

import pytest

from lcm_daemon.controllers.osc import udp
from lcm_daemon.controllers.osc.udp import Udp
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import Metrics


def test_the_receive_buffer_is_counted_while_it_is_held() -> None:
    metrics = Metrics()
    one = Udp("127.0.0.1", 0, metrics)
    assert metrics.counts() == {"osc/receive_buffer": one.buffer}
    assert 0 < one.buffer <= udp.BUFFER * 2
    one.close()
    one.close()
    assert metrics.counts() == {"osc/receive_buffer": 0}


def test_the_doctor_tells_what_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert udp.doctor().startswith("works; receive buffer ")
    monkeypatch.setattr(udp, "BUFFER", 1 << 30)
    assert "net.core.rmem_max" in udp.doctor()


def test_an_address_of_another_machine() -> None:
    with pytest.raises(LcmDaemonError, match=r"^OSC: UDP port 9000 on 192.0.2.1 is not on this machine"):
        Udp("192.0.2.1", 9000, Metrics())


@pytest.mark.parametrize(("port", "words"), [
    (9000, "OSC: UDP port 9000 on 127.0.0.1 is in use by another program, or it is reserved (Windows): give the show "
           "another osc.port"),
    (80, "OSC: UDP port 80 on 127.0.0.1 is not allowed to this user: give the show an osc.port above 1023"),
])
def test_a_port_that_windows_does_not_give(port: int, words: str) -> None:
    assert str(udp.bind_error("UDP", "127.0.0.1", port, OSError(errno.EACCES, "forbidden"))) == words
