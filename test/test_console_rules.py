"""What the console decides, without web and ROS: age, wheel, STOP, access, words, files."""

import contextlib
import json
import math
import os

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.console import overlays, panel, words
from gsc_ros.console.access import Access, AccessError, is_loopback, read_password
from gsc_ros.console.desk import Desk
from gsc_ros.console.drive import ZERO, Drive, Limits, ramp
from gsc_ros.console.files import Files
from gsc_ros.console.freshness import Freshness, Link
from gsc_ros.console.stops import State, StopButton
from gsc_ros.region import WHOLE

LIMITS = Limits(linear=1.0, angular=0.5, linear_ramp=2.0, angular_ramp=10.0, rate=10.0)
MOON = Link(delay_s=1.3, rate_bps=8000.0, queue_s=0.1, processing_s=0.2)


# Age


def shown(stale_after_s=0.0):
    fresh = Freshness(stale_after_s)
    fresh.on_frame(300)
    for i in range(4):
        fresh.on_image(100.0 + 0.5 * i, 50.0 + 0.5 * i)
    return fresh  # the last image is of 101.5, and came at 51.5


def test_the_age_counts_from_the_robots_stamp_and_names_its_parts():
    age = shown().age(103.5, 51.5, MOON)
    assert age.age_s == pytest.approx(2.0)
    assert age.light_s == 1.3 and age.queue_s == 0.1 and age.rest_s == pytest.approx(0.6)
    assert not age.stale


def test_an_image_is_stale_half_as_much_again_as_the_link_explains():
    limit = shown().limit_s(MOON)
    assert limit == pytest.approx(1.5 * (1.3 + 2 * 0.5 + 0.2))
    assert not shown().age(101.5 + limit - 0.01, 51.6, MOON).stale
    assert 'limit' in shown().age(101.5 + limit + 0.01, 51.6, MOON).reason
    assert shown(2.0).age(103.6, 51.6, MOON).stale


def test_without_an_image_the_age_is_not_known_and_nobody_may_drive():
    age = Freshness().age(100.0, 0.0, MOON)
    assert math.isnan(age.age_s) and age.stale


def test_a_clock_of_the_robot_that_is_ahead_or_is_set_back_makes_no_image_young():
    fresh = shown(3.0)
    ahead = fresh.age(101.5 - 1.0, 51.5 + 2.0, MOON)  # by the stamp, of the future
    assert ahead.age_s == pytest.approx(2.0 + 1.3) and ahead.stale
    assert 'set the clocks' in ahead.reason
    assert fresh.age(101.7, 51.5 + 9.0, MOON).age_s == pytest.approx(9.0 + 1.3)


def test_an_outage_does_not_become_the_usual_time_between_images():
    fresh = shown()
    fresh.on_image(500.0, 450.0)
    assert fresh.frame_s(MOON) == pytest.approx(0.5)


def test_a_scene_that_is_frozen_at_the_robot_is_as_old_as_its_last_change():
    fresh = Freshness()
    fresh.on_image(100.0, 50.0, unchanged_s=7.0)
    assert fresh.age(101.0, 50.0, Link()).age_s == pytest.approx(8.0)


# The wheel


def driving(now=0.0):
    drive = Drive(LIMITS)
    assert drive.take(1, now) == ''
    return drive


def test_speeds_are_ramped_up_and_fall_at_once():
    drive = driving()
    assert drive.take_input(1, 1.0, 0.0, 0.0, 0.0) == ''
    speeds = []
    for i in range(12):
        now = 0.1 * i
        drive.take_input(1, 1.0, 0.0, now, now)
        drive.step(now, '')
        speeds.append(drive.commanded[0])
    assert speeds == sorted(speeds) and speeds[-1] == 1.0
    assert 0 < speeds[0] <= 2.0 * 0.1 and speeds[3] <= 0.1 + 2.0 * 0.3 + 1e-9
    drive.take_input(1, 0.0, 0.0, 1.2, 1.2)
    assert drive.step(1.2, '') == ZERO  # at once


def test_a_ramp_turns_round_through_rest():
    assert ramp(1.0, -1.0, 0.25) == -0.25
    assert ramp(-0.5, -1.0, 0.25) == -0.75
    assert ramp(-0.5, -0.25, 0.01) == -0.25 and ramp(0.5, 0.0, 0.0) == 0.0


def test_limits_hold_whatever_is_asked():
    drive = driving()
    for i in range(50):
        drive.take_input(1, 1.0, -1.0, 0.1 * i, 0.1 * i)
        drive.step(0.1 * i, '')
        assert abs(drive.commanded[0]) <= 1.0 and abs(drive.commanded[1]) <= 0.5
    assert drive.commanded == (1.0, -0.5)


def test_a_browser_that_falls_silent_is_a_zero_and_has_to_let_go():
    drive = driving()
    drive.take_input(1, 1.0, 0.0, 0.0, 0.0)
    assert drive.step(0.0, '')[0] > 0
    assert drive.next_deadline() <= LIMITS.heartbeat_s
    assert drive.step(LIMITS.heartbeat_s, '') == ZERO
    assert drive.timeouts == 1
    assert drive.take_input(1, 1.0, 0.0, 0.6, 0.6) == 'let go first'
    assert drive.step(0.7, '') in (None, ZERO)
    drive.take_input(1, 0.0, 0.0, 0.8, 0.8)
    assert drive.take_input(1, 1.0, 0.0, 0.9, 0.9) == ''
    assert drive.step(1.0, '')[0] > 0


def test_a_stale_image_stops_at_once():
    drive = driving()
    drive.take_input(1, 1.0, 0.0, 0.0, 0.0)
    assert drive.step(0.0, '')[0] > 0
    assert drive.step(0.02, 'stale') == ZERO and drive.must_release


def test_a_driver_who_leaves_stops_the_robot_and_zeros_are_repeated_then_end():
    drive = driving()
    drive.take_input(1, 1.0, 0.0, 0.0, 0.0)
    drive.step(0.0, '')
    drive.leave(1)
    assert drive.driver is None
    told = [drive.step(0.01 + 0.1 * i, '') for i in range(10)]
    assert told[0] == ZERO and told.count(ZERO) == 5 and told[-1] is None
    assert drive.next_deadline() is None


def test_one_drives_and_the_others_watch():
    drive = driving()
    assert 'viewer 1 drives' in drive.take(2, 1.0)
    assert drive.take_input(2, 1.0, 0.0, 1.0, 1.0) == 'take the wheel first'
    drive.leave(2)  # who has no wheel cannot give it back
    assert drive.driver == 1
    assert drive.take(2, LIMITS.idle_s + 0.1) == '' and drive.driver == 2


def test_who_drives_keeps_the_wheel():
    drive = driving()
    drive.take_input(1, 1.0, 0.0, 100.0, 100.0)
    assert drive.take(2, 100.1)


def test_inputs_that_were_held_up_on_their_way_move_nothing():
    drive = driving()
    drive.take_input(1, 0.0, 0.0, 10.0, 1000.0)
    drive.take_input(1, 1.0, 0.0, 10.1, 1000.1)
    assert drive.step(1000.1, '')[0] > 0
    assert 'too slow' in drive.take_input(1, 1.0, 0.0, 10.2, 1003.0)
    assert drive.step(1003.0, '') == ZERO and drive.late == 1
    assert drive.take_input(1, 0.0, 0.0, 13.0, 1003.1) == ''
    assert drive.take_input(1, 1.0, 0.0, 13.1, 1003.2) == ''


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(['take', 'leave', 'input', 'zero', 'lock', 'wait', 'halt']),
            st.integers(1, 3),
            st.floats(0.0, 0.4),
        ),
        max_size=60,
    )
)
def test_whatever_happens_the_robot_is_told_to_stop_in_time(events):
    """Nothing but zero is commanded later than a heartbeat after the last input of the driver."""
    drive, now, last = Drive(LIMITS), 0.0, -math.inf
    for name, viewer, wait in events:
        locked = 'locked' if name == 'lock' else ''
        if name == 'take':
            drive.take(viewer, now)
        elif name == 'leave':
            drive.leave(viewer)
        elif name == 'halt':
            drive.halt()
        elif name in ('input', 'zero'):
            share = float(name == 'input')
            if not drive.take_input(viewer, share, share, now, now) and share:
                last = now
        until = now + wait
        while now < until:  # as the watch does
            told = drive.step(now, locked)
            if told is not None and told != ZERO:
                assert not locked and now < last + LIMITS.heartbeat_s and drive.driver is not None
            due = drive.next_deadline()
            now = until if due is None else min(until, max(due, now + 1e-3))
    drive.step(now + LIMITS.heartbeat_s, '')
    assert drive.commanded == ZERO or drive.next_deadline() is not None


# The STOP


def test_a_stop_is_repeated_until_the_link_has_it():
    button = StopButton()
    button.stop(0.0)
    assert button.in_force(State.NONE)
    assert not button.step(State.NONE, 0.1) and button.step(State.NONE, 0.3)
    assert not button.step(State.SENT, 1.0) and button.next_deadline() is None
    assert button.in_force(State.HELD) and not button.in_force(State.NONE)


def test_a_release_needs_two_steps_by_one_viewer_in_time():
    button, none = StopButton(), State.NONE
    button.stop(0.0)
    token = button.ask_release(1, none, 1.0)
    assert button.release(token, 1, none, 1.1)  # a double click
    token = button.ask_release(1, none, 2.0)
    assert button.release(token, 2, none, 3.0)  # another viewer
    token = button.ask_release(1, none, 4.0)
    assert button.release('x' + token, 1, none, 5.0)
    button.ask_release(1, none, 5.0)
    assert button.release('\u00e9\ud800', 1, none, 5.5)
    token = button.ask_release(1, none, 6.0)
    assert button.release(token, 1, none, 17.0)  # too late
    token = button.ask_release(1, none, 18.0)
    assert button.pressed and button.release(token, 1, none, 19.0) == ''
    assert button.release(token, 1, none, 19.5)  # once


@pytest.mark.parametrize('name', ['stop', 'hear'])
def test_a_stop_in_between_ends_a_release(name):
    button = StopButton()
    button.stop(0.0)
    button.step(State.HELD, 0.5)
    token = button.ask_release(1, State.HELD, 1.0)
    getattr(button, name)(1.2)
    assert button.release(token, 1, State.HELD, 2.0)


def test_what_is_heard_of_an_own_stop_ends_no_release():
    button = StopButton()
    button.stop(0.0)
    token = button.ask_release(1, State.NONE, 1.0)
    assert not button.hear(1.5)  # it is given again until the link has it
    assert button.release(token, 1, State.NONE, 2.0) == ''


@pytest.mark.parametrize(
    ('before', 'after', 'released'),
    [
        (State.HELD, State.HELD, True),
        (State.SENT, State.HELD, True),  # the robot has it now
        (State.HELD, State.NONE, True),  # there is none any more
        (State.HELD, State.SENT, False),  # one that the robot does not hold
        (State.NONE, State.SENT, False),
        (State.NONE, State.HELD, False),
    ],
)
def test_a_release_is_for_the_stop_that_was_shown(before, after, released):
    button = StopButton()
    token = button.ask_release(1, before, 0.0)
    assert (button.release(token, 1, after, 1.0) == '') == released


def test_a_stop_that_is_given_at_once_with_a_release_counts():
    button = StopButton()
    button.clear(10.0)
    assert button.hear(14.0) and button.pressed  # it may have waited here
    assert not button.hear(14.1)  # that one is heard, too
    button.step(State.HELD, 14.2)  # the link does not state the release yet
    assert not button.pressed and not button.hear(14.3)  # it is not given for ever
    button.clear(20.0)
    assert not button.hear(25.5) and not button.pressed


# The desk


class Log:
    """Outputs that keep what is done."""

    def __init__(self):
        self.done = []

    def __getattr__(self, name):
        return lambda *values: self.done.append((name, *values)) or ''


@pytest.fixture
def desk():
    log, stale = Log(), ['', '']
    made = Desk(LIMITS, lambda camera: stale[camera], log)
    made.log, made.stale = log.done, stale
    return made


def names(desk):
    return [name for name, *_ in desk.log]


def stop(desk, now):
    desk.press_stop(now)
    desk.give_stop()


def test_the_stop_is_given_by_anybody_and_released_by_the_driver_in_two_steps(desk):
    desk.hear(1, words.Plain('take'), 0.0)
    desk.hear(1, words.DriveInput(1.0, 0.0, 0.0), 0.0)
    desk.step(0.0)
    stop(desk, 0.1)
    assert desk.log[-1] == ('give_stop',)
    desk.step(0.1)
    assert desk.log[-1] == ('velocity', ZERO)
    desk.state = State.HELD
    assert 'STOP' in desk.hear(1, words.DriveInput(1.0, 0.0, 0.2), 0.2)[0]
    assert 'wheel' in desk.hear(2, words.Plain('release'), 0.3)[0]
    answer = json.loads(desk.hear(1, words.Plain('release'), 0.4)[0])
    assert 'release_stop' not in names(desk)
    desk.hear(1, words.Confirm(answer['token']), 1.0)
    name, begin, end = desk.log[-1]
    assert name == 'release_stop' and begin(1.1) == end(1.2) == ''
    desk.step(2.0)
    desk.step(3.0)
    assert names(desk).count('release_stop') == 1


@pytest.mark.parametrize(
    ('meanwhile', 'at', 'why'),
    [
        (lambda desk: stop(desk, 1.2), 1.3, 'pressed again'),
        (lambda desk: desk.gone(1), 1.3, 'held up'),
        (lambda desk: None, 3.1, 'held up'),
    ],
)
@pytest.mark.parametrize('is_out', [False, True], ids=['before', 'hangs'])
def test_a_release_that_was_held_up_keeps_the_stop(desk, meanwhile, at, why, is_out):
    desk.hear(1, words.Plain('take'), 0.0)
    stop(desk, 0.0)
    token = json.loads(desk.hear(1, words.Plain('release'), 0.1)[0])['token']
    desk.hear(1, words.Confirm(token), 1.0)
    _, begin, end = desk.log[-1]
    if is_out:
        assert begin(1.1) == '' and not desk.button.pressed
    meanwhile(desk)
    assert why in (end if is_out else begin)(at)
    assert desk.button.pressed and desk.button.in_force(State.NONE)


def test_who_lets_go_without_the_wheel_is_not_told_to_take_it(desk):
    assert desk.hear(1, words.DriveInput(0.0, 0.0, 0.0), 0.0) == []
    assert 'take the wheel' in desk.hear(1, words.DriveInput(1.0, 0.0, 0.1), 0.1)[0]


def test_trouble_with_a_stop_keeps_no_zero_back_and_the_other_way_round(desk):
    class Broken(Log):
        def give_stop(self):
            self.done.append(('give_stop',))
            raise RuntimeError('on purpose')

        def velocity(self, velocity):
            self.done.append(('velocity', velocity))
            raise RuntimeError('on purpose')

    broken = Broken()
    desk = Desk(LIMITS, lambda camera: '', broken)
    desk.hear(1, words.Plain('take'), 0.0)
    desk.hear(1, words.DriveInput(1.0, 0.0, 0.0), 0.0)
    with pytest.raises(RuntimeError):
        desk.step(0.0)
    with pytest.raises(RuntimeError):
        stop(desk, 0.1)
    broken.done.clear()
    with pytest.raises(RuntimeError):
        desk.step(1.0)
    assert broken.done == [('velocity', ZERO), ('give_stop',)]


def test_a_goal_is_asked_about_again_when_its_place_is_found(desk):
    desk.hear(1, words.Plain('take'), 0.0)
    assert desk.hear(1, words.Go(0.5, 0.9, '1.0'), 0.0) == []
    (*_, refusal) = desk.log[-1]
    assert refusal() == ''
    stop(desk, 0.1)
    assert 'STOP' in refusal()
    assert 'wheel' in desk.hear(2, words.Go(0.5, 0.9, '1.0'), 0.2)[0]


@pytest.mark.parametrize('name', ['cancel', 'stop'])
def test_a_goal_that_is_ended_before_its_place_is_found_is_not_given(desk, name):
    desk.hear(1, words.Plain('take'), 0.0)
    desk.hear(1, words.Go(0.5, 0.9, '1.0'), 0.0)
    (*_, refusal) = desk.log[-1]
    if name == 'stop':
        stop(desk, 0.1)
    else:
        desk.hear(2, words.Plain(name), 0.1)
    desk.button.pressed = False  # a STOP may be released before the place is found
    assert desk.locked() == '' and 'ended' in refusal()
    desk.hear(1, words.Go(0.5, 0.9, '1.0'), 1.0)
    (*_, refusal) = desk.log[-1]
    assert refusal() == ''


def test_a_stale_image_refuses_inputs_and_says_why(desk):
    desk.hear(1, words.Plain('take'), 0.0)
    desk.stale[0] = 'the image is 9 s old'
    (answer,) = desk.hear(1, words.DriveInput(1.0, 0.0, 0.1), 0.1)
    assert '9 s old' in answer
    desk.stale[0] = ''
    assert 'let go' in desk.hear(1, words.DriveInput(1.0, 0.0, 0.2), 0.2)[0]
    desk.step(0.2)
    assert not [one for one in desk.log if one[0] == 'velocity' and one[1] != ZERO]


def test_driving_is_locked_by_the_camera_that_the_driver_watches(desk):
    desk.stale[1] = 'rear is 9 s old'
    desk.hear(2, words.Watch(1), 0.0)
    assert desk.figures(1)['locked'] == 'rear is 9 s old', 'who would drive by it is told'
    desk.hear(1, words.Plain('take'), 0.0)
    assert desk.figures(1)['locked'] == '', 'another who watches it locks nothing'
    desk.hear(1, words.DriveInput(1.0, 0.0, 0.1), 0.1)
    assert desk.step(0.1) is not None and desk.log[-1][1] > ZERO
    desk.hear(1, words.Watch(1), 0.2)
    desk.step(0.2)
    assert desk.log[-1] == ('velocity', ZERO)
    desk.hear(1, words.Watch(0), 0.3)
    assert 'let go' in desk.hear(1, words.DriveInput(1.0, 0.0, 0.3), 0.3)[0]
    desk.gone(1)
    assert desk.camera(1) == 0


def test_only_the_drivers_choice_of_a_camera_is_sent(desk):
    desk.hear(1, words.Watch(1), 0.0)
    assert not desk.log
    desk.hear(1, words.Plain('take'), 0.1)
    assert desk.log == [('first', 1)]
    desk.hear(2, words.Watch(0), 0.2)
    desk.hear(2, words.Plain('take'), 0.2)
    assert desk.log == [('first', 1)], 'the wheel is taken'
    desk.hear(1, words.Watch(0), 0.3)
    assert desk.log == [('first', 1), ('first', 0)]


def test_requests_and_goals_are_of_the_camera_that_is_watched(desk):
    desk.hear(1, words.Watch(1), 0.0)
    for word in (words.Plain('key'), words.Box(WHOLE), words.Ask(rate=2.0), words.Plain('take'),
                 words.Go(0.5, 0.5, '1.0'), words.Plain('snapshot'),
                 words.Plain('still')):  # fmt: skip
        desk.hear(1, word, 0.0)
    assert [one[:2] for one in desk.log] == [
        ('key_frame', 1), ('region', 1), ('ask', 1), ('first', 1), ('go', 1), ('snapshot', 1),
        ('still', 1),
    ]  # fmt: skip
    desk.hear(2, words.Plain('key'), 0.0)
    assert desk.log[-1] == ('key_frame', 0)


def test_requests_reach_the_robot_and_a_beat_comes_back(desk):
    desk.hear(1, words.Plain('key'), 0.0)
    desk.hear(1, words.Box(WHOLE), 0.0)
    desk.hear(1, words.Record(True), 0.0)
    desk.hear(1, words.Plain('snapshot'), 0.0)
    desk.hear(1, words.Plain('still'), 0.0)
    names = [one[0] for one in desk.log]
    assert names == ['key_frame', 'region', 'record', 'snapshot', 'still']
    assert json.loads(desk.hear(1, words.Beat(4.5), 0.0)[0]) == {'t': 'beat', 's': 4.5}


def test_who_is_gone_drives_no_more(desk):
    desk.hear(1, words.Plain('take'), 0.0)
    desk.hear(1, words.DriveInput(1.0, 0.0, 0.0), 0.0)
    desk.step(0.0)
    desk.gone(1)
    desk.step(0.01)
    assert desk.log[-1] == ('velocity', ZERO) and desk.drive.driver is None


# Words


def test_words_of_the_page_are_read():
    assert words.parse('{"t": "drive", "a": 1, "l": -0.5, "s": 3}') == words.DriveInput(
        1.0, -0.5, 3.0
    )
    view = words.parse('{"t": "view", "overlays": ["trust"], "original": true}')
    assert view == words.View(frozenset({'trust'}), True)
    assert words.parse('{"t": "box", "box": [0, 0, 1, 1]}') == words.Box(WHOLE)
    assert words.parse('{"t": "robot", "robot": 1}', robots=2) == words.Choose(1)


@pytest.mark.parametrize(
    ('body', 'robot'),
    [('', ''), (', "robot": "one"', 'one'), (', "robot": ""', ''), (', "robot": 1', ''),
     (', "robot": true', ''), (', "robot": ["one"]', ''), (', "robot": null', '')],
)  # fmt: skip
def test_a_stop_is_for_one_robot_or_in_doubt_for_all(body, robot):
    word = words.parse(f'{{"t": "stop"{body}}}', robots=2)
    assert word == words.Stop(robot) and words.stops(word)
    end = words.parse(f'{{"t": "cancel"{body}}}', robots=2)
    assert end == words.Plain('cancel', robot) and words.stops(end)


@pytest.mark.parametrize(
    'text',
    [
        '', 'x', '[]', '{}', '{"t": 1}', '{"t": "drive"}',
        '{"t": "drive", "a": 2, "l": 0, "s": 0}', '{"t": "record", "on": 1}',
        '{"t": "drive", "a": NaN, "l": 0, "s": 0}', '{"t": "drive", "a": true, "l": 0, "s": 0}',
        '{"t": "drive", "a": 0, "l": 0, "s": 1e999}', '{"t": "stop", "x": 1}',
        '{"t": "view", "overlays": [["trust"]], "original": false}',
        '{"t": "box", "box": [0, 0, 2, 1]}', '{"t": "box", "box": [0.5, 0, 0.5, 1]}',
        '{"t": "robot", "robot": 1}', '{"t": "robot", "robot": false}',
        '{"t": "confirm", "token": null}', '[' * 2000, '"' + 'x' * 5000 + '"',
        '{"t": "drive", "a": 0, "l": 0, "s": 1' + '0' * 400 + '}',
    ],
)  # fmt: skip
def test_what_is_no_word_is_refused(text):
    with pytest.raises(words.BadWord):
        words.parse(text)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.binary(), st.from_regex(r'\{"t": ?"(drive|box|view)".*\}')))
def test_noise_is_refused_and_nothing_else_is_raised(data):
    with contextlib.suppress(words.BadWord):
        words.parse(data)


def test_numbers_that_json_does_not_have_become_null_or_text():
    text = words.dump('state', a=math.nan, b=math.inf, c={'d': [-math.inf, 1.23456]})
    assert json.loads(text) == {'t': 'state', 'a': None, 'b': 'inf', 'c': {'d': ['-inf', 1.2346]}}
    data = words.pack({'kind': 'image'}, b'file')
    length = int.from_bytes(data[:2], 'big')
    assert json.loads(data[2 : 2 + length]) == {'kind': 'image'} and data[2 + length :] == b'file'


# Access


def opened(password='correct horse'):
    return Access('0.0.0.0', password, session_s=100.0, idle_s=10.0)


@pytest.mark.parametrize('host', ['0.0.0.0', '::', '192.168.1.4', 'robot.example', ''])
def test_elsewhere_than_on_loopback_a_password_is_needed(host):
    with pytest.raises(AccessError, match='password_file'):
        Access(host, None, 1.0, 1.0)


def test_loopback_is_open_to_pages_of_its_own_address_only():
    access = Access('127.0.0.1', None, 1.0, 1.0)
    assert access.valid(None, 0.0) and access.host_allowed('127.0.0.1:8080')
    assert access.host_allowed('localhost') and access.host_allowed('[::1]:80')
    for host in (
        None,
        '',
        'evil.example',
        'evil.example:8080',
        '127.0.0.1.evil.example',
        '[',
        'a]b',
    ):
        assert not access.host_allowed(host), host
    assert access.same_origin('http://127.0.0.1:8080', '127.0.0.1:8080')
    for origin in (
        None,
        '',
        'null',
        'http://evil.example',
        'http://127.0.0.1:81',
        'http://[x',
        'file://',
    ):
        assert not access.same_origin(origin, '127.0.0.1:8080'), origin


def test_is_loopback():
    assert all(map(is_loopback, ('localhost', '127.0.0.1', '127.8.8.8', '::1', '[::1]')))
    assert not any(map(is_loopback, ('0.0.0.0', '::', 'localhost.evil.example', '10.0.0.1', '')))


def test_sessions_need_the_password_and_end():
    access = opened()
    assert access.login('wrong', 0.0) is None and not access.valid(None, 0.0)
    token = access.login('correct horse', 1.0)
    assert access.valid(token, 5.0) and not access.valid(token + 'x', 5.0)
    assert access.valid(token, 14.0)
    assert not access.valid(token, 24.1)  # not used for over 10 s
    token = access.login('correct horse', 30.0)
    for now in range(31, 130, 5):
        assert access.valid(token, float(now))
    assert not access.valid(token, 131.0)  # over, used or not
    token = access.login('correct horse', 200.0)
    assert access.valid(token, 205.0, use=False) and not access.valid(token, 211.0)
    token = access.login('correct horse', 300.0)
    access.logout(token)
    assert not access.valid(token, 300.0)


def test_a_session_that_ended_by_itself_may_stop_for_a_day():
    access = Access('0.0.0.0', 'correct horse', 100.0, 50.0)
    token, other = (access.login('correct horse', 0.0) for _ in range(2))
    access.logout(other)
    assert access.may_stop(token, 10.0) and not access.valid(token, 60.0)
    assert access.may_stop(token, 80000.0) and not access.may_stop(token, 90000.0)
    assert not access.may_stop(other, 10.0) and not access.may_stop(None, 10.0)
    access.logout(token)
    assert not access.may_stop(token, 10.0)


def test_guessing_is_slow_and_keeps_nobody_else_out():
    access = opened()
    for i in range(10):
        access.login(f'guess {i}', float(i), 'a')
    assert access.wait_s(10.0, 'a') == pytest.approx(50.0)
    assert access.login('correct horse', 10.0, 'a') is None
    assert access.wait_s(10.0, 'b') == 0.0
    assert access.login('correct horse', 10.0, 'b') is not None
    assert access.login('correct horse', 60.5, 'a') is not None
    for i in range(10):  # of one host, which takes another address for each
        access.login('guess', 61.0, f'2001:db8:1:2::{i}')
    assert access.wait_s(62.0, '2001:db8:1:2:3:4:5:6') > 0
    assert access.wait_s(62.0, '2001:db8:1:3::1') == access.wait_s(62.0, 'fe80::1%eth0') == 0
    for i in range(5000):
        access.login('guess', 70.0, f'address {i}')
    assert len(access._failed) == 1024


def test_a_password_file_is_its_owners_alone(tmp_path):
    path = tmp_path / 'password'
    path.write_text('long enough\nrest')
    path.chmod(0o600)
    os.chmod(tmp_path, 0o700)
    assert read_password(str(path)) == 'long enough'
    path.chmod(0o644)
    with pytest.raises(ValueError, match='chmod'):
        read_password(str(path))
    path.chmod(0o600)
    path.write_text('short\n')
    with pytest.raises(ValueError, match='8 characters'):
        read_password(str(path))
    with pytest.raises(OSError):
        read_password(str(tmp_path / 'none'))


# Files


def test_files_are_found_by_their_name_in_the_list_alone(tmp_path):
    kept = tmp_path / 'kept'
    (kept / 'run_1').mkdir(parents=True)
    (kept / 'run_1' / 'run_1.mcap').write_bytes(b'bag')
    (kept / 'a.png').write_bytes(b'png')
    secret = tmp_path / 'secret.txt'
    secret.write_text('secret')
    (kept / 'link').symlink_to(secret)
    (kept / 'odd name').write_text('x')
    files = Files(kept)
    assert {one.name for one in files.listed()} == {'run_1_run_1.mcap', 'a.png'}
    assert files.find('run_1_run_1.mcap').path.read_bytes() == b'bag'
    for name in (
        '../secret.txt',
        '..',
        '',
        'link',
        'run_1',
        'run_1/run_1.mcap',
        '/etc/passwd',
        'a.png/..',
    ):
        assert files.find(name) is None, name
    assert Files(tmp_path / 'none').listed() == []


# Overlays


def read(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_trust_is_hatched_where_it_is_not_sent():
    values = np.full((40, 60), 255, np.uint8)
    values[:, 20:40], values[:, 40:] = 128, 0
    drawn = overlays.trust(values)
    assert not drawn[:, :20, 3].any()
    assert 0 < (drawn[:, 20:40, 3] > 0).mean() < 0.3 and (drawn[:, 40:, 3] > 0).all()
    assert read(overlays.png(drawn)).shape == (40, 60, 4)


def test_depth_is_bright_near_and_clear_where_unknown():
    metres = np.full((4, 3), 1.0, np.float32)
    metres[:, 1], metres[0, 2], metres[1:, 2] = 100.0, np.nan, np.inf
    drawn = overlays.depth(metres)
    assert drawn[0, 0, :3].sum() > drawn[0, 1, :3].sum() and not drawn[:, 2, 3].any()


def test_classes_have_borders_and_no_colour_where_unlabelled():
    ids = np.zeros((6, 6), np.uint8)
    ids[:, 3:] = 255
    drawn = overlays.classes(ids)
    assert drawn[0, 0].tolist() == [128, 64, 128, 115] and drawn[0, 5, 3] == 0
    assert drawn[0, 3].tolist() == [0, 0, 0, 200]


def test_hazards_are_marked_and_what_is_unknown_is_not_clear():
    values = np.zeros((40, 60), np.uint8)
    values[10:30, 10:30], values[:, 40:] = 255, 128
    drawn = overlays.hazards(values)
    assert not drawn[values == 0].any()
    assert (drawn[10, 10:30] == 255).all() and (drawn[15:25, 15:25, 3] == 150).all()
    dots = drawn[:, 40:, 3] > 0
    assert dots.any() and dots.mean() < 0.05
    assert read(overlays.png(drawn)).shape == (40, 60, 4)


def test_an_image_becomes_a_jpeg():
    rgb = np.zeros((16, 32, 3), np.uint8)
    rgb[..., 0] = 200
    decoded = read(overlays.jpeg(rgb))
    assert decoded.shape == (16, 32, 3) and abs(int(decoded[8, 16, 2]) - 200) < 6


# Panel


def test_history_keeps_ten_minutes_and_no_more():
    link = {'rate_bps': 1.0, 'offered_bps': 2.0, 'used_bps': 3.0, 'loss': 0.5}
    history = panel.History()
    for i in range(10_000):  # an hour and more, at two a second
        history.add(0.5 * i, link, 1.0)
    rows = history.rows()
    assert len(rows) == 600 and rows[-1] == [0.0, 1.0, 2.0, 3.0, 0.5, 1.0]
    assert rows[0][0] == pytest.approx(-599.0)
    history.add(1e6, None, 1.0)
    assert len(history.rows()) == 600


def test_troubles_are_those_that_are_reported_now():
    troubles = panel.Troubles()
    troubles.add('a/link: gsc_ros', 1, 'a STOP is held', 0.0)
    troubles.add('b: gsc_ros', 2, 'x' * 1000, 1.0)
    troubles.add('c: gsc_ros', 0, 'ok', 1.0)
    listed = troubles.listed(2.0)
    assert listed[0] == {'node': 'a/link', 'level': 'warn', 'message': 'a STOP is held'}
    assert listed[1]['level'] == 'error' and len(listed[1]['message']) == 500
    troubles.add('a/link: gsc_ros', 0, 'ok', 3.0)
    assert [one['node'] for one in troubles.listed(3.0)] == ['b']
    assert troubles.listed(20.0) == []
    for i in range(1000):
        troubles.add(f'n{i}', 1, '', 30.0)
    assert len(troubles.listed(30.0)) == 32
