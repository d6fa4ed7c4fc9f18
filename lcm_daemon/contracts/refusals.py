"""The contract that a wrong call is refused."""

from __future__ import annotations

from collections.abc import Callable


def check_refusal(call: Callable[[], object], kind: type[Exception], words: str, otherwise: str) -> None:
    """The call raises an error of this kind whose text has these words. otherwise: what a part does that does not."""
    try:
        call()
    except kind as error:
        text = str(error)
    else:
        raise AssertionError(otherwise)
    if words not in text:
        raise AssertionError(f"the error does not say {words!r}: {text}")
