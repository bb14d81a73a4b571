"""Nodes under test with a neighbour, in one process and a domain of their own."""

import os
import threading
import time
from collections import defaultdict

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Twist
from gsc_ros.msg import LinkStatus, SemanticFrame
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Bool, Empty, Header

from gsc_ros.codec import bitstream
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.nodes.link import LinkNode
from gsc_ros.nodes.link_ground import LinkGround
from gsc_ros.nodes.link_robot import LinkRobot
from gsc_ros.ros import convert, topics

PATIENCE_S = 60.0
STAMP = (1_600_000_000, 123_456_789)


def own_domain(number):
    """Return a ROS domain for a number below 20 that no other worker of pytest-xdist uses."""
    return number + 20 * int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])


class Bench:
    """Spins nodes and a peer in a thread; ``got`` holds what the peer receives, by topic."""

    def __init__(self, context, namespace):
        self.context, self.namespace = context, namespace
        self.nodes = []
        self.got = defaultdict(list)
        self.peer = rclpy.create_node('peer', context=context, namespace=namespace)
        self.peer.create_subscription(
            DiagnosticArray, '/diagnostics', self.got['/diagnostics'].append, 50
        )
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.peer)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    def add(self, kind, remap=(), **parameters):
        """
        Start a node, and wait until it is active, as it configures and activates itself; with
        `autostart=False` it only exists. ``remap``: as `cmd_vel:=other`.
        """
        overrides = [Parameter(key, value=value) for key, value in parameters.items()]
        words = [word for rule in remap for word in ('-r', rule)]
        node = kind(
            context=self.context,
            namespace=self.namespace,
            parameter_overrides=overrides,
            cli_args=['--ros-args', *words] if words else None,
        )
        self.nodes.append(node)
        self.executor.add_node(node)
        if parameters.get('autostart', True):
            self.wait(lambda: node.active, f'{node.get_name()} is active')
            self.settle()
        return node

    def remove(self, node):
        """End a node as if its process had ended: between two callbacks, not amid one."""

        def end():
            self.executor.remove_node(node)
            node.close()
            node.destroy_node()

        self.nodes.remove(node)
        task = self.executor.create_task(end)
        self.wait(lambda: task.done() or not self.thread.is_alive(), 'the node ends')
        assert self.thread.is_alive(), 'a callback has raised and ended the executor'
        task.result()

    def subscribe(self, kind, topic, quality=topics.IMAGES):
        """Subscribe the peer to a topic."""
        self.peer.create_subscription(kind, topic, self.got[topic].append, quality)

    def wait(self, condition, why=''):
        """Wait until a condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, (
                f'waited in vain: {why} {self.got["/diagnostics"][-1:]}'
            )
            time.sleep(0.01)

    def report(self, name):
        """Return level, message and values of a node's newest diagnostics."""
        for array in reversed(self.got['/diagnostics']):
            for status in array.status:
                if status.name.startswith(f'{self.namespace.strip("/")}/{name}:'):
                    values = {v.key: v.value for v in status.values}
                    return status.level, status.message, values
        return None, '', {}

    def wait_for_report(self, name, condition, why=''):
        """Wait for diagnostics of a node that satisfy ``condition(level, message, values)``."""
        self.got['/diagnostics'].clear()
        self.wait(lambda: self.report(name)[0] is not None and condition(*self.report(name)), why)
        return self.report(name)

    def publish_until(self, publish, name, condition):
        """Publish until a node's counts, as integers, satisfy ``condition``."""
        rounds = 0

        def done():
            nonlocal rounds
            if rounds % 50 == 0:
                publish()
            rounds += 1
            values = {k: int(v) for k, v in self.report(name)[2].items() if v.isdigit()}
            return bool(values) and condition(values)

        self.wait(done, f'{name} counts it')

    def settle(self):
        """Wait until the callbacks that have begun are over."""
        task = self.executor.create_task(lambda: None)
        self.wait(task.done, 'the executor goes on')

    def close(self):
        """End everything."""
        for node in list(self.nodes):
            self.remove(node)
        self.executor.shutdown()
        self.thread.join(5)
        self.peer.destroy_node()


class LinkBench(Bench):
    """A bench with the simulated link, and the topics and publishers of both its neighbours."""

    def __init__(self, context, namespace, **parameters):
        super().__init__(context, namespace)
        for topic, kind, quality in (
            (topics.RECEIVED, SemanticFrame, topics.IMAGES),
            (topics.RECEIVED_INFO, CameraInfo, topics.IMAGES),
            (topics.LINK_CMD_VEL, Twist, topics.IMAGES),
            (topics.STATUS, LinkStatus, topics.LATCHED),
        ):
            self.subscribe(kind, topic, quality)
        publish = self.peer.create_publisher
        self.frames = publish(SemanticFrame, topics.CODED, topics.NEWEST)
        self.cameras = publish(CameraInfo, topics.CAMERA_INFO, topics.SENSOR)
        self.teleop = publish(Twist, topics.TELEOP, topics.NEWEST)
        self.node = self.add(LinkNode, **{'profile': 'ideal', **parameters})
        self.wait(lambda: self.got[topics.STATUS], 'the link publishes its status')
        publishers = (self.frames, self.cameras, self.teleop)
        self.wait(lambda: all(p.get_subscription_count() for p in publishers), 'it listens')
        for topic in (topics.RECEIVED, topics.RECEIVED_INFO, topics.LINK_CMD_VEL):
            name = f'{self.namespace}/{topic}'
            self.wait(lambda name=name: self.node.count_subscribers(name), f'{name} is found')

    def know_the_robot(self):
        """Wait until the ground knows whom to address; in simulated time nothing has come yet."""
        self.wait(lambda: self.node.down.receiver.session, 'the ground receives the robot')

    def send(self, *messages):
        """Publish frames one by one, each when the one before was taken up."""
        for message in messages:
            before = self.taken()
            self.frames.publish(message)
            self.wait(lambda before=before: self.taken() > before, 'the frame is taken up')

    def taken(self):
        """How many frames the link has taken up or refused."""
        return self.node.down.sender.counts[TrafficClass.FRAME].offered + self.node.refused

    def status(self, condition):
        """Wait for a status that satisfies a condition; return it."""
        self.wait(lambda: condition(self.got[topics.STATUS][-1]), 'the status')
        return self.got[topics.STATUS][-1]


class Host:
    """
    A node in a domain of its own, with a peer; it spins when it is told to.

    ``got`` keeps what comes on the topics of ``subscribes`` (message by topic); ``publishers`` are
    those of ``publishes`` (message and quality by topic).
    """

    def __init__(self, kind, domain, subscribes, publishes, **parameters):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=own_domain(domain))
        overrides = [Parameter(k, value=v) for k, v in {'profile': 'ideal', **parameters}.items()]
        self.node = kind(context=self.context, parameter_overrides=overrides)
        self.peer = rclpy.create_node('peer', context=self.context)
        self.got = {topic: [] for topic in subscribes}
        for topic, message in subscribes.items():
            quality = topics.LATCHED if topic == topics.STATUS else topics.IMAGES
            self.peer.create_subscription(message, topic, self.got[topic].append, quality)
        self.publishers = {
            topic: self.peer.create_publisher(message, topic, quality)
            for topic, (message, quality) in publishes.items()
        }
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.peer)

    @property
    def ready(self):
        """Whether the node is active, and node and peer have found each other."""
        return (
            self.node.active
            and all(one.get_subscription_count() for one in self.publishers.values())
            and all(self.node.count_subscribers(topic) for topic in self.got)
        )

    def close(self):
        """End the node and its domain."""
        self.node.close()
        self.node.destroy_node()
        self.peer.destroy_node()
        self.context.try_shutdown()


class Ends:
    """
    The robot's and the ground's end of a real link, each a `Host` or None.

    They can be ended and started anew, and spin in the test's thread. ``domains``: of the ground
    and the robot.
    """

    def __init__(self, domains=(14, 15)):
        self.domains = domains
        self.ground = self.robot = None

    @classmethod
    def pair(cls, robot, ground):
        """Start both; `remote: ground` of the robot is where the ground listens (udp)."""
        made = cls()
        made.start_ground(**ground)
        if robot.get('remote') == 'ground':
            robot = {**robot, 'remote': f'127.0.0.1:{made.ground.node._transport.local[1]}'}
        made.start_robot(**robot)
        return made

    def start_ground(self, **parameters):
        """Start the ground's end, and wait until it works."""
        self.ground = Host(
            LinkGround,
            self.domains[0],
            {
                topics.RECEIVED: SemanticFrame,
                topics.RECEIVED_INFO: CameraInfo,
                topics.STATUS: LinkStatus,
            },
            {
                topics.TELEOP: (Twist, topics.NEWEST),
                topics.STOP: (Bool, topics.NEWEST),
                topics.KEY_MISSED: (Empty, topics.NEWEST),
            },
            **parameters,
        )
        self.wait(lambda: self.ground.ready, 'the ground works')

    def start_robot(self, **parameters):
        """Start the robot's end, and wait until it works."""
        self.robot = Host(
            LinkRobot,
            self.domains[1],
            {
                topics.LINK_CMD_VEL: Twist,
                topics.KEY_WANTED: Empty,
                topics.STATUS: LinkStatus,
            },
            {
                topics.CODED: (SemanticFrame, topics.NEWEST),
                topics.CAMERA_INFO: (CameraInfo, topics.SENSOR),
                topics.GUARD_ALIVE: (Empty, topics.SENSOR),
            },
            **parameters,
        )
        self.wait(lambda: self.robot.ready, 'the robot works')

    @property
    def hosts(self):
        """Those that run."""
        return [host for host in (self.ground, self.robot) if host is not None]

    def spin(self, seconds):
        """Let both work for some time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for host in self.hosts:
                host.executor.spin_once(0.003)

    def wait(self, condition, why='nothing came'):
        """Let both work until a condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f'waited in vain: {why}'
            for host in self.hosts:
                host.executor.spin_once(0.003)

    def end(self, name):
        """End 'robot' or 'ground', if it runs."""
        host = getattr(self, name)
        if host is not None:
            host.close()
            setattr(self, name, None)

    def close(self):
        """End both."""
        self.end('robot')
        self.end('ground')


def image(seed=0, size=(96, 64), encoding='rgb8', stamp=(1700000000, 123456789)):
    """Make an image message of random blocks."""
    rng = np.random.default_rng(seed)
    header = Header(frame_id='camera_optical_frame')
    header.stamp.sec, header.stamp.nanosec = stamp
    blocks = rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    return convert.to_image(np.kron(blocks, np.ones((8, 8, 1), np.uint8)), encoding, header)


def coded(codec, seed=0, size=(96, 64), budget=200, sequence=0, stamp=(1700000000, 987654321)):
    """Make a semantic frame of random blocks."""
    rgb = convert.to_rgb(image(seed, size))
    frame = codec.encode(rgb, budget, sequence=sequence)
    message = SemanticFrame(sequence=sequence, preset='gsc', model_fingerprint=codec.fingerprint)
    message.divisible = True
    message.header.frame_id = 'camera_optical_frame'
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.width, message.height = size
    message.data = frame.data
    return message


def info(size=(96, 64), stamp=(1700000000, 987654321)):
    """Make a camera_info."""
    message = CameraInfo(width=size[0], height=size[1], distortion_model='plumb_bob')
    message.header.frame_id = 'camera_optical_frame'
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    focal, x, y = 80.0, (size[0] - 1) / 2, (size[1] - 1) / 2
    message.k = [focal, 0.0, x, 0.0, focal, y, 0.0, 0.0, 1.0]
    message.p = [focal, 0.0, x, 0.0, 0.0, focal, y, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def stamped(bench, seed=0, ago=0.0, pixels=None, stamp=None, size=(96, 64)):
    """An image of so many seconds ago, or of ``stamp``."""
    now = bench.peer.get_clock().now().nanoseconds - round(1e9 * ago)
    message = image(seed, size, stamp=stamp or divmod(now, 10**9))
    if pixels is not None:
        message = convert.to_image(pixels, 'rgb8', message.header)
    return message


def warned(*texts):
    return lambda lv, m, v: lv == DiagnosticStatus.WARN and all(text in m for text in texts)


def frame(sequence=0, size=150, stamp=STAMP, frame_id='cam'):
    """Make a semantic frame whose stream is noise."""
    reference = sequence - 1 if sequence % 2 else None  # every other one is a delta frame
    header = bitstream.FrameHeader('gsc', 77, sequence % 256, 480, 360, 0, reference)
    stream = np.random.default_rng(sequence).bytes(size)
    message = SemanticFrame(sequence=sequence, preset='gsc', model_fingerprint=77)
    message.divisible = True
    message.frame_type = header.frame_type
    message.reference_sequence = sequence if reference is None else reference
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = frame_id
    message.width, message.height = 480, 360
    message.data = bitstream.pack(header, stream)[1]
    return message


def camera(frame_id='cam', focal=421.3):
    """Make a camera_info for it."""
    message = CameraInfo(width=480, height=360, distortion_model='plumb_bob', d=[0.1] * 5)
    message.header.frame_id = frame_id
    message.k = [focal, 0.0, 240.0, 0.0, focal, 180.0, 0.0, 0.0, 1.0]
    message.p = [focal, 0.0, 240.0, 0.0, 0.0, focal, 180.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def drive(speed=0.5):
    """Make a command to drive ahead."""
    twist = Twist()
    twist.linear.x = speed
    return twist
