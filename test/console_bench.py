"""A console under test: its neighbours' topics, and browsers that are none."""

import io
import json
import time

import numpy as np
from bench import Bench
from geometry_msgs.msg import PoseStamped, TransformStamped, Twist
from gsc_ros.msg import LinkStatus
from PIL import Image as PillowImage
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Bool, Empty, Float32, Header, String, UInt16
from test_console_ground import K, scene
from websockets.sync.client import connect

from gsc_ros.codec.objects import Objects, SeenObject
from gsc_ros.labels import LABELS
from gsc_ros.link.traffic.cameras import parse_cameras
from gsc_ros.nodes.console import Console
from gsc_ros.robots import cameras_of, parse_robots
from gsc_ros.ros import convert, topics
from gsc_ros.ros.objects import list_message, list_type

PATIENCE_S = 60.0
SIZE = (64, 48)
CAR = LABELS.index('car')
SEEN = Objects(
    (
        SeenObject.of(CAR, (0.2, 0.4, 0.6, 0.9), 12.0, 0.9),
        SeenObject.of(CAR, (0.7, 0.5, 0.9, 0.7), 30.0, 0.6),
    )
)


class Browser:
    """A page's end of the WebSocket; ``state`` is the newest, ``images`` are stamps by kind."""

    def __init__(self, console):
        port = console.server.address[1]
        self.ws = connect(
            f'ws://127.0.0.1:{port}/ws', origin=f'http://127.0.0.1:{port}', open_timeout=PATIENCE_S
        ).__enter__()
        self.state, self.images, self.said = {}, {}, []
        self.cameras, self.robots = set(), set()  # whose images came
        self.began = time.monotonic()

    def say(self, name, **body):
        self.ws.send(json.dumps({'t': name, **body}))

    def drive(self, ahead, left=0.0):
        if self.state.get('must_release'):  # this machine was too slow for a heartbeat
            self.say('drive', a=0.0, l=0.0, s=time.monotonic() - self.began)
        self.say('drive', a=ahead, l=left, s=time.monotonic() - self.began)

    def wait(self, condition, every=lambda: None, why=''):
        """Read until a condition holds; ``every``: done before each look."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition(self):
            assert time.monotonic() < deadline, (
                f'waited in vain: {why} {self.state} {self.said[-3:]}'
            )
            every()
            try:
                data = self.ws.recv(timeout=0.05)
            except TimeoutError:
                continue
            if isinstance(data, bytes):
                head = json.loads(data[2 : 2 + int.from_bytes(data[:2], 'big')])
                self.images[head['kind']] = head['stamp']
                self.cameras.add(head.get('camera'))
                self.robots.add(head.get('robot'))
                continue
            word = json.loads(data)
            if word['t'] == 'state':
                self.state = word
            else:
                self.said.append(word)

    def release(self, between=lambda: None):
        """Release the STOP by two presses; ``between``: done between them."""
        self.said.clear()
        self.say('release')
        self.wait(lambda b: any(one['t'] == 'confirm' for one in b.said))
        token = next(one['token'] for one in self.said if one['t'] == 'confirm')
        between()
        time.sleep(0.5)  # sooner is no second action
        self.say('confirm', token=token)

    def take_the_wheel(self):
        self.say('take')
        self.wait(lambda b: b.state.get('driver') is not None)


class Feed:
    """What comes of a camera, in its frame."""

    def __init__(self, peer, stream, topic_of=str):
        self.peer = peer
        self.frame = f'{stream.name}_camera' if stream.name else 'camera'

        def publish(kind, topic, quality=topics.IMAGES):
            return peer.create_publisher(kind, topic_of(stream.topic(topic)), quality)

        self.images = {
            topic: publish(Image, topic)
            for topic in (topics.DECODED, topics.TRUST, topics.DECODED_DEPTH, topics.HAZARDS)
        }
        self.objects = publish(list_type(), topics.OBJECTS)
        self.originals = publish(Image, topics.IMAGE, topics.SENSOR)
        self.infos = publish(CameraInfo, topics.DECODED_INFO)
        self.classes = publish(Image, topics.DECODED_SEGMENTATION)
        self.captions = publish(String, topics.CAPTION)
        self.mounts = publish(TransformStamped, topics.RECEIVED_MOUNT, topics.LATCHED)
        self.stills = publish(CompressedImage, topics.DECODED_STILL, topics.LATCHED)
        self.still_states = publish(String, topics.STILL_STATE, topics.LATCHED)
        self.still_shares = publish(Float32, topics.STILL_PROGRESS, topics.LATCHED)

    def show(self, ago=0.0, grey=90):
        """Publish a decoded frame, as old as that."""
        now = self.peer.get_clock().now().nanoseconds - round(1e9 * ago)
        header = Header(frame_id=self.frame)
        header.stamp.sec, header.stamp.nanosec = divmod(now, 10**9)
        rgb = np.full((*SIZE[::-1], 3), grey, np.uint8)
        self.originals.publish(convert.to_image(rgb, 'rgb8', header))
        self.images[topics.DECODED].publish(convert.to_image(rgb, 'rgb8', header))
        trust, depth = np.zeros(SIZE[::-1], np.uint8), np.ones(SIZE[::-1], np.float32)
        self.images[topics.DECODED_DEPTH].publish(convert.to_image(depth, '32FC1', header))
        self.images[topics.TRUST].publish(convert.to_image(trust, 'mono8', header))
        hazards = np.full(SIZE[::-1], 128, np.uint8)
        hazards[20:40, 10:40] = 255
        hazards[:20] = 0
        self.images[topics.HAZARDS].publish(convert.to_image(hazards, 'mono8', header))
        self.objects.publish(list_message(list_type(), SEEN, header, SIZE, None))

    def show_ground(self, doubtful=False):
        """Publish a frame of flat ground seen from 1.2 m, with classes, trust and camera_info."""
        depth, classes, plane = scene()
        now = self.peer.get_clock().now().to_msg()
        header = Header(frame_id=self.frame, stamp=now)
        trust = np.full(classes.shape, 0 if doubtful else 255, np.uint8)
        info = CameraInfo(header=header, width=classes.shape[1], height=classes.shape[0])
        info.k = K.ravel().tolist()
        self.infos.publish(info)
        rgb = np.dstack([classes] * 3)
        self.images[topics.DECODED].publish(convert.to_image(rgb, 'rgb8', header))
        self.images[topics.DECODED_DEPTH].publish(convert.to_image(depth, '32FC1', header))
        self.classes.publish(convert.to_image(classes, 'mono8', header))
        self.images[topics.TRUST].publish(convert.to_image(trust, 'mono8', header))
        return plane

    def show_still(self, share=1.0):
        """Publish how far a still has come, and the still when it has."""
        self.still_shares.publish(Float32(data=share))
        text = 'complete' if share == 1.0 else f'{round(8 * share)} of 8 parts'
        self.still_states.publish(String(data=text))
        if share < 1.0:
            return
        file = io.BytesIO()
        PillowImage.new('RGB', (160, 120), (200, 30, 30)).save(file, 'WEBP')
        header = Header(frame_id='camera')
        header.stamp.sec = 1_700_000_000
        self.stills.publish(CompressedImage(header=header, format='webp', data=file.getvalue()))


class Robot:
    """The neighbours of a console that are of a robot, in the namespace of its name."""

    def __init__(self, bench, name, streams):
        self.bench, self.name = bench, name
        self.feeds = [Feed(bench.peer, stream, self.topic) for stream in streams]
        asked = (
            (RegionOfInterest, topics.REGION),
            (Empty, topics.KEY_MISSED),
            (UInt16, topics.BUDGET),
            (Float32, topics.RATE),
            (Empty, topics.STILL),
        )
        self.heard = [
            (Twist, topics.TELEOP),
            (Bool, topics.STOP),
            (PoseStamped, topics.GOAL),
            (Empty, topics.GOAL_END),
            (String, topics.FIRST),
            *((kind, stream.topic(topic)) for stream in streams for kind, topic in asked),
        ]
        for kind, topic in self.heard:
            bench.subscribe(kind, self.topic(topic))
        publish = bench.peer.create_publisher
        self.firsts = publish(String, self.topic(topics.FIRST_STATED), topics.LATCHED)
        self.status = publish(LinkStatus, self.topic(topics.STATUS), topics.LATCHED)

    def topic(self, name):
        return f'{self.name}/{name}' if self.name else name

    def got(self, topic):
        """What came on a topic of the robot."""
        return self.bench.got[self.topic(topic)]

    def wait(self):
        """Wait until the console and these have found each other."""
        bench = self.bench
        wanted = [self.status]
        for feed in self.feeds:
            wanted += [*feed.images.values(), feed.infos, feed.classes]
        bench.wait(lambda: all(p.get_subscription_count() for p in wanted), 'the console listens')
        for _, topic in self.heard:
            name = f'{bench.namespace}/{self.topic(topic)}'
            own = topic == topics.STOP  # the console takes those of others
            bench.wait(
                lambda name=name, own=own: bench.node.count_subscribers(name) > own,
                f'{name} is found',
            )

    def link(self, **fields):
        """Publish the state of the link."""
        fields = {'open': True, 'peer_silence_s': 0.2, **fields}
        self.status.publish(LinkStatus(profile='lab', rate_bps=8000.0, delay_s=0.5, **fields))

    def speed(self):
        """The last velocity, m/s ahead."""
        came = self.got(topics.TELEOP)
        return came[-1].linear.x if came else None


class Ground(Bench):
    """A console, the topics of its neighbours, and browsers; without more said: of one robot."""

    def __init__(self, context, namespace, folder, **parameters):
        super().__init__(context, namespace)
        names = parse_robots(parameters.get('robots', ''))
        lists = cameras_of(parameters.get('cameras', ''), names)
        self.robots = [
            Robot(self, name, parse_cameras(text)) for name, text in zip(names, lists, strict=True)
        ]
        first = self.robots[0]
        self.feeds, self.firsts, self.link, self.speed = (
            first.feeds, first.firsts, first.link, first.speed
        )  # fmt: skip
        settings = {'port': 0, 'output': str(folder), 'stale_after_s': 30.0, **parameters}
        self.node = self.add(Console, **settings)
        for robot in self.robots:
            robot.wait()
            robot.link()

    def show(self, ago=0.0):
        """Publish a decoded frame of the first camera, as old as that."""
        self.feeds[0].show(ago)

    def show_ground(self, doubtful=False):
        """Publish a frame of flat ground of the first camera; returns its plane."""
        return self.feeds[0].show_ground(doubtful)

    def show_still(self, share=1.0):
        """Publish how far a still of the first camera has come, and the still when it has."""
        self.feeds[0].show_still(share)

    def browse(self):
        return Browser(self.node)
