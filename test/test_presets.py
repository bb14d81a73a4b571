"""Presets select what is sent and who may read it."""

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from gsc_ros.cli import main
from gsc_ros.codec import (
    BitstreamError,
    DecodedFrame,
    FrameDecoder,
    FrameEncoder,
    SemanticCodec,
    backend,
    bitstream,
    presets,
)
from gsc_ros.evaluation.codecs import make_codec

GREY = f'{__name__}:Grey'
RGB = np.kron(
    np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8), np.ones((16, 16, 1), np.uint8)
)
# Without the finest tokens, structure before layout, and not to be cut.
OTHER = backend.Preset(
    'other', 2, ('tokens0', 'coarse', 'coarse_depth', 'tokens1', 'fine'), progressive=False
)


class Grey:
    """A ground's half that renders grey images without maps."""

    fingerprint = 0

    @classmethod
    def load(cls, preset, weights=None, threads=None, device='auto'):
        made = cls()
        made.read = FrameDecoder.load(preset, weights, threads, device).read
        return made

    def render(self, frames, steps=None):
        maps = dict.fromkeys(('depth', 'segmentation', 'trust'))
        sizes = [(frame.header.height, frame.header.width, 3) for frame in frames]
        return [
            DecodedFrame(rgb=np.full(size, 128, np.uint8), caption='', header=frame.header, **maps)
            for size, frame in zip(sizes, frames, strict=True)
        ]


@pytest.fixture
def other(monkeypatch):
    monkeypatch.setattr(presets, 'PRESETS', {'gsc': presets.PRESETS['gsc']})
    return backend.register(OTHER).name


@pytest.fixture(scope='module')
def codec():
    return SemanticCodec.load(weights='random', device='cpu')


def test_a_preset_selects_planes_and_their_order(codec, other):
    changed = SemanticCodec.of(codec.networks, other)
    frame = changed.encode(RGB, 2000)
    read = changed.read(frame.data)
    header, symbols = read.header, read.symbols
    assert header.preset == other
    sent = [name for name in symbols.bits if name in symbols.planes]
    assert sent == list(OTHER.planes)
    assert not symbols.received('tokens2').any()
    assert symbols.received('fine').all()
    whole = codec.read(codec.encode(RGB, 2000).data).symbols
    for name in OTHER.planes:
        np.testing.assert_array_equal(symbols.planes[name], whole.planes[name])
    assert changed.decode(frame.data).rgb.shape == RGB.shape


def test_a_preset_selects_the_classes_of_both_halves(monkeypatch, tmp_path):
    monkeypatch.setattr(presets, 'PRESETS', {'gsc': presets.PRESETS['gsc']})
    grey = presets.register(replace(presets.PRESETS['gsc'], name='grey', code=3, decoder=GREY))
    codec = SemanticCodec.load(grey.name, weights='random', device='cpu')
    assert isinstance(codec.decoder, Grey)
    assert isinstance(codec.encoder, FrameEncoder)
    assert (codec.decode(codec.encode(RGB, 200).data).rgb == 128).all()
    assert make_codec('gsc', loaded=codec).decode([codec.encode(RGB, 200).data], (160, 128))
    # And those of the commands.
    png, coded, shown = (str(tmp_path / name) for name in ('a.png', 'a.gsc', 'b.png'))
    cv2.imwrite(png, RGB)
    own = ['--weights', 'random', '--device', 'cpu']
    assert main(['encode', png, '-o', coded, '--preset', grey.name, *own]) == 0
    assert main(['decode', coded, '-o', shown, *own]) == 0
    assert (cv2.imread(shown) == 128).all()
    assert main(['decode', coded, '-o', shown, '--depth', str(tmp_path / 'd.npy'), *own]) == 2


def test_frames_of_a_foreign_preset_are_refused_by_name(codec, other):
    robot = FrameEncoder(codec.networks.robot, other)
    ground = FrameDecoder(codec.networks.ground)
    with pytest.raises(BitstreamError, match=r"preset 'other', this decoder reads 'gsc'"):
        ground.read(robot.encode(RGB, 200).data)
    # Also a delta frame: a key frame would not help.
    known = robot.reference(robot.encode(RGB, 200).data)
    with pytest.raises(BitstreamError, match=r"preset 'other'"):
        ground.read(robot.encode(RGB, 200, sequence=1, reference=known).data)
    with pytest.raises(BitstreamError, match=r"preset 'gsc', this decoder reads 'other'"):
        FrameDecoder(codec.networks.ground, other).read(codec.encode(RGB, 200).data)


def test_presets_that_are_not_registered_are_refused(codec):
    with pytest.raises(ValueError, match=r"preset 'jpeg' is not one of gsc"):
        FrameDecoder.load('jpeg', weights='random')
    for preset in (
        backend.Preset('gsc', 2, ()),
        backend.Preset('new', 0, ()),
        backend.Preset('new', 4, ()),
    ):
        with pytest.raises(ValueError, match='code'):
            backend.register(preset)


def test_only_a_progressive_preset_may_be_cut(codec, other):
    assert codec.encode(RGB, 200).divisible
    changed = SemanticCodec.of(codec.networks, other)
    frame = changed.encode(RGB, 200)
    assert not frame.divisible
    with pytest.raises(BitstreamError, match='not progressive'):
        changed.decode(frame.data[:-1], truncated=True)
    assert codec.decode(codec.encode(RGB, 200).data[:-1], truncated=True).reference is None


def test_the_codes_of_presets_have_two_bits(monkeypatch):
    monkeypatch.setattr(presets, 'PRESETS', {})
    for code in range(4):
        backend.register(backend.Preset(f'p{code}', code, ()))
        for size in ((640, 480), (123, 77)):
            data = bitstream.pack(bitstream.FrameHeader(f'p{code}', 0, 0, *size), b'')[1]
            header = bitstream.read_header(data)
            assert (header.preset, header.width, header.height) == (f'p{code}', *size)


def test_presets_and_headers_need_no_torch():
    code = (
        'import sys; from gsc_ros.codec import backend, bitstream, types; '
        'assert list(backend.PRESETS) == ["gsc", "mtgc", "foundation", "cod_lite"]; '
        'assert "torch" not in sys.modules'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
