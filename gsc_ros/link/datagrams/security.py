"""
Authenticated encryption of datagrams: AES-256 in CCM mode (NIST SP 800-38C), 8-byte tags.

A sealed datagram has 19 bytes beside its fragment, big-endian::

    byte 0      version 4 (3 bits), traffic class as in `framing.py`, in the clear
    bytes 1-4   count of the datagram under its key, in the clear: the nonce
    ...         encrypted: session, payload number, flags, fragment index, fragment
    last 8      tag over all of it

Each direction has a key of its own, derived from the shared one (HKDF, RFC 5869), so that nothing
can be sent back to where it came from. A count is used once: whoever gives counts out must never
give one twice, restarts included (`keys.py`). The receiver takes each count once, in a sliding
window (RFC 4303, section 3.4.3).
"""

import struct
from collections.abc import Iterator, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gsc_ros.link.datagrams.seals import (
    HEAD_BYTES,
    SEALED_VERSION,
    FramingError,
    Opened,
    ReplayError,
    SealError,
    check_version,
)

KEY_BYTES = 32
TAG_BYTES = 8
MAX_COUNT = 0xFFFFFFFF
WINDOW = 256
_COUNT = struct.Struct('>I')
_CLEAR = 1 + _COUNT.size
_NONCE_BYTES = 13  # leaves two bytes for the length: datagrams are no longer


def _cipher(key: bytes, direction: str) -> AESCCM:
    if len(key) != KEY_BYTES:
        raise ValueError(f'a key has {KEY_BYTES} bytes, got {len(key)}')
    info = b'gsc datagram 4 ' + direction.encode()
    return AESCCM(HKDF(SHA256(), KEY_BYTES, None, info).derive(key), tag_length=TAG_BYTES)


class ReplayWindow:
    """Which counts have come: each once, and none further back than the window."""

    def __init__(self, newest: int = -1) -> None:
        """``newest``: every count up to this one counts as come."""
        self.newest = newest
        self._come = (1 << WINDOW) - 1  # bit k: newest - k

    def fresh(self, count: int) -> bool:
        """Whether a count has not come before, and cannot have."""
        back = self.newest - count
        return back < 0 or (back < WINDOW and not self._come >> back & 1)

    def add(self, count: int) -> None:
        """Note that a count has come."""
        ahead = count - self.newest
        if ahead > 0:
            self._come = (self._come << min(ahead, WINDOW) | 1) & ((1 << WINDOW) - 1)
            self.newest = count
        else:
            self._come |= 1 << -ahead


class Sealed:
    """
    The seal of one direction: `counts` and the first key for closing, all keys for opening.

    ``keys``: 32 bytes each, several while they are being changed; ``direction``: any name that
    both ends use; ``counts``: endless numbers, never given out before for the first key, None at
    an end that only listens; ``received``: the greatest count taken before under each key, -1 for
    none. Raises ``ValueError`` for keys of another length.
    """

    version = SEALED_VERSION
    overhead = HEAD_BYTES + _COUNT.size + TAG_BYTES

    def __init__(
        self,
        keys: Sequence[bytes],
        direction: str,
        counts: Iterator[int] | None = None,
        received: Sequence[int] = (),
    ) -> None:
        if not keys:
            raise ValueError('a seal needs a key')
        self._ciphers = [_cipher(key, direction) for key in keys]
        self._counts = counts
        past = [*received, *[-1] * len(keys)]
        self._windows = [ReplayWindow(newest) for newest in past[: len(keys)]]

    @property
    def newest_counts(self) -> list[int]:
        """The greatest count taken under each key, -1 for none."""
        return [window.newest for window in self._windows]

    def close(self, first: bytes, rest: bytes) -> bytes:
        """Encrypt; raises :class:`SealError` when there is no count to be had."""
        if self._counts is None:
            raise SealError('this end only listens')
        count = next(self._counts)
        if not 0 <= count <= MAX_COUNT:
            raise SealError('all counts of the link key are used: make another key')
        clear = first + _COUNT.pack(count)
        return clear + self._ciphers[0].encrypt(_nonce(count), rest, clear)

    def open(self, data: bytes) -> Opened:
        """
        Prove and decrypt.

        Raises :class:`FramingError` for what is not proven, and :class:`ReplayError` for what came
        before.
        """
        check_version(data[0] if data else 0, self.version)
        if len(data) < self.overhead:
            raise FramingError(f'a sealed datagram has {self.overhead} bytes at least')
        clear = data[:_CLEAR]
        (count,) = _COUNT.unpack_from(clear, 1)
        for key, (cipher, window) in enumerate(zip(self._ciphers, self._windows, strict=True)):
            try:
                rest = cipher.decrypt(_nonce(count), data[_CLEAR:], clear)
            except InvalidTag:
                continue
            if not window.fresh(count):
                raise ReplayError(f'datagram {count} has come before')
            window.add(count)
            return Opened(clear[:1], rest, key, count)
        raise FramingError('the tag does not fit: damaged, or sealed with another key')


def _nonce(count: int) -> bytes:
    return count.to_bytes(_NONCE_BYTES, 'big')
