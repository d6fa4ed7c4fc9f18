"""Tables that a transport's test module fills for the contract tests in tests/transports/test_contract.py.

A module `tests/transports/test_MODULE.py` adds its transport at import, one line for each table:

    from tests.rigs.transport_contract import LOOPBACKS, TOLERANCES

    @contextmanager
    def loopback() -> Iterator[tuple[Sink, Source]]:
        need(ndi_works(), "the NDI runtime is not installed")   # from conftest, if the real part may be missing
        yield NdiSink({"name": "contract"}), NdiSource({"name": "contract"})

    LOOPBACKS["ndi"] = loopback
    TOLERANCES["ndi"] = 12          # only if the protocol compresses

test_contract.py imports the test module of every transport in `lcm_daemon.transports.TRANSPORTS` (MODULE is the last
part of the transport's module name); nothing else is needed. The tests open both endpoints themselves, the sink first,
and alternate writes and reads. The context manager closes what is still open and removes its stand-ins.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from lcm_daemon.transports.base import Sink, Source

LOOPBACKS: dict[str, Callable[[], AbstractContextManager[tuple[Sink, Source]]]] = {}
"""By transport, a sink and a source that are connected with each other and not yet open."""

SOURCES: dict[str, Callable[[], AbstractContextManager[Source]]] = {}
"""By transport without a sink, a source that is not yet open and delivers at least three frames."""

TOLERANCES: dict[str, int] = {}
"""By transport, the largest channel error in the middle of a flat area, in steps of 255; 0 by default."""
