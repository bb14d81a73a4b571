"""The codec end to end, on the real architecture untrained: contracts, not quality."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.codec import (
    BitstreamError,
    FrameDecoder,
    FrameHeader,
    MissingReferenceError,
    SemanticCodec,
    SequenceDecoder,
    SequenceEncoder,
    bitstream,
)
from gsc_ros.codec.caption import (
    BEARINGS,
    DISTANCES,
    MAX_OBJECTS,
    OBJECT_KINDS,
    SCENES,
    VOCABULARY,
    Caption,
    SceneObject,
    token_ids,
)
from gsc_ros.codec.layout import coarse_of, fine_of, halve, smoothed
from gsc_ros.codec.notes import Timing
from gsc_ros.codec.seen import describe
from gsc_ros.labels import LABELS, NUM_CLASSES
from gsc_ros.perception.kinds import SceneKind


@pytest.fixture(scope='module')
def codec():
    return SemanticCodec.load(weights='random', threads=2)


def image_of(width, height, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    return np.kron(small, np.ones((16, 16, 1), np.uint8))[:height, :width]


@settings(deadline=None, max_examples=12)
@given(st.integers(40, 2000), st.sampled_from([(64, 64), (160, 120), (121, 77)]))
def test_the_budget_is_never_exceeded_and_sizes_come_back(codec, budget, size):
    frame = codec.encode(image_of(*size), budget)
    assert len(frame.data) <= budget
    decoded = codec.decode(frame.data, steps=1)
    assert decoded.rgb.shape == (size[1], size[0], 3)
    assert decoded.rgb.dtype == np.uint8
    assert decoded.depth.shape == decoded.segmentation.shape == decoded.trust.shape
    assert decoded.depth.shape == (size[1], size[0])
    assert set(np.unique(decoded.received)) <= {0, 128, 255}
    assert ((decoded.trust == 0) == (decoded.received == 0)).all()


def test_a_budget_is_used_up_when_there_is_more_to_say(codec):
    assert len(codec.encode(image_of(480, 360), 300).data) == 300


@pytest.mark.parametrize('steps', [0, 2])
def test_the_same_bytes_give_the_same_image(codec, steps):
    frame = codec.encode(image_of(160, 120), 200, sequence=1)
    one, other = (codec.decode(frame.data, steps=steps) for _ in range(2))
    np.testing.assert_array_equal(one.rgb, other.rgb)
    np.testing.assert_array_equal(one.depth, other.depth)


def test_noise_is_of_the_stream(codec):
    """An untrained flow ends at the prediction after one step; after two some noise is left."""
    frames = [codec.encode(image_of(160, 120), 200, sequence=i).data for i in (1, 2)]
    (plain, again), (one, other) = (
        [codec.decode(data, steps=steps).rgb for data in frames] for steps in (0, 2)
    )
    np.testing.assert_array_equal(plain, again)
    assert (one != plain).any()
    assert (one != other).any()  # the sequence number seeds it


def test_a_frame_packed_twice_is_the_same_and_looked_at_once(codec):
    looked = codec.analyse(image_of(160, 120))
    for budget in (60, 200):
        assert codec.pack(looked, budget).data == codec.encode(image_of(160, 120), budget).data


def test_delta_frames_lean_on_what_the_receiver_has(codec):
    images = [image_of(160, 120, 1), image_of(160, 120, 1), image_of(160, 120, 2)]
    key = codec.encode(images[0], 1500)
    first = codec.reference(key.data)
    still = codec.encode(images[1], 1500, sequence=1, reference=first)
    assert still.header.reference == 0
    with pytest.raises(MissingReferenceError, match='key frame'):
        codec.decode(still.data)
    shown = codec.decode(still.data, steps=0, reference=first)
    assert {'skip_mask', 'residual'} <= set(still.stream_bits)
    assert (
        sum(still.stream_bits[n] for n in ('caption', 'skip_mask', 'coarse', 'fine', 'tokens1'))
        < 20
    )
    errors = [
        np.square(frame.rgb.astype(float) - images[0]).mean()
        for frame in (codec.decode(key.data, steps=0), shown)
    ]
    assert errors[1] < errors[0]
    with pytest.raises(ValueError, match='send a key frame'):
        codec.encode(image_of(300, 300), 300, reference=first)
    other = codec.reference(codec.encode(images[2], 1500).data)
    with pytest.raises(BitstreamError):
        codec.decode(still.data, reference=other)


def test_sequences_send_keys_when_they_must(codec):
    images = [image_of(160, 120, 1)] * 3 + [image_of(160, 120, 2)] + [image_of(300, 120, 1)] * 2
    robot, ground = SequenceEncoder(codec), SequenceDecoder(codec)
    frames = [robot.encode(rgb, 400, sequence=i) for i, rgb in enumerate(images)]
    kinds = [frame.header.frame_type for frame in frames]
    assert kinds[:3] == [0, 1, 1]
    assert kinds[4:] == [0, 1]  # another size needs a key frame
    for frame, rgb in zip(frames, images, strict=True):
        assert ground.decode(frame.data, steps=0).rgb.shape == rgb.shape
    robot.force_keyframe()
    assert robot.encode(images[-1], 400, sequence=9).header.frame_type == 0
    every = SequenceEncoder(codec, keyframe_interval=2)
    kinds = [every.encode(images[0], 100, sequence=i).header.frame_type for i in range(4)]
    assert kinds == [0, 1, 0, 1]
    with pytest.raises(ValueError, match='keyframe_interval'):
        SequenceEncoder(codec, -1)
    with pytest.warns(DeprecationWarning, match='key_every is now keyframe_interval'):
        assert SequenceEncoder(codec, key_every=2).keyframe_interval == 2


def test_a_lost_frame_is_noticed_and_a_star_of_deltas_survives_it(codec):
    images = [image_of(160, 120, 1)] * 3
    for chained in (True, False):
        robot, ground = SequenceEncoder(codec, chained=chained), SequenceDecoder(codec)
        frames = [robot.encode(rgb, 300, sequence=i).data for i, rgb in enumerate(images)]
        ground.decode(frames[0])
        if chained:
            with pytest.raises(MissingReferenceError):
                ground.decode(frames[2])
        else:
            ground.decode(frames[2])


def test_sequence_numbers_wrap(codec):
    assert codec.encode(image_of(64, 64), 60, sequence=513).header.sequence == 1


def test_lost_parts_are_unknown_and_not_guessed(codec):
    frame = codec.encode(image_of(256, 256), 600)
    stub = codec.decode(frame.data[:14], truncated=True, steps=0)
    assert (stub.trust == 0).all()
    assert np.isnan(stub.depth).all()
    assert (stub.segmentation == 255).all()
    whole = codec.decode(frame.data, steps=0)
    assert (whole.received == 255).any()
    sky = whole.segmentation == LABELS.index('sky')
    assert not np.isnan(whole.depth[(whole.received == 255) & ~sky]).any()


def test_a_sensor_sets_the_scale(codec):
    image = image_of(160, 120)
    depth = np.full((120, 160), 7.0, np.float32)
    depth[:10] = np.nan
    decoded = codec.decode(codec.encode(image, 400, depth).data, steps=0)
    known = decoded.depth[np.isfinite(decoded.depth)]
    assert np.median(known) == pytest.approx(7.0, rel=0.1)
    # Only the median counts, and a sensor has a size of its own.
    assert codec.encode(image, 400, depth[20:45, ::3]).data == codec.encode(image, 400, depth).data


@pytest.mark.parametrize(
    ('rgb', 'message'),
    [
        (np.zeros((40, 40), np.uint8), 'shape'),
        (np.zeros((40, 40, 4), np.uint8), 'shape'),
        (np.full((40, 40, 3), np.nan), 'float64'),
        (np.zeros((40, 40, 3), np.uint16), 'uint16'),
        (np.zeros((0, 0, 3), np.uint8), 'outside 16'),
        (np.zeros((8, 40, 3), np.uint8), 'outside 16'),
        (None, 'shape'),
    ],
)
def test_what_is_no_image_is_refused(codec, rgb, message):
    with pytest.raises(ValueError, match=message):
        codec.encode(rgb, 300)


def test_bad_budgets_steps_presets_and_weights_are_refused(codec, tmp_path):
    with pytest.raises(ValueError, match='40'):
        codec.encode(image_of(64, 64), 39)
    data = codec.encode(image_of(64, 64), 100).data
    with pytest.raises(ValueError, match='steps'):
        codec.decode(data, steps=-1)
    with pytest.raises(ValueError, match='preset'):
        SemanticCodec.of(codec.networks, 'jpeg')
    with pytest.raises(FileNotFoundError, match='gsc train'):
        SemanticCodec.load(weights=tmp_path)


def test_frames_of_other_weights_are_refused_by_name(codec):
    other = FrameDecoder(replace(codec.networks.ground, fingerprint=0x1234))
    with pytest.raises(BitstreamError, match=r'0000.*1234'):
        other.decode(codec.encode(image_of(64, 64), 100).data)
    # Also a delta frame: a key frame would not help.
    known = codec.reference(codec.encode(image_of(64, 64), 100).data)
    delta = codec.encode(image_of(64, 64), 100, sequence=1, reference=known).data
    with pytest.raises(BitstreamError, match=r'0000.*1234'):
        other.decode(delta)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_refused_by_name(codec, data, truncated):
    with pytest.raises(BitstreamError):
        codec.decode(data, truncated=truncated)


@settings(deadline=None, max_examples=10)
@given(st.binary(max_size=60), st.sampled_from([(64, 64), (70, 100), (16, 4096)]))
def test_any_stream_behind_a_proven_header_is_an_image(codec, stream, size):
    header = FrameHeader('gsc', codec.fingerprint, 3, *size, 100)
    frame = codec.decode(bitstream.pack(header, stream)[1], steps=0)
    assert frame.rgb.shape == (size[1], size[0], 3)


def test_small_dangerous_things_survive_the_layout():
    road, person = LABELS.index('road'), LABELS.index('person')
    block = torch.full((1, 2, 2), road, dtype=torch.uint8)
    block[0, 0, 0] = person
    assert (halve(block.tile(1, 2, 2)) == road).all()  # one of four does not
    block[0, 1, 0] = person
    assert halve(block) == person
    classes = torch.randint(0, 20, (3, 16, 24), dtype=torch.uint8)
    assert coarse_of(fine_of(classes)).shape == (3, 4, 6)
    torch.testing.assert_close(halve(classes)[1:2], halve(classes[1:2]))


def test_a_cell_takes_its_neighbours_class_only_where_the_network_is_hardly_surer_of_its_own():
    road, pavement, person = (LABELS.index(name) for name in ('road', 'sidewalk', 'person'))
    fine = np.full((8, 12), road, np.uint8)
    sure, unsure, rider = (2, 3), (5, 3), (4, 8)
    fine[sure], fine[unsure], fine[rider] = pavement, pavement, person
    probabilities = np.full((NUM_CLASSES, 8, 12), 1e-3, np.float32)
    probabilities[road] = 0.9
    for cell, own, other in ((sure, 0.98, 0.01), (unsure, 0.5, 0.4)):
        for label, share in ((pavement, own), (road, other)):
            probabilities[(label, *cell)] = share
    for label, share in ((person, 0.4), (road, 0.5)):
        probabilities[(label, *rider)] = share
    found = smoothed(fine, probabilities.repeat(2, 1).repeat(2, 2))
    assert found[sure] == pavement and found[unsure] == road and found[rider] == person
    assert (found != fine).sum() == 1
    np.testing.assert_array_equal(smoothed(found, probabilities.repeat(2, 1).repeat(2, 2)), found)
    alone = np.full((4, 4), road, np.uint8)
    np.testing.assert_array_equal(
        smoothed(alone, np.zeros((NUM_CLASSES, 8, 8), np.float32)), alone
    )


def test_what_is_not_stated_counts_for_other():
    road, grass, other = LABELS.index('road'), LABELS.index('terrain'), LABELS.index('other')
    fine = np.full((6, 6), road, np.uint8)
    fine[3, 3] = other
    probabilities = np.zeros((NUM_CLASSES, 12, 12), np.float32)
    probabilities[road] = 1
    probabilities[:, 6:8, 6:8] = 0
    probabilities[grass, 6:8, 6:8] = 1  # which may not be stated here
    np.testing.assert_array_equal(smoothed(fine, probabilities), fine)


def test_captions_say_what_is_near_and_where():
    classes = np.full((48, 64), LABELS.index('road'), np.uint8)
    classes[:16] = LABELS.index('building')
    classes[20:30, 4:10] = LABELS.index('car')
    classes[20:34, 40:44] = LABELS.index('person')
    depth = np.full((48, 64), 30.0, np.float32)
    depth[classes == LABELS.index('person')] = 6.0
    caption = describe(classes, depth)
    assert str(caption) == 'street: person right at 6 m, car far left at 27 m'
    words = token_ids(caption)
    assert words.shape == (1 + MAX_OBJECTS, 3)
    assert (words < np.array(VOCABULARY)).all()
    assert words[0, 0] == 1 + SCENES.index('street')
    assert (words[3:] == 0).all()
    assert (token_ids(None) == 0).all()


def test_every_word_of_the_vocabulary_has_an_id_of_its_own():
    counts = [len(names) for names in (OBJECT_KINDS, BEARINGS, DISTANCES)]
    objects = [SceneObject(*(i % n for n in counts)) for i in range(max(counts))]
    captions = [Caption(scene) for scene in range(len(SCENES))]
    captions += [Caption(objects=(item,)) for item in objects]
    ids = np.stack([token_ids(caption) for caption in captions])
    scenes, words = ids[: len(SCENES), 0], ids[len(SCENES) :, 1]
    assert len({*scenes[:, 0].tolist(), *words[:, 0].tolist()}) == len(SCENES) + len(OBJECT_KINDS)
    for field, size in enumerate(VOCABULARY):  # none is unused, and 0 is no word
        assert set(np.unique(ids[..., field]).tolist()) == set(range(size))


def test_a_caption_of_nothing_is_still_a_sentence():
    empty = describe(np.full((8, 8), 255, np.uint8), np.full((8, 8), np.nan, np.float32))
    assert str(empty) == 'unknown scene: no object found'


@pytest.mark.parametrize('budget', [80, 1500])
def test_half_the_digits_make_the_same_symbols_and_nearly_the_same_image(budget):
    """A robot and a ground whose CPUs compute in other precisions understand each other."""
    exact, half = (SemanticCodec.load(weights='random') for _ in '12')
    exact.bfloat16, half.bfloat16 = False, True
    for sender, receiver in ((exact, half), (half, exact)):
        frame = sender.encode(image_of(192, 128), budget)
        assert 0.95 * budget <= len(frame.data) <= budget
        a, b = (codec.read(frame.data).symbols for codec in (sender, receiver))
        for name, grid in a.planes.items():
            np.testing.assert_array_equal(grid, b.planes[name])
        for steps in (0, 1):
            mine, theirs = (codec.decode(frame.data, steps=steps) for codec in (sender, receiver))
            assert np.abs(mine.rgb.astype(int) - theirs.rgb).mean() < 3
            np.testing.assert_array_equal(mine.trust, theirs.trust)
            assert (mine.segmentation == theirs.segmentation).mean() > 0.9


def test_the_shipped_weights_code_with_half_the_digits():
    """As on a CPU with units for them: all parts that the weights have, such as the hazards."""
    made = SemanticCodec.load()
    made.bfloat16 = True
    frame = made.encode(image_of(192, 128), 300)
    assert made.decode(frame.data).rgb.shape == (128, 192, 3)


def half_grey(width, height):
    image = image_of(width, height)
    image[height // 2 :] = 128
    return image


def test_what_is_lost_of_an_image_is_nowhere_vouched_for(codec):
    """The bytes say it: also of a frame cut at any byte nothing lost is ever shown as seen."""
    data = codec.encode(half_grey(128, 128), 200).data
    whole = codec.decode(data)
    assert whole.notes.loss.cells[4:].all()
    assert not whole.notes.loss.cells[:4].any()
    assert 'part of the image is lost: grey, 50 %' in whole.caption
    assert (whole.rgb[72:] == 128).all()
    assert (whole.received[:60] == 255).all()
    assert whole.reference is None
    for length in range(bitstream.HEADER_BYTES, len(data) + 1, 7):
        shown = codec.decode(data[:length], truncated=True)
        assert (shown.trust[64:] == 0).all()
        assert np.isnan(shown.depth[64:]).all()
        assert (shown.segmentation[64:] == 255).all()


@pytest.mark.parametrize('size', [(64, 64), (640, 480), (121, 77)])
def test_an_image_of_one_colour_is_no_image_and_costs_few_bytes(codec, size):
    for level, kind in ((0, 'black'), (255, 'white')):
        frame = codec.encode(np.full((size[1], size[0], 3), level, np.uint8), 300)
        assert len(frame.data) <= 16
        assert frame.caption == f'no image: {kind}'
        shown = codec.decode(frame.data)
        assert shown.caption == frame.caption
        assert shown.notes.blind
        assert np.isnan(shown.depth).all()
        assert (shown.segmentation == 255).all()
        assert (shown.trust == 0).all()
        assert (shown.rgb == level).all()


class Indoors:
    def __init__(self, perception):
        self.perception = perception

    def predict(self, rgb, stride=8):
        return replace(self.perception.predict(rgb, stride), kind=SceneKind(3, 0.9))


def test_both_ends_have_the_kind_of_scene_of_an_image_of_now(codec, monkeypatch):
    analyser = codec.encoder.networks.analyser
    monkeypatch.setattr(analyser, 'perception', Indoors(analyser.perception))
    monkeypatch.setattr(analyser, 'kinds', True)
    image = image_of(128, 128)
    now, old = codec.encode(image, 200), codec.encode(image, 200, timing=Timing(off_s=60.0))
    assert now.kind == codec.decode(now.data).kind == SceneKind(3, 0.9)
    assert old.kind is None and codec.decode(old.data).kind is None


def test_an_image_that_is_not_of_now_is_shown_and_not_vouched_for(codec):
    image = image_of(128, 128)
    now, old = codec.encode(image, 200), codec.encode(image, 200, timing=Timing(off_s=3600.0))
    assert not codec.decode(now.data).notes
    shown = codec.decode(old.data)
    assert shown.caption == old.caption
    assert shown.notes.timing.off_s == pytest.approx(3600.0, rel=0.01)
    assert shown.caption == f'image not of now: {shown.notes.timing.off_s:.0f} s old'
    assert np.isnan(shown.depth).all()
    assert (shown.segmentation == 255).all()
    assert (shown.trust == 0).all()
    assert shown.rgb.std() > 0
    frozen = codec.decode(codec.encode(image, 200, timing=Timing(frozen_s=30.0)).data)
    assert frozen.trust.any()
    assert frozen.notes.timing.frozen_s == pytest.approx(30.0, rel=0.01)


def test_nothing_leans_on_a_frame_of_which_something_is_lost(codec):
    robot, ground = SequenceEncoder(codec), SequenceDecoder(codec)
    images = [
        image_of(128, 128),
        image_of(128, 128),
        half_grey(128, 128),
        *[image_of(128, 128)] * 2,
    ]
    shown = []
    for number, image in enumerate(images):
        frame = robot.encode(image, 200, sequence=number)
        shown.append(ground.decode(frame.data))
    assert [frame.header.frame_type for frame in shown] == [0, 1, 0, 0, 1]
    assert shown[2].reference is None
    np.testing.assert_array_equal(shown[4].trust[64:] > 0, True)


def test_notes_are_in_the_header(codec):
    black = codec.encode(np.zeros((64, 64, 3), np.uint8), 200).data
    header = bitstream.read_header(black)
    assert header.noted
    assert not bitstream.read_header(codec.encode(image_of(64, 64), 200).data).noted
