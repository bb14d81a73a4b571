"""Stills over the link: bytes of parts and asks, what is put together, and in which share."""

import contextlib
import itertools
import random
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import PayloadError, Request
from gsc_ros.link.datagrams.stills import MOST_BYTES, Part, Still, StillAsk, format_of
from gsc_ros.link.radio.losses import GilbertElliottModel
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.channel import Channel
from gsc_ros.link.traffic.stills import StillReceiver, StillSender

STILL = Still(1_700_000_000_123_456_789, random.Random(1).randbytes(3000))
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


# Bytes


@slow
@given(
    st.integers(1, MOST_BYTES),
    st.integers(0, 2**64 - 1),
    st.integers(8, 1100),
    st.integers(1, 255),
    st.integers(0, 2**32),
)
def test_parts_in_any_order_are_the_still_again(size, stamp, room, number, seed):
    rng = random.Random(seed)
    data = rng.randbytes(size)
    still = Still(stamp, data)
    if -(-(len(data) + 12) // (room - 7)) > 0xFFFF:
        return
    parts = still.parts(number, room)
    assert all(len(part.pack()) <= room for part in parts)
    assert all(len(part.pack()) == room for part in parts[:-1])
    receiver = StillReceiver(number - 1)
    receiver.want(0.0)
    rng.shuffle(parts)
    for i, part in enumerate(parts):
        found = receiver.on_part(part.pack(), float(i))
        assert (found is not None) == (i == len(parts) - 1)
    assert found == still and receiver.complete and not receiver.dropped


@slow
@given(st.binary(max_size=60))
def test_any_bytes_are_a_part_or_a_payload_error(data):
    with contextlib.suppress(PayloadError):
        assert Part.unpack(data).pack() == data


@slow
@given(st.integers(1, 255), st.sets(st.integers(0, 2500)))
def test_asks_are_read_as_they_were_made(number, missing):
    made = StillAsk.of(number, missing)
    assert StillAsk.unpack(made.pack()) == made
    assert len(made.pack()) <= 19
    read = Request.unpack(Request(key_frame=True, budget=300, still=made.pack()).pack())
    assert StillAsk.unpack(read.still) == made and read.budget == 300
    # What it covers is stated completely, what comes after it is not stated.
    assert set(made.missing) == {i for i in missing if i < made.covers}
    assert bool(made.missing) == bool(missing)


@slow
@given(st.binary(max_size=24))
def test_any_bytes_are_an_ask_or_a_payload_error(data):
    with contextlib.suppress(PayloadError):
        assert StillAsk.unpack(data).pack() == data


@pytest.mark.parametrize('payload', [b'\x20', b'\x20\0', b'\x21', b'\x60\1'])
def test_requests_with_a_still_that_is_none_are_refused(payload):
    with pytest.raises(PayloadError):
        StillAsk.unpack(Request.unpack(payload).still)


@pytest.mark.parametrize('size', [0, MOST_BYTES + 1])
def test_a_still_has_its_size(size):
    with pytest.raises(ValueError, match='still has 1 to 16384 bytes'):
        Still(0, bytes(size))
    with pytest.raises(ValueError, match='a part of a still needs'):
        STILL.parts(1, 7)


def test_formats_are_known_by_their_first_bytes():
    assert format_of(b'RIFF....WEBPVP8 ') == 'webp'
    assert format_of(b'\0\0\0\x20ftypavif\0\0') == 'avif'
    assert format_of(b'\x89PNG\r\n\x1a\n....') is None


# Bad parts


@pytest.fixture
def receiver():
    made = StillReceiver(6)
    made.want(0.0)  # number 7
    return made


def test_parts_that_are_not_of_the_still_are_dropped_and_counted(receiver):
    parts = STILL.parts(7, 107)
    assert receiver.on_part(parts[3].pack(), 0.1) is None
    bad = [
        STILL.parts(8, 107)[0],  # of another request
        Part(7, parts[0].tag, 1, 9, parts[1].data),  # of another number of parts
        Part(7, parts[0].tag, 1, parts[0].count, parts[1].data[:-1]),  # too short
        Part(7, parts[0].tag, parts[0].count - 1, parts[0].count, bytes(101)),  # the last too long
    ]
    for count, part in enumerate(bad, 1):
        with pytest.raises(PayloadError):
            receiver.on_part(part.pack(), 0.2)
        assert receiver.dropped == count
    for part in parts:
        found = receiver.on_part(part.pack(), 0.3)
    assert found == STILL
    assert receiver.on_part(parts[3].pack(), 0.4) is None  # once more: nothing is wrong
    assert receiver.dropped == len(bad) and receiver.complete


def test_a_still_that_would_be_too_large_is_refused(receiver):
    with pytest.raises(PayloadError, match='over 16384 bytes'):
        receiver.on_part(Part(7, 1, 0, 200, bytes(100)).pack(), 0.1)
    with pytest.raises(PayloadError, match='over 16384 bytes'):
        receiver.on_part(Part(7, 1, 0xFFFE, 0xFFFF, bytes(1)).pack(), 0.1)
    assert receiver.received == 0


def test_parts_of_another_image_begin_it_anew(receiver):
    """The robot began anew, and took another image for the same request."""
    other = Still(5, random.Random(2).randbytes(3000))
    for part in STILL.parts(7, 107)[:20]:
        receiver.on_part(part.pack(), 0.1)
    for part in other.parts(7, 107):
        found = receiver.on_part(part.pack(), 0.2)
    assert found == other


def test_a_still_whose_crc_does_not_fit_is_asked_for_again(receiver):
    parts = STILL.parts(7, 107)
    wrong = Part(7, parts[4].tag, 4, parts[4].count, bytes(100))
    for part in [*parts[:4], wrong, *parts[5:-1]]:
        receiver.on_part(part.pack(), 1.0)
    with pytest.raises(PayloadError, match='CRC'):
        receiver.on_part(parts[-1].pack(), 2.0)
    assert receiver.dropped == len(parts) and receiver.received == 0
    assert receiver.next_ask(2.0, True, 0.1) == StillAsk(7)


def test_who_does_not_answer_is_asked_less_and_less_and_it_is_said(receiver):
    asked = []
    for tick in range(6000):
        if receiver.next_ask(tick * 0.1, tick < 3000 or tick > 4000, 2.0):
            asked.append(tick * 0.1)
    pauses = [b - a for a, b in itertools.pairwise(asked)]
    assert pauses[0] == pytest.approx(5.5, abs=0.2) and pauses[4] == pytest.approx(22.0, abs=0.2)
    assert not [at for at in asked if 300 <= at <= 400], 'nothing while the link is closed'
    assert receiver.text == 'asked, no answer from the robot'
    receiver.ask_soon(700.0)
    assert receiver.text == 'asked' and receiver.next_ask(700.0, True, 2.0) == StillAsk(7)


def test_an_outage_is_no_pace_of_parts(receiver):
    parts = STILL.parts(7, 1007)
    assert receiver.next_ask(0.0, True, 2.0)
    receiver.on_part(parts[0].pack(), 2.0)
    for at in range(3, 7200):
        assert receiver.next_ask(float(at), False, 2.0) is None
    receiver.on_part(parts[1].pack(), 7201.0)  # the rest of them is lost
    assert receiver.next_deadline == pytest.approx(7206.0)
    receiver.on_part(parts[2].pack(), 7201.5)
    assert receiver.next_deadline == pytest.approx(7206.5)


def test_the_robot_sends_what_is_asked_for_and_takes_an_image_where_it_has_none():
    channel = Channel(1e6, mtu=100)
    sender = StillSender(channel, 0.5)
    still = sender.cameras[0]
    assert not still.wants and sender.next_deadline is None
    still.ask(StillAsk(7))
    assert still.wants
    still.ask(StillAsk(7))  # a repeat
    sender.give(STILL)
    count = len(STILL.parts(7, channel.sender.mtu - channel.sender.seal.overhead))
    still.pending = [200]
    still.ask(StillAsk.of(7, [1, 4, 9]))
    assert still.pending == [1, 4, 9, 200], 'what an ask does not cover stays'
    still.ask(StillAsk.of(7, [count, count + 3]))
    assert [i for i in still.pending if i >= count] == [200], 'there are no such parts'
    still.ask(StillAsk(7))
    assert still.pending == list(range(count))
    sender.give(Still(9, b'x'))  # that nobody wants
    assert len(still.pending) == count
    still.ask(StillAsk(8))
    assert still.wants and sender.next_deadline is None


# Over a link


def run(down, up, seconds, still_at=None, share=0.2, robot_restart_at=None, frame_bytes=300):
    """
    Offer ten frames a second down a link, and a still that is asked for at a time (s).

    Returns how many frames came, and when which still came.
    """
    sender, receiver = StillSender(down, share), StillReceiver(6)
    frames, came = 0, None
    for tick in range(round(100 * seconds)):
        now = tick / 100
        if still_at is not None and tick == round(100 * still_at):
            receiver.want(now)
        if robot_restart_at is not None and tick == round(100 * robot_restart_at):
            sender = StillSender(down, share)
            receiver.ask_soon(now)
        if tick % 10 == 0:
            down.offer(bytes(frame_bytes), now)
        ask = receiver.next_ask(now, bool(up.sender.rate_at(now)[0]), 2 * down.delay_s + 1)
        if ask is not None:
            up.offer(Request(still=ask.pack()).pack(), now, TrafficClass.REQUEST)
        for received in up.poll(now):
            sender.cameras[0].ask(StillAsk.unpack(Request.unpack(received.payload).still))
            if sender.cameras[0].wants:
                sender.give(STILL)
        sender.step(now)
        for received in down.poll(now):
            if received.traffic_class is TrafficClass.FRAME:
                frames += 1
            elif (found := receiver.on_part(received.payload, now)) is not None:
                came = found, now
    return frames, came, receiver


def test_a_still_takes_its_share_and_no_frame_is_starved():
    """A link that frames fill twice over: the still takes a fifth of it, in parts."""
    alone, _, _ = run(Channel(12_000.0, mtu=200), Channel(12_000.0), 30.0)
    frames, (found, at), _ = run(Channel(12_000.0, mtu=200), Channel(12_000.0), 30.0, 1.0)
    assert found == STILL
    bits = 8 * (len(STILL.data) + 12) * 200 / 180
    assert bits / (0.2 * 12_000) * 0.9 < at - 1.0 < bits / (0.2 * 12_000) * 1.5
    assert frames >= 0.8 * alone


@pytest.mark.parametrize('seed', range(3))
def test_what_is_lost_is_asked_for_again(seed):
    loss = GilbertElliottModel.from_mean(0.3)
    down = Channel(50_000.0, 0.5, mtu=120, loss=loss, seed=seed)
    up = Channel(50_000.0, 0.5, loss=loss, seed=seed + 10)
    _, came, receiver = run(down, up, 90.0, 1.0)
    assert came is not None, receiver.text
    assert came[0] == STILL and not receiver.dropped


@pytest.mark.parametrize('seed', range(3))
def test_over_a_long_way_nothing_is_sent_twice(seed):
    """A minute there and back, in which seven parts go: what is under way is not asked for."""
    loss = GilbertElliottModel.from_mean(0.1)
    down = Channel(1000.0, 30.0, mtu=200, loss=loss, seed=seed)
    _, came, receiver = run(down, Channel(1000.0, 30.0), 400.0, 1.0, frame_bytes=100)
    assert came is not None, receiver.text
    assert down.sender.counts[TrafficClass.STILL].delivered == receiver.count


def test_a_still_goes_on_in_the_next_pass():
    passes = Schedule([(6.0, 12_000.0), (60.0, 0.0)])
    down = Channel(12_000.0, mtu=200, schedule=passes)
    up = Channel(12_000.0, schedule=passes)
    _, (found, at), receiver = run(down, up, 150.0, 1.0)
    assert found == STILL and at > 66.0
    assert receiver.count == len(STILL.parts(7, 200 - down.sender.seal.overhead))
    sent = down.sender.counts[TrafficClass.STILL].sent
    assert sent <= receiver.count + 3, 'what had come is not sent again'


def test_a_robot_that_begins_anew_takes_another_image():
    down, up = Channel(12_000.0, mtu=200), Channel(12_000.0)
    _, (found, at), _ = run(down, up, 40.0, 1.0, robot_restart_at=5.0)
    assert found == STILL and at > 5.0


def test_stills_of_several_cameras_come_together_in_one_share_of_the_air():
    """Each is of its camera, parts go by turns, and frames lose no more than to one still."""
    down, up = Channel(12_000.0, mtu=200, cameras=3), Channel(12_000.0, cameras=3)
    sender = StillSender(down, 0.2, 3)
    stills = {camera: Still(camera, random.Random(camera).randbytes(2000)) for camera in (0, 2)}
    receivers = [StillReceiver(6) for _ in range(3)]
    came, order, frames = {}, [], 0
    for tick in range(4000):
        now = tick / 100
        if tick == 100:
            for camera in stills:
                receivers[camera].want(now)
        if tick % 10 == 0:
            down.offer(bytes(300), now, camera=1)
        for camera, receiver in enumerate(receivers):
            ask = receiver.next_ask(now, True, 1.0)
            if ask is not None:
                up.offer(
                    Request(still=ask.pack()).pack(), now, TrafficClass.REQUEST, camera=camera
                )
        for received in up.poll(now):
            part = sender.cameras[received.camera]
            part.ask(StillAsk.unpack(Request.unpack(received.payload).still))
            if part.wants:
                sender.give(stills[received.camera], received.camera)
        sender.step(now)
        for received in down.poll(now):
            if received.traffic_class is TrafficClass.FRAME:
                frames += 1
                continue
            order.append(received.camera)
            found = receivers[received.camera].on_part(received.payload, now)
            if found is not None:
                came[received.camera] = found, now
    assert {camera: found for camera, (found, _) in came.items()} == stills
    assert set(order[: 2 * 11]) == {0, 2} and abs(order.count(0) - order.count(2)) <= 2
    assert all(a != b for a, b in itertools.pairwise(order[2:20])), 'by turns'
    bits = 2 * 8 * (2000 + 12) * 200 / 180
    last = max(at for _, at in came.values())
    assert last - 1.0 > 0.9 * bits / (0.2 * 12_000), 'no more than the share of one'
    assert not receivers[1].wanted and sum(one.dropped for one in receivers) == 0
    alone, _, _ = run(Channel(12_000.0, mtu=200), Channel(12_000.0), 40.0)
    assert frames >= 0.8 * alone


def test_the_check_is_over_stamp_and_file():
    stamp = STILL.stamp_ns.to_bytes(8, 'big')
    whole = b''.join(part.data for part in STILL.parts(1, 107))
    assert whole[8:12] == zlib.crc32(stamp + STILL.data).to_bytes(4, 'big')
    with pytest.raises(PayloadError, match='CRC'):
        Still.unpack(b'\0' + whole[1:])
