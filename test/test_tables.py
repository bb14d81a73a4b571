"""The benchmarks whose tables are in the documents: what they ask for, and what they say."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import tables
from benchmarks.ablations import differences
from benchmarks.pseudo_words import of_another
from gsc_ros.cli import build_parser
from gsc_ros.codec.planes import FrameSymbols
from gsc_ros.evaluation.scores import Score
from gsc_ros.models.pseudo_words import TASKS


def scores(codec, budget, **figures):
    row = {'codec': codec, 'budget': budget}
    return [
        Score({'frame': str(i), **row, **{name: values[i] for name, values in figures.items()}})
        for i in range(3)
    ]


def test_rows_are_compared_image_by_image_with_the_complete_preset_of_their_budget():
    nan = float('nan')
    found = differences(
        [
            *scores('gsc, whole', 150, vgg=(0.5, 0.7, 0.9), drivable=(0.1, nan, nan)),
            *scores('gsc, whole', 300, vgg=(0.0, 0.0, 0.0), drivable=(0.0, 0.0, 0.0)),
            *scores('mtgc, whole', 150, vgg=(9.0, 9.0, 9.0), drivable=(0.0, 0.0, 0.0)),
            *scores('gsc, no caption', 150, vgg=(0.6, 0.8, 1.3), drivable=(0.2, 0.3, nan)),
            *scores('gsc, no caption', 600, vgg=(0.6, 0.8, 1.3), drivable=(0.2, 0.3, nan)),
        ]
    )
    assert found == [{'codec': 'gsc, no caption', 'budget': 150.0, 'vgg': '+0.200 ± 0.100'}]


@pytest.mark.parametrize('task', [None, *TASKS])
def test_another_image_s_words_take_the_place_of_all_or_of_a_task_s(task):
    own, other = np.zeros((4, 5), np.int8), np.ones((8, 5), np.int8)
    symbols = FrameSymbols.unknown((64, 64))
    symbols.pseudo_words = own
    changed = of_another(symbols, other, task).pseudo_words
    expected = [int(task in (None, own_task)) for own_task in TASKS]
    assert changed.shape == own.shape and changed[:, 0].tolist() == expected
    assert not own.any()


@pytest.mark.parametrize('name', tables.TABLES)
def test_each_table_is_a_run_of_gsc_evaluate(name, tmp_path):
    args = build_parser().parse_args(tables.command(name, 'data', tmp_path, 'w'))
    assert (args.folder, args.report, args.weights) == (Path('data'), tmp_path / name, 'w')
    assert (args.kbps is not None) == (args.fps is not None) == name.endswith('film')
    assert Path(args.judge).is_file()
