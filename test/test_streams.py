"""What goes on air: order, budgets, prefixes, damage, and streams that never change."""

import binascii
import os
from pathlib import Path

import numpy as np
import pytest
from frames import random_symbols, uneven_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.codec import bitstream, streams
from gsc_ros.codec.bitstream import BitstreamError, FrameHeader
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.tables import Tables, save, shapes

GOLDEN = Path(__file__).parent / 'golden'
SIZE = (256, 192)
TABLES = uneven_tables()
HEADER = FrameHeader('gsc', 0xBEEF, 5, 480, 360, depth_code=99)


def same(a, b):
    assert a.caption == b.caption
    np.testing.assert_array_equal(a.coarse, b.coarse)
    np.testing.assert_array_equal(a.relief, b.relief)
    np.testing.assert_array_equal(a.fine, b.fine)
    for p, q in zip(a.tokens, b.tokens, strict=True):
        np.testing.assert_array_equal(p, q)


def consistent(part, whole):
    """Whatever of ``part`` is known is as in ``whole``."""
    assert part.caption in (None, whole.caption)
    for name in ('coarse', 'relief', 'fine'):
        p, q = getattr(part, name), getattr(whole, name)
        np.testing.assert_array_equal(p[p != 255], q[p != 255])
    for p, q in zip(part.tokens, whole.tokens, strict=True):
        np.testing.assert_array_equal(p[p >= 0], q[p >= 0])


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.sampled_from([(64, 64), SIZE, (512, 384), (832, 256)]))
def test_a_whole_frame_comes_back(seed, size):
    symbols = random_symbols(seed, size)
    data, bits = streams.encode(symbols, TABLES)
    same(streams.decode(data, size, TABLES), symbols)
    assert 8 * len(data) == pytest.approx(sum(bits.values()), abs=16)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_any_cut_gives_a_part_of_the_frame(seed, share):
    symbols = random_symbols(seed, SIZE)
    data, _ = streams.encode(symbols, TABLES)
    consistent(streams.decode(data[: int(share * len(data))], SIZE, TABLES), symbols)


def test_more_bytes_never_say_less():
    symbols = random_symbols(3, SIZE)
    data, _ = streams.encode(symbols, TABLES)
    before = -1
    for cut in range(0, len(data) + 1, 5):
        part = streams.decode(data[:cut], SIZE, TABLES)
        known = int((part.coarse != 255).sum() + (part.fine != 255).sum())
        known += sum(int((t >= 0).sum()) for t in part.tokens)
        assert known >= before
        before = known


def test_tokens_under_people_come_before_those_under_the_sky():
    symbols = random_symbols(1, SIZE)
    symbols.fine[:] = 10  # sky
    symbols.fine[6:] = 11  # persons in the lower half
    symbols.coarse = streams.coarse_of(symbols.fine)
    data, bits = streams.encode(symbols, TABLES)
    names = list(bits)
    start = sum(bits[n] for n in names[: names.index('tokens 1/32')])
    cut = int((start + bits['tokens 1/32'] * 0.45) / 8)
    received = streams.decode(data[:cut], SIZE, TABLES).received(1)
    people = symbols.coarse == 11
    assert received.any()
    assert not received[~people].any()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 4096), st.integers(1, 4096), st.integers(0, 255), st.integers(0, 2**16 - 1),
    st.binary(max_size=400),
)  # fmt: skip
def test_headers_come_back(width, height, sequence, fingerprint, stream):
    header = FrameHeader('gsc', fingerprint, sequence, width, height, depth_code=sequence)
    data = bitstream.pack(header, stream)
    assert len(data) == bitstream.HEADER_BYTES + len(stream)
    found, rest = bitstream.unpack(data)
    assert rest == stream
    assert (found.width, found.height, found.sequence) == (width, height, sequence)
    assert (found.fingerprint, found.stream_bytes) == (fingerprint, len(stream))


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 8 * 60 - 1))
def test_every_flipped_bit_is_noticed(bit):
    data = bytearray(bitstream.pack(HEADER, bytes(range(47))))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BitstreamError):
        bitstream.unpack(bytes(data))


def test_errors_name_what_is_wrong():
    data = bitstream.pack(HEADER, b'stream')
    with pytest.raises(BitstreamError, match='truncated=True'):
        bitstream.unpack(data[:-2])
    assert bitstream.unpack(data[:-2], truncated=True)[1] == b'stre'
    with pytest.raises(BitstreamError, match='too many'):
        bitstream.unpack(data + b'x')
    with pytest.raises(BitstreamError, match='no gsc frame'):
        bitstream.unpack(b'GIF89a')
    with pytest.raises(BitstreamError, match='not a gsc frame'):
        bitstream.unpack(b'\x89PNG\r\n\x1a\n' + bytes(40))
    newer = bytearray(data[:10])
    newer[0] = (newer[0] & 15) | 2 << 4
    newer.append(binascii.crc_hqx(bytes(newer), 0xFFFF) >> 8)
    with pytest.raises(BitstreamError, match='version 2'):
        bitstream.unpack(bytes(newer) + data[11:])


@pytest.mark.parametrize(
    'change', [{'width': 0}, {'height': 5000}, {'fingerprint': -1}, {'depth_code': 256}]
)
def test_headers_refuse_what_does_not_fit(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        bitstream.pack(FrameHeader(**{**HEADER.__dict__, **change}), b'')


def test_depth_codes_are_within_two_percent():
    assert bitstream.depth_code(float('nan')) == 0
    assert np.isnan(bitstream.depth_of_code(0))
    for metres in np.geomspace(0.5, 200, 50):
        back = bitstream.depth_of_code(bitstream.depth_code(metres))
        assert back == pytest.approx(metres, rel=0.013)


def test_ten_thousand_broken_streams_do_no_harm():
    """Random bytes and mutations give symbols in range, of the frame's size, and nothing else."""
    rng = np.random.default_rng(0)
    size = (128, 64)
    good, _ = streams.encode(random_symbols(0, size), TABLES)
    for i in range(10_000):
        if i % 2:
            data = rng.bytes(int(rng.integers(0, 60)))
        else:
            changed = bytearray(good[: int(rng.integers(1, len(good)))])
            changed[int(rng.integers(len(changed)))] ^= int(rng.integers(1, 256))
            data = bytes(changed)
        part = streams.decode(data, size, TABLES)
        assert part.fine.shape == (4, 8)
        assert ((part.fine < 20) | (part.fine == 255)).all()
        assert ((part.relief < 24) | (part.relief == 255)).all()
        for tokens, levels in zip(part.tokens, streams.LEVELS, strict=True):
            assert (tokens.max((1, 2)) < levels).all()


@pytest.mark.parametrize(
    ('width', 'height'), [(16, 16), (64, 64), (480, 360), (1242, 375), (1920, 1080), (100, 4096)]
)
def test_working_sizes_are_bounded_and_keep_the_aspect(width, height):
    w, h = coding_size(width, height)
    assert w % 64 == h % 64 == 0
    assert w * h <= 52 * 64 * 64
    if min(width, height) >= 256 and max(width, height) < 4 * min(width, height):
        assert abs(np.log((w / h) / (width / height))) < 0.15


@pytest.mark.parametrize(('width', 'height'), [(15, 100), (100, 5000), (0, 0)])
def test_impossible_sizes_are_refused(width, height):
    with pytest.raises(ValueError, match=r'outside 16\.\.4096'):
        coding_size(width, height)


def test_tables_are_checked(tmp_path):
    counts = {name: np.ones(shape, np.uint16) for name, shape in shapes().items()}
    Tables.load(save(tmp_path / 'tables.safetensors', counts))
    with pytest.raises(ValueError, match='missing'):
        Tables.of_counts({k: v for k, v in counts.items() if k != 'fine'})
    zero = counts['coarse'].copy()
    zero[0, 0, 0] = 0
    with pytest.raises(ValueError, match='coarse'):
        Tables.of_counts(counts | {'coarse': zero})
    with pytest.raises(FileNotFoundError):
        Tables.load(tmp_path / 'none')


@pytest.mark.parametrize('seed', [11, 12, 13])
def test_golden_streams_do_not_change(seed):
    """
    The bytes of a frame are the same on every machine and in every version of the format.

    After a deliberate change of the format, with a new version number, write them anew with
    GSC_REGENERATE=1.
    """
    symbols = random_symbols(seed, SIZE)
    stream, _ = streams.encode(symbols, TABLES)
    data = bitstream.pack(HEADER, stream)
    file = GOLDEN / f'frame_{seed}.gsc'
    if os.environ.get('GSC_REGENERATE'):
        file.write_bytes(data)
    assert file.read_bytes() == data
    same(streams.decode(bitstream.unpack(file.read_bytes())[1], SIZE, TABLES), symbols)
