"""Nodes under test with a neighbour, in one process and a domain of their own."""

import threading
import time
from collections import defaultdict

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from gsc_ros.msg import SemanticFrame
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from gsc_ros.ros import convert, topics

PATIENCE_S = 40.0


class Bench:
    """Spins nodes and a peer in a thread; ``got`` keeps what the peer hears by topic."""

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
        """Start a node; it configures and activates itself. ``remap``: as `cmd_vel:=other`."""
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

    def hear(self, kind, topic, quality=topics.IMAGES):
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

    def tell(self, publish, name, condition):
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

    def close(self):
        """End everything."""
        for node in list(self.nodes):
            self.remove(node)
        self.executor.shutdown()
        self.thread.join(5)
        self.peer.destroy_node()


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


def stamped(bench, seed=0, ago=0.0, pixels=None):
    """An image of so many seconds ago."""
    now = bench.peer.get_clock().now().nanoseconds - round(1e9 * ago)
    message = image(seed, stamp=divmod(now, 10**9))
    if pixels is not None:
        message = convert.to_image(pixels, 'rgb8', message.header)
    return message


def warned(*texts):
    return lambda lv, m, v: lv == DiagnosticStatus.WARN and all(text in m for text in texts)
