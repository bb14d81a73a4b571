"""
Datagrams in CCSDS Space Packets (CCSDS 133.0-B-2, section 4.1), one in each, unsegmented.

A packet has a primary header of 6 bytes, big-endian, in front of the datagram::

    bytes 0-1   version 0 (3 bits) | type (1 bit) | secondary header: none (1 bit) | APID (11 bits)
    bytes 2-3   unsegmented: 3 (2 bits) | sequence count of the APID, modulo 16384 (14 bits)
    bytes 4-5   bytes behind this header, less 1
    ...         the datagram
    last 2      CRC-16 of all before it, where the datagram has no tag of its own

Frames go down as telemetry, commands go up as telecommands. The CRC-16 (polynomial 0x1021, begun
from ones: the packet error control of ECSS-E-ST-70-41C, annex B; from memory, not opened) stands
in for the datagram's CRC-32, so that a fragment costs 15 bytes and not 17: that is version 5 of
the datagram. It lets one in 65,536 damaged packets pass. With encryption the packet holds the
sealed datagram, and its header is not authenticated: nothing is read from it but that it is the
right one.
"""

import binascii
import struct

from gsc_ros.link.datagrams.seals import (
    CHECKED_VERSION,
    CHECKSUM,
    HEAD_BYTES,
    OLDER_VERSIONS,
    PACKET_VERSION,
    FramingError,
    Opened,
    Seal,
    check_version,
)

HEADER_BYTES = 6
# Types and APIDs of the directions; 2040 to 2047 are reserved by the book.
APIDS = {'down': 100, 'up': 101}
_COUNTS = 1 << 14
_CRC = struct.Struct('>H')
_CRC_START = 0xFFFF
_OLDER = OLDER_VERSIONS | {CHECKED_VERSION}  # older releases called a datagram in a packet so


class SpacePackets:
    """
    The seal of one direction, 'down' or 'up', that puts datagrams into Space Packets.

    ``inner``: the seal of the datagram within; None: the packet's own CRC-16. Raises ValueError
    for another direction and without the package ``spacepackets``.
    """

    def __init__(self, direction: str, inner: Seal | None = None) -> None:
        try:
            from spacepackets import ccsds
        except ImportError:
            raise ValueError(
                'packets: ccsds needs the package spacepackets; '
                "pip install 'spacepackets>=0.24,<1'"
            ) from None
        if direction not in APIDS:
            raise ValueError(f'direction must be one of {", ".join(APIDS)}, got {direction!r}')
        self._ccsds = ccsds
        self._type = ccsds.PacketType.TM if direction == 'down' else ccsds.PacketType.TC
        self._apid = APIDS[direction]
        self._inner = inner
        self._count = 0
        self.version = inner.version if inner else PACKET_VERSION
        self.overhead = HEADER_BYTES + (inner.overhead if inner else HEAD_BYTES + _CRC.size)

    def close(self, first: bytes, rest: bytes) -> bytes:
        """See :class:`framing.Seal`."""
        body = self._inner.close(first, rest) if self._inner else first + rest
        length = len(body) + (0 if self._inner else _CRC.size)
        header = self._ccsds.SpacePacketHeader(
            self._type, self._apid, seq_count=self._count, data_len=length - 1
        )
        self._count = (self._count + 1) % _COUNTS
        packet = bytes(header.pack()) + body
        return packet if self._inner else packet + _CRC.pack(_crc(packet))

    def open(self, data: bytes) -> Opened:
        """See :class:`framing.Seal`."""
        if len(data) <= HEADER_BYTES:
            raise FramingError(f'a packet has more than {HEADER_BYTES} bytes, got {len(data)}')
        self._check(data)
        if self._inner:
            return self._inner.open(data[HEADER_BYTES:])
        check_version(data[HEADER_BYTES], self.version, _OLDER)
        packet, crc = data[: -_CRC.size], data[-_CRC.size :]
        if len(data) < self.overhead:
            raise FramingError(f'a packet has {self.overhead} bytes at least, got {len(data)}')
        if _CRC.unpack(crc)[0] != _crc(packet):
            raise FramingError('the CRC of the packet does not fit')
        return Opened(packet[HEADER_BYTES : HEADER_BYTES + 1], packet[HEADER_BYTES + 1 :])

    def _check(self, data: bytes) -> None:
        header = self._ccsds.SpacePacketHeader.unpack(data[:HEADER_BYTES])
        for label, found, expected in (
            ('version', header.ccsds_version, 0),
            ('type', header.packet_type, self._type),
            ('secondary header flag', header.sec_header_flag, False),
            ('APID', header.apid, self._apid),
            ('sequence flags', header.seq_flags, self._ccsds.SequenceFlags.UNSEGMENTED),
            ('length', header.packet_len, len(data)),
        ):
            if found != expected:
                raise FramingError(f'{label} of the packet is {found!r}, not {expected!r}')


def seal_for(packets: str, direction: str, inner: Seal | None = None) -> Seal:
    """
    Make the seal of a direction for `packets` of a profile, around another one or a checksum.

    Raises ValueError as :class:`SpacePackets` does.
    """
    return SpacePackets(direction, inner) if packets == 'ccsds' else inner or CHECKSUM


def _crc(data: bytes) -> int:
    return binascii.crc_hqx(data, _CRC_START)
