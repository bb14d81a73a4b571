"""Objects: found where the eye can know them, sent within their share, read as they were sent."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from frames import decode, encode, random_symbols, uneven_prior
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.codec.caption import DISTANCES, OBJECT_KINDS, Caption
from gsc_ros.codec.notes import caption_text
from gsc_ros.codec.objects import (
    MOST_BEYOND,
    PROBABILITIES,
    SHARE,
    SURE,
    Objects,
    SeenObject,
    read,
    write,
)
from gsc_ros.codec.rangecoder import EndOfStream, RangeDecoder, RangeEncoder
from gsc_ros.codec.seen import find_objects
from gsc_ros.evaluation.objects import count, covered, shares
from gsc_ros.labels import KINDS, LABELS, UNLABELLED
from gsc_ros.models.objects import ObjectNet
from gsc_ros.perception.kinds import SceneKind
from gsc_ros.perception.model import Prediction
from gsc_ros.perception.objects import Detection
from gsc_ros.perception.regions import GROUPS, find_regions
from gsc_ros.training.objects import first_halves, fit

CAR, PERSON, ROAD = (LABELS.index(name) for name in ('car', 'person', 'road'))
SIZE = (256, 192)
STREET, INDOOR = (SceneKind(KINDS.index(name), 0.98) for name in ('street', 'indoor'))


def seen(class_id=CAR, box=(0.4, 0.5, 0.6, 0.7), distance_m=11.0, probability=0.9):
    return SeenObject.of(class_id, box, distance_m, probability)


def items():
    label = st.sampled_from([LABELS.index(name) for name in OBJECT_KINDS if name in LABELS])
    edges = st.lists(st.floats(0, 1), min_size=4, max_size=4)
    return st.builds(
        lambda label, e, d, p: seen(
            label, (min(e[:2]), min(e[2:]), max(e[:2]), max(e[2:])), d, p
        ),
        label, edges, st.floats(0.5, 200), st.floats(0.5, 1),
    )  # fmt: skip


def lists():
    def make(found, lost):
        found.sort(key=lambda item: not item.sure)
        return Objects(tuple(found), lost)

    return st.builds(make, st.lists(items(), max_size=12), st.integers(0, MOST_BEYOND))


@settings(deadline=None, max_examples=30)
@given(lists() | st.none(), st.floats(0, 1))
def test_objects_are_read_as_they_were_written_and_a_cut_loses_the_last(objects, share):
    caption = Caption(1, objects.named if objects else ())
    coder = RangeEncoder()
    write(coder, objects, caption)
    data = coder.finish()
    found = list(read(RangeDecoder(data + b'\0\0\0\0'), caption))
    assert (found[-1] if found else None) == objects
    part = None
    try:
        for one in read(RangeDecoder(data[: int(share * len(data))]), caption):
            part = one
    except EndOfStream:
        if part is not None:
            kept = len(part.items)
            assert part == objects.first(kept)


@settings(deadline=None, max_examples=30)
@given(items())
def test_rounding_keeps_a_box_and_promises_no_more_than_there_is(item):
    left, top, right, bottom = item.box
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1
    again = SeenObject.of(item.class_id, item.box, item.distance_m, item.probability)
    assert again.probability == item.probability
    assert again.words.distance == item.words.distance


def test_a_rounded_object_is_near_the_one_that_was_seen():
    box = (0.41, 0.52, 0.49, 0.71)
    item = seen(PERSON, box, 9.0, 0.87)
    np.testing.assert_allclose(item.box, box, atol=0.02)
    assert item.probability == 0.85
    assert item.distance_m in DISTANCES
    assert (item.name, item.class_id) == ('person', PERSON)


@settings(deadline=None, max_examples=6)
@given(lists(), st.integers(60, 400))
def test_caption_and_objects_take_their_share_and_the_others_are_lost(objects, most_bytes):
    symbols = random_symbols(3, SIZE)
    symbols.objects, symbols.caption = objects, Caption(1, objects.named)
    data, coded = encode(symbols, uneven_prior(), most_bytes)
    found = decode(data, SIZE, uneven_prior())
    assert found.objects == coded.objects
    assert coded.caption.objects == objects.named[: len(coded.caption.objects)]
    lost = len(objects.items) + objects.lost - len(coded.objects.items)
    assert coded.objects.lost == min(lost, MOST_BEYOND)  # the count ends there
    if coded.objects.items:
        bits = coded.bits['caption'] + coded.bits['objects']
        assert bits <= SHARE * 8 * most_bytes + 0.1
    elif objects.items:
        assert coded.objects.lost


def street_view():
    classes = np.full((24, 32), ROAD, np.uint8)
    classes[10:16, 4:10], classes[10:18, 20:22] = CAR, PERSON
    metres = np.full(classes.shape, 12.0, np.float32)
    confidence = np.full(classes.shape, 0.92, np.float32)
    return Prediction(classes, metres, False, confidence=confidence)


def net(weight=1.0):
    made = ObjectNet(len(GROUPS))
    made.weights.data[:] = torch.tensor([0.0, weight, 0.0])
    return made


def test_objects_are_found_on_streets_and_not_where_the_eye_cannot_know():
    view = street_view()
    objects = find_objects(view, STREET, net())
    assert [item.name for item in objects.items] == ['car', 'person']
    assert all(item.probability == 0.9 for item in objects.items)
    assert find_objects(view, INDOOR, net()) is None
    assert find_objects(view, SceneKind(0, 0.4), net()) is None
    assert find_objects(view, STREET, None) is None
    assert find_objects(view, STREET, ObjectNet(len(GROUPS))).items == ()  # not calibrated
    assert find_objects(view, STREET, net(0.3)).named == ()  # not sure


def test_a_detector_s_objects_are_told_anywhere():
    view = street_view()
    boxes = (
        Detection('person', PERSON, 0.9, (0.1, 0.2, 0.3, 0.8)),
        Detection('cup', 255, 1, (0,) * 4),
    )
    found = Prediction(view.classes, view.metres, False, boxes)
    (item,) = find_objects(found, INDOOR, None).items
    assert (item.name, item.distance_m) == ('person', 10.0)


def test_captions_say_what_is_sure_what_is_not_and_what_is_lost():
    sure, doubtful = seen(), seen(PERSON, probability=0.6)
    objects = Objects((sure, doubtful), 2)
    text = caption_text(Caption(1, objects.named), None, STREET, None, objects)
    assert (
        text
        == 'street: car ahead at 10 m; not sure: person ahead at 10 m; 2 more objects not sent'
    )
    nothing = Objects()
    assert caption_text(Caption(1), None, STREET, None, nothing) == 'street: no object found'
    assert (
        caption_text(Caption(1), None, STREET, None, Objects((), 1)) == 'street: 1 object not sent'
    )
    assert caption_text(Caption(), None, INDOOR).endswith('objects are not named here')


def test_a_probability_of_a_name_is_one_that_is_sent():
    assert SURE in PROBABILITIES


def header():
    stamp = SimpleNamespace(sec=3, nanosec=4)
    return SimpleNamespace(stamp=stamp, frame_id='camera')


def test_the_list_is_json_without_vision_msgs():
    pytest.importorskip('rclpy')
    from std_msgs.msg import String

    from gsc_ros.ros import objects as ros_objects

    message = ros_objects.list_message(String, Objects((seen(),), 2), header(), (640, 480), None)
    told = json.loads(message.data)
    assert (told['lost'], told['width'], told['stamp']) == (2, 640, {'sec': 3, 'nanosec': 4})
    (item,) = told['objects']
    assert (item['class'], item['class_id'], item['distance_m']) == ('car', CAR, 10.0)
    np.testing.assert_allclose(item['box'], (256, 240, 384, 336), atol=12)
    unknown = ros_objects.list_message(String, None, header(), (640, 480), None)
    assert json.loads(unknown.data)['objects'] is None


@pytest.fixture
def vision_msgs(monkeypatch):
    pytest.importorskip('rclpy')
    from vision_types import module

    made = module()
    monkeypatch.setitem(sys.modules, 'vision_msgs', ModuleType('vision_msgs'))
    monkeypatch.setitem(sys.modules, 'vision_msgs.msg', made)
    return made


def test_the_list_is_of_vision_msgs_where_that_is_installed(vision_msgs):
    from std_msgs.msg import Header

    from gsc_ros.ros import objects as ros_objects
    from gsc_ros.ros.console.objects import shown

    kind = ros_objects.list_type()
    assert kind is vision_msgs.Detection2DArray
    info = SimpleNamespace(k=[320.0, 0, 320, 0, 320, 240, 0, 0, 1], width=640, height=480)
    where = Header(frame_id='camera')
    where.stamp.sec = 3
    array = ros_objects.list_message(kind, Objects((seen(),)), where, (640, 480), info)
    (found,) = array.detections
    assert array.header == found.header == where
    (result,) = found.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ('car', 0.9)
    assert result.pose.pose.position.z == 10.0
    assert abs(result.pose.pose.position.x) < 0.5
    assert found.bbox.size_x == pytest.approx(128, abs=12)
    bare = ros_objects.list_message(kind, Objects((seen(),)), where, (640, 480), None)
    assert np.isnan(bare.detections[0].results[0].pose.pose.position.x)
    assert not ros_objects.list_message(kind, None, where, (640, 480), None).detections
    # And the console reads it.
    stamp, (drawn,) = shown(array, (640, 480))
    assert (stamp, drawn['name'], drawn['distance_m']) == ((3, 0), 'car', 10.0)
    assert drawn['box'][2] - drawn['box'][0] == pytest.approx(0.2, abs=0.02)


def test_classes_are_named_by_vision_msgs_where_that_is_installed(vision_msgs):
    from gsc_ros.ros import topics
    from gsc_ros.ros.images.decoded_output import label_message

    kind, topic, message = label_message()
    assert (kind, topic) == (vision_msgs.LabelInfo, topics.LABEL_INFO)
    names = {one.class_id: one.class_name for one in message.class_map}
    assert (names[CAR], names[UNLABELLED]) == ('car', 'unlabelled')
    assert len(names) == len(message.class_map)


def test_what_was_stated_is_counted_against_truth():
    truth = np.full((120, 160), ROAD, np.uint8)
    truth[60:84, 64:96] = CAR
    truth[:40] = UNLABELLED
    truth[90:110, :20] = PERSON
    there, wrong, untold = seen(), seen(box=(0.1, 0.5, 0.2, 0.6)), seen(box=(0.1, 0.1, 0.2, 0.2))
    assert covered(CAR, there.box, truth) > 0.8
    assert covered(CAR, untold.box, truth) is None
    found = count([there, wrong, untold], truth)
    assert found == {'named': 2, 'there': 1, 'true': 2, 'found': 1}
    other = dict.fromkeys(found, 1)
    assert shares([found, other]) == {'precision': 2 / 3, 'recall': 2 / 3, 'invented': 0.5}
    assert np.isnan(shares([dict.fromkeys(found, 0)])['precision'])


def test_the_fit_learns_which_regions_are_objects():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 600)
    right = rng.random(600) < confidence**2
    examples = np.stack([confidence, np.full(600, 0.01), np.full(600, 2), right], 1)
    made = fit(examples.astype(np.float32))
    told = made(*(torch.tensor(v) for v in ([0.5, 0.95], [0.01, 0.01], [2, 2]))).sigmoid()
    np.testing.assert_allclose(told.detach(), [0.25, 0.9], atol=0.1)
    unknown = made(torch.tensor([0.99]), torch.tensor([0.1]), torch.tensor([0])).sigmoid()
    assert float(unknown) < 0.01
    with pytest.raises(ValueError, match='no truth'):
        fit(examples[:3].astype(np.float32))


def test_half_of_each_sequence_stays_for_tests():
    frames = [SimpleNamespace(sequence=name, n=i) for i, name in enumerate('aaaabb')]
    assert [frame.n for frame in first_halves(frames)] == [0, 1, 4]


def test_a_region_has_its_features():
    view = street_view()
    (car,) = (
        r for r in find_regions(view.classes, view.metres, view.confidence) if r.class_id == CAR
    )
    assert car.box == (4 / 32, 10 / 24, 10 / 32, 16 / 24)
    assert car.area == pytest.approx(36 / (24 * 32))
    assert (car.distance_m, car.confidence) == (12.0, pytest.approx(0.92))
