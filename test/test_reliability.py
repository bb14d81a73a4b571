"""How far trust can be relied on: counted by kind of scene, drawn, and shown on images."""

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest

from gsc_ros.evaluation import metrics, reliability
from gsc_ros.evaluation.datasets import Frame, at_height
from gsc_ros.evaluation.run import summarise
from gsc_ros.evaluation.scores import Score
from gsc_ros.perception.camera import Camera


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


def test_frames_of_a_kind_without_truth_are_shown_by_likeness(tmp_path):
    pytest.importorskip('matplotlib')
    shown = []
    for level, (name, likeness) in enumerate((('d', 0.5), ('e', 0.9), ('f', 0.1))):
        shown.append(score(name, 'aerial'))
        shown[-1].row['ms_ssim'] = likeness
        for file in (f'{name}.png', shown[-1].row['image'], shown[-1].row['trust_image']):
            cv2.imwrite(str(tmp_path / file), np.full((60, 80, 3), 100 * level, np.uint8))
    for file in ('a.png', 'a_gsc.png', 'a_gsc_trust.png'):
        cv2.imwrite(str(tmp_path / file), np.zeros((60, 80, 3), np.uint8))
    files = reliability.write(tmp_path / 'out', [*shown, SCORES[0]], tmp_path)
    assert 'reliability_aerial.png' not in {file.name for file in files}
    rows = cv2.imread(str(tmp_path / 'out/aerial.jpg'))[90::180, 120].mean(1)
    np.testing.assert_allclose(rows, [100, 0, 200], atol=3)  # e, d, f


def test_depth_is_judged_by_trust():
    truth = np.array([[10, 10, 10, 0.1, 100]], np.float32)
    found = np.array([[11, np.nan, 20, 1, 1]], np.float32)
    trust = np.array([[200, 255, 10, 255, 255]], np.uint8)
    sums = metrics.depth_by_trust(found, truth, trust)
    curve = metrics.error_coverage(sums)
    np.testing.assert_allclose(curve[128], [1 / 3, 0.1], rtol=1e-6)
    np.testing.assert_allclose(curve[0], [2 / 3, 0.55], rtol=1e-6)  # of NaN nothing is told
    one = replace(SCORES[0], errors=sums)
    rows = reliability.depth_curves([one, one, SCORES[2]])
    assert len(rows) == 256
    assert rows[128]['kind'] == 'street'
    assert rows[128]['coverage'] == pytest.approx(1 / 3)
    mean = summarise([replace(one, row={**one.row, 'bytes': 300.0})])[0]
    assert mean['trusted_absrel'] == pytest.approx(0.1)


def test_a_camera_gets_the_height_that_its_dataset_does_not_state(tmp_path):
    frame = Frame('a', tmp_path / 'a.png')
    assert at_height(frame, 1.6).camera is None
    seen = replace(frame, camera=Camera(0.7, 0.9))
    assert at_height(seen, 1.6).camera == Camera(0.7, 0.9, height_m=1.6)
    known = replace(frame, camera=Camera(0.7, 0.9, height_m=1.2))
    assert at_height(known, 1.6) == known
