"""Parameters of the encoder: its own, and those of its parts."""

from dataclasses import dataclass

from gsc_ros.codec.backend import CAPTION_BYTES, PRESETS
from gsc_ros.ros.images.camera_input import CameraInputParameters
from gsc_ros.ros.images.freshness import FreshnessParameters
from gsc_ros.ros.images.still import StillParameters
from gsc_ros.ros.parameters import NetworkParameters, parameter
from gsc_ros.ros.robot_state.pose_input import PoseInputParameters


@dataclass(frozen=True)
class EncoderParameters(
    CameraInputParameters,
    FreshnessParameters,
    PoseInputParameters,
    StillParameters,
    NetworkParameters,
):
    """Parameters of the encoder."""

    preset: str = parameter(
        'gsc', 'Which streams a frame has', choices=tuple(PRESETS), read_only=True
    )
    leave_out: str = parameter(
        '',
        'Parts that frames do without, with commas: caption, selection, residual; of preset mtgc '
        'also pseudo_words and planes',
        read_only=True,
    )
    captioner: str = parameter(
        '',
        'Folder or owner/name@revision of the hub of a model that describes images in words '
        '(preset foundation); empty: none',
        read_only=True,
    )
    caption_bytes: int = parameter(
        CAPTION_BYTES, 'Bytes of such a caption in a frame at most', 0, 200, read_only=True
    )
    budget_bytes: int = parameter(300, 'Bytes of a frame on air, never exceeded', 40, 2000)
    keyframe_interval: int = parameter(
        1,
        'Frames from one key frame to the next at most; the others are delta frames where these '
        'carry more, at two to three times the work. 1: key frames only, 0: as few as the scenes '
        'need',
        0,
        10_000,
        formerly='key_every',
    )
    max_rate: float = parameter(
        5.0, 'Frames a second at most, however fast the link is', 0.01, 60.0
    )
    min_rate: float = parameter(
        0.1,
        'Frames a second at least: on a slower link they have fewer bytes, down to 40; 0: never',
        0.0,
        60.0,
    )
    camera_height_m: float = parameter(
        0.0,
        'Height of the camera over the ground, for hazards and the scale of depth; 0: that over '
        'ground_frame, where TF has it',
        0.0,
        100.0,
    )
    camera_hfov_deg: float = parameter(
        70.0,
        "The camera's horizontal field of view, for depth and hazards, until its camera_info "
        'comes',
        10.0,
        170.0,
    )
    hazard_height_m: float = parameter(
        0.15, 'What stands higher over the ground is a hazard', 0.02, 2.0
    )
    hazard_distance_m: float = parameter(5.0, 'What is nearer is a hazard', 0.5, 50.0)
    roi_timeout_s: float = parameter(
        60.0, 'Time for which a requested region of interest is valid', 0.0, 1e5
    )
    stale_after_s: float = parameter(
        3.0, 'Time without an image after which the status is STALE', 0.1, 3600.0
    )
