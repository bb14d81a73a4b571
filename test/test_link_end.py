"""One end of a real link in explicit time, what the ends tell each other, and the transports."""

import itertools
import os
import pty
import socket
import threading
import time
import tty

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.link.datagrams import erasure
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import NO_FRAME, PayloadError, Report
from gsc_ros.link.radio.losses import GilbertElliott, GilbertElliottModel
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.end import End
from gsc_ros.link.traffic.reports import Feedback, GroundReportTimer, LossEstimator, ReceiverStats
from gsc_ros.link.traffic.transports.udp import UdpTransport

FRAME = bytes(range(200))


def pair(rate_bps=8000.0, mtu=60):
    times = Schedule.constant(rate_bps)
    return End(times, mtu), End(times, mtu)


def carry(robot, ground, now, lost=lambda: False):
    """Bring what is due from one end to the other; returns what is complete there."""
    out = []
    for data in robot.outgoing(now):
        if not lost():
            out += ground.push(data, now)[1]
    return out + ground.expire(now)


def test_an_end_paces_what_it_is_offered():
    robot, ground = pair(rate_bps=8000.0)
    robot.offer(FRAME, 0.0)
    at = []
    for step in range(400):
        now = step / 1000
        at += [now] * len(carry(robot, ground, now))
    # 5 datagrams, the last of 15 bytes: it begins when the others have gone.
    assert at == [pytest.approx(0.24, abs=0.002)]


def test_an_end_that_was_held_up_does_not_flood_the_radio():
    robot, _ = pair(rate_bps=8000.0)
    robot.offer(FRAME * 10, 0.0)
    assert len(list(robot.outgoing(60.0))) <= 3  # a tenth of a second's worth


def test_an_end_keeps_the_windows_of_its_schedule():
    times = Schedule([(2.0, 8000.0, 0.5), (3.0, 0.0), (1.0, 4000.0, 0.25), (4.0, 0.0)])
    robot, ground = End(times, 60, delay_s=9.0), End(times, 60)
    sent, stamps = [], []
    for step in range(30_000):
        now = step / 1000
        if step % 250 == 7:
            robot.offer(now.hex().encode().ljust(94), now)
        for data in robot.outgoing(now):
            sent.append(now)
            for received in ground.push(data, now)[1]:
                stamps.append((now, float.fromhex(received.payload[:30].split()[0].decode())))
    assert len(sent) == 72  # of four frames a second, two datagrams each, in 9 s
    assert all(now % 10 <= 2.0 or 5.0 <= now % 10 <= 6.0 for now in sent)
    # The first image of a window was taken while or just before it opened.
    for opens in (5.0, 10.0, 15.0, 20.0, 25.0):
        now, stamp = next(one for one in stamps if one[0] > opens)
        assert now - stamp < 0.25 + 2 * 8 * 116 / 4000
    for now, delay in ((20.5, 0.5), (25.5, 0.25), (23.0, 9.0)):
        list(robot.outgoing(now))
        assert robot.delay_s == delay


def test_what_is_not_ours_is_told_from_what_is():
    robot, ground = pair()
    robot.offer(b'x', 0.0, TrafficClass.COMMAND)
    (data,) = robot.outgoing(0.0)
    assert ground.push(b'?' + data, 0.0) == (False, [])
    ours, (received,) = ground.push(data, 0.0)
    assert ours and received.payload == b'x'
    assert ground.received_bytes == len(data)


def test_both_ends_learn_the_loss_and_what_became_of_the_frames():
    rng = np.random.default_rng(5)
    robot, ground = pair(rate_bps=80_000.0)
    receiver_stats, feedback = (
        ReceiverStats(ground.receiver),
        Feedback(robot.sender.session & 0xFF),
    )
    lost = sent = 0

    def fate():
        nonlocal lost, sent
        gone = rng.random() < 0.2
        sent, lost = sent + 1, lost + gone
        return gone

    for step in range(3000):
        now = step / 20
        robot.offer(FRAME, now)
        for received in carry(robot, ground, now, fate):
            receiver_stats.on_frame(received.number, received.session)
        if step % 100 == 99:
            receiver_stats.update()
            feedback.on_report(Report.unpack(receiver_stats.report().pack()))
    assert feedback.loss == pytest.approx(receiver_stats.estimate.loss, abs=0.005)
    assert receiver_stats.estimate.loss == pytest.approx(lost / sent, abs=0.12)
    stats = robot.sent_statistics(now, feedback.delivered, feedback.lost)
    # The frame that is on its way is neither.
    assert 0 <= stats.sent - stats.delivered - stats.lost <= 2
    assert stats.delivered == receiver_stats.received


def test_a_ground_that_starts_anew_is_counted_on():
    feedback = Feedback(7)
    for ground, newest, shown in ((1, 99, 90), (1, 109, 100), (2, 119, 5), (2, 129, 15)):
        feedback.on_report(Report(newest, shown, 0.1, robot=7), ground)
    assert (feedback.delivered, feedback.lost) == (90 + 10 + 5 + 10, 10 + 0 + 5 + 0)
    # One that has not received a frame yet, and one that means a robot before this one.
    feedback.on_report(Report(NO_FRAME, 0, 0.0, robot=7), 3)
    feedback.on_report(Report(5000, 4000, 0.9, robot=8), 3)
    assert (feedback.delivered, feedback.lost, feedback.loss) == (115, 15, 0.0)
    feedback.on_report(Report(131, 1, 0.0, robot=7), 3)
    assert (feedback.delivered, feedback.lost) == (116, 16)
    feedback.on_report(Report(130, 16, 0.0, robot=7), 3)  # an older one
    assert (feedback.delivered, feedback.lost) == (116, 16)


def test_frames_of_a_robot_that_starts_anew_are_counted_on():
    _, ground = pair()
    receiver_stats = ReceiverStats(ground.receiver)
    robot = End(Schedule.constant(1e6), 60, session=0x0107)
    assert receiver_stats.report() == Report(NO_FRAME, 0, 0.0)
    for step in range(20):
        now = float(step)
        if step == 10:
            robot = End(Schedule.constant(1e6), 60, session=0x0209)
        robot.offer(FRAME[:30], now)
        for received in carry(robot, ground, now, lambda step=step: step in (3, 13)):
            receiver_stats.on_frame(received.number, received.session)
        receiver_stats.update()
        if step == 10:
            assert receiver_stats.report(5) == Report(
                0, 1, pytest.approx(0.1, abs=0.01), 1.0, 9, 5
            )
    report = receiver_stats.report()
    assert (receiver_stats.received, receiver_stats.lost) == (18, 2)
    assert (report.newest, report.shown, report.robot) == (9, 9, 9)


def test_a_frame_of_no_use_is_reported_as_lost():
    robot, ground = pair()
    stats, feedback = ReceiverStats(ground.receiver), Feedback(robot.sender.session & 0xFF)
    session = robot.sender.session
    robot.offer(FRAME, 0.0)
    carry(robot, ground, 0.0)
    for number, lost in enumerate((True, False, True, False)):
        stats.on_frame(number, session, lost)
    assert (stats.received, stats.lost) == (2, 2)
    feedback.on_report(stats.report())
    assert (feedback.delivered, feedback.lost) == (2, 2)


def of_a_channel(loss, seed):
    """Yield what is lost of three datagrams at a time, and in how many runs."""
    chain, before = GilbertElliott(GilbertElliottModel.from_mean(loss), seed), False
    while True:
        gone = [chain.lost() for _ in range(3)]
        gaps = sum(now and not then for then, now in itertools.pairwise([before, *gone]))
        before = gone[-1]
        yield 3, sum(gone), gaps


@pytest.mark.parametrize('loss', [0.21, 0.3, 0.5])
def test_a_loss_is_told_after_tens_of_datagrams_and_so_is_its_end(loss):
    late, ended, told = [], [], []
    for seed in range(40):
        seen, channel = LossEstimator(), of_a_channel(loss, seed)
        for _ in range(300):
            seen.add(3, 0, 0)
        assert seen.loss == 0.0
        datagrams = 0
        while seen.loss < 0.75 * loss:
            seen.add(*next(channel))
            datagrams += 3
        late.append(datagrams)
        for step in range(250):
            seen.add(*next(channel))
            if step >= 100:
                told.append(seen.loss)
        datagrams = 0
        while seen.loss > 0.25 * loss:
            seen.add(3, 0, 0)
            datagrams += 3
        ended.append(datagrams)
    assert np.median(late) <= 30 and np.median(ended) <= 75
    # While it stays it is told steadily.
    assert np.mean(told) == pytest.approx(loss, abs=0.02) and np.std(told) < 0.06


def test_parity_follows_a_loss_that_begins():
    """Frames of three datagrams: 0.35 is worth parity, and 0.21, as it would be told late, not."""
    assert (erasure.how_many(3, 0.21, 1.3), erasure.how_many(3, 0.35, 1.5)) == (0, 1)
    begun = []
    for seed in range(20):
        chain = GilbertElliott(GilbertElliottModel.from_mean(0.35), seed)
        robot, ground = pair(rate_bps=80_000.0, mtu=128)
        receiver_stats = ReceiverStats(ground.receiver)
        for step in range(160):
            now = step / 10
            robot.offer(bytes(309), now)
            for _ in range(3):
                carry(robot, ground, now, chain.lost if step >= 100 else lambda: False)
            receiver_stats.update()
            seen = receiver_stats.estimate
            if erasure.how_many(3, round(seen.loss, 2), round(seen.burst, 1)):
                begun.append(step - 100)
                break
    assert len(begun) >= 18 and min(begun) >= 0
    assert np.median(begun) <= 15  # frames


def test_a_report_that_says_something_new_goes_early_and_is_paid_for():
    times, went, loss = GroundReportTimer(), [], 0.0
    for step in range(12_000):
        now = step / 100
        if step % 700 == 699:
            loss = 0.3 - loss
        if now >= times.next_deadline or times.is_early(now, loss):
            times.on_sent(now, 12.0, loss)
            went.append(now)
    assert len(went) <= 1 + 120 / 12 + 1
    gaps = np.diff(went)
    assert gaps.min() < 7.0 and gaps.min() >= 3.0


@given(
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.floats(0, 1),
    st.floats(1, 1e6),
    st.none() | st.integers(0, 2**32 - 1),
)
def test_reports_cross(newest, shown, loss, burst, count):
    made = Report(newest, shown, loss, burst, 9, count)
    report = Report.unpack(made.pack())
    assert (report.robot, report.count) == (9, count) and len(made.pack()) == (
        7 if count is None else 11
    )
    assert report.burst == pytest.approx(min(burst, 1 + 255 / 8), abs=1 / 16)
    assert (report.newest, report.shown) == (newest, shown)
    assert report.loss == pytest.approx(loss, abs=1 / 255)


@given(st.binary(max_size=20).filter(lambda b: len(b) not in (7, 11)))
def test_what_is_no_report_is_refused(payload):
    with pytest.raises(PayloadError):
        Report.unpack(payload)


# Transports


def receive(transport, count, patience_s=5.0):
    came = []
    deadline = time.monotonic() + patience_s
    while len(came) < count and time.monotonic() < deadline:
        came += transport.receive(0.1)
    return came


@pytest.mark.parametrize('host', ['127.0.0.1', '[::1]', 'localhost'])
def test_udp_answers_whoever_was_proven(host):
    try:
        ground = UdpTransport(f'{host}:0')
    except OSError as error:
        pytest.skip(f'no {host} here: {error}')
    robot = UdpTransport(':0', f'{host}:{ground.local[1]}')
    with pytest.raises(OSError, match='nobody has called'):
        ground.send(b'hello')
    robot.send(b'one')
    ((data, source),) = receive(ground, 1)
    assert data == b'one'
    ground.answer(source)
    ground.send(b'two')
    assert [data for data, _ in receive(robot, 1)] == [b'two']
    for _ in range(3):
        robot.answer(('192.0.2.1', 9))  # it has a fixed far end
    robot.send(b'three')
    assert [data for data, _ in receive(ground, 1)] == [b'three']
    robot.close()
    ground.close()


def test_an_address_that_is_taken_is_told():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('127.0.0.1', 0))
        with pytest.raises(OSError, match='cannot listen on'):
            UdpTransport(f'127.0.0.1:{other.getsockname()[1]}')


class Line:
    """Two pseudo-terminals joined by a wire that can be cut or disturbed."""

    def __init__(self):
        ends = [pty.openpty() for _ in range(2)]
        self.masters = [master for master, _ in ends]
        self.slaves = [slave for _, slave in ends]
        for slave in self.slaves:
            tty.setraw(slave)
        self.devices = [os.ttyname(slave) for slave in self.slaves]
        self.noise = b''
        self._threads = [
            threading.Thread(target=self._carry, args=ends, daemon=True)
            for ends in (self.masters, self.masters[::-1])
        ]
        for thread in self._threads:
            thread.start()

    def _carry(self, source, sink):
        try:
            while data := os.read(source, 4096):
                os.write(sink, self.noise + data)
        except OSError:
            pass

    def close(self):
        for end in self.slaves + self.masters:
            os.close(end)


@pytest.fixture
def line():
    made = Line()
    yield made
    made.close()


@pytest.fixture
def serial_transport():
    pytest.importorskip('serial')
    pytest.importorskip('cobs')
    from gsc_ros.link.traffic.transports import serial

    return serial


def test_datagrams_cross_a_serial_line_with_all_their_zeros(line, serial_transport):
    ends = [serial_transport.SerialTransport(device, 57600) for device in line.devices]
    rng = np.random.default_rng(2)
    sent = [rng.integers(0, 3, size, np.uint8).tobytes() for size in (1, 50, 254, 600)]
    for data in sent:
        ends[0].send(data)
    assert [data for data, _ in receive(ends[1], 4)] == sent
    ends[1].send(b'\0back\0')
    assert [data for data, _ in receive(ends[0], 1)] == [b'\0back\0']
    assert ends[0].max_rate_bps(50) == pytest.approx(57600 * 0.8 * 50 / 53)
    for end in ends:
        end.close()


def test_a_device_that_is_not_named_is_told(serial_transport):
    with pytest.raises(ValueError, match='device'):
        serial_transport.SerialTransport('', 57600)


def test_a_modem_that_was_unplugged_is_opened_again(line, serial_transport, tmp_path):
    link = tmp_path / 'modem'
    link.symlink_to(line.devices[0])
    end = serial_transport.SerialTransport(str(link), 57600)
    os.close(end._port.fileno())  # the device is gone
    with pytest.raises(OSError):
        for _ in range(3):
            end.receive(0.05)
    with pytest.raises(OSError, match='failed'):
        end.send(b'x')
    far = serial_transport.SerialTransport(line.devices[1], 57600)
    deadline = time.monotonic() + 10
    while end._port is None and time.monotonic() < deadline:
        end.receive(0.1)
    end.send(b'again')
    assert [data for data, _ in receive(far, 1)] == [b'again']
    far.close()


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.integers(1, 64),
       st.binary(max_size=40))  # fmt: skip
def test_a_stream_falls_into_its_datagrams_wherever_it_is_cut(datagrams, step, noise):
    serial = pytest.importorskip('gsc_ros.link.traffic.transports.serial')
    stream = noise + b''.join(map(serial.SerialTransport._stuff, datagrams))
    unstuffer = serial.Unstuffer()
    came = []
    for at in range(0, len(stream), step):
        came += unstuffer.push(stream[at : at + step])
    assert came[len(came) - len(datagrams) :] == datagrams


def test_noise_without_an_end_is_bounded(serial_transport):
    unstuffer = serial_transport.Unstuffer()
    for _ in range(300):
        assert unstuffer.push(b'\x01' * 1000) == []
    assert len(unstuffer._rest) <= 65535 and unstuffer.dropped > 200_000
    assert unstuffer.push(serial_transport.SerialTransport._stuff(b'after')) == [b'after']
