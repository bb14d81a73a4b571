"""The shipped flow as a pipeline of diffusers: exported, loaded, and drawn by the adapter."""

import json

import numpy as np
import pytest
import torch

from gsc_ros.cli import main
from gsc_ros.codec import (
    FrameDecoder,
    RendererError,
    RendererOptions,
    SemanticCodec,
    conditions,
    renderers,
)
from gsc_ros.codec.foundation import pull
from gsc_ros.codec.foundation.adapter import PipelineRenderer
from gsc_ros.evaluation.metrics import psnr

diffusers = pytest.importorskip('diffusers', reason='needs the extra foundation')

SIZE = 192, 128  # width, height


def scene(seed):
    """An image with large and small things in it."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (SIZE[1] // 32, SIZE[0] // 32, 3), np.uint8)
    image = np.kron(small, np.ones((32, 32, 1), np.uint8)).astype(int)
    return (image + rng.integers(-20, 20, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def codec():
    made = SemanticCodec.load(device='cpu', threads=1)
    made.bfloat16 = False
    return made


@pytest.fixture(scope='module')
def images():
    return [scene(seed) for seed in range(2)]


@pytest.fixture(scope='module')
def frames(codec, images):
    data = [codec.encode(rgb, 90, sequence=i).data for i, rgb in enumerate(images)]
    return [codec.read(one) for one in data]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp('own') / 'pipeline'
    assert main(['export-pipeline', str(made)]) == 0
    return made


def decoder(codec, renderer):
    made = FrameDecoder(codec.networks.ground, renderer=renderer)
    made.bfloat16 = False
    return made


def load(folder, **options):
    return renderers.load(RendererOptions(str(folder), **options), 'cpu')


# One step of the flow is the prediction; the pipeline computes it, and ends close to it.
@pytest.mark.parametrize(('steps', 'most'), [(1, 0.1), (3, 1e-3)])
def test_without_the_pull_the_adapter_draws_what_the_flow_draws(
    codec, frames, folder, steps, most
):
    direct = decoder(codec, 'flow').render(frames, steps)
    adapted = decoder(codec, load(folder, pull=0.0)).render(frames, steps)
    for one, other in zip(direct, adapted, strict=True):
        difference = np.abs(one.rgb.astype(int) - other.rgb)
        assert difference.max() <= 1 and difference.mean() < most
        for name in ('depth', 'segmentation', 'trust'):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_figures_of_both_ways_print_the_same_digits(codec, frames, images, folder):
    def figures(renderer):
        drawn = decoder(codec, renderer).render(frames, 2)
        return [f'{psnr(a, b.rgb):.2f}' for a, b in zip(images, drawn, strict=True)]

    assert figures('flow') == figures(load(folder, pull=0.0))


def means(rgb):
    height, width = rgb.shape[:2]
    return rgb.reshape(height // 16, 16, width // 16, 16, 3).astype(float).mean((1, 3))


def test_the_pull_holds_the_means_of_what_was_sent(codec, frames, folder):
    plain = decoder(codec, 'deterministic').render(frames)
    free = decoder(codec, load(folder, pull=0.0)).render(frames, 4)
    held = decoder(codec, load(folder)).render(frames, 4)
    for one, other, third in zip(plain, free, held, strict=True):
        assert np.abs(means(third.rgb) - means(one.rgb)).mean() < 0.5
        assert np.abs(means(other.rgb) - means(one.rgb)).mean() > 1.0
        assert (third.rgb != one.rgb).any()


def test_the_pull_acts_in_every_step(codec, frames, folder):
    seen = []

    def trace(step, clean, held, target):
        known = pull.in_cells(pull.weights(frames, clean.device), 16, 1.0)
        cells, weight = known[0]

        def distance(z):
            far = torch.nn.functional.avg_pool2d(target - z, cells) * weight
            return float(far.abs().mean())

        seen.append((step, distance(clean), distance(held)))

    renderer = load(folder)
    renderer = PipelineRenderer(renderer.pipe, renderer.family, renderer.options, trace=trace)
    decoder(codec, renderer).render(frames, 4)
    assert [step for step, *_ in seen] == [0, 1, 2, 3]
    for _, before, after in seen:
        assert after < 0.5 * before


def test_a_batch_is_drawn_as_single_frames_are_and_by_the_seed_of_each(codec, frames, folder):
    ground = decoder(codec, load(folder))
    batch = ground.render(frames, 2)
    for frame, drawn in zip(frames, batch, strict=True):
        (single,) = ground.render([frame], 2)
        assert np.abs(single.rgb.astype(int) - drawn.rgb).max() <= 1
    a, b = (conditions.noise([frame], torch.zeros(1, 16, 8, 12)) for frame in frames)
    assert not torch.equal(a, b)


def test_diffusers_loads_the_folder_and_draws(codec, frames, folder, tmp_path, monkeypatch):
    cache = 'diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE'
    monkeypatch.setattr(cache, str(tmp_path))
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    assert isinstance(pipe.scheduler, diffusers.FlowMatchEulerDiscreteScheduler)
    assert pipe.config.fingerprint == codec.fingerprint
    with torch.inference_mode():
        out = codec.networks.ground.reconstructor.predict(*(f.symbols for f in frames))
    noise = conditions.noise(frames, out.latent)
    captions = [frame.symbols.caption for frame in frames]
    drawn = pipe(captions, out.latent, out.features, out.maps, noise, num_inference_steps=2)
    wanted = decoder(codec, 'flow').render(frames, 2)
    for image, frame in zip(drawn, wanted, strict=True):
        rgb = (image.permute(1, 2, 0) * 127.5 + 127.5).clamp(0, 255).round().numpy()
        assert np.abs(rgb - frame.rgb.astype(int)).max() <= 1


def test_a_pipeline_of_other_weights_is_refused(codec, frames, folder):
    renderer = load(folder)
    renderer.pipe.register_to_config(fingerprint=0x1234)
    with pytest.raises(RendererError, match=r'exported from weights 1234.*export-pipeline again'):
        decoder(codec, renderer).render(frames)


def test_export_writes_no_folder_over(folder, tmp_path, capsys):
    (tmp_path / 'mine.txt').write_text('mine')
    assert main(['export-pipeline', str(tmp_path)]) == 2
    assert 'give a new folder' in capsys.readouterr().err
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'model_index.json').write_text('{"_class_name": "FluxPipeline"}')
    assert main(['export-pipeline', str(other)]) == 2
    assert 'give a new folder' in capsys.readouterr().err
    index = json.loads((folder / 'model_index.json').read_text())
    assert index['_class_name'] == ['pipeline', 'GscFlowPipeline']
