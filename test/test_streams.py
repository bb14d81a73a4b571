"""What goes on air: order, budgets, prefixes, references, damage, streams that never change."""

import binascii
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from frames import decode, encode, moved, random_symbols, uneven_prior
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.codec import bitstream
from gsc_ros.codec.bitstream import BitstreamError, FrameHeader, MissingReferenceError
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.planes import PLANES, TOKENS, FrameSymbols
from gsc_ros.codec.skip_mask import find_skip_mask

GOLDEN = Path(__file__).parent / 'golden'
SIZE = (256, 192)
PRIOR = uneven_prior()
HEADER = FrameHeader('gsc', 0xBEEF, 5, 480, 360, depth_code=99)
ALL = 100_000
CRC_12 = 2588677565  # of the symbols that the golden frame of chosen blocks holds


def same(a, b):
    assert a.caption == b.caption
    for name, grid in a.planes.items():
        np.testing.assert_array_equal(grid, b.planes[name])


def consistent(part, whole):
    """Whatever of ``part`` is known is as in ``whole``."""
    if part.caption is not None:  # as many objects as its share of the frame holds
        kept = whole.caption.objects[: len(part.caption.objects)]
        assert part.caption == replace(whole.caption, objects=kept)
    for name, grid in part.planes.items():
        known = grid >= 0
        np.testing.assert_array_equal(grid[known], whole.planes[name][known])


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32), st.sampled_from([(64, 64), SIZE, (512, 384), (832, 256)]))
def test_a_whole_frame_comes_back(seed, size):
    symbols = random_symbols(seed, size)
    data, coded = encode(symbols, PRIOR, ALL)
    same(decode(data, size, PRIOR), symbols)
    assert 8 * len(data) == pytest.approx(sum(coded.bits.values()), abs=16)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.floats(0, 1), st.booleans())
def test_any_cut_gives_a_part_of_the_frame(seed, share, delta):
    symbols = random_symbols(seed, SIZE)
    reference = random_symbols(seed + 1, SIZE) if delta else None
    data, _ = encode(symbols, PRIOR, ALL, reference)
    part = decode(data[: int(share * len(data))], SIZE, PRIOR, reference)
    if delta:
        for name, sent in part.sent.items():
            np.testing.assert_array_equal(
                part.planes[name][:, sent], symbols.planes[name][:, sent]
            )
    else:
        consistent(part, symbols)


def test_a_budget_cuts_what_a_longer_one_goes_on_with():
    symbols = random_symbols(3, SIZE)
    whole, _ = encode(symbols, PRIOR, ALL)
    before = -1
    for budget in range(10, len(whole), 37):
        data, _ = encode(symbols, PRIOR, budget)
        assert len(data) == budget
        part = decode(data, SIZE, PRIOR)
        known = sum(int((grid >= 0).sum()) for grid in part.planes.values())
        assert known >= before
        before = known


class FixedBlocks:
    """A policy of fixed blocks; records in which planes it was asked."""

    def __init__(self, blocks):
        self.chosen, self.asked = blocks, []

    def blocks(self, plane, coded):
        assert not coded.received(plane.name).all()
        self.asked.append(plane.name)
        return self.chosen

    def residual(self, coded, bits):
        raise AssertionError('the budget ends before')


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32), st.floats(0, 1), st.booleans(), st.integers(0, 2**12 - 1))
def test_a_region_comes_first_in_every_plane_that_is_sent_in_part(seed, share, delta, bits):
    symbols = random_symbols(seed, SIZE)
    reference = random_symbols(seed + 1, SIZE) if delta else None
    region = np.array([bits >> k & 1 for k in range(12)], bool).reshape(3, 4)
    data, coded = encode(symbols, PRIOR, ALL, reference, region=region)
    same(decode(data, SIZE, PRIOR, reference, regional=True), symbols)
    assert 8 * len(data) == pytest.approx(sum(coded.bits.values()), abs=16)
    if not delta:
        part = decode(data[: int(share * len(data))], SIZE, PRIOR, regional=True)
        consistent(part, symbols)


def test_of_planes_that_are_sent_in_part_other_blocks_follow_the_whole_region():
    symbols, region = random_symbols(2, SIZE), np.zeros((3, 4), bool)
    region[1, 1:3] = True
    data, _ = encode(symbols, PRIOR, ALL, region=region)
    partly = [plane.name for plane in PLANES if plane.selected]
    within = others = 0
    for length in range(0, len(data), 7):
        part = decode(data[:length], SIZE, PRIOR, regional=True)
        received = {name: part.received(name) for name in partly}
        inside = {n: np.kron(region, np.ones([len(received[n]) // 3] * 2)) > 0 for n in partly}
        if any((received[n] & ~inside[n]).any() for n in partly):
            others += 1
            assert all(received[n][inside[n]].all() for n in partly)
        elif any(received[n].any() for n in partly):
            within += 1
    assert within > 3 and others > 3


@pytest.mark.parametrize('name', ['fine', 'tokens1', 'tokens3'])
def test_chosen_blocks_come_first(name):
    symbols = random_symbols(1, SIZE)
    blocks = np.zeros((3, 4), bool)
    blocks[1:, 2:] = True
    names = ['caption', *(plane.name for plane in PLANES)]
    _, coded = encode(symbols, PRIOR, ALL)
    start = sum(coded.bits[n] for n in names[: names.index(name)])
    room = int((start + 0.25 * coded.bits[name]) / 8)
    policy = FixedBlocks(blocks)
    data, coded = encode(symbols, PRIOR, room, policy=policy)
    assert policy.asked == [name]
    assert len(data) == room
    assert 8 * room <= sum(coded.bits.values()) <= 8 * room + 64
    part = decode(data, SIZE, PRIOR)
    consistent(part, symbols)
    received = part.received(name)
    first = blocks.repeat(len(received) // 3, 0).repeat(len(received) // 3, 1)
    assert received[first].mean() >= 0.5
    assert not received[~first].any()
    # Where there is no choice the frame is as without a policy.
    assert (
        encode(symbols, PRIOR, room, policy=FixedBlocks(None))[0]
        == (encode(symbols, PRIOR, room)[0])
    )


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_a_delta_frame_comes_back(seed, share):
    reference = random_symbols(seed, SIZE)
    symbols = moved(reference, seed, share)
    data, _ = encode(symbols, PRIOR, ALL, reference)
    same(decode(data, SIZE, PRIOR, reference), symbols)


def test_what_stands_still_is_not_sent():
    reference = random_symbols(0, SIZE)
    symbols = moved(reference, 5, 0.3)
    change = (symbols.planes['tokens0'] != reference.planes['tokens0']).any(0)
    names = [plane.name for plane in PLANES]
    whole, coded = encode(symbols, PRIOR, ALL, reference)
    assert len(whole) < 0.6 * len(encode(symbols, PRIOR, ALL)[0])
    until = sum(coded.bits[n] for n in ('caption', 'skip_mask', *names[: names.index('tokens1')]))
    data, _ = encode(symbols, PRIOR, int(until / 8), reference)
    part = decode(data, SIZE, PRIOR, reference)
    for name in TOKENS[1:]:
        factor = part.planes[name].shape[1] // change.shape[0]
        still = ~change.repeat(factor, 0).repeat(factor, 1)
        assert not part.sent[name][still].any()
        np.testing.assert_array_equal(
            part.planes[name][:, still], reference.planes[name][:, still]
        )
        assert (part.planes[name][:, ~still] == -1).any()


def test_a_camera_s_noise_is_still_and_a_change_is_not():
    reference = random_symbols(0, SIZE)
    symbols = moved(reference, 1, 0.0)
    symbols.planes['coarse_depth'][0, 0, 0] ^= 1
    symbols.planes['fine'][0, 0, :2] = (symbols.planes['fine'][0, 0, :2] + 1) % 20
    assert find_skip_mask(symbols, reference).all()
    symbols.planes['fine'][0, :3, 4] = (symbols.planes['fine'][0, :3, 4] + 1) % 20
    symbols.planes['tokens0'][0, 2, 3] = (symbols.planes['tokens0'][0, 2, 3] + 3) % 7
    still = find_skip_mask(symbols, reference)
    assert np.argwhere(~still).tolist() == [[0, 1], [2, 3]]
    lost = FrameSymbols.unknown(SIZE)
    assert not find_skip_mask(symbols, lost).any()


def test_a_frame_of_which_nothing_arrived_is_the_reference_without_its_detail():
    reference = random_symbols(0, SIZE)
    part = decode(b'', SIZE, PRIOR, reference)
    assert part.caption == reference.caption
    for name, grid in part.planes.items():
        wanted = np.full_like(grid, -1) if name in TOKENS[1:] else reference.planes[name]
        np.testing.assert_array_equal(grid, wanted)


@settings(deadline=None, max_examples=60)
@given(
    st.one_of(st.just(640), st.integers(1, 4096)), st.one_of(st.just(480), st.integers(1, 4096)),
    st.integers(0, 255), st.integers(0, 2**16 - 1),
    st.binary(max_size=400),
)  # fmt: skip
def test_headers_come_back(width, height, sequence, fingerprint, stream):
    for reference in (None, sequence ^ 1):
        header = FrameHeader('gsc', fingerprint, sequence, width, height, sequence, reference)
        data = bitstream.pack(header, stream, 0x1234)[1]
        assert len(data) == header.bytes + len(stream)
        assert replace(bitstream.read_header(data[: header.bytes]), crc=0) == header
        found, sections, rest = bitstream.unpack(data, references={sequence ^ 1: 0x1234})
        assert rest == stream
        assert not sections
        assert replace(found, crc=0) == header


def test_a_lost_or_another_reference_is_noticed():
    delta = bitstream.pack(replace(HEADER, reference=4), b'stream', 0x1111)[1]
    with pytest.raises(MissingReferenceError, match='refers to frame 4'):
        bitstream.unpack(delta)
    with pytest.raises(MissingReferenceError):
        bitstream.unpack(delta, references={3: 0x1111})
    for truncated in (False, True):
        with pytest.raises(BitstreamError):
            bitstream.unpack(delta, truncated, {4: 0x2222})
    assert bitstream.unpack(delta, references={4: 0x1111})[2] == b'stream'
    # What is not known may be damage: without its reference nothing of a delta frame is checked.
    damaged = bytearray(delta)
    damaged[4] = 62  # no size
    with pytest.raises(BitstreamError, match=r'update gsc_ros .*or the frame is damaged'):
        bitstream.unpack(bytes(damaged))


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 8 * 56 - 1))
def test_every_flipped_bit_is_noticed(bit):
    data = bytearray(bitstream.pack(HEADER, bytes(range(47)))[1])
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BitstreamError):
        bitstream.unpack(bytes(data))


def test_errors_name_what_is_wrong():
    data = bitstream.pack(HEADER, b'stream')[1]
    assert bitstream.read_header(data, check_crc=True) == bitstream.read_header(data[:-2])
    with pytest.raises(BitstreamError, match='cut short'):
        bitstream.read_header(data[:-2], check_crc=True)
    with pytest.raises(BitstreamError, match='cut short'):
        bitstream.unpack(data[:-2])
    assert bitstream.unpack(data[:-2], truncated=True)[2] == b'stre'
    with pytest.raises(BitstreamError, match='damaged or cut'):
        bitstream.unpack(data + b'x')
    with pytest.raises(BitstreamError, match='no gsc frame'):
        bitstream.unpack(b'GIF89a')
    with pytest.raises(BitstreamError, match='not a gsc frame'):
        bitstream.unpack(b'\x89PNG\r\n\x1a\n' + bytes(40))
    for at, value, message in (
        (0, (bitstream.VERSION + 1) << 4, f'version {bitstream.VERSION + 1}'),
        (4, 62, 'size 62'),
    ):
        newer = bytearray(data[:6])
        newer[at] = value
        newer.append(binascii.crc_hqx(bytes(newer), 0xFFFF) >> 8)
        newer += binascii.crc_hqx(bytes(newer) + b'stream', 0xFFFF).to_bytes(2, 'big') + b'stream'
        with pytest.raises(BitstreamError, match=message):
            bitstream.unpack(bytes(newer))


@pytest.mark.parametrize(
    'change', [{'width': 0}, {'height': 5000}, {'fingerprint': -1}, {'depth_code': 256}]
)
def test_headers_refuse_what_does_not_fit(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        bitstream.pack(FrameHeader(**{**HEADER.__dict__, **change}), b'')[1]


def test_depth_codes_are_within_two_percent():
    assert bitstream.depth_code(float('nan')) == 0
    assert np.isnan(bitstream.depth_of_code(0))
    for metres in np.geomspace(0.5, 200, 50):
        back = bitstream.depth_of_code(bitstream.depth_code(metres))
        assert back == pytest.approx(metres, rel=0.013)


@pytest.mark.parametrize('count', [1_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_broken_streams_do_no_harm(count):
    """Random bytes and mutations give symbols in range, of the frame's size, and nothing else."""
    rng = np.random.default_rng(count)
    size = (64, 64)
    reference = random_symbols(1, size)
    good, _ = encode(random_symbols(0, size), PRIOR, ALL)
    for i in range(count):
        if i % 2:
            data = rng.bytes(int(rng.integers(0, 12)))
        else:
            changed = bytearray(good[: int(rng.integers(1, 16))])
            changed[int(rng.integers(len(changed)))] ^= int(rng.integers(1, 256))
            data = bytes(changed)
        part = decode(data, size, PRIOR, reference if i % 3 == 0 else None)
        for plane in PLANES:
            grid = part.planes[plane.name]
            assert grid.shape[0] == len(plane.levels)
            assert (grid.min((1, 2)) >= -1).all()
            assert (grid.max((1, 2)) < plane.levels).all()


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


def golden(seed):
    """Make the golden frames: a key frame, one cut among chosen blocks, a delta frame."""
    symbols = random_symbols(seed, SIZE)
    blocks = np.random.default_rng(seed).random((3, 4)) < 0.5
    reference = random_symbols(seed + 1, SIZE) if seed == 13 else None
    most, policy = (90, FixedBlocks(blocks)) if seed == 12 else (ALL, None)
    header = replace(HEADER, reference=None if reference is None else 4)
    stream, _ = encode(symbols, PRIOR, most, reference, policy=policy)
    return bitstream.pack(header, stream, 0x1357)[1], symbols, reference


@pytest.mark.parametrize('seed', [11, 12, 13])
def test_golden_streams_do_not_change(seed):
    """
    The bytes of a frame are the same on every machine and in every version of the format.

    After a deliberate change of the format, with a new version number, write them anew with
    GSC_REGENERATE=1.
    """
    data, symbols, reference = golden(seed)
    file = GOLDEN / f'frame_{seed}.gsc'
    if os.environ.get('GSC_REGENERATE'):
        file.write_bytes(data)
    assert file.read_bytes() == data
    _, _, stream = bitstream.unpack(file.read_bytes(), references={4: 0x1357})
    found = decode(stream, SIZE, PRIOR, reference)
    if seed == 12:
        consistent(found, symbols)
        assert binascii.crc32(b''.join(g.tobytes() for g in found.planes.values())) == CRC_12
    else:
        same(found, symbols)


@pytest.mark.parametrize('threads', ['1', '3'])
def test_another_process_with_other_threads_makes_the_same_bytes(threads):
    code = (
        'import sys, zlib; sys.path.insert(0, sys.argv[1]); import test_streams as t; '
        'print([zlib.crc32(t.golden(seed)[0]) for seed in (11, 12, 13)])'
    )
    names = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')
    done = subprocess.run(
        [sys.executable, '-c', code, str(Path(__file__).parent)],
        env=os.environ | dict.fromkeys(names, threads),
        capture_output=True,
        text=True,
        check=True,
    )
    files = [(GOLDEN / f'frame_{seed}.gsc').read_bytes() for seed in (11, 12, 13)]
    assert done.stdout.strip() == str([binascii.crc32(file) for file in files])
