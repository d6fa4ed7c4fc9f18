"""WordFilter: whether a text holds a blocked word, however it is written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

# Letters of other alphabets and digits that are drawn like Latin letters. A text is read with and without the digits:
# "4" may be a number.
_LETTERS = str.maketrans("аеорсухіјѕԁһкмтвнɡαεικνορτυχıłøđ", "aeopcyxijsdhkmtbhgaeikvoptuxilod")
_DIGITS = str.maketrans("013457@$", "oieastas")
_ELLS = str.maketrans("013457@$", "oleastas")  # "1" is drawn like both
_SIGNS = str.maketrans("!|", "il")  # signs that also end a sentence
_SMALL = str.maketrans("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢɑ", "abcdefghijklmnoprstuvwyza")
_FRAMED = {first + n: chr(ord("a") + n) for first in (0x1F150, 0x1F170, 0x1F1E6) for n in range(26)}  # as in flags
_NUMBERS = re.compile(r"\d+")  # models read "bad1" as "bad 1"
_FOREIGN = re.compile(r"[^\x00-\x7f]+|\d+")  # what else may stand beside a Latin word without a space
_APART = re.compile(r"[\W_]+")  # what separates words: spaces, punctuation, signs
_RUN = re.compile(r"(.)\1{2,}")  # a letter three times or more
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")  # Thai, Khmer, Kana, Han


class WordFilter:
    """Finds words and phrases in any case, accents, alphabet or spacing: "b a d", "b.a.d", "BÄD" and "baaad" are "bad".

    Words are found whole: "bad" is not in "badge". A word that ends with "*" is found as the beginning of words too. A
    word of a script that puts no spaces between words is found anywhere.

    Args:
        words: The blocked words and phrases.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._whole, self._beginnings, self._anywhere = set[str](), set[str](), list[str]()
        for word in words:
            compact = "".join(_tokens(_plain(word.rstrip("*")).translate(_DIGITS)))
            if _UNSPACED.search(compact):
                self._anywhere.append(compact)
            elif compact and word.endswith("*"):
                self._beginnings.add(compact)
            elif compact:
                self._whole.add(compact)
        self._lengths = sorted({len(word) for word in self._beginnings})
        self._longest = max(map(len, self._whole | self._beginnings), default=0)

    def blocks(self, text: str) -> bool:
        """Whether a blocked word is in the text."""
        plain = _plain(text)
        digits = plain.translate(_DIGITS)
        written = (plain, digits, digits.translate(_SIGNS), plain.translate(_ELLS), _NUMBERS.sub(" ", plain),
                   _FOREIGN.sub(" ", plain))
        readings = {line for reading in written for line in _lines(reading)}
        return any(self._is_in(_tokens(reading)) for reading in readings)

    def _is_in(self, tokens: list[str]) -> bool:
        whole = "".join(tokens)
        return any(word in whole for word in self._anywhere) or (
            self._longest > 0 and any(map(self._is_blocked, self._runs(tokens))))

    def _runs(self, tokens: list[str]) -> Iterator[str]:
        """Every run of tokens, written as one word, that is not longer than the longest blocked word."""
        for start in range(len(tokens)):
            run = ""
            for token in tokens[start:]:
                run += token
                yield run
                if len(run) > self._longest:
                    break

    def _is_blocked(self, run: str) -> bool:
        return run in self._whole or any(run[:length] in self._beginnings for length in self._lengths)


def _plain(text: str) -> str:
    """Text without case, accents, marks, invisible characters and letters of other alphabets that look Latin."""
    letters = unicodedata.normalize("NFKD", text).casefold().translate(_SMALL).translate(_FRAMED)
    shown = (c for c in letters if unicodedata.category(c) not in ("Mn", "Me", "Cf", "Cc") or c.isspace())
    return unicodedata.normalize("NFKC", "".join(shown)).translate(_LETTERS)


def _tokens(text: str) -> list[str]:
    return [token for token in _APART.split(text) if token]


def _lines(text: str) -> set[str]:
    """The text, and the text with letters that are repeated three times or more written twice and once."""
    return {text, _RUN.sub(r"\1\1", text), _RUN.sub(r"\1", text)}
