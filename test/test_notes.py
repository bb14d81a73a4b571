"""What a robot notes about an image: coded, cut, and put into words."""

import numpy as np
import pytest
from frames import decode, encode, random_symbols, uneven_prior
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.codec import notes
from gsc_ros.codec.caption import Caption, SceneObject
from gsc_ros.codec.notes import Notes, Timing, caption_text
from gsc_ros.codec.objects import Objects
from gsc_ros.codec.planes import PLANES
from gsc_ros.codec.rangecoder import EndOfStream, RangeDecoder, RangeEncoder
from gsc_ros.perception.content import KINDS, Loss

SIZE = (256, 192)
SHAPE = (12, 16)
PRIOR = uneven_prior()


def cells(rows):
    lost = np.zeros(SHAPE, bool)
    lost[rows] = True
    return lost


seconds = st.one_of(st.just(0.0), st.floats(1.0, 1e9))
losses = st.builds(
    Loss,
    st.integers(0, len(KINDS) - 1),
    st.sampled_from([np.ones(SHAPE, bool), cells(slice(5, 12)), cells([0, 3])]),
)
timings = st.builds(
    lambda off, ahead, still, frozen: Timing(-off if ahead else off, still, frozen),
    seconds, st.booleans(), seconds, seconds,
)  # fmt: skip
several = st.builds(Notes, st.one_of(st.none(), losses), timings, st.booleans())


def same(a, b, rel=0.003):
    assert a.sky_doubtful == b.sky_doubtful
    assert (a.loss is None) == (b.loss is None)
    if a.loss is not None:
        assert a.loss.kind == b.loss.kind
        np.testing.assert_array_equal(a.loss.cells, b.loss.cells)
    for name in ('off_s', 'still_s', 'frozen_s'):
        assert getattr(a.timing, name) == pytest.approx(getattr(b.timing, name), rel=rel)


@settings(deadline=None, max_examples=60)
@given(several)
def test_notes_come_back_and_what_is_cut_is_never_wrong(given_notes):
    coder = RangeEncoder()
    written = notes.write(coder, given_notes)
    data = coder.finish()
    whole = notes.read(RangeDecoder(data), SHAPE)
    same(whole, given_notes)
    same(whole, written, rel=0)
    for length in range(len(data)):
        try:
            same(notes.read(RangeDecoder(data[:length]), SHAPE), given_notes)
        except EndOfStream:
            continue


def test_an_image_without_a_stamp_is_not_a_billion_seconds_old():
    coder = RangeEncoder()
    notes.write(coder, Notes(timing=Timing(1.7e9, still_s=4.0)))
    found = notes.read(RangeDecoder(coder.finish()), SHAPE)
    assert found.blind
    assert found.warning == 'image not of now: the camera sets no stamp'


def test_notes_are_small():
    for sent, most in (
        (Notes(sky_doubtful=True), 1),
        (Notes(Loss(0, np.ones(SHAPE, bool))), 2),
        (Notes(timing=Timing(3600.0)), 3),
        (Notes(Loss(3, cells(slice(6, 12)))), 10),
    ):
        coder = RangeEncoder()
        notes.write(coder, sent)
        assert len(coder.finish()) <= most


@pytest.mark.parametrize('budget', [40, 90, 300, 100_000])
def test_of_lost_cells_no_symbol_is_sent(budget):
    symbols = random_symbols(3, SIZE)
    symbols.notes = Notes(Loss(3, cells(slice(4, 8))))
    data, coded = encode(symbols, PRIOR, budget)
    assert len(data) <= budget
    found = decode(data, SIZE, PRIOR, noted=True)
    same(found.notes, symbols.notes)
    for plane in PLANES:
        lost = symbols.lost(plane.name)
        assert (lost.any(1) == lost.all(1)).all()  # whole rows
        assert (found.planes[plane.name][:, lost] == -1).all()
        known = found.received(plane.name)
        np.testing.assert_array_equal(
            found.planes[plane.name][:, known], symbols.planes[plane.name][:, known]
        )
        if budget > 300:
            assert known[~lost].all()
    if budget == 300:
        # The room goes to what is left.
        plain = encode(random_symbols(3, SIZE), PRIOR, budget)[1]
        assert coded.received('tokens3').sum() > plain.received('tokens3').sum()


def test_an_image_that_shows_nothing_costs_few_bytes():
    symbols = random_symbols(4, SIZE)
    symbols.caption = Caption()
    symbols.notes = Notes(Loss(0, np.ones(SHAPE, bool)))
    data, _ = encode(symbols, PRIOR, 300)
    assert len(data) <= 6


def test_notes_are_put_into_words():
    street = Caption(1, (SceneObject(4, 2, 3),))
    half = Loss(3, cells(slice(6, 12)))
    assert caption_text(street, None) == 'street: car ahead at 10 m'
    assert caption_text(street, Notes(sky_doubtful=True)) == 'street: car ahead at 10 m'
    assert caption_text(None, None) == ''
    assert caption_text(street, Notes(half)) == (
        'street: car ahead at 10 m; part of the image is lost: grey, 50 %'
    )
    # The caption makes no claim about the lost part.
    left = caption_text(Caption(1), Notes(half), objects=Objects())
    assert left.startswith('street: no objects in what is left; ')
    assert caption_text(street, Notes(Loss(0, np.ones(SHAPE, bool)))) == 'no image: black'
    assert caption_text(street, Notes(timing=Timing(3600.0))) == 'image not of now: 3600 s old'
    assert caption_text(street, Notes(timing=Timing(-90.0))) == (
        'image not of now: stamped 90 s in the future'
    )
    assert 'stands still for 7 s' in caption_text(street, Notes(timing=Timing(still_s=7.0)))
    assert caption_text(street, Notes(timing=Timing(frozen_s=20.0))) == (
        'street: car ahead at 10 m; no pixel has changed for 20 s'
    )


def test_only_a_whole_loss_or_a_wrong_time_makes_blind():
    assert Notes(Loss(0, np.ones(SHAPE, bool))).blind
    assert not Notes(Loss(0, cells([0]))).blind
    assert Notes(timing=Timing(off_s=-9.0)).blind
    assert Notes(timing=Timing(still_s=2.0)).blind
    assert not Notes(timing=Timing(frozen_s=99.0), sky_doubtful=True).blind
    assert not Notes()
