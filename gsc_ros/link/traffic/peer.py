"""The other end of the link: when it was last received, and what comes in its place."""

from collections import deque
from typing import NamedTuple

from gsc_ros.link.datagrams.reassembly import Reassembler

# Trouble is what came in so many seconds.
WINDOW_S = 30.0
_STEP_S = 1.0
# What is not proven is trouble where nothing that is has come for so long.
_ABSENT_S = 10.0
_LONGEST_PAUSE_S = 600.0
_FEW = 3  # datagrams: no more than chance brings
_REPLAYED_SHARE = 0.05  # networks give a datagram twice now and then
# An end is silent after so many of the other's reports are missing, and for what networks hold up.
_REPORTS_MISSED = 3
_SLACK_S = 2.0


class _Counters(NamedTuple):
    """Of a receiver."""

    accepted: int
    malformed: int
    older: int
    repeated: int  # replayed, or of a session that is over

    @classmethod
    def of(cls, receiver: Reassembler) -> '_Counters':
        return cls(
            receiver.accepted,
            receiver.malformed,
            receiver.older,
            receiver.replayed + receiver.retired,
        )

    def since(self, earlier: '_Counters') -> '_Counters':
        """Return what was counted after earlier ones."""
        return _Counters(*(a - b for a, b in zip(self, earlier, strict=True)))


class Peer:
    """
    The other end as seen through a receiver, in explicit time (s).

    ``sealed``: whether datagrams are proven by a key.
    """

    def __init__(self, receiver: Reassembler, sealed: bool, now: float = 0.0) -> None:
        self._receiver, self._sealed = receiver, sealed
        self._began_at = now
        self._received_at: float | None = None
        self._last = _Counters.of(receiver)  # when something was accepted last
        self._unproven_count = self._last.older + self._last.malformed
        self._unproven_at, self._unproven_pause_s = now, 0.0  # the last, and after the one before
        self._history = deque([(now, self._last)])

    @property
    def session(self) -> int:
        """Of the other end, as last received; 0: not yet."""
        return self._receiver.session

    def update(self, now: float) -> None:
        """Note what came up to now."""
        counters = _Counters.of(self._receiver)
        if counters.accepted != self._last.accepted:
            self._last, self._received_at = counters, now
        if counters.older + counters.malformed != self._unproven_count:
            self._unproven_count = counters.older + counters.malformed
            self._unproven_pause_s = min(now - self._unproven_at, _LONGEST_PAUSE_S)
            self._unproven_at = now
        if now >= self._history[-1][0] + _STEP_S:
            self._history.append((now, counters))
            while len(self._history) > 1 and self._history[1][0] <= now - WINDOW_S:
                self._history.popleft()

    def silence_s(self, now: float) -> float | None:
        """Return the time since something proven came from there, s; None: nothing came yet."""
        return None if self._received_at is None else now - self._received_at

    def is_silent(self, now: float, since: float, pause_s: float, delay_s: float) -> bool:
        """
        Whether nothing has come for longer than is usual.

        since: when the link began or opened (s); pause_s: time between the other end's reports;
        delay_s: one way.
        """
        begun_at = max(since, self._began_at)
        if self._received_at is None or self._received_at < begun_at:
            # Its first report answers something of ours.
            last_at, usual_s = begun_at, 2 * delay_s
        else:
            last_at, usual_s = self._received_at, 0.0
        return now > last_at + usual_s + silent_after_s(pause_s)

    def trouble(self, now: float) -> str:
        """Return what is wrong with what came recently, and the remedy; empty for nothing."""
        return '; '.join(filter(None, (self._repeated(), self._unproven(now))))

    def _repeated(self) -> str:
        """Return that datagrams came before, or from another sender."""
        new = _Counters.of(self._receiver).since(self._history[0][1])
        if new.repeated <= max(_FEW, _REPLAYED_SHARE * new.accepted):
            return ''
        if not self._sealed:
            return f'{new.repeated} datagrams are of another sender or of one that has ended'
        return (
            f'{new.repeated} datagrams were sent before or by another sender: does another one '
            'use this key? One key is for one robot and one ground'
        )

    def _unproven(self, now: float) -> str:
        """Return that what comes in the place of the other end's datagrams is not proven."""
        silence_s = self.silence_s(now)
        # Who is not answered calls less and less often.
        over = now > self._unproven_at + WINDOW_S + 2 * self._unproven_pause_s
        if over or (silence_s is not None and silence_s < _ABSENT_S):
            return ''
        new = _Counters.of(self._receiver).since(self._last)
        if new.older + new.malformed < _FEW:
            return ''
        if new.older > new.malformed:
            return 'the other end runs an older gsc_ros: update it'
        if self._sealed:
            return (
                f'{new.malformed} datagrams fail authentication: do the keys differ, or has the '
                'other end security switched off?'
            )
        return (
            f'{new.malformed} datagrams fail their checksum: has the other end security on, or '
            'another profile?'
        )


def silent_after_s(pause_s: float) -> float:
    """Return how long an end may be silent that reports every `pause_s` seconds, s."""
    return _REPORTS_MISSED * pause_s + _SLACK_S


def received_ago(seconds: float | None) -> str:
    """Return in words when the other end was last received; None: never."""
    if seconds is None:
        return 'never'
    return f'{max(0.0, seconds):.1f} s ago'
