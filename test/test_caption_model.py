"""Free text under the model of captions: exact, cut to a budget, and read from any prefix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.codec.foundation.caption_model import CaptionModel
from gsc_ros.codec.foundation.caption_words import join, normalise, split
from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder
from gsc_ros.training import captions

TEXTS = [
    'A red car is parked beside a house.',
    'A red bus stands in front of a house.',
    'Two people walk on a road beside a car.',
    'A dog and a man walk on a road.',
]
ODD = "Don't stop: 3.5 km of ÄÖÜ-roads, McDonald's (USA)!  日本語 — “ok”\t\nend"


@pytest.fixture(scope='module')
def model():
    return CaptionModel.count(TEXTS, least=(1, 1, 1))


def coded(model, text, most=4000):
    encoder = RangeEncoder()
    return model.write(encoder, text, most), encoder.finish()


@pytest.mark.parametrize('text', [*TEXTS, ODD, '', 'x' * 300, 'a ' * 200])
def test_a_text_comes_back_as_it_was(model, text):
    kept, data = coded(model, text)
    assert kept == normalise(text)
    assert model.read(RangeDecoder(data)) == (kept, True)


@given(st.text(max_size=60), st.integers(0, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_any_text_any_budget_and_any_prefix(model, text, most, data):
    kept, stream = coded(model, text, most)
    whole = split(text)
    count = len(split(kept))
    assert kept == join(whole[:count])
    if count:
        assert len(stream) <= most + 1  # a byte closes the last symbol
    assert model.read(RangeDecoder(stream)) == (kept, True)
    some, _ = model.read(RangeDecoder(stream[: data.draw(st.integers(0, len(stream)))]))
    assert kept.startswith(some)


@given(st.binary(max_size=80))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_to_an_end(model, data):
    text, _ = model.read(RangeDecoder(data))
    assert isinstance(text, str)


def test_a_budget_cuts_at_a_word(model):
    whole = 'A quick car, a slow dog and a blue house.'
    lengths = [coded(model, whole, most)[0] for most in range(40)]
    assert lengths[0] == ''
    assert lengths[-1] == whole
    assert lengths == sorted(lengths, key=len)
    assert len(set(lengths)) > 3


def test_what_was_counted_takes_fewer_bytes(model):
    assert len(coded(model, TEXTS[0])[1]) < 6
    assert len(coded(model, 'Quixotic zebras juggle')[1]) > 15


def test_every_cdf_can_be_coded(model):
    contexts = [(0, 0), (0, 1), *((a, b) for a in range(4) for b in range(4))]
    tables = [model._cdf(context) for context in contexts]
    tables += [model._spelling(byte) for byte in range(257)]
    for table in tables:
        assert (np.diff(table) >= 1).all()
        assert table[-1] <= 1 << 16


def test_a_model_is_saved_and_loaded(model, tmp_path):
    loaded = CaptionModel.load(model.save(tmp_path / 'a.safetensors'))
    assert coded(loaded, TEXTS[3] + ODD) == coded(model, TEXTS[3] + ODD)
    (tmp_path / 'b.safetensors').write_bytes(b'x' * 30)
    with pytest.raises(ValueError, match='no model of captions'):
        CaptionModel.load(tmp_path / 'b.safetensors')
    with pytest.raises(FileNotFoundError, match='gsc train captions'):
        CaptionModel.load(tmp_path / 'c.safetensors')
    with pytest.raises(ValueError, match='no model of captions'):
        CaptionModel.of_arrays({})


def test_the_stage_counts_a_file(tmp_path):
    (tmp_path / 'texts.txt').write_text('\n'.join([*TEXTS, '', *TEXTS]))
    path = captions.train(tmp_path / 'texts.txt', tmp_path / 'out')
    assert coded(CaptionModel.load(path), TEXTS[1])[0] == TEXTS[1]
    with pytest.raises(FileNotFoundError, match='a caption a line'):
        captions.train(tmp_path / 'none.txt', tmp_path)
    (tmp_path / 'empty.txt').write_text('\n')
    with pytest.raises(ValueError, match='no captions'):
        captions.train(tmp_path / 'empty.txt', tmp_path)
