"""
Datagrams over a serial line: for radio modems.

Each is stuffed with COBS (Cheshire and Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM
Transactions on Networking 7(2), 1999), so that a zero byte is its end and nothing else: whatever
was lost or damaged, the next datagram is found.
"""

import contextlib
import errno
import os
import termios
import time
from collections.abc import Hashable

from cobs import cobs
from serial import Serial, SerialException

from gsc_ros.link.traffic.transports import Retry

_END = b'\0'
# A start bit, eight of data, a stop bit.
_BITS_PER_BYTE = 10
# Longest datagram; what goes on for longer without an end is noise.
_MAX_BYTES = 65535
_REASONS = {
    errno.EACCES: 'Permission denied: is this user in the group of the device?',
    errno.EAGAIN: 'another program has it',
    errno.EBUSY: 'another program has it',
}


class Unstuffer:
    """Finds datagrams in a stream of bytes; ``dropped`` counts bytes that are part of none."""

    def __init__(self) -> None:
        self.dropped = 0
        self._rest = bytearray()
        self._lost = False  # the beginning of what comes now

    def push(self, data: bytes) -> list[bytes]:
        """Take bytes as they come; returns the datagrams that end in them."""
        out = []
        *ended, rest = data.split(_END)
        for part in ended:
            self._rest += part
            if self._rest and not self._lost:
                try:
                    out.append(cobs.decode(bytes(self._rest)))
                except cobs.DecodeError:
                    self.dropped += len(self._rest)
            elif self._lost:
                self.dropped += len(self._rest)
            self._rest.clear()
            self._lost = False
        self._rest += rest
        if len(self._rest) > _MAX_BYTES:
            self.dropped += len(self._rest)
            self._rest.clear()
            self._lost = True
        return out


class SerialTransport:
    """
    A serial port, 8 data bits, no parity, one stop bit.

    A port that is not there yet, or fails, is opened for ever, ever less often. Raises
    ``ValueError`` for a baud rate that the device does not have.
    """

    def __init__(self, device: str, baud: int) -> None:
        if not device:
            raise ValueError('a serial link needs the parameter device, e.g. /dev/ttyUSB0')
        self.name = f'serial {device} at {baud} baud'
        self._device, self._baud = device, baud
        self._port: Serial | None = None
        self._retry = Retry()
        self.trouble = ''
        self._unstuffer = Unstuffer()
        self._open(time.monotonic())

    @property
    def peer(self) -> str:
        """See :class:`Transport`."""
        return self._device

    @property
    def dropped(self) -> int:
        """Bytes that were part of no datagram."""
        return self._unstuffer.dropped

    def max_rate_bps(self, mtu: int) -> float:
        """Bits of datagrams a second: less than the baud rate by framing bits and stuffing."""
        stuffed = mtu + mtu // 254 + 1 + 2 * len(_END)
        return self._baud * 8 / _BITS_PER_BYTE * mtu / stuffed

    def send(self, data: bytes) -> None:
        """See :class:`Transport`."""
        port = self._port
        if port is None:
            raise OSError(self.trouble)
        stuffed = self._stuff(data)
        written = os.write(port.fileno(), stuffed)
        if written < len(stuffed):
            raise OSError(f'{self._device} takes no more: is its baud rate lower than the link?')

    @staticmethod
    def _stuff(data: bytes) -> bytes:
        # An end before it as well: what the line caught while nobody sent is then cut off.
        return _END + cobs.encode(data) + _END

    def receive(self, timeout_s: float) -> list[tuple[bytes, Hashable]]:
        """See :class:`Transport`."""
        port = self._port
        if port is None:
            time.sleep(timeout_s)
            try:
                self._open(time.monotonic())
            except ValueError as error:  # its baud rate
                self._failed(f'{self._device}: {error}; trying again')
            return []
        try:
            port.timeout = timeout_s
            data = port.read(1)
            data += port.read(port.in_waiting)
        except (OSError, termios.error) as error:
            self._port = None
            self._failed(f'{self._device} failed: {error}; trying again')
            with contextlib.suppress(OSError):
                port.close()
            raise OSError(self.trouble) from None
        return [(datagram, self._device) for datagram in self._unstuffer.push(data)]

    def answer(self, source: Hashable) -> None:
        """See :class:`Transport`: there is one far end only."""

    def repeated(self, source: Hashable) -> None:
        """See :class:`Transport`."""

    def close(self) -> None:
        """See :class:`Transport`; nobody may receive any more."""
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def _open(self, now: float) -> None:
        """Try to open the port, when it is time to."""
        if now < self._retry.at:
            return
        try:
            self._port = Serial(self._device, self._baud, timeout=0, exclusive=True)
        except (SerialException, termios.error) as error:
            self._failed(f'cannot open {self._device}: {_reason(error)}; trying again')
            return
        self.trouble = ''
        self._retry.worked()

    def _failed(self, why: str) -> None:
        self.trouble = why
        self._retry.failed(time.monotonic())


def _reason(error: Exception) -> str:
    code = getattr(error, 'errno', None)
    return _REASONS.get(code, os.strerror(code)) if code else str(error)
