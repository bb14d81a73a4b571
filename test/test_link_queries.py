"""Asking changes nothing: only commands with the time as an argument change the link's objects."""

import pickle

import pytest

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import Command, RobotReport
from gsc_ros.link.radio.codes import CODES
from gsc_ros.link.radio.losses import GilbertElliottModel
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.channel import Channel, share_air
from gsc_ros.link.traffic.command_gate import CommandGate, Now, Origin
from gsc_ros.link.traffic.peer import Peer
from gsc_ros.link.traffic.reports import FrameStats, ReceiverStats, RobotReportTimer
from gsc_ros.link.traffic.teleop import CommandSender, StopSender

TIMES = Schedule([(2.0, 24e3, 0.1, 3.0), (3.0, 0.0), (2.0, 16e3, 0.2, 1.0)])
COMMAND = Command(10**15, (0.5, 0.0, 0.0, 0.0, 0.0, 0.1), 7).pack()
REPORT = RobotReport(1, True, 0.1)


def no_turns():
    return 0.0


class World:
    """A link in the middle of its work: half duplex, lossy, with windows."""

    def __init__(self):
        loss = GilbertElliottModel.from_mean(0.3)
        more = {'schedule': TIMES, 'loss': loss, 'code': CODES['uncoded']}
        self.down, self.up = (Channel(24e3, mtu=60, seed=n, **more) for n in (1, 2))
        self.duplex = share_air((self.down, self.up), 0.02)
        self.down.sender.set_fec(0.3)
        self.frames = FrameStats()
        self.stats, self.peer = ReceiverStats(self.down.receiver), Peer(self.down.receiver, False)
        self.commands, self.stops = CommandSender(self.up), StopSender(self.up, no_turns, 3)
        self.timer, self.gate = RobotReportTimer(), CommandGate(1.0, 0.5)
        self.gate.reset(7)
        self.commands.loss = 0.3

    def run(self, seconds):
        """Work for some time, ending between two datagrams of a frame."""
        for step in range(round(100 * seconds)):
            now = step / 100
            if step % 20 == 0:
                self.down.offer(bytes(300), now, TrafficClass.FRAME)
            if step % 50 == 10:
                self.commands.send(COMMAND, now)
            if step == 150:
                self.stops.want(True, now)
            self.commands.step(now)
            self.stops.step(now, 10**15, 7)
            for received in self.down.poll(now):
                self.frames.on_frame(received.number, received.session)
            self.stats.update()
            self.peer.update(now)
            self.up.poll(now)
            clock = Now(10**15 + round(now * 1e6), now)
            self.gate.command(Origin(9, step), 7, clock.wall_us, True, clock)
        self.timer.on_sent(REPORT, now)
        return now

    def ask(self, now):
        """Ask everything that can be asked."""
        for channel in (self.down, self.up):
            sender, receiver = channel.sender, channel.receiver
            yield channel.delay_s, channel.turn_s, channel.excess_db, channel.rate_bps
            yield channel.frame_s(300), channel.next_event(), channel.statistics(now)
            yield sender.air_s(100), sender.rate_bps, sender.rate_at(now), sender.max_payload
            yield sender.next_start, sender.in_progress, sender.queue(now)
            yield [sender.waiting_payload(one) for one in TrafficClass]
            yield receiver.refused, receiver.next_expiry, receiver.held_bytes
            yield receiver.unfinished_payloads
        yield self.stats.report(self.frames), self.stats.estimate.loss, self.stats.estimate.burst
        yield self.peer.silence_s(now), self.peer.is_silent(now, 0.0, 1.0, 0.1)
        yield self.peer.trouble(now), self.peer.session
        yield self.commands.next_deadline, self.commands.advice(now)
        yield self.stops.next_deadline, self.stops.state, self.stops.trouble(now)
        yield self.timer.next_deadline(REPORT, 1.0), self.gate.next_deadline
        yield TIMES.at(now), TIMES.opens(now), TIMES.closes(now), TIMES.interval(now)


@pytest.mark.parametrize('seconds', [0.3, 1.9, 3.5, 6.1])
def test_who_asks_changes_nothing(seconds):
    asked, silent = World(), World()
    now = asked.run(seconds)
    assert silent.run(seconds) == now
    before = pickle.dumps(asked)
    answers = list(asked.ask(now + 0.5))
    assert list(asked.ask(now + 0.5)) == answers
    assert list(asked.ask(now + 60.0)) != answers
    assert pickle.dumps(asked) == before
    # And it goes on as one that was not asked.
    later = [
        [(r.number, r.payload) for c in (w.down, w.up) for r in c.poll(now + 20.0)]
        for w in (asked, silent)
    ]
    assert later[0] == later[1]
