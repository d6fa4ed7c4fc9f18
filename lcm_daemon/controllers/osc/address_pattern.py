"""Finds the targets of an OSC address. An exact address is one look-up; a pattern is matched against many addresses.

Patterns are those of OSC 1.0 (https://opensoundcontrol.stanford.edu/spec-1_0.html, "OSC Message Dispatching and
Pattern Matching"): `*`, `?`, `[a-z]`, `[!a-z]`, `{this,that}`. None of them crosses a slash. Each part is matched by
one pass over its tokens, with the set of all positions that can have been reached. It never backtracks: the work
for one address is at most the length of the pattern times the length of the address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

MAX_PATTERN = 64  # characters; a longer pattern matches nothing
MAX_FOUND = 64  # patterns whose targets are remembered

Target = TypeVar("Target")
Token = Callable[[str, set[int]], set[int]]  # (part, positions reached before) -> positions reached after


class BadPattern(ValueError):
    """A pattern with a bracket that is never closed."""


class AddressMap(Generic[Target]):
    """Targets by OSC address.

    Args:
        exact: Target of each address.
        by_pattern: The targets that a pattern may reach.
    """

    def __init__(self, exact: Mapping[str, Target], by_pattern: Mapping[str, Target]) -> None:
        self._exact = {address: (target,) for address, target in exact.items()}
        self._by_pattern = [(address.split("/"), target) for address, target in by_pattern.items()]
        self._found: dict[str, Sequence[Target]] = {}  # of the last patterns

    def find(self, address: str) -> Sequence[Target]:
        """Return the targets of an address, or of all addresses that a pattern matches. May be empty."""
        return self._exact.get(address) or self._search(address)

    def _search(self, pattern: str) -> Sequence[Target]:
        """A controller sends few patterns, each many times."""
        if len(pattern) > MAX_PATTERN or _TOKENIZERS.keys().isdisjoint(pattern):
            return ()
        found = self._found.get(pattern)
        if found is None:
            if len(self._found) >= MAX_FOUND:
                self._found.clear()
            found = self._found[pattern] = self._match_all(pattern)
        return found

    def _match_all(self, pattern: str) -> Sequence[Target]:
        try:
            parts = [_tokens(part) for part in pattern.split("/")]
        except BadPattern:
            return ()
        return [target for address, target in self._by_pattern if _match(parts, address)]


def matches(pattern: str, address: str) -> bool:
    """Whether an OSC pattern matches an address. A bad pattern matches nothing."""
    return bool(AddressMap({}, {address: True}).find(pattern)) or pattern == address


def _match(pattern: Sequence[Sequence[Token]], address: Sequence[str]) -> bool:
    return len(pattern) == len(address) and all(map(_match_part, pattern, address))


def _match_part(tokens: Sequence[Token], part: str) -> bool:
    reached = {0}
    for token in tokens:
        reached = token(part, reached)
        if not reached:
            return False
    return len(part) in reached


def _tokens(part: str) -> list[Token]:
    tokens, at = [], 0
    while at < len(part):
        token, at = _TOKENIZERS.get(part[at], _literal)(part, at)
        tokens.append(token)
    return tokens


def _literal(part: str, at: int) -> tuple[Token, int]:
    return _one_of((part[at],)), at + 1


def _star(part: str, at: int) -> tuple[Token, int]:
    return _any_characters, at + 1


def _question_mark(part: str, at: int) -> tuple[Token, int]:
    return _character(lambda character: True), at + 1


def _brackets(part: str, at: int) -> tuple[Token, int]:
    inside, end = _until("]", part, at)
    negated = inside.startswith("!")
    allowed = _character_set(inside[negated:])
    return _character(lambda character: (character in allowed) != negated), end


def _braces(part: str, at: int) -> tuple[Token, int]:
    inside, end = _until("}", part, at)
    return _one_of(tuple(inside.split(","))), end


def _until(closing: str, part: str, at: int) -> tuple[str, int]:
    end = part.find(closing, at)
    if end < 0:
        raise BadPattern(part)
    return part[at + 1:end], end + 1


def _character_set(inside: str) -> frozenset[str]:
    """The characters of "a-z_". A minus between two characters is a range; anywhere else it is a minus."""
    found: set[str] = set()
    while inside:
        last = inside[2] if len(inside) > 2 and inside[1] == "-" else ""
        found.update(map(chr, range(ord(inside[0]), ord(last or inside[0]) + 1)))
        inside = inside[3 if last else 1:]
    return frozenset(found)


def _any_characters(part: str, reached: set[int]) -> set[int]:
    return set(range(min(reached), len(part) + 1))


def _character(allowed: Callable[[str], bool]) -> Token:
    return lambda part, reached: {at + 1 for at in reached if at < len(part) and allowed(part[at])}


def _one_of(options: Sequence[str]) -> Token:
    return lambda part, reached: {at + len(o) for at in reached for o in options if part.startswith(o, at)}


_TOKENIZERS: Mapping[str, Callable[[str, int], tuple[Token, int]]] = {
    "*": _star, "?": _question_mark, "[": _brackets, "{": _braces,
}
