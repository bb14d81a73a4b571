"""The range coder: exact, tight, and true to every prefix."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.codec.rangecoder import MAX_TOTAL, EndOfStream, RangeDecoder, RangeEncoder

tables = st.lists(st.integers(1, 3000), min_size=1, max_size=20).map(
    lambda counts: [sum(counts[:i]) for i in range(len(counts) + 1)]
)
messages = st.lists(
    tables.flatmap(lambda t: st.tuples(st.just(t), st.integers(0, len(t) - 2))), max_size=120
)


def encode(message):
    coder = RangeEncoder()
    for table, symbol in message:
        coder.encode(symbol, table)
    return coder.finish(), coder.bits


def decode(data, message):
    coder, out = RangeDecoder(data), []
    try:
        for table, _ in message:
            out.append(coder.decode(table))
    except EndOfStream:
        pass
    return out


@settings(deadline=None, max_examples=200)
@given(messages)
def test_every_symbol_comes_back(message):
    data, _ = encode(message)
    assert decode(data, message) == [symbol for _, symbol in message]


@settings(deadline=None, max_examples=100)
@given(messages, st.data())
def test_a_prefix_gives_a_prefix_and_never_a_wrong_symbol(message, data):
    stream, _ = encode(message)
    cut = data.draw(st.integers(0, len(stream)))
    found = decode(stream[:cut], message)
    assert found == [symbol for _, symbol in message][: len(found)]


@settings(deadline=None, max_examples=100)
@given(messages, st.binary(max_size=20))
def test_what_follows_a_finished_stream_does_not_matter(message, tail):
    stream, _ = encode(message)
    assert decode(stream + tail, message) == [symbol for _, symbol in message]


@settings(deadline=None, max_examples=100)
@given(messages)
def test_the_stream_is_as_short_as_its_information(message):
    data, bits = encode(message)
    ideal = sum(math.log2(t[-1] / (t[s + 1] - t[s])) for t, s in message)
    assert 8 * len(data) <= ideal * 1.002 + 16
    assert bits == pytest.approx(ideal, rel=0.002, abs=0.1)


def test_a_prefix_loses_little():
    table = list(range(8))  # seven symbols of one count
    message = [(table, i % 7) for i in range(400)]
    stream, _ = encode(message)
    for cut in range(4, len(stream)):
        found = decode(stream[:cut], message)
        assert len(found) >= (8 * cut - 12) / math.log2(7)


def test_the_largest_table_and_the_rarest_symbol():
    table = [0, 1, MAX_TOTAL]
    message = [(table, 0)] * 50 + [(table, 1)] * 500
    stream, _ = encode(message)
    assert decode(stream, message) == [s for _, s in message]


@pytest.mark.parametrize('counts', [2, 3, 7, 300])
def test_bytes_that_no_encoder_makes_come_to_an_end(counts):
    decoder = RangeDecoder(b'\xff' * 8)
    with pytest.raises(EndOfStream):
        for _ in range(200):
            decoder.decode(range(counts + 1))
