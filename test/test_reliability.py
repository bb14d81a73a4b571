"""How far trust can be relied on: counted by kind of scene, drawn, and shown on images."""

import csv

import cv2
import numpy as np
import pytest

from gsc_ros.evaluation import reliability
from gsc_ros.evaluation.scores import Score


def counts(trust, right, wrong):
    made = np.zeros((256, 2), np.int64)
    made[trust] = wrong, right
    return made


def score(name, kind, **trust):
    row = {
        'codec': 'gsc', 'budget': 300.0, 'frame': name, 'image': f'{name}_gsc.png',
        'trust_image': f'{name}_gsc_trust.png',
    }  # fmt: skip
    return Score(row, trust=trust, kind=kind)


SCORES = [
    score('a', 'street', depth=counts(204, 8, 2), classes=counts(255, 10, 0)),
    score('b', 'street', depth=counts(204, 2, 8)),
    score('c', 'indoor', depth=counts(51, 2, 8)),
    Score({'codec': 'webp', 'budget': 300.0, 'frame': 'a'}),
]


def test_frames_of_one_kind_are_counted_together():
    groups = reliability.by_kind(SCORES)
    assert groups['gsc', 300.0, 'street', 'depth'].sum(0).tolist() == [10, 10]
    assert groups['gsc', 300.0, 'indoor', 'depth'].sum() == 10
    np.testing.assert_allclose(
        reliability.diagram(groups['gsc', 300.0, 'street', 'depth']), [[0.8, 0.5, 20]]
    )


def test_the_gap_of_a_frame_is_that_of_its_trust_and_truth():
    assert reliability.gap(SCORES[1]) == pytest.approx(0.6)
    assert reliability.gap(SCORES[2]) == pytest.approx(0.0)
    assert np.isnan(reliability.gap(SCORES[3]))


def test_a_report_has_tables_plots_and_images(tmp_path):
    pytest.importorskip('matplotlib')
    for one in SCORES[:3]:
        for name in (f'{one.row["frame"]}.png', one.row['image'], one.row['trust_image']):
            cv2.imwrite(str(tmp_path / name), np.zeros((60, 80, 3), np.uint8))
    files = reliability.write(tmp_path / 'out', SCORES, tmp_path)
    assert {file.name for file in files} == {
        'reliability_street.png', 'reliability_indoor.png',
        'street.jpg', 'indoor.jpg',
    }  # fmt: skip
    with (tmp_path / 'out/trust.csv').open(newline='') as file:
        rows = {(row['kind'], row['right']): row for row in csv.DictReader(file)}
    assert float(rows['street', 'depth']['ece']) == pytest.approx(0.3)
    assert float(rows['indoor', 'depth']['coverage']) == 0
    with pytest.raises(ValueError, match='both trust and truth'):
        reliability.write(tmp_path, SCORES[3:], tmp_path)
