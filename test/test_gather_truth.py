"""Truth of public repositories: labels and lidar points become class ids and depth images."""

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest

from gsc_ros.evaluation.datasets import open_dataset
from gsc_ros.labels import LABELS, UNLABELLED
from tools.gather_truth import CLASSES, LIDAR, Rig, Source, classes_of, depth_of_points, gather

# The camera looks along the lidar's x, a metre to its left.
RIG = Rig((100, 100, 40, 30), (0, 1, 0), (-0.5, 0.5, -0.5, 0.5))


def test_labels_are_colours_or_ids():
    colours = np.array([[[1, 2, 3], [0, 0, 9]]], np.uint8)
    found = classes_of(colours, {(1, 2, 3): 'sky'})
    assert found.tolist() == [[LABELS.index('sky'), UNLABELLED]]
    ids = np.array([[7, 8]], np.uint8)
    assert classes_of(ids, {(8,): 'other'}).tolist() == [[UNLABELLED, LABELS.index('other')]]


def test_points_are_seen_where_the_camera_is():
    points = np.array([[5, 1, 0], [10, 1, 0], [10, -1, 0.5], [-5, 1, 0], [500, 1, 0]], float)
    depth = depth_of_points(points, RIG, (60, 80))
    assert depth[30, 40] == 5 * 256  # the nearer one
    assert depth[25, 60] == 10 * 256  # to the right, and up
    assert np.count_nonzero(depth) == 2


@pytest.mark.parametrize('lidar', [True, False])
def test_a_source_becomes_rows_of_the_manifest(tmp_path, lidar):
    root, data = tmp_path / 'co/o+r', tmp_path / 'data'
    (root / 'images').mkdir(parents=True)
    cv2.imwrite(str(root / 'images/a.png'), np.zeros((60, 80, 3), np.uint8))
    source = Source('s', 'o+r', 'images/*.png', (('images', 'truth'),), 0, of=CLASSES)
    (root / 'truth').mkdir()
    if lidar:
        source = replace(
            source, truth=(('images', 'truth'), ('.png', '.npy')), of=LIDAR, rig=RIG,
            focal_px=100, height_m=1.5,
        )  # fmt: skip
        np.save(root / 'truth/a.npy', np.array([[5, 1, 0]]))
    else:
        source = replace(source, palette={(3,): 'other'})
        cv2.imwrite(str(root / 'truth/a.png'), np.full((60, 80), 3, np.uint8))
    cv2.imwrite(str(root / 'images/without.png'), np.zeros((60, 80, 3), np.uint8))
    rows = gather(source, tmp_path / 'co', data, set())
    with (data / 'train/manifest.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (frame,) = open_dataset(data, split='train')
    if lidar:
        assert frame.depth()[30, 40] == 5
        assert frame.camera.height_m == 1.5
    else:
        assert (frame.segmentation() == LABELS.index('other')).all()
    assert not gather(source, tmp_path / 'co', data, {'train/s/a.jpg'})
