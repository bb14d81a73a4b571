"""Names and qualities of service of the topics, all relative and remappable, in one place."""

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)

# Robot
IMAGE = 'camera/image'
CAMERA_INFO = 'camera/camera_info'
DEPTH = 'camera/depth/image'
SEGMENTATION = 'camera/segmentation/image'
CODED = 'camera/image/gsc'
CODED_INFO = 'camera/image/gsc/camera_info'
ENCODER_STATUS = 'camera/image/gsc/status'
CMD_VEL = 'cmd_vel'
LINK_CMD_VEL = 'link/cmd_vel'  # to the guard, which passes it on
COMMAND_TIMEOUT = 'link/command_timeout'
GUARD_ALIVE = 'guard/alive'
KEY_WANTED = 'camera/key_wanted'
REGION_WANTED = 'camera/roi_wanted'
BUDGET_WANTED = 'camera/budget_wanted'
RATE_WANTED = 'camera/rate_wanted'
STILL_WANTED = 'camera/still_wanted'
STILL_CODED = 'camera/still'
GOAL_POSE = 'goal_pose'  # of nav2
GOAL_CANCEL = 'goal_cancel'
GOAL_ACTION = 'navigate_to_pose/_action'  # of nav2: its status and its service
TF = '/tf'  # absolute, as tf2_ros has them
TF_STATIC = '/tf_static'
ODOM = 'odom'
MOUNT = 'camera/mount'  # where the camera is on the robot, for robots without TF
CODED_MOUNT = 'camera/image/gsc/mount'
BATTERY = 'battery_state'
MODE = 'mode'
JOINTS = 'joint_states'

# Ground
RECEIVED = 'link/image/gsc'
RECEIVED_INFO = 'link/camera_info'
STATUS = 'link/status'
RECEIVED_ODOM = 'link/odom'
RECEIVED_TRANSFORMS = 'link/transforms'
RECEIVED_BATTERY = 'link/battery_state'
RECEIVED_MODE = 'link/mode'
RECEIVED_MOUNT = 'link/mount'
RECEIVED_JOINTS = 'link/joint_states'
TELEOP = 'teleop/cmd_vel'
STOP = 'teleop/stop'
REGION = 'teleop/roi'
BUDGET = 'teleop/budget'
RATE = 'teleop/rate'
GOAL = 'teleop/goal'
GOAL_END = 'teleop/goal_cancel'
GOAL_STATE = 'link/goal'
STILL = 'teleop/still'
STILL_STATE = 'link/still'
STILL_PROGRESS = 'link/still_progress'
DECODED_STILL = 'decoded/still'
FIRST = 'teleop/camera'  # name of the camera that comes first
FIRST_STATED = 'link/camera'  # as the robot reports it
DECODED = 'decoded/image'
DECODED_INFO = 'decoded/camera_info'
DECODED_DEPTH = 'decoded/depth/image'
DECODED_DEPTH_INFO = 'decoded/depth/camera_info'
DECODED_SEGMENTATION = 'decoded/segmentation/image'
DECODED_COLOUR = 'decoded/segmentation/color'
LABEL_INFO = 'decoded/segmentation/label_info'
LABELS = 'decoded/segmentation/labels'
TRUST = 'decoded/trust'
DECODED_RECEIVED = 'decoded/received'
HAZARDS = 'decoded/hazards'
OBJECTS = 'decoded/objects'
POINTS = 'decoded/points'
HAZARD_POINTS = 'decoded/hazards/points'
SCAN = 'decoded/scan'
CAPTION = 'decoded/caption'
KEY_MISSED = 'decoded/key_missed'
DECODER_STATUS = 'decoded/status'

SENSOR = qos_profile_sensor_data
# One comes with every image, and one that is missed cannot be had again.
INFOS = QoSProfile(
    reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=50
)
NEWEST = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=1
)
# A STOP of somebody else is not lost behind a release that follows it at once.
STOPS_HEARD = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=10
)
# Reliable, so that RViz's reliable and navigation's best-effort subscribers both match.
IMAGES = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=5
)
# /diagnostics: as published by a node, and as received of all nodes.
REPORTS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=10
)
DIAGNOSTICS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=50
)
LATCHED = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
)
# Read in batches (polled.py): what comes in a tenth of a second waits.
TF_IN = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=500
)
ODOM_IN = QoSProfile(
    reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=100
)
# As tf2_ros subscribes and publishes them.
TF_QOS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=100
)
TF_STATIC_QOS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
)


def compressed(node: Node) -> str:
    """
    Return the topic of compressed images, as image_transport names it: the image's, remapped or
    not, and ``/compressed``.

    Remapping an image's topic does not remap those that are named after it. One that is remapped
    by itself keeps its name.
    """
    own = f'{IMAGE}/compressed'
    if node.resolve_topic_name(own) != node.resolve_topic_name(own, only_expand=True):
        return own
    base = node.resolve_topic_name(IMAGE)
    return base if base.endswith('/compressed') else f'{base}/compressed'
