"""The conversion of weights and checkpoints to today's names keeps every tensor bit for bit."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1] / 'tools'))
from convert_weight_names import convert, new_name, renamed

from gsc_ros.codec.caption import VOCABULARY
from gsc_ros.codec.prior import Prior, all_shapes
from gsc_ros.models import weights
from gsc_ros.models.autoencoder import Autoencoder
from gsc_ros.models.flow import FlowNet
from gsc_ros.models.tokenizer import Tokenizer

NAMES = {
    'spread': 'latent_std',
    'tokenizer.spread': 'tokenizer.latent_std',
    'reading.query.weight.scale': 'cross_attention.query.weight.scale',
    'relief.own.bias': 'coarse_depth.own.bias',
    'autoencoder.decoder.picture.0.bias': 'autoencoder.decoder.image.0.bias',
    # Parts of other names are no names.
    'spread_out.relief_map.bias': 'spread_out.relief_map.bias',
    'encoder.picture.0.bias': 'encoder.picture.0.bias',
}


@pytest.fixture
def state():
    """Tensors of the kinds that are stored, with infinities and NaN of several bit patterns."""
    torch.manual_seed(0)
    halves = torch.randint(-(2**15), 2**15, (len(NAMES), 40), dtype=torch.int16)
    out = dict(zip(NAMES, halves.view(torch.float16), strict=True))
    out['relief.own.bias'] = torch.arange(-7, 7, dtype=torch.int16)
    out['reading.query.weight.scale'] = torch.tensor([1e-30, float('nan'), -0.0])
    out['spread'] = torch.arange(-4, 4, dtype=torch.int8).view(2, 4)
    return out


def bits(tensor):
    return tensor.dtype, tensor.shape, tensor.numpy().tobytes()


def read(path):
    with safe_open(path, 'pt') as file:
        names = list(file.keys())
        return {name: file.get_tensor(name) for name in names}, file.metadata()


def test_every_tensor_of_weights_keeps_its_bits(tmp_path, state):
    path, metadata = tmp_path / 'net.safetensors', {'config': '{"widths": [8, 16]}'}
    save_file(state, path, metadata)
    assert convert(path)
    found, kept = read(path)
    assert kept == metadata
    assert {name: bits(tensor) for name, tensor in found.items()} == {
        NAMES[name]: bits(tensor) for name, tensor in state.items()
    }
    content = path.read_bytes()
    assert not convert(path)  # today's names stay as they are
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ['net.safetensors']


def test_every_tensor_of_a_checkpoint_keeps_its_bits(tmp_path, state):
    path = tmp_path / 'checkpoint.pt'
    average = {name: tensor.flip(-1) for name, tensor in state.items()}
    optimiser = [{'state': {0: {'exp_avg': torch.rand(3)}}, 'param_groups': [{'lr': 0.1}]}]
    torch.save(
        {'model': state, 'average': average, 'optimiser': optimiser, 'done': 7, 'spent': 1.5}, path
    )
    assert convert(path)
    found = torch.load(path, weights_only=True)
    assert (found['done'], found['spent']) == (7, 1.5)
    assert bits(found['optimiser'][0]['state'][0]['exp_avg']) == bits(
        optimiser[0]['state'][0]['exp_avg']
    )
    assert found['average'].pop('n_averaged') == 7
    for part, prefix, before in (('model', '', state), ('average', 'module.', average)):
        assert {name: bits(tensor) for name, tensor in found[part].items()} == {
            prefix + NAMES[name]: bits(tensor) for name, tensor in before.items()
        }
    assert not convert(path)


def test_today_s_networks_have_today_s_names():
    nets = (Autoencoder(), Tokenizer(), FlowNet(VOCABULARY))
    for names in (all_shapes(), *(net.state_dict() for net in nets)):
        assert all(new_name(name) == name for name in names)
    for path in weights.FOLDER.glob('*.safetensors'):
        assert all(new_name(name) == name for name in read(path)[0])


def test_files_of_both_names_and_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(ValueError, match='same name'):
        renamed({'spread': 1, 'latent_std': 2})
    with pytest.raises(ValueError, match=r'\.safetensors, \.pt'):
        convert(tmp_path / 'net.onnx')


def test_weights_of_older_names_are_refused_and_the_script_named(tmp_path):
    net = Tokenizer(widths=(8, 8, 8))
    state = net.state_dict()
    state['spread'] = state.pop('latent_std')
    path = weights.save(tmp_path / 'tokenizer.safetensors', state, net.config)
    with pytest.raises(ValueError, match='convert_weight_names'):
        weights.restore(Tokenizer, path)
    assert convert(path)
    assert weights.restore(Tokenizer, path).latent_std.shape == (1, 16, 1, 1)
    old = {
        name.replace('coarse_depth', 'relief'): np.zeros(s, np.int16)
        for name, s in all_shapes().items()
    }
    with pytest.raises(ValueError, match='convert_weight_names'):
        Prior.of_weights(old)
