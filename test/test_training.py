"""Every stage of training runs, resumes and writes what the codec loads, on a miniature corpus."""

import csv

import cv2
import numpy as np
import pytest
import torch

from gsc_ros.codec import SemanticCodec
from gsc_ros.codec.tables import shapes
from gsc_ros.training import autoencoder, corpus, flow, loop, perception, tables, tokens

DISTANCE = """
import torch
class PerceptualSqueeze(torch.nn.Module):
    def forward(self, a, b):
        return (torch.nn.functional.avg_pool2d(a - b, 4) ** 2).mean((1, 2, 3))
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A corpus of six pictures with labels as the manifest names them."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    (root / 'train').mkdir()
    rows = []
    for i in range(6):
        blocks = rng.integers(0, 256, (16, 16, 3), np.uint8)
        cv2.imwrite(str(root / f'train/{i}.png'), np.kron(blocks, np.ones((16, 16, 1), np.uint8)))
        classes = np.kron(rng.integers(0, 20, (8, 8)), np.ones((16, 16))).astype(np.uint8)
        cv2.imwrite(str(root / f'train/{i}_seg.png'), classes)
        depth = rng.integers(0, 255, (64, 64)).astype(np.uint8)
        depth[:8] = 255
        cv2.imwrite(str(root / f'train/{i}_depth.png'), depth)
        rows.append(
            {
                'file': f'train/{i}.png',
                'kind': 'driving',
                'teacher_seg': f'train/{i}_seg.png' if i else '',
                'teacher_depth': f'train/{i}_depth.png' if i else '',
                'has_seg': '',
                'seg_file': '',
            }
        )
    with open(root / 'train/manifest.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (root / 'distance.py').write_text(DISTANCE)
    return root


def settings(folder, steps=2):
    return loop.Settings(folder, steps=steps, warmup=1, threads=2)


def test_all_stages_in_turn_make_a_codec(data, tmp_path):
    out, distance = tmp_path / 'w', data / 'distance.py'
    perception.train(data, settings(out), batch=2)
    autoencoder.train(data, settings(out / 'a'), distance, batch=2)
    (out / 'a/autoencoder.safetensors').rename(out / 'autoencoder.safetensors')
    tokens.train(data, settings(out / 't'), distance, out, batch=2)
    for name in ('autoencoder', 'tokenizer'):
        (out / f't/{name}.safetensors').rename(out / f'{name}.safetensors')
    flow.train(data, settings(out / 'f'), distance, out, batch=2)
    (out / 'f/flow.safetensors').rename(out / 'flow.safetensors')
    tables.train(data, settings(out), out)
    codec = SemanticCodec.load(weights=out)
    rgb = cv2.imread(str(data / 'train/0.png'))
    frame = codec.encode(rgb, 200)
    assert codec.decode(frame.data).rgb.shape == rgb.shape
    assert codec.fingerprint == SemanticCodec.load(weights=out).fingerprint
    # Learned tables shorten what they were learned from.
    plain = SemanticCodec.load(weights='random')
    plain.networks.robot = codec.networks.robot
    assert sum(frame.stream_bits.values()) < sum(plain.encode(rgb, 200).stream_bits.values())


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Linear(2, 1)

    def step():
        return {'loss': net(torch.ones(4, 2)).square().mean()}

    loop.run(net, step, settings(tmp_path, 60))
    saved = torch.load(tmp_path / 'checkpoint.pt', weights_only=True)
    assert saved['done'] == 60
    loop.run(net, step, settings(tmp_path, 110))
    assert torch.load(tmp_path / 'checkpoint.pt', weights_only=True)['done'] == 110
    curve = (tmp_path / 'curve.csv').read_text().splitlines()
    assert [line.split(',')[0] for line in curve] == ['step', '50', '100']
    assert float(curve[-1].split(',')[2]) < float(curve[1].split(',')[2])


def test_crops_and_labels_stay_together(data):
    sample = next(s for s in corpus.load(data) if s.segmentation is not None)
    rng = np.random.default_rng(1)
    for _ in range(20):
        rgb, classes, depth = corpus.crop(sample, (128, 64), rng)
        assert rgb.shape == (64, 128, 3)
        assert classes.shape == depth.shape == (16, 32)
        assert set(np.unique(classes)) <= set(np.unique(sample.segmentation))
        assert ((depth >= 0) | (depth == corpus.NO_DEPTH)).all()


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(ValueError, match='no pictures'):
        corpus.load(tmp_path)
    with pytest.raises(ValueError, match='labelled'):
        cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((64, 64, 3), np.uint8))
        perception.train(tmp_path, settings(tmp_path / 'o'))


def test_table_counts_are_usable_from_no_data_at_all():
    learned = tables.learn([])
    for name, shape in shapes().items():
        assert learned[name].shape == shape
        assert learned[name].min() >= 1
        assert learned[name].sum(-1).max() <= 65536
