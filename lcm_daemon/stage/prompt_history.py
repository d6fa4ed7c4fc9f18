"""PromptHistory: the prompts that users have sent, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.origins import describe_origin
from lcm_daemon.core.requests import Change
from lcm_daemon.stage.undo_move import PAUSE, is_edit, sender

PROMPTS_KEPT = 50
PROMPTS = ("prompt", "prompt_b")  # names of the parameters


@dataclass(frozen=True)
class _Sent:
    """A prompt that was sent. at: monotonic seconds."""

    text: str
    name: str
    origin: str
    at: float


class PromptHistory:
    """What was sent as `prompt` or `prompt_b`, each text once. Looks, panic and undo send nothing."""

    def __init__(self) -> None:
        self._sent: list[_Sent] = []  # newest first

    def note(self, changes: Iterable[Change], origin: str, now: float) -> None:
        """Note the prompts among these changes, which a user (`origin`) requested."""
        for change in changes:
            if change.name in PROMPTS and change.value:
                self._note(_Sent(str(change.value), change.name, origin, now))

    def _note(self, sent: _Sent) -> None:
        if self._sent and _is_typed(self._sent[0], sent):
            del self._sent[0]
        self._sent = [sent, *(each for each in self._sent if each.text != sent.text)][:PROMPTS_KEPT]

    def rows(self) -> Rows:
        """The prompts, newest first: text, the parameter that it was sent to, and who sent it."""
        return tuple({"text": each.text, "name": each.name, "by": describe_origin(each.origin)} for each in self._sent)


def _is_typed(earlier: _Sent, later: _Sent) -> bool:
    """Whether the later one is the earlier one, typed further."""
    is_same = earlier.name == later.name and sender(earlier.origin) == sender(later.origin)
    return is_same and later.at - earlier.at < PAUSE and is_edit(earlier.text, later.text)
