"""The errors that this package raises on purpose: one base class and a few children."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class LcmDaemonError(Exception):
    """Base of all errors that a user can fix. Its text is one clear line."""


class MissingIntegration(LcmDaemonError):
    """A package or system library that an integration needs is not installed."""

    def __init__(self, integration: str, reason: str, install: str) -> None:
        super().__init__(f"{integration}: {reason}; install it with: {install}")
        self.integration, self.reason, self.install = integration, reason, install

    def __reduce__(self) -> tuple[type[MissingIntegration], tuple[str, str, str]]:
        return type(self), (self.integration, self.reason, self.install)


class TransportError(LcmDaemonError):
    """A source or sink could not be opened, or failed while running. It is reopened with back-off."""


class RecipeError(LcmDaemonError):
    """A recipe cannot be loaded, for example because weights are missing or corrupt. Trying again does not help."""


class EngineError(LcmDaemonError):
    """The engine failed. A new engine process may not fail."""


BROKEN = "NaN or infinity"  # what pictures of a failing model are; part of every text below


class BrokenPictures(EngineError):
    """The engine renders nothing but NaN or infinity. retry: Whether a new engine of the same recipe may not."""

    def __init__(self, text: str, retry: bool) -> None:
        super().__init__(text)
        self.retry = retry

    def __reduce__(self) -> tuple[type[BrokenPictures], tuple[str, bool]]:
        return type(self), (str(self), self.retry)


@dataclass(frozen=True)
class Problem:
    """One mistake in a document, with its place. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text}"


class DocumentError(LcmDaemonError):
    """A show or recipe with mistakes: all of them, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column)))
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[DocumentError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)
