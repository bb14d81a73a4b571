"""What a pretrained renderer cannot use, and what the ground does then."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from gsc_ros.codec import FrameDecoder, RendererError, RendererOptions, SemanticCodec, renderers
from gsc_ros.codec.fallback import FallbackRenderer

pytest.importorskip('diffusers', reason='needs the extra foundation')

import tiny_pipelines

from gsc_ros.codec.foundation import loading
from gsc_ros.models import pretrained


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    return tiny_pipelines.save('Z-Image', tmp_path_factory.mktemp('weights') / 'model')


@pytest.fixture
def folder(source, tmp_path):
    return shutil.copytree(source, tmp_path / 'model')


def load(model, note=None, **options):
    return renderers.load(RendererOptions(str(model), **options), 'cpu', note)


def refused(match, model, **options):
    with pytest.raises(RendererError, match=match):
        load(model, **options)


def test_wrong_folders_and_models_are_refused_by_name(folder, tmp_path):
    (tmp_path / 'empty').mkdir()
    refused('has no model_index.json, so it is no diffusers pipeline', tmp_path / 'empty')
    refused('there is no such folder. Give deterministic, flow', tmp_path / 'none')
    refused('there is no such folder', 'flows')
    index = folder / 'model_index.json'
    text = index.read_text()
    index.write_text(text.replace('ZImagePipeline', 'StableDiffusionPipeline'))
    refused(r'StableDiffusionPipeline is no flow-matching model.*Give one of FLUX\.1', folder)
    index.write_text('{')
    refused('model_index.json is damaged', folder)
    index.write_text(text)
    # A pipeline of the table with a scheduler of another kind.
    (folder / 'scheduler/scheduler_config.json').write_text('{"_class_name": "DDIMScheduler"}')
    parts = json.loads(text)
    parts['scheduler'][1] = 'DDIMScheduler'
    index.write_text(json.dumps(parts))
    refused('with DDIMScheduler is no flow-matching model', folder)


def test_missing_and_damaged_files_are_refused_by_name(folder):
    path = next((folder / 'transformer').glob('*.safetensors'))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(f'{path.name} is damaged.*Copy the folder again', folder)
    path.write_bytes(data)
    shutil.rmtree(folder / 'text_encoder')
    refused('the part text_encoder is missing. Copy the folder again', folder)


def test_a_vae_of_another_factor_is_refused(folder, tmp_path):
    tiny_pipelines.tiny_vae(3).save_pretrained(tmp_path / 'tiny')
    wanted = 'AutoencoderTiny has cells of 4 pixels, those of Z-Image have 8'
    refused(wanted, folder, tiny_vae=str(tmp_path / 'tiny'))
    refused('cannot be loaded as AutoencoderTiny', folder, tiny_vae=str(tmp_path), offline=True)
    pipe = tiny_pipelines.kl(blocks=3)
    shutil.rmtree(folder / 'vae')
    pipe.save_pretrained(folder / 'vae')
    refused('AutoencoderKL has cells of 4 pixels', folder)


def test_a_hub_id_that_is_not_here_is_refused_offline(monkeypatch, tmp_path):
    monkeypatch.setenv('HF_HOME', str(tmp_path))
    refused(
        'owner/model at revision abc is not on this machine.*hf download owner/model',
        'owner/model', revision='abc', offline=True,
    )  # fmt: skip


def test_a_model_of_the_hub_is_fetched_once_and_pinned(source, monkeypatch):
    from diffusers import DiffusionPipeline

    calls, told = [], []

    def download(model, local_files_only=False, **given):
        calls.append((local_files_only, given['revision']))
        if local_files_only:
            raise OSError('not in the cache')
        return str(source)

    monkeypatch.setattr(DiffusionPipeline, 'download', download)
    assert load('owner/model', told.append).name == 'owner/model'
    assert calls == [(True, None), (False, None)]
    assert any(f'Pin it with revision {source.name}' in text for text in told)
    calls.clear()
    load('owner/model', revision='abc')
    assert calls == [(True, 'abc'), (False, 'abc')]

    def fails(model, **given):
        raise OSError('no route to host\nmore')

    monkeypatch.setattr(DiffusionPipeline, 'download', fails)
    refused(r'cannot be fetched \(no route to host\)\. On a machine with internet', 'owner/model')


def test_a_download_that_was_interrupted_is_finished(source, folder, monkeypatch):
    from diffusers import DiffusionPipeline

    for path in (folder / 'transformer').glob('*.safetensors'):
        path.unlink()
    refused(r'transformer has no weights \(\*\.safetensors\)', folder)
    calls = []

    def download(model, local_files_only=False, **given):
        calls.append(local_files_only)
        return str(folder if local_files_only else source)

    monkeypatch.setattr(DiffusionPipeline, 'download', download)
    assert load('owner/model').name == 'owner/model'
    assert calls == [True, False]
    refused('owner/model is not on this machine', 'owner/model', offline=True)


def test_a_damaged_index_of_weights_is_named(tmp_path):
    index = tmp_path / 'model.safetensors.index.json'
    for text in ('{', '{}', '[]'):
        index.write_text(text)
        with pytest.raises(pretrained.PretrainedError, match=r'index\.json is damaged\. Copy'):
            pretrained.weights_in(tmp_path)


def test_the_extra_is_named_where_it_is_missing_offline_too(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(pretrained.PretrainedError, match=r'gsc_ros\[foundation\]'):
        pretrained.snapshot('owner/name', '', ('*.json',))


def test_memory_is_counted_before_weights_are_loaded(folder, monkeypatch):
    pipe = load(folder, dtype='float32').pipe
    parts = (pipe.transformer, pipe.vae, pipe.text_encoder)
    size = sum(p.numel() * 4 for part in parts for p in part.parameters())
    files = [path for paths in loading.parts_of(folder).values() for path in paths]
    assert pretrained.bytes_of(files, torch.float32) == pytest.approx(size, rel=0.02)
    assert pretrained.bytes_of(files, torch.bfloat16) * 2 == pytest.approx(size, rel=0.02)
    assert pretrained.free_bytes(torch.device('cpu')) > 1e8
    monkeypatch.setattr(pretrained, 'free_bytes', lambda device: 1000)
    refused(r'needs .* GB, cpu has 0\.0 GB free. Free memory', folder)


def test_the_licence_is_told_once(folder, tmp_path):
    (folder / 'README.md').write_text('---\nlicense: apache-2.0\n---\n')
    told = []
    load(folder, told.append)
    assert [text for text in told if text.endswith('licence of its weights: apache-2.0')]
    assert 'ready on cpu' in told[-1]
    parts = [text for text in told if 'parts' in text]
    for number, name in enumerate(('text_encoder', 'transformer', 'vae'), 1):
        assert sum(f'loading {name}, ' in text for text in parts) == 1
        assert f', {number} of 3 parts, 0.00 GB' in parts[number - 1]
    count = len(told)
    load(folder, told.append)
    assert not any('licence of its weights' in text for text in told[count:])


def test_options_that_need_a_gpu_are_refused_without(folder):
    refused('offload model needs a GPU', folder, offload='model')
    load(folder, attention_slicing=True)


def test_values_that_are_not_finite_give_the_deterministic_image(folder):
    codec = SemanticCodec.load(weights='random', device='cpu')
    rgb = np.kron(
        np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8),
        np.ones((32, 32, 1), np.uint8),
    )
    frame = codec.read(codec.encode(rgb, 60).data)
    renderer, warnings = load(folder, dtype='float32'), []
    with torch.no_grad():
        for parameter in renderer.pipe.transformer.parameters():
            parameter.fill_(float('nan'))
    ground = FrameDecoder(codec.networks.ground, renderer=renderer)
    with pytest.raises(RendererError, match=r'not finite in torch\.float32\. Set dtype'):
        ground.render([frame], 1)
    ground.renderer = FallbackRenderer('model', lambda: renderer, warnings.append)
    plain = FrameDecoder(codec.networks.ground).render([frame], 0)[0].rgb
    np.testing.assert_array_equal(ground.render([frame])[0].rgb, plain)
    assert 'not finite' in warnings[0]


def test_neither_codec_nor_robot_imports_diffusers():
    code = (
        'import sys, gsc_ros.codec, gsc_ros.codec.codec, gsc_ros.codec.renderers\n'
        'import gsc_ros.codec.fallback, gsc_ros.commands.decode\n'
        'import gsc_ros.commands.export_pipeline\n'
        "print(*{'diffusers', 'transformers', 'accelerate'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert not done.stdout.strip()
