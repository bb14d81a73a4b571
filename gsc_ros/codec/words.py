"""
The words of a caption on air: symbols of small alphabets, each with odds of its own.

What came before tells something of a word: in a key frame the same word of the thing before, in a
delta frame that of the reference's caption. The odds are tables in sixteenths of a bit, learnt by
counting and kept with the prior.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.caption import BEARINGS, DISTANCES, MAX_OBJECTS, SCENES, THINGS, Caption, Thing
from gsc_ros.codec.cdf import BIT, cdf
from gsc_ros.codec.rangecoder import Decoder, Encoder

FIELDS = {
    'scene': len(SCENES),
    'count': MAX_OBJECTS + 1,
    'kind': len(THINGS),
    'bearing': len(BEARINGS),
    'distance': len(DISTANCES),
}
_EVEN = range(3)  # the table of a coin
_UNSEEN = 0.5  # of a word that never came: as if it had, half a time

Tables = Mapping[str, NDArray[np.int16]]
Say = Callable[[str, int, int | None], int]


def shapes() -> dict[str, tuple[int, int]]:
    """
    Shapes of the tables: a row for each word before, a column for each word.

    The first half of the rows serves key frames, the second delta frames, each with a row for no
    word before.
    """
    return {field: (2 * (n + 1), n) for field, n in FIELDS.items()}


def _spell(given: Caption | None, reference: Caption | None, say: Say) -> Caption:
    """
    Go over a caption's words, or those that ``say`` comes up with.

    ``say`` gets field, row of its table and the word, None where it is to be read.
    """

    def word(field: str, symbol: int | None, before: int | None) -> int:
        row = 0 if before is None else 1 + before
        return say(field, row + (FIELDS[field] + 1) * (reference is not None), symbol)

    scene = word('scene', given.scene if given else None, reference.scene if reference else None)
    count = word(
        'count',
        len(given.things) if given else None,
        len(reference.things) if reference else None,
    )
    things: list[Thing] = []
    for i in range(count):
        thing = given.things[i] if given else None
        like = things[-1] if things else None
        if reference is not None:
            like = reference.things[i] if i < len(reference.things) else None
        things.append(
            Thing(
                word('kind', thing.kind if thing else None, like.kind if like else None),
                word('bearing', thing.bearing if thing else None, like.bearing if like else None),
                word(
                    'distance', thing.distance if thing else None, like.distance if like else None
                ),
            )
        )
    return Caption(scene, tuple(things))


def code(
    coder: Encoder | Decoder, given: Caption | None, reference: Caption | None, tables: Tables
) -> Caption:
    """Code a caption, or read one (``given`` None), in a delta frame in the light of another."""
    if reference is not None:
        news = coder.code(None if given is None else int(given != reference), _EVEN)  # type: ignore[arg-type]
        if not news:
            return reference
    return _spell(
        given,
        reference,
        lambda field, row, symbol: coder.code(symbol, cdf(tables[field][row].tolist())),  # type: ignore[arg-type]
    )


def learn(captions: Iterable[tuple[Caption, Caption | None]]) -> dict[str, NDArray[np.int16]]:
    """Count the words of captions, each with that of its reference, if it has one."""
    counts = {field: np.full(shape, _UNSEEN) for field, shape in shapes().items()}

    def count(field: str, row: int, symbol: int | None) -> int:
        assert symbol is not None
        counts[field][row, symbol] += 1
        return symbol

    for caption, reference in captions:
        _spell(caption, reference, count)
    return {
        field: np.round(BIT * np.log2(n / n.max(1, keepdims=True))).astype(np.int16)
        for field, n in counts.items()
    }
