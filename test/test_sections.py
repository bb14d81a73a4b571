"""Typed sections of a frame: they come back, count in the budget, and new ids do no harm."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.codec import BitstreamError, FrameHeader, SemanticCodec, SequenceEncoder, bitstream
from gsc_ros.codec.bitstream import MAX_SECTION, Section, pack_sections, unpack_sections

SECTIONS = st.dictionaries(st.integers(0, 127), st.binary(max_size=300), min_size=1, max_size=6)
HEADER = FrameHeader('gsc', 0, 3, 64, 64)


@pytest.fixture(scope='module')
def codec():
    return SemanticCodec.load(weights='random', device='cpu')


@given(SECTIONS, st.binary(max_size=50))
def test_sections_come_back_in_their_order(sections, stream):
    data = pack_sections(sections)
    found, rest = unpack_sections(data + stream)
    assert list(found.items()) == list(sections.items())
    assert rest == stream
    assert len(data) == sum(2 + (len(c) >= 128) + len(c) for c in sections.values())


@given(SECTIONS, st.binary(max_size=20), st.data())
def test_of_a_cut_frame_the_whole_sections_are_read(sections, stream, data):
    packed = pack_sections(sections) + stream
    cut = data.draw(st.integers(0, len(packed)))
    found, rest = unpack_sections(packed[:cut], truncated=True)
    whole, at = [], 0
    for number, content in sections.items():
        at += 2 + (len(content) >= 128) + len(content)
        if at <= cut:
            whole.append((number, content))
    assert list(found.items()) == whole
    assert rest == packed[at:cut]
    if len(whole) < len(sections):
        with pytest.raises(BitstreamError, match='do not end'):
            unpack_sections(packed[:cut])


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_sections_or_refused(data, truncated):
    try:
        found, rest = unpack_sections(data, truncated)
    except BitstreamError:
        return
    assert data.endswith(rest)
    assert all(content in data for content in found.values())


def test_long_sections_and_bad_ones():
    long = {Section.HCI: bytes(MAX_SECTION)}
    assert unpack_sections(pack_sections(long))[0] == long
    for bad in ({128: b''}, {-1: b''}, {1: bytes(MAX_SECTION + 1)}):
        with pytest.raises(ValueError, match='section'):
            pack_sections(bad)
    twice = bytes([0x81, 0, 1, 0])
    with pytest.raises(BitstreamError, match='twice'):
        unpack_sections(twice)


@settings(max_examples=40)
@given(SECTIONS, st.binary(max_size=50), st.integers(0, 8 * 40 - 1))
def test_damaged_sections_are_noticed(sections, stream, bit):
    data = bytearray(bitstream.pack(HEADER, stream, sections=sections)[1])
    header, found, rest = bitstream.unpack(bytes(data))
    assert header.sectioned
    assert (found, rest) == (sections, stream)
    data[(bit // 8) % len(data)] ^= 1 << bit % 8
    with pytest.raises(BitstreamError):
        bitstream.unpack(bytes(data))


def test_a_frame_without_sections_has_no_byte_of_them():
    assert len(bitstream.pack(HEADER, b'x')[1]) == bitstream.HEADER_BYTES + 1
    assert not bitstream.read_header(bitstream.pack(HEADER, b'x')[1]).sectioned


def test_frames_carry_sections_within_their_budget(codec):
    rgb = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    sections = {Section.SCENE: b'\x07', Section.POSE: bytes(range(30)), 99: b'of the future'}
    robot = SequenceEncoder(codec)
    for sequence, budget in enumerate((100, 300, 300)):
        frame = robot.encode(rgb, budget, sequence=sequence, sections=sections)
        assert len(frame.data) <= budget
        assert frame.sections == sections
    plain = codec.encode(rgb, 100)
    frame = codec.encode(rgb, 100 + len(pack_sections(sections)), sections=sections)
    assert frame.stream_bits == plain.stream_bits
    decoded = codec.decode(frame.data)
    assert decoded.sections == sections
    assert next(iter(decoded.sections)) is Section.SCENE
    np.testing.assert_array_equal(decoded.rgb, codec.decode(plain.data).rgb)
    # Of a cut frame what came whole.
    start = frame.header.bytes
    cut = codec.decode(frame.data[: start + 3 + 32 + 4], truncated=True)
    assert cut.sections == {k: v for k, v in sections.items() if k != 99}
    assert (cut.trust == 0).all()
    with pytest.raises(ValueError, match='budget_bytes 90'):
        codec.encode(rgb, 90, sections={Section.HCI: bytes(60)})
