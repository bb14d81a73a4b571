"""The other end as seen by one: how long it is silent, and what comes in its place."""

import itertools

import pytest

from gsc_ros.link.datagrams import seals
from gsc_ros.link.datagrams.framing import Datagram, TrafficClass
from gsc_ros.link.datagrams.reassembly import Reassembler
from gsc_ros.link.datagrams.security import Sealed
from gsc_ros.link.traffic.peer import Peer, received_ago, silent_after_s

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def seal(key=KEY, start=0):
    return Sealed([key], 'down', itertools.count(start))


class End:
    """A receiver that is watched; datagrams come every 0.1 s."""

    def __init__(self, into):
        self.receiver = Reassembler(1.0, into)
        self.peer = Peer(self.receiver, into is not seals.CHECKSUM)
        self.now, self.number = 0.0, 0

    def come(self, *packets):
        for data in packets:
            self.now += 0.1
            self.receiver.push(data, self.now)
            self.peer.update(self.now)

    def frames(self, count, near, session=11):
        made = []
        for _ in range(count):
            self.number += 1
            datagram = Datagram(
                TrafficClass.FRAME, self.number, 0, b'x', end=True, session=session
            )
            made.append(datagram.pack(near))
        return made

    def wait(self, seconds):
        for _ in range(round(10 * seconds)):
            self.now += 0.1
            self.peer.update(self.now)

    @property
    def trouble(self):
        return self.peer.trouble(self.now)


def test_it_is_known_when_something_proven_came_last():
    end = End(seal())
    assert end.peer.silence_s(5.0) is None and end.peer.session == 0
    end.come(*end.frames(3, seal()))
    assert end.peer.session == 11 and end.peer.silence_s(end.now + 4) == pytest.approx(4.0)
    end.come(bytes(60), *end.frames(1, seal(OTHER)))
    assert end.peer.silence_s(end.now) == pytest.approx(0.2)
    assert end.trouble == ''
    assert (received_ago(None), received_ago(1.26)) == ('never', '1.3 s ago')


def test_silence_is_measured_against_reports_and_the_delay():
    end = End(seal())
    pause, delay = 12.0, 750.0
    usual = silent_after_s(pause)
    assert 3 * pause < usual < 4 * pause
    # Before the first: there and back.
    assert not end.peer.is_silent(2 * delay + usual - 1, 0.0, pause, delay)
    assert end.peer.is_silent(2 * delay + usual + 1, 0.0, pause, delay)
    assert not end.peer.is_silent(2 * delay + usual + 1, 600.0, pause, delay)  # it was closed
    end.come(*end.frames(1, seal()))
    assert not end.peer.is_silent(end.now + usual - 1, 0.0, pause, delay)
    assert end.peer.is_silent(end.now + usual + 1, 0.0, pause, delay)


def test_keys_that_differ_are_named_and_damage_is_not_taken_for_that():
    end = End(seal())
    end.come(*end.frames(10, seal(OTHER)))
    assert '10 datagrams fail authentication: do the keys differ' in end.trouble
    end.come(*end.frames(1, seal()))
    assert end.trouble == ''
    end.come(*end.frames(5, seal(OTHER)))
    assert end.trouble == ''  # the other end is there
    end.wait(40.0)
    assert end.trouble == ''


def test_an_end_that_calls_seldom_with_another_key_is_named_all_the_time():
    """The robot was received before; who is not answered calls less and less often."""
    end = End(seal())
    end.come(*end.frames(10, seal()))
    for pause_s in (1, 2, 4, 8):
        end.come(*end.frames(1, seal(OTHER)))
        end.wait(pause_s)
    for _ in range(3):
        end.come(*end.frames(1, seal(OTHER)))
        for _ in range(16):
            end.wait(1.0)
            assert 'fail authentication' in end.trouble
    end.wait(120.0)
    assert end.trouble == ''


def test_one_trouble_does_not_hide_another():
    end = End(seal())
    packets = end.frames(10, seal(start=100))
    end.come(*packets)
    end.wait(11.0)
    end.come(*packets)  # played back
    end.come(*end.frames(10, seal(OTHER)))
    assert 'another sender' in end.trouble and '10 datagrams fail auth' in end.trouble


def test_security_at_one_end_only_is_named():
    sealed, plain = End(seal()), End(seals.CHECKSUM)
    sealed.come(*sealed.frames(10, seals.CHECKSUM))
    assert 'security' in sealed.trouble
    plain.come(*plain.frames(10, seal()))
    assert 'security' in plain.trouble


@pytest.mark.parametrize('first', [b'\x22', b'\x32', b'\x42', b'\x52'])
def test_an_older_release_is_named(first):
    end = End(seal())
    end.come(*[first + bytes(50)] * 10)
    assert end.trouble == 'the other end runs an older gsc_ros: update it'
    # As much of it as noise brings is not taken for one.
    end = End(seal())
    end.come(*[bytes([n]) + bytes(50) for n in range(0, 256, 4)])
    assert 'authentication' in end.trouble


def test_a_second_sender_with_the_same_key_is_named():
    end = End(seal())
    end.come(*end.frames(20, seal(start=100)))
    end.come(*end.frames(10, seal(start=100), session=12))  # its counts came before
    assert 'does another one use this key?' in end.trouble
    end = End(seal())
    end.come(*end.frames(20, seal(start=1000)))
    end.come(*end.frames(10, seal(start=900), session=12))  # they lie before
    assert 'does another one use this key?' in end.trouble


def test_a_network_that_doubles_some_datagrams_is_no_second_sender():
    end = End(seal())
    packets = end.frames(200, seal())
    for index, packet in enumerate(packets):
        end.come(packet, *[packet] * (index % 40 == 0))
    assert end.receiver.replayed == 5 and end.trouble == ''
