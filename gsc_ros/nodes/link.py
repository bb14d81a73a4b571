"""
The link between robot and operator, simulated: both sides in one node, joined by two channels.

What is published at the far end is rebuilt from what crossed the channel and from nothing else.
link/status states twice a second what the link carries.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('link'))


from collections.abc import Iterable
from dataclasses import dataclass, replace

from gsc_ros.link.radio import schedule, units
from gsc_ros.link.radio.codes import CODES
from gsc_ros.link.radio.losses import GilbertElliottModel
from gsc_ros.link.traffic.channel import Channel, share_air
from gsc_ros.link.traffic.peer import Peer
from gsc_ros.link.traffic.sender import Sender
from gsc_ros.link.traffic.statistics import Statistics
from gsc_ros.msg import LinkStatus
from gsc_ros.ros import lifecycle
from gsc_ros.ros.diagnostics import ERROR, OK, STALE, WARN, Report
from gsc_ros.ros.link.ground_side import GroundSide, GroundSideParameters
from gsc_ros.ros.link.node import (
    LinkBase,
    LinkBaseParameters,
)
from gsc_ros.ros.link.robot_parameters import RobotSideParameters
from gsc_ros.ros.link.robot_side import RobotSide
from gsc_ros.ros.link.state_report import closed, figures, report_of
from gsc_ros.ros.parameters import parameter

_HIGH_LOSS = 0.5


@dataclass(frozen=True)
class LinkParameters(RobotSideParameters, GroundSideParameters, LinkBaseParameters):
    """Parameters of the simulated link."""

    stamped: bool = parameter(
        False,
        'Commands are TwistStamped, not Twist: on teleop/cmd_vel, where the other type is taken '
        'too if only that is published, and on cmd_vel, as of the guard',
        read_only=True,
    )
    seed: int = parameter(1, 'Seed of the losses', low=0, high=2**31 - 1, read_only=True)
    loss: float = parameter(
        -1.0,
        'Mean share of datagrams lost, 0 to 1, in place of the profile; -1 keeps the profile',
        low=-1.0,
        high=1.0,
        read_only=True,
    )
    burst: float = parameter(
        0.0,
        'Mean length of a burst of losses in datagrams (at least 1) where loss is set; '
        '0: every datagram on its own',
        low=0.0,
        high=1e6,
        read_only=True,
    )
    delay_scale: float = parameter(
        1.0, 'Factor on the delay; 0 takes it away', low=0.0, high=1e3, read_only=True
    )
    fade_db: float = parameter(
        0.0,
        'By how many dB the signal is weaker than the profile says; the rate stays, and where the '
        'margin is used up bits are wrong',
        low=0.0,
        high=100.0,
    )


class LinkNode(LinkBase[LinkParameters]):
    """Both ends of the simulated link in one node."""

    Parameters = LinkParameters
    keys_made = one_clock = True

    def __init__(self, **options: object) -> None:
        super().__init__('link', **options)

    # Lifecycle

    def setup(self) -> None:
        """Compute the link; raises ValueError or OSError for a bad profile, parameter or key."""
        super().setup()
        super().reset()
        self._make_channels()
        rate, delay = self.down.rate_bps, self.down.delay_s
        self.get_logger().info(
            f'{self.budget.profile.name}: {units.show(rate, "rate")}, one way '
            f'{units.show(delay, "time")}, datagrams of {self.mtu} B'
        )
        if not self.budget.closes:
            self.get_logger().error('the link does not close: nothing will pass')
        self.robot, self.ground = RobotSide(self), GroundSide(self)

    def start(self) -> None:
        """Open the link."""
        self.reset()
        super().start()
        self.robot.start()
        self.ground.start()

    def stop(self) -> None:
        """Stop a robot that moves, before all else."""
        self.robot.stop()

    def halt(self) -> None:
        """Stop a robot that moves."""
        if self.active:
            self.robot.halt()

    def parameters_changed(self) -> None:
        """Apply new limits for commands."""
        self.robot.parameters_changed()

    def status(self) -> LinkStatus:
        """Return what the link carries, and its state."""
        status = super().status()
        self.robot.fill_status(status)
        refused = status.commands_dropped
        self.ground.fill_status(status)
        status.commands_dropped += refused
        return status

    def _make_channels(self) -> None:
        values, profile = self.values, self.budget.profile
        if values.loss >= 0:
            loss = GilbertElliottModel.from_mean(values.loss, values.burst or None)
        elif values.loss == -1:
            loss = GilbertElliottModel(
                profile.burst_start, profile.burst_end, profile.loss_bad, profile.loss_good
            )
        else:
            raise ValueError(f'parameter loss must be 0 to 1, or -1, got {values.loss}')
        times = schedule.of(profile, values.rate_scale, values.delay_scale)

        def channel(direction: str, seed: int, max_age_s: float | None) -> Channel:
            return Channel(
                self.budget.rate_bps * values.rate_scale,
                self.budget.delay_s * values.delay_scale,
                self.mtu,
                loss=loss,
                seed=seed,
                gap_s=profile.packet_gap,
                on_air=profile.on_air,
                max_age_s=max_age_s,
                schedule=times,
                seal=self.seal(direction),
                session=self.session,
                code=CODES.get(profile.code),
                cameras=len(self.cameras),
            )

        # Each direction has losses of its own, and in full duplex the whole rate.
        self.down = channel('down', 2 * values.seed, values.max_age_s or None)
        self.up = channel('up', 2 * values.seed + 1, None)
        # Of the robot as the ground sees it, and the other way round.
        sealed = self.keys is not None
        self._peer, self._ground = (Peer(c.receiver, sealed) for c in (self.down, self.up))
        if profile.duplex == 'half':
            share_air((self.down, self.up), profile.turnaround)

    # What the base class uses

    @property
    def downlink(self) -> Sender:
        """The sender of frames."""
        return self.down.sender

    @property
    def peer(self) -> Peer:
        """The robot as the ground receives it."""
        return self._peer

    @property
    def delay_s(self) -> float:
        """Propagation delay now, one way, s."""
        return self.down.delay_s

    @property
    def margin_db(self) -> float | None:
        """By how much the signal is above what its code needs, dB; None: not known."""
        return self.down.excess_db

    def reset(self) -> None:
        """Begin at time zero with nothing on its way and nothing counted."""
        self.robot.before_reset()
        super().reset()
        self._make_channels()
        self.robot.reset(self.down, self.up)
        self.ground.reset(self.down, self.up)

    def step(self, now: float) -> None:
        """Bring what has crossed the channels to the sides."""
        self.down.fade_db = self.up.fade_db = self.values.fade_db
        for received in self.down.poll(now):
            self.ground.on_received(received, now)
        for received in self.up.poll(now):
            self.robot.on_received(received, now)
        self._peer.update(now)
        self._ground.update(now)
        self.robot.step(now)
        self.ground.step(now)

    def deadlines(self, now: float) -> Iterable[float | None]:
        """Return when there is something to do next (s)."""
        sides = self.robot.next_deadline, self.ground.next_deadline
        return self.down.next_event(), self.up.next_event(), *sides

    def statistics(self, now: float, camera: int | None = None) -> Statistics:
        """
        Return the counters of frames, of one camera or all.

        What is forged on the way up counts as well.
        """
        stats = self.down.statistics(now, camera=camera)
        ground = self.ground.cameras if camera is None else [self.ground.cameras[camera]]
        receivers = self.down.receiver, self.up.receiver
        return replace(
            stats,
            delivered=sum(one.delivered for one in ground),
            lost=stats.lost + sum(one.undescribed + one.incomplete for one in ground),
            packets_malformed=sum(r.unreadable for r in receivers),
            packets_replayed=sum(r.played_back for r in receivers),
        )

    def diagnose(self) -> Report:
        """Return the state of the link."""
        return self.robot.complete(self._state_report()) if self.active else Report(OK, 'inactive')

    def _state_report(self) -> Report:
        status = self.status()
        now = self.now()
        values = figures(status) | self.ground.figures()
        values |= {
            'refused': self.refused,
            'not sealed': self.down.sender.unsealed + self.up.sender.unsealed,
        }
        values |= self.robot.figures()
        troubles = [
            (WARN, self.ground.stops.trouble(now)),
            *self.key_troubles(values),
            (WARN, self._peer.trouble(now)),
            (WARN, self._ground.trouble(now)),
        ]
        if not self.down.sender.schedule.rates:
            troubles.append((ERROR, 'the link does not close'))
        elif not status.open:
            troubles.append((WARN, closed(status)))
        else:
            high = status.loss > _HIGH_LOSS
            lost = f'{status.loss:.0%} of the datagrams are lost' if high else ''
            coded = self.robot.missing_frames(now)
            troubles += [
                (WARN, self.ground.trouble(now)),
                (STALE, coded or self.ground.missing_frames(now)),
                (WARN, lost),
            ]
        return report_of(troubles, values)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(LinkNode, args)
