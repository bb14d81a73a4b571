"""An evaluation from files to table, with a judge and codecs whose answers are known."""

import csv
import ctypes
import io
import math
import os
import re
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, features

from gsc_ros.cli import main
from gsc_ros.codec import DecodedFrame, SemanticCodec, SequenceDecoder
from gsc_ros.codec.bitstream import read_header
from gsc_ros.evaluation import judge as judges
from gsc_ros.evaluation import metrics
from gsc_ros.evaluation.codecs import FrameByFrame, Gsc, make_codec
from gsc_ros.evaluation.datasets import Frame, open_dataset, sequences, thin
from gsc_ros.evaluation.report import markdown, write_csv
from gsc_ros.evaluation.run import evaluate, summarise
from gsc_ros.evaluation.scores import ReferenceObservation, Score
from gsc_ros.evaluation.stills import Still
from gsc_ros.evaluation.types import Outcome
from gsc_ros.evaluation.videos import Video

WIDTH, HEIGHT = 96, 64
# Classes by brightness, dark is road; the darker the nearer; one box around what is bright.
JUDGE = """
import numpy as np

GROUND, SKY = (0,), 2

def segment(rgb):
    return np.digitize(rgb.mean(2), (85, 170)).astype(np.uint8)

def depth(rgb):
    return (2 + rgb.mean(2) / 16).astype(np.float32)

def detect(rgb):
    y, x = np.nonzero(rgb.mean(2) > 200)
    return [(x.min(), y.min(), x.max() + 1, y.max() + 1, 0.9, 2)] if len(x) else []

def distances(a, b):
    return {'level': float(np.abs(a.astype(float) - b).mean())}
"""


def frames(folder, limit=None):
    return thin(open_dataset(folder), limit)


def stills(folder, limit=None):
    """Return a sequence of one for each frame."""
    return [[frame] for frame in frames(folder, limit)]


def rows_of(scores):
    return [score.row for score in scores]


def image(seed=0):
    """Sky, a wall at 8 m, road, a bright thing, and a little texture."""
    rgb = np.empty((HEIGHT, WIDTH, 3), np.float64)
    rgb[:24], rgb[24:44], rgb[44:] = 180, 100, 50
    rgb[28:40, 30 + seed : 46 + seed] = 240
    rgb += np.random.default_rng(seed).normal(0, 3, rgb.shape)
    return rgb.clip(0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'frames'
    path.mkdir()
    for i in range(3):
        cv2.imwrite(str(path / f'{i}.png'), image(i)[..., ::-1])
    return path


@pytest.fixture
def judge_file(tmp_path):
    path = tmp_path / 'judge.py'
    path.write_text(JUDGE)
    return path


@pytest.fixture
def judge(judge_file):
    return judges.load(judge_file)


class Exact:
    """Loses nothing."""

    name = 'exact'

    def encode(self, rgb, budget):
        return zlib.compress(rgb.tobytes())

    def decode(self, data, size):
        return Outcome(np.frombuffer(zlib.decompress(data), np.uint8).reshape(*size[::-1], 3))


class Grey:
    """Sends one level; cannot below 10 bytes, and sends too much where asked for 666."""

    name = 'grey'

    def encode(self, rgb, budget):
        return None if budget < 10 else bytes([100]) * (667 if budget == 666 else 10)

    def decode(self, data, size):
        return Outcome(np.full((*size[::-1], 3), data[0], np.uint8))


def test_a_perfect_codec_gets_perfect_figures(folder, judge):
    scores = list(evaluate(stills(folder), [FrameByFrame(Exact())], [10**6], judge))
    rows = rows_of(scores)
    assert summarise(scores)[0]['miou'] == 1
    assert [row['frame'] for row in rows] == ['0', '1', '2']
    for row in rows:
        assert row['psnr'] == math.inf
        assert row['ms_ssim'] == pytest.approx(1)
        assert (row['agreement'], row['delta1'], row['hazards_missed']) == (1, 1, 0)
        assert (row['level'], row['absrel'], row['lost'], row['invented']) == (0, 0, 0, 0)
        assert row['bpp'] == pytest.approx(8 * row['bytes'] / (WIDTH * HEIGHT))
        assert row['matched'] == row['hazards'] == 1
        assert not any(name.startswith('own') for name in row)


def test_a_codec_that_sends_a_wall_loses_what_was_there(folder, judge):
    (score,) = evaluate(stills(folder, 1), [FrameByFrame(Grey())], [10], judge)
    row = score.row
    wall = 20 * WIDTH - 12 * 16  # pixels that are as grey as the image that was sent
    assert row['agreement'] == pytest.approx(wall / (WIDTH * HEIGHT))
    assert summarise([score])[0]['miou'] == pytest.approx(wall / (WIDTH * HEIGHT) / 3)
    assert (row['matched'], row['lost'], row['invented']) == (0, 1, 0)
    assert row['psnr'] == pytest.approx(metrics.psnr(image(), np.full_like(image(), 100)))
    assert row['bytes'] == 10


def test_what_a_codec_cannot_do_is_listed_and_not_averaged(folder, judge):
    scores = list(
        evaluate(stills(folder), [FrameByFrame(Exact()), FrameByFrame(Grey())], [10**6], judge)
    )
    scores += list(evaluate(stills(folder), [FrameByFrame(Grey())], [9], judge))
    exact, grey, cannot = summarise(scores)
    assert (exact['codec'], exact['frames'], exact['det_f1']) == ('exact', 3, 1)
    assert (grey['codec'], grey['frames'], grey['det_f1'], grey['lost']) == ('grey', 3, 0, 1)
    assert cannot == {'codec': 'grey', 'budget': 9, 'frames': 0}
    lines = markdown([exact, grey, cannot]).splitlines()
    assert len({line.count('|') for line in lines}) == 1
    assert lines[-1].startswith('| grey | 9 | 0 | - |')


def test_a_codec_over_its_budget_stops_the_run(folder):
    with pytest.raises(AssertionError, match='667 bytes of 666'):
        list(evaluate(stills(folder), [FrameByFrame(Grey())], [666], None))


def test_means_are_of_the_frames_that_have_a_figure():
    head = {'codec': 'x', 'budget': 5}
    rows = [
        {'frame': 'a', **head, 'bytes': 4, 'absrel': 0.5, 'psnr': 20.0},
        {'frame': 'b', **head, 'bytes': 2, 'absrel': math.nan, 'psnr': 30.0},
        {'frame': 'c', **head, 'bytes': math.nan},
    ]
    assert summarise([Score(row) for row in rows]) == [
        {'codec': 'x', 'budget': 5, 'frames': 2, 'bytes': 3, 'absrel': 0.5, 'psnr': 25}
    ]


def test_patterns_are_ratios_and_their_mean_is_geometric():
    rows = [{'pattern_4': ratio} for ratio in (4.0, 0.25, 8.0, math.nan)]
    scores = [Score({'codec': 'a', 'budget': 1, 'bytes': 1, **row}) for row in rows]
    assert summarise(scores)[0]['pattern_4'] == pytest.approx(2)


def test_iou_is_of_the_run_and_not_a_mean_of_frames():
    road, car = np.zeros((1, 4), np.uint8), np.ones((1, 4), np.uint8)
    mixed = np.array([[0, 0, 0, 1]], np.uint8)
    scores = []
    for found, wanted in ((road, mixed), (car, car)):
        score = Score({'frame': 'a', 'codec': 'x', 'budget': 1, 'bytes': 1})
        score.classes('', found, wanted)
        scores.append(score)
    # road: 3 of 4; car: 4 of 5
    assert summarise(scores)[0]['miou'] == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_no_judge_no_verdicts(folder):
    (row,) = rows_of(evaluate(stills(folder, 1), [FrameByFrame(Grey())], [10], None))
    assert set(row) == {
        'frame', 'codec', 'budget', 'bytes', 'bpp', 'psnr', 'ms_ssim', 'image', 'encode_ms',
        'decode_ms', 'pattern_4', 'pattern_8', 'pattern_16',
    }  # fmt: skip


SLOW_JUDGE = """
import numpy as np

TRAINED = ('segment', 'level')

def slow_distances(a, b):
    return {'grain': abs(float(a.std()) - float(b.std()))}

def patches(rgb):
    parts = rgb.reshape(8, 8, 8, 36).swapaxes(1, 2).reshape(64, 288)  # of 8 x 12 pixels
    return np.stack([parts.mean(1), 9 * parts.std(1)], 1).astype(np.float32)
"""


def test_slow_columns_only_where_they_are_asked_for(folder, judge_file):
    judge_file.write_text(JUDGE + SLOW_JUDGE)
    judge = judges.load(judge_file)
    codecs = [FrameByFrame(Exact()), FrameByFrame(Grey())]
    plain = list(evaluate(stills(folder), codecs, [10**6], judge))
    slow = list(evaluate(stills(folder), codecs, [10**6], judge, slow=True))
    assert all(score.patches is None and 'grain' not in score.row for score in plain)
    assert all('kid' not in row for row in summarise(plain))
    exact, grey = summarise(slow)
    assert (exact['grain'], exact['kid'], exact['kid_error']) == (0, 0, 0)
    assert grey['grain'] > 10
    assert grey['kid'] > 5 * grey['kid_error'] > 0
    # One figure of the run's patches together, none an image.
    assert all('kid' not in score.row for score in slow)
    assert [len(p) for p in slow[0].patches] == [64, 64]


def test_columns_of_networks_of_training_are_marked(folder, judge_file):
    judge_file.write_text(JUDGE + SLOW_JUDGE)
    judge = judges.load(judge_file)
    trained = judges.trained_columns(judge)
    assert {'agreement', 'gt_miou', 'own_agreement', 'level', 'hazards_missed'} <= trained
    assert not trained & {'absrel', 'lost', 'grain', 'own_gt_agreement', 'psnr'}
    assert not judges.trained_columns(None)
    rows = [{'codec': 'a', 'level': 1.0, 'lost': 2.0}]
    assert markdown(rows, trained).splitlines() == [
        '| codec | level* | lost |',
        '|---|---|---|',
        '| a | 1 | 2 |',
        '',
        r'\* of a network that took part in training',
    ]
    assert '*' not in markdown([{'codec': 'a', 'lost': 2.0}], trained)


def test_without_ground_no_hazards_are_counted(folder, judge_file):
    judge_file.write_text(JUDGE.replace('GROUND, SKY = (0,), 2', 'SKY = 2'))
    (row,) = rows_of(
        evaluate(stills(folder, 1), [FrameByFrame(Grey())], [10], judges.load(judge_file))
    )
    assert 'absrel' in row
    assert 'hazards' not in row


def test_the_maps_of_our_decoder_are_judged_beside_its_image(folder, judge):
    codec = Gsc(SemanticCodec.load(weights='random'), 'gsc-0')
    assert codec.name == 'gsc-0'
    (score,) = evaluate(stills(folder, 1), [codec], [120], judge)
    row = score.row
    assert set(score.counts) == {'miou', 'own_miou'}
    assert 40 <= row['bytes'] <= 120
    for name in ('own_agreement', 'own_known', 'agreement'):
        assert 0 <= row[name] <= 1
    assert row['own_hazards_missed'] in (0, 1)
    assert row['hazards'] == 1


class Twin(Exact):
    """Loses nothing of image and classes; sees half of the depth, at half the distance."""

    name = 'twin'

    def __init__(self, judge):
        self.judge = judge

    def decode(self, data, size):
        rgb = super().decode(data, size).rgb
        depth = self.judge.depth(rgb) / 2
        depth[:, ::2] = np.nan
        trust = np.zeros(rgb.shape[:2], np.uint8)
        frame = DecodedFrame(rgb, depth, self.judge.segment(rgb), trust, '', None, None)
        return Outcome(np.zeros_like(rgb), frame)


def test_maps_from_the_decoder_have_figures_of_their_own(folder, judge):
    (row,) = rows_of(evaluate(stills(folder, 1), [FrameByFrame(Twin(judge))], [10**6], judge))
    assert (row['own_agreement'], row['own_known']) == (1, 0.5)
    assert row['own_absrel'] == pytest.approx(0.5)
    assert (row['own_delta1'], row['own_hazards_missed']) == (0, 0)
    assert row['agreement'] < 0.5  # the image is judged by itself, and it is black
    assert row['absrel'] != row['own_absrel']


def test_labels_of_the_dataset_are_judged_by_too(folder, judge):
    (plain,) = frames(folder, 1)
    rgb = plain.rgb()
    classes, depth = judge.segment(rgb), judge.depth(rgb)
    boxes = [*judge.detect(rgb), (0.0, 0.0, 5.0, 5.0, 1.0, 7)]
    frame = Frame('a', plain.image, '', 0.0, lambda: classes, lambda: depth, lambda: boxes)
    codec = Gsc(SemanticCodec.load(weights='random'), 'gsc-0')
    scores = list(evaluate([[frame]], [FrameByFrame(Exact()), codec], [60_000], judge))
    exact, ours = scores[0].row, scores[1].row
    assert (exact['gt_agreement'], exact['gt_absrel'], exact['gt_delta1']) == (1, 0, 1)
    assert (exact['gt_matched'], exact['gt_lost'], exact['gt_invented']) == (1, 1, 0)
    assert 0 <= ours['own_gt_agreement'] < 1
    summary = summarise(scores)
    assert summary[0]['gt_miou'] == 1
    assert summary[0]['gt_det_f1'] == pytest.approx(2 / 3)


def test_truth_of_another_size_is_refused_by_name(folder, judge):
    (plain,) = frames(folder, 1)
    truth = np.zeros((8, 12), np.uint8)
    frame = Frame('a', plain.image, '', 0.0, lambda: truth)
    with pytest.raises(ValueError, match='a: truth of 12x8 for an image of'):
        ReferenceObservation(judge, frame, plain.rgb())


def test_the_sky_has_no_depth(folder, judge):
    reference = ReferenceObservation(judge, frames(folder, 1)[0], image())
    sky = reference.classes == 2
    assert sky.any()
    assert np.array_equal(np.isinf(reference.depth), sky)
    assert np.array_equal(reference.depth[~sky], judge.depth(image())[~sky])


def test_the_name_of_our_codec_sets_steps_and_key_frames(clip):
    ours = SemanticCodec.load(weights='random')
    images, size = [frame.rgb() for frame in clip[:3]], (2 * WIDTH, 2 * HEIGHT)
    shown = {}
    for name, steps, kinds in (
        ('gsc', None, [0, 1, 1]),
        ('gsc-2', 2, [0, 1, 1]),
        ('gsc-key', None, [0, 0, 0]),
    ):
        codec = make_codec(name, loaded=ours)
        assert codec.name == name
        data = codec.encode(images, 200, 5.0)
        assert [read_header(frame).frame_type for frame in data] == kinds
        decoder = SequenceDecoder(ours)
        shown[name] = [outcome.rgb for outcome in codec.decode(data, size)]
        for found, frame in zip(shown[name], data, strict=True):
            np.testing.assert_array_equal(found, decoder.decode(frame, steps=steps).rgb)
    assert (shown['gsc'][0] != shown['gsc-2'][0]).any()
    with pytest.raises(ValueError, match="codec 'jpeg' is not one of gsc"):
        Gsc(ours, 'jpeg')


def test_a_codec_may_be_a_file(folder, tmp_path):
    path = tmp_path / 'mean.py'
    path.write_text(
        'import numpy as np\n'
        'def encode(images, budget, fps):\n'
        '    return [bytes([int(image.mean())]) for image in images]\n'
        'def decode(data, size):\n'
        '    return [np.full((size[1], size[0], 3), frame[0], np.uint8) for frame in data]\n'
    )
    (row,) = rows_of(evaluate(stills(folder, 1), [make_codec(str(path))], [1], None))
    assert (row['codec'], row['bytes']) == ('mean', 1)
    level = int(image().mean())
    assert row['psnr'] == pytest.approx(metrics.psnr(image(), np.full_like(image(), level)))


@pytest.fixture
def clip(tmp_path):
    """Eight frames of a thing that moves, at 10 frames a second."""
    out = []
    for i in range(8):
        path = tmp_path / f'f{i}.png'
        cv2.imwrite(str(path), np.kron(image(3 * i), np.ones((2, 2, 1), np.uint8))[..., ::-1])
        out.append(Frame(f'f{i}', path, 'drive', 10.0))
    return out


def remembered_policy():
    """Return the scheduling policy that glibc hands on: it may differ from the kernel's."""
    libc = ctypes.CDLL(None)
    libc.pthread_self.restype = ctypes.c_ulong
    policy, priority = ctypes.c_int(), ctypes.c_int()
    libc.pthread_getschedparam(
        ctypes.c_ulong(libc.pthread_self()), ctypes.byref(policy), ctypes.byref(priority)
    )
    return policy.value


@pytest.mark.parametrize('name', ['x265', 'svtav1'])
def test_videos_are_real_streams_within_the_budget(clip, name):
    images = [frame.rgb() for frame in clip[:5]]
    codec = Video(name)
    quality = []
    for budget in (300, 3000):
        data = codec.encode(images, budget, 5)
        assert sum(map(len, data)) <= 5 * budget
        decoded = codec.decode(data, (2 * WIDTH, 2 * HEIGHT))
        assert len(decoded) == 5
        assert decoded[0].rgb.shape == images[0].shape
        quality.append(
            np.mean([metrics.psnr(p, d.rgb) for p, d in zip(images, decoded, strict=True)])
        )
    assert quality[1] > quality[0] > 15
    assert codec.encode(images, 2, 5) is None
    # An encoder that takes real-time priority would hold up all that this process does later.
    assert os.sched_getscheduler(0) == remembered_policy() == os.SCHED_OTHER


def test_sequences_are_judged_frame_by_frame(clip, judge):
    ours = SemanticCodec.load(weights='random')
    codecs = [FrameByFrame(Exact()), Gsc(ours, 'gsc-0'), FrameByFrame(Grey())]
    (shown,) = sequences(clip, 5.0)
    assert [frame.name for frame in shown] == ['f0', 'f2', 'f4', 'f6']
    scores = list(evaluate([shown], codecs, [60_000.0], judge, fps=5.0))
    scores += list(evaluate([shown], [codecs[2]], [5], judge, fps=5.0))
    exact, gsc, grey, cannot = summarise(scores)
    assert (exact['frames'], exact['agreement'], exact['lost']) == (4, 1, 0)
    assert exact['kbps'] == pytest.approx(exact['bytes'] * 8 * 5 / 1000)
    assert gsc['codec'] == 'gsc-0'
    assert 0 <= gsc['own_agreement'] <= 1
    assert grey['bytes'] == 10
    assert cannot == {'codec': 'grey', 'budget': 5, 'frames': 0}


def test_sequences_need_a_rate_that_the_sequence_has(clip):
    assert len(sequences(clip, 10.0)[0]) == 8
    assert len(sequences(clip, 10.0, limit=3)[0]) == 3
    assert len(sequences(clip, 3.0)[0]) == 3
    with pytest.raises(ValueError, match='10 frames/s'):
        sequences(clip, 15.0)
    with pytest.raises(ValueError, match='fps 0'):
        sequences(clip, 0)
    with pytest.raises(ValueError, match='no sequences'):
        sequences([Frame('a', clip[0].image)], 5.0)
    with pytest.raises(ValueError, match='unknown rate'):
        sequences([Frame('a', clip[0].image, 'x')], 5.0)


def test_frames_are_evenly_spaced(tmp_path):
    for i in range(10):
        (tmp_path / f'{i}.png').touch()
    (tmp_path / 'notes.txt').touch()
    assert [f.name for f in frames(tmp_path)] == list('0123456789')
    assert [f.name for f in frames(tmp_path, 4)] == list('0369')
    assert [f.name for f in frames(tmp_path, 1)] == ['0']
    assert len(frames(tmp_path, 99)) == 10
    with pytest.raises(ValueError, match='limit 0'):
        frames(tmp_path, 0)
    for nothing in (tmp_path / 'missing', tmp_path / 'notes.txt'):
        with pytest.raises(ValueError, match='no such folder'):
            frames(nothing)


def test_csv_holds_every_column(tmp_path):
    write_csv(tmp_path / 'rows.csv', [{'a': 1}, {'a': 2, 'b': 3}])
    with open(tmp_path / 'rows.csv') as file:
        assert list(csv.DictReader(file)) == [{'a': '1', 'b': ''}, {'a': '2', 'b': '3'}]


def test_judges_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such file'):
        judges.load(tmp_path / 'missing.py')
    (tmp_path / 'empty.py').write_text('x = 1\n')
    with pytest.raises(ValueError, match='defines none of segment'):
        judges.load(tmp_path / 'empty.py')
    (tmp_path / 'text.txt').write_text('x')
    with pytest.raises(ValueError, match='Python file'):
        judges.load(tmp_path / 'text.txt')


STILLS = [
    'webp',
    'jpeg',
    pytest.param('avif', marks=pytest.mark.skipif(not features.check('avif'), reason='no AVIF')),
]


@pytest.mark.parametrize('name', STILLS)
def test_stills_are_real_files_within_the_budget(name):
    rgb = image()
    codec = Still(name)
    quality = []
    for budget in (400, 1500):
        data = codec.encode(rgb, budget)
        if data is None:
            assert name != 'webp'
            continue
        assert len(data) <= budget
        assert Image.open(io.BytesIO(data)).format == name.upper()
        decoded = codec.decode(data, (WIDTH, HEIGHT))
        assert decoded.rgb.shape == rgb.shape
        assert decoded.frame is None
        quality.append(metrics.psnr(rgb, decoded.rgb))
    assert quality[-1] == max(quality) > 30
    assert codec.encode(rgb, 20) is None  # no format has so small a head


def test_stills_are_chosen_by_what_is_asked_for():
    rgb = image()
    good = Still('webp')
    dull = Still('webp', lambda original, decoded: -float(decoded.std()))
    images = [c.decode(c.encode(rgb, 300), (WIDTH, HEIGHT)).rgb for c in (good, dull)]
    assert images[0].std() > images[1].std()
    assert metrics.psnr(rgb, images[0]) > metrics.psnr(rgb, images[1])


def test_a_still_tries_small_images_when_bytes_are_few():
    data = Still('webp').encode(image(), 80)
    assert Image.open(io.BytesIO(data)).width < WIDTH // 2


def test_unknown_and_missing_formats(monkeypatch):
    with pytest.raises(ValueError, match='not one of gsc, webp'):
        Still('gif')
    monkeypatch.setattr(features, 'check', lambda name: False)
    with pytest.raises(ValueError, match='pip install'):
        Still('avif')


def test_the_command_writes_rows_summary_and_images(folder, judge_file, tmp_path, capsys):
    report = tmp_path / 'report'
    words = ['evaluate', str(folder), '--codec', 'webp,jpeg', '--budgets', '300,900']
    words += ['--judge', str(judge_file), '--limit', '2', '--report', str(report)]
    assert main([*words, '--peers-by', 'level']) == 0
    with open(report / 'rows.csv') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 2
    coded = [row for row in rows if row['bytes'] != 'nan']
    assert all(int(row['bytes']) <= int(row['budget']) for row in coded)
    summary = (report / 'summary.md').read_text()
    assert summary in capsys.readouterr().out
    assert len(summary.splitlines()) == 2 + 4
    written = {p.name for p in Path(report / 'images').iterdir()}
    assert {r['image'] for r in coded} | {'0.png', '2.png'} == written
    with open(report / 'summary.csv') as file:
        assert all(float(r['peak_mib']) > 20 for r in csv.DictReader(file) if r['bytes'])
    page = (report / 'index.html').read_text()
    links = set(re.findall(r'src="([^"]+)"', page))
    assert {f'images/{name}' for name in written} | {'psnr.png', 'agreement.png'} <= links
    for link in links:
        assert cv2.imread(str(report / link)) is not None


@pytest.mark.slow
def test_the_command_codes_films(tmp_path, capsys):
    (tmp_path / 'val').mkdir()
    lines = ['file,sequence,fps']
    for i in range(3):
        cv2.imwrite(str(tmp_path / f'val/{i}.png'), image(i)[..., ::-1])
        lines.append(f'val/{i}.png,drive,5')
    (tmp_path / 'val/manifest.csv').write_text('\n'.join(lines))
    words = [
        'evaluate',
        str(tmp_path),
        '--codec',
        'gsc-0,gsc-key,webp',
        '--fps',
        '5',
        '--kbps',
        '8',
    ]
    words += ['--weights', 'random', '--report', str(tmp_path / 'r')]
    assert main(words) == 0
    with open(tmp_path / 'r/summary.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['codec'] for row in rows] == ['gsc-0', 'gsc-key', 'webp']
    assert all(row['budget'] == '200.0' and float(row['kbps']) <= 8 for row in rows)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--codec', 'gif'], "codec 'gif' is not one of"),
        (['--codec', 'gsc-x'], "codec 'gsc-x' is not one of"),
        (['--peers-by', 'level'], '--judge with distances'),
        (['--limit', '0'], 'limit 0'),
        (['--codec', 'x265'], 'give --fps'),
        (['--kbps', '3'], '--kbps needs --fps'),
        (['--budgets', '-3'], 'more than 0'),
        (['--fps', '5'], 'no sequences'),
        (['--layout', 'kodak'], 'does not look like kodak'),
        (['--layout', 'vhs'], "layout 'vhs'"),
        (['--judge', 'missing.py'], 'missing.py: no such file'),
    ],
)
def test_the_command_says_what_is_wrong(folder, tmp_path, capsys, words, message):
    given = ['evaluate', str(folder), '--codec', 'webp', '--report', str(tmp_path / 'report')]
    assert main([*given, *words]) == 2
    assert message in capsys.readouterr().err


def test_the_command_marks_and_judges_slowly(folder, judge_file, tmp_path, capsys):
    report = tmp_path / 'report'
    words = ['evaluate', str(folder), '--codec', 'webp', '--budgets', '300', '--slow']
    words += ['--report', str(report), '--judge']
    assert main([*words, str(judge_file)]) == 2
    assert 'slow_distances or patches' in capsys.readouterr().err
    judge_file.write_text(JUDGE + SLOW_JUDGE)
    assert main([*words, str(judge_file)]) == 0
    with open(report / 'summary.csv') as file:
        (row,) = csv.DictReader(file)
    assert float(row['kid']) > 0
    assert {'grain', 'level', 'kid_error'} <= set(row)
    page = (report / 'index.html').read_text()
    assert '<th>level*</th>' in page
    assert '<th>kid</th>' in page
    assert page.count('of a network that took part in training') == 1
    assert (report / 'kid.png').is_file()


def test_a_distance_that_the_judge_does_not_know(folder, judge_file, tmp_path, capsys):
    words = ['evaluate', str(folder), '--codec', 'webp', '--report', str(tmp_path / 'report')]
    assert main([*words, '--judge', str(judge_file), '--peers-by', 'lpips']) == 2
    assert 'give psnr, ms_ssim, level' in capsys.readouterr().err
