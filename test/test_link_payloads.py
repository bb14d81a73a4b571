"""Frames, setups and commands: exact at the far end, refused when they are something else."""

import contextlib
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.datagrams.frames import (
    MAX_STAMP_NS,
    Camera,
    Frame,
    FrameReceiver,
    FrameSender,
    Setup,
)
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import (
    ROBOT_REPORT_BYTES,
    Command,
    PayloadError,
    Report,
    RobotReport,
    Stop,
    unwrap,
)

CAMERA = Camera(
    'robot/camera_optical',
    480,
    360,
    'plumb_bob',
    (0.0,) * 5,
    (420.0, 0.0, 240.0, 0.0, 420.0, 180.0, 0.0, 0.0, 1.0),
    p=(420.0, 0.0, 240.0, 0.0, 0.0, 420.0, 180.0, 0.0, 0.0, 0.0, 1.0, 0.0),
)
finite = st.floats(allow_nan=False, allow_infinity=False)

stamps = st.integers(0, MAX_STAMP_NS)


def several(size):
    return st.tuples(*[finite] * size)


cameras = st.builds(
    Camera,
    frame_id=st.text(max_size=60).filter(lambda text: len(text.encode('utf-8', 'ignore')) < 250),
    width=st.integers(0, 65535),
    height=st.integers(0, 65535),
    distortion_model=st.sampled_from(['', 'plumb_bob', 'equidistant', 'double_sphere', 'x' * 255]),
    d=st.lists(finite, max_size=14).map(tuple),
    k=several(9),
    r=several(9) | st.just((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)),
    p=several(12),
    window=st.tuples(*[st.integers(0, 65535)] * 7),
)


def carry(sender, receiver, frame, sent):
    for traffic_class, payload in sender.pack(frame, sent):
        if traffic_class is TrafficClass.SETUP:
            receiver.setup(payload)
        else:
            return receiver.frame(payload)
    return None


@given(st.integers(-(2**62), 2**62), st.integers(1, 60), st.integers(-(2**40), 2**40))
def test_unwrap_finds_the_nearest(value, bits, away):
    away = max(-(1 << bits) // 2 + 1, min((1 << bits) // 2 - 1, away))
    assert unwrap((value + away) & ((1 << bits) - 1), bits, value) == value + away


@given(cameras, stamps, st.integers(0, 2**32 - 1))
def test_a_setup_is_exact(camera, stamp, sequence):
    setup = Setup(5, stamp, sequence, camera)
    assert Setup.unpack(setup.pack()) == setup


@pytest.mark.parametrize('stamp', [-1, MAX_STAMP_NS + 1, 2**63 - 1, -(2**63)])
def test_a_stamp_that_no_message_can_hold_is_refused(stamp):
    with pytest.raises(PayloadError, match='stamp'):
        Setup.unpack(Setup(0, stamp, 0, CAMERA).pack())


@pytest.mark.parametrize(('reference', 'stamp'), [(0, -5), (MAX_STAMP_NS, MAX_STAMP_NS + 5)])
def test_a_frame_does_not_leave_the_range_of_stamps(reference, stamp):
    sender, receiver = FrameSender(), FrameReceiver()
    assert carry(sender, receiver, Frame(reference, 0, CAMERA, b'd'), 0)
    ((_, payload),) = sender.pack(Frame(stamp, 1, CAMERA, b'd'), 1)
    with pytest.raises(PayloadError, match='stamp'):
        receiver.frame(payload)


def test_a_usual_setup_is_small():
    assert len(Setup(0, 0, 0, CAMERA).pack()) <= 100


@given(st.binary(max_size=200))
def test_any_bytes_are_a_setup_or_a_payload_error(data):
    for read in (
        Setup.unpack,
        lambda d: Command.unpack(d, 0),
        lambda d: Stop.unpack(d, 0),
        Report.unpack,
        RobotReport.unpack,
        FrameReceiver().frame,
    ):
        with contextlib.suppress(PayloadError):
            read(data)


@given(
    st.lists(
        st.tuples(
            stamps | st.integers(10**18, 10**18 + 10**10),
            st.integers(0, 2**32 - 1) | st.integers(0, 50),
            st.sampled_from([CAMERA, replace(CAMERA, frame_id='other')]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_frames_are_exact_however_stamps_and_sequences_jump(items):
    sender, receiver = FrameSender(), FrameReceiver()
    for sent, (stamp, sequence, camera) in enumerate(items):
        frame = Frame(stamp, sequence, camera, b'data')
        assert carry(sender, receiver, frame, sent) == frame


def test_setups_come_seldom_and_again_after_a_change():
    sender = FrameSender()

    def setups(camera, sent):
        payloads = sender.pack(Frame(0, 0, camera, b'd'), sent)
        return [traffic_class for traffic_class, _ in payloads].count(TrafficClass.SETUP)

    assert [sent for sent in range(100) if setups(CAMERA, sent)] == [0, 2, 8, 32, 64, 96]
    assert setups(replace(CAMERA, width=640), 100) == 1
    # Frames that are offered but never sent do not bring more setups.
    assert sum(setups(replace(CAMERA, width=640), 100) for _ in range(50)) == 0


def test_a_frame_before_its_setup_is_counted():
    sender, receiver = FrameSender(), FrameReceiver()
    frame = sender.pack(Frame(1, 2, CAMERA, b'd'), 0)[-1][1]
    assert receiver.frame(frame) is None and receiver.undescribed == 1


def test_a_setup_goes_again_when_it_is_asked_for():
    sender = FrameSender(127)

    def setups(sent):
        payloads = sender.pack(Frame(0, 0, CAMERA, b'd'), sent)
        return [
            Setup.unpack(payload).number
            for traffic_class, payload in payloads
            if traffic_class is TrafficClass.SETUP
        ]

    assert [setups(sent) for sent in range(4)] == [[127], [], [127], []]
    sender.repeat_setup()
    assert [setups(4), setups(5)] == [[127], []]
    sender.pack(Frame(0, 0, replace(CAMERA, width=640), b'd'), 6)
    sender.repeat_setup()
    assert setups(7) == [1]  # of the camera before, again a change; numbers wrap


def test_the_first_setup_has_any_number():
    numbers = {
        Setup.unpack(FrameSender().pack(Frame(0, 0, CAMERA, b'd'), 0)[0][1]).number
        for _ in range(200)
    }
    assert len(numbers) > 50 and max(numbers) < 128


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.booleans()), max_size=60))
def test_no_frame_is_shown_with_a_setup_of_another_session(steps):
    """Two runs of a robot, the same setup numbers, cameras that differ, datagrams interleaved."""
    cameras = CAMERA, replace(CAMERA, frame_id='rear', width=640)
    senders, receiver, sent = (FrameSender(5), FrameSender(5)), FrameReceiver(), [0, 0]
    for run, lost in steps:
        frame = Frame(10**18 + sent[run], sent[run], cameras[run], b'd')
        for traffic_class, payload in senders[run].pack(frame, sent[run]):
            if traffic_class is TrafficClass.FRAME:
                assert receiver.frame(payload, 1 + run) in (None, frame)
            elif not lost:
                receiver.setup(payload, 1 + run)
        sent[run] += 1


@given(st.tuples(*[st.integers(-32767, 32767)] * 6), st.integers(0, 2**62), st.integers(0, 255))
def test_a_command_is_exact_to_a_thousandth(steps, stamp, robot):
    command = Command(stamp, tuple(step / 1000 for step in steps), robot)
    assert len(command.pack()) == 19
    for away in (-(10**13), 0, 10**13):
        assert Command.unpack(command.pack(), stamp + away) == command


@given(st.integers(0, 2**62), st.integers(1, 255), st.booleans(), st.integers(0, 255))
def test_a_stop_and_its_release_cross(stamp, number, stop, robot):
    sent = Stop(stamp, number, stop, robot)
    assert Stop.unpack(sent.pack(), stamp + 10**13) == sent and len(sent.pack()) == 9


@pytest.mark.parametrize(
    'payload', [b'', bytes(8), bytes(9), bytes(7) + b'\1\2', bytes(7) + b'\1\1\0']
)
def test_what_is_no_stop_is_refused(payload):
    with pytest.raises(PayloadError, match='not a stop'):
        Stop.unpack(payload, 0)


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf, 1e300, 32.7671, -32.768])
def test_a_velocity_out_of_range_is_refused(bad):
    with pytest.raises(ValueError, match=r'-32.767 to 32.767 m/s or rad/s'):
        Command(0, (bad, 0, 0, 0, 0, 0)).pack()


def test_a_command_of_another_length_is_refused():
    packed = Command(0, (0.5, 0, 0, 0, 0, 0.1)).pack()
    for payload in (packed[:-1], packed + b'\0', packed[:7] + b'\x80\0' + packed[9:]):
        with pytest.raises(PayloadError, match='not a command'):
            Command.unpack(payload, 0)


counts = st.none() | st.integers(0, 2**32 - 1)


@given(st.integers(0, 255), st.booleans(), st.floats(0, 1), counts)
def test_reports_of_the_robot_cross(stop, latched, loss, count):
    sent = RobotReport(stop, latched, loss, count)
    read = RobotReport.unpack(sent.pack())
    assert read.loss == pytest.approx(loss, abs=1 / 255)
    assert replace(read, loss=loss) == sent
    assert len(sent.pack()) == (3 if count is None else 7)


@given(st.floats(-1e6, 1e6), st.booleans(), counts)
def test_reports_of_commands_that_are_refused_cross(late_s, held_up, count):
    sent = RobotReport(3, True, 0.0, count, late_s, held_up)
    read = RobotReport.unpack(sent.pack())
    assert read.late_s == pytest.approx(max(-3276.7, min(late_s, 3276.7)), abs=0.05001)
    assert replace(read, late_s=late_s) == sent
    assert len(sent.pack()) == (5 if count is None else 9)
    most = replace(sent, goal=1, goal_state=1, count=0)
    assert len(most.pack()) == ROBOT_REPORT_BYTES


@pytest.mark.parametrize('flag', [64, 128])
def test_a_report_of_a_newer_robot_still_tells_of_its_stop(flag):
    sent = RobotReport(3, True, 0.0, late_s=1.0, goal=4)
    stop, flags, *rest = sent.pack()
    assert RobotReport.unpack(bytes([stop, flags | flag, *rest]) + b'new') == sent


@pytest.mark.parametrize('payload', [b'', bytes(2), bytes(4), bytes(8), b'\0\2\0', b'\0\x08\0'])
def test_what_is_no_report_of_the_robot_is_refused(payload):
    with pytest.raises(PayloadError, match='not a report of the robot'):
        RobotReport.unpack(payload)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'k': (0.0,) * 8}, 'k must have 9'),
        ({'d': (0.0,) * 15}, 'd must have at most'),
        ({'distortion_model': 'x' * 256}, 'distortion_model must have'),
        ({'width': 70000}, 'width must be'),
        ({'frame_id': 'x' * 256}, 'frame_id must have'),
        ({'d': (math.nan,)}, 'finite'),
    ],
)
def test_impossible_cameras_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CAMERA, **change)
