"""The state of a link as diagnostics show it: what is wrong, and figures."""

import copy
import math
from collections.abc import Iterable

from gsc_ros.link.radio import units
from gsc_ros.link.traffic.peer import received_ago
from gsc_ros.link.traffic.statistics import Statistics
from gsc_ros.msg import LinkStatus
from gsc_ros.ros.diagnostics import ERROR, OK, STALE, WARN, Report

_SEVERITY = OK, STALE, WARN, ERROR

# A level of diagnostics, and what is wrong; empty for nothing.
Trouble = tuple[bytes, str]


def report_of(troubles: Iterable[Trouble], values: dict[str, object]) -> Report:
    """Return a report of all troubles that have a text, at the level of the most severe one."""
    named = [(level, text) for level, text in troubles if text]
    if not named:
        return Report(OK, 'ok', values)
    level = max((level for level, _ in named), key=_SEVERITY.index)
    return Report(level, '; '.join(text for _, text in named), values)


def closed(status: LinkStatus) -> str:
    """Return in words that a link is closed, and for how long."""
    return f'the link is closed and opens in {units.show(status.next_window_in_s, "time")}'


def of_camera(status: LinkStatus, stats: Statistics, share: float) -> LinkStatus:
    """Return what a camera has of a link: its share of the air, above 0, and its own frames."""
    out = copy.copy(status)
    # Each datagram takes so much longer, bytes and gap, as others have the air in between.
    out.rate_bps, out.gap_s = status.rate_bps * share, status.gap_s / share
    out.frames_sent, out.frames_delivered = stats.sent, stats.delivered
    out.frames_stale, out.frames_lost = stats.stale, stats.lost
    return out


def figures(status: LinkStatus) -> dict[str, object]:
    """Return a status as diagnostics show it."""
    silence_s = status.peer_silence_s
    return {
        'profile': status.profile,
        'rate kbps': status.rate_bps / 1e3,
        'changes in s': status.changes_in_s,
        'closes in s': status.closes_in_s,
        'next window in s': status.next_window_in_s,
        'delay s': status.delay_s,
        'margin dB': status.margin_db,
        'parity': status.parity,
        'offered kbps': status.offered_bps / 1e3,
        'used kbps': status.used_bps / 1e3,
        'loss': status.loss,
        'queue age s': status.queue_age_s,
        'other end last received': received_ago(silence_s if math.isfinite(silence_s) else None),
        'malformed': status.packets_malformed,
        'replayed': status.packets_replayed,
        'frames delivered': status.frames_delivered,
        'frames stale': status.frames_stale,
        'frames lost': status.frames_lost,
    }
