"""Alarms: what needs a person at present. The status, the page, OSC and other receivers get them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping


class Alarms:
    """One text for each cause, as long as the cause lasts.

    Attributes:
        on_change: Called with the cause and its new text; with "" when the cause has ended. On the stage's thread.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self.on_change: list[Callable[[str, str], object]] = []

    def set(self, cause: str, text: str) -> None:
        """Say what is wrong; "" says that the cause has ended. The same text again changes nothing.

        Args:
            cause: A name that stays the same: "disk", "engine", "input".
            text: What is wrong, in one line.
        """
        if text == self._texts.get(cause, ""):
            return
        if text:
            self._texts[cause] = text
        else:
            del self._texts[cause]
        for call in self.on_change:
            call(cause, text)

    def set_all(self, texts: Iterable[tuple[str, str]]) -> None:
        """Say it of several causes."""
        for cause, text in texts:
            self.set(cause, text)

    @property
    def texts(self) -> Mapping[str, str]:
        """What is wrong, by cause."""
        return dict(self._texts)

    def describe(self) -> str:
        """All of them in one line; "" if there are none."""
        return "; ".join(self._texts.values())
