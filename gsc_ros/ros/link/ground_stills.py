"""
Stills at the ground's side of a link: asked for by the operator, put together, and published.

Subscribes teleop/still; publishes decoded/still, link/still and link/still_progress. Of several
cameras each has these topics in the namespace of its name.
"""

import array

from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Empty, Float32, Header, String

from gsc_ros.link.datagrams.payloads import PayloadError, Request
from gsc_ros.link.datagrams.reassembly import Received
from gsc_ros.link.datagrams.stills import format_of
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.link.traffic.stills import StillReceiver
from gsc_ros.ros import topics
from gsc_ros.ros.link.ground_camera import GroundCamera
from gsc_ros.ros.link.node import LinkBase, time_of


class GroundStills:
    """Asks for stills of a camera, and for their missing parts."""

    def __init__(self, node: LinkBase, camera: GroundCamera) -> None:
        self._node, self._camera = node, camera
        topic = camera.stream.topic
        self._stills = node.create_publisher(
            CompressedImage, topic(topics.DECODED_STILL), topics.LATCHED
        )
        self._states = node.create_publisher(String, topic(topics.STILL_STATE), topics.LATCHED)
        self._shares = node.create_publisher(Float32, topic(topics.STILL_PROGRESS), topics.LATCHED)

    def reset(self, up: LinkPort) -> None:
        """Begin with nothing on its way."""
        self._up = up
        self.receiver = StillReceiver(self._node.session & 0xFF)
        self._text, self._share = '', -1.0  # as published

    def start(self) -> None:
        """Subscribe to the operator."""
        topic = self._camera.stream.topic(topics.STILL)
        self._node.create_subscription(Empty, topic, self._on_wanted, topics.NEWEST)

    @property
    def next_deadline(self) -> float | None:
        """When there is something to ask for (s)."""
        return self.receiver.next_deadline

    def step(self, now: float) -> None:
        """Ask when it is time, and publish the progress when it changes."""
        is_open = bool(self._up.sender.rate_at(now)[0])
        wait_s = self._camera.wait_s(Request(setup=True))
        ask = self.receiver.next_ask(now, is_open, wait_s)
        if ask is not None:
            self._camera.request(Request(still=ask.pack()), now)
        receiver = self.receiver
        text, share = receiver.text, receiver.received / max(1, receiver.count)
        if receiver.wanted and not is_open:
            text += ', the link is closed'
        if text != self._text:
            self._text = text
            self._states.publish(String(data=text))
        if share != self._share:
            self._share = share
            self._shares.publish(Float32(data=share))

    def on_robot_session(self, now: float) -> None:
        """Ask a robot that has begun anew again."""
        self.receiver.ask_soon(now)

    def on_part(self, received: Received, now: float) -> None:
        """Take a part that came; raises PayloadError for one that cannot be used."""
        still = self.receiver.on_part(received.payload, now)
        if still is None:
            return
        form = format_of(still.data)
        if form is None:
            raise PayloadError('a still is an AVIF or WebP file')
        header = Header(stamp=time_of(still.stamp_ns), frame_id=self._camera.frame_id)
        self._stills.publish(
            CompressedImage(header=header, format=form, data=array.array('B', still.data))
        )

    def _on_wanted(self, _message: Empty) -> None:
        self.receiver.want(self._node.update_time())
        self._node.wake()
