"""Datagrams and reassembly: any bytes in, only checked bytes out."""

import itertools
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.datagrams import framing, seals
from gsc_ros.link.datagrams.framing import Datagram, TrafficClass
from gsc_ros.link.datagrams.reassembly import Reassembler
from gsc_ros.link.datagrams.seals import CHECKSUM, FramingError
from gsc_ros.link.datagrams.security import Sealed
from gsc_ros.link.radio import airtime

payloads = st.binary(min_size=1, max_size=3000)
mtus = st.integers(airtime.MIN_MTU, 1500)


def cut_up(payload, mtu, number=0, traffic_class=TrafficClass.FRAME, session=1):
    parts = framing.fragments(payload, traffic_class, number, mtu, session=session)
    return [datagram.pack() for datagram in parts]


@given(payloads, mtus, st.sampled_from(TrafficClass), st.integers(0, 0xFFFF))
def test_what_goes_in_comes_out(payload, mtu, traffic_class, number):
    packets = cut_up(payload, mtu, number, traffic_class)
    assert all(len(packet) <= mtu for packet in packets)
    assert sum(map(len, packets)) == framing.air_bytes(len(payload), mtu)
    assert seals.OVERHEAD == 11
    receiver = Reassembler(1.0)
    out = [received for packet in packets for received in receiver.push(packet, 0.0)]
    assert [(r.traffic_class, r.number, r.payload, r.truncated) for r in out] == [
        (traffic_class, number, payload, False)
    ]
    assert receiver.held_bytes == 0


@given(payloads, mtus, st.sets(st.integers(0, 70)))
def test_losses_leave_the_longest_unbroken_beginning(payload, mtu, lost):
    packets = cut_up(payload, mtu)
    receiver = Reassembler(1.0)
    out = []
    for index, packet in enumerate(packets):
        if index not in lost:
            out += receiver.push(packet, 0.0)
    out += receiver.expire(1.0)
    first = min((i for i in lost if i < len(packets)), default=len(packets))
    expected = payload[: first * (mtu - seals.OVERHEAD)]
    assert [r.payload for r in out] == ([expected] if expected else [])
    assert all(r.truncated == (first < len(packets)) for r in out)
    assert receiver.headless == (
        first == 0 and len(lost & set(range(len(packets)))) < len(packets)
    )


def test_a_newer_payload_ends_an_older_one():
    receiver = Reassembler(10.0)
    old, new = cut_up(b'a' * 100, 50, 7), cut_up(b'b' * 10, 50, 8)
    assert receiver.push(old[0], 0.0) == []
    first, second = receiver.push(new[0], 0.1)
    assert (first.payload, first.truncated) == (b'a' * 39, True)
    assert (second.payload, second.truncated) == (b'b' * 10, False)
    assert receiver.push(old[1], 0.2) == [] and receiver.late == 1


def test_classes_do_not_disturb_each_other():
    receiver = Reassembler(10.0)
    frame = cut_up(b'a' * 60, 50, 7)
    assert receiver.push(frame[0], 0.0) == []
    (command,) = receiver.push(cut_up(b'c', 50, 9, TrafficClass.COMMAND)[0], 0.0)
    assert command.traffic_class is TrafficClass.COMMAND
    assert receiver.push(frame[1], 0.0)[0].payload == b'a' * 60


def test_duplicates_are_counted_and_change_nothing():
    receiver = Reassembler(10.0)
    packets = cut_up(b'a' * 60, 50)
    out = [r for packet in (packets[0], packets[0], packets[1], packets[1]) for r in
           receiver.push(packet, 0.0)]  # fmt: skip
    assert [r.payload for r in out] == [b'a' * 60]
    assert receiver.late == 2


def test_numbers_wrap_and_what_lies_behind_is_late():
    receiver = Reassembler(10.0)
    for number in (0xFFFE, 0xFFFF, 0, 1):
        assert receiver.push(cut_up(b'x', 50, number)[0], 0.0)
    for number in (1, 0, 0xFFFF, 0x8002):
        assert not receiver.push(cut_up(b'x', 50, number)[0], 0.0)
    assert receiver.late == 4
    assert receiver.push(cut_up(b'x', 50, 0x8001)[0], 0.0)


@pytest.mark.parametrize('sealed', [False, True], ids=['checksum', 'encrypted'])
@pytest.mark.parametrize('skipped', [1, 32_767, 40_000, 65_000])
def test_after_an_outage_of_any_length_the_next_payload_is_taken(sealed, skipped):
    seal = Sealed([bytes(32)], 'down', itertools.count()) if sealed else CHECKSUM
    receiver = Reassembler(5.0, Sealed([bytes(32)], 'down') if sealed else CHECKSUM)

    def datagram(number):
        (one,) = framing.fragments(
            b'frame', TrafficClass.FRAME, number % 65536, 100, seal.overhead, session=9
        )
        return one.pack(seal)

    early = datagram(99)
    assert receiver.push(datagram(100), 0.0)
    assert receiver.push(datagram(100 + skipped), 7200.0)
    if sealed:  # what was held up meanwhile is late still
        assert not receiver.push(early, 7201.0)
        assert receiver.late == 1


def test_another_session_begins_anew_and_the_one_before_is_over():
    receiver = Reassembler(10.0)
    old = cut_up(b'a' * 60, 50, 700, session=0x0102)
    assert receiver.push(old[0], 0.0) == [] and receiver.held_bytes == 39
    (new,) = receiver.push(cut_up(b'again', 50, 0, session=0x0304)[0], 0.0)
    assert (new.payload, new.session, receiver.session) == (b'again', 0x0304, 0x0304)
    assert receiver.held_bytes == 0 and receiver.headless == 0
    assert receiver.push(old[1], 0.0) == [] and receiver.retired == 1
    assert receiver.push(cut_up(b'b', 50, 701, session=0x0102)[0], 0.0) == []
    assert (receiver.retired, receiver.late, receiver.session) == (2, 0, 0x0304)


def test_the_memory_of_sessions_that_are_over_is_bounded():
    receiver = Reassembler(10.0)
    for session in range(1, 200):
        assert receiver.push(cut_up(b'x', 50, session=session)[0], 0.0)
    for session in range(199 - 64, 199):
        assert not receiver.push(cut_up(b'x', 50, session=session)[0], 0.0)
    assert (receiver.retired, len(receiver._over)) == (64, 64)


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([(1, b'a'), (2, b'b'), (0x300 | 5, b'c')]), max_size=40),
    st.integers(0, 0xFFFF),
)
def test_however_sessions_interleave_none_comes_back(order, number):
    receiver, shown = Reassembler(10.0), []
    for step, (session, letter) in enumerate(order):
        for received in receiver.push(cut_up(letter, 50, number + step, session=session)[0], 0.0):
            assert (received.session, received.payload) == (session, letter)
            shown.append(session)
    runs = [key for key, _ in itertools.groupby(shown)]
    assert len(runs) == len(set(runs))
    assert len(shown) + receiver.retired == len(order)


def test_quiet_payloads_are_handed_up_when_due():
    receiver = Reassembler(0.5)
    assert receiver.next_expiry is None
    receiver.push(cut_up(b'a' * 100, 50)[0], 2.0)
    assert receiver.next_expiry == 2.5
    assert receiver.expire(2.4) == []
    (received,) = receiver.expire(2.5)
    assert received.truncated and receiver.next_expiry is None


@given(st.binary(min_size=1, max_size=80), st.data())
def test_every_damaged_bit_is_seen(payload, data):
    packet = bytearray(cut_up(payload, 200)[0])
    bit = data.draw(st.integers(0, len(packet) * 8 - 1))
    packet[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FramingError):
        Datagram.unpack(bytes(packet))


def packet_with(head):
    body = head + b'x'
    return body + zlib.crc32(body, seals.CRC_SEED).to_bytes(4, 'big')


@pytest.mark.parametrize(
    ('head', 'message'),
    [
        (b'\xe2\0\1\0\0\0\0', 'version 7'),
        (b'\x83\0\1\0\0\0\0', 'security'),
        (b'\x22\0\0\0', 'older gsc_ros'),
        (b'\x42\0\1\2\3', 'older gsc_ros'),
        (b'\x7f\0\1\0\0\0\0', 'unknown class 31'),
        (b'\x69\0\1\0\0\0\0', 'POSE is not used yet'),
        (b'\x63\0\0\0\0\0\0', 'no session 0'),
        (b'\x63\1\0\0\0\0\0', 'no session 256'),
        (b'\x63\0\1\0\0\1\0', 'bits are set'),
    ],
)
def test_headers_of_another_format_are_refused(head, message):
    with pytest.raises(FramingError, match=message):
        Datagram.unpack(packet_with(head))


def test_the_bytes_are_those_of_the_document():
    made = Datagram(
        TrafficClass.FRAME, 0x1234, 2, b'xyz', end=True, cut=True, session=0xABCD, camera=5
    )
    assert made.pack()[:-4] == bytes.fromhex('63 abcd 1234 e8 02') + b'xyz'
    assert Datagram.unpack(made.pack()) == made
    assert [(traffic_class.name, traffic_class.value) for traffic_class in TrafficClass] == [
        ('STOP', 0), ('COMMAND', 1), ('SETUP', 2), ('FRAME', 3), ('REQUEST', 6), ('REPORT', 7),
        ('GOAL', 8),
        ('TELEMETRY', 10), ('STILL', 11),
    ]  # fmt: skip


def test_an_older_release_is_counted_apart_from_damage():
    receiver = Reassembler(1.0)
    # Frame, number 7, one fragment: as version 1 had it.
    body = b'\x32\0\7\0hello'
    old = body + zlib.crc32(body, seals.CRC_SEED).to_bytes(4, 'big')
    assert receiver.push(old, 0.0) == []
    assert (receiver.older, receiver.malformed, receiver.refused) == (1, 0, 1)


def test_another_camera_is_counted_and_dropped():
    receiver = Reassembler(1.0)
    data = Datagram(TrafficClass.FRAME, 1, 0, b'x', end=True, camera=1).pack()
    assert receiver.push(data, 0.0) == []
    assert (receiver.other_camera, receiver.refused) == (1, 0)


def test_a_plain_crc_32_is_foreign():
    body = b'\x63\0\1\0\0\x80\0hello'
    with pytest.raises(FramingError, match='CRC'):
        Datagram.unpack(body + zlib.crc32(body).to_bytes(4, 'big'))


def test_a_cut_payload_is_whole_but_truncated():
    receiver = Reassembler(1.0)
    assert receiver.push(Datagram(TrafficClass.FRAME, 1, 0, b'a').pack(), 0.0) == []
    (received,) = receiver.push(
        Datagram(TrafficClass.FRAME, 1, 1, b'b', end=True, cut=True).pack(), 0.0
    )
    assert (received.payload, received.truncated) == (b'ab', True)


@pytest.mark.parametrize(
    ('size', 'mtu'), [(0, 50), (framing.max_payload(50) + 1, 50), (9, 49), (9, 65508)]
)
def test_impossible_payloads_are_refused(size, mtu):
    with pytest.raises(ValueError, match=r'payload|mtu'):
        list(framing.fragments(bytes(size), TrafficClass.FRAME, 0, mtu))


@pytest.mark.parametrize('quiet', [0.0, -1.0, float('nan')])
def test_the_timeout_must_be_positive(quiet):
    with pytest.raises(ValueError, match='timeout_s'):
        Reassembler(quiet)


def test_20000_random_and_mutated_datagrams():
    """Nothing raises, nothing unchecked comes out, memory stays bounded."""
    rng = random.Random(1)
    receiver = Reassembler(0.05)
    truth = {}
    pool = []
    for number in range(40):
        traffic_class = rng.choice(list(TrafficClass))
        payload = rng.randbytes(rng.randint(1, 600))
        truth[traffic_class, number] = payload
        pool += cut_up(payload, 60, number, traffic_class)
    bound = len(TrafficClass) * framing.max_payload(60)
    for step in range(20_000):
        kind = rng.randrange(4)
        packet = bytearray(rng.choice(pool))
        if kind == 0:
            packet = bytearray(rng.randbytes(rng.randint(0, 80)))
        elif kind == 1:
            packet[rng.randrange(len(packet))] ^= rng.randint(1, 255)
        elif kind == 2:
            packet = packet[: rng.randrange(len(packet))]
        now = step * 1e-3
        for received in receiver.expire(now) + receiver.push(bytes(packet), now):
            assert truth[received.traffic_class, received.number].startswith(received.payload)
        assert receiver.held_bytes <= bound
    # Three kinds in four are damaged and every one of those was counted.
    assert 14_000 < receiver.malformed + receiver.older < 16_000
    assert receiver.older < 2500  # noise that looks so


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_are_taken_without_harm(packets):
    receiver = Reassembler(1.0)
    for packet in packets:
        assert receiver.push(packet, 0.0) == []
    assert receiver.malformed + receiver.older == len(packets)
