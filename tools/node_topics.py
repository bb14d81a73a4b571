"""The topics of every node, for docs/nodes.md; test_node_docs.py compares them with the nodes."""

import dataclasses

from rclpy.qos import QoSProfile

from gsc_ros.ros import topics


@dataclasses.dataclass(frozen=True)
class Topic:
    """
    A topic of a node: ``kind`` is its type, ``text`` describes it, with units.

    ``when``: the condition under which the node has it; empty for always.
    """

    name: str
    kind: str
    qos: QoSProfile
    text: str
    when: str = ''


@dataclasses.dataclass(frozen=True)
class Interface:
    """A node: ``module:class``, what it is, and its topics."""

    path: str
    text: str
    subscribes: tuple[Topic, ...]
    publishes: tuple[Topic, ...]
    lifecycle: bool = True


IMAGE, INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CameraInfo'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
TWIST, EMPTY, STRING = 'geometry_msgs/msg/Twist', 'std_msgs/msg/Empty', 'std_msgs/msg/String'
FRAME, STATUS = 'gsc_ros/msg/SemanticFrame', 'gsc_ros/msg/LinkStatus'
ROI = 'sensor_msgs/msg/RegionOfInterest'
DIAGNOSTICS = 'diagnostic_msgs/msg/DiagnosticArray'

_DIAGNOSTICS = Topic(
    '/diagnostics', DIAGNOSTICS, topics.REPORTS, 'state of the node, once a second'
)
_DEPTH = 'float32 metres along z (REP 118), +Inf: nothing in range (REP 117)'
_STATUS = Topic(
    topics.STATUS, STATUS, topics.LATCHED, 'rate, delay, loss, queue, window and STOP of the link'
)
_RECEIVED = (
    Topic(topics.RECEIVED, FRAME, topics.NEWEST, 'frames as they arrive at the ground'),
    Topic(topics.RECEIVED_INFO, INFO, topics.NEWEST, 'camera_info of each frame, before it'),
)
_DECODED = (
    Topic(topics.DECODED, IMAGE, topics.IMAGES, 'the image, rgb8'),
    Topic(
        topics.DECODED_DEPTH,
        IMAGE,
        topics.IMAGES,
        '32FC1, metres along z; NaN unknown, +Inf where the sky is certain (REP 117, 118)',
    ),
    Topic(topics.DECODED_SEGMENTATION, IMAGE, topics.IMAGES, 'mono8, class ids; 255: unlabelled'),
    Topic(
        topics.TRUST,
        IMAGE,
        topics.IMAGES,
        'mono8: probability that class and depth are right, 1 to 255 for up to 1; 0 generated, '
        'lost or of another time',
    ),
)
# What only the decoder publishes and neither display subscribes to.
_DECODED_MORE = (
    Topic(
        topics.DECODED_RECEIVED,
        IMAGE,
        topics.IMAGES,
        'mono8: 255 sent, 128 predicted, 0 generated, lost or of another time',
    ),
)
_HAZARDS = Topic(
    topics.HAZARDS,
    IMAGE,
    topics.IMAGES,
    'mono8: 255 in the way, as the robot found it; 0 nothing found; 128 not known',
)
_OBJECTS = (
    Topic(
        topics.OBJECTS,
        'vision_msgs/msg/Detection2DArray',
        topics.IMAGES,
        'people, vehicles and signs that the robot saw, as sent: box in pixels, class, '
        'probability, and as pose the distance in the optical frame (x, y NaN without K)',
        'vision_msgs is installed',
    ),
    Topic(
        topics.OBJECTS,
        STRING,
        topics.IMAGES,
        'the same as JSON: `stamp` (`sec`, `nanosec`), `frame_id`, `width`, `height`, `objects` '
        '(each `class_id`, `class`, `probability`, `distance_m`, `box`: left, top, right, bottom '
        'in pixels; null: not known) and `lost`, how many more the robot saw',
        'vision_msgs is not installed',
    ),
)
_DECODED_INFO = Topic(
    topics.DECODED_INFO,
    INFO,
    topics.IMAGES,
    'camera_info of the image: K in its pixels, binning and ROI applied',
)
_CAPTION = Topic(
    topics.CAPTION, STRING, topics.IMAGES, 'the scene in words, and what is wrong with the image'
)
_ENCODER_STATUS = Topic(
    topics.ENCODER_STATUS,
    'gsc_ros/msg/EncoderStatus',
    topics.LATCHED,
    'state of the encoder, once a second',
)
_DECODER_STATUS = Topic(
    topics.DECODER_STATUS,
    'gsc_ros/msg/DecoderStatus',
    topics.LATCHED,
    'state of the decoder, once a second',
)
_CMD_VEL = Topic(
    topics.CMD_VEL,
    TWIST,
    topics.NEWEST,
    'velocity, m/s and rad/s; TwistStamped where `stamped`',
)
TRANSFORM, ODOMETRY = 'geometry_msgs/msg/TransformStamped', 'nav_msgs/msg/Odometry'
TF = 'tf2_msgs/msg/TFMessage'
BATTERY, JOINTS = 'sensor_msgs/msg/BatteryState', 'sensor_msgs/msg/JointState'
_TF2, _NO_TF2 = 'tf2_msgs is installed', 'tf2_msgs is not installed'
_NAV = 'nav_msgs is installed'
_CODED_MOUNT = 'where the camera is on the robot'
_POSE_IN = (
    Topic(topics.TF, TF, topics.TF_IN, "the robot's transforms", f'`pose`, {_TF2}'),
    Topic(topics.TF_STATIC, TF, topics.TF_STATIC_QOS, 'the fixed ones', f'`pose`, {_TF2}'),
    Topic(
        topics.ODOM,
        ODOMETRY,
        topics.ODOM_IN,
        'where the robot is, for robots without TF, and how well it knows',
        f'`pose`, {_NAV}',
    ),
    Topic(
        topics.MOUNT,
        TRANSFORM,
        topics.LATCHED,
        'where the camera is on the robot, for robots without TF',
        '`pose`',
    ),
)
_STATE_IN = (
    Topic(topics.CODED_MOUNT, TRANSFORM, topics.LATCHED, _CODED_MOUNT, '`telemetry_period_s`'),
    Topic(topics.BATTERY, BATTERY, topics.SENSOR, 'the battery', '`telemetry_period_s`'),
    Topic(
        topics.MODE,
        STRING,
        topics.SENSOR,
        'what the robot does, up to 32 bytes',
        '`telemetry_period_s`',
    ),
    Topic(
        topics.JOINTS,
        JOINTS,
        topics.SENSOR,
        'positions of the joints that are named',
        '`joints`',
    ),
)
_RECEIVED_MOUNT = Topic(
    topics.RECEIVED_MOUNT, TRANSFORM, topics.LATCHED, 'where the camera is on the robot'
)
_STATE_OUT = (
    Topic(
        topics.TF,
        TF,
        topics.TF_QOS,
        "robot, camera and scan at each image's stamp",
        f'`publish_tf`, {_TF2}',
    ),
    Topic(
        topics.RECEIVED_TRANSFORMS,
        TRANSFORM,
        topics.TF_QOS,
        'the same, one by one',
        f'`publish_tf`, {_NO_TF2}',
    ),
    Topic(
        topics.RECEIVED_ODOM,
        ODOMETRY,
        topics.IMAGES,
        "where the robot was at each image's stamp, within 1 cm and 0.2 degrees of what it stated",
        _NAV,
    ),
    Topic(topics.RECEIVED_BATTERY, BATTERY, topics.LATCHED, "the robot's battery"),
    Topic(topics.RECEIVED_MODE, STRING, topics.LATCHED, 'what the robot does'),
    Topic(topics.RECEIVED_JOINTS, JOINTS, topics.LATCHED, 'positions of its joints'),
    _RECEIVED_MOUNT,
)
_STILL_CODED = Topic(topics.STILL_CODED, COMPRESSED, topics.NEWEST, 'a still as AVIF or WebP')
# The robot's side of a link.
_ROBOT_IN = (
    Topic(topics.CAMERA_INFO, INFO, topics.INFOS, 'camera_info of the images'),
    Topic(topics.CODED_INFO, INFO, topics.IMAGES, 'camera_info of rectified images'),
    Topic(topics.CODED, FRAME, topics.NEWEST, 'frames to send'),
    Topic(topics.GUARD_ALIVE, EMPTY, topics.SENSOR, 'heartbeat of the guard'),
    _STILL_CODED,
    Topic(
        f'{topics.GOAL_ACTION}/status',
        'action_msgs/msg/GoalStatusArray',
        topics.LATCHED,
        "goals of nav2's action; the service that cancels them is called, too",
    ),
    *_STATE_IN,
)
_ROBOT_OUT: tuple[Topic, ...] = (
    Topic(topics.KEY_WANTED, EMPTY, topics.NEWEST, 'request for a key frame'),
    Topic(topics.REGION_WANTED, ROI, topics.NEWEST, 'region of interest, in pixels of the image'),
    Topic(topics.LINK_CMD_VEL, TWIST, topics.NEWEST, 'accepted velocity, m/s and rad/s'),
    Topic(
        topics.COMMAND_TIMEOUT,
        'std_msgs/msg/Float32',
        topics.LATCHED,
        'time for which a velocity is valid, s',
    ),
    dataclasses.replace(
        _CMD_VEL, text='a velocity of zero where the guard is gone; TwistStamped where `stamped`'
    ),
)
_WANTED = (
    Topic(topics.STILL_WANTED, EMPTY, topics.NEWEST, 'request for a still, one whole image'),
    Topic(
        topics.BUDGET_WANTED,
        'std_msgs/msg/UInt16',
        topics.NEWEST,
        'bytes of a frame that the ground asks for',
    ),
    Topic(
        topics.RATE_WANTED,
        'std_msgs/msg/Float32',
        topics.NEWEST,
        'frames a second at most that the ground asks for',
    ),
)
_ROBOT_OUT += (
    *_WANTED,
    Topic(
        topics.GOAL_POSE,
        'geometry_msgs/msg/PoseStamped',
        topics.NEWEST,
        'goal of the operator, in `frame_id` at the stamp of an image',
    ),
    Topic(topics.GOAL_CANCEL, EMPTY, topics.NEWEST, 'end of all goals'),
)
# The ground's side of a link.
_GROUND_IN = (
    Topic(
        topics.TELEOP,
        TWIST,
        topics.NEWEST,
        'velocity commands, m/s and rad/s; or TwistStamped, whichever is published',
    ),
    Topic(
        topics.STOP,
        'std_msgs/msg/Bool',
        topics.NEWEST,
        'true stops the robot until false; repeated until the robot acknowledges it',
    ),
    Topic(
        topics.REGION,
        ROI,
        topics.NEWEST,
        'region of the image that is sent first, in its pixels; an empty one cancels it',
    ),
    Topic(topics.KEY_MISSED, EMPTY, topics.NEWEST, 'request for a key frame'),
    Topic(topics.BUDGET, 'std_msgs/msg/UInt16', topics.NEWEST, 'bytes of a frame from now on'),
    Topic(
        topics.RATE,
        'std_msgs/msg/Float32',
        topics.NEWEST,
        'frames a second at most from now on',
    ),
    Topic(
        topics.GOAL,
        'geometry_msgs/msg/PoseStamped',
        topics.NEWEST,
        "where the robot shall go: x, y, heading in its frame at an image's stamp",
    ),
    Topic(topics.GOAL_END, EMPTY, topics.NEWEST, 'end of all goals'),
    Topic(topics.STILL, EMPTY, topics.NEWEST, 'request for one whole image'),
)
_STILL_OUT = (
    Topic(topics.DECODED_STILL, COMPRESSED, topics.LATCHED, "a still with the robot's stamp"),
    Topic(topics.STILL_STATE, STRING, topics.LATCHED, 'what is known of the still'),
    Topic(
        topics.STILL_PROGRESS,
        'std_msgs/msg/Float32',
        topics.LATCHED,
        'share of its parts that came, 0..1',
    ),
)
_FIRST = Topic(
    topics.FIRST,
    STRING,
    topics.NEWEST,
    'name of the camera that comes first, of several; an empty one: none',
)
_GOAL_STATE = Topic(topics.GOAL_STATE, STRING, topics.LATCHED, 'what is known of the goal')
_FIRST_STATED = Topic(
    topics.FIRST_STATED, STRING, topics.LATCHED, 'the camera that comes first, as the robot has it'
)

NODES = {
    'camera': Interface(
        'gsc_ros.nodes.camera:Camera',
        'A camera without hardware: simulator, folder of images, or video.',
        (
            Topic(
                topics.CMD_VEL,
                TWIST,
                topics.NEWEST,
                'velocity of the simulated robot, m/s and rad/s; or TwistStamped, whichever is '
                'published',
            ),
        ),
        (
            Topic(topics.IMAGE, IMAGE, topics.SENSOR, 'rgb8'),
            Topic(topics.CAMERA_INFO, INFO, topics.SENSOR, 'camera_info of each image'),
            Topic(topics.DEPTH, IMAGE, topics.SENSOR, f'32FC1, ground truth: {_DEPTH}', 'sim'),
            Topic(topics.SEGMENTATION, IMAGE, topics.SENSOR, 'mono8, true class ids', 'sim'),
            Topic(topics.ODOM, ODOMETRY, topics.IMAGES, 'where the robot is', f'sim, {_NAV}'),
            Topic(topics.MOUNT, TRANSFORM, topics.LATCHED, _CODED_MOUNT, 'sim'),
            _DIAGNOSTICS,
        ),
    ),
    'encoder': Interface(
        'gsc_ros.nodes.encoder:Encoder',
        'Images in, semantic frames out, as many as the link can take.',
        (
            Topic(
                topics.IMAGE,
                IMAGE,
                topics.SENSOR,
                'images of any encoding with a colour; reliable where `image_qos` is',
                '`image_transport` raw',
            ),
            Topic(
                f'{topics.IMAGE}/compressed',
                COMPRESSED,
                topics.SENSOR,
                'images, compressed',
                '`image_transport` compressed',
            ),
            Topic(topics.CAMERA_INFO, INFO, topics.INFOS, 'camera_info: for hazards, `rectify`'),
            Topic(
                topics.DEPTH,
                IMAGE,
                topics.SENSOR,
                '32FC1 in metres or 16UC1 in millimetres (REP 118)',
                '`use_depth`',
            ),
            *_POSE_IN,
            _STATUS,
            Topic(topics.KEY_WANTED, EMPTY, topics.NEWEST, 'request for a key frame'),
            Topic(
                topics.REGION_WANTED,
                ROI,
                topics.NEWEST,
                'region of interest, in pixels of the image',
            ),
            *_WANTED,
        ),
        (
            Topic(
                topics.CODED, FRAME, topics.NEWEST, 'coded frames; `data` goes on air unchanged'
            ),
            Topic(topics.CODED_INFO, INFO, topics.IMAGES, 'of rectified images', '`rectify`'),
            Topic(topics.CODED_MOUNT, TRANSFORM, topics.LATCHED, _CODED_MOUNT, '`pose`'),
            _STILL_CODED,
            _ENCODER_STATUS,
            _DIAGNOSTICS,
        ),
    ),
    'link': Interface(
        'gsc_ros.nodes.link:LinkNode',
        'A simulated radio between robot and ground.',
        (*_ROBOT_IN, *_GROUND_IN, _FIRST),
        (
            *_ROBOT_OUT,
            *_RECEIVED,
            *_STATE_OUT,
            *_STILL_OUT,
            _GOAL_STATE,
            _FIRST_STATED,
            _STATUS,
            _DIAGNOSTICS,
        ),
    ),
    'link_robot': Interface(
        'gsc_ros.nodes.link_robot:LinkRobot',
        "The robot's end of a real link.",
        _ROBOT_IN,
        (*_ROBOT_OUT, _STATUS, _DIAGNOSTICS),
    ),
    'link_ground': Interface(
        'gsc_ros.nodes.link_ground:LinkGround',
        "The ground's end of a real link.",
        (*_GROUND_IN, _FIRST),
        (
            *_RECEIVED,
            *_STATE_OUT,
            *_STILL_OUT,
            _GOAL_STATE,
            _FIRST_STATED,
            _STATUS,
            _DIAGNOSTICS,
        ),
    ),
    'guard': Interface(
        'gsc_ros.nodes.guard:Guard',
        'Passes velocities on to the robot, and stops it when they cease. A plain node.',
        (
            Topic(topics.LINK_CMD_VEL, TWIST, topics.NEWEST, 'velocity, m/s and rad/s'),
            Topic(
                topics.COMMAND_TIMEOUT,
                'std_msgs/msg/Float32',
                topics.LATCHED,
                'time for which a velocity is valid, s',
            ),
        ),
        (_CMD_VEL, Topic(topics.GUARD_ALIVE, EMPTY, topics.SENSOR, 'heartbeat, 20 Hz')),
        lifecycle=False,
    ),
    'decoder': Interface(
        'gsc_ros.nodes.decoder:Decoder',
        'Semantic frames in; image, depth, classes and trust out, as far as the preset of the '
        "frame has them. Every message of a frame carries the stamp and frame_id of the robot's "
        'image.',
        (
            dataclasses.replace(_RECEIVED[1], qos=topics.IMAGES),
            _RECEIVED[0],
            _STATUS,
        ),
        (
            *_DECODED,
            *_DECODED_MORE,
            _HAZARDS,
            Topic(
                topics.DECODED_COLOUR, IMAGE, topics.IMAGES, 'rgb8, the classes in their colours'
            ),
            Topic(
                topics.POINTS,
                'sensor_msgs/msg/PointCloud2',
                topics.IMAGES,
                'points with colours, organised as the image; NaN where not trusted',
            ),
            Topic(
                topics.HAZARD_POINTS,
                'sensor_msgs/msg/PointCloud2',
                topics.IMAGES,
                'those of them that are in the way, as the robot found it; the others are NaN',
            ),
            Topic(
                topics.SCAN,
                'sensor_msgs/msg/LaserScan',
                topics.IMAGES,
                'nearest obstacle by direction; +Inf only ground or sky, NaN unknown (REP 117)',
            ),
            _DECODED_INFO,
            Topic(topics.DECODED_DEPTH_INFO, INFO, topics.IMAGES, 'camera_info of the depth'),
            _CAPTION,
            *_OBJECTS,
            Topic(
                topics.LABEL_INFO,
                'vision_msgs/msg/LabelInfo',
                topics.LATCHED,
                'names of the classes',
                'vision_msgs is installed',
            ),
            Topic(
                topics.LABELS,
                STRING,
                topics.LATCHED,
                'names of the classes, JSON',
                'vision_msgs is not installed',
            ),
            Topic(topics.KEY_MISSED, EMPTY, topics.NEWEST, 'request for a key frame'),
            _DECODER_STATUS,
            _DIAGNOSTICS,
        ),
    ),
    'monitor': Interface(
        'gsc_ros.nodes.monitor:Monitor',
        'Prints a status line every second, and on request saves images, a bag and a summary.',
        (
            *_DECODED,
            _DECODED_INFO,
            _CAPTION,
            *_RECEIVED[:1],
            _STATUS,
            _ENCODER_STATUS,
            _DECODER_STATUS,
            Topic(topics.IMAGE, IMAGE, topics.SENSOR, 'original images'),
            Topic(topics.DEPTH, IMAGE, topics.SENSOR, 'true depth, m', '`truth`'),
            Topic(topics.SEGMENTATION, IMAGE, topics.SENSOR, 'true class ids', '`truth`'),
            dataclasses.replace(_DIAGNOSTICS, qos=topics.DIAGNOSTICS, text='for the bag'),
        ),
        (_DIAGNOSTICS,),
    ),
    'console': Interface(
        'gsc_ros.nodes.console:Console',
        "The operator's web page: image and its age, link, wheel and STOP.",
        (
            *_DECODED,
            _HAZARDS,
            *_OBJECTS,
            _DECODED_INFO,
            _CAPTION,
            *_RECEIVED[:1],
            _STATUS,
            _ENCODER_STATUS,
            _DECODER_STATUS,
            Topic(
                topics.IMAGE,
                IMAGE,
                topics.SENSOR,
                'original images',
                'somebody looks at them',
            ),
            _GOAL_STATE,
            _FIRST_STATED,
            *_STILL_OUT,
            _RECEIVED_MOUNT,
            dataclasses.replace(
                _GROUND_IN[1], qos=topics.STOPS_HEARD, text='a STOP that somebody else gives'
            ),
            dataclasses.replace(_DIAGNOSTICS, qos=topics.DIAGNOSTICS, text='what is not OK'),
        ),
        (
            Topic(
                topics.TELEOP,
                TWIST,
                topics.NEWEST,
                'velocity commands, m/s and rad/s; TwistStamped where `stamped`',
            ),
            *_GROUND_IN[1:],
            _FIRST,
            _DIAGNOSTICS,
        ),
    ),
    'clock': Interface(
        'gsc_ros.nodes.clock:ClockNode',
        'Publishes simulated time, at a multiple of real time.',
        (),
        (
            Topic('/clock', 'rosgraph_msgs/msg/Clock', topics.SENSOR, 'simulated time, 100 Hz'),
            _DIAGNOSTICS,
        ),
    ),
}
