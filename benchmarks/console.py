"""
Measure what the operator's page costs the ground station, and how soon it is there.

Run ``python -m benchmarks.console`` (two minutes): by number of viewers, the share of a core that
the node's process takes while images of 480x360 with all maps come five times a second, how many
of them each viewer got, and, where there is a Chromium, when its page is ready. Viewers are
WebSockets that look at the image; ``--overlays trust,classes`` at maps, too.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import rclpy
from gsc_ros.msg import LinkStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from gsc_ros.dds import dds_environment
from gsc_ros.ros import convert, topics

SIZE, RATE = (480, 360), 5.0
_PATIENCE_S = 60.0
_TICKS = os.sysconf('SC_CLK_TCK')


class Feed:
    """Publishes decoded images with their maps, and the state of a link."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node: Node = rclpy.create_node('feed', context=self._context)
        publish = self.node.create_publisher
        kinds = topics.DECODED, topics.TRUST, topics.DECODED_SEGMENTATION, topics.HAZARDS
        self._images = {name: publish(Image, name, topics.IMAGES) for name in kinds}
        self._depths = publish(Image, topics.DECODED_DEPTH, topics.IMAGES)
        self._status = publish(LinkStatus, topics.STATUS, topics.LATCHED)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._open = True
        self.shown = 0
        self._threads = [
            threading.Thread(target=one, daemon=True) for one in (self._executor.spin, self._run)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        rng = np.random.default_rng(1)
        coarse = rng.integers(0, 256, (6, SIZE[1] // 24, SIZE[0] // 24, 3), np.uint8)
        pictures = [np.kron(one, np.ones((24, 24, 1), np.uint8)) for one in coarse]
        due = time.monotonic()
        while self._open:
            rgb = pictures[self.shown % len(pictures)]
            header = Header(frame_id='camera', stamp=self.node.get_clock().now().to_msg())
            self._images[topics.DECODED].publish(convert.to_image(rgb, 'rgb8', header))
            for name in (topics.TRUST, topics.HAZARDS):
                self._images[name].publish(convert.to_image(rgb[..., 0], 'mono8', header))
            classes = convert.to_image(rgb[..., 1] % 19, 'mono8', header)
            self._images[topics.DECODED_SEGMENTATION].publish(classes)
            depth = rgb[..., 2].astype(np.float32) / 4 + 1
            self._depths.publish(convert.to_image(depth, '32FC1', header))
            if not self.shown % round(RATE / 2):
                self._status.publish(LinkStatus(profile='lab', rate_bps=8000.0, open=True))
            self.shown += 1
            due = max(due + 1 / RATE, time.monotonic() - 1 / RATE)
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        """End."""
        self._open = False
        self._threads[1].join()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


class Viewer:
    """A page's end of the WebSocket: counts the images that come."""

    def __init__(self, port: int, overlays: Sequence[str]) -> None:
        origin = f'http://127.0.0.1:{port}'
        self._socket: ClientConnection = connect(
            f'ws://127.0.0.1:{port}/ws', origin=Origin(origin), open_timeout=_PATIENCE_S
        ).__enter__()
        view = {'t': 'view', 'overlays': list(overlays), 'original': False}
        self._socket.send(json.dumps(view))
        self.images = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(Exception):
            for data in self._socket:
                if isinstance(data, bytes):
                    self.images += b'"kind": "image"' in data[:200]

    def close(self) -> None:
        """End."""
        self._socket.close()


def cpu_s(process: int) -> float:
    """Return the time that a process took of the cores, s (proc(5), stat)."""
    fields = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def console(folder: str) -> Iterator[tuple[int, int]]:
    """Run the node as a process of its own; yields its id and port."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    words = [sys.executable, '-m', 'gsc_ros.start', 'console', '--ros-args', '--log-level', 'warn']
    for name, value in (('port', port), ('output', folder), ('stale_after_s', 60.0)):
        words += ['-p', f'{name}:={value}']
    process = subprocess.Popen(words, env={**os.environ, **dds_environment()})
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError('the console does not answer') from None
                time.sleep(0.1)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


def measured(process: int, port: int, viewers: int, seconds: float, feed: Feed,
             overlays: Sequence[str]) -> tuple[float, float]:  # fmt: skip
    """Return the share of a core, and how many of the images a viewer got on average, 0..1."""
    pages = [Viewer(port, overlays) for _ in range(viewers)]
    try:
        time.sleep(2.0)  # what is new to all has come
        began, cpu, shown = time.monotonic(), cpu_s(process), feed.shown
        before = [page.images for page in pages]
        time.sleep(seconds)
        share = (cpu_s(process) - cpu) / (time.monotonic() - began)
        came = [page.images - count for page, count in zip(pages, before, strict=True)]
        got = sum(came) / len(came) / max(1, feed.shown - shown) if came else float('nan')
        return share, got
    finally:
        for page in pages:
            page.close()


def ready_s(port: int) -> tuple[float, float] | None:
    """
    Return how long a page takes in headless Chromium from navigation until it is connected, and
    until it shows an image, s; None without a Chromium.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'test'))
    import browser  # type: ignore[import-not-found]  # drives Chromium in the tests

    if browser.find() is None:
        return None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = browser.Chromium(folder)
        try:
            began = time.monotonic()
            page.go(f'http://127.0.0.1:{port}/')
            page.wait('document.getElementById("connection").textContent === "connected"')
            connected_s = time.monotonic() - began
            page.wait('document.getElementById("image").dataset.stamp')
            return connected_s, time.monotonic() - began
        finally:
            page.close()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--viewers', default='0,1,20', help='numbers of viewers')
    parser.add_argument('--seconds', type=float, default=20.0, help='of each measurement')
    parser.add_argument('--overlays', default='', help='maps that are looked at, with commas')
    args = parser.parse_args()
    overlays = [one for one in args.overlays.split(',') if one]
    with tempfile.TemporaryDirectory() as folder, console(folder) as (process, port):
        feed = Feed()
        try:
            print(f'load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores')
            print('viewers  share of a core  images that a viewer got')
            for viewers in map(int, args.viewers.split(',')):
                share, got = measured(process, port, viewers, args.seconds, feed, overlays)
                text = f'{got:.0%}' if viewers else '-'
                print(f'{viewers:7d}  {share:14.1%}  {text:>23}', flush=True)
            took = ready_s(port)
            if took is None:
                print('no Chromium')
            else:
                print(
                    f'page connected after {took[0]:.2f} s, with its image after {took[1]:.2f} s'
                )
        finally:
            feed.close()


if __name__ == '__main__':
    main()
