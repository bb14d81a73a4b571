"""
A small language model of captions in whole numbers, and the coding of free text under it.

The probability of a word follows from the two words before it: counts of three, two and one words,
interpolated with absolute discounting (H. Ney, U. Essen, R. Kneser, "On structuring probabilistic
dependences in stochastic language modelling", 1994). A word that is not in the vocabulary is
spelled in bytes, each given the byte before. All of it is integer arithmetic, so that every
machine has the same cdfs, and any prefix of the code gives a prefix of the tokens.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.foundation.caption_words import (
    CAPITALISED,
    EXACT,
    LOWER,
    MAX_TOKEN_BYTES,
    UPPER,
    Token,
    join,
    split,
)
from gsc_ros.codec.rangecoder import EndOfStream, RangeDecoder, RangeEncoder

FILE = 'caption.safetensors'
END, SPELLED = 0, 1  # symbols that are no words
MAX_WORDS = 8000
MAX_TOKENS = 255  # of a text
_SCALE = 1 << 20  # of a probability
_FIRST = 256  # the byte before the first of a spelled word; as a byte coded, its end
# Counts of shapes: of the first word of a text, of others.
_SHAPES = {
    True: tuple(np.cumsum([0, 120, 130, 6]).tolist()),
    False: tuple(np.cumsum([0, 250, 5, 1]).tolist()),
}
# Of [no space, space] before a token: a word, a digit after another token, a sign.
_SPACED = {'word': (0, 4, 256), 'digit': (0, 96, 256), 'sign': (0, 224, 256)}

Table = dict[tuple[int, ...], tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class CaptionModel:
    """
    Counts of words.

    ``words``: the vocabulary, symbols from 2 on; ``single``: int64 (symbols), counts of one;
    ``after``: by the one or two symbols before, the symbols that followed and their counts;
    ``letters``: int64 (257, 257), counts of a byte after a byte in spelled words.
    """

    words: tuple[str, ...]
    single: NDArray[np.int64]
    after: Table
    letters: NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, '_ids', {w: i for i, w in enumerate(self.words, start=2)})
        object.__setattr__(self, '_cdf', lru_cache(maxsize=256)(self._make_cdf))
        object.__setattr__(self, '_spelling', lru_cache(maxsize=256)(self._make_spelling))

    @classmethod
    def count(
        cls, texts: Iterable[str], least: tuple[int, int, int] = (2, 1, 2)
    ) -> 'CaptionModel':
        """
        Count captions; ``least``: a word, two words, three words are kept that come so often.

        Raises ``ValueError`` where there is no text.
        """
        lines = [[token.text for token in split(text)] for text in texts]
        seen = Counter(word for line in lines for word in line)
        common = [w for w, n in seen.most_common(MAX_WORDS) if n >= least[0]]
        if not common:
            raise ValueError('no captions to count: give a text file with a caption a line')
        ids = {word: index for index, word in enumerate(common, start=2)}
        letters = np.zeros((_FIRST + 1, _FIRST + 1), np.int64)
        for word in seen:
            for a, b in pairwise([_FIRST, *word.encode()[:MAX_TOKEN_BYTES], _FIRST]):
                letters[a, b] += 1
        single = np.zeros(len(common) + 2, np.int64)
        counts: dict[tuple[int, ...], Counter[int]] = {}
        for line in lines:
            symbols = [END, END, *(ids.get(word, SPELLED) for word in line), END]
            for a, b, c in zip(symbols, symbols[1:], symbols[2:], strict=False):
                single[c] += 1
                counts.setdefault((b,), Counter())[c] += 1
                counts.setdefault((a, b), Counter())[c] += 1
        after: Table = {}
        for context, counted in counts.items():
            kept = sorted((s, n) for s, n in counted.items() if n >= least[len(context)])
            if kept:
                pair = np.array(kept, np.int64)
                after[context] = pair[:, 0], np.minimum(pair[:, 1], 0xFFFF)
        return cls(tuple(common), np.maximum(single, 1), after, np.minimum(letters, 0xFFFF))

    def _make_cdf(self, context: tuple[int, int]) -> list[int]:
        """Make the cdf of the symbol that follows two others."""
        shares = self.single * _SCALE // int(self.single.sum())
        for known in (context[1:], context):
            if known in self.after:
                symbols, counts = self.after[known]
                total = 4 * int(counts.sum())  # discounts are three quarters of a count
                shares = shares * (3 * len(symbols)) // total
                shares[symbols] += (4 * counts - 3) * _SCALE // total
        room = (1 << 16) - len(shares)
        table: list[int] = np.cumsum(np.concatenate([[0], 1 + (shares * room >> 20)])).tolist()
        return table

    def _make_spelling(self, before: int) -> list[int]:
        counts = self.letters[before]
        shares = 16 * counts * 4096 // max(16 * int(counts.sum()) + 257, 1)
        table: list[int] = np.cumsum(np.concatenate([[0], 1 + shares])).tolist()
        return table

    def _symbol(self, token: Token) -> int:
        ids: dict[str, int] = self._ids  # type: ignore[attr-defined]
        return SPELLED if token.shape == EXACT else ids.get(token.text, SPELLED)

    def write(self, encoder: RangeEncoder, text: str, most_bytes: int) -> str:
        """
        Write as many whole tokens of a text as take ``most_bytes`` at most; returns them.

        A text that does not fit is cut at the end of a token. No text takes one bit.
        """
        start, before = encoder.bits, encoder.state
        kept: list[Token] = []
        encoder.encode_bit(True)
        context, states = (END, END), [encoder.state]
        for token in split(text)[:MAX_TOKENS]:
            context = self._write_token(encoder, token, context, first=not kept)
            kept.append(token)
            states.append(encoder.state)
        contexts = self._contexts(kept)
        while kept:
            encoder.state = states[len(kept)]
            if len(kept) < MAX_TOKENS:
                encoder.encode(END, self._cdf(contexts[len(kept)]))  # type: ignore[attr-defined]
            if encoder.bits - start <= 8 * most_bytes:
                return join(kept)
            kept.pop()
        encoder.state = before
        encoder.encode_bit(False)
        return ''

    def _contexts(self, tokens: Sequence[Token]) -> list[tuple[int, int]]:
        """Return the two symbols before each token, and those before the end."""
        symbols = [END, END, *map(self._symbol, tokens)]
        return list(pairwise(symbols))

    def _write_token(
        self, encoder: RangeEncoder, token: Token, context: tuple[int, int], first: bool
    ) -> tuple[int, int]:
        symbol = self._symbol(token)
        encoder.encode(symbol, self._cdf(context))  # type: ignore[attr-defined]
        if symbol == SPELLED:
            before = _FIRST
            for byte in (*str(token).strip().encode(), _FIRST):
                encoder.encode(byte, self._spelling(before))  # type: ignore[attr-defined]
                before = byte
        elif token.is_word:
            encoder.encode(token.shape, _SHAPES[first])
        if not first:
            encoder.encode(int(token.spaced), _SPACED[_kind(token)])
        return context[1], symbol

    def read(self, decoder: RangeDecoder) -> tuple[str, bool]:
        """
        Read a text, or what came of it whole.

        Returns it, and whether it came whole. Bytes that no writer makes end it.
        """
        tokens: list[Token] = []
        context = END, END
        try:
            if not decoder.decode_bit():
                return '', True
            while len(tokens) < MAX_TOKENS:
                symbol = decoder.decode(self._cdf(context))  # type: ignore[attr-defined]
                if symbol == END:
                    return join(tokens), True
                tokens.append(self._read_token(decoder, symbol, first=not tokens))
                context = context[1], symbol
        except EndOfStream:
            return join(tokens), False
        return join(tokens), True

    def _read_token(self, decoder: RangeDecoder, symbol: int, first: bool) -> Token:
        shape, text = LOWER, ''
        if symbol == SPELLED:
            data, before = bytearray(), _FIRST
            while len(data) <= MAX_TOKEN_BYTES:
                byte = decoder.decode(self._spelling(before))  # type: ignore[attr-defined]
                if byte == _FIRST:
                    break
                data.append(byte)
                before = byte
            text, shape = data.decode(errors='replace'), EXACT
        else:
            text = self.words[symbol - 2]
            if text[:1].isalpha():
                shape = decoder.decode(_SHAPES[first])
        token = Token(text, shape, False)
        if first:
            return token
        return Token(text, shape, bool(decoder.decode(_SPACED[_kind(token)])))

    def arrays(self) -> dict[str, NDArray]:
        """Return the model as arrays, for a file."""
        contexts = sorted(self.after)
        pairs = [self.after[context] for context in contexts]
        none = 0xFFFF
        keys = [(none, *c) if len(c) == 1 else c for c in contexts]
        return {
            'words': np.frombuffer('\n'.join(self.words).encode(), np.uint8),
            'single': self.single.astype(np.uint32),
            'contexts': np.array(keys, np.uint16).reshape(-1, 2),
            'lengths': np.array([len(symbols) for symbols, _ in pairs], np.uint16),
            'symbols': np.concatenate([s for s, _ in pairs]).astype(np.uint16),
            'counts': np.concatenate([n for _, n in pairs]).astype(np.uint16),
            'letters': self.letters.astype(np.uint16),
        }

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray]) -> 'CaptionModel':
        """Make the model of :meth:`arrays`; raises ``ValueError`` for others."""
        try:
            words = tuple(arrays['words'].tobytes().decode().split('\n'))
            ends = np.cumsum(arrays['lengths'].astype(np.int64))[:-1]
            symbols = np.split(arrays['symbols'].astype(np.int64), ends)
            counts = np.split(arrays['counts'].astype(np.int64), ends)
            after: Table = {}
            for (a, b), s, n in zip(arrays['contexts'].tolist(), symbols, counts, strict=True):
                after[(b,) if a == 0xFFFF else (a, b)] = s, n
            single = arrays['single'].astype(np.int64)
            letters = arrays['letters'].astype(np.int64)
        except (KeyError, ValueError) as error:
            raise ValueError(f'no model of captions ({error}): train one again') from error
        if len(single) != len(words) + 2 or letters.shape != (_FIRST + 1,) * 2:
            raise ValueError('a damaged model of captions: train one again')
        return cls(words, single, after, letters)

    def save(self, path: Path) -> Path:
        """Write a file; returns its path."""
        from safetensors.numpy import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(self.arrays(), path)
        return path

    @classmethod
    def load(cls, path: Path) -> 'CaptionModel':
        """Read a file; raises ``FileNotFoundError`` and ``ValueError`` naming the remedy."""
        from safetensors.numpy import load_file

        if not path.is_file():
            raise FileNotFoundError(
                f'{path}: no model of captions. Reinstall gsc_ros, or make one with '
                '`gsc train captions`'
            )
        try:
            arrays = load_file(path)
        except Exception as error:
            raise ValueError(f'{path}: no model of captions ({error})') from error
        return cls.of_arrays(arrays)


def _kind(token: Token) -> str:
    if token.is_word:
        return 'word'
    return 'digit' if token.text[:1].isdigit() else 'sign'


assert (LOWER, CAPITALISED, UPPER) == (0, 1, 2), 'shapes are symbols of a cdf'
