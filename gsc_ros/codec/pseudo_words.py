"""
Pseudo-words in the stream: how many, and each channel of each by its table.

The tables hold logarithms of probabilities in sixteenths of a bit; they are counted in training
and stored with the networks. What the words mean is in :mod:`gsc_ros.models.pseudo_words`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.cdf import BIT, cdf
from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder
from gsc_ros.models.pseudo_words import COUNTS, LEVELS, MAX_WORDS

WEIGHTS = 'pseudo_words.safetensors'
_UNSEEN = 0.5  # counted for each level beforehand, so that none is impossible
_COUNTS = range(len(COUNTS) + 1)  # cdf
_SAME = (0, 1, 2)  # cdf of whether a word is the reference's

Words = NDArray[np.int8]  # symbols (K, 5)
Tables = NDArray[np.int16]  # (8, 5, 7)
NONE: Words = np.zeros((0, len(LEVELS)), np.int8)


def count_for(budget_bytes: int) -> int:
    """Return how many words a frame of so many bytes has."""
    return 0 if budget_bytes < 100 else 2 if budget_bytes < 200 else 4


def even() -> Tables:
    """Make tables that expect nothing."""
    return np.zeros((MAX_WORDS, len(LEVELS), max(LEVELS)), np.int16)


def count(words: NDArray[np.int64]) -> Tables:
    """Make tables of the words of images, (N, 8, 5)."""
    tables = even()
    for position in range(MAX_WORDS):
        for channel, levels in enumerate(LEVELS):
            seen = np.bincount(words[:, position, channel], minlength=levels) + _UNSEEN
            tables[position, channel, :levels] = np.round(BIT * np.log2(seen / seen.max()))
    return tables


def _tables(tables: Tables, position: int) -> list[list[int]]:
    """Return the cdf of each channel of the word at a position."""
    return [
        cdf(tables[position, channel, :levels].tolist()) for channel, levels in enumerate(LEVELS)
    ]


def write(
    encoder: RangeEncoder, words: Words, reference: Words, tables: Tables
) -> Iterator[Words]:
    """
    Write how many words there are, and the words; gives those that are written so far.

    ``reference``: words of the reference of a delta frame, none of a key frame.
    """
    encoder.encode(COUNTS.index(len(words)), _COUNTS)
    for position, word in enumerate(words.tolist()):
        before = reference[position].tolist() if position < len(reference) else None
        if before is not None:
            encoder.encode(int(word == before), _SAME)
        if word != before:
            for level, table in zip(word, _tables(tables, position), strict=True):
                encoder.encode(level, table)
        yield words[: position + 1]


def read(decoder: RangeDecoder, reference: Words, tables: Tables) -> Iterator[Words]:
    """Read words that :func:`write` wrote; gives those that came so far."""
    words = NONE
    for position in range(COUNTS[decoder.decode(_COUNTS)]):
        if position < len(reference) and decoder.decode(_SAME):
            word = reference[position]
        else:
            levels = [decoder.decode(table) for table in _tables(tables, position)]
            word = np.array(levels, np.int8)
        words = np.concatenate([words, word[None]])
        yield words
