"""One end of a real link: what the nodes of robot and ground share."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from rclpy.exceptions import InvalidHandle

from gsc_ros.link.datagrams.ccsds import HEADER_BYTES
from gsc_ros.link.datagrams.framing import claims_stop
from gsc_ros.link.radio import schedule, units
from gsc_ros.link.radio.airtime import PLAIN
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic import transports
from gsc_ros.link.traffic.end import End
from gsc_ros.link.traffic.peer import Peer
from gsc_ros.link.traffic.sender import Sender
from gsc_ros.link.traffic.statistics import Statistics
from gsc_ros.link.traffic.transports import Transport
from gsc_ros.msg import LinkStatus
from gsc_ros.ros.diagnostics import OK, STALE, WARN, Drops, Report
from gsc_ros.ros.link.node import (
    STATUS_PERIOD_S,
    LinkBase,
    LinkBaseParameters,
)
from gsc_ros.ros.link.side import Side
from gsc_ros.ros.link.state_report import closed, figures, report_of
from gsc_ros.ros.parameters import parameter

# Datagrams that wait for the node; a flood beyond is dropped and counted, but for the newest that
# may be a STOP.
_INBOX, _STOPS = 256, 32
_POLL_S = 0.2
_PAUSE_S = 0.05
_END_S = 2.0  # for a device that does not let go
_REMIND_S = 60.0  # of what keeps the transport from working


@dataclass(frozen=True)
class LinkEndParameters(LinkBaseParameters):
    """Parameters of both ends of a real link."""

    transport: str = parameter(
        'udp', 'What brings datagrams to the other end', choices=transports.KINDS, read_only=True
    )
    local: str = parameter(
        ':7447', 'Address to listen on, host:port or :port (udp)', read_only=True
    )
    remote: str = parameter(
        '',
        'Address of the other end, host:port; empty: where it last called from (udp)',
        read_only=True,
    )
    device: str = parameter('', 'Serial device, e.g. /dev/ttyUSB0 (serial)', read_only=True)
    baud: int = parameter(57600, 'Its baud rate (serial)', low=50, high=12_000_000, read_only=True)
    rate_bps: float = parameter(
        0.0,
        'Bits a second that may go out, in place of the rate that is computed from the profile; '
        '0 keeps that',
        low=0.0,
        high=1e9,
        read_only=True,
    )
    schedule_start: str = parameter(
        '',
        'When the passes or windows of the profile began, as 2026-11-28T12:00:00Z, the same at '
        'both ends; empty: the radio is open at all times',
        read_only=True,
    )


P = TypeVar('P', bound=LinkEndParameters)


class LinkEnd(LinkBase[P]):
    """
    One end of a real link: a side, an `End` and a transport; a thread waits for datagrams.

    ``side_type``: the robot's side or the ground's.
    """

    side_type: ClassVar[type[Side]]

    # Lifecycle

    def setup(self) -> None:
        """Open the transport; raises ValueError or OSError with the remedy."""
        super().setup()
        super().reset()
        self._transport = self._open_transport()
        self.add_cleanup(self._transport.close)
        self._make_end()
        self._arrival = self.create_guard_condition(self.wake)
        self._reader: threading.Thread | None = None
        self.add_cleanup(self._join)
        self._troubles = Drops(self, 'datagram')
        self.side = self.side_type(self)
        self.get_logger().info(
            f'{self.budget.profile.name}: {units.show(self.end.sender.rate_bps, "rate")} over '
            f'{self._transport.name}, datagrams of {self.mtu} B'
        )

    def start(self) -> None:
        """Listen to the other end and to this side's topics."""
        self.reset()
        super().start()
        self._join()
        self._inbox: deque[tuple[bytes, Hashable]] = deque()
        self._stops: deque[tuple[bytes, Hashable]] = deque(maxlen=_STOPS)
        self._overrun = self._unsent = 0
        self._listening = True
        reader = threading.Thread(target=self._listen, name='datagrams', daemon=True)
        self.add_cleanup(self._end_listening)
        reader.start()
        self._reader = reader
        self.side.start()

    def stop(self) -> None:
        """Stop a robot that moves, before all else."""
        self.side.stop()

    def _end_listening(self) -> None:
        self._listening = False  # nobody waits for the reader: a robot has to be stopped

    def _join(self) -> None:
        if self._reader is not None:
            self._reader.join(_END_S)

    def halt(self) -> None:
        """Stop a robot that moves."""
        if self.active:
            self.side.halt()

    def parameters_changed(self) -> None:
        """Apply new limits for commands."""
        self.side.parameters_changed()

    def _open_transport(self) -> Transport:
        values = self.values
        if values.transport == 'serial':
            try:
                from gsc_ros.link.traffic.transports.serial import SerialTransport
            except ImportError as error:
                raise ImportError(
                    f'transport serial needs {error.name}: pip install "gsc_ros[serial]"'
                ) from None
            return SerialTransport(values.device, values.baud)
        from gsc_ros.link.traffic.transports.udp import UdpTransport

        return UdpTransport(values.local, values.remote)

    def _schedule(self) -> Schedule:
        """Return when this end may send, and how fast, from its time zero on."""
        values, profile = self.values, self.budget.profile
        times = Schedule.constant(values.rate_bps or self.budget.rate_bps * values.rate_scale)
        if values.schedule_start:
            zero_s = self._epoch_ns * 1e-9 - schedule.start_of(values.schedule_start)
            times = schedule.of(profile, values.rate_scale).beginning(zero_s)
        if not times.rates:
            raise ValueError(
                f'{profile.name}: the link does not close, so that nothing would ever be sent: '
                'name another profile, or set rate_bps'
            )
        most = self._transport.max_rate_bps(self.mtu)
        return Schedule(
            one._replace(rate_bps=min(values.rate_bps or one.rate_bps, most))
            if one.rate_bps
            else one
            for one in times.intervals
        )

    def _make_end(self) -> None:
        values, profile = self.values, self.budget.profile
        self.end = End(
            self._schedule(),
            self.mtu,
            delay_s=self.budget.delay_s,
            turn_s=profile.turnaround,
            gap_s=0.0 if values.rate_bps else profile.packet_gap,
            on_air=PLAIN if values.rate_bps else profile.on_air,
            max_age_s=self.side_type.frame_max_age_s(values),
            out=self.seal(self.side_type.sends),
            into=self.seal(self.side_type.receives, closes=False),
            session=self.session,
            cameras=len(self.cameras),
        )
        self._peer = Peer(self.end.receiver, self.keys is not None)

    # What the base class uses

    @property
    def downlink(self) -> Sender:
        """The only sender: both directions have one rate."""
        return self.end.sender

    @property
    def peer(self) -> Peer:
        """What is known of the other end."""
        return self._peer

    @property
    def delay_s(self) -> float:
        """Propagation delay now, one way, s."""
        return self.end.delay_s

    def reset(self) -> None:
        """Begin at time zero with nothing on its way and nothing counted."""
        self.side.before_reset()
        super().reset()
        self._make_end()
        self.side.reset(self.end, self.end)

    def step(self, now: float) -> None:
        """Take what came, let the side offer what it is time for, and send what may go."""
        self._receive(now)
        self.side.step(now)
        self._send(now)

    def _receive(self, now: float) -> None:
        # What comes meanwhile has to wait, or a flood would keep the robot from being stopped.
        for waiting in (self._inbox, self._stops):
            for _ in range(len(waiting)):
                self._take(*waiting.popleft(), now)
        self._peer.update(now)
        for received in self.end.expire(now):
            self.side.on_received(received, now)

    def _take(self, data: bytes, source: Hashable, now: float) -> None:
        """Take a datagram."""
        replayed = self.end.receiver.replayed
        ours, complete = self.end.push(data, now)
        if ours:
            self._transport.answer(source)
        elif self.end.receiver.replayed > replayed:
            self._transport.repeated(source)
        for received in complete:
            self.side.on_received(received, now)

    def _keep(self, datagrams: list[tuple[bytes, Hashable]]) -> None:
        """Let datagrams wait for the node, as far as there is room."""
        room = max(0, _INBOX - len(self._inbox))
        self._inbox.extend(datagrams[:room])
        skip = HEADER_BYTES if self.budget.profile.packets == 'ccsds' else 0
        for one in datagrams[room:]:
            claims = claims_stop(one[0], skip)
            # The oldest makes room.
            self._overrun += not claims or len(self._stops) == _STOPS
            if claims:
                self._stops.append(one)

    def _send(self, now: float) -> None:
        for data in self.end.outgoing(now):
            try:
                self._transport.send(data)
            except (OSError, TypeError) as error:  # the latter of a port that is just closed
                self._unsent += 1
                # What the transport itself reports is no news.
                if self._transport.peer and not self._transport.trouble:
                    self._troubles.note(error)

    def deadlines(self, now: float) -> Iterable[float | None]:
        """Return when there is something to do next (s)."""
        return self.end.next_event(), self.side.next_deadline

    def status(self) -> LinkStatus:
        """Return what the link carries, and its state."""
        status = super().status()
        self.side.fill_status(status)
        return status

    def statistics(self, now: float, camera: int | None = None) -> Statistics:
        """Return the counters of frames, of one camera or all."""
        return self.side.statistics(self.end, now, camera)

    def loss(self, stats: Statistics, old: Statistics) -> float:
        """Return the share of datagrams lost recently, 0..1."""
        return self.side.loss

    def diagnose(self) -> Report:
        """Return the state of the link."""
        return self.side.complete(self._state_report()) if self.active else Report(OK, 'inactive')

    def _state_report(self) -> Report:
        status, now = self.status(), self.now()
        values = figures(status) | self.transport_figures() | self.side.figures()
        troubles = [
            (WARN, self.side.urgent_trouble(now)),
            *self.key_troubles(values),
            (WARN, self.peer.trouble(now)),
        ]
        if status.open:
            troubles += [
                (WARN, self.trouble),
                (WARN, self.side.trouble(now)),
                (STALE, self.side.missing_frames(now)),
            ]
        else:
            troubles.append((WARN, closed(status)))
        return report_of(troubles, values)

    @property
    def trouble(self) -> str:
        """What is wrong with the transport; empty for nothing."""
        recent = self._troubles.last if self._troubles.recent() else ''
        nobody = 'nobody has called yet: there is no address to send to'
        return self._transport.trouble or recent or ('' if self._transport.peer else nobody)

    def transport_figures(self) -> dict[str, object]:
        """Return what diagnostics show of the transport."""
        return {
            'transport': self._transport.name,
            'other end at': self._transport.peer,
            'not sent': self._unsent,
            'not whole': self._transport.dropped,
            'overrun': self._overrun,
            'refused': self.refused,
            'not sealed': self.end.sender.unsealed,
        }

    def _log_state(self, trouble: str, peer: str) -> None:
        """Log what keeps the transport from working, or where the other end is."""
        if not self.context.ok():
            return  # the process is going down around this thread
        if trouble:
            self.get_logger().warning(trouble)
        else:
            where = f'the other end is at {peer}' if peer else 'waits for the other end to call'
            self.get_logger().info(f'{self._transport.name}: {where}')

    def _listen(self) -> None:
        """Wait for datagrams, in a thread of its own."""
        logged, logged_at, woken_at = None, 0.0, 0.0
        while self._listening:
            state = self._transport.trouble, self._transport.peer
            if state != logged or (state[0] and time.monotonic() > logged_at + _REMIND_S):
                self._log_state(*state)
                logged, logged_at = state, time.monotonic()
            try:
                received = self._transport.receive(_POLL_S)
            except Exception as error:  # of any kind: this thread must not end
                self._troubles.note(error)
                time.sleep(_PAUSE_S)  # one that goes on failing must not take the processor
                continue
            self._keep(received)
            # Also without any: a wall clock that is set back may hold up the executor.
            due = time.monotonic() >= woken_at + STATUS_PERIOD_S
            if (received or due) and self._listening:
                woken_at = time.monotonic()
                with contextlib.suppress(InvalidHandle):  # the node has closed meanwhile
                    self._arrival.trigger()
