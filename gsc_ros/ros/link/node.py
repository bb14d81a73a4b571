"""What every link node has: a profile, keys, explicit time, an alarm, and link/status."""

import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType

from gsc_ros.link.datagrams.ccsds import seal_for
from gsc_ros.link.datagrams.framing import random_session
from gsc_ros.link.datagrams.key_file import default_path
from gsc_ros.link.datagrams.keys import KeyRing
from gsc_ros.link.datagrams.reassembly import Received
from gsc_ros.link.datagrams.seals import Seal
from gsc_ros.link.datagrams.security import Sealed
from gsc_ros.link.radio import airtime, budget, profiles
from gsc_ros.link.traffic.cameras import CameraStream, parse_cameras
from gsc_ros.link.traffic.peer import Peer, received_ago
from gsc_ros.link.traffic.sender import Sender
from gsc_ros.link.traffic.statistics import Statistics
from gsc_ros.msg import LinkStatus
from gsc_ros.ros import topics
from gsc_ros.ros.diagnostics import ERROR, WARN
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.link.state_report import Trouble, of_camera
from gsc_ros.ros.parameters import Parameters, parameter

STATUS_PERIOD_S = 0.5
# Rates and loss are those of so many seconds.
WINDOW_S = 10.0
LOG_PERIOD_S = 5.0
NO_FRAMES_S = 5.0  # without frames: something is wrong
_NOTICE_S = 600.0  # of the keys
# Shortest sleep: keeps rounding from waking the node again and again for one event.
_LEAST_SLEEP_S = 2e-4


@dataclass(frozen=True)
class LinkBaseParameters(Parameters):
    """Parameters of every link node."""

    profile: str = parameter(
        'moon_dte_s_13m',
        'Link profile: a name that `gsc link-budget --list` shows, or the path of a .yaml file',
        read_only=True,
    )
    rate_scale: float = parameter(
        1.0, 'Factor on the computed rate', low=1e-3, high=1e3, read_only=True
    )
    mtu: int = parameter(
        0,
        'Datagram size in bytes, 50 or more; 0 keeps the profile',
        low=0,
        high=airtime.MAX_MTU,
        read_only=True,
    )
    cameras: str = parameter(
        '',
        'Cameras that share the link, the same at both ends, as front:2,rear,arm: names, which '
        'are the namespaces of their topics, and weights where they are not 1; empty: one without '
        'a name',
        read_only=True,
    )
    security: bool = parameter(
        True, 'Encrypt and authenticate every datagram, both ways', read_only=True
    )
    key_file: str = parameter(
        '',
        'Key of the link, as `gsc key` makes it; empty, where the link is simulated: '
        '~/.ros/gsc_ros/link.key, made if missing',
        read_only=True,
    )


P = TypeVar('P', bound=LinkBaseParameters)


class LinkBase(GscNode[P]):
    """
    A link node without its sides and its medium.

    A node returns what it counts (:meth:`statistics`) and when it has something to do
    (:meth:`deadlines`), does it (:meth:`step`), and has a ``downlink``: the sender whose rate is
    published.

    ``time_ns``: the clock at the last :meth:`update_time`.
    """

    one_clock = False  # whether both ends have the same
    keys_made = False  # whether a missing key file may be made
    keys: KeyRing | None = None
    cameras: tuple[CameraStream, ...]
    shares: tuple[float, ...] = ()  # of each camera, where this end shares the air between them
    reset_reason = ''  # why the link begins anew, where it does
    _notice, _notice_at = '', 0.0  # the last one about them, and when (s, monotonic)

    # To be overridden

    @property
    def downlink(self) -> Sender:
        """The sender of frames: its rate, delay and datagrams are published."""
        raise NotImplementedError

    @property
    def delay_s(self) -> float:
        """Propagation delay, one way, s."""
        return self.budget.delay_s

    @property
    def margin_db(self) -> float | None:
        """By how much the signal is above what its code needs, dB; None: not known."""
        return None

    def reset(self) -> None:
        """Begin at time zero with nothing on its way and nothing counted."""
        self.refused = 0
        self.session = self.keys.next_session() if self.keys else random_session()
        self._epoch_ns = self.time_ns = self.get_clock().now().nanoseconds
        self._published_bps: float | None = None  # in the last status
        self._published_shares: tuple[float, ...] = ()
        self._history: deque[tuple[float, Statistics]] = deque()
        self._opened_at = 0.0

    def step(self, now: float) -> None:
        """Do what it is time for at `now` (s)."""
        raise NotImplementedError

    def deadlines(self, now: float) -> Iterable[float | None]:
        """Return when there is something to do next (s); None for nothing."""
        raise NotImplementedError

    @property
    def peer(self) -> Peer:
        """What is known of the other end."""
        raise NotImplementedError

    def statistics(self, now: float, camera: int | None = None) -> Statistics:
        """Return the counters of frames on their way down, of one camera or all."""
        raise NotImplementedError

    def loss(self, stats: Statistics, old: Statistics) -> float:
        """Return the share of datagrams lost between two readings, 0..1."""
        sent = stats.packets_sent - old.packets_sent
        return (stats.packets_lost - old.packets_lost) / sent if sent else 0.0

    # Lifecycle

    def setup(self) -> None:
        """Compute the link; raises ValueError or OSError for a bad profile, parameter or key."""
        self.budget = budget.compute(profiles.load(self.values.profile))
        self.cameras = parse_cameras(self.values.cameras)
        self.keys, self._notice = None, ''
        self._seals: dict[str, Sealed | None] = {}
        if self.values.security:
            named = self.values.key_file
            if not named and not self.keys_made:
                raise ValueError(
                    'both ends need one key: make it with `gsc key FILE`, bring the file to both '
                    'and name it with key_file; or switch security off'
                )
            self.keys = KeyRing(Path(named) if named else default_path(), make=not named)
            self.add_cleanup(self.keys.close)  # notes what was received, unless the disk is slow
        self._status = self.create_publisher(LinkStatus, topics.STATUS, topics.LATCHED)
        self._camera_statuses = [
            self.create_publisher(LinkStatus, stream.topic(topics.STATUS), topics.LATCHED)
            for stream in self.cameras
            if stream.name
        ]

    def start(self) -> None:
        """Wake at deadlines, and publish the status."""
        self._alarm = self.create_timer(STATUS_PERIOD_S, self.wake)
        # Timers of a clock that is set back stand still, and nobody would stop the robot.
        self.create_timer(
            STATUS_PERIOD_S, self.wake, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._status_timer = self.create_timer(STATUS_PERIOD_S, self._publish_status)
        self._publish_status()

    def seal(self, direction: str, closes: bool = True) -> Seal:
        """
        Return how datagrams of a direction ('down', 'up') are proven.

        ``closes``: whether this end sends in that direction, and does not only receive.
        """
        sealed = self.keys.seal(direction, closes) if self.keys else None
        self._seals[direction] = sealed
        return seal_for(self.budget.profile.packets, direction, sealed)

    def received_count(self, direction: str) -> int | None:
        """Return the greatest count that came in a direction under the first key, or None."""
        seal = self._seals.get(direction)
        newest = seal.newest_counts[0] if seal else -1
        return newest if newest >= 0 else None

    def peer_received(self, direction: str, received: Received, count: int | None) -> None:
        """Note that the other end has received a count of what went out in a direction."""
        if self.keys is not None and count is not None and received.key == 0:
            self.keys.peer_received(direction, count)

    @property
    def mtu(self) -> int:
        """Bytes of a datagram at most."""
        return self.values.mtu or int(self.budget.profile.mtu)

    # Time

    def now(self) -> float:
        """Return the time since the reset, s: small numbers keep their microseconds."""
        now_ns = max(self.get_clock().now().nanoseconds, self.time_ns)
        return (now_ns - self._epoch_ns) * 1e-9

    def update_time(self) -> float:
        """Take the time from the clock and return it as :meth:`now`; reset where it ran back."""
        now_ns = self.get_clock().now().nanoseconds
        if now_ns < self.time_ns:
            # Simulated time began anew: what was on its way belongs to the past.
            self.reset_reason = 'time began anew'
            self.reset()
            self._status_timer.reset()
            now_ns = self.time_ns
            # After the reset, which stops a robot: who reads the log may be slow.
            self.get_logger().warning('time ran backwards: the link starts afresh')
        self.time_ns = now_ns
        return (now_ns - self._epoch_ns) * 1e-9

    def wake(self) -> None:
        """Do what it is time for."""
        if not self.active:
            return  # something came while the link was closed
        now = self.update_time()
        self.step(now)
        published = self._published_bps, self._published_shares
        if (self.downlink.rate_at(now)[0], self.shares) != published:
            self._publish_status()  # who waits for the link to open need not wait longer
        self.set_alarm(now)

    def set_alarm(self, now: float) -> None:
        """Sleep until the next deadline."""
        times = [*self.deadlines(now), self.downlink.rate_at(now)[1]]
        deadline = min((time for time in times if time is not None), default=None)
        if deadline is None:
            self._alarm.cancel()
            return
        self._alarm.timer_period_ns = int(max(deadline - now, _LEAST_SLEEP_S) * 1e9)
        self._alarm.reset()

    # State

    def refuse(self, reason: str) -> None:
        """Count and log something that cannot be used."""
        self.refused += 1
        self.get_logger().warning(reason, throttle_duration_sec=LOG_PERIOD_S)

    def status(self) -> LinkStatus:
        """Return what the link carries, and its state."""
        now = self.now()
        stats = self.statistics(now)
        then, old = self._history[0] if self._history else (now, stats)
        rate, changes = self.downlink.rate_at(now)
        times = self.downlink.schedule
        closes = times.closes(now)
        opens = None if closes is None else times.opens(closes)
        status = LinkStatus(
            profile=self.budget.profile.name,
            rate_bps=rate,
            changes_in_s=or_inf(changes) - now,
            closes_in_s=or_inf(closes) - now,
            next_window_in_s=or_inf(opens) - now,
            delay_s=self.delay_s,
            margin_db=or_inf(self.margin_db),
            loss=self.loss(stats, old),
            queue_age_s=stats.queue_age_s,
            queue_bytes=stats.queue_bytes,
            open=rate > 0,
            mtu=self.downlink.mtu,
            overhead=self.downlink.seal.overhead,
            gap_s=self.downlink.pacer.fixed_s,
            parity=self.downlink.parity,
            frames_sent=stats.sent,
            frames_delivered=stats.delivered,
            frames_stale=stats.stale,
            frames_lost=stats.lost,
            session=self.session,
            peer_session=self.peer.session,
            peer_silence_s=or_inf(self.peer.silence_s(now)),
            packets_malformed=stats.packets_malformed + self.refused,
            packets_replayed=stats.packets_replayed,
        )
        if now > then:
            status.offered_bps = (stats.offered_bytes - old.offered_bytes) * 8 / (now - then)
            status.used_bps = (stats.sent_bytes - old.sent_bytes) * 8 / (now - then)
        status.header.stamp = time_of(self.time_ns)
        return status

    def _publish_status(self) -> None:
        now = self.update_time()
        rate_bps = self.downlink.rate_at(now)[0]
        if rate_bps and not self._published_bps:
            self._opened_at = now
        self._published_bps, self._published_shares = rate_bps, self.shares
        self._note_keys()
        now = self.now()  # small again where the keys have reset the link
        self._history.append((now, self.statistics(now)))
        while len(self._history) > 1 and self._history[0][0] < now - WINDOW_S:
            self._history.popleft()
        status = self.status()
        self._status.publish(status)
        for number, publisher in enumerate(self._camera_statuses):
            publisher.publish(self._camera_status(status, number))

    def _camera_status(self, status: LinkStatus, number: int) -> LinkStatus:
        """Return what a camera has of the link; the ground's end does not know its share."""
        share = self.shares[number] if self.shares else 1.0
        return of_camera(status, self.statistics(self.now(), number), share)

    def _note_keys(self) -> None:
        """Have it noted what was received; a full disk is no reason to close the link."""
        if self.keys is None:
            return
        self.keys.note()
        while self.keys.notices:
            self._notice, self._notice_at = self.keys.notices.popleft(), time.monotonic()
            self.reset_reason = "the key's counts were set back, or another sender uses the key"
            # Sessions were set back with the counts: the far end may hold this one to be over.
            self.reset()
            self.get_logger().error(self._notice)
        if self.keys.trouble:
            self.get_logger().error(self.keys.trouble, throttle_duration_sec=LOG_PERIOD_S)

    def silence(self, pause_s: float) -> str:
        """
        Return that the other end has been silent for too long; empty when it has not.

        ``pause_s``: time between its reports. Three of them have to be missing, and before the
        first one the time there and back has to be over.
        """
        now = self.now()
        if not self.peer.is_silent(now, self._opened_at, pause_s, self.delay_s):
            return ''
        ago = received_ago(self.peer.silence_s(now))
        return f'nothing comes from the other end: last received {ago}'

    @property
    def keys_notice(self) -> str:
        """What the operator must know about the keys, for some minutes; empty for nothing."""
        return self._notice if time.monotonic() < self._notice_at + _NOTICE_S else ''

    def key_troubles(self, values: dict[str, object]) -> list[Trouble]:
        """Return what is wrong with the key's counts, which are added to values."""
        if self.keys is None:
            return []
        left, trouble = self.keys.left, self.keys.trouble
        values['datagrams that counts are left for'] = left
        return [(WARN if left else ERROR, trouble), (WARN, self.keys_notice)]


def or_inf(value: float | None) -> float:
    """Return a value as LinkStatus has it: +Inf for what never comes, or is not known."""
    return math.inf if value is None else value


def nanoseconds(stamp: Time) -> int:
    """Return a stamp in ns."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def time_of(nanoseconds: int) -> Time:
    """Return the stamp of a time in ns."""
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)
