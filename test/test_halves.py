"""The two halves: what each loads, devices, batches, sequences."""

import copy

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gsc_ros.codec
from gsc_ros.codec import (
    FrameDecoder,
    FrameEncoder,
    SemanticCodec,
    SequenceDecoder,
    SequenceEncoder,
)
from gsc_ros.codec.device import resolve
from gsc_ros.models.weights import FOLDER
from gsc_ros.perception.model import WEIGHTS


def image_of(width, height, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return np.kron(small, np.ones((16, 16, 1), np.uint8))


@pytest.fixture(scope='module')
def codec():
    made = SemanticCodec.load(weights='random', device='cpu')
    made.bfloat16 = False
    return made


def test_devices_are_refused_by_name_with_those_that_exist(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert resolve('auto') == torch.device('cpu')
    for load in (SemanticCodec.load, FrameEncoder.load, FrameDecoder.load):
        with pytest.raises(ValueError, match=r"'cuda:1'.*this machine has cpu \(.*no GPU"):
            load(weights='random', device='cuda:1')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert resolve('auto') == resolve('cuda') == torch.device('cuda:0')
    assert resolve('cuda:1') == torch.device('cuda:1')
    for name in ('cuda:2', 'gpu', 'mps', '', 'CPU'):
        with pytest.raises(ValueError, match='cpu, cuda:0, cuda:1'):
            resolve(name)


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of several devices, as a GPU would; counts the others."""

    COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)

    def __init__(self):
        super().__init__()
        self.counts = {'meta': 0, 'cpu': 0}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        devices = {t.device.type for t in tensors if t.ndim}
        assert len(devices) <= 1 or func in self.COPIES, f'{func} of tensors on {devices}'
        for device in devices:
            self.counts[device] += 1
        return func(*args, **kwargs)


@pytest.fixture
def meta(codec, monkeypatch):
    """Return the networks of both halves on a device other than the CPU: one without values."""
    real = torch.Tensor.cpu

    def cpu(tensor):
        return torch.zeros(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else real(tensor)

    monkeypatch.setattr(torch.Tensor, 'cpu', cpu)
    robot, ground = copy.deepcopy((codec.networks.robot, codec.networks.ground))
    for half in (robot, ground):
        half.reconstructor.predictor.to('meta')
        half.reconstructor.decoder.to('meta')
        half.reconstructor.words.to('meta')
        half.reconstructor.latent_std = half.reconstructor.latent_std.to('meta')
    ground.flow.to('meta')
    for net in (robot.analyser.perception.net, robot.analyser.encoder, robot.analyser.tokenizer):
        net.to('meta')
    return robot, ground


def test_every_tensor_of_the_ground_is_on_its_device(codec, meta):
    frames = [codec.read(codec.encode(image_of(128, 64, seed), 200).data) for seed in (0, 1)]
    decoder = FrameDecoder(meta[1])
    assert decoder.device == torch.device('meta')
    with OneDevice() as watch:
        first, _ = decoder.render(frames, steps=2)
    assert first.rgb.shape == (64, 128, 3)
    assert watch.counts['meta'] > 200


@pytest.mark.parametrize('preset', ['gsc', 'mtgc'])
def test_every_tensor_of_the_robot_is_on_its_device(codec, meta, preset):
    encoder = FrameEncoder(meta[0], preset)
    with OneDevice() as watch:
        analysis = encoder.analyse(image_of(128, 64), region=(0.2, 0.2, 0.7, 0.9))
        reference = encoder.reference(encoder.pack(analysis, 200).data)
        encoder.pack(encoder.analyse(image_of(128, 64, 1)), 100, 1, reference, or_key=True)
        encoder.pack(analysis, 2000)  # with a residual
    assert analysis.latent.is_meta
    assert watch.counts['meta'] > 200


def assert_alike(one, other):
    """Single precision sums in another order in a batch: what rounds to a level may round on."""
    assert np.abs(one.rgb.astype(int) - other.rgb).max() <= 1
    np.testing.assert_allclose(one.depth, other.depth, rtol=1e-4)  # NaN and Inf alike
    assert (one.segmentation == other.segmentation).mean() > 0.999
    np.testing.assert_array_equal(one.trust, other.trust)
    assert (one.caption, one.header) == (other.caption, other.header)


@pytest.mark.parametrize('steps', [0, 2])
def test_a_batch_renders_as_single_frames_do(codec, steps):
    images = [image_of(128, 64, 0), image_of(160, 112, 1), image_of(128, 64, 2)]
    images += [image_of(128, 64, 3), image_of(160, 112, 4)]
    budgets = (150, 300, 60, 2000, 100)  # that of 2000 bytes has a residual
    data = [
        codec.encode(image, budget, sequence=sequence).data
        for sequence, (image, budget) in enumerate(zip(images, budgets, strict=True))
    ]
    together = codec.render([codec.read(frame) for frame in data], steps)
    assert [frame.header.sequence for frame in together] == [0, 1, 2, 3, 4]
    for frame, decoded in zip(data, together, strict=True):
        assert_alike(codec.decode(frame, steps=steps), decoded)
    assert codec.render([]) == []


def test_frames_of_several_robots_are_rendered_together(codec):
    robots = [SequenceEncoder(codec) for _ in range(2)]
    grounds = [SequenceDecoder(codec.decoder) for _ in robots]
    for sequence in range(2):
        data = [
            robot.encode(image_of(128, 64, seed), 200, sequence=sequence).data
            for seed, robot in enumerate(robots)
        ]
        frames = [ground.read(frame) for ground, frame in zip(grounds, data, strict=True)]
        assert [frame.header.frame_type for frame in frames] == [sequence, sequence]
        shown = codec.render(frames)
    assert np.abs(shown[0].rgb.astype(int) - shown[1].rgb).mean() > 0
    for frame, decoded in zip(frames, shown, strict=True):
        assert_alike(codec.render([frame])[0], decoded)


def test_symbols_are_the_same_on_every_device(codec, meta):
    data = codec.encode(image_of(128, 64), 300).data
    symbols = [decoder.read(data).symbols for decoder in (codec.decoder, FrameDecoder(meta[1]))]
    for name, grid in symbols[0].planes.items():
        np.testing.assert_array_equal(grid, symbols[1].planes[name])


def test_the_ground_needs_no_perception_network(tmp_path):
    for file in FOLDER.iterdir():
        if file.name != WEIGHTS:
            (tmp_path / file.name).symlink_to(file)
    ground = FrameDecoder.load(weights=tmp_path, device='cpu')
    robot = FrameEncoder.load(device='cpu')
    assert ground.fingerprint == robot.fingerprint
    frame = robot.encode(image_of(128, 64), 200)
    assert ground.decode(frame.data).caption == frame.caption
    with pytest.raises(FileNotFoundError, match=WEIGHTS):
        FrameEncoder.load(weights=tmp_path, device='cpu')


def test_halves_and_pair_agree(codec):
    robot = FrameEncoder.load(weights='random', device='cpu')
    ground = FrameDecoder.load(weights='random', device='cpu')
    robot.bfloat16 = ground.bfloat16 = False
    frame = robot.encode(image_of(128, 64), 200)
    assert frame.data == codec.encode(image_of(128, 64), 200).data
    assert_alike(ground.decode(frame.data), codec.decode(frame.data))


def test_a_key_frame_that_is_wanted_while_a_frame_is_coded_comes_next(codec, monkeypatch):
    robot = SequenceEncoder(codec)
    kinds = []
    pack = codec.pack

    def interrupted(*args, **options):
        frame = pack(*args, **options)
        if len(kinds) == 1:
            robot.force_keyframe()  # as another thread would
        return frame

    monkeypatch.setattr(codec, 'pack', interrupted)
    for sequence in range(4):
        frame = robot.encode(image_of(128, 64), 200, sequence=sequence)
        kinds.append(frame.header.frame_type)
    assert kinds == [0, 1, 0, 1]


def test_old_names_work_and_warn(codec):
    with pytest.warns(DeprecationWarning, match='FilmEncoder is now SequenceEncoder'):
        robot = gsc_ros.codec.FilmEncoder(codec)
    with pytest.warns(DeprecationWarning, match='FilmDecoder is now SequenceDecoder'):
        ground = gsc_ros.codec.FilmDecoder(codec)
    key = robot.encode(image_of(128, 64), 200).data
    with pytest.warns(DeprecationWarning, match='learn is now add_reference'):
        ground.learn(key)
    delta = robot.encode(image_of(128, 64), 200, sequence=1)
    assert ground.decode(delta.data).header.reference == 0
    with pytest.warns(DeprecationWarning, match='restart is now force_keyframe'):
        robot.restart()
    assert robot.encode(image_of(128, 64), 200, sequence=2).header.frame_type == 0
