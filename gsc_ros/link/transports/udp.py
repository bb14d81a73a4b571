"""Datagrams over UDP: robot and ground on different hosts, with or without a fixed address."""

import contextlib
import math
import select
import socket
from collections.abc import Hashable

_MAX_DATAGRAM = 65535
# Datagrams taken at a time: the thread looks up now and then, whatever comes in.
_BATCH = 64


def parse_address(text: str) -> tuple[str, int]:
    """
    Read ``host:port``, ``[IPv6 address]:port`` or ``:port`` (any address of this host).

    Raises ``ValueError`` for anything else.
    """
    host, colon, port = text.rpartition(':')
    host = host.removeprefix('[').removesuffix(']')
    if not colon or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f'{text!r} is not an address: give host:port or [IPv6]:port')
    return host, int(port)


class UdpTransport:
    """
    A UDP socket.

    ``local``: address to listen on, ``:port`` for all of this host; ``remote``: where to send to;
    empty: to where the last proven datagram came from, so that one end may have any address and
    change it. Raises ``ValueError`` for what is not an address, ``OSError`` for one that cannot be
    used.
    """

    def __init__(self, local: str, remote: str = '') -> None:
        host, port = parse_address(local)
        self._fixed = bool(remote)
        self._remote: tuple | None = None
        family = socket.AF_UNSPEC
        if remote:
            family, self._remote = _resolve(*parse_address(remote), remote)
        elif not host:
            family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        if host:
            family, address = _resolve(host, port, local, family)
        else:
            address = ('::' if family == socket.AF_INET6 else '0.0.0.0', port)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                with contextlib.suppress(OSError):  # IPv4 as well, where that can be
                    self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self._socket.setblocking(False)
            self._socket.bind(address)
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f'cannot listen on {local}: {error.strerror}') from None
        self.name = f'udp {local}' + (f' to {remote}' if remote else '')
        self.dropped = 0

    @property
    def local(self) -> tuple[str, int]:
        """Address that is listened on."""
        host, port, *_ = self._socket.getsockname()
        return host, port

    def max_rate_bps(self, mtu: int) -> float:
        """See :class:`Transport`."""
        return math.inf

    def send(self, data: bytes) -> None:
        """See :class:`Transport`."""
        if self._remote is None:
            raise OSError('nobody has called yet: there is no address to send to')
        self._socket.sendto(data, self._remote)

    def receive(self, timeout_s: float) -> list[tuple[bytes, Hashable]]:
        """See :class:`Transport`."""
        select.select([self._socket], [], [], timeout_s)
        came: list[tuple[bytes, Hashable]] = []
        try:
            while len(came) < _BATCH:
                came.append(self._socket.recvfrom(_MAX_DATAGRAM))
        except BlockingIOError:
            pass
        except ConnectionError:
            # An earlier datagram of ours found no receiver (ICMP): it is lost like any other.
            self.dropped += 1
        return came

    def answer(self, source: Hashable) -> None:
        """See :class:`Transport`."""
        if not self._fixed and isinstance(source, tuple):
            self._remote = source

    def close(self) -> None:
        """See :class:`Transport`."""
        self._socket.close()


def _resolve(
    host: str, port: int, text: str, family: socket.AddressFamily = socket.AF_UNSPEC
) -> tuple[socket.AddressFamily, tuple]:
    """Return family and address of a host; raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(f'there is no address {text}: {error}') from None
    return found[0][0], found[0][4]
