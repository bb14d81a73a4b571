"""Robots that run one after the other, or beside each other: each frame with its own setup."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.datagrams.frames import Camera, Frame, FrameReceiver, FrameSender
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.reassembly import Reassembler
from gsc_ros.link.datagrams.seals import CHECKSUM
from gsc_ros.link.datagrams.security import Sealed
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.end import End
from gsc_ros.link.traffic.pacer import Pacer
from gsc_ros.link.traffic.sender import Sender

KEY = bytes(range(32))
MTU = 60
CAMERAS = Camera('front', 640, 480), Camera('rear', 320, 240), Camera('mast', 640, 480)


def a_run(session, camera, seal, frames, loss, begin=0):
    """The datagrams of one run of a robot: setups and frames, some with parity."""
    robot, sender = Sender(Pacer(1e9), MTU, seal=seal, session=session), FrameSender(5)
    robot.set_fec(loss)
    out = []
    for number in range(frames):
        stamp = 10**18 + number * 10**8
        frame = Frame(stamp, number, camera, bytes([camera.width % 256]) * 150)
        for traffic_class, payload in sender.pack(frame, robot.counts[TrafficClass.FRAME].sent):
            robot.offer(payload, begin + number, traffic_class)
        out += [data for *_, data in robot.advance(begin + number + 0.5)]
    return out


class Ground:
    def __init__(self, seal):
        self.receiver, self.frames = Reassembler(5.0, seal), FrameReceiver()
        self.shown = []

    def push(self, data, now):
        for received in self.receiver.push(data, now) + self.receiver.expire(now):
            if received.traffic_class is TrafficClass.SETUP and not received.truncated:
                self.frames.setup(received.payload, received.session)
            elif received.traffic_class is TrafficClass.FRAME:
                frame = self.frames.frame(received.payload, received.session)
                if frame is not None:
                    self.shown.append((received.session, frame))


def seals(sealed, count):
    """Of each run, with counts that go on where those of the one before ended; of the ground."""
    if not sealed:
        return [CHECKSUM] * count, CHECKSUM
    return [Sealed([KEY], 'down', itertools.count(10**6 * n)) for n in range(count)], Sealed(
        [KEY], 'down'
    )


@pytest.mark.parametrize('sealed', [False, True], ids=['checksum', 'encrypted'])
@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whatever_is_lost_doubled_and_interleaved_no_frame_has_the_setup_of_another_run(
    sealed, data
):
    near, far = seals(sealed, 3)
    sessions = (0x0101, 0x0202, 0x0303)
    runs = [
        a_run(session, camera, seal, 6, data.draw(st.sampled_from([0.0, 0.4])))
        for session, camera, seal in zip(sessions, CAMERAS, near, strict=True)
    ]
    ground, places = Ground(far), [0, 0, 0]
    moves = st.tuples(st.integers(0, 2), st.integers(-2, 3))
    for step, (run, jump) in enumerate(data.draw(st.lists(moves, max_size=120))):
        at = places[run] = max(0, min(places[run] + jump, len(runs[run]) - 1))
        ground.push(runs[run][at], step / 10)
    own = dict(zip(sessions, CAMERAS, strict=True))
    for session, frame in ground.shown:
        assert frame.camera == own[session]
        assert set(frame.data) == {own[session].width % 256}
    if sealed:  # order is proven: who ended does not come back
        order = [session for session, _ in itertools.groupby(s for s, _ in ground.shown)]
        assert order == sorted(set(order))


@pytest.mark.parametrize('sealed', [False, True], ids=['checksum', 'encrypted'])
@pytest.mark.parametrize('before', [0, 3, 20, 200, 1000])
def test_the_first_frame_of_a_robot_that_restarts_is_shown(sealed, before):
    near, far = seals(sealed, 2)
    ground = Ground(far)
    old = a_run(0x0101, CAMERAS[0], near[0], before, 0.0)
    for step, data in enumerate(old):
        ground.push(data, step / 100)
    count = len(ground.shown)
    assert count == before
    for data in a_run(0x0202, CAMERAS[1], near[1], 1, 0.0):
        ground.push(data, len(old) / 100)
    assert [frame.camera for _, frame in ground.shown[count:]] == [CAMERAS[1]]


def test_an_end_has_another_session_each_time_unless_one_is_given():
    times = Schedule.constant(1e4)
    assert len({End(times, MTU).sender.session for _ in range(50)}) > 40
    assert End(times, MTU, session=0x0709).sender.session == 0x0709
    for bad in (0, 0x0700, 0x1_0001, -1):
        with pytest.raises(ValueError, match='session'):
            End(times, MTU, session=bad)
