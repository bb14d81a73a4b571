"""The receiver under 100,000 datagrams that are random, cut, damaged or played back."""

import itertools

import numpy as np
import pytest

from gsc_ros.link.datagrams.ccsds import seal_for
from gsc_ros.link.datagrams.framing import MAX_FRAGMENTS, TrafficClass
from gsc_ros.link.datagrams.security import Sealed
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.end import End
from gsc_ros.link.traffic.pacer import Pacer
from gsc_ros.link.traffic.sender import Sender

COUNT = 100_000
MTU = 120
KEY = bytes(range(32))


def good(rng, seal, count):
    """Return the datagrams of payloads of all classes, some of the frames protected by parity."""
    out = []
    sender = Sender(Pacer(1e9), MTU, seal=seal)
    for number in range(count):
        payload = rng.bytes(int(rng.integers(1, 900)))
        traffic_class = list(TrafficClass)[int(rng.integers(len(TrafficClass)))]
        sender.set_fec(0.3 * int(rng.integers(2)))
        sender.offer(payload, number, traffic_class)
        out += [data for _, _, data in sender.advance(number + 0.5)]
    return out


def spoilt(rng, data):
    """Return a datagram as it should not come."""
    kind = rng.integers(4)
    if kind == 0:
        return rng.bytes(int(rng.integers(0, 2 * MTU)))
    if kind == 1:
        return data[: int(rng.integers(len(data)))]
    if kind == 2:
        flipped = bytearray(data)
        for at in rng.integers(0, 8 * len(data), int(rng.integers(1, 8))):
            flipped[at // 8] ^= 1 << at % 8
        return bytes(flipped)
    return data  # played back


@pytest.mark.parametrize('packets', ['none', 'ccsds'])
@pytest.mark.parametrize('sealed', [False, True], ids=['checksum', 'encrypted'])
def test_nothing_that_comes_harms_the_receiver(sealed, packets):
    if packets == 'ccsds':
        pytest.importorskip('spacepackets')
    rng = np.random.default_rng(7)
    inner = Sealed([KEY], 'down', itertools.count()) if sealed else None
    sent = good(rng, seal_for(packets, 'down', inner), 3000)
    into = seal_for(packets, 'down', Sealed([KEY], 'down') if sealed else None)
    end = End(Schedule.constant(1e4), MTU, into=into)
    receiver = end.receiver
    most = complete = 0
    for step in range(COUNT):
        data = sent[step % len(sent)]
        if step >= len(sent) or step % 2:
            data = spoilt(rng, data)
        ours, received = end.push(data, step / 100)
        complete += len(received)
        assert ours or not received
        complete += len(end.expire(step / 100))
        most = max(most, receiver.held_bytes)
    assert complete > 100
    assert most <= len(TrafficClass) * MAX_FRAGMENTS * MTU
    assert receiver.malformed + receiver.older > COUNT / 2
    if sealed:
        # What was played back came late or was known: nothing is taken twice.
        assert receiver.replayed > COUNT / 10
        assert receiver.fragments <= len(sent)
