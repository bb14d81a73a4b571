"""The kind of scene: what it is, that it goes on air, and what is not stated because of it."""

import cv2
import numpy as np
import pytest
import torch
from frames import decode, encode, random_symbols, uneven_prior
from safetensors import safe_open

from gsc_ros.codec.caption import Caption
from gsc_ros.codec.notes import caption_text
from gsc_ros.codec.planes import UNKNOWN
from gsc_ros.labels import KINDS, LABELS, OTHER, SKY, UNLABELLED
from gsc_ros.models.lite0 import CHANNELS, FEATURES, Lite0, adopt
from gsc_ros.models.perception import PerceptionNet
from gsc_ros.models.weights import load, save
from gsc_ros.perception.kinds import (
    PROBABILITIES,
    SceneKind,
    classes_of,
    has_layout,
    judged,
    restrict,
)
from gsc_ros.perception.model import WEIGHTS, PerceptionModel
from gsc_ros.training import kinds as training

SIZE = (256, 192)
STREET, OFF_ROAD, PLANETARY, INDOOR = range(4)


def test_a_probability_is_rounded_down_to_one_that_can_be_sent():
    for true in (0.3, 0.69, 0.7, 0.95, 0.999):
        rest = (1 - true) / (len(KINDS) - 1)
        told = SceneKind.of(np.array([rest, rest, rest, true, rest, rest, rest]))
        assert told.probability in PROBABILITIES
        assert told.index == (INDOOR if true > rest else 0)
        assert true - 0.31 < told.probability <= true


def test_street_classes_are_stated_on_streets_only():
    car = LABELS.index('car')
    assert classes_of(SceneKind(STREET, 0.9)).all()
    assert classes_of(None).all()  # nothing was told
    for kind in range(1, len(KINDS)):
        assert not classes_of(SceneKind(kind, 0.98))[car]
    assert not has_layout(SceneKind(STREET, 0.4))  # not sure
    assert not has_layout(SceneKind(INDOOR, 0.98))
    ids = np.array([[car, SKY, OTHER, UNLABELLED]], np.uint8)
    off = restrict(ids, SceneKind(OFF_ROAD, 0.9))
    assert off.tolist() == [[OTHER, SKY, OTHER, UNLABELLED]]
    assert (restrict(ids, SceneKind(INDOOR, 0.9)) == UNLABELLED).all()


def test_off_the_street_classes_are_stated_only_where_they_can_be():
    mars = SceneKind(PLANETARY, 0.9)
    ground, road = LABELS.index('terrain'), LABELS.index('road')
    likely = np.full((12, 16), ground, np.uint8)
    likely[:4] = SKY
    assert judged(mars, likely).classed
    assert not judged(mars, np.full_like(likely, SKY)).classed  # sky at the bottom
    assert not judged(mars, np.where(likely == SKY, SKY, road).astype(np.uint8)).classed
    assert judged(SceneKind(STREET, 0.9), np.full_like(likely, road)).classed


@pytest.mark.parametrize(
    'kind', [None, SceneKind(0, 0.98), SceneKind(2, 0.8, False), SceneKind(3, 0.0)]
)
@pytest.mark.parametrize('scale', [0, 1, 2])
def test_kind_and_scale_go_on_air(kind, scale):
    symbols, prior = random_symbols(5, SIZE), uneven_prior()
    symbols.kind, symbols.scale = kind, scale
    if not has_layout(kind):
        for name in ('coarse', 'fine'):
            symbols.planes[name][:] = UNKNOWN
    data, coded = encode(symbols, prior, 100_000)
    found = decode(data, SIZE, prior)
    assert (found.kind, found.scale) == (kind, scale)
    for name, grid in symbols.planes.items():
        np.testing.assert_array_equal(found.planes[name], grid)
    assert coded.bits['kind'] < 13
    assert (coded.bits['coarse'] + coded.bits['fine'] == 0) == (not has_layout(kind))


def test_a_delta_frame_takes_no_layout_from_a_reference_of_another_kind():
    prior, before, after = uneven_prior(), random_symbols(6, SIZE), random_symbols(7, SIZE)
    after.kind = SceneKind(INDOOR, 0.9)
    for name in ('coarse', 'fine'):
        after.planes[name][:] = UNKNOWN
    data, _ = encode(after, prior, 100_000, before)
    found = decode(data, SIZE, prior, before)
    for name, grid in after.planes.items():
        np.testing.assert_array_equal(found.planes[name], grid)
    # And back: all of the layout is sent.
    data, _ = encode(before, prior, 100_000, after)
    np.testing.assert_array_equal(
        decode(data, SIZE, prior, after).planes['fine'], before.planes['fine']
    )


def test_of_a_cut_delta_frame_no_class_is_stated_that_its_reference_could_not_have():
    prior, before, after = uneven_prior(), random_symbols(6, SIZE), random_symbols(7, SIZE)
    before.kind, after.kind = SceneKind(INDOOR, 0.9), SceneKind(STREET, 0.9)
    for name in ('coarse', 'fine'):
        before.planes[name][:] = UNKNOWN
    data, _ = encode(after, prior, 100_000, before)
    parts = [decode(data[:n], SIZE, prior, before) for n in range(24)]
    assert parts[0].kind == before.kind
    assert not has_layout(parts[0].kind)
    cut = [part for part in parts if part.kind == after.kind]
    assert any(part.caption is None for part in cut)
    assert all(part.caption in (None, after.caption) for part in cut)  # not the room's


def test_captions_say_when_they_are_not_sure():
    assert caption_text(Caption(1), None, SceneKind(STREET, 0.9)).startswith('street: ')
    assert caption_text(Caption(), None, SceneKind(INDOOR, 0.9)).startswith('indoor: ')
    assert caption_text(Caption(), None, SceneKind(3, 0.4)).startswith('not sure, perhaps indoor')


def test_the_backbone_has_the_published_shape():
    torch.manual_seed(0)
    net = Lite0().eval()
    with torch.inference_mode():
        maps = net.maps(torch.zeros(1, 3, 64, 96))
        assert [tuple(m.shape[1:]) for m in maps] == [
            (c, 64 // s, 96 // s) for c, s in zip(CHANNELS, (4, 8, 16, 32), strict=True)
        ]
        assert net.features(maps).shape == (1, FEATURES)
    published = {f'x{i}': v.half() for i, v in enumerate(net.state_dict().values())}
    other = adopt(Lite0(), {**published, 'fc.weight': torch.zeros(1000, 1280)})
    assert torch.allclose(other.stem[0].weight, net.stem[0].weight, atol=1e-3)
    with pytest.raises(ValueError, match='EfficientNet-Lite0'):
        adopt(Lite0(), {'x': torch.zeros(3)})


def test_the_layer_learns_kinds_and_its_weights_load(tmp_path):
    rng = torch.Generator().manual_seed(0)
    kinds = torch.arange(60) % 3
    features = torch.randn(60, FEATURES, generator=rng) + 3 * torch.nn.functional.one_hot(
        kinds, FEATURES
    )
    layer = training.fit(features, kinds, torch.full((60,), 1 / 60))
    logits = layer(features)
    sources = ['a' if kind == 0 else 'b' for kind in kinds]
    assert set(training.recall_by_source(logits, kinds, sources).values()) == {1.0}
    none = torch.zeros_like(logits)  # the first kind of all
    assert training.recall_by_source(none, kinds, sources) == {'a': 1.0, 'b': 0.0}
    alike = torch.full((60,), 1 / 60)
    right, wrong = (training.fit_temperature(logits, k, alike) for k in (kinds, kinds % 2))
    assert right < 1 < wrong
    net = PerceptionNet()
    untold = save(tmp_path / WEIGHTS, net.state_dict(), net.config)
    black = np.zeros((64, 64, 3), np.uint8)
    assert PerceptionModel.load(tmp_path).predict(black).kind is None
    told = training.write(untold, layer, tmp_path / 'told' / WEIGHTS)
    model = PerceptionModel.load(tmp_path / 'told')
    kind = model.predict(black).kind
    assert kind is not None and kind.probability in PROBABILITIES
    torch.testing.assert_close(model.net.kinds(features), logits, atol=0.1, rtol=0)  # eight bits
    with safe_open(untold, 'pt') as before, safe_open(told, 'pt') as after:
        for name in before.keys():  # noqa: SIM118 - it is no dictionary
            assert torch.equal(before.get_tensor(name), after.get_tensor(name))
    state, config = load(told)
    state['kinds.linear.weight'] = torch.zeros(len(KINDS), 1280)
    save(told, state, config)
    with pytest.raises(ValueError, match='not the weights of this network'):
        PerceptionModel.load(tmp_path / 'told')


def test_features_tell_what_is_above_and_what_below():
    net = Lite0().eval()
    maps = [torch.zeros(1, count, 12, 16) for count in CHANNELS]
    maps[2][:, 0, :6] = 1
    with torch.inference_mode():
        bands = net.features(maps)[0, -6 * CHANNELS[2] :].view(-1, 6)
    assert bands[0].tolist() == [1, 1, 1, 0, 0, 0]
    assert not bands[1:].any()


def test_a_list_of_kinds_is_read(tmp_path):
    for name in ('a.png', 'b.png'):
        (tmp_path / name).touch()
    table = tmp_path / 'kinds.csv'
    table.write_text('file,kind\na.png,indoor\nb.png,water\nc.png,street\n')
    found = training.read_list(table, tmp_path)
    assert [(s.path.name, KINDS[s.kind]) for s in found] == [
        ('a.png', 'indoor'),
        ('b.png', 'water'),
    ]
    table.write_text('file,kind\na.png,kitchen\n')
    with pytest.raises(ValueError, match='kitchen'):
        training.read_list(table, tmp_path)


def test_a_source_is_judged_by_a_regression_that_did_not_see_it():
    kinds = torch.tensor([0, 0, 1, 1, 2, 2, 2])
    sources = ['a', 'a', 'b', 'c', 'd', 'imagenet', 'imagenet']
    folds = training.folds_of(sources, kinds, np.random.default_rng(0))
    assert folds[0] == folds[1]
    assert len({folds[0], folds[2], folds[3], folds[4]}) == 4
    # The mean of a source cannot be told from the others': nothing right is told of it.
    features = torch.zeros(7, FEATURES)
    features[:2, 0] = features[2:3, 1] = features[3:4, 2] = 9.0
    logits = training.held_out_logits(features, features, kinds, sources)
    assert training.recall_by_source(logits, kinds, sources)['a'] == 0
    # A source of stills weighs as its images, as long as these are few.
    weights = training.source_weights(kinds, sources)
    assert weights[5] == pytest.approx(float(weights[4]))


def test_what_is_told_of_a_kind_is_the_mean_of_its_sources():
    kinds = torch.tensor([0, 0, 0, 3, 3])
    sources = ['a', 'a', 'b', 'c', 'd']
    weights = training.source_weights(kinds, sources)
    assert weights.sum() == pytest.approx(1)
    assert weights[2] == pytest.approx(2 * float(weights[0]))
    probabilities = torch.full((5, len(KINDS)), 0.01)
    probabilities[[0, 1, 2, 3, 4], [0, 0, 3, 0, 3]] = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.5])
    found = training.told(probabilities, kinds, weights)
    assert found['street'] == training.Told(0.5, 0.5, 0.5, 0.5)
    assert found['indoor'] == training.Told(0.5, 0.0, 0.5, 0.5)
    error = training.expected_calibration_error(probabilities, kinds, weights)
    assert error == pytest.approx(0.75 * abs(0.9 - 1 / 3) + 0.25 * 0.5, abs=0.01)
    table = training.report('x', probabilities.log(), kinds, sources)
    assert '| indoor | 0.500 |' in table and 'mean recall 0.500' in table


def test_features_are_kept_for_one_backbone(tmp_path):
    rng = np.random.default_rng(0)
    samples = []
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 255, (64, 64, 3), np.uint8))
        samples.append(training.Sample(tmp_path / name, 0, 'x'))
    net = PerceptionNet()
    weights = save(tmp_path / WEIGHTS, net.state_dict(), net.config)
    cache = tmp_path / 'out/features.pt'
    first, changed = training.all_features(weights, samples, tmp_path, cache)
    assert first.shape == changed.shape == (2, FEATURES)
    assert not torch.equal(first, changed)
    (tmp_path / 'a.png').unlink()  # it is read no more
    again, _ = training.all_features(weights, samples, tmp_path, cache)
    assert torch.equal(first, again)
    with torch.no_grad():
        net.backbone.stem[0].weight += 1
    save(weights, net.state_dict(), net.config)
    with pytest.raises(ValueError, match='another backbone'):
        training.all_features(weights, samples, tmp_path, cache)
