"""
Who may open the console: addresses, password, sessions, origin.

On loopback no password is needed; elsewhere one is. A session is a random token in a cookie that
scripts cannot read and that other sites' pages do not send (HttpOnly, SameSite=Strict). What
changes something must come from a page of this console's own address (its Origin), which keeps
other sites' pages out, and without a password also the Host must be a loopback name, against
names that are made to lead here (DNS rebinding). Times are s of a monotonic clock.
"""

import hashlib
import hmac
import ipaddress
import secrets
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gsc_ros.link.datagrams import trusted_files

COOKIE = 'gsc_console'
LEAST_PASSWORD = 8
_MOST_PASSWORD = 256
_MOST_SESSIONS = 256
_ENDED_S = 86400.0  # for so long after its end a session may give the STOP
# Failed tries: so many in so long of an address, so that nobody can keep the others out.
_TRIES, _TRIES_S = 10, 60.0
_MOST_ADDRESSES = 1024


class AccessError(ValueError):
    """Settings with which the console would be open to others."""


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine alone."""
    name = host.strip('[]').lower()
    if name == 'localhost':
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def read_password(path: str) -> str:
    """Read the password of a file; raises ``OSError`` or ``ValueError`` with the remedy."""
    text = trusted_files.read(
        trusted_files.follow(Path(path).expanduser().absolute()), secret=True
    )
    password = text.split('\n', 1)[0].strip()
    if len(password) < LEAST_PASSWORD:
        raise AccessError(
            f'{path}: its first line is the password and needs {LEAST_PASSWORD} characters or more'
        )
    return password


@dataclass
class _Session:
    began_s: float
    used_s: float


class Access:
    """
    Decides about requests. ``password``: None where none is asked for (loopback only).

    session_s: after which a session ends; idle_s: after which one that is not used ends.
    """

    def __init__(self, host: str, password: str | None, session_s: float, idle_s: float) -> None:
        if password is None and not is_loopback(host):
            raise AccessError(
                f'host {host!r} can be reached from elsewhere, and so needs a password: write one '
                'into a file that only you can read (chmod 600) and set password_file, or take '
                'host 127.0.0.1'
            )
        self._digest = None if password is None else _digest(password)
        self._session_s, self._idle_s = session_s, idle_s
        self._sessions: dict[str, _Session] = {}
        self._ended: dict[str, float] = {}  # by time or number, and when
        self._failed: dict[str, deque[float]] = {}  # by address, the newest last
        self.refused = 0

    @property
    def needs_password(self) -> bool:
        """Whether one has to log in."""
        return self._digest is not None

    def wait_s(self, now: float, address: str = '') -> float:
        """Return for how long an address may not try a password; 0 where it may."""
        failed = self._failed.get(_who(address))
        if failed is None or len(failed) < _TRIES:
            return 0.0
        return max(0.0, failed[0] + _TRIES_S - now)

    def login(self, password: str, now: float, address: str = '') -> str | None:
        """Return the token of a new session, or None for a wrong password."""
        given = _digest(password[:_MOST_PASSWORD])
        if self.wait_s(now, address) or self._digest is None:
            self.refused += 1
            return None
        if not hmac.compare_digest(given, self._digest):
            self.refused += 1
            who = _who(address)
            tries = self._failed.pop(who, None) or deque(maxlen=_TRIES)
            tries.append(now)
            self._failed[who] = tries
            if len(self._failed) > _MOST_ADDRESSES:
                del self._failed[next(iter(self._failed))]
            return None
        self._forget_ended(now)
        while len(self._sessions) >= _MOST_SESSIONS:
            self._end(next(iter(self._sessions)), now)
        token = secrets.token_urlsafe(32)
        self._sessions[token] = _Session(now, now)
        return token

    def logout(self, token: str | None) -> None:
        """End a session, also for the STOP."""
        self._sessions.pop(token or '', None)
        self._ended.pop(token or '', None)

    def valid(self, token: str | None, now: float, use: bool = True) -> bool:
        """Whether a session is open; ``use``: count this as a use of it."""
        if self._digest is None:
            return True
        self._forget_ended(now)
        session = self._sessions.get(token or '')
        if session is None:
            return False
        if use:
            session.used_s = now
        return True

    def may_stop(self, token: str | None, now: float) -> bool:
        """
        Whether a session may give the STOP: one that is open, or that ended within the last day by
        itself and not by a log-out. Who may drive must not lose the STOP to a clock.
        """
        if self.valid(token, now, use=False):
            return True
        ended_s = self._ended.get(token or '')
        return ended_s is not None and now - ended_s <= _ENDED_S

    def is_ours(self, host: str | None, origin: str | None) -> bool:
        """Whether a request comes from a page of this console."""
        return self.host_allowed(host) and self.same_origin(origin, host)

    def host_allowed(self, host: str | None) -> bool:
        """Whether a request may name this Host."""
        if self._digest is not None:
            return True
        name = urlsplit(f'//{host or ""}').hostname if _is_plain(host) else None
        return name is not None and is_loopback(name)

    def same_origin(self, origin: str | None, host: str | None) -> bool:
        """Whether a request comes from a page of this address."""
        if not (_is_plain(origin) and _is_plain(host)):
            return False
        parts = urlsplit(origin or '')
        return parts.scheme in ('http', 'https') and parts.netloc.lower() == (host or '').lower()

    def _forget_ended(self, now: float) -> None:
        for token, one in list(self._sessions.items()):
            if now - one.began_s > self._session_s or now - one.used_s > self._idle_s:
                self._end(token, now)

    def _end(self, token: str, now: float) -> None:
        del self._sessions[token]
        self._ended[token] = now
        if len(self._ended) > _MOST_SESSIONS:
            del self._ended[next(iter(self._ended))]


def _who(address: str) -> str:
    """Return by what tries are counted: of IPv6 the network, as one host has all of its /64."""
    try:
        found = ipaddress.ip_address(address.partition('%')[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address) or found.ipv4_mapped is not None:
        return address
    return str(ipaddress.IPv6Network((int(found), 64), strict=False))


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode('utf-8', 'surrogatepass')).digest()


def _is_plain(text: str | None) -> bool:
    """Whether a header can be taken apart: urlsplit raises for some brackets."""
    if not text or len(text) > 300:
        return False
    try:
        _ = urlsplit(text).hostname, urlsplit(f'//{text}').hostname
    except ValueError:
        return False
    return True
