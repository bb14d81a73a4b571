"""
What the page shows of link, coders and nodes: figures as the nodes publish them, nothing computed.

Messages are read by their fields' names; no ROS is imported.
"""

from collections import deque
from typing import Any

from gsc_ros.console.freshness import Link

_LINK = (
    'profile', 'rate_bps', 'offered_bps', 'used_bps', 'loss', 'margin_db', 'delay_s',
    'queue_age_s', 'queue_bytes', 'open', 'closes_in_s', 'next_window_in_s', 'changes_in_s',
    'parity', 'peer_silence_s', 'frames_sent', 'frames_delivered', 'frames_stale', 'frames_lost',
    'packets_malformed', 'packets_replayed', 'commands_offered', 'commands_dropped',
)  # fmt: skip
_CODER = (
    'message', 'device', 'preset', 'renderer', 'budget_bytes', 'encode_ms', 'decode_ms',
    'frame_rate_hz', 'rate_kbps', 'frames_rejected', 'keyframes_requested',
)  # fmt: skip
_HISTORY_S, _STEP_S = 600.0, 1.0
_TROUBLE_S = 5.0
_MOST_TROUBLES = 32
_LEVELS = 'ok', 'warn', 'error', 'stale'


def way(link: Any, encoder: Any, decoder: Any) -> Link:
    """Return what their statuses state of a frame's way; each may be None."""
    if link is None:
        return Link()
    took = getattr(encoder, 'encode_ms', 0.0), getattr(decoder, 'decode_ms', 0.0)
    coding_s = sum(ms / 1000 for ms in took if ms > 0)  # NaN before the first frame
    return Link(link.delay_s, link.rate_bps, link.queue_age_s, coding_s)


def link_figures(status: Any, frame_bytes: int) -> dict[str, Any] | None:
    """Return the figures of a link status and the bytes of the last frame; None without one."""
    if status is None:
        return None
    return {name: getattr(status, name) for name in _LINK} | {'frame_bytes': frame_bytes}


def coder_figures(status: Any) -> dict[str, Any] | None:
    """Return the figures of an encoder's or decoder's status; None without one."""
    if status is None:
        return None
    found = {name: getattr(status, name) for name in _CODER if hasattr(status, name)}
    return found | {'level': _level(status.level)}


class History:
    """A second's figures for ten minutes: time (s), rate, offered, used (bit/s), loss, age (s)."""

    def __init__(self) -> None:
        self._rows: deque[tuple[float, ...]] = deque(maxlen=round(_HISTORY_S / _STEP_S))

    def add(self, now: float, link: dict[str, Any] | None, age_s: float) -> None:
        """Note the figures of now (s), if a second has passed."""
        if link is None or (self._rows and now < self._rows[-1][0] + _STEP_S):
            return
        values = (link[name] for name in ('rate_bps', 'offered_bps', 'used_bps', 'loss'))
        self._rows.append((now, *map(float, values), age_s))

    def rows(self) -> list[list[float]]:
        """Return them, the oldest first; the time counts to the newest, and so is 0 or below."""
        rows = list(self._rows)  # as another thread may add one meanwhile
        newest = rows[-1][0] if rows else 0.0
        return [[row[0] - newest, *row[1:]] for row in rows]


class Troubles:
    """What nodes report on /diagnostics that is not OK, as long as they report it."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str, float]] = {}

    def add(self, name: str, level: int, message: str, now: float) -> None:
        """Note a node's state; ``level`` as in DiagnosticStatus."""
        self._found.pop(name, None)
        if level:
            self._found[name] = level, message[:500], now
            while len(self._found) > _MOST_TROUBLES:
                del self._found[next(iter(self._found))]

    def listed(self, now: float) -> list[dict[str, str]]:
        """Return those of the last seconds: node, level, message."""
        return [
            {'node': name.split(':')[0][:80], 'level': _level(level), 'message': message}
            for name, (level, message, at) in sorted(list(self._found.items()))
            if now - at < _TROUBLE_S
        ]


def _level(level: int) -> str:
    return _LEVELS[level] if 0 <= level < len(_LEVELS) else 'error'
