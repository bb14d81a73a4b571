"""
Try the two ends of a real link as processes, with somebody between them.

Robot (``link_robot``, ``guard``) and ground (``link_ground``) run in ROS domains of their own and
talk over UDP through a relay in this process, which may lose, hold back, repeat and reorder what
it passes on.

Run ``python -m benchmarks.field``, or with the names of tables: ``commands`` (a man in the
middle: commands that ran twice, out of order or late), ``restarts`` (images that do not come, or
come with another camera's calibration, after an end restarts), ``loss`` (images a second).
The file is long because a relay, the processes and a function for each table share it.
"""

import argparse
import itertools
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist
from gsc_ros.msg import LinkStatus, SemanticFrame
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo

from gsc_ros.__main__ import environment
from gsc_ros.link.datagrams import key_file
from gsc_ros.ros import topics

# Other runs on this machine are to have others; above 101 ports may be taken.
_FIRST = 20 + 2 * (os.getpid() % 40)
DOMAINS = {'robot': _FIRST, 'ground': _FIRST + 1}
SIZE = (480, 360)
BUDGET = 150
PROFILE = 'uhf_satcom_25k'
START_S = 20.0  # that a process may take to come up


@dataclass
class Policy:
    """What the relay does to datagrams: each share is 0..1, times in s."""

    loss: float = 0.0
    held: float = 0.0  # share that is held back, for up to `hold_s`
    hold_s: float = 3.0
    repeated: float = 0.0  # share that is sent again, once, after up to `hold_s`
    withheld: float = 0.0  # share that is kept, to be released by :meth:`Relay.release`


class Relay:
    """A man in the middle of two UDP ports; each end takes it for the other."""

    def __init__(self, seed: int = 0) -> None:
        self.sockets = {name: _socket() for name in DOMAINS}
        self.policies = {name: Policy() for name in DOMAINS}  # of what that end sends
        self.counts: Counter[str] = Counter()
        self.kept: list[tuple[str, bytes]] = []
        self._addresses: dict[str, Any] = {}
        self._random = random.Random(seed)
        self._later: list[tuple[float, str, bytes]] = []
        self._open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def port(self, name: str) -> int:
        """Port that an end talks to."""
        return int(self.sockets[name].getsockname()[1])

    def release(self) -> int:
        """Send all that was withheld, in random order; returns how many datagrams."""
        kept, self.kept = self.kept, []
        self._random.shuffle(kept)
        self._later += [(0.0, name, data) for name, data in kept]
        return len(kept)

    def close(self) -> None:
        """End."""
        self._open = False
        self._thread.join()
        for one in self.sockets.values():
            one.close()

    def _run(self) -> None:
        names = {one: name for name, one in self.sockets.items()}
        while self._open:
            ready, _, _ = select.select(list(names), [], [], 0.002)
            now = time.monotonic()
            for one in ready:
                data, address = one.recvfrom(65535)
                self._addresses[names[one]] = address
                self._judge(names[one], data, now)
            due, self._later = (
                [x for x in self._later if x[0] <= now],
                [x for x in self._later if x[0] > now],
            )
            for _, name, data in due:
                self._pass_on(name, data)

    def _judge(self, name: str, data: bytes, now: float) -> None:
        policy, draw = self.policies[name], self._random.random
        self.counts[f'{name} sent'] += 1
        if draw() < policy.withheld:
            self.kept.append((name, data))
            self.counts[f'{name} withheld'] += 1
            return
        if draw() < policy.loss:
            self.counts[f'{name} lost'] += 1
            return
        if draw() < policy.repeated:
            self._later.append((now + policy.hold_s * draw(), name, data))
            self.counts[f'{name} repeated'] += 1
        if draw() < policy.held:
            self._later.append((now + policy.hold_s * draw(), name, data))
            self.counts[f'{name} held back'] += 1
            return
        self._pass_on(name, data)

    def _pass_on(self, name: str, data: bytes) -> None:
        other = 'ground' if name == 'robot' else 'robot'
        address = self._addresses.get(other)
        if address is not None:
            self.sockets[other].sendto(data, address)


def _socket() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(('127.0.0.1', 0))
    return one


class Process:
    """A node as a process."""

    def __init__(self, node: str, side: str, log: Path, **parameters: object) -> None:
        words = [sys.executable, '-m', f'gsc_ros.nodes.{node}', '--ros-args']
        for name, value in parameters.items():
            words += ['-p', f'{name}:={json.dumps(value)}']
        # One domain a side, and nobody outside of this machine.
        own = {'ROS_DOMAIN_ID': str(DOMAINS[side]), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
        with log.open('a') as output:
            self._process = subprocess.Popen(
                words, env=environment() | own, stdout=output, stderr=subprocess.STDOUT
            )

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal and wait; returns the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(20)


class Peer:
    """What stands at the topics of one side: spins in a thread; ``got`` by topic, with times."""

    def __init__(self, side: str) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAINS[side])
        self.node: Node = rclpy.create_node(f'peer_{side}', context=self.context)
        self.got: dict[str, deque[tuple[float, Any]]] = {}
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)

    def hear(self, topic: str, kind: type, quality: QoSProfile = topics.IMAGES) -> None:
        """Keep what comes on a topic."""
        kept = self.got[topic] = deque()
        self.node.create_subscription(
            kind, topic, lambda message: kept.append((time.monotonic(), message)), quality
        )

    def spin(self, seconds: float) -> None:
        """Take what comes for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._executor.spin_once(left)

    def close(self) -> None:
        """End."""
        self.node.destroy_node()
        self.context.try_shutdown()


@dataclass
class Camera:
    """A camera of the robot's: its frame and its focal length, pixels."""

    frame_id: str
    focal: float

    def info(self, stamp: Time) -> CameraInfo:
        """Return its camera_info at a time."""
        message = CameraInfo(width=SIZE[0], height=SIZE[1], distortion_model='plumb_bob')
        message.header.stamp, message.header.frame_id = stamp, self.frame_id
        message.k = [self.focal, 0.0, 240.0, 0.0, self.focal, 180.0, 0.0, 0.0, 1.0]
        message.p = [self.focal, 0.0, 240.0, 0.0, 0.0, self.focal, 180.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        return message

    def made(self, info: CameraInfo) -> bool:
        """
        Whether a camera_info is of this camera.

        With a K of zeros it says that the calibration is not known (sensor_msgs/CameraInfo): the
        link may find the topic of images before that of camera_info.
        """
        return info.header.frame_id == self.frame_id and info.k[0] in (self.focal, 0.0)


@dataclass
class Field:
    """Both ends as processes, the relay between them, and a peer at each side's topics."""

    folder: Path
    seed: int = 0
    parameters: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.relay = Relay(self.seed)
        self.keys: dict[str, Path] = {}
        for side in DOMAINS:
            path = self.folder / side / 'link.key'
            if not self.keys:
                key_file.create(path)
            else:
                path.parent.mkdir(mode=0o700)
                first = next(iter(self.keys.values()))
                for name in ('link.key', 'link.key.counts'):
                    (path.parent / name).write_bytes((first.parent / name).read_bytes())
                    (path.parent / name).chmod(0o600)
            self.keys[side] = path
        self.processes: dict[str, Process] = {}
        self.peers = {side: Peer(side) for side in DOMAINS}
        robot, ground = self.peers['robot'], self.peers['ground']
        robot.hear(topics.CMD_VEL, Twist)
        for peer in (robot, ground):
            peer.hear(topics.STATUS, LinkStatus, topics.LATCHED)
        ground.hear(topics.RECEIVED, SemanticFrame)
        ground.hear(topics.RECEIVED_INFO, CameraInfo)
        self.matched_at = 0.0  # when the robot's link last began to take frames
        events = PublisherEventCallbacks(matched=self._on_matched)
        self._frames = robot.node.create_publisher(
            SemanticFrame, topics.CODED, topics.NEWEST, event_callbacks=events
        )
        self._infos = robot.node.create_publisher(CameraInfo, topics.CAMERA_INFO, topics.SENSOR)
        self._commands = ground.node.create_publisher(Twist, topics.TELEOP, topics.NEWEST)
        self.sequence = 0
        self._data = coded()

    def start(self, side: str) -> None:
        """Start the processes of a side and wait until its link is up."""
        status = self.peers[side].got[topics.STATUS]
        before = len(status)
        common: dict[str, object] = {
            'key_file': str(self.keys[side]),
            'profile': PROFILE,
            'local': '127.0.0.1:0',
            'remote': f'127.0.0.1:{self.relay.port(side)}',
            **self.parameters,
        }
        log = self.folder / f'{side}.log'
        self.processes[f'link_{side}'] = Process(f'link_{side}', side, log, **common)
        if side == 'robot' and 'guard' not in self.processes:
            self.processes['guard'] = Process('guard', side, log)
        self.wait(lambda: len(status) > before, START_S, f'link_{side} comes up')

    def stop(self, side: str, number: int = signal.SIGINT) -> int:
        """Stop a side's link."""
        return self.processes.pop(f'link_{side}').end(number)

    def _on_matched(self, event: Any) -> None:
        if event.current_count_change > 0:
            self.matched_at = time.monotonic()

    def spin(self, seconds: float) -> None:
        """Let both peers take what comes."""
        for peer in self.peers.values():
            peer.spin(seconds / len(self.peers))

    def wait(self, condition: Callable[[], bool], seconds: float, why: str) -> None:
        """Wait until a condition holds; raises TimeoutError."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError(f'waited {seconds:g} s in vain: {why}; logs in {self.folder}')
            self.spin(0.02)

    def offer(self, camera: Camera) -> None:
        """Give the robot's link a frame and its camera_info."""
        stamp = self.peers['robot'].node.get_clock().now().to_msg()
        self._infos.publish(camera.info(stamp))
        message = SemanticFrame(sequence=self.sequence, preset='gsc', data=self._data)
        message.divisible = True
        message.width, message.height = SIZE
        message.header.stamp, message.header.frame_id = stamp, camera.frame_id
        self._frames.publish(message)
        self.sequence += 1

    def command(self, speed: float) -> None:
        """Give the ground's link a command, m/s."""
        message = Twist()
        message.linear.x = speed
        self._commands.publish(message)

    def close(self) -> None:
        """End all."""
        for process in self.processes.values():
            process.end()
        self.relay.close()
        for peer in self.peers.values():
            peer.close()


def coded() -> bytes:
    """Return a coded frame of random blocks."""
    from gsc_ros.codec import SemanticCodec

    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (SIZE[1] // 40, SIZE[0] // 40, 3), np.uint8)
    image = np.kron(blocks, np.ones((40, 40, 1), np.uint8))
    return bytes(SemanticCodec.load().encode(image, BUDGET).data)


def commands(folder: Path, number: int = 1000, max_age_s: float = 1.0) -> dict[str, int]:
    """
    Drive through a man in the middle; count what ran.

    Commands are told apart by their speed, 1 mm/s a step. Some are lost, some held back for up to
    3 s, some repeated, some withheld and released at the end in random order, after a zero.
    """
    camera = Camera('front', 400.0)
    tried = Field(folder, seed=3, parameters={})
    try:
        tried.start('ground')
        tried.start('robot')
        robot = tried.peers['robot'].got[topics.CMD_VEL]
        received = tried.peers['ground'].got[topics.RECEIVED]

        def ready() -> bool:
            tried.offer(camera)
            tried.spin(0.2)
            return bool(received)

        tried.wait(ready, START_S, 'images come')
        tried.relay.policies['ground'] = Policy(0.1, 0.2, 3.0, 0.2, 0.05)
        given: dict[int, float] = {}
        robot.clear()
        for one in range(1, number + 1):
            given[one] = time.monotonic()
            tried.command(one / 1000)
            if one % 10 == 0:
                tried.offer(camera)
            tried.spin(0.05)
        tried.relay.policies['ground'] = Policy()
        until = time.monotonic() + 4
        while time.monotonic() < until:  # the operator's zero, again and again
            tried.command(0.0)
            tried.spin(0.1)
        zero_at = time.monotonic()
        released = tried.relay.release()
        tried.spin(5.0)
        ran = [(at, round(1000 * m.linear.x)) for at, m in robot if m.linear.x]
        numbers = [one for _, one in ran]
        slack = 0.5  # of this process's own spinning and of DDS
        return {
            'given': number,
            'ran': len(set(numbers)),
            'ran twice': len(numbers) - len(set(numbers)),
            'out of order': sum(b < a for a, b in itertools.pairwise(numbers)),
            'too late': sum(at - given[one] > max_age_s + slack for at, one in ran),
            'released after the zero': released,
            'ran after the zero': sum(at > zero_at for at, _ in ran),
            **{k: v for k, v in tried.relay.counts.items() if k.startswith('ground')},
        }
    finally:
        tried.close()


def restarts(folder: Path, times: int = 3) -> dict[str, dict[str, float]]:
    """
    Restart an end while the other stays; the robot comes back with another camera.

    Returns for each end: frames that the robot's link took after it was up and before one came
    (the worst of all restarts), seconds until then, and images with the calibration or the frame
    of another run. The profile's round trip takes 0.54 s.
    """
    out = {}
    for side in DOMAINS:
        place = folder / side
        place.mkdir()
        tried = Field(place)
        blank, seconds, wrong = 0, 0.0, 0
        try:
            cameras = [Camera(f'camera_{n}', 300.0 + 50 * n) for n in range(times + 1)]
            tried.start('ground')
            tried.start('robot')
            for n, camera in enumerate(cameras):
                if n:
                    tried.stop(side, signal.SIGKILL if n % 2 else signal.SIGINT)
                    if side == 'robot':
                        tried.sequence = 0
                    tried.start(side)
                shown = camera if side == 'robot' else cameras[0]
                images = tried.peers['ground'].got[topics.RECEIVED]
                infos = tried.peers['ground'].got[topics.RECEIVED_INFO]
                images.clear()
                infos.clear()
                begin = time.monotonic()
                offered = []
                while time.monotonic() < begin + 12:
                    offered.append(time.monotonic())
                    tried.offer(shown)
                    tried.spin(0.35)
                if n:
                    first = images[0][0] if images else float('inf')
                    begin = max(begin, tried.matched_at)
                    # All but the one that came.
                    blank = max(blank, sum(begin < at < first for at in offered) - 1)
                    seconds = max(seconds, first - begin)
                wrong += sum(m.header.frame_id != shown.frame_id for _, m in images)
                wrong += sum(not shown.made(m) for _, m in infos)
        finally:
            tried.close()
        out[side] = {'blank frames': blank, 'seconds': round(seconds, 2), 'wrong camera': wrong}
    return out


def loss(
    folder: Path, shares: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
) -> dict[float, tuple[float, float]]:
    """Images a second offered and come, at a share of datagrams lost both ways."""
    camera, out = Camera('front', 400.0), {}
    tried = Field(folder)
    try:
        tried.start('ground')
        tried.start('robot')
        images = tried.peers['ground'].got[topics.RECEIVED]
        for share in shares:
            tried.relay.policies = {name: Policy(loss=share) for name in DOMAINS}
            for seconds in (10.0, 20.0):  # the first ones let the ends learn of it
                images.clear()
                begin, offered = time.monotonic(), 0
                while time.monotonic() < begin + seconds:
                    tried.offer(camera)
                    offered += 1
                    tried.spin(0.25)
            took = time.monotonic() - begin
            out[share] = offered / took, len(images) / took
    finally:
        tried.close()
    return out


def main() -> None:
    """Print the tables that are asked for."""
    tables: dict[str, Callable[[Path], dict]] = {
        'commands': commands, 'restarts': restarts, 'loss': loss,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('tables', nargs='*', choices=[[], *tables], metavar='TABLE')
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    for name in parser.parse_args().tables or tables:
        with tempfile.TemporaryDirectory() as folder:
            print(f'\n{name}')
            for key, value in tables[name](Path(folder)).items():
                print(f'  {key}: {value}')


if __name__ == '__main__':
    main()
