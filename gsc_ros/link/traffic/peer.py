"""What an end knows of the other one: when it was last received, and what else comes instead."""

import math
from collections import deque
from typing import NamedTuple

from gsc_ros.link.datagrams.reassembly import Reassembler

# Trouble is what came in so many seconds.
WINDOW_S = 30.0
_STEP_S = 1.0
_FEW = 3  # datagrams: no more than chance brings
_REPLAYED_SHARE = 0.05  # networks give a datagram twice now and then
# An end is silent after so many of the other's reports are missing, and for what networks hold up.
_REPORTS_MISSED = 3
_SLACK_S = 2.0


class _Came(NamedTuple):
    """Counters of a receiver."""

    accepted: int
    malformed: int
    older: int
    again: int  # replayed, or of a session that is over

    @classmethod
    def of(cls, receiver: Reassembler) -> '_Came':
        return cls(
            receiver.accepted,
            receiver.malformed,
            receiver.older,
            receiver.replayed + receiver.retired,
        )


class Peer:
    """
    The other end as seen through a receiver, in explicit time (s).

    ``sealed``: whether datagrams are proven by a key.
    """

    def __init__(self, receiver: Reassembler, sealed: bool, now: float = 0.0) -> None:
        self._receiver, self._sealed = receiver, sealed
        self._began = now
        self._heard_at = -math.inf
        self._accepted = 0
        self._history = deque([(now, _Came.of(receiver))])

    @property
    def session(self) -> int:
        """Of the other end, as last received; 0: not yet."""
        return self._receiver.session

    def update(self, now: float) -> None:
        """Take note of what came up to now."""
        if self._receiver.accepted != self._accepted:
            self._accepted, self._heard_at = self._receiver.accepted, now
        if now >= self._history[-1][0] + _STEP_S:
            self._history.append((now, _Came.of(self._receiver)))
            while len(self._history) > 1 and self._history[1][0] <= now - WINDOW_S:
                self._history.popleft()

    def heard_s(self, now: float) -> float:
        """Return the time since something proven came from there, s; infinite: never."""
        return now - self._heard_at

    def silent(self, now: float, since: float, pause_s: float, delay_s: float) -> bool:
        """
        Whether nothing has come for longer than is usual.

        since: when the link began or opened (s); pause_s: time between the other end's reports;
        delay_s: one way.
        """
        begun = max(since, self._began)
        if math.isinf(self._heard_at) or self._heard_at < begun:
            # Its first report answers something of ours.
            heard_at, usual_s = begun, 2 * delay_s
        else:
            heard_at, usual_s = self._heard_at, 0.0
        return now > heard_at + usual_s + silent_after_s(pause_s)

    def trouble(self, now: float) -> str:
        """Say what is wrong with what came lately, and the remedy; empty for nothing."""
        now_came, then = _Came.of(self._receiver), self._history[0][1]
        came = _Came(*(a - b for a, b in zip(now_came, then, strict=True)))
        if came.again > max(_FEW, _REPLAYED_SHARE * came.accepted):
            return (
                f'{came.again} datagrams were sent before or by another sender: does another one '
                'use this key? One key is for one robot and one ground'
                if self._sealed
                else f'{came.again} datagrams are of another sender or of one that has ended'
            )
        if came.accepted or came.older + came.malformed < _FEW:
            return ''
        if came.older > came.malformed:
            return 'the other end runs an older gsc_ros: update it'
        if self._sealed:
            return (
                f'{came.malformed} datagrams fail authentication: do the keys differ, or has the '
                'other end security switched off?'
            )
        return (
            f'{came.malformed} datagrams fail their checksum: has the other end security on, or '
            'another profile?'
        )


def silent_after_s(pause_s: float) -> float:
    """Return how long an end may be silent that reports every `pause_s` seconds, s."""
    return _REPORTS_MISSED * pause_s + _SLACK_S


def received_ago(seconds: float) -> str:
    """Say when the other end was last received."""
    if math.isinf(seconds):
        return 'never'
    return f'{max(0.0, seconds):.1f} s ago'
