"""What a transport's test module hands to the contract tests, which stand in test_contract.py.

A module `test_NAME.py` beside this file adds its transport at import, one line a table:

    from tests.transports.contract import LOOPBACKS, TOLERANCES

    @contextmanager
    def loopback() -> Iterator[tuple[Sink, Source]]:
        need(ndi_works(), "the NDI runtime is not installed")   # from conftest, where a real part may be missing
        yield NdiSink({"name": "contract"}), NdiSource({"name": "contract"})

    LOOPBACKS["ndi"] = loopback
    TOLERANCES["ndi"] = 12          # only where the protocol compresses

test_contract.py imports `test_NAME` for every NAME in `lcm_daemon.transports.TRANSPORTS`: nothing else is to be done.
The tests open both ends themselves, the sink first, and write and read in turns; the context closes what is left open
and takes its stand-ins away.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from lcm_daemon.transports.base import Sink, Source

LOOPBACKS: dict[str, Callable[[], AbstractContextManager[tuple[Sink, Source]]]] = {}
"""Both ends of a transport, connected with each other and not yet opened: what goes in must come out."""

SOURCES: dict[str, Callable[[], AbstractContextManager[Source]]] = {}
"""A source alone, not yet opened, of which at least three frames can be read (a transport that has no sink)."""

TOLERANCES: dict[str, int] = {}
"""The largest error of a channel in the middle of a flat area, in steps of 255; without an entry it is 0."""
