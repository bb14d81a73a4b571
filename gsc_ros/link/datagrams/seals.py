"""
How datagrams are proven: the seals of one direction, closed at one end and opened at the other.

`Checksum` keeps damage out, and nobody who means harm; `security.py` has the seal that encrypts,
`ccsds.py` the one that puts datagrams into Space Packets.
"""

import struct
import zlib
from typing import NamedTuple, Protocol

PLACE = struct.Struct('>HHBB')
HEAD_BYTES = 1 + PLACE.size
CRC = struct.Struct('>I')
OVERHEAD = HEAD_BYTES + CRC.size  # of a datagram with a CRC
# Seeding the CRC keeps out foreign datagrams that happen to end in a plain CRC-32 of their own.
CRC_SEED = zlib.crc32(b'gsc datagram')
VERSION_SHIFT = 5
CHECKED_VERSION, SEALED_VERSION, PACKET_VERSION = 3, 4, 5
OLDER_VERSIONS = frozenset((1, 2))


class FramingError(ValueError):
    """A datagram that is not ours or was damaged."""


class OlderVersionError(FramingError):
    """A datagram in the format of an older release."""


class ReplayError(FramingError):
    """A datagram that came before, or one so old that it might have."""


class SealError(RuntimeError):
    """A datagram that cannot be sealed and so must not go out."""


class Opened(NamedTuple):
    """
    A datagram that was proven: its first byte and the rest.

    ``key``: index of the key that fitted, 0 where there is none; ``order``: its count under that
    key, None where datagrams have no order that can be proven.
    """

    first: bytes
    rest: bytes
    key: int = 0
    order: int | None = None


class Seal(Protocol):
    """
    How datagrams of one direction are proven: closed at one end, opened at the other.

    ``overhead``: bytes a datagram has beside its fragment; ``version``: its format, 0..7.
    """

    version: int
    overhead: int

    def close(self, first: bytes, rest: bytes) -> bytes:
        """
        Return the bytes for the air of a datagram's first byte and the rest.

        Raises :class:`SealError` when there is no way to prove it.
        """

    def open(self, data: bytes) -> Opened:
        """
        Return what was closed; raises :class:`FramingError` for what is not proven.

        :class:`OlderVersionError` for another version that an older release has, and
        :class:`ReplayError` for what came before.
        """


def check_version(first: int, expected: int, older: frozenset[int] = OLDER_VERSIONS) -> None:
    """Raise :class:`FramingError` unless a first byte has the expected version."""
    version = first >> VERSION_SHIFT
    if version in older:
        raise OlderVersionError(
            f'version {version} is that of an older gsc_ros: update the other end'
        )
    if version != expected:
        known = version in (CHECKED_VERSION, SEALED_VERSION, PACKET_VERSION)
        hint = ': security or packets differ at the other end' if known else ''
        raise FramingError(f'version {version} is not {expected}{hint}')


class Checksum:
    """A CRC-32 keeps damage out."""

    version = CHECKED_VERSION
    overhead = OVERHEAD

    def close(self, first: bytes, rest: bytes) -> bytes:
        """See :class:`Seal`."""
        body = first + rest
        return body + CRC.pack(zlib.crc32(body, CRC_SEED))

    def open(self, data: bytes) -> Opened:
        """See :class:`Seal`."""
        check_version(data[0] if data else 0, self.version)
        if len(data) < self.overhead:
            raise FramingError(f'a datagram has {self.overhead} bytes at least, got {len(data)}')
        body, crc = data[: -CRC.size], data[-CRC.size :]
        if CRC.unpack(crc)[0] != zlib.crc32(body, CRC_SEED):
            raise FramingError('the CRC does not fit')
        return Opened(body[:1], body[1:])


CHECKSUM = Checksum()
