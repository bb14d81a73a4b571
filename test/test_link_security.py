"""Sealed datagrams: read by the other end once, and by nobody else."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.datagrams import framing, seals, security
from gsc_ros.link.datagrams.framing import Datagram, TrafficClass
from gsc_ros.link.datagrams.reassembly import Reassembler
from gsc_ros.link.datagrams.seals import FramingError, ReplayError, SealError
from gsc_ros.link.datagrams.security import WINDOW, ReplayWindow, Sealed
from gsc_ros.link.radio.losses import GilbertElliottModel
from gsc_ros.link.traffic.channel import Channel

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def seal(*used, direction='down', start=0, received=()):
    return Sealed(used or (KEY,), direction, itertools.count(start), received)


sessions = st.integers(1, 0xFFFF).filter(framing.is_session)
DATAGRAM = Datagram(TrafficClass.FRAME, 700, 3, b'what the robot sees', end=True, cut=True)


@given(
    st.builds(
        Datagram,
        st.sampled_from(TrafficClass),
        st.integers(0, 0xFFFF),
        st.integers(0, 255),
        st.binary(min_size=1, max_size=300),
        st.booleans(),
        st.booleans(),
        session=sessions,
        camera=st.integers(0, 7),
    ),
    st.integers(0, security.MAX_COUNT),
)
def test_the_other_end_reads_what_was_sealed(datagram, count):
    data = datagram.pack(seal(start=count))
    assert len(data) == len(datagram.fragment) + Sealed.overhead
    assert Datagram.unpack(data, seal()) == datagram
    assert datagram.fragment not in data or len(datagram.fragment) < 3


@settings(deadline=None)
@given(st.data())
def test_every_changed_bit_and_every_missing_byte_is_seen(data):
    packet = bytearray(DATAGRAM.pack(seal(start=77)))
    bit = data.draw(st.integers(0, len(packet) * 8 - 1))
    packet[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FramingError):
        Datagram.unpack(bytes(packet), seal())
    packet[bit // 8] ^= 1 << bit % 8
    for part in (packet[: data.draw(st.integers(0, len(packet) - 1))], packet + b'x'):
        with pytest.raises(FramingError):
            Datagram.unpack(bytes(part), seal())
    assert Datagram.unpack(bytes(packet), seal()) == DATAGRAM


@pytest.mark.parametrize('opener', [seal(OTHER), seal(direction='up'), seals.CHECKSUM])
def test_others_and_the_other_direction_cannot_read_it(opener):
    with pytest.raises(FramingError):
        Datagram.unpack(DATAGRAM.pack(seal()), opener)


def test_what_is_not_sealed_is_refused():
    with pytest.raises(FramingError):
        Datagram.unpack(DATAGRAM.pack(), seal())


@given(st.lists(st.integers(0, 2 * WINDOW), max_size=60), st.integers(-1, WINDOW))
def test_each_count_is_taken_once(counts, newest):
    window, come = ReplayWindow(newest), set(range(newest + 1))
    for count in counts:
        old = count in come or count <= max(come, default=-1) - WINDOW
        assert window.fresh(count) != old
        if not old:
            window.add(count)
            come.add(count)
        assert window.newest == max(come, default=-1)


def test_played_back_datagrams_are_counted_and_dropped():
    sender, receiver = seal(), Reassembler(1.0, seal())
    packets = [d.pack(sender) for d in framing.fragments(bytes(90), TrafficClass.FRAME, 1, 50, 19)]
    received = [r for p in packets for r in receiver.push(p, 0.0)]
    assert [r.payload for r in received] == [bytes(90)]
    for packet in packets:
        assert receiver.push(packet, 0.1) == []
    assert receiver.replayed == len(packets) and receiver.malformed == 0
    late = Reassembler(1.0, seal(received=receiver.seal.newest_counts))  # after a restart
    assert late.push(packets[0], 5.0) == [] and late.replayed == 1


def test_random_changed_and_repeated_datagrams_never_raise():
    rng, sender, receiver = random.Random(1), seal(), Reassembler(1.0, seal())
    good = [DATAGRAM.pack(sender) for _ in range(50)]
    fresh = 0
    for i in range(10_000):
        data = bytearray(rng.choice(good))
        kind = rng.randrange(4)
        if kind == 0:
            data = bytearray(rng.randbytes(rng.randrange(80)))
        elif kind == 1:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[rng.randrange(len(data)) :]
        fresh += len(receiver.push(bytes(data), i * 1e-3))
        assert receiver.held_bytes <= 1000
    assert receiver.replayed > 2000 and receiver.malformed + receiver.older > 7000
    assert fresh <= len(good)


def test_keys_can_be_changed_without_a_pause():
    ground = seal(KEY, OTHER)
    Datagram.unpack(DATAGRAM.pack(seal(KEY)), ground)
    Datagram.unpack(DATAGRAM.pack(seal(OTHER, KEY)), ground)
    with pytest.raises(ReplayError):
        Datagram.unpack(DATAGRAM.pack(seal(OTHER)), ground)
    with pytest.raises(FramingError):
        Datagram.unpack(DATAGRAM.pack(seal(KEY, start=9)), seal(OTHER))


def test_keys_and_orders_are_returned_and_a_key_that_was_replaced_stays_so():
    """Withheld datagrams of a session that was never received cannot take the place of a newer."""
    receiver = Reassembler(1.0, seal(KEY, OTHER))

    def push(key, count, session, number=0):
        made = Datagram(TrafficClass.FRAME, number, 0, b'x', end=True, session=session)
        return receiver.push(made.pack(seal(key, start=count)), 0.0)

    (received,) = push(KEY, 100, 11)
    assert (received.session, received.key, received.order) == (11, 0, 100)
    assert push(KEY, 90, 10) == [] and receiver.retired == 1  # from before that session
    assert push(KEY, 101, 11, 1)
    (received,) = push(OTHER, 5, 12)
    assert (received.session, received.key, received.order) == (12, 1, 5)
    assert push(KEY, 200, 13) == push(OTHER, 4, 14) == [] and receiver.retired == 3
    assert push(OTHER, 6, 15) and receiver.session == 15
    assert push(OTHER, 6, 15) == [] and receiver.replayed == 1


def test_a_session_is_followed_again_where_its_order_shows_that_it_goes_on():
    """Two senders with one key: what is sent now is shown, and nobody is locked out for ever."""
    receiver = Reassembler(1.0, seal())
    shown = []
    for session, count in ((11, 5), (12, 9), (11, 7), (11, 12), (12, 10), (12, 13)):
        made = Datagram(TrafficClass.FRAME, count, 0, b'x', end=True, session=session)
        shown += [r.order for r in receiver.push(made.pack(seal(start=count)), 0.0)]
    assert shown == [5, 9, 12, 13] and receiver.retired == 2


def test_a_stop_of_a_session_that_is_over_is_handed_up():
    for sealed in (False, True):
        near, far = (seal(), seal()) if sealed else (seals.CHECKSUM, seals.CHECKSUM)
        stop = Datagram(TrafficClass.STOP, 3, 0, b'stop', end=True, session=11).pack(near)
        receiver = Reassembler(1.0, far)
        for number, session in enumerate((11, 12)):
            frame = Datagram(TrafficClass.FRAME, number, 0, b'x', end=True, session=session)
            receiver.push(frame.pack(near), 0.0)
        (received,) = receiver.push(stop, 0.0)
        assert (received.traffic_class, received.session, received.payload) == (
            TrafficClass.STOP,
            11,
            b'stop',
        )
        assert received.order == (0 if sealed else None)
        assert (receiver.retired, receiver.session) == (1, 12)
        assert len(receiver.push(stop, 0.0)) == (0 if sealed else 1)  # played back


def test_an_older_release_is_distinguished_from_another_key():
    receiver = Reassembler(1.0, seal())
    receiver.push(b'\x52' + bytes(40), 0.0)  # frame, version 2
    receiver.push(DATAGRAM.pack(seal(OTHER)), 0.0)
    receiver.push(DATAGRAM.pack(), 0.0)
    assert (receiver.older, receiver.malformed, receiver.session) == (1, 2, 0)
    with pytest.raises(FramingError, match='security'):
        Datagram.unpack(DATAGRAM.pack(), seal())


def test_a_sealed_channel_delivers_what_a_plain_one_does():
    def run(**options):
        channel = Channel(
            8000, 0.1, 60, loss=GilbertElliottModel.from_mean(0.1), seed=3, **options
        )
        out = []
        for i in range(40):
            channel.offer(bytes([i]) * 80, i * 0.5)
            out += [(r.number, len(r.payload) > 0) for r in channel.poll(i * 0.5 + 0.4)]
        return out, channel

    plain, _ = run()
    sealed, channel = run(seal=seal())
    assert len(sealed) > 30 and abs(len(sealed) - len(plain)) < 5
    assert channel.sender.max_payload == 256 * (60 - 19)
    assert channel.statistics(20.0).packets_malformed == 0


def test_nothing_goes_out_that_cannot_be_proven():
    channel = Channel(8000, seal=Sealed([KEY], 'down'))  # no counts: it only listens
    channel.offer(b'image', 0.0)
    assert channel.poll(9.0) == []
    assert channel.sender.unsealed == 1 and 'listens' in channel.sender.trouble
    assert channel.statistics(9.0).sent_bytes == 0
    with pytest.raises(SealError, match='used'):
        DATAGRAM.pack(seal(start=security.MAX_COUNT + 1))


@pytest.mark.parametrize('bad', [[], [b'short'], [KEY, b'']])
def test_bad_keys_are_refused(bad):
    with pytest.raises(ValueError, match='key'):
        Sealed(bad, 'down')
