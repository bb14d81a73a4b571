"""Datagrams over UDP: robot and ground on different hosts, with or without a fixed address."""

import contextlib
import errno
import ipaddress
import math
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Hashable

from gsc_ros.link.traffic.transports import Retry
from gsc_ros.link.traffic.transports.caller import Caller

_MAX_DATAGRAM = 65535
# Datagrams taken at a time: the thread does its other work now and then, whatever comes in.
_BATCH = 64
# A name is looked up again when nothing came from its address for so long, s.
_SILENCE_S = 10.0
# At the start a name may take so long, s, before it is waited for elsewhere.
_PATIENCE_S = 0.5
_POLL_S = 0.01
# Errors of addresses and networks that are not up yet.
_NOT_YET = {
    errno.EADDRNOTAVAIL,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENODEV,
}
_HOST = re.compile(r'[\w.-]*')
_Addresses = list[tuple[socket.AddressFamily, tuple]]


def parse_address(text: str) -> tuple[str, int]:
    """
    Read ``host:port``, ``[IPv6 address]:port`` or ``:port`` (any address of this host).

    Raises ``ValueError`` for anything else.
    """
    host, colon, port = text.rpartition(':')
    right = bool(colon) and port.isascii() and port.isdigit() and int(port) <= 65535
    if host.startswith('[') and host.endswith(']'):
        host = host[1:-1]
        right = right and _version(host) == 6
    else:
        right = right and _is_host(host)
    if not right:
        raise ValueError(f'{text!r} is not an address: give host:port or [IPv6]:port')
    return host, int(port)


def _is_host(text: str) -> bool:
    """Whether a text may be the name or the IPv4 address of a host, or is empty."""
    try:
        text.encode('idna')
    except UnicodeError:
        return False
    return bool(_HOST.fullmatch(text))


def _version(host: str) -> int | None:
    """Return the version of an IP address; None for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None


class _Lookup:
    """Addresses of a host; a name is looked up in a thread, as that may take its time."""

    def __init__(self, text: str, host: str, find: Callable[[], _Addresses]) -> None:
        self.text, self._find = text, find
        # A zone (fe80::1%eth0) is there when its interface is.
        self.is_name = bool(host) and (_version(host) is None or '%' in host)
        self.failure = ''
        self.retry = Retry()
        self.busy = False
        self._outcome: _Addresses | OSError | None = None

    def poll(self, now: float) -> _Addresses:
        """Return what has been found, once; look it up again when it is time to."""
        if self._outcome is None and not self.busy and now >= self.retry.at:
            self.busy = True
            if self.is_name:
                threading.Thread(target=self._run, name='name lookup', daemon=True).start()
            else:
                self._run()
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, OSError):
            self.failed(
                f'there is no address {self.text} yet ({outcome.strerror}); trying again', now
            )
            return []
        return outcome or []

    def failed(self, why: str, now: float) -> None:
        """Note that an address could not be found, or not be used; look it up again later."""
        self.failure = why
        self.retry.failed(now)

    def worked(self) -> None:
        """Note that all is well."""
        self.failure = ''
        self.retry.worked()

    def _run(self) -> None:
        try:
            self._outcome = self._find()
        except OSError as error:
            self._outcome = error
        self.busy = False


class UdpTransport:
    """
    A UDP socket.

    ``local``: address to listen on, ``:port`` for all of this host; ``remote``: where to send to;
    empty: to where the other end calls from (`Caller`), so that one end may have any address and
    change it. An address that is not up yet and a name that no server has yet are tried again for
    ever; a name is looked up again when nothing comes from its address.

    Raises ``ValueError`` for what is not an address, ``OSError`` for one that cannot be used.
    """

    def __init__(self, local: str, remote: str = '') -> None:
        self.name = f'udp {local}' + (f' to {remote}' if remote else '')
        self.dropped = 0
        here, there = parse_address(local), parse_address(remote or ':0')
        if remote and not all(there):
            raise ValueError(f'{remote!r} is nowhere to send to: give host:port or [IPv6]:port')
        if {_version(here[0]), _version(there[0])} == {4, 6}:
            raise ValueError(
                f'{local} and {remote} cannot reach each other: one is IPv4, the other IPv6'
            )
        family = socket.AF_UNSPEC
        if not here[0]:
            plain = _version(there[0]) == 4 or not socket.has_dualstack_ipv6()
            family = socket.AF_INET if plain else socket.AF_INET6
        self._socket: socket.socket | None = None
        self._caller = Caller()
        self._remote: tuple | None = None  # the present address of `remote`
        self._received_at = time.monotonic()  # what was ours, last
        self._unreachable = False
        self._here = _Lookup(local, here[0], lambda: _resolve(*here, family))
        self._there = _Lookup(remote, there[0], lambda: _resolve(*there, self._family))
        self._start()

    @property
    def local(self) -> tuple[str, int]:
        """Address that is listened on; raises ``OSError`` before it is up."""
        if self._socket is None:
            raise OSError(self.trouble)
        host, port, *_ = self._socket.getsockname()
        return host, port

    @property
    def trouble(self) -> str:
        """See :class:`Transport`."""
        for lookup, works in ((self._here, self._socket), (self._there, self._remote)):
            if lookup.text and works is None:
                return lookup.failure or f'looking for {lookup.text}'
        return ''

    @property
    def peer(self) -> str:
        """See :class:`Transport`."""
        to = self._to
        if to is None:
            return ''
        host, port, *_ = to
        host = host.removeprefix('::ffff:')  # IPv4 as a socket of both kinds has it
        return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'

    def max_rate_bps(self, mtu: int) -> float:
        """See :class:`Transport`."""
        return math.inf

    def send(self, data: bytes) -> None:
        """See :class:`Transport`."""
        made, to = self._socket, self._to
        if made is None or to is None:
            nobody = 'nobody has called yet: there is no address to send to'
            raise OSError(self.trouble or nobody)
        try:
            made.sendto(data, to)
        except OSError as error:
            self._unreachable = error.errno in _NOT_YET
            raise

    def receive(self, timeout_s: float) -> list[tuple[bytes, Hashable]]:
        """See :class:`Transport`."""
        self._mend(time.monotonic())
        if self._socket is None:
            time.sleep(timeout_s)
            return []
        select.select([self._socket], [], [], timeout_s)
        received: list[tuple[bytes, Hashable]] = []
        try:
            while len(received) < _BATCH:
                received.append(self._socket.recvfrom(_MAX_DATAGRAM))
        except BlockingIOError:
            pass
        except ConnectionError:
            # An earlier datagram of ours found no receiver (ICMP): it is lost like any other.
            self.dropped += 1
        return received

    def answer(self, source: Hashable) -> None:
        """See :class:`Transport`."""
        self._received_at = time.monotonic()
        self._caller.proven(source, self._received_at)
        self._there.worked()

    def repeated(self, source: Hashable) -> None:
        """See :class:`Transport`."""
        self._caller.repeated(source, time.monotonic())

    def close(self) -> None:
        """See :class:`Transport`."""
        if self._socket is not None:
            self._socket.close()

    @property
    def _to(self) -> tuple | None:
        """Where datagrams go."""
        if self._there.text:
            return self._remote
        address = self._caller.address
        return address if isinstance(address, tuple) else None

    @property
    def _family(self) -> socket.AddressFamily:
        return self._socket.family if self._socket else socket.AF_UNSPEC

    def _start(self) -> None:
        """Listen, and find the address to send to, unless that takes long."""
        busy = True
        while busy and time.monotonic() < self._received_at + _PATIENCE_S:
            was_busy = self._here.busy or self._there.busy
            self._mend(time.monotonic(), strict=True)
            busy = was_busy or self._here.busy or self._there.busy
            if busy:
                time.sleep(_POLL_S)

    def _mend(self, now: float, strict: bool = False) -> None:
        """Open the socket and find the address to send to, where missing; see `_listen`."""
        if self._socket is None:
            self._listen(now, strict)
        if self._socket is not None and self._there.text:
            self._look_up(now)

    def _listen(self, now: float, strict: bool) -> None:
        """Try to listen; ``strict``: raise ``OSError`` for what waiting will hardly mend."""
        for family, address in self._here.poll(now)[:1]:
            made = socket.socket(family, socket.SOCK_DGRAM)
            try:
                if family == socket.AF_INET6:
                    with contextlib.suppress(OSError):  # IPv4 as well, where that can be
                        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                made.setblocking(False)
                made.bind(address)
            except OSError as error:
                made.close()
                why = f'cannot listen on {self._here.text}: {error.strerror}'
                if strict and error.errno not in _NOT_YET:
                    raise OSError(error.errno, why) from None
                self._here.failed(f'{why}; trying again', now)
                return
            self._socket = made
            self._here.worked()

    def _look_up(self, now: float) -> None:
        """Find the address of `remote`, anew when nothing comes from the one there is."""
        there = self._there
        silent = there.is_name and (self._unreachable or now > self._received_at + _SILENCE_S)
        if self._remote is not None and not silent:
            return
        found = [address for _, address in there.poll(now)]
        if not found:
            return
        # The next one that the name has: the present one does not answer.
        after = found.index(self._remote) + 1 if self._remote in found else 0
        self._remote = found[after % len(found)]
        self._unreachable = False
        if silent:
            there.retry.failed(now)
        else:
            there.worked()


def _resolve(host: str, port: int, family: socket.AddressFamily) -> _Addresses:
    """Return the addresses of a host, of any kind that a socket of a family reaches."""
    flags = socket.AI_PASSIVE
    if family == socket.AF_INET6:
        flags |= socket.AI_V4MAPPED | socket.AI_ALL
    try:
        found = socket.getaddrinfo(host or None, port, family, socket.SOCK_DGRAM, 0, flags)
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(0, getattr(error, 'strerror', None) or str(error)) from None
    return [(family, address) for family, _, _, _, address in found]
