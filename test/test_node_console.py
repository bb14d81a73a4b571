"""The console's node: what a browser says comes out on topics, and topics show in the browser."""

import json
import threading
import time
from types import SimpleNamespace

import pytest

pytest.importorskip('starlette', reason='needs the extra console')
pytest.importorskip('uvicorn', reason='needs the extra console')

import rclpy
from bench import Bench
from console_bench import PATIENCE_S, SIZE, Ground
from geometry_msgs.msg import TransformStamped, TwistStamped
from gsc_ros.msg import LinkStatus
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Float32, String
from test_console_ground import K

from gsc_ros.console.ground import Footing, drawn
from gsc_ros.link.traffic.cameras import CameraStream
from gsc_ros.nodes.console import Console
from gsc_ros.ros import topics
from gsc_ros.ros.console import outputs
from gsc_ros.ros.console.objects import shown
from gsc_ros.ros.console.recording import Recording
from gsc_ros.ros.console.spot import Spot


@pytest.fixture
def ground(ros, tmp_path):
    made = Ground(ros, f'/console{time.monotonic_ns()}', tmp_path / 'kept')
    yield made
    made.close()


def test_image_maps_and_figures_reach_the_browser(ground):
    page = ground.browse()
    page.wait(lambda b: b.state.get('locked') == 'no image has come yet')
    page.say('view', overlays=['trust', 'depth'], original=True)
    originals = ground.feeds[0].originals
    ground.wait(originals.get_subscription_count, 'original images are looked at')
    page.wait(lambda b: b.images.keys() == {'image', 'trust', 'depth', 'original'}, ground.show)
    page.wait(lambda b: b.state['age']['age_s'] is not None)
    assert 0 <= page.state['age']['age_s'] < 30 and page.state['age']['light_s'] == 0.5
    assert page.state['link']['profile'] == 'lab' and page.state['size'] == list(SIZE)
    page.say('view', overlays=[], original=False)
    ground.wait(lambda: not originals.get_subscription_count())


def test_a_held_key_drives_and_a_silent_browser_stops_the_robot(ground):
    page = ground.browse()
    page.wait(lambda b: b.state.get('locked') == '', ground.show)
    page.take_the_wheel()
    page.wait(lambda b: (ground.speed() or 0) > 0.2, lambda: page.drive(1.0))
    ground.wait(lambda: ground.speed() == 0.0, 'nothing is said any more')
    assert ground.node.robots[0].desk.drive.timeouts
    assert ground.node.robots[0].desk.drive.driver is not None  # the browser is there


def test_a_browser_that_is_gone_stops_the_robot_at_once(ground):
    page = ground.browse()
    page.wait(lambda b: b.state.get('locked') == '', ground.show)
    page.take_the_wheel()
    page.wait(lambda b: (ground.speed() or 0) > 0.1, lambda: page.drive(1.0))
    page.ws.socket.close()
    ground.wait(lambda: ground.speed() == 0.0, 'the browser is gone')
    ground.wait(lambda: ground.node.robots[0].desk.drive.driver is None)


def test_the_watch_stops_the_robot_while_the_web_server_hangs(ground):
    page = ground.browse()
    page.wait(lambda b: b.state.get('locked') == '', ground.show)
    page.take_the_wheel()
    page.wait(lambda b: (ground.speed() or 0) > 0.1, lambda: page.drive(1.0))
    goes_on = threading.Event()
    ground.node.server._call(goes_on.wait, 2 * PATIENCE_S)
    try:
        ground.wait(lambda: ground.speed() == 0.0, 'the watch stops it')
    finally:
        goes_on.set()


def test_a_stale_image_locks_driving(ground):
    page = ground.browse()
    page.wait(
        lambda b: 'the limit is 30.0 s' in b.state.get('locked', ''), lambda: ground.show(40.0)
    )
    page.take_the_wheel()
    for _ in range(3):
        page.drive(1.0)
    page.wait(lambda b: any('limit' in one.get('why', '') for one in b.said))
    assert page.state['age']['stale']
    assert not any(t.linear.x for t in ground.got[topics.TELEOP])


def test_a_console_that_is_not_active_gives_a_stop_and_follows_nothing_that_moves(ground):
    page = ground.browse()
    page.wait(lambda b: b.state.get('locked') == '', ground.show)
    page.take_the_wheel()
    page.wait(lambda b: (ground.speed() or 0) > 0.1, lambda: page.drive(1.0))
    task = ground.executor.create_task(ground.node.trigger_deactivate)
    ground.wait(task.done)
    ground.wait(lambda: ground.speed() == 0.0, 'it is halted')
    came = len(ground.got[topics.TELEOP])
    for name in ('drive', 'take', 'release', 'go', 'key'):
        page.said.clear()
        body = {'drive': {'a': 1.0, 'l': 0.0, 's': 0.0}, 'go': {'x': 0.5, 'y': 0.5, 'stamp': ''}}
        page.say(name, **body.get(name, {}))
        page.wait(lambda b: any('not active' in word.get('why', '') for word in b.said), why=name)
    page.say('beat', s=4.0)
    page.wait(lambda b: {'t': 'beat', 's': 4.0} in b.said, why='the connection lives')
    page.say('cancel')
    page.say('stop')
    ground.wait(lambda: ground.got[topics.STOP] and ground.got[topics.GOAL_END])
    assert not any(told.linear.x for told in ground.got[topics.TELEOP][came:])


def test_stop_latches_and_a_release_takes_two_steps(ground):
    driver, other = ground.browse(), ground.browse()
    driver.wait(lambda b: b.state.get('locked') == '', ground.show)
    driver.take_the_wheel()
    other.say('stop')  # anybody may
    ground.wait(lambda: ground.got[topics.STOP], 'the STOP goes out')
    driver.wait(lambda b: b.state['stop_pressed'] and 'STOP' in b.state['locked'])
    count = len(ground.got[topics.STOP])
    ground.wait(lambda: len(ground.got[topics.STOP]) > count, 'it is repeated')
    ground.link(stop=LinkStatus.STOP_SENT)
    driver.wait(lambda b: b.state['stop'] == 'SENT')
    ground.link(stop=LinkStatus.STOP_HELD)
    driver.wait(lambda b: b.state['stop'] == 'HELD' and not b.state['stop_pressed'])
    seen = []
    driver.release(between=lambda: seen.extend(ground.got[topics.STOP]))
    assert all(one.data for one in seen)
    ground.wait(lambda: not ground.got[topics.STOP][-1].data, 'the release goes out')
    ground.link()
    driver.wait(lambda b: b.state['stop'] == 'NONE' and b.state['locked'] == '')
    assert [one.data for one in ground.got[topics.STOP]].count(False) == 1


def test_a_console_that_was_deactivated_goes_on(ground):
    def again():  # between two callbacks
        return [ground.node.trigger_deactivate(), ground.node.trigger_activate()]

    task = ground.executor.create_task(again)
    ground.wait(task.done)
    assert task.result() == [TransitionCallbackReturn.SUCCESS] * 2
    page = ground.browse()
    page.wait(lambda b: b.state.get('locked') == '', ground.show)


def test_requests_go_out(ground):
    page = ground.browse()
    page.wait(lambda b: b.state.get('size') == list(SIZE), ground.show)
    page.say('key')
    ground.wait(lambda: ground.got[topics.KEY_MISSED])
    page.say('box', box=[0.25, 0.5, 0.75, 1.0])
    ground.wait(lambda: ground.got[topics.REGION])
    roi = ground.got[topics.REGION][0]
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (16, 24, 32, 24)
    page.say('box', box=[0, 0, 1, 1])
    ground.wait(lambda: len(ground.got[topics.REGION]) == 2)
    assert ground.got[topics.REGION][1].width == 0
    page.say('budget', bytes=150)
    page.say('rate', hz=0.5)
    ground.wait(lambda: ground.got[topics.BUDGET] and ground.got[topics.RATE])
    assert (ground.got[topics.BUDGET][0].data, ground.got[topics.RATE][0].data) == (150, 0.5)


def test_a_still_is_asked_for_and_shown_to_all_with_its_progress(ground):
    first = ground.browse()
    first.say('still')
    ground.wait(lambda: ground.got[topics.STILL], 'it is asked for')
    ground.show_still(0.25)
    first.wait(lambda b: b.state.get('still') == {'text': '2 of 8 parts', 'share': 0.25})
    ground.show_still()
    first.wait(lambda b: b.images.get('still') == '1700000000.000000000')
    first.wait(lambda b: b.state['still']['text'] == 'complete')
    later = ground.browse()
    later.wait(lambda b: 'still' in b.images, why='who comes later gets it, too')


def test_lists_of_objects_that_cannot_be_read_are_refused():
    size = 100, 50
    text = json.dumps({
        'stamp': {'sec': 5, 'nanosec': 7}, 'width': 100, 'height': 50,
        'objects': [{'class': 'car', 'probability': 0.9, 'distance_m': 12.0,
                     'box': [10, 5, 120, 25]}],
    })  # fmt: skip
    stamp, objects = shown(String(data=text), size)
    assert stamp == (5, 7)
    assert objects == [
        {'name': 'car', 'probability': 0.9, 'distance_m': 12.0, 'box': [0.1, 0.1, 1.0, 0.5]}
    ]
    assert shown(String(data=text.replace('[{', 'null,"x":[{')), size) == ((5, 7), [])
    for bad in ('', '[]', '{}', text.replace('100', '0'), text.replace('10, 5', 'NaN, 5')):
        with pytest.raises(ValueError, match=r'.'):
            shown(String(data=bad), size)


def test_a_snapshot_and_a_recording_are_kept(ground, tmp_path):
    page = ground.browse()
    page.wait(lambda b: b.images, ground.show)
    page.say('snapshot')
    page.wait(lambda b: any('kept as' in one.get('text', '') for one in b.said))
    (path,) = (tmp_path / 'kept').glob('*.png')
    beside = json.loads(path.with_suffix('.json').read_text())
    assert beside['frame_id'] == 'camera' and beside['link']['profile'] == 'lab'
    screen = ground.node.robots[0].cameras[0].screen
    keep, screen.keep = screen.keep, lambda *_: 1 / 0
    page.say('snapshot')
    page.wait(lambda b: any('did not work' in one.get('text', '') for one in b.said))
    screen.keep = keep
    pytest.importorskip('rosbags', reason='no rosbags')
    page.say('record', on=True)
    page.wait(lambda b: b.state['recording'])
    ground.show()
    time_of = page.images['image']
    page.wait(lambda b: b.images['image'] != time_of)
    page.say('record', on=False)
    page.wait(lambda b: any('is recorded' in one.get('text', '') for one in b.said))
    assert list((tmp_path / 'kept').glob('run_*/*.mcap'))


def test_a_snapshot_names_one_camera_of_one_robot():
    def name(robot, camera):
        return Spot((0, 0), robot, CameraStream(camera)).name

    assert name('a', 'b_c') != name('a_b', 'c')
    assert [name('', ''), name('a', ''), name('', 'c'), name('a', 'c')] == ['', 'a', 'c', 'a-c']


class HungBag:
    """A bag on a disk that does not answer, until it does."""

    def __init__(self, _path):
        self.answers, self.topics = threading.Event(), []
        HungBag.made = self

    def write(self, topic, _message, _nanoseconds):
        self.answers.wait(2 * PATIENCE_S)
        self.topics.append(topic)

    def close(self):
        self.answers.wait(2 * PATIENCE_S)


class FullBag:
    """A bag on a disk that is full."""

    def __init__(self, _folder):
        pass

    def write(self, *_entry):
        raise OSError('no space left on device')


def test_a_disk_that_hangs_delays_neither_states_nor_the_stop(ground, monkeypatch):
    monkeypatch.setattr('gsc_ros.ros.console.recording.Bag', HungBag)
    monkeypatch.setattr('gsc_ros.ros.console.recording._JOIN_S', 0.2)
    page = ground.browse()
    page.say('record', on=True)
    page.wait(lambda b: b.state.get('recording'))
    for _ in range(3):
        ground.link()  # which is to be written
        before = page.images.get('image')
        page.wait(lambda b, before=before: b.images.get('image') != before, ground.show)
    page.say('record', on=False)
    page.wait(lambda b: not b.state['recording'], ground.show)
    page.say('snapshot')
    page.wait(lambda b: any('disk is busy' in one.get('text', '') for one in b.said))
    page.say('stop')
    ground.wait(lambda: ground.got[topics.STOP], 'the STOP goes out')
    HungBag.made.answers.set()
    page.wait(lambda b: any('is recorded' in one.get('text', '') for one in b.said))
    assert len(HungBag.made.topics) >= 6
    assert f'{ground.namespace}/{topics.STATUS}' in HungBag.made.topics


def test_a_recording_that_does_not_fit_into_memory_lacks_messages_and_says_so(
    ros, tmp_path, monkeypatch
):
    monkeypatch.setattr('gsc_ros.ros.console.recording.Bag', HungBag)
    monkeypatch.setattr('gsc_ros.ros.console.recording._MOST_BYTES', 100_000)
    node = rclpy.create_node('recorder', context=ros)
    recording = Recording(node, tmp_path, print)
    try:
        assert 'recording run_' in recording.begin()
        recording.write('still_progress', Float32(data=0.5))
        for _ in range(30):
            recording.write('image', Image(data=bytes(10_000)))
        assert 19 <= recording.lost <= 22
        HungBag.made.answers.set()
        assert 'without' in recording.stop()
        first, *images = HungBag.made.topics
        assert first.endswith('still_progress') and 30 - len(images) in range(19, 23)
    finally:
        node.destroy_node()


def test_a_recording_that_breaks_is_told_on_the_page_and_in_diagnostics(ground, monkeypatch):
    monkeypatch.setattr('gsc_ros.ros.console.recording.Bag', FullBag)
    page = ground.browse()
    page.say('record', on=True)

    def is_told(b):
        ground.link()  # which is to be written
        return any('no space' in one.get('text', '') and one['bad'] for one in b.said)

    page.wait(is_told)
    page.wait(lambda b: b.state.get('recording') == '')
    ground.wait_for_report('console', lambda _l, m, _v: 'no space' in m and 'set output' in m)
    monkeypatch.setattr('gsc_ros.ros.console.recording.Bag', HungBag)
    page.say('record', on=True)
    page.wait(lambda b: b.state.get('recording'))
    ground.wait_for_report('console', lambda _l, m, _v: 'serving' in m)
    page.say('record', on=False)
    HungBag.made.answers.set()
    page.wait(lambda b: any('is recorded' in one.get('text', '') for one in b.said))


def test_a_recording_that_cannot_be_written_is_trouble_and_not_done(ros, tmp_path, monkeypatch):
    node = rclpy.create_node('recorder', context=ros)
    (tmp_path / 'file').write_text('')
    try:
        with pytest.raises(OSError, match='file'):
            Recording(node, tmp_path / 'file', print).begin()
        monkeypatch.setattr('gsc_ros.ros.console.recording.Bag', HungBag)
        recording = Recording(node, tmp_path, print)
        recording.begin()
        HungBag.made.close = lambda: 1 / 0
        with pytest.raises(OSError, match=r'run_\w+ is damaged: division'):
            recording.stop()
        recording.close()  # nothing is open
    finally:
        node.destroy_node()


def test_a_click_on_the_ground_becomes_a_goal_and_a_doubtful_one_does_not(ground):
    states = ground.peer.create_publisher(String, topics.GOAL_STATE, topics.LATCHED)
    ground.wait(states.get_subscription_count)
    plane = ground.show_ground()
    page = ground.browse()
    page.say('view', overlays=['trust', 'depth', 'classes'], original=False)
    page.take_the_wheel()

    def whole(b):
        stamps = [b.images.get(kind) for kind in ('image', 'trust', 'depth', 'classes')]
        return stamps[0] and len(set(stamps)) == 1 and b.state.get('locked') == ''

    page.wait(whole)
    (place,) = drawn([(3.0, 0.5)], Footing.of(plane), K, (240, 180))
    page.say('go', x=place[0], y=place[1], stamp=page.images['image'])
    ground.wait(lambda: ground.got[topics.GOAL], 'the goal goes out')
    goal = ground.got[topics.GOAL][0]
    assert goal.header.frame_id == 'base_link'
    stamp = goal.header.stamp
    assert f'{stamp.sec}.{stamp.nanosec:09d}' == page.images['image']
    assert goal.pose.position.x == pytest.approx(3.0, abs=0.1)
    assert goal.pose.position.y == pytest.approx(0.5, abs=0.1)
    states.publish(String(data='active'))
    page.wait(lambda b: b.state['goal'] == 'active')

    def far(b):
        return b.state['ways'] and len(b.state['ways'][1]) > 2

    page.wait(far, lambda: page.drive(1.0), 'the way is drawn')
    assert page.state['ways'][1][-1][0] == pytest.approx(0.5, abs=0.05)  # straight ahead
    page.drive(0.0)
    page.say('cancel')
    ground.wait(lambda: ground.got[topics.GOAL_END])

    before = page.images['image']
    ground.show_ground(doubtful=True)
    page.wait(lambda b: whole(b) and b.images['image'] != before)
    page.say('go', x=place[0], y=place[1], stamp=page.images['image'])
    page.wait(lambda b: any('goal_trust' in one.get('text', '') for one in b.said))
    page.say('go', x=place[0], y=place[1], stamp='1.000000000')
    page.wait(lambda b: any('try the next' in one.get('text', '') for one in b.said))
    assert len(ground.got[topics.GOAL]) == 1


@pytest.fixture
def two(ros, tmp_path):
    made = Ground(ros, f'/two{time.monotonic_ns()}', tmp_path / 'kept', cameras='front:2,rear')
    yield made
    made.close()


def test_each_viewer_watches_a_camera_and_the_drivers_comes_first(two):
    front, rear = two.feeds
    driver, other = two.browse(), two.browse()
    driver.wait(lambda b: any(one.get('cameras') == [['front', 'rear']] for one in b.said))
    driver.wait(lambda b: b.state.get('locked') == '', two.show)
    driver.take_the_wheel()
    two.wait(lambda: [one.data for one in two.got[topics.FIRST]] == ['front'])
    other.say('camera', camera=1)
    other.say('view', overlays=['objects'], original=True)
    two.wait(rear.originals.get_subscription_count, 'its original images are looked at')
    assert not front.originals.get_subscription_count()

    def show_rear():
        rear.show()
        rear.captions.publish(String(data='a wall behind'))

    other.wait(lambda b: b.state.get('caption') == 'a wall behind', show_rear)
    other.wait(lambda b: 'original' in b.images and 1 in b.cameras, show_rear)
    other.wait(lambda b: any(one['t'] == 'objects' for one in b.said), show_rear)
    assert all(one['camera'] == 1 for one in other.said if one['t'] == 'objects')
    driver.wait(lambda b: b.state['viewers'] == 2 and 'image' in b.images)
    assert driver.cameras == {0} and driver.state['caption'] == ''
    assert len(two.got[topics.FIRST]) == 1, 'who watches chooses for nobody else'
    driver.say('camera', camera=1)
    two.wait(lambda: [one.data for one in two.got[topics.FIRST]] == ['front', 'rear'])
    two.firsts.publish(String(data='rear'))
    driver.wait(lambda b: b.state['first'] == 'rear' and b.state['camera'] == 1)
    driver.say('key')
    two.wait(lambda: two.got['rear/decoded/key_missed'], 'the camera is asked')
    assert not two.got['front/decoded/key_missed']


def test_a_still_is_of_the_camera_that_is_watched(two):
    rear = two.feeds[1]
    page, other = two.browse(), two.browse()
    page.say('camera', camera=1)
    page.wait(lambda b: b.state.get('camera') == 1)
    page.say('still')
    two.wait(lambda: two.got['rear/teleop/still'], 'the rear is asked')
    assert not two.got['front/teleop/still']
    rear.show_still(0.25)
    page.wait(lambda b: b.state['still'] == {'text': '2 of 8 parts', 'share': 0.25})
    rear.show_still()
    page.wait(lambda b: 'still' in b.images and b.state['still']['text'] == 'complete')
    other.wait(lambda b: b.state.get('viewers') == 2)
    assert other.state['still'] == {'text': '', 'share': 0.0} and 'still' not in other.images
    other.say('camera', camera=1)
    other.wait(lambda b: 'still' in b.images, why='who watches it then gets it, too')


def test_a_camera_that_is_stale_stops_the_driver_who_watches_it_alone(two):
    front, rear = two.feeds
    driver, other = two.browse(), two.browse()
    driver.wait(lambda b: b.state.get('locked') == '', two.show)
    driver.take_the_wheel()
    other.say('camera', camera=1)
    other.wait(
        lambda b: b.state.get('camera') == 1 and b.state['age']['stale'], lambda: rear.show(40.0)
    )
    driver.wait(lambda b: (two.speed() or 0) > 0.1, lambda: (front.show(), driver.drive(1.0)))
    driver.say('camera', camera=1)
    two.wait(lambda: two.speed() == 0.0, 'the camera that is watched now is stale')
    driver.wait(lambda b: b.state['camera'] == 1 and 'limit' in b.state['locked'])


def test_a_goal_is_of_the_camera_that_is_watched_with_its_mount(two):
    rear = two.feeds[1]
    page = two.browse()
    page.say('camera', camera=1)
    page.take_the_wheel()
    mount = TransformStamped(child_frame_id=rear.frame)
    mount.header.frame_id = 'base_link'
    mount.transform.translation.x, mount.transform.translation.z = -0.5, 1.2
    # Optical axes (REP 103) of a camera that looks back.
    turn = mount.transform.rotation
    turn.x, turn.y, turn.z, turn.w = 0.5, 0.5, -0.5, -0.5
    rear.mounts.publish(mount)
    plane = rear.show_ground()
    page.say('view', overlays=['trust', 'depth', 'classes'], original=False)

    def whole(b):
        stamps = [b.images.get(kind) for kind in ('image', 'trust', 'depth', 'classes')]
        return stamps[0] and len(set(stamps)) == 1 and b.state.get('locked') == ''

    page.wait(whole)
    two.wait(lambda: two.node.robots[0].cameras[1].path._mount is not None, 'the mount has come')
    (place,) = drawn([(3.0, 0.5)], Footing.of(plane), K, (240, 180))
    page.say('go', x=place[0], y=place[1], stamp=page.images['image'])
    two.wait(lambda: two.got[topics.GOAL], 'the goal goes out')
    at = two.got[topics.GOAL][0].pose.position
    assert (at.x, at.y) == pytest.approx((-3.5, -0.5), abs=0.15)


@pytest.fixture
def fleet(ros, tmp_path):
    made = Ground(ros, f'/fleet{time.monotonic_ns()}', tmp_path / 'kept', robots='one,other')
    yield made
    made.close()


def show(*robots):
    for robot in robots:
        robot.feeds[0].show()


def test_one_robot_is_driven_at_a_time_and_another_choice_lets_go_of_it(fleet):
    one, other = fleet.robots
    driver, second = fleet.browse(), fleet.browse()
    driver.wait(lambda b: any(word.get('robots') == ['one', 'other'] for word in b.said))
    driver.wait(lambda b: b.state.get('locked') == '', lambda: show(one, other))
    driver.take_the_wheel()
    second.say('robot', robot=1)
    second.wait(lambda b: b.state.get('robot') == 1)
    second.say('take')
    second.wait(lambda b: b.state['driver'] == 2, why='each robot has a wheel of its own')
    driver.wait(lambda b: (one.speed() or 0) > 0.1, lambda: (show(one), driver.drive(1.0)))
    assert not any(told.linear.x for told in other.got(topics.TELEOP))
    assert driver.robots == {0}
    driver.say('robot', robot=1)
    fleet.wait(lambda: one.speed() == 0.0, 'the robot that is shown no more stops')
    driver.wait(lambda b: any(word['t'] == 'history' and word['robot'] == 1 for word in b.said))
    driver.wait(lambda b: 1 in b.robots and b.state['robot'] == 1, lambda: show(other))
    driver.wait(lambda b: b.state['robots'][0]['driver'] is None, why='its wheel is free')
    for _ in range(3):
        driver.drive(1.0)
    driver.wait(lambda b: any('take the wheel' in word.get('why', '') for word in b.said))
    second.wait(lambda b: (other.speed() or 0) > 0.1, lambda: (show(other), second.drive(1.0)))
    assert one.speed() == 0.0
    second.say('robot', robot=0)
    fleet.wait(lambda: other.speed() == 0.0)


def test_a_stop_is_for_one_robot_and_another_for_all(fleet):
    one, other = fleet.robots
    page = fleet.browse()
    page.say('stop', robot='other')
    page.wait(lambda b: {'t': 'stopped', 'robot': 'other'} in b.said)
    fleet.wait(lambda: other.got(topics.STOP), 'the STOP goes to the one')
    other.link(stop=LinkStatus.STOP_HELD)
    page.wait(lambda b: [r['stop'] for r in b.state.get('robots', [])] == ['NONE', 'HELD'])
    assert not one.got(topics.STOP), 'and to no other'
    page.wait(lambda b: b.state.get('locked') == '', lambda: show(one))
    page.take_the_wheel()
    page.wait(lambda b: (one.speed() or 0) > 0.1, lambda: (show(one), page.drive(1.0)))
    count = len(other.got(topics.STOP))
    page.say('stop', robot='another')  # of the console as it was: none has the name now
    page.wait(lambda b: {'t': 'stopped', 'robot': 'another'} in b.said)
    fleet.wait(lambda: one.got(topics.STOP) and len(other.got(topics.STOP)) > count)
    fleet.wait(lambda: one.speed() == 0.0)

    def given():
        return [len(robot.got(topics.STOP)) for robot in fleet.robots]

    counts = given()
    page.say('stop')
    page.wait(lambda b: {'t': 'stopped', 'robot': ''} in b.said)
    fleet.wait(lambda: all(b > a for a, b in zip(counts, given(), strict=True)))
    assert all(stop.data for robot in fleet.robots for stop in robot.got(topics.STOP))


@pytest.mark.parametrize('hangs', [False, True])
def test_a_stop_for_all_reaches_a_robot_although_another_cannot_be_published_to(fleet, hangs):
    one, other = fleet.robots
    page, goes_on = fleet.browse(), threading.Event()

    def give_stop():
        if hangs:
            goes_on.wait(2 * PATIENCE_S)
        raise RuntimeError('on purpose')

    fleet.node.robots[0].outputs.give_stop = give_stop
    try:
        page.say('stop')
        fleet.wait(lambda: other.got(topics.STOP), 'the other has it')
        assert fleet.node.robots[0].desk.button.pressed
    finally:
        goes_on.set()
        del fleet.node.robots[0].outputs.give_stop
    fleet.wait(lambda: one.got(topics.STOP), 'it is repeated')


def test_a_stop_for_all_comes_last_to_a_robot_whose_lock_is_held(fleet):
    robots, order = fleet.node.robots, []

    def noting(robot, press):
        return lambda now: (order.append(robot.name), press(now))

    page = fleet.browse()
    for robot in robots:
        robot.desk.press_stop = noting(robot, robot.desk.press_stop)
    with robots[0]._lock:
        page.say('stop')
        page.wait(lambda b: {'t': 'stopped', 'robot': ''} in b.said)
    assert order == ['other', 'one']


def test_a_stop_that_hangs_holds_up_no_other_one(fleet):
    _, other = fleet.robots
    goes_on = threading.Event()
    fleet.node.robots[0].outputs.give_stop = lambda: goes_on.wait(2 * PATIENCE_S)
    try:
        page = fleet.browse()
        page.say('stop', robot='one')
        page.wait(lambda b: {'t': 'stopped', 'robot': 'one'} in b.said)
        second = fleet.browse()
        second.say('stop', robot='other')
        fleet.wait(lambda: other.got(topics.STOP), 'the web server goes on')
        assert not goes_on.is_set()
    finally:
        goes_on.set()
        del fleet.node.robots[0].outputs.give_stop


def test_a_request_that_hangs_holds_up_neither_page_nor_stop_and_the_next_follow_in_order(fleet):
    one, _ = fleet.robots
    camera, goes_on, begun = fleet.node.robots[0].cameras[0], threading.Event(), threading.Event()

    def hang():
        begun.set()
        goes_on.wait(2 * PATIENCE_S)

    camera.key_frame = hang
    page = fleet.browse()
    try:
        page.say('key')
        fleet.wait(begun.is_set, 'the request hangs')
        asked = list(range(40, 40 + outputs._MOST_WAITING + 1))
        for budget in asked:
            page.say('budget', bytes=budget)
        page.wait(lambda b: any('requests wait' in word.get('text', '') for word in b.said))
        page.say('cancel')
        page.say('stop', robot='one')
        page.say('beat', s=7.0)
        page.wait(lambda b: {'t': 'beat', 's': 7.0} in b.said, why='the page lives')
        fleet.wait(lambda: one.got(topics.STOP) and one.got(topics.GOAL_END))
        assert not one.got(topics.BUDGET) and not goes_on.is_set()
    finally:
        goes_on.set()
    fleet.wait(lambda: one.got(topics.BUDGET) and one.got(topics.BUDGET)[-1].data == asked[-2])
    came = [message.data for message in one.got(topics.BUDGET)]
    assert came == sorted(came)


def test_a_request_that_cannot_be_published_is_told_and_costs_nobody_the_page(fleet):
    def fail():
        raise RuntimeError('on purpose')

    fleet.node.robots[0].cameras[0].key_frame = fail
    page = fleet.browse()
    page.say('key')
    page.wait(lambda b: any('not published: on purpose' in w.get('text', '') for w in b.said))
    page.say('budget', bytes=200)
    fleet.wait(lambda: fleet.robots[0].got(topics.BUDGET), 'the next is')


def test_words_wait_but_once_for_a_lock_that_hangs(fleet):
    robot = fleet.node.robots[0]
    page = fleet.browse()
    page.say('beat', s=0.0)
    page.wait(lambda b: {'t': 'beat', 's': 0.0} in b.said)
    with robot._lock:
        began = time.monotonic()
        for _ in range(100):
            with robot._hold():
                pass
        assert time.monotonic() - began < 50 * 0.05
    with robot._hold():
        assert not robot._hangs


def test_nothing_is_released_while_the_lock_hangs(fleet):
    one, _ = fleet.robots
    robot, page = fleet.node.robots[0], fleet.browse()
    page.say('beat', s=0.0)
    page.wait(lambda b: {'t': 'beat', 's': 0.0} in b.said)
    with robot._lock:
        robot.outputs.release_stop(*[lambda _now: ''] * 2)
        page.wait(lambda b: any('the STOP is kept' in word.get('text', '') for word in b.said))
    robot.outputs.release_stop(*[lambda _now: ''] * 2)
    fleet.wait(lambda: one.got(topics.STOP))
    assert [message.data for message in one.got(topics.STOP)] == [False]


def stopped(ground):
    """A driver of a robot that holds a STOP."""
    driver = ground.browse()
    driver.take_the_wheel()
    ground.link(stop=LinkStatus.STOP_HELD)
    driver.wait(lambda b: b.state['stop'] == 'HELD')
    return driver


def test_a_release_that_comes_out_after_a_stop_is_followed_by_that_stop(ground):
    robot = ground.node.robots[0]
    publisher, goes_on, begun = robot.outputs._stops, threading.Event(), threading.Event()

    def publish(message):
        if not message.data:
            begun.set()
            goes_on.wait(2 * PATIENCE_S)
        publisher.publish(message)

    robot.outputs._stops = SimpleNamespace(publish=publish)
    try:
        driver = stopped(ground)
        driver.release()
        ground.wait(begun.is_set, 'the release hangs')
        driver.say('stop')
        ground.wait(lambda: ground.got[topics.STOP], 'the STOP comes out before')
        # It is not repeated: the link states one that is held.
        ground.wait(lambda: not robot.desk.button.pressed)
    finally:
        goes_on.set()
        robot.outputs._stops = publisher

    def undone():
        came = [one.data for one in ground.got[topics.STOP]]
        return came[0] and False in came and came[-1]

    ground.wait(undone, 'a STOP comes after the release')
    driver.wait(lambda b: any('it was pressed again' in w.get('text', '') for w in b.said))


def test_a_stop_of_another_client_between_the_two_presses_keeps_the_stop(ground):
    desk, other = ground.node.robots[0].desk, ground.peer
    stops = other.create_publisher(Bool, topics.STOP, topics.NEWEST)
    ground.wait(lambda: stops.get_subscription_count() == 2, 'peer and console listen')

    def stop():
        before = desk.button.given
        stops.publish(Bool(data=True))
        ground.wait(lambda: desk.button.given > before, 'the console has heard it')

    driver = stopped(ground)
    driver.release(between=stop)
    driver.wait(lambda b: any('the STOP is kept' in w.get('text', '') for w in b.said))
    assert all(one.data for one in ground.got[topics.STOP])
    driver.release()
    ground.wait(lambda: not ground.got[topics.STOP][-1].data, 'two more presses release it')
    # One that is given at the same time counts, whichever the link takes first.
    count = len(ground.got[topics.STOP])
    stops.publish(Bool(data=True))
    ground.wait(lambda: len(ground.got[topics.STOP]) >= count + 2, 'the console gives it, too')


def test_a_stop_of_another_client_is_heard_though_a_release_follows_it_at_once(ground):
    robot, goes_on = ground.node.robots[0], threading.Event()
    stops = ground.peer.create_publisher(Bool, topics.STOP, topics.NEWEST)
    ground.wait(lambda: stops.get_subscription_count() == 2, 'peer and console listen')
    ground.executor.create_task(goes_on.wait, PATIENCE_S)  # what comes waits
    try:
        before = robot.desk.button.given
        stops.publish(Bool(data=True))
        robot.outputs._stops.publish(Bool(data=False))
        time.sleep(0.5)  # until both are there
    finally:
        goes_on.set()
    ground.wait(lambda: robot.desk.button.given > before, 'the console has heard it')


def test_the_end_of_a_goal_is_for_the_robot_that_the_page_names(fleet):
    one, other = fleet.robots
    page = fleet.browse()
    page.say('cancel', robot='other')  # the console does not know of a choice, or no more
    fleet.wait(lambda: other.got(topics.GOAL_END))
    page.say('robot', robot=1)
    page.say('cancel')
    fleet.wait(lambda: len(other.got(topics.GOAL_END)) == 2)
    page.say('cancel', robot='one')
    fleet.wait(lambda: one.got(topics.GOAL_END))
    assert len(one.got(topics.GOAL_END)) == 1 and len(other.got(topics.GOAL_END)) == 2
    page.say('cancel', robot='another')  # none has the name: of all
    fleet.wait(lambda: [len(r.got(topics.GOAL_END)) for r in fleet.robots] == [2, 3])


def test_the_end_of_the_node_stops_a_robot_although_another_cannot_be_published_to(fleet):
    _, other = fleet.robots
    first, second, goes_on = fleet.browse(), fleet.browse(), threading.Event()
    first.take_the_wheel()
    second.say('robot', robot=1)
    second.wait(lambda b: b.state.get('robot') == 1)
    second.take_the_wheel()
    second.wait(lambda b: (other.speed() or 0) > 0.1, lambda: (show(other), second.drive(1.0)))

    fleet.node.robots[0].outputs.velocity = lambda _velocity: goes_on.wait(2 * PATIENCE_S)
    ending, drive = threading.Thread(target=fleet.node.halt), fleet.node.robots[1].desk.drive
    silences = drive.timeouts

    def hold():
        show(other)
        second.say('drive', a=1.0, l=0.0, s=time.monotonic() - second.began)

    try:
        ending.start()
        second.wait(lambda _: drive.must_release, hold, 'the driver has to let go')
        fleet.wait(lambda: other.speed() == 0.0)
        assert ending.is_alive() and drive.timeouts == silences
    finally:
        goes_on.set()
        del fleet.node.robots[0].outputs.velocity
        ending.join()


def test_how_each_robot_is_is_stated_whichever_is_shown(fleet):
    _, other = fleet.robots
    states = fleet.peer.create_publisher(String, f'other/{topics.GOAL_STATE}', topics.LATCHED)
    states.publish(String(data='active'))
    page = fleet.browse()

    def other_is(**wanted):
        def check(b):
            robots = b.state.get('robots', [{}, {}])
            return all(robots[1].get(name) == value for name, value in wanted.items())

        return check

    page.wait(other_is(name='other', reason='no image has come yet', goal='active', open=True))
    page.wait(lambda b: b.state['robots'][1]['reason'] == '', lambda: show(other))
    assert page.state['robot'] == 0 and page.state['robots'][1]['age_s'] < 30
    assert not page.robots, 'its images are not sent to who shows another'
    page.wait(
        lambda b: 'the limit' in b.state['robots'][1]['reason'],
        lambda: other.feeds[0].show(40.0),
    )
    other.link(open=False, peer_silence_s=12.0, stop=LinkStatus.STOP_SENT)
    page.wait(other_is(open=False, heard_s=12.0, stop='SENT'))
    page.wait(lambda b: b.state['robots'][1]['link_s'] > 1.0, why='the link is silent')
    assert page.state['link']['open'] and page.state['stop'] == 'NONE', 'those of the one'


def test_each_robot_has_cameras_of_its_own(ros, tmp_path):
    robots = {'robots': 'one,other,third', 'cameras': 'front,rear;arm:2,mast,side;'}
    fleet = Ground(ros, f'/own{time.monotonic_ns()}', tmp_path / 'kept', **robots)
    try:
        one, other, third = fleet.robots
        page = fleet.browse()
        names = [['front', 'rear'], ['arm', 'mast', 'side'], []]
        page.wait(lambda b: any(word.get('cameras') == names for word in b.said))
        page.say('robot', robot=1)
        page.say('camera', camera=2)
        page.wait(lambda b: {1} == b.robots and {2} == b.cameras, other.feeds[2].show)
        page.wait(lambda b: b.state.get('locked') == '', other.feeds[2].show)
        page.take_the_wheel()
        fleet.wait(lambda: [one.data for one in other.got(topics.FIRST)] == ['side'])
        page.say('robot', robot=2)
        page.say('key')
        fleet.wait(lambda: third.got(topics.KEY_MISSED), 'the only one has no name')
        assert not one.got(topics.FIRST)
    finally:
        fleet.close()


def test_charts_of_each_robot_go_on_whoever_looks(fleet):
    histories = [robot.history for robot in fleet.node.robots]
    fleet.wait(lambda: all(len(history.rows()) > 1 for history in histories), 'nobody looks')
    page = fleet.browse()
    page.say('robot', robot=1)
    page.wait(lambda b: any(len(word.get('rows', [])) > 1 for word in b.said))


def test_robots_that_cannot_be_are_refused(ros, capfd):
    overrides = {'autostart': False, 'port': 0, 'robots': 'one,one'}
    node = Console(
        context=ros,
        namespace='/twice',
        parameter_overrides=[Parameter(k, value=v) for k, v in overrides.items()],
    )
    assert node.trigger_configure() != TransitionCallbackReturn.SUCCESS
    node.destroy_node()
    assert 'comes twice' in capfd.readouterr().err


@pytest.mark.parametrize(
    ('settings', 'why'),
    [
        ({'host': '0.0.0.0'}, 'password_file'),
        ({'tls_certificate': '/none.pem'}, 'belong together'),
        ({'password_file': '/none'}, '/none'),
    ],
)
def test_a_console_that_would_be_open_does_not_begin(ros, settings, why, capfd):
    overrides = {'autostart': False, 'port': 0, **settings}
    node = Console(
        context=ros,
        namespace='/closed',
        parameter_overrides=[Parameter(k, value=v) for k, v in overrides.items()],
    )
    assert node.trigger_configure() != TransitionCallbackReturn.SUCCESS
    node.destroy_node()
    assert why in capfd.readouterr().err


def test_commands_are_stamped_where_that_is_asked_for(ros, tmp_path):
    bench = Bench(ros, f'/stamped{time.monotonic_ns()}')
    try:
        bench.subscribe(TwistStamped, topics.TELEOP)
        node = bench.add(Console, port=0, output=str(tmp_path), stamped=True)
        bench.wait(lambda: node.count_subscribers(f'{bench.namespace}/{topics.TELEOP}'))
        node.robots[0].outputs.velocity((0.5, 0.0))
        bench.wait(lambda: bench.got[topics.TELEOP])
        message = bench.got[topics.TELEOP][0]
        assert message.twist.linear.x == 0.5 and message.header.stamp.sec
    finally:
        bench.close()
