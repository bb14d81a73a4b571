"""Perception by models of transformers: tiny untrained ones, saved and loaded as the real ones."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from gsc_ros.cli import main
from gsc_ros.codec import FrameEncoder, SemanticCodec, backend
from gsc_ros.codec.ground_perception import SeeingDecoder
from gsc_ros.codec.notes import Timing
from gsc_ros.codec.seen import find_objects
from gsc_ros.labels import KINDS, LABELS, OTHER, SKY, UNLABELLED
from gsc_ros.models import pretrained
from gsc_ros.models.pretrained import Options
from gsc_ros.perception import choice
from gsc_ros.perception.foundation.depth import DepthModel
from gsc_ros.perception.foundation.detection import Detector
from gsc_ros.perception.foundation.images import Normalisation, fitted
from gsc_ros.perception.foundation.loading import Loader, Source
from gsc_ros.perception.foundation.names import class_of, id_table
from gsc_ros.perception.foundation.segmentation import SegmentationModel
from gsc_ros.perception.kinds import SceneKind
from gsc_ros.perception.model import PerceptionModel, Prediction
from gsc_ros.perception.objects import Detection

transformers = pytest.importorskip('transformers')
tiny = pytest.importorskip('tiny_models')

RGB = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """A folder of each kind of model."""
    root = tmp_path_factory.mktemp('models')
    torch.manual_seed(0)
    for make in (
        tiny.segformer,
        tiny.mask2former,
        tiny.upernet,
        tiny.depth_anything,
        tiny.rt_detr,
    ):
        make().save_pretrained(root / make.__name__)
    small = {'size': {'height': 64, 'width': 64}, 'do_normalize': False}
    (root / 'rt_detr/preprocessor_config.json').write_text(json.dumps(small))
    small = {'size': {'height': 56, 'width': 56}}
    (root / 'depth_anything/preprocessor_config.json').write_text(json.dumps(small))
    return root


@pytest.fixture(scope='module')
def quick(folders):
    """A choice of one small model for each task."""
    names = {'depth': 'depth_anything', 'classes': 'segformer', 'objects': 'rt_detr'}
    return ','.join(f'{task}={folders / name}' for task, name in names.items())


@pytest.fixture(autouse=True)
def _small_input(monkeypatch):
    monkeypatch.setattr('gsc_ros.perception.foundation.segmentation._LONG_SIDE', 96)


@pytest.mark.parametrize('kind', ['segformer', 'mask2former', 'upernet'])
def test_models_of_classes_give_probabilities_of_ours(folders, kind):
    model = SegmentationModel.load(str(folders / kind))
    found = model.probabilities(RGB, (16, 24))
    assert found.shape == (21, 16, 24)
    torch.testing.assert_close(found.sum(0), torch.ones(16, 24), atol=1e-4, rtol=0)
    assert float(found[OTHER].max()) == 0  # Cityscapes has no such class


def test_classes_are_those_of_the_model_itself(folders):
    """On an input that needs no resize, by the model called directly."""
    model = SegmentationModel.load(str(folders / 'segformer'))
    x = (torch.from_numpy(RGB).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
    direct = transformers.SegformerForSemanticSegmentation.from_pretrained(folders / 'segformer')
    with torch.inference_mode():
        logits = direct.eval()(x).logits
    own = SegmentationModel(
        model.model, Normalisation((0.5,) * 3, (0.25,) * 3), np.arange(19, dtype=np.uint8), False
    )
    found = own.probabilities(RGB, (16, 24))
    torch.testing.assert_close(found[:19], logits[0].softmax(0), atol=1e-5, rtol=1e-4)


def test_names_that_are_not_ours_are_unlabelled_and_reported_once(folders, tmp_path):
    model = tiny.segformer()
    model.config.id2label = {**tiny.CITYSCAPES, 3: 'swimming pool', 4: 'tree'}
    model.save_pretrained(tmp_path)
    told, notes = [], []
    options = Options(report=told.append, note=notes.append)
    loaded = SegmentationModel.load(str(tmp_path), options)
    assert told == [f'{tmp_path}: unlabelled: swimming pool']
    assert any('licence' in note for note in notes)
    found = loaded.probabilities(RGB, (16, 24))
    assert float(found[-1].min()) > 0
    assert float(found[LABELS.index('wall')].max()) == 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for _ in range(2):
            SegmentationModel.load(str(tmp_path))
    assert [str(w.message) for w in caught if 'unlabelled' in str(w.message)] == told


@pytest.mark.parametrize(
    ('name', 'ours'),
    [
        ('road, route', 'road'), ('Traffic_Light', 'traffic light'), ('motorbike', 'motorcycle'),
        ('stop sign', 'traffic sign'), ('car;auto;automobile', 'car'), ('tree', 'vegetation'),
        ('sidewalk, pavement', 'sidewalk'), ('swimming pool', None), ('', None),
    ],
)  # fmt: skip
def test_class_names_map_by_name(name, ours):
    assert class_of(name) == (UNLABELLED if ours is None else LABELS.index(ours))


def test_a_model_of_foreign_classes_alone_is_refused():
    with pytest.raises(ValueError, match='none of its 2 classes'):
        id_table({0: 'LABEL_0', 1: 'LABEL_1'}, 'some/model', print)


def test_depth_is_metric(folders):
    found = DepthModel.load(str(folders / 'depth_anything')).metres(RGB, (8, 12))
    assert (found.shape, found.dtype) == ((8, 12), np.float32)
    assert (found > 0).all() and (found <= 80).all()


def test_objects_have_names_and_classes(folders):
    found = Detector.load(str(folders / 'rt_detr')).detect(RGB, 0.1)
    assert found
    for item in found:
        assert item.class_id == class_of(item.name)
        assert item.name in tiny.COCO.values()
        left, top, right, bottom = item.box
        assert 0 <= left <= right <= 1 and 0 <= top <= bottom <= 1
    assert [i.score for i in found] == sorted((i.score for i in found), reverse=True)


def test_relative_depth_and_models_of_other_kinds_are_refused(folders, tmp_path):
    tiny.depth_anything('relative').save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='without a scale; name a metric one'):
        DepthModel.load(str(tmp_path))
    for kind, folder in ((DepthModel, 'segformer'), (SegmentationModel, 'rt_detr'),
                         (Detector, 'depth_anything')):  # fmt: skip
        with pytest.raises(ValueError, match=r'is a \w+, which gives no .* name a'):
            kind.load(str(folders / folder))


def test_a_model_that_lacks_weights_is_refused(folders, tmp_path):
    model = tiny.segformer()
    model.segformer.save_pretrained(tmp_path)  # without its head
    config = json.loads((folders / 'segformer/config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match='weights are missing'):
        SegmentationModel.load(str(tmp_path))


def test_where_a_model_is(tmp_path):
    assert Source.parse('owner/name@1a2b') == Source('owner/name', '1a2b')
    (tmp_path / 'with@sign').mkdir()
    assert Source.parse(str(tmp_path / 'with@sign')).revision is None
    for bad in ('', 'name', '/no/such/folder', './models', 'a/b/c'):
        with pytest.raises(ValueError, match='no such folder, and no model of the hub'):
            Source.parse(bad)
    with pytest.raises(ValueError, match=r'cannot be loaded; copy the whole folder again'):
        DepthModel.load(str(tmp_path))


def test_a_model_of_the_hub_is_taken_from_this_machine_or_fetched(folders, monkeypatch):
    hub = pytest.importorskip('huggingface_hub')
    asked, told, cached = [], [], []

    def download(name, revision, allow_patterns, local_files_only):
        asked.append((name, revision, local_files_only))
        if local_files_only and not cached:
            raise OSError('not in the cache')
        if name == 'gone/name':
            raise OSError('no internet')
        return str(folders / 'depth_anything')

    monkeypatch.setattr(hub, 'snapshot_download', download)
    monkeypatch.setattr(pretrained, '_licences_told', set())
    with pytest.raises(ValueError, match=r'owner/name at revision 1a2b is not on this machine'):
        DepthModel.load('owner/name@1a2b', Options(offline=True))
    with pytest.raises(ValueError, match=r'cannot be fetched \(no internet\).*hf download gone'):
        DepthModel.load('gone/name', Options())
    asked.clear()
    DepthModel.load('owner/name', Options(report=told.append))
    assert asked == [('owner/name', None, True), ('owner/name', None, False)]
    assert 'Pin it with revision' in told[0] and 'states no licence' in told[1]
    cached.append(True)
    DepthModel.load('owner/name@1a2b', Options(offline=True, report=told.append))
    assert asked[2:] == [('owner/name', '1a2b', True)]
    monkeypatch.setattr(pretrained, 'free_bytes', lambda device: 1000)
    with pytest.raises(ValueError, match=r'needs .* GB, cpu has 0\.0 GB free'):
        DepthModel.load(str(folders / 'depth_anything'))


def test_the_dtype_is_that_which_was_asked_for(folders):
    with pytest.raises(ValueError, match="dtype 'int8' is not one of"):
        _ = Options(dtype='int8').torch_dtype
    assert Options('cuda').torch_dtype == torch.bfloat16
    assert Options().torch_dtype == torch.float32
    model = DepthModel.load(str(folders / 'depth_anything'), Options(dtype='bfloat16'))
    assert next(model.model.parameters()).dtype == torch.bfloat16
    assert model.metres(RGB, (8, 12)).dtype == np.float32


def test_preprocessing_is_read_from_the_folder(folders):
    loader = Loader(Source.parse(str(folders / 'rt_detr')), Options())
    assert loader.preprocessing()['size'] == {'height': 64, 'width': 64}
    assert Loader(Source.parse(str(folders / 'segformer')), Options()).preprocessing() == {}
    assert fitted(RGB, 1024, True, 32) == (672, 1024)
    assert fitted(RGB, 518, False, 14) == (518, 784)


def test_a_choice_names_a_model_for_each_task():
    assert choice.parse('embedded') == choice.parse('') == {}
    assert choice.parse('depth=/a, classes=o/n@r') == {'depth': '/a', 'classes': 'o/n@r'}
    assert choice.parse('depth=embedded') == {}
    for bad in ('/a', 'depth=', 'depth=/a,depth=/b', 'sound=/a'):
        with pytest.raises(ValueError, match='tasks are depth, classes, objects'):
            choice.parse(bad)


class Fixed:
    """Models with a fixed answer."""

    def metres(self, rgb, size):
        return np.full(size, 7.0, np.float32)

    def probabilities(self, rgb, size):
        scores = torch.zeros(21, *size)
        scores[0], scores[20, :, 0] = 0.9, 0.95
        return scores

    def detect(self, rgb):
        return (Detection('dog', UNLABELLED, 0.9, (0, 0, 1, 1)),)


def test_each_task_is_done_by_its_model():
    own = PerceptionModel.random()
    plain = own.predict(RGB)
    assert plain.objects is None
    view = choice.Chosen(own, depth=Fixed()).predict(RGB)
    np.testing.assert_array_equal(view.classes, plain.classes)
    assert (view.metres[view.classes != SKY] == 7).all()
    assert np.isinf(view.metres[view.classes == SKY]).all()
    view = choice.Chosen(own, classes=Fixed(), objects=Fixed()).predict(RGB)
    assert (view.classes[:, 0] == UNLABELLED).all() and (view.classes[:, 1:] == 0).all()
    seen = plain.classes != SKY
    np.testing.assert_array_equal(view.metres[seen], plain.metres[seen])
    assert np.isnan(view.metres[~seen]).all()
    assert view.objects[0].name == 'dog'
    with pytest.raises(ValueError, match='a model each'):
        choice.Chosen(None, depth=Fixed())


def test_the_embedded_network_gives_maps_of_any_stride():
    own = PerceptionModel.random()
    coarse, fine = own.predict(RGB), own.predict(RGB, 4)
    assert fine.classes.shape == (16, 24)
    assert coarse.classes.shape == (8, 12)
    same = fine.classes[1::2, 1::2] == coarse.classes
    assert same.mean() > 0.5


def test_the_objects_of_a_detector_are_told_where_their_depth_is_known():
    classes, depth = np.zeros((40, 60), np.uint8), np.full((40, 60), 50.0, np.float32)
    depth[10:30, 40:60] = 4.0
    person = Detection('person', LABELS.index('person'), 0.9, (0.7, 0.25, 0.95, 0.75))
    table = Detection('table', UNLABELLED, 0.9, (0.1, 0.1, 0.2, 0.2))

    def named(depth, *objects):
        found = find_objects(Prediction(classes, depth, False, objects), None, None)
        return [str(item) for item in found.named]

    assert named(depth, person, table) == ['person far right at 4 m']
    nothing = np.full_like(depth, np.nan)
    assert named(nothing, Detection('car', 13, 0.9, (0, 0, 1, 1))) == []
    assert named(depth) == []


@pytest.fixture(scope='module')
def codec():
    return SemanticCodec.load(weights='random', device='cpu')


def test_the_robot_sees_by_the_models_that_are_named(quick):
    encoder = backend.load_encoder(weights='random', device='cpu', perception=quick)
    assert isinstance(encoder, FrameEncoder)
    view = encoder.networks.analyser.perception.predict(RGB)
    analysis = encoder.analyse(RGB)
    assert encoder.fingerprint == 0  # sight is the robot's own
    assert (analysis.width, analysis.height) == (96, 64)
    assert view.objects is not None
    assert len(encoder.pack(analysis, 200).data) <= 200


def test_unlabelled_classes_go_on_air_as_other(codec):
    class Blind:
        def predict(self, rgb, stride=8):
            shape = rgb.shape[0] // stride, rgb.shape[1] // stride
            return Prediction(
                np.full(shape, UNLABELLED, np.uint8), np.full(shape, np.nan, np.float32), False
            )

    encoder = FrameEncoder(codec.networks.robot)
    analyser = encoder.networks.analyser
    before, analyser.perception = analyser.perception, Blind()
    try:
        analysis = encoder.analyse(RGB)
    finally:
        analyser.perception = before
    assert (analysis.symbols.planes['fine'] == OTHER).all()
    assert analysis.symbols.caption.objects == ()  # nobody has seen an obstacle
    assert len(encoder.pack(analysis, 100).data) <= 100


def test_the_ground_replaces_the_maps_of_named_tasks(codec):
    received = codec.read(codec.encode(RGB, 100, depth=np.full((8, 8), 14.0, np.float32)).data)
    (plain,) = codec.render([received])
    own = PerceptionModel.random()
    seeing = SeeingDecoder(codec.decoder, choice.Chosen(own, depth=Fixed()), frozenset({'depth'}))
    (frame,) = seeing.render([received])
    np.testing.assert_array_equal(frame.rgb, plain.rgb)
    np.testing.assert_array_equal(frame.segmentation, plain.segmentation)
    assert frame.caption == plain.caption
    shown = (frame.trust > 0) & (frame.segmentation != SKY)
    np.testing.assert_allclose(frame.depth[shown], 14, rtol=0.02)  # the median that was sent
    assert np.isnan(frame.depth[frame.trust == 0]).all()
    np.testing.assert_array_equal(frame.trust > 0, plain.trust > 0)
    assert frame.trust.max() <= 26 and frame.right is None  # trust was fitted to other maps
    assert seeing.fingerprint == codec.fingerprint
    seeing = SeeingDecoder(codec.decoder, choice.Chosen(own, classes=Fixed()), {'classes'})
    (frame,) = seeing.render([received])
    known = frame.trust > 0
    assert set(np.unique(frame.segmentation[known])) <= {0, UNLABELLED}
    assert (frame.segmentation[~known] == UNLABELLED).all()
    np.testing.assert_array_equal(frame.depth, plain.depth)


class WithoutMaps:
    """A decoder whose frames have no maps, and the trust that is given."""

    fingerprint = 0

    def __init__(self, decoder, trust):
        self.decoder, self.trust, self.read = decoder, trust, decoder.read

    def render(self, frames, steps=None):
        return [
            replace(f, depth=None, segmentation=None, trust=self.trust, caption='as sent')
            for f in self.decoder.render(frames, steps)
        ]


def test_the_ground_sees_for_presets_without_maps(codec):
    received = codec.read(codec.encode(RGB, 300).data)
    perception = choice.Chosen(None, depth=Fixed(), classes=Fixed(), objects=Fixed())
    trust = np.full(RGB.shape[:2], 255, np.uint8)
    trust[:, 48:] = 0
    (frame,) = SeeingDecoder(WithoutMaps(codec.decoder, trust), perception).render([received])
    assert (frame.segmentation[:, 8:40] == 0).all()
    assert (frame.segmentation[:, 48:] == UNLABELLED).all()
    assert np.isnan(frame.depth[:, 48:]).all() and np.isfinite(frame.depth[:, :40]).all()
    assert frame.caption.startswith('as sent; seen on the ground: ')
    (frame,) = SeeingDecoder(WithoutMaps(codec.decoder, None), perception).render([received])
    assert (frame.segmentation[:, 8:] == 0).all()
    # Of an image that is not of now nothing is seen.
    old = codec.read(codec.encode(RGB, 300, timing=Timing(off_s=60.0)).data)
    (frame,) = SeeingDecoder(WithoutMaps(codec.decoder, None), perception).render([old])
    assert (frame.segmentation == UNLABELLED).all() and np.isnan(frame.depth).all()


class Indoors:
    """An embedded network that tells one kind of scene."""

    def __init__(self):
        self.own = PerceptionModel.random()

    def predict(self, rgb, stride=8):
        kind = SceneKind(KINDS.index('indoor'), 0.9)
        return replace(self.own.predict(rgb, stride), kind=kind)


def test_the_ground_states_no_classes_that_cannot_be_there(codec):
    data = codec.encode(RGB, 300, depth=np.full((8, 8), 21.0, np.float32)).data
    received = codec.read(data)
    perception = choice.Chosen(Indoors(), depth=Fixed(), classes=Fixed())
    decoder = WithoutMaps(codec.decoder, None)
    (frame,) = SeeingDecoder(decoder, perception).render([received])
    assert not (frame.segmentation == LABELS.index('road')).any()
    assert 'seen on the ground: indoor: objects are not named here' in frame.caption
    np.testing.assert_allclose(frame.depth, 21, rtol=0.02)


def test_commands_take_a_choice(codec, tmp_path, folders, capsys):
    coded, shown, depth = (str(tmp_path / name) for name in ('a.gsc', 'b.png', 'd.npy'))
    (tmp_path / 'a.gsc').write_bytes(codec.encode(RGB, 300).data)
    own = ['-o', shown, '--depth', depth, '--weights', 'random', '--device', 'cpu']
    choice = f'depth={folders / "depth_anything"}'
    assert main(['decode', coded, *own, '--perception', choice]) == 0
    assert np.load(depth).shape == RGB.shape[:2]
    assert main(['decode', coded, *own, '--perception', 'depth=/no/such']) == 2
    assert 'no such folder' in capsys.readouterr().err
