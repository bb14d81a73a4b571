"""A caption's words in the stream: read as they were written, cheap where they are common."""

import numpy as np
from frames import random_symbols, uneven_prior
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.codec import words
from gsc_ros.codec.caption import (
    BEARINGS,
    DISTANCES,
    MAX_OBJECTS,
    OBJECT_KINDS,
    SCENES,
    Caption,
    SceneObject,
)
from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder

EVEN = {field: np.zeros(shape, np.int16) for field, shape in words.shapes().items()}
CAR = SceneObject(OBJECT_KINDS.index('car'), 2, 3)
STREET = Caption(SCENES.index('street'), (CAR, CAR))


def captions():
    item = st.builds(
        SceneObject, *(st.integers(0, len(n) - 1) for n in (OBJECT_KINDS, BEARINGS, DISTANCES))
    )
    objects = st.lists(item, max_size=MAX_OBJECTS).map(tuple)
    return st.builds(Caption, st.integers(0, len(SCENES) - 1), objects)


def bits(caption, reference, tables):
    coder = RangeEncoder()
    before = coder.bits
    words.write(coder, caption, reference, tables)
    return coder.bits - before


@settings(deadline=None)
@given(captions(), st.none() | captions(), st.sampled_from([EVEN, uneven_prior().words]))
def test_captions_are_read_as_they_were_written(caption, reference, tables):
    coder = RangeEncoder()
    words.write(coder, caption, reference, tables)
    coder.encode(1, range(8))
    decoder = RangeDecoder(coder.finish() + b'\0')
    assert words.read(decoder, reference, tables) == caption
    assert decoder.decode(range(8)) == 1


def test_what_is_common_is_cheap_and_what_never_came_is_possible():
    tables = words.count([(STREET, None)] * 50 + [(STREET, STREET)] * 50)
    for field, shape in words.shapes().items():
        assert tables[field].shape == shape and tables[field].dtype == np.int16
    assert bits(STREET, None, tables) < 0.2 * bits(STREET, None, EVEN)
    strange = random_symbols(1, (64, 64)).caption
    assert bits(strange, None, tables) > bits(strange, None, EVEN)
    assert bits(strange, STREET, tables) < 120


def test_a_delta_frame_s_words_are_predicted_by_the_reference():
    nearer = Caption(STREET.scene, (CAR, SceneObject(CAR.kind, CAR.bearing, CAR.distance - 1)))
    many = [random_symbols(seed, (64, 64)).caption for seed in range(200)]
    tables = words.count([(c, None) for c in many] + [(c, c) for c in many])
    assert bits(STREET, STREET, tables) < 1.01
    assert bits(nearer, STREET, tables) < 0.6 * bits(nearer, None, tables)
