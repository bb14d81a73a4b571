"""Renderers as a choice of the ground, and the deterministic one in place of one that fails."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from gsc_ros.cli import main
from gsc_ros.codec import (
    FrameDecoder,
    RendererError,
    RendererOptions,
    RendererWarning,
    SemanticCodec,
    renderers,
)
from gsc_ros.codec.fallback import FallbackRenderer

RGB = np.kron(
    np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8), np.ones((16, 16, 1), np.uint8)
)


@pytest.fixture(scope='module')
def codec():
    return SemanticCodec.load(weights='random', device='cpu')


@pytest.fixture(scope='module')
def frame(codec):
    read = codec.read(codec.encode(RGB, 60).data)
    assert read.symbols.residual is None  # such a frame is always deterministic
    return read


def drawn(codec, renderer, frame, steps=None):
    return FrameDecoder(codec.networks.ground, renderer=renderer).render([frame], steps)[0]


def test_deterministic_is_what_no_steps_draw(codec, frame):
    plain = drawn(codec, 'deterministic', frame)
    for renderer, steps in (('deterministic', 0), ('flow', 0), ('', 0)):
        other = drawn(codec, renderer, frame, steps)
        for name in ('rgb', 'depth', 'segmentation', 'trust'):
            np.testing.assert_array_equal(getattr(plain, name), getattr(other, name))


def test_the_generator_draws_by_default_and_changes_the_image_alone(codec, frame):
    plain, flow = drawn(codec, 'deterministic', frame), drawn(codec, 'flow', frame)
    for renderer, steps in (('flow', 1), ('', None), ('', 1)):
        np.testing.assert_array_equal(flow.rgb, drawn(codec, renderer, frame, steps).rgb)
    assert (flow.rgb != plain.rgb).any()
    for name in ('depth', 'segmentation', 'trust'):
        np.testing.assert_array_equal(getattr(plain, name), getattr(flow, name))


def test_weights_without_a_generator_draw_by_the_deterministic_decoder(codec, frame):
    networks = replace(codec.networks.ground, generator=None)
    one, none = (FrameDecoder(networks).render([frame], steps)[0].rgb for steps in (1, 0))
    # An untrained flow takes one step straight to the prediction, but for rounding.
    assert np.abs(one.astype(int) - none).max() <= 1


def test_steps_that_a_renderer_does_not_take_are_refused(codec, frame):
    with pytest.raises(ValueError, match='deterministic takes no steps: give 0, or renderer flow'):
        drawn(codec, 'deterministic', frame, 2)
    for steps in (-1, 101):
        with pytest.raises(ValueError, match=r'outside 0\.\.100'):
            drawn(codec, 'flow', frame, steps)


def test_every_loader_takes_a_renderer(codec, frame):
    for load in (SemanticCodec.load, FrameDecoder.load):
        made = load(weights='random', device='cpu', renderer='flow')
        np.testing.assert_array_equal(made.render([frame])[0].rgb, drawn(codec, 'flow', frame).rgb)


def test_options_are_checked():
    with pytest.raises(ValueError, match="dtype 'int8' is not one of auto, float32"):
        RendererOptions('x', dtype='int8')
    with pytest.raises(ValueError, match='offload'):
        RendererOptions('x', offload='disk')
    with pytest.raises(ValueError, match=r'pull 2 is outside 0\.\.1'):
        RendererOptions('x', pull=2)


class Painter:
    """Paints images white; fails where it is told to."""

    name, default_steps, max_steps = 'painter', 2, 4

    def __init__(self):
        self.error = None
        self.steps = []

    def draw(self, networks, frames, out, steps):
        if self.error:
            raise self.error
        self.steps.append(steps)
        height, width = (16 * n for n in out.latent.shape[2:])
        return np.full((len(frames), height, width, 3), 255, np.float32)


def test_a_renderer_of_your_own_draws(codec, frame):
    painter = Painter()
    assert (drawn(codec, painter, frame).rgb == 255).all()
    assert painter.steps == [2]


def test_the_deterministic_image_stands_in_for_a_renderer_that_fails(codec, frame):
    now, warnings, painter, missing = 0.0, [], Painter(), [True]

    def load():
        if missing[0]:
            raise RendererError('no such folder: copy it.')
        return painter

    renderer = FallbackRenderer('painter', load, warnings.append, clock=lambda: now)
    plain = drawn(codec, 'deterministic', frame).rgb
    assert renderer.name == 'deterministic'
    np.testing.assert_array_equal(drawn(codec, renderer, frame).rgb, plain)
    assert warnings == ['no such folder: copy it. Until then images are deterministic.']
    assert renderer.problem == 'no such folder: copy it.'
    # Not again at once, and told once.
    missing[0] = False
    assert (drawn(codec, renderer, frame).rgb == plain).all()
    now = 31.0
    assert (drawn(codec, renderer, frame).rgb == 255).all()
    assert renderer.name == 'painter' and not renderer.problem
    # It runs out of memory, and comes back when that is free.
    painter.error = RuntimeError('CUDA out of memory')
    assert (drawn(codec, renderer, frame).rgb == plain).all()
    assert 'out of memory' in renderer.problem and len(warnings) == 2
    painter.error, now = None, 62.0
    assert (drawn(codec, renderer, frame).rgb == 255).all()
    renderer.close()
    assert (drawn(codec, renderer, frame).rgb == plain).all()


def test_images_are_shown_while_a_renderer_is_loaded(codec, frame):
    go, painter = threading.Event(), Painter()

    def load():
        assert go.wait(60)
        return painter

    renderer = FallbackRenderer('painter', load, print, background=True)
    plain = drawn(codec, 'deterministic', frame).rgb
    assert (drawn(codec, renderer, frame).rgb == plain).all()
    assert 'painter is being loaded' in renderer.problem
    go.set()
    for thread in threading.enumerate():
        if thread.name == 'renderer':
            thread.join(60)
    assert (drawn(codec, renderer, frame).rgb == 255).all()


def test_a_model_that_cannot_be_used_warns_in_python_and_is_refused_where_asked(codec, frame):
    with pytest.warns(RendererWarning, match='images are deterministic'):
        ground = FrameDecoder(codec.networks.ground, renderer='no/such-model-here')
    plain = drawn(codec, 'deterministic', frame).rgb
    np.testing.assert_array_equal(ground.render([frame])[0].rgb, plain)
    with pytest.raises(RendererError):
        renderers.load(RendererOptions('/no/such/folder', offline=True))


def test_commands_take_a_renderer(codec, tmp_path, capsys):
    import cv2

    data, image = tmp_path / 'a.gsc', tmp_path / 'a.png'
    data.write_bytes(codec.encode(RGB, 60).data)
    words = ['decode', str(data), '-o', str(image), '--weights', 'random', '--device', 'cpu']
    found = {}
    for renderer, steps in (('deterministic', '0'), ('flow', '2')):
        assert main([*words, '--renderer', renderer, '--steps', steps]) == 0
        found[renderer] = cv2.imread(str(image))
    assert (found['flow'] != found['deterministic']).any()
    assert main([*words, '--renderer', 'deterministic', '--steps', '1']) == 2
    assert main([*words, '--renderer', 'flow', '--renderer-option', 'dtype=float32']) == 2
    assert 'is for a diffusers pipeline' in capsys.readouterr().err
    for option, wanted in (('x=1', 'NAME of revision'), ('compile=2', 'give true or false')):
        assert main([*words, '--renderer', '/none', '--renderer-option', option]) == 2
        assert wanted in capsys.readouterr().err
    # A model that is missing: the image is there, and the remedy.
    assert main([*words, '--renderer', '/no/such', '--renderer-option', 'offline=true']) == 0
    assert 'images are deterministic' in capsys.readouterr().err
    np.testing.assert_array_equal(cv2.imread(str(image)), found['deterministic'])
