"""Every family of pipelines through the adapter: tiny random networks, from a folder."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gsc_ros.codec import (
    FrameDecoder,
    RendererError,
    RendererOptions,
    SemanticCodec,
    renderers,
)

pytest.importorskip('diffusers', reason='needs the extra foundation')

import tiny_pipelines

from gsc_ros.codec import conditions
from gsc_ros.codec.caption import Caption
from gsc_ros.codec.foundation import families, pull
from gsc_ros.codec.foundation.adapter import PipelineRenderer
from gsc_ros.labels import KINDS
from gsc_ros.perception.kinds import SceneKind

NAMES = tuple(tiny_pipelines.MAKERS)
every = pytest.mark.parametrize('name', NAMES)


@pytest.fixture(scope='module')
def codec():
    made = SemanticCodec.load(weights='random', device='cpu', threads=1)
    made.bfloat16 = False
    return made


@pytest.fixture(scope='module')
def frames(codec):
    """Frames of which part of the tokens came, none with a residual."""
    rng = np.random.default_rng(0)
    read = []
    for number, budget in enumerate((40, 52)):
        small = rng.integers(0, 256, (2, 4, 3), np.uint8)
        rgb = np.kron(small, np.ones((30, 30, 1), np.uint8))  # drawn at 128x64, and resized
        read.append(codec.read(codec.encode(rgb, budget, sequence=number).data))
    assert all(frame.symbols.residual is None for frame in read)
    return read


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('families')
    return {name: tiny_pipelines.save(name, root / name) for name in NAMES}


def load(folder, **options):
    return renderers.load(RendererOptions(str(folder), dtype='float32', **options), 'cpu')


def decoder(codec, renderer):
    made = FrameDecoder(codec.networks.ground, renderer=renderer)
    made.bfloat16 = False
    return made


def means(rgb):
    height, width = (side // 16 * 16 for side in rgb.shape[:2])
    rgb = rgb[:height, :width]
    return rgb.reshape(height // 16, 16, width // 16, 16, 3).astype(float).mean((1, 3))


@every
def test_means_are_those_of_what_was_sent_and_a_batch_is_drawn_as_single_frames(
    codec, frames, folders, name
):
    renderer = load(folders[name])
    assert renderer.family.name == name
    ground = decoder(codec, renderer)
    plain = decoder(codec, 'deterministic').render(frames)
    batch = ground.render(frames, 2)
    for frame, one, drawn in zip(frames, plain, batch, strict=True):
        assert np.abs(means(drawn.rgb) - means(one.rgb)).mean() <= 2
        assert (drawn.rgb != one.rgb).any()
        for field in ('depth', 'segmentation', 'trust'):
            np.testing.assert_array_equal(getattr(one, field), getattr(drawn, field))
        (single,) = ground.render([frame], 2)
        assert np.abs(single.rgb.astype(int) - drawn.rgb).max() <= 1


@pytest.mark.slow
@every
def test_means_are_those_of_what_was_sent_in_300_bytes(folders, name):
    codec = SemanticCodec.load(device='cpu', threads=1)
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (9, 12, 3), np.uint8)
    rgb = np.kron(small, np.ones((40, 40, 1), np.uint8))
    frame = codec.read(codec.encode(rgb, 300).data)
    assert frame.symbols.residual is None and rgb.shape == (360, 480, 3)
    (plain,) = decoder(codec, 'deterministic').render([frame])
    for steps in (1, 4):
        (drawn,) = decoder(codec, load(folders[name])).render([frame], steps)
        assert np.abs(means(drawn.rgb) - means(plain.rgb)).mean() <= 2


@every
def test_the_pull_acts_in_every_step(codec, frames, folders, name):
    seen = []

    def trace(step, clean, held, target):
        # The coarsest means of the image: what is left of the way to what was sent.
        known = pull.weights(frames, clean.device)[0]
        with torch.inference_mode():
            distances = []
            for z in (clean, held):
                cells = 64 // renderer.family.cell
                far = torch.nn.functional.avg_pool2d(target - z, cells) * known
                distances.append(float(far.abs().mean()))
        seen.append((step, *distances))

    renderer = load(folders[name])
    renderer = PipelineRenderer(renderer.pipe, renderer.family, renderer.options, trace=trace)
    decoder(codec, renderer).render(frames, 3)
    assert [step for step, *_ in seen] == [0, 1, 2]
    for _, before, after in seen:
        assert after < 0.5 * before


@every
def test_guidance_and_other_numbers(codec, frames, folders, name):
    drawn = {}
    for guidance in (1.0, 4.0):
        options = RendererOptions(str(folders[name]), dtype='bfloat16', guidance=guidance)
        ground = decoder(codec, renderers.load(options, 'cpu'))
        drawn[guidance] = ground.render(frames[:1], 1)[0].rgb.astype(int)
    assert (drawn[1.0] != drawn[4.0]).any()
    exact = decoder(codec, load(folders[name], guidance=1.0)).render(frames[:1], 1)[0].rgb
    assert np.abs(drawn[1.0] - exact).mean() < 5


@every
def test_latents_are_those_of_the_pipeline_of_diffusers(folders, name):
    """Its own calls turn an image into the latents that the row of the table does."""
    pipe, family = load(folders[name]).pipe, families.find(type(load(folders[name]).pipe).__name__)
    images = torch.rand(2, 3, 128, 192, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        z = family.encode(pipe, pipe.vae, images)
        assert z.shape[2:] == (128 // family.cell, 192 // family.cell)
        coded = pipe.vae.encode(images)
        raw = coded.latent if name == 'SANA' else coded.latent_dist.mode()
        if name == 'FLUX.2-klein':
            wanted = pipe._patchify_latents(raw)
            wanted = (wanted - 0.1) / np.sqrt(0.5 + pipe.vae.config.batch_norm_eps)
        else:
            shift = pipe.vae.config.get('shift_factor') or 0
            wanted = (raw - shift) * pipe.vae.config.scaling_factor
        torch.testing.assert_close(z, wanted)
        back = family.restore(pipe, pipe.vae, z)
        torch.testing.assert_close(back, raw, rtol=1e-4, atol=1e-5)
        if name == 'FLUX.1':
            packed = pipe._pack_latents(z, 2, 4, 16, 24)
            torch.testing.assert_close(families.tokens(families.pack(z)), packed)


@every
def test_without_the_pull_it_draws_what_the_pipeline_of_diffusers_draws(
    codec, frames, folders, name, monkeypatch
):
    """From the same noise at level 1, diffusers' own loop ends at the same latents."""
    renderer = load(folders[name], pull=0.0, guidance=2.0 if name in ('SD3.5', 'SANA') else 1.0)
    pipe, family = renderer.pipe, renderer.family
    monkeypatch.setattr(families, 'LEVELS', (1.0, 1.0))
    ended = []
    monkeypatch.setattr(
        type(family), 'decode', lambda self, pipe, vae, z, scene: ended.append(z) or scene.base
    )
    decoder(codec, renderer).render(frames[:1], 2)
    steps = {'num_inference_steps': 2, 'sigmas': [1.0, 0.5]}
    if name == 'SANA':  # its own scheduler takes two-step averages
        pipe.scheduler = renderer._scheduler
    noise = conditions.noise(frames[:1], ended[0])
    start = families.tokens(families.pack(noise)) if name == 'FLUX.1' else noise
    given = {'prompt': renderer.text(frames[0]), 'height': 64, 'width': 128, 'latents': start}
    given |= {'guidance_scale': renderer._guidance, 'max_sequence_length': 128}
    if name == 'Z-Image':
        given['guidance_scale'] = 0.0  # its formula counts from 0
    if name == 'SANA':
        given |= {'use_resolution_binning': False, 'complex_human_instruction': None}
    with torch.inference_mode():
        latents = pipe(**given, **steps, output_type='latent').images
    if name == 'FLUX.1':
        latents = families.unpack(families.cells(latents, families.pack(noise)))
    if name == 'FLUX.2-klein':
        latents = family.normalise(pipe, pipe.vae, latents)
    torch.testing.assert_close(latents.float(), ended[0], rtol=1e-3, atol=1e-3)


def test_a_tiny_vae_draws_in_place_of_the_vae(codec, frames, folders, tmp_path):
    tiny_pipelines.tiny_vae().save_pretrained(tmp_path)
    plain = decoder(codec, load(folders['FLUX.1'])).render(frames[:1], 1)[0].rgb
    fast = load(folders['FLUX.1'], tiny_vae=str(tmp_path))
    assert (decoder(codec, fast).render(frames[:1], 1)[0].rgb != plain).any()


def test_a_controlnet_leads_the_families_that_have_one(codec, frames, folders, tmp_path):
    for name, net in tiny_pipelines.controlnets().items():
        net.save_pretrained(tmp_path / name)
        free = decoder(codec, load(folders[name], pull=0.0)).render(frames[:1], 1)[0].rgb
        led = load(folders[name], pull=0.0, controlnet=str(tmp_path / name))
        assert (decoder(codec, led).render(frames[:1], 1)[0].rgb != free).any()
    with pytest.raises(RendererError, match='controlnet: SANA has none here'):
        load(folders['SANA'], controlnet=str(tmp_path / 'FLUX.1'))


def test_a_lora_changes_what_is_drawn(codec, frames, folders, tmp_path):
    peft = pytest.importorskip('peft')
    renderer = load(folders['FLUX.1'], pull=0.0)
    free = decoder(codec, renderer).render(frames[:1], 1)[0].rgb
    transformer = renderer.pipe.transformer
    transformer.add_adapter(peft.LoraConfig(r=2, target_modules=['to_q', 'proj_out']))
    with torch.no_grad():
        for key, parameter in transformer.named_parameters():
            if 'lora_B' in key:
                parameter.fill_(0.5)
    layers = peft.get_peft_model_state_dict(transformer)
    type(renderer.pipe).save_lora_weights(tmp_path, transformer_lora_layers=layers)
    changed = load(folders['FLUX.1'], pull=0.0, lora=str(tmp_path))
    assert (decoder(codec, changed).render(frames[:1], 1)[0].rgb != free).any()
    with pytest.raises(RendererError, match=r'lora .* does not fit'):
        load(folders['FLUX.1'], lora=str(tmp_path / 'none'), offline=True)


def test_the_family_of_the_documents_works(monkeypatch):
    text = (Path(__file__).parent.parent / 'docs/foundation.md').read_text()
    monkeypatch.setattr(families, 'FAMILIES', families.FAMILIES)
    (block,) = re.findall(r'^```python\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    exec(compile(block, 'foundation.md', 'exec'), {})
    family, z = families.find('MinePipeline'), torch.ones(2, 16, 4, 4)
    pipe = SimpleNamespace(
        encode_prompt=lambda text, device: (torch.zeros(1, 3, 5), None),
        transformer=lambda x, **given: (x * given['timestep'].view(-1, 1, 1, 1),),
    )
    prompts = [family.prompt(pipe, text, torch.device('cpu')) for text in 'ab']
    call = families.Call(None, z, torch.tensor([0.5, 1.0]), prompts, 1.0)
    assert call.stacked(0).shape == (2, 3, 5)
    assert family.velocity(pipe, call)[:, 0, 0, 0].tolist() == [0.5, 1.0]


def test_the_prompt_says_what_the_frame_tells(frames, folders):
    renderer, symbols = load(folders['Z-Image']), frames[0].symbols

    def prompt(kind):
        told = replace(symbols, caption=Caption(1), kind=kind)
        return renderer.text(replace(frames[0], symbols=told))

    begin = "a photo from a robot's camera"
    assert prompt(None) == f'{begin}, {Caption(1)}'
    assert prompt(SceneKind(KINDS.index('street'), 0.9)) == f'{begin}, {Caption(1)}'
    assert prompt(SceneKind(KINDS.index('planetary'), 0.9)) == f'{begin}, planetary scene'
    assert prompt(SceneKind(KINDS.index('planetary'), 0.4)) == begin


def test_less_received_is_more_noise(codec, frames, folders):
    renderer = load(folders['FLUX.1'])
    known = pull.weights(frames, torch.device('cpu'))
    share = pull.received(known)
    assert 0 < share[0] < share[1] < 1
    sigmas = renderer._sigmas(renderer.family.level(share), torch.zeros(2, 3, 64, 128), 4)
    assert sigmas.shape == (2, 5) and sigmas[0, 0] > sigmas[1, 0]
    assert (sigmas[:, -1] == 0).all() and (sigmas.diff() < 0).all()


def test_means_are_spread_and_pulled_exactly():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(1, 2, 3, 4, generator=generator)
    large = pull.spread(means, 8)
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(large, 8), means)
    a, b = (torch.randn(1, 2, 16, 16, generator=generator) for _ in '12')
    weight = torch.tensor([[1.0, 0.0], [0.5, 1.0]])[None, None]
    held = pull.pulled(a, b, [(8, weight)])
    left = torch.nn.functional.avg_pool2d(b - held, 8)
    before = torch.nn.functional.avg_pool2d(b - a, 8)
    torch.testing.assert_close(left, before * (1 - weight), rtol=1e-4, atol=1e-5)
