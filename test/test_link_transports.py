"""Transports that cannot work yet, and an end that calls from elsewhere."""

import contextlib
import errno
import os
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_link_devices import Line, receive

from gsc_ros.link.traffic.transports import Retry, udp
from gsc_ros.link.traffic.transports.caller import HOLD_S, Caller
from gsc_ros.link.traffic.transports.udp import UdpTransport, parse_address


def serve(transport, condition, patience_s=15.0):
    """Let a transport do its work until something is so; returns the longest call (s)."""
    slowest, deadline = 0.0, time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        began = time.monotonic()
        transport.receive(0.01)
        slowest = max(slowest, time.monotonic() - began)
    return slowest


@pytest.fixture
def ground():
    made = UdpTransport('127.0.0.1:0')
    yield made
    made.close()


@pytest.fixture
def line():
    made = Line()
    yield made
    made.close()


# Where the other end calls from

PRESENT, OTHER, THIRD = 'present', 'other', 'third'


def caller():
    made = Caller()
    made.proven(PRESENT, 0.0)
    return made


def test_the_first_that_calls_is_answered():
    assert Caller().address is None
    assert caller().address == PRESENT


def test_an_end_that_moved_is_followed_at_its_second_datagram():
    moved = caller()
    moved.proven(OTHER, 0.2)
    moved.proven(OTHER, HOLD_S - 0.01)
    assert moved.address == PRESENT
    moved.proven(OTHER, HOLD_S + 0.01)
    assert moved.address == OTHER
    slow = caller()
    for now in (50.0, 60.0):
        assert slow.address == PRESENT
        slow.proven(OTHER, now)
    assert slow.address == OTHER


def test_an_end_that_calls_from_two_new_addresses_by_turns_is_followed():
    moved = caller()
    for step in range(4):
        moved.proven((OTHER, THIRD)[step % 2], 2.0 + step)
    assert moved.address in (OTHER, THIRD)


def test_one_caught_datagram_does_not_turn_the_link_away():
    # Somebody sends on from elsewhere what the robot sends, and is always quicker.
    raced = caller()
    for step in range(1, 1000):
        raced.proven(OTHER, step * 0.1)
        raced.repeated(PRESENT, step * 0.1 + 0.01)
        assert raced.address == PRESENT
    # Or withholds every fifth, and lets nobody see its own copies of the others.
    caught = caller()
    for step in range(1, 1000):
        caught.proven(OTHER if step % 5 == 0 else PRESENT, step * 0.1)
        assert caught.address == PRESENT


@given(
    st.lists(
        st.tuples(
            st.sampled_from([PRESENT, OTHER, THIRD]),
            st.booleans(),
            st.floats(0.0, 2 * HOLD_S),
        )
    )
)
def test_another_address_takes_over_only_when_the_present_one_is_quiet(calls):
    made, now = Caller(), 0.0
    last, proofs = None, {}  # when the present address called; proofs of others since
    for source, fresh, pause in calls:
        now += pause
        before = made.address
        (made.proven if fresh else made.repeated)(source, now)
        if source == before:
            last, proofs = now, {}
        elif fresh:
            proofs[source] = proofs.get(source, 0) + 1
        if made.address != before:
            assert made.address == source and fresh
            if before is not None:
                assert proofs[source] >= 2 and now >= last + HOLD_S
            last, proofs = now, {}


# Names and addresses


@pytest.mark.parametrize(
    'text',
    ['', 'host', 'host:', 'host:port', ':65536', 'host:-1', ':²', 'a b:1', 'udp://host:1',
     '::1:7447', '[1.2.3.4]:1', '[::1:7', f'{"x" * 70}.org:1', 'host..org:1'],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match='host:port'):
        parse_address(text)


@pytest.mark.parametrize(
    ('text', 'address'),
    [(':7', ('', 7)), ('base.example:7447', ('base.example', 7447)), ('[::1]:1', ('::1', 1)),
     ('[fe80::1%eth0]:1', ('fe80::1%eth0', 1)), ('10.0.0.1:65535', ('10.0.0.1', 65535)),
     ('bücher.example:1', ('bücher.example', 1))],
)  # fmt: skip
def test_what_is_an_address_is_read(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize('remote', [':7447', 'host:0'])
def test_what_is_nowhere_to_send_to_is_refused(remote):
    with pytest.raises(ValueError, match='nowhere to send to'):
        UdpTransport(':0', remote)
    with pytest.raises(ValueError, match='cannot reach each other'):
        UdpTransport('127.0.0.1:0', '[::1]:7')


class Names:
    """What the names of the network are, as long as it is asked through `getaddrinfo`."""

    def __init__(self, monkeypatch):
        self.known = {}
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, 'getaddrinfo', self._ask)
        monkeypatch.setattr('gsc_ros.link.traffic.transports._PAUSES_S', (0.05, 0.1))

    def _ask(self, host, port, *rest):
        if host != 'base.example':
            return self._real(host, port, *rest)
        self.asked += 1
        self.answers.wait()
        found = [one for name in self.known.get(host, ()) for one in self._real(name, port, *rest)]
        if not found:
            raise socket.gaierror(socket.EAI_AGAIN, 'Temporary failure in name resolution')
        return found


@pytest.fixture
def names(monkeypatch):
    made = Names(monkeypatch)
    yield made
    made.answers.set()


@pytest.mark.parametrize('local', [':0', '127.0.0.1:0', '[::]:0'])
def test_a_name_that_nobody_knows_yet_is_looked_up_for_ever(names, ground, local):
    robot = UdpTransport(local, f'base.example:{ground.local[1]}')
    assert 'base.example' in robot.trouble and not robot.peer
    with pytest.raises(OSError, match=r'base\.example'):
        robot.send(b'one')
    serve(robot, lambda: names.asked > 3)
    assert 'Temporary failure' in robot.trouble and 'trying again' in robot.trouble
    names.known['base.example'] = ['127.0.0.1']
    serve(robot, lambda: not robot.trouble)
    robot.send(b'two')
    assert [data for data, _ in receive(ground, 1)] == [b'two']
    asked = names.asked
    for _ in range(20):
        robot.receive(0.01)
    assert names.asked == asked
    robot.close()


def test_a_slow_name_server_holds_nobody_up(names, ground):
    names.answers.clear()
    began = time.monotonic()
    robot = UdpTransport('127.0.0.1:0', f'base.example:{ground.local[1]}')
    ground._caller.proven(('127.0.0.1', robot.local[1]), 0.0)
    ground.send(b'command')
    assert [data for data, _ in receive(robot, 1)] == [b'command']
    with contextlib.suppress(OSError):
        robot.send(b'x')
    assert time.monotonic() - began < 6.0  # and not for ever
    names.known['base.example'] = ['127.0.0.1']
    names.answers.set()
    serve(robot, lambda: robot.peer)
    robot.close()


def test_a_name_is_looked_up_again_when_nothing_comes(names, ground, monkeypatch):
    monkeypatch.setattr(udp, '_SILENCE_S', 0.2)
    names.known['base.example'] = ['127.0.0.9']
    port = ground.local[1]
    robot = UdpTransport('127.0.0.1:0', f'base.example:{port}')
    serve(robot, lambda: robot.peer == f'127.0.0.9:{port}')
    names.known.clear()  # the name server is gone: the old address is better than none
    asked = names.asked
    serve(robot, lambda: names.asked > asked + 1)
    assert robot.peer == f'127.0.0.9:{port}' and not robot.trouble
    names.known['base.example'] = ['127.0.0.1']
    serve(robot, lambda: robot.peer == f'127.0.0.1:{port}')
    robot.send(b'found')
    assert [data for data, _ in receive(ground, 1)] == [b'found']
    monkeypatch.setattr(udp, '_SILENCE_S', 1.0)
    robot.answer(('127.0.0.1', port))
    asked = names.asked
    for _ in range(20):
        robot.receive(0.01)
    assert names.asked <= asked + 1  # one may have been on its way
    robot.close()


def test_the_other_addresses_of_a_name_are_tried(names, ground, monkeypatch):
    monkeypatch.setattr(udp, '_SILENCE_S', 0.2)
    names.known['base.example'] = ['127.0.0.8', '127.0.0.9', '127.0.0.1']
    robot = UdpTransport('127.0.0.1:0', f'base.example:{ground.local[1]}')
    seen = set()

    def all_tried():
        seen.add(robot.peer.partition(':')[0])
        return {'127.0.0.8', '127.0.0.9', '127.0.0.1'} <= seen

    serve(robot, all_tried)
    robot.close()


class Unready(socket.socket):
    """A socket on a host whose address or network is not up yet."""

    bind_error = send_error = 0

    def bind(self, address):
        if self.bind_error:
            raise OSError(self.bind_error, os.strerror(self.bind_error))
        super().bind(address)

    def sendto(self, data, address):
        if self.send_error:
            raise OSError(self.send_error, os.strerror(self.send_error))
        return super().sendto(data, address)


@pytest.fixture
def unready(monkeypatch):
    made = type('Host', (Unready,), {})
    monkeypatch.setattr(socket, 'socket', made)
    monkeypatch.setattr('gsc_ros.link.traffic.transports._PAUSES_S', (0.05, 0.1))
    return made


@pytest.mark.parametrize('code', [errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.ENODEV])
def test_an_address_that_is_not_up_yet_is_waited_for(unready, code):
    unready.bind_error = code
    end = UdpTransport('127.0.0.1:0')
    assert 'cannot listen on 127.0.0.1:0' in end.trouble and 'trying again' in end.trouble
    with pytest.raises(OSError, match='cannot listen'):
        end.send(b'x')
    with pytest.raises(OSError, match='cannot listen'):
        _ = end.local
    for _ in range(5):
        assert end.receive(0.02) == []
    unready.bind_error = errno.EADDRINUSE  # later on that is waited for as well
    for _ in range(20):
        assert end.receive(0.02) == []
    assert 'in use' in end.trouble
    unready.bind_error = 0
    serve(end, lambda: not end.trouble)
    assert end.local[1] > 0
    end.close()


def test_a_local_name_that_nobody_knows_yet_is_waited_for(names, ground):
    end = UdpTransport('base.example:0', f'127.0.0.1:{ground.local[1]}')
    serve(end, lambda: names.asked > 2)
    assert 'no address base.example' in end.trouble
    names.known['base.example'] = ['127.0.0.1']
    serve(end, lambda: not end.trouble)
    end.send(b'here')
    assert [data for data, _ in receive(ground, 1)] == [b'here']
    end.close()


def test_a_network_that_is_down_is_no_end(unready, ground):
    robot = UdpTransport('127.0.0.1:0', f'127.0.0.1:{ground.local[1]}')
    unready.send_error = errno.ENETUNREACH
    with pytest.raises(OSError, match='unreachable'):
        robot.send(b'x')
    assert robot.receive(0.01) == []
    unready.send_error = 0
    robot.send(b'up')
    assert [data for data, _ in receive(ground, 1)] == [b'up']
    robot.close()
    robot.close()


# Modems


@pytest.fixture
def modem(monkeypatch):
    serial = pytest.importorskip('serial')
    pytest.importorskip('cobs')
    monkeypatch.setattr('gsc_ros.link.traffic.transports._PAUSES_S', (0.05, 0.1))
    from gsc_ros.link.traffic.transports.serial import SerialTransport

    assert serial
    return SerialTransport


def test_a_modem_that_is_not_plugged_in_yet_is_waited_for(modem, line, tmp_path):
    device = tmp_path / 'ttyUSB0'
    end = modem(str(device), 57600)
    assert f'cannot open {device}: No such file' in end.trouble and 'trying again' in end.trouble
    with pytest.raises(OSError, match='No such file'):
        end.send(b'x')
    for _ in range(5):
        assert end.receive(0.02) == []
    device.symlink_to(line.devices[0])
    serve(end, lambda: not end.trouble)
    far = modem(line.devices[1], 57600)
    end.send(b'plugged in')
    assert [data for data, _ in receive(far, 1)] == [b'plugged in']
    for one in (end, far):
        one.close()


def test_a_modem_that_another_program_has_is_reported(modem, line):
    first, second = (modem(line.devices[0], 57600) for _ in range(2))
    assert not first.trouble and 'another program' in second.trouble
    first.close()
    serve(second, lambda: not second.trouble)
    second.close()


def test_a_device_that_is_no_modem_is_reported(modem):
    end = modem('/dev/null', 57600)
    assert 'cannot open /dev/null' in end.trouble
    assert end.receive(0.01) == []


def test_pauses_grow_and_end_with_a_success():
    retry = Retry()
    pauses = []
    for now in range(0, 700, 100):
        retry.failed(now)
        pauses.append(retry.at - now)
    assert pauses == sorted(pauses) and pauses[0] <= 0.5 and pauses[-1] == 10.0
    retry.worked()
    retry.failed(0.0)
    assert retry.at == pauses[0]
