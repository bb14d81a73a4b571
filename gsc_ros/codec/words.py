"""
The words of a caption in the stream: symbols of small alphabets, each with a cdf of its own.

The word before predicts a word: in a key frame the same word of the object before, in a delta
frame the word at the same position of the reference's caption. The tables hold logarithms of
probabilities in sixteenths of a bit; they are counted in training and stored with the prior.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.caption import (
    BEARINGS,
    DISTANCES,
    MAX_OBJECTS,
    OBJECT_KINDS,
    SCENES,
    Caption,
    SceneObject,
)
from gsc_ros.codec.cdf import BIT, cdf
from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder

FIELDS = {
    'scene': len(SCENES),
    'count': MAX_OBJECTS + 1,
    'kind': len(OBJECT_KINDS),
    'bearing': len(BEARINGS),
    'distance': len(DISTANCES),
}
_HEAD, _OBJECT = ('scene', 'count'), ('kind', 'bearing', 'distance')
_UNSEEN = 0.5  # counted for each word beforehand, so that none is impossible

Tables = Mapping[str, NDArray[np.int16]]


def shapes() -> dict[str, tuple[int, int]]:
    """
    Shapes of the tables: a row for each word before, a column for each word.

    The first half of the rows serves key frames, the second delta frames, each with a row for no
    word before.
    """
    return {field: (2 * (n + 1), n) for field, n in FIELDS.items()}


def _spelled(caption: Caption) -> list[int]:
    """List a caption's words: scene, count of objects, and the fields of each object."""
    words = [caption.scene, len(caption.objects)]
    for item in caption.objects:
        words += [item.kind, item.bearing, item.distance]
    return words


def _field(position: int) -> str:
    """Name the field of the word at a position of a caption."""
    if position < len(_HEAD):
        return _HEAD[position]
    return _OBJECT[(position - len(_HEAD)) % len(_OBJECT)]


def _length(words: list[int]) -> int:
    """Return how many words a caption has, of which ``words`` are known so far."""
    return len(_HEAD) + len(_OBJECT) * words[1] if len(words) > 1 else len(_HEAD)


def _row(words: list[int], position: int, reference: list[int] | None) -> int:
    """Return the row of the table for a word: by the word that predicts it."""
    if reference is not None:
        known = position < len(reference)
        return FIELDS[_field(position)] + 1 + (1 + reference[position] if known else 0)
    known = position >= len(_HEAD) + len(_OBJECT)
    return 1 + words[position - len(_OBJECT)] if known else 0


def _entries(caption: Caption, reference: Caption | None) -> Iterator[tuple[str, int, int]]:
    """Go over a caption's words: field, row of its table, word."""
    words = _spelled(caption)
    before = None if reference is None else _spelled(reference)
    for position, word in enumerate(words):
        yield _field(position), _row(words, position, before), word


def write(
    encoder: RangeEncoder, caption: Caption, reference: Caption | None, tables: Tables
) -> None:
    """Write a caption; of a delta frame with the caption of its reference."""
    if reference is not None:
        encoder.encode_bit(caption != reference)
        if caption == reference:
            return
    for field, row, word in _entries(caption, reference):
        encoder.encode(word, cdf(tables[field][row].tolist()))


def read(decoder: RangeDecoder, reference: Caption | None, tables: Tables) -> Caption:
    """Read a caption that :func:`write` wrote."""
    if reference is not None and not decoder.decode_bit():
        return reference
    words: list[int] = []
    before = None if reference is None else _spelled(reference)
    while len(words) < _length(words):
        field, row = _field(len(words)), _row(words, len(words), before)
        words.append(decoder.decode(cdf(tables[field][row].tolist())))
    objects = (words[i : i + len(_OBJECT)] for i in range(len(_HEAD), len(words), len(_OBJECT)))
    return Caption(words[0], tuple(SceneObject(*item) for item in objects))


def count(captions: Iterable[tuple[Caption, Caption | None]]) -> dict[str, NDArray[np.int16]]:
    """Make tables of the words of captions, each with that of its reference if it has one."""
    counts = {field: np.full(shape, _UNSEEN) for field, shape in shapes().items()}
    for caption, reference in captions:
        for field, row, word in _entries(caption, reference):
            counts[field][row, word] += 1
    return {
        field: np.round(BIT * np.log2(n / n.max(1, keepdims=True))).astype(np.int16)
        for field, n in counts.items()
    }
