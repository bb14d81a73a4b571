"""MTGC's parts around a pretrained flow model: trained on tiny random bases, loaded, drawn."""

import json

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gsc_ros.cli import main
from gsc_ros.codec import FrameDecoder, RendererError, RendererOptions, SemanticCodec, renderers

pytest.importorskip('diffusers', reason='needs the extra foundation')

import tiny_pipelines

from gsc_ros.codec.foundation import loading, mtgc
from gsc_ros.models.weights import FOLDER
from gsc_ros.training import mtgc as stage
from gsc_ros.training.loop import Settings

NAMES = tuple(tiny_pipelines.MAKERS)
every = pytest.mark.parametrize('name', NAMES)
SIZE = 128, 64


def image(seed):
    small = np.random.default_rng(seed).integers(0, 256, (2, 4, 3), np.uint8)
    return np.kron(small, np.ones((32, 32, 1), np.uint8))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('images')
    for seed in range(4):
        cv2.imwrite(str(root / f'{seed}.png'), image(seed))
    return root


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('families')
    return {name: tiny_pipelines.save(name, root / name) for name in NAMES}


@pytest.fixture(scope='module')
def codec():
    made = SemanticCodec.load(device='cpu', threads=1)
    made.bfloat16 = False
    return made


def train(data, base, folder, steps=2, **options):
    settings = Settings(folder, steps, learning_rate=1e-3, warmup=1, device='cpu', bfloat16=False)
    given = {'weights': FOLDER, 'batch': 2, 'size': SIZE, **options}
    return stage.train(data, settings, RendererOptions(str(base), dtype='float32'), **given)


def drawn(codec, base, **options):
    """Draw two frames by a base, without the pull."""
    wanted = RendererOptions(str(base), dtype='float32', pull=0.0, guidance=1.0, **options)
    ground = FrameDecoder(codec.networks.ground, renderer=renderers.load(wanted, 'cpu'))
    ground.bfloat16 = False
    frames = [codec.read(codec.encode(image(seed), 60, sequence=seed).data) for seed in (0, 1)]
    return np.stack([frame.rgb for frame in ground.render(frames, 2)]).astype(int)


@every
def test_parts_are_trained_around_a_base_and_lead_it(codec, data, folders, tmp_path, name):
    """With LoRA weights of the base, which lie in a folder of their own."""
    folder = train(data, folders[name], tmp_path / 'mtgc', lora_rank=2)
    config = json.loads((folder / 'config.json').read_text())
    assert (config['family'], config['words']) == (name, 8)
    (path,) = (folder / 'lora').glob('*.safetensors')
    ups = [value for key, value in load_file(path).items() if 'lora_B' in key]
    assert ups and any(value.any() for value in ups)
    led = drawn(codec, folders[name], mtgc=str(folder))
    assert (led != drawn(codec, folders[name])).any()
    np.testing.assert_array_equal(led, drawn(codec, folders[name], mtgc=str(folder)))


@every
def test_untrained_parts_without_words_leave_the_base_as_it_is(codec, folders, tmp_path, name):
    renderer = renderers.load(RendererOptions(str(folders[name])), 'cpu')
    guide = mtgc.MtgcGuide(
        **mtgc.shape_of(renderer.pipe, renderer.family), words=0, text=8, hidden=16, depth=1,
        channels={'FLUX.2-klein': 16}.get(name, 4),
    )  # fmt: skip
    guide.save_pretrained(tmp_path)
    plain = drawn(codec, folders[name])
    np.testing.assert_array_equal(drawn(codec, folders[name], mtgc=str(tmp_path)), plain)
    with torch.no_grad():
        for layer in guide.leave:
            torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    guide.save_pretrained(tmp_path)
    assert (drawn(codec, folders[name], mtgc=str(tmp_path)) != plain).any()


def test_only_the_parts_learn_and_a_run_goes_on_where_it_was(data, folders, tmp_path, monkeypatch):
    load, loaded, sample, drawn = loading.load, [], stage.Frames.sample, []
    monkeypatch.setattr(loading, 'load', lambda *given: loaded.append(load(*given)) or loaded[-1])
    monkeypatch.setattr(stage.Frames, 'sample', lambda f: drawn.append(f) or sample(f))
    before = load_file(next((folders['SD3.5'] / 'transformer').glob('*.safetensors')))
    train(data, folders['SD3.5'], tmp_path / 'mtgc', steps=2)
    assert len(drawn) == 2
    first = load_file(tmp_path / 'mtgc/diffusion_pytorch_model.safetensors')
    assert any(value.any() for name, value in first.items() if name.startswith('leave'))
    train(data, folders['SD3.5'], tmp_path / 'mtgc', steps=3)
    state = torch.load(tmp_path / 'mtgc/checkpoint.pt', weights_only=True)
    assert state['done'] == len(drawn) == 3
    second = load_file(tmp_path / 'mtgc/diffusion_pytorch_model.safetensors')
    assert any((second[name] != value).any() for name, value in first.items())
    for renderer in loaded:
        after = renderer.pipe.transformer.state_dict()
        assert all((after[name] == value).all() for name, value in before.items())


def test_the_loss_of_a_batch_falls(data, folders, tmp_path, monkeypatch):
    """The gradient passes the frozen base, whose blocks are computed again on the way back."""
    losses, sample, kept = [], stage.Frames.sample, []

    def once(frames):
        kept[:] = kept or [sample(frames)]
        return kept[0]

    def descend(model, step, settings):
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(12):
            torch.manual_seed(0)  # the same noise in every step
            loss = step()['loss']
            losses.append(loss.item())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return model.state_dict()

    monkeypatch.setattr(stage.Frames, 'sample', once)
    monkeypatch.setattr(stage.loop, 'run', descend)
    monkeypatch.setattr(stage, 'TEXT_LOST', 0.0)
    train(data, folders['SD3.5'], tmp_path / 'mtgc')
    assert losses[-1] < 0.9 * losses[0]


def test_what_cannot_be_used_is_refused_by_name(data, folders, tmp_path, capsys, monkeypatch):
    folder = train(data, folders['FLUX.1'], tmp_path / 'mtgc', steps=1)

    def refused(match, base, parts):
        with pytest.raises(RendererError, match=match):
            renderers.load(RendererOptions(str(folders[base]), mtgc=str(parts)), 'cpu')

    refused(r"trained for {'family': 'FLUX.1'.*Give parts that were trained", 'SANA', folder)
    with monkeypatch.context() as patch:
        patch.setattr(loading, '_pipeline', None)  # the base is not loaded for this
        refused(r'no parts of MTGC.*Give the folder that gsc train', 'FLUX.1', tmp_path)
    with pytest.raises(ValueError, match='needs --base'):
        train(data, '', tmp_path / 'none')
    base = RendererOptions(str(folders['FLUX.1']), mtgc=str(folder))
    with pytest.raises(ValueError, match='--base-option mtgc is what is trained: leave it out'):
        stage.train(data, Settings(tmp_path / 'none', 1), base, FOLDER)
    (folder / mtgc.LORA).mkdir()
    refused(r'mtgc/lora: damaged, or peft is missing .*Copy the folder again', 'FLUX.1', folder)
    with pytest.raises(RendererError, match='has LoRA weights of its own'):
        wanted = RendererOptions(str(folders['FLUX.1']), mtgc=str(folder), lora='owner/lora')
        renderers.load(wanted, 'cpu')
    assert main(['train', 'flow', '--base', 'x', '--data', str(data)]) != 0
    assert 'stage flow has no --base: mtgc has' in capsys.readouterr().err


def test_the_command_trains(codec, data, folders, tmp_path, capsys):
    line = ['train', 'mtgc', '--base', str(folders['FLUX.1']), '--data', str(data), '--output']
    line += [str(tmp_path), '--steps', '1', '--batch', '1', '--device', 'cpu', '--no-bfloat16']
    assert main([*line, '--base-option', 'dtype=float32']) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / 'mtgc')
    assert drawn(codec, folders['FLUX.1'], mtgc=str(tmp_path / 'mtgc')).shape == (2, 64, 128, 3)
