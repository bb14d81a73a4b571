"""UDP sockets and serial lines as transports of datagrams."""

import os
import pty
import socket
import threading
import time
import tty

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.link.traffic.transports.udp import UdpTransport


def receive(transport, count, patience_s=5.0):
    came = []
    deadline = time.monotonic() + patience_s
    while len(came) < count and time.monotonic() < deadline:
        came += transport.receive(0.1)
    return came


@pytest.mark.parametrize('host', ['127.0.0.1', '[::1]', 'localhost'])
def test_udp_answers_whoever_was_proven(host):
    try:
        ground = UdpTransport(f'{host}:0')
    except OSError as error:
        pytest.skip(f'no {host} here: {error}')
    robot = UdpTransport(':0', f'{host}:{ground.local[1]}')
    with pytest.raises(OSError, match='nobody has called'):
        ground.send(b'hello')
    robot.send(b'one')
    ((data, source),) = receive(ground, 1)
    assert data == b'one'
    ground.answer(source)
    ground.send(b'two')
    assert [data for data, _ in receive(robot, 1)] == [b'two']
    for _ in range(3):
        robot.answer(('192.0.2.1', 9))  # it has a fixed far end
    robot.send(b'three')
    assert [data for data, _ in receive(ground, 1)] == [b'three']
    robot.close()
    ground.close()


def test_an_address_that_is_taken_is_reported():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('127.0.0.1', 0))
        with pytest.raises(OSError, match='cannot listen on'):
            UdpTransport(f'127.0.0.1:{other.getsockname()[1]}')


class Line:
    """Two pseudo-terminals joined by a wire that can be cut or disturbed."""

    def __init__(self):
        ends = [pty.openpty() for _ in range(2)]
        self.masters = [master for master, _ in ends]
        self.slaves = [slave for _, slave in ends]
        for slave in self.slaves:
            tty.setraw(slave)
        self.devices = [os.ttyname(slave) for slave in self.slaves]
        self.noise = b''
        self._threads = [
            threading.Thread(target=self._carry, args=ends, daemon=True)
            for ends in (self.masters, self.masters[::-1])
        ]
        for thread in self._threads:
            thread.start()

    def _carry(self, source, sink):
        try:
            while data := os.read(source, 4096):
                os.write(sink, self.noise + data)
        except OSError:
            pass

    def close(self):
        for end in self.slaves + self.masters:
            os.close(end)


@pytest.fixture
def line():
    made = Line()
    yield made
    made.close()


@pytest.fixture
def serial_transport():
    pytest.importorskip('serial')
    pytest.importorskip('cobs')
    from gsc_ros.link.traffic.transports import serial

    return serial


def test_datagrams_cross_a_serial_line_with_all_their_zeros(line, serial_transport):
    ends = [serial_transport.SerialTransport(device, 57600) for device in line.devices]
    rng = np.random.default_rng(2)
    sent = [rng.integers(0, 3, size, np.uint8).tobytes() for size in (1, 50, 254, 600)]
    for data in sent:
        ends[0].send(data)
    assert [data for data, _ in receive(ends[1], 4)] == sent
    ends[1].send(b'\0back\0')
    assert [data for data, _ in receive(ends[0], 1)] == [b'\0back\0']
    assert ends[0].max_rate_bps(50) == pytest.approx(57600 * 0.8 * 50 / 53)
    for end in ends:
        end.close()


def test_a_device_that_is_not_named_is_refused(serial_transport):
    with pytest.raises(ValueError, match='device'):
        serial_transport.SerialTransport('', 57600)


def test_a_modem_that_was_unplugged_is_opened_again(line, serial_transport, tmp_path):
    link = tmp_path / 'modem'
    link.symlink_to(line.devices[0])
    end = serial_transport.SerialTransport(str(link), 57600)
    os.close(end._port.fileno())  # the device is gone
    with pytest.raises(OSError):
        for _ in range(3):
            end.receive(0.05)
    with pytest.raises(OSError, match='failed'):
        end.send(b'x')
    far = serial_transport.SerialTransport(line.devices[1], 57600)
    deadline = time.monotonic() + 10
    while end._port is None and time.monotonic() < deadline:
        end.receive(0.1)
    end.send(b'again')
    assert [data for data, _ in receive(far, 1)] == [b'again']
    far.close()


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.integers(1, 64),
       st.binary(max_size=40))  # fmt: skip
def test_a_stream_falls_into_its_datagrams_wherever_it_is_cut(datagrams, step, noise):
    serial = pytest.importorskip('gsc_ros.link.traffic.transports.serial')
    stream = noise + b''.join(map(serial.SerialTransport._stuff, datagrams))
    unstuffer = serial.Unstuffer()
    came = []
    for at in range(0, len(stream), step):
        came += unstuffer.push(stream[at : at + step])
    assert came[len(came) - len(datagrams) :] == datagrams


def test_noise_without_an_end_is_bounded(serial_transport):
    unstuffer = serial_transport.Unstuffer()
    for _ in range(300):
        assert unstuffer.push(b'\x01' * 1000) == []
    assert len(unstuffer._rest) <= 65535 and unstuffer.dropped > 200_000
    assert unstuffer.push(serial_transport.SerialTransport._stuff(b'after')) == [b'after']
