"""Waiting for many pipes."""

from __future__ import annotations

import time
from multiprocessing import Pipe

from lcm_daemon.processes.pipes import readiness, wait_for_any


def test_those_beyond_the_limit_of_the_system_are_looked_at_soon() -> None:
    pipes = [Pipe() for _ in range(3)]
    try:
        began = time.monotonic()
        wait_for_any([ours for ours, _ in pipes], 30.0, most=2)
        assert time.monotonic() - began < 5.0
        pipes[2][1].send("ready")
        wait_for_any([ours for ours, _ in pipes], 30.0, most=3)
        assert time.monotonic() - began < 5.0, "it waits for all three"
    finally:
        for ours, theirs in pipes:
            ours.close()
            theirs.close()


def test_a_message_and_the_end_of_the_other_side_are_noticed() -> None:
    ours, theirs = Pipe()
    has_message = readiness(ours)
    assert not has_message()
    theirs.send("ready")
    assert has_message()
    assert ours.recv() == "ready"
    assert not has_message()
    theirs.close()
    assert has_message(), "reading says then that the pipe is closed"
    ours.close()
    assert has_message()
