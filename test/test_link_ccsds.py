"""Datagrams in Space Packets: bytes that others would write, and what is refused."""

import builtins
import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_link_channel import frame

from gsc_ros.link.datagrams import ccsds
from gsc_ros.link.datagrams.ccsds import SpacePackets, seal_for
from gsc_ros.link.datagrams.framing import Datagram, TrafficClass, claims_stop
from gsc_ros.link.datagrams.reassembly import Reassembler
from gsc_ros.link.datagrams.seals import CHECKSUM, FramingError
from gsc_ros.link.datagrams.security import Sealed
from gsc_ros.link.radio import profiles
from gsc_ros.link.traffic.channel import Channel

spacepackets = pytest.importorskip('spacepackets')
KEY = bytes(range(32))
DATAGRAM = Datagram(TrafficClass.FRAME, 0x1234, 2, b'fragment', end=True)

datagrams = st.builds(
    Datagram,
    st.sampled_from(TrafficClass),
    st.integers(0, 0xFFFF),
    st.integers(0, 255),
    st.binary(min_size=1, max_size=300),
    st.booleans(),
    st.booleans(),
)


def sealed(direction='down'):
    return Sealed([KEY], direction, itertools.count())


def test_the_bytes_are_those_of_the_book():
    # TM, APID 100; unsegmented, count 0; 17 bytes behind the header; the datagram; CRC-16.
    golden = bytes.fromhex('0064 c000 0010 a3 0001 1234 80 02') + b'fragment'
    packed = DATAGRAM.pack(SpacePackets('down'))
    assert packed[:-2] == golden
    # CRC-16 by its definition, bit by bit.
    crc = 0xFFFF
    for byte in golden:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    assert packed[-2:] == crc.to_bytes(2, 'big')
    assert ccsds._crc(b'123456789') == 0x29B1  # the check value of this CRC


@pytest.mark.parametrize(('direction', 'apid'), [('down', 100), ('up', 101)])
def test_the_packet_is_that_of_the_library(direction, apid):
    from spacepackets.ccsds import PacketType, SpacePacket, SpacePacketHeader

    kind = PacketType.TM if direction == 'down' else PacketType.TC
    inner = DATAGRAM.pack(sealed(direction))
    header = SpacePacketHeader(kind, apid, 0, len(inner) - 1)
    theirs = bytes(SpacePacket(header, None, inner).pack())
    assert DATAGRAM.pack(SpacePackets(direction, sealed(direction))) == theirs


def test_the_overhead_is_fifteen_bytes_and_twenty_five_with_encryption():
    assert SpacePackets('down').overhead == 15
    assert SpacePackets('down', sealed()).overhead == 25


@given(datagrams, st.booleans(), st.sampled_from(['down', 'up']))
def test_what_goes_in_comes_out(datagram, secure, direction):
    near, far = (SpacePackets(direction, sealed(direction) if secure else None) for _ in range(2))
    data = datagram.pack(near)
    assert len(data) == len(datagram.fragment) + near.overhead
    assert Datagram.unpack(data, far) == datagram


@given(st.binary(max_size=60), st.booleans(), st.booleans())
def test_foreign_bytes_raise_nothing_but_a_framing_error(data, secure, ours):
    seal = SpacePackets('down', sealed() if secure else None)
    if ours:  # past the header, into what lies behind it
        data = b'\x00\x64\xc0\x00' + max(0, len(data) - 1).to_bytes(2, 'big') + data
    # Suppressed and not demanded: one in 65,536 has the right CRC-16.
    with contextlib.suppress(FramingError):
        seal.open(data)
    with contextlib.suppress(FramingError):
        Datagram.unpack(data, seal)


@pytest.mark.parametrize(
    ('at', 'bits', 'message'),
    [
        (0, 0x20, 'version'),
        (0, 0x10, 'type'),
        (0, 0x08, 'secondary'),
        (1, 0x01, 'APID'),
        (2, 0x40, 'sequence flags'),
        (5, 0x01, 'length'),
        (9, 0x01, 'CRC'),
    ],
)
def test_damage_is_named(at, bits, message):
    data = bytearray(DATAGRAM.pack(SpacePackets('down')))
    data[at] ^= bits
    with pytest.raises(FramingError, match=message):
        Datagram.unpack(bytes(data), SpacePackets('down'))


@given(st.integers(0, 8 * 20 - 1), st.booleans())
def test_no_bit_of_a_plain_packet_can_change(bit, cut):
    data = bytearray(DATAGRAM.pack(SpacePackets('down')))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FramingError):
        Datagram.unpack(bytes(data[: bit // 8] if cut else data), SpacePackets('down'))


def test_the_format_of_an_older_release_is_named():
    old = bytearray(DATAGRAM.pack(SpacePackets('down')))
    old[6] = 0x72  # version 3: so it called a datagram in a packet
    receiver = Reassembler(1.0, SpacePackets('down'))
    receiver.push(bytes(old), 0.0)
    assert (receiver.older, receiver.malformed) == (1, 0)


def test_directions_and_formats_do_not_mix():
    for other in (SpacePackets('up'), SpacePackets('down', sealed()), CHECKSUM, sealed()):
        with pytest.raises(FramingError):
            Datagram.unpack(DATAGRAM.pack(SpacePackets('down')), other)


def test_counts_go_up_and_begin_anew_after_fourteen_bits():
    seal = SpacePackets('down')
    counts = [int.from_bytes(DATAGRAM.pack(seal)[2:4], 'big') & 0x3FFF for _ in range(16_386)]
    assert counts == [*range(16_384), 0, 1]


def test_a_replayed_packet_is_refused_by_the_seal_within():
    receiver = Reassembler(1.0, SpacePackets('down', sealed()))
    data = DATAGRAM.pack(SpacePackets('down', sealed()))
    for _ in range(2):
        receiver.push(data, 0.0)
    assert (receiver.replayed, receiver.malformed) == (1, 0)


@pytest.mark.parametrize('secure', [False, True])
def test_a_channel_counts_the_packets_in_rate_and_size(secure):
    seal = seal_for('ccsds', 'down', sealed() if secure else None)
    channel = Channel(8000.0, mtu=100, seal=seal)
    payload = frame(0.0, 200)
    channel.offer(payload, 0.0)
    count = -(-200 // (100 - seal.overhead))
    on_air = 200 + count * seal.overhead
    assert channel.frame_s(200) == pytest.approx(on_air / 1000)
    (received,) = channel.poll(10.0)
    assert received.payload == payload
    assert channel.statistics(10.0).sent_bytes == on_air


def test_profiles_straight_to_earth_use_packets_and_others_do_not():
    using = {name for name in profiles.known() if profiles.load(name).packets == 'ccsds'}
    assert using == {
        'mars_dte_hga_34m',
        'mars_dte_hga_70m',
        'mars_dte_lga_34m',
        'moon_dte_x_34m',
    }
    assert seal_for('none', 'down') is CHECKSUM


def test_without_the_library_it_names_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith('spacepackets'):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(ValueError, match='pip install'):
        SpacePackets('down')


def test_another_direction_is_refused():
    with pytest.raises(ValueError, match='direction'):
        SpacePackets('sideways')


@pytest.mark.parametrize('traffic_class', TrafficClass)
@pytest.mark.parametrize('packets', [False, True])
@pytest.mark.parametrize('secure', [False, True])
def test_a_stop_is_told_by_its_datagram_before_that_is_opened(traffic_class, packets, secure):
    inner = sealed('up') if secure else None
    seal = SpacePackets('up', inner) if packets else inner or CHECKSUM
    data = Datagram(traffic_class, 1, 0, b'x').pack(seal)
    skip = ccsds.HEADER_BYTES if packets else 0
    assert claims_stop(data, skip) == (traffic_class is TrafficClass.STOP)
    assert not claims_stop(data[:skip], skip)
