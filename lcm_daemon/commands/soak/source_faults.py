"""Faults of the source: its sender is killed, renamed, resized, slow, fast, silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lcm_daemon.commands.soak.input_sender import Sending
from lcm_daemon.commands.soak.scene import SOURCE_SECONDS, Fault, Scene


class _SourceFault(Fault):
    """A sender that does something else for a while."""

    hold: float = 6.0
    limit: float = SOURCE_SECONDS
    from_undo: bool = True

    def missing(self, scene: Scene) -> str:
        return "" if scene.sender is not None else "the copy plays its own source"

    def is_over(self, scene: Scene, since: float) -> bool:
        return scene.receives(since)


class SourceChange(_SourceFault):
    """A sender that sends something else. change: What it sends, by what it sends usually."""

    def __init__(self, name: str, does: str, change: Callable[[Sending], Sending]) -> None:
        self.name, self.does, self._change = name, does, change

    def begin(self, scene: Scene) -> None:
        assert scene.sender is not None
        scene.sender.change(self._change(scene.sender.usual))

    def undo(self, scene: Scene) -> None:
        assert scene.sender is not None
        scene.sender.change(scene.sender.usual)


class SourceKilled(_SourceFault):
    """A sender that crashes and is started again."""

    name = "source-kill"
    does = "kills the source's sender for 6 s"

    def begin(self, scene: Scene) -> None:
        assert scene.sender is not None
        scene.sender.kill()

    def undo(self, scene: Scene) -> None:
        assert scene.sender is not None
        scene.sender.start()


def _resized(usual: Sending) -> Sending:
    return replace(usual, size=(usual.size[0] * 3 // 4 * 2, max(2, usual.size[1] // 4 * 2)))


FAULTS: tuple[Fault, ...] = (
    SourceKilled(),
    SourceChange("source-rename", "gives the source's sender another name for 6 s",
                 lambda usual: replace(usual, name="soak-renamed")),
    SourceChange("source-resize", "makes the source wider and half as high for 6 s", _resized),
    SourceChange("source-slow", "lets the source send 1 frame a second for 6 s",
                 lambda usual: replace(usual, fps=1.0)),
    SourceChange("source-fast", "lets the source send 240 frames a second for 6 s",
                 lambda usual: replace(usual, fps=240.0)),
    SourceChange("source-silent", "lets the source's sender be there and send nothing for 6 s",
                 lambda usual: replace(usual, silent=True)),
)
