"""
Free text as tokens, and back.

A token is a word, a digit or a sign. What of a text is kept: its characters, one space for any
run of white space, and the case of words.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

LOWER, CAPITALISED, UPPER, EXACT = range(4)  # shapes of a word
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\S")
MAX_TOKEN_BYTES = 64


@dataclass(frozen=True)
class Token:
    """
    A part of a text.

    ``text``: lower case, except for ``shape`` ``EXACT``, where it is as written; ``spaced``:
    whether a space stands before it.
    """

    text: str
    shape: int = LOWER
    spaced: bool = True

    @property
    def is_word(self) -> bool:
        """Whether it is made of letters: words follow a space, as a rule."""
        return self.text[:1].isalpha()

    def __str__(self) -> str:
        made = self.text
        if self.shape == CAPITALISED:
            made = made[:1].upper() + made[1:]
        if self.shape == UPPER:
            made = made.upper()
        return ' ' + made if self.spaced else made


def normalise(text: str) -> str:
    """Return a text as it is sent: composed characters, single spaces, nothing unprintable."""
    text = ' '.join(unicodedata.normalize('NFC', text).split())
    return ''.join(character for character in text if character.isprintable())


def split(text: str) -> list[Token]:
    """Split a text; :func:`join` gives the normalised text again."""
    text = normalise(text)
    return [
        _token(piece, match.start() > 0 and text[match.start() - 1] == ' ' and not at)
        for match in _TOKEN.finditer(text)
        for at, piece in enumerate(_pieces(match[0]))
    ]


def _pieces(text: str) -> list[str]:
    """Cut what is too long for a token; hardly ever more than one piece."""
    step = MAX_TOKEN_BYTES // 4  # bytes of a character at most
    return [text[start : start + step] for start in range(0, len(text), step)]


def _token(text: str, spaced: bool) -> Token:
    lower = text.lower()
    for shape in (LOWER, CAPITALISED, UPPER):
        token = Token(lower, shape, spaced)
        if str(token).removeprefix(' ') == text:
            return token
    return Token(text, EXACT, spaced)


def join(tokens: Iterable[Token]) -> str:
    """Put tokens together."""
    return ''.join(map(str, tokens)).strip()
