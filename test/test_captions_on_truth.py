"""Captions on real images: what they name is there, and off the street they name nothing."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from gsc_ros.codec import FrameEncoder
from gsc_ros.codec.caption import OBJECT_KINDS
from gsc_ros.evaluation.datasets import open_dataset
from gsc_ros.evaluation.objects import count, shares

pytestmark = pytest.mark.slow
BUDGET = 300
KINDS_FILE = Path(__file__).parents[1] / 'benchmarks/scenes.csv'


@pytest.fixture(scope='module')
def frames():
    if 'GSC_DATA' not in os.environ:
        pytest.skip('set GSC_DATA to a folder with val/manifest.csv (docs/datasets.md)')
    return open_dataset(Path(os.environ['GSC_DATA']), split='val')


@pytest.fixture(scope='module')
def encoder():
    return FrameEncoder.load(threads=1)


def test_what_captions_name_is_there(frames, encoder):
    """Of CamVid's validation sequence, whose first half the probabilities were fitted to."""
    labelled = [frame for frame in frames if frame.segmentation]
    assert len(labelled) >= 100
    counted, words_bytes, hazards_bytes, told_bits = [], [], [], []
    for frame in labelled:
        sent = encoder.encode(frame.rgb(), BUDGET)
        items = sent.objects.items[: len(sent.objects.named)] if sent.objects else ()
        counted.append(count(items, frame.segmentation()))
        bits = sent.stream_bits
        words_bytes.append(sum(bits[part] for part in ('kind', 'caption')) / 8)
        hazards_bytes.append(bits['hazards'] / 8)  # what is named, and the map of them
        told_bits.append(bits['caption'] + bits['objects'])
    found = shares(counted)
    spent = np.mean(words_bytes), np.mean(hazards_bytes), max(told_bits) / 8
    print(found, shares(counted[len(counted) // 2 :]), spent)
    assert found['precision'] >= 0.8
    assert found['recall'] >= 0.5
    assert np.mean(words_bytes) <= 12
    assert np.mean(hazards_bytes) <= 15
    assert max(told_bits) <= 0.15 * 8 * BUDGET


def test_captions_name_nothing_of_the_street_off_the_street(frames, encoder):
    with KINDS_FILE.open(newline='') as file:
        kinds = {row['file']: row['kind'] for row in csv.DictReader(file)}
    root = Path(os.environ['GSC_DATA'])
    off = [f for f in frames if kinds.get(str(f.image.relative_to(root)), 'street') != 'street']
    assert len(off) >= 20
    for frame in off:
        caption = encoder.encode(frame.rgb(), BUDGET).caption
        assert not any(f'{kind} ' in caption for kind in OBJECT_KINDS[:-1]), (frame.name, caption)
