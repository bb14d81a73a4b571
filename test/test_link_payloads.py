"""Frames, setups and commands: exact at the far end, refused when they are something else."""

import contextlib
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.link.framing import Class
from gsc_ros.link.payloads import (
    MAX_STAMP_NS,
    Camera,
    Command,
    Frame,
    FrameReceiver,
    FrameSender,
    PayloadError,
    Setup,
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
    for klass, payload in sender.pack(frame, sent):
        if klass is Class.SETUP:
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
    for read in (Setup.unpack, lambda d: Command.unpack(d, 0), FrameReceiver().frame):
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
        return [klass for klass, _ in payloads].count(Class.SETUP)

    assert [sent for sent in range(100) if setups(CAMERA, sent)] == [0, 2, 8, 32, 64, 96]
    assert setups(replace(CAMERA, width=640), 100) == 1
    # Frames that are offered but never sent do not bring more setups.
    assert sum(setups(replace(CAMERA, width=640), 100) for _ in range(50)) == 0


def test_a_frame_before_its_setup_is_counted():
    sender, receiver = FrameSender(), FrameReceiver()
    frame = sender.pack(Frame(1, 2, CAMERA, b'd'), 0)[-1][1]
    assert receiver.frame(frame) is None and receiver.undescribed == 1


@given(st.tuples(*[st.floats(-10, 10, width=32)] * 6), st.integers(0, 2**62))
def test_a_command_is_exact(velocity, stamp):
    command = Command(stamp, velocity)
    for away in (-(10**12), 0, 10**12):
        assert Command.unpack(command.pack(), stamp + away) == command


def test_a_drive_command_is_small_and_stop_is_smaller():
    assert len(Command(0, (0.5, 0, 0, 0, 0, 0.1)).pack()) == 15
    assert len(Command(0, (0.0,) * 6).pack()) == 7


@pytest.mark.parametrize('bad', [math.nan, math.inf, 1e300])
def test_a_command_must_be_finite(bad):
    with pytest.raises(ValueError, match='finite'):
        Command(0, (bad, 0, 0, 0, 0, 0)).pack()


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
