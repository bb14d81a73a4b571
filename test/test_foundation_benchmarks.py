"""The commands that print the figures of docs/foundation*.md, on tiny models."""

import re
import sys

import pytest
from tiny_vae import make, save_images

from benchmarks import foundation_preset

TEXTS = ['a car on a road', 'a man beside a car', 'a road with a red car', 'two cars'] * 3
CRITICS = """
def features(x):
    return [x]
def segment(x):
    return x
def depth(x):
    return x[:, :1]
"""


def test_captions_cost_less_under_counts_of_words(tmp_path):
    train, people = tmp_path / 'train.txt', tmp_path / 'people.txt'
    train.write_text('\n'.join(TEXTS))
    people.write_text('a car on a road\ntwo cars\n')
    head, _, *rows = foundation_preset.captions(train, [people])
    assert head == '| coder | people |'
    means = {name: float(mean) for _, name, mean, _ in (re.split(r' ?\| ?', r) for r in rows)}
    assert means['UTF-8'] == 11.5
    own = means['counts of words and our range coder']
    assert own < means['deflate without header'] < means['zlib, level 9']


def test_both_presets_are_measured(tmp_path, monkeypatch, capsys):
    folder, judges = make(tmp_path / 'model'), tmp_path / 'critics.py'
    judges.write_text(CRITICS)
    line = ['--images', str(save_images(tmp_path / 'shown', 2)), '--limit', '2', '--device', 'cpu']
    line += ['--budgets', '150', '--weights', str(folder), '--critics', str(judges)]
    monkeypatch.setattr(sys, 'argv', ['foundation_preset', *line])
    foundation_preset.main()
    *_, own, other = capsys.readouterr().out.splitlines()
    for row, name in ((own, 'foundation'), (other, 'gsc')):
        _, budget, preset, size, psnr, distance, _ = re.split(r' ?\| ?', row)
        assert (budget, preset) == ('150', name)
        assert 0 < int(size) <= 150
        assert 0 < float(psnr) < 60 and float(distance) > 0


def test_operations_are_counted_by_arithmetic():
    pytest.importorskip('diffusers', reason='needs the extra foundation')
    from benchmarks import renderers

    transformer, encoder, decoder = renderers.operations('FLUX.2-klein', 512)
    # Two operations for each parameter and token: 1,024 of the image and 128 of the text.
    rough = 2 * renderers.count('FLUX.2-klein')[0] * (1024 + 128) / 1e12
    assert transformer == pytest.approx(rough, rel=0.25)
    assert encoder > 0.1 and decoder > encoder
