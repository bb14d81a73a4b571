"""Trust as a probability: how it is judged, fitted and measured, and what it withholds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from frames import decode, encode, moved, random_symbols, uneven_prior

from gsc_ros.codec import FrameDecoder, FrameEncoder, SemanticCodec
from gsc_ros.codec.trust import UNPROVEN, features_of, trust_of, withhold
from gsc_ros.evaluation import metrics
from gsc_ros.evaluation.datasets import Frame
from gsc_ros.evaluation.scores import ReferenceObservation, Score
from gsc_ros.labels import KINDS, NUM_CLASSES, UNLABELLED
from gsc_ros.models.tokenizer import Synthesis
from gsc_ros.models.trust import FEATURES, LOCAL, TrustNet
from gsc_ros.models.weights import restore, save
from gsc_ros.perception.kinds import SceneKind
from gsc_ros.training import trust as training
from gsc_ros.training import trust_fit as fitting

SIZE = (128, 64)
STREET, OFF_ROAD, PLANETARY, INDOOR = range(4)


def prediction(frames: int = 1) -> Synthesis:
    torch.manual_seed(1)
    shape = (SIZE[1] // 8, SIZE[0] // 8)
    latent = torch.zeros(frames, 16, SIZE[1] // 16, SIZE[0] // 16)
    logits, depth = 3 * torch.randn(frames, 20, *shape), torch.rand(frames, 1, *shape)
    return Synthesis(latent, latent, logits, depth)


def of_kind(kind: SceneKind | None):
    return replace(random_symbols(3, SIZE), kind=kind)


def confident(calibrated: tuple[int, ...]) -> TrustNet:
    net = TrustNet((4, 4), calibrated)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for head in (net.classes, net.depth):
            head[2].bias[:] = 5.0
    return net.eval()


def test_where_nothing_is_proven_little_is_promised():
    kinds = [None, *(SceneKind(k, 0.98) for k in range(len(KINDS))), SceneKind(STREET, 0.4)]
    frames = [of_kind(kind) for kind in kinds]
    out = prediction(len(frames))
    assert features_of(out, frames).shape == (len(frames), FEATURES, 8, 16)
    net = confident((STREET, INDOOR, PLANETARY))
    trust = trust_of(net, out, frames).prod(1)
    for kind, found in zip(kinds, trust, strict=True):
        proven = kind in (SceneKind(k, 0.98) for k in (STREET, INDOOR, PLANETARY))
        low = np.delete(found.ravel(), np.flatnonzero(out.segmentation[0].argmax(0) == 10))
        assert (np.median(low) > 0.9) if proven else (np.median(low) <= UNPROVEN)
    withheld = of_kind(SceneKind(PLANETARY, 0.98, classed=False))
    assert np.median(trust_of(net, prediction(), [withheld]).prod(1)) <= UNPROVEN
    assert (trust_of(None, prediction(), [frames[1]]).prod(1) <= UNPROVEN).all()


def test_a_sensor_s_scale_counts_only_where_it_was_learned():
    torch.manual_seed(0)
    net, learned = (TrustNet((4, 4), (STREET,), scaled).eval() for scaled in (False, True))
    learned.load_state_dict(net.state_dict())
    frame = of_kind(SceneKind(STREET, 0.98))
    known = replace(frame, scale=1)
    both, out = [frame, known], prediction()
    one, other = (trust_of(net, out, [f]) for f in both)
    np.testing.assert_array_equal(one, other)
    one, other = (trust_of(learned, out, [f]) for f in both)
    assert np.abs(one - other).max() > 1e-4


def test_what_a_delta_frame_says_nothing_of_was_not_received():
    prior, reference = uneven_prior(), random_symbols(3, SIZE)
    masks = slice(NUM_CLASSES + 9, NUM_CLASSES + 15)

    def received(symbols):
        return features_of(prediction(), [symbols])[0, masks].round(decimals=5)

    assert (received(reference) == 1).all()
    nothing = decode(b'', SIZE, prior, reference)
    assert nothing.received('coarse_depth').all() and not received(nothing).any()
    data, _ = encode(moved(reference, 5, 0.0), prior, 10_000, reference)
    assert (received(decode(data, SIZE, prior, reference)) == 1).all()  # it stands still


def test_what_repeats_with_the_predictor_s_grids_does_not_show():
    even, out = of_kind(SceneKind(STREET, 0.98)), prediction()
    y, x = np.indices((8, 16))
    for period in (2, 4):
        stripes = torch.from_numpy(((y + x) % period == 0).astype(np.float32))
        logits = torch.zeros(1, 20, 8, 16)
        logits[:, 0] = 2 + stripes
        found = features_of(replace(out, segmentation=logits), [even])[0, NUM_CLASSES]
        assert found[3:-3, 3:-3].std() < 1e-3 < stripes.std()


def test_trust_is_calibrated_by_kind_and_scale():
    net = confident((STREET, INDOOR))
    net.scaled = True
    net.calibration[INDOOR, 0, 1] = torch.tensor([0.5, -2.5])  # 5 becomes 0
    learned = of_kind(SceneKind(INDOOR, 0.98))
    known = replace(learned, scale=2)
    for frame, depth in ((learned, 0.5), (known, 1 / (1 + np.exp(-5)))):
        np.testing.assert_allclose(trust_of(net, prediction(), [frame])[0, 1], depth, rtol=1e-3)


@pytest.fixture(scope='module')
def decoded():
    codec = SemanticCodec.load(weights='random')
    rgb = np.random.default_rng(0).integers(0, 255, (64, 128, 3), np.uint8)
    return codec.decode(codec.encode(rgb, 300).data)


def test_trust_is_zero_only_where_nothing_was_received(decoded):
    assert decoded.trust.dtype == np.uint8
    np.testing.assert_array_equal(decoded.trust == 0, decoded.received == 0)
    assert decoded.right.shape == (2, 8, 16)


def test_what_is_trusted_less_than_wished_is_withheld(decoded):
    trust = np.full(decoded.trust.shape, 200, np.uint8)
    trust[:, :40] = 100
    frame = replace(decoded, trust=trust, depth=np.ones(trust.shape, np.float32))
    assert withhold(frame, 0.0) is frame
    kept = withhold(frame, 0.5)
    assert np.isnan(kept.depth[:, :40]).all() and (kept.depth[:, 40:] == 1).all()
    assert (kept.segmentation[:, :40] == UNLABELLED).all()
    np.testing.assert_array_equal(kept.segmentation[:, 40:], frame.segmentation[:, 40:])
    assert np.isnan(withhold(replace(frame, trust=None), 0.1).depth).all()


def test_the_network_learns_what_is_right_and_which_kinds_had_truth(tmp_path):
    rng, examples = np.random.default_rng(0), training.Examples()
    for frame in range(12):
        kind = STREET if frame < 6 else OFF_ROAD
        features = rng.standard_normal((200, FEATURES)).astype(np.float32)
        right = np.full((200, 2), -1, np.int8)
        right[:, 0] = features[:, 0] > 0
        if kind == STREET:
            right[:, 1] = features[:, 1] > 0.5
        examples.add(features, right, kind, bool(frame % 2), frame, f'place {frame % 3}')
    logits = fitting.held_out(examples)
    net = fitting.fit(examples, logits)
    assert net.calibrated == (STREET,)
    one_place = replace(examples, source=dict.fromkeys(range(12), 'a'))
    assert not fitting.fit(one_place, logits).calibrated
    lines = fitting.report(examples, logits)
    assert len(lines) == 6 and lines[0].startswith('street, class, learned scale: ECE 0.')
    x = torch.from_numpy(np.concatenate(examples.features[:6]))
    with torch.inference_mode():
        found = net(x.T[None, :, None].contiguous())[0, :, 0].sigmoid().numpy()
    for question in range(2):
        right = np.concatenate(examples.right[:6])[:, question] == 1
        counts = metrics.reliability((255 * found[question]).round().astype(np.uint8), right)
        assert metrics.ranking(counts) > 0.9
    path = save(tmp_path / 'trust.safetensors', net.state_dict(), net.config)
    assert restore(TrustNet, path).calibrated == (STREET,) and restore(TrustNet, path).scaled


def test_logits_are_brought_to_what_holds_in_places_that_were_not_fitted():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 2, 9000)).float()
    right = torch.from_numpy(rng.random(9000)) < (0.5 * logits - 1).sigmoid()
    places = np.repeat(np.arange(9), 1000)
    factor, offset = fitting.calibrate(logits, right.float(), places)
    assert 0.5 < factor < 0.75 and -1 < offset < -0.6
    few = fitting.calibrate(logits, right.float(), np.zeros(9000))
    assert abs(few[1]) < 0.5 * abs(offset)  # one place proves little
    differing = (
        torch.from_numpy(rng.random(9000))
        < (logits + torch.from_numpy(np.where(places % 2, 2.0, -2.0)).float()).sigmoid()
    )
    assert fitting.calibrate(logits, differing.float(), places)[0] < 0.9  # places differ


def test_all_sources_count_alike():
    names = [f'{s}/{i}.png' for s, n in (('a', 50), ('b', 3), ('c', 20)) for i in range(n)]
    frames = [Frame(name, Path(name)) for name in names]
    chosen = training.balanced(frames, 23)
    counts = [sum(training.source_of(f) == s for f in chosen) for s in 'abc']
    assert counts == [10, 3, 10]
    assert chosen[0].image.name == '0.png' and chosen[9].image.name == '49.png'
    assert len(training.balanced(frames, 1000)) == 73


def test_frames_with_truth_are_judged_as_they_are_decoded():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (64, 128, 3), np.uint8)
    sparse = np.full((64, 128), np.nan, np.float32)
    sparse[::9, ::7] = 4.0
    lidar = Frame('a', Path('a'), depth=lambda: sparse)
    labels = Frame('b', Path('b'), segmentation=lambda: np.full((64, 128), 13, np.uint8))
    dense = Frame('c', Path('c'), depth=lambda: np.full((64, 128), 4.0, np.float32))
    for frame in (lidar, labels, dense):
        object.__setattr__(frame, 'rgb', lambda: rgb)
    encoder, decoder = (half.load(weights='random') for half in (FrameEncoder, FrameDecoder))
    examples = training.collect([lidar, dense, labels, lidar], encoder, decoder, (200,))
    of_lidar, _, _, of_labels, _ = examples.right
    assert (of_lidar[:, 0] == -1).all() and (of_labels[:, 1] == -1).all()
    assert (of_lidar[:, 1] >= 0).mean() > 0.5 and (of_labels[:, 0] >= 0).all()
    assert [float(f[0, LOCAL - 2]) for f in examples.features] == [
        0,
        0,
        1,
        0,
        0,
    ]  # a sensor's scale


def test_depth_is_judged_where_no_class_is_stated_too(decoded):
    shape = decoded.trust.shape
    frame = replace(
        decoded,
        received=np.full(shape, 255, np.uint8),
        depth=np.full(shape, 2.0, np.float32),
        segmentation=np.where(np.arange(shape[1]) < 32, np.uint8(0), np.uint8(UNLABELLED))
        * np.ones((shape[0], 1), np.uint8),
    )
    truth = Frame(
        'a', Path('a'), segmentation=lambda: np.zeros(shape, np.uint8),
        depth=lambda: np.full(shape, 2.1, np.float32),
    )  # fmt: skip
    score = Score({})
    ReferenceObservation(None, truth, decoded.rgb)._trust(frame, score)
    known = {name: counts.sum() for name, counts in score.trust.items()}
    assert known == {'classes': shape[0] * 32, 'depth': shape[0] * shape[1], 'both': shape[0] * 32}
    assert not score.trust['both'][:, 0].any()


def test_calibration_ranking_and_risk_of_known_counts():
    rng = np.random.default_rng(0)
    trust = rng.integers(0, 256, 40_000).astype(np.uint8)
    honest = metrics.reliability(trust, rng.random(trust.size) < trust / 255)
    assert metrics.calibration_error(honest) < 0.02
    assert 0.75 < metrics.ranking(honest) < 0.9
    boastful = metrics.reliability(np.full(1000, 255, np.uint8), np.arange(1000) < 250)
    assert metrics.calibration_error(boastful) == pytest.approx(0.75)
    assert metrics.ranking(boastful) == pytest.approx(0.5)
    curve = metrics.risk_coverage(honest)
    assert curve[0] == pytest.approx([1, 0.5], abs=0.02)
    assert curve[230, 1] < 0.1 < curve[0, 1]
    assert np.isnan(metrics.ranking(np.zeros((256, 2), np.int64)))
