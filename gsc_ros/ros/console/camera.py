"""One of a robot's cameras as the console has it: its topics, and how old its image is."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Empty, Float32, String, UInt16

from gsc_ros.console import panel, words
from gsc_ros.console.freshness import Age, Freshness
from gsc_ros.msg import DecoderStatus, EncoderStatus, LinkStatus, SemanticFrame
from gsc_ros.region import WHOLE, Region
from gsc_ros.ros import convert, topics
from gsc_ros.ros.console.objects import shown as objects_of
from gsc_ros.ros.console.path import GroundPath
from gsc_ros.ros.console.recording import Recording
from gsc_ros.ros.console.screen import Screen
from gsc_ros.ros.console.screen import still as still_of
from gsc_ros.ros.console.screen import text as text_of
from gsc_ros.ros.console.spot import Spot
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.objects import list_type

if TYPE_CHECKING:  # it imports the web libraries
    from gsc_ros.console.server import Server


class CameraView:
    """
    Takes what is of a camera, and asks it for key frames, stills, regions, bytes and rates.

    ``spot``: which one of which robot; ``name``: empty where it is the robot's only one.
    ``link``: the newest status of its part of the link, None before the first. ``hold`` holds the
    desk's lock; ``changed`` is called when another image is shown.
    """

    def __init__(
        self,
        node: GscNode,
        spot: Spot,
        recording: Recording,
        hold: Callable[[], AbstractContextManager[bool]],
        changed: Callable[[], None],
    ) -> None:
        self.name = spot.stream.name
        self._node, self._spot, self._recording = node, spot, recording
        self._hold, self._changed = hold, changed
        self.freshness = Freshness(node.values.stale_after_s)
        self.path = GroundPath(node, lambda: self.screen)
        self.link: LinkStatus | None = None
        self.frame_bytes = 0
        self._encoder: EncoderStatus | None = None
        self._decoder: DecoderStatus | None = None
        self._caption = ''
        self._still_text, self._still_share = '', 0.0
        self._size = (0, 0)
        self._regions = self._publisher(RegionOfInterest, topics.REGION)
        self._keys = self._publisher(Empty, topics.KEY_MISSED)
        self._stills = self._publisher(Empty, topics.STILL)
        self._budgets = self._publisher(UInt16, topics.BUDGET)
        self._rates = self._publisher(Float32, topics.RATE)

    def _publisher(self, kind: Any, topic: str) -> Any:
        return self._node.create_publisher(kind, self._spot.topic(topic), topics.NEWEST)

    def start(self, server: 'Server') -> None:
        """Subscribe, and show what comes to the viewers of a server."""
        self._server = server
        show = partial(server.show, place=self._spot.place)
        wanted = partial(server.views, self._spot.place)
        self.screen = Screen(self._node, self._spot, wanted, show)
        self._node.add_cleanup(self.screen.close)
        for topic in Screen.TOPICS:
            self._subscribe(Image, topic, partial(self._on_image, topic), topics.IMAGES)
        for kind, topic, take, quality in (
            (EncoderStatus, topics.ENCODER_STATUS, self._on_encoder, topics.LATCHED),
            (DecoderStatus, topics.DECODER_STATUS, self._on_decoder, topics.LATCHED),
            (CameraInfo, topics.DECODED_INFO, self.path.on_info, topics.IMAGES),
            (String, topics.CAPTION, self._on_caption, topics.IMAGES),
            (SemanticFrame, topics.RECEIVED, self._on_frame, topics.NEWEST),
            (TransformStamped, topics.RECEIVED_MOUNT, self.path.on_mount, topics.LATCHED),
            (list_type(), topics.OBJECTS, self._on_objects, topics.IMAGES),
            (CompressedImage, topics.DECODED_STILL, self._on_still, topics.LATCHED),
            (String, topics.STILL_STATE, self._on_still_state, topics.LATCHED),
            (Float32, topics.STILL_PROGRESS, self._on_still_progress, topics.LATCHED),
        ):
            self._subscribe(kind, topic, take, quality)
        if self.name:
            self._subscribe(LinkStatus, topics.STATUS, self.on_link, topics.LATCHED)

    def _subscribe(self, kind: Any, topic: str, take: Callable[[Any], None], quality: Any) -> None:
        name = self._spot.topic(topic)

        def on_message(message: Any) -> None:
            self._recording.write(name, message)
            take(message)

        self._node.create_subscription(kind, name, on_message, quality)

    # On the executor's thread

    def _on_image(self, topic: str, message: Image) -> None:
        if topic == topics.DECODED:
            unchanged_s = self._decoder.unchanged_s if self._decoder else 0.0
            with self._hold():
                self.freshness.on_image(
                    convert.seconds(message.header.stamp), self._steady_s(), unchanged_s
                )
            self._size = message.width, message.height
            self._changed()
        self.screen.take(topic, message)

    def on_link(self, message: LinkStatus) -> None:
        """Take the status of the camera's part of the link."""
        self.link = message

    def _on_encoder(self, message: EncoderStatus) -> None:
        self._encoder = message

    def _on_decoder(self, message: DecoderStatus) -> None:
        self._decoder = message

    def _on_caption(self, message: String) -> None:
        self._caption = message.data

    def _on_frame(self, message: SemanticFrame) -> None:
        self.frame_bytes = len(message.data)
        self.freshness.on_frame(self.frame_bytes)

    def _on_objects(self, message: Any) -> None:
        if 'objects' not in self._server.views(self._spot.place):
            return
        try:
            stamp, objects = objects_of(message, self._size)
        except ValueError as error:
            self._node.get_logger().warning(str(error), throttle_duration_sec=5.0)
            return
        label = self._spot.label
        word = words.dump('objects', **label, stamp=text_of(stamp), objects=objects)
        self._server.tell(word, self._spot.place, 'objects')

    def _on_still(self, message: CompressedImage) -> None:
        self._server.show('still', still_of(message, self._spot), self._spot.place)

    def _on_still_state(self, message: String) -> None:
        self._still_text = message.data

    def _on_still_progress(self, message: Float32) -> None:
        self._still_share = message.data

    # On any thread

    def _steady_s(self) -> float:
        """Return a time for how long an image has been shown: simulated where stamps are."""
        if self._node.get_parameter('use_sim_time').value:
            return 1e-9 * self._node.get_clock().now().nanoseconds
        return time.monotonic()

    def age(self) -> Age:
        """Return the age of the image on screen, now."""
        way = panel.way(self.link, self._encoder, self._decoder)
        clock_s = 1e-9 * self._node.get_clock().now().nanoseconds
        return self.freshness.age(clock_s, self._steady_s(), way)

    def figures(self) -> dict[str, Any]:
        """Return what the page shows of the camera."""
        age = self.age()
        return {
            **self._spot.label,
            'age': vars(age) | {'stale': age.stale},
            'stamp': self.freshness.stamp_s or 0.0,
            'encoder': panel.coder_figures(self._encoder),
            'decoder': panel.coder_figures(self._decoder),
            'caption': self._caption,
            'still': {'text': self._still_text, 'share': self._still_share},
            'ways': self.path.drawn(self.link.delay_s if self.link else 0.0),
            'size': list(self._size),
        }

    def key_frame(self) -> None:
        """Ask for a key frame."""
        self._keys.publish(Empty())

    def ask_still(self) -> None:
        """Ask for one whole image."""
        self._stills.publish(Empty())

    def region(self, region: Region) -> None:
        """Ask for a region; the whole image cancels it."""
        empty = region == WHOLE or not all(self._size)
        self._regions.publish(RegionOfInterest() if empty else convert.to_roi(region, self._size))

    def ask(self, budget: int | None, rate: float | None) -> None:
        """Ask for frames of so many bytes, or so many a second at most."""
        if budget is not None:
            self._budgets.publish(UInt16(data=budget))
        if rate is not None:
            self._rates.publish(Float32(data=rate))
