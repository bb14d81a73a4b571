"""
Perception on the ground: depth and classes of the decoded image.

It serves presets whose frames have no maps, and replaces the maps of others where a model is
named. What it sees in generated pixels is no evidence: there depth stays unknown and classes stay
unlabelled, as everywhere.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec import bitstream
from gsc_ros.codec.analysis import stated
from gsc_ros.codec.backend import DecoderBackend
from gsc_ros.codec.caption import Caption, median_depth, scene_of
from gsc_ros.codec.device import resolve
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.kind import LEARNED
from gsc_ros.codec.notes import caption_text
from gsc_ros.codec.seen import find_objects
from gsc_ros.codec.trust import UNPROVEN
from gsc_ros.codec.types import GENERATED, DecodedFrame, ReceivedFrame, Reference
from gsc_ros.labels import SKY, UNLABELLED
from gsc_ros.models.pretrained import Options
from gsc_ros.models.weights import FOLDER
from gsc_ros.perception import choice as choices
from gsc_ros.perception.areas import connected_to_top
from gsc_ros.perception.camera import DEFAULT_FOCAL
from gsc_ros.perception.interface import Perception
from gsc_ros.perception.kinds import SceneKind, judged
from gsc_ros.perception.model import WEIGHTS, PerceptionModel, Prediction, seen_by

_STRIDE = 4  # pixels of the working size a side of a cell of the maps


class SeeingDecoder:
    """
    A decoder whose images are seen by the ground.

    ``tasks``: those of ``depth`` and ``classes`` whose maps are replaced also where a frame has
    them. A frame without maps gets both, and a caption that says where it is from.
    """

    def __init__(
        self,
        decoder: DecoderBackend,
        perception: Perception,
        tasks: frozenset[str] = frozenset(),
    ) -> None:
        self.decoder, self.perception, self.tasks = decoder, perception, tasks

    @classmethod
    def load(
        cls,
        decoder: DecoderBackend,
        choice: str,
        weights: str | Path | None = None,
        device: str = 'auto',
        models: Options | None = None,
    ) -> 'SeeingDecoder':
        """
        Load who sees.

        ``weights``: of the decoder; the embedded network is taken from there where that is a
        folder that has it, else from the package. Raises ``ValueError`` for what is no choice and
        for a model that cannot be loaded.
        """
        torch_device = resolve(device)

        def embedded() -> PerceptionModel:
            if weights == 'random':
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    model = PerceptionModel.random()
            else:
                own = Path(weights or FOLDER)
                model = PerceptionModel.load(own if (own / WEIGHTS).is_file() else FOLDER)
            model.net.to(torch_device)
            return model

        options = models or Options(device=str(torch_device))
        perception = choices.load(choice, embedded, options)
        return cls(decoder, perception, frozenset(choices.parse(choice)))

    @property
    def fingerprint(self) -> int:
        """Sixteen bits of the weights that both ends must share."""
        return self.decoder.fingerprint

    def read(
        self, data: bytes, truncated: bool = False, reference: Reference | None = None
    ) -> ReceivedFrame:
        """Read a packed frame, as the decoder does."""
        return self.decoder.read(data, truncated, reference)

    def render(
        self, frames: Sequence[ReceivedFrame], steps: int | None = None
    ) -> list[DecodedFrame]:
        """Render frames, as the decoder does, and see what they show."""
        rendered = self.decoder.render(frames, steps)
        return [
            self._seen(
                frame,
                received.symbols.kind,
                # Robots that send no depth have none but a sensor's.
                frame.depth is None or received.symbols.scale != LEARNED,
            )
            for frame, received in zip(rendered, frames, strict=True)
        ]

    def _seen(self, frame: DecodedFrame, kind: SceneKind | None, measured: bool) -> DecodedFrame:
        """
        Add what is seen in an image to its frame.

        ``kind``: of scene, where that was sent; ``measured``: whether the median depth that was
        sent is more than what a network has learned.
        """
        new_classes = frame.segmentation is None or 'classes' in self.tasks
        new_depth = frame.depth is None or 'depth' in self.tasks
        hidden = _hidden(frame)
        if not (new_classes or new_depth):
            return frame
        if hidden.all():  # nothing that could be seen was sent
            return replace(
                frame,
                segmentation=np.full(hidden.shape, UNLABELLED, np.uint8),
                depth=np.full(hidden.shape, np.nan, np.float32),
            )
        size = (frame.rgb.shape[1], frame.rgb.shape[0])
        working = coding_size(*size)
        small = cv2.resize(frame.rgb, working, interpolation=cv2.INTER_AREA)
        view = seen_by(self.perception.predict(small, _STRIDE), DEFAULT_FOCAL * working[0])
        if kind is None and view.kind is not None and frame.segmentation is None:
            kind = judged(view.kind, view.classes)
        view = stated(view, kind)
        classes = frame.segmentation
        if new_classes or classes is None:
            classes = cv2.resize(view.classes, size, interpolation=cv2.INTER_NEAREST)
            classes[hidden] = UNLABELLED
        depth = frame.depth
        if new_depth or depth is None:
            depth = _depth(frame, view, classes, measured)
            depth[hidden] = np.nan
        caption = frame.caption
        if frame.segmentation is None:
            caption = _caption(frame, view, hidden, kind)
        return replace(
            frame,
            segmentation=classes,
            depth=depth,
            caption=caption,
            trust=_unproven(frame.trust),
            right=None,
        )


def _unproven(trust: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
    """Promise little of maps that trust was not fitted to; 0 stays 0."""
    return None if trust is None else np.minimum(trust, np.uint8(round(255 * UNPROVEN)))


def _hidden(frame: DecodedFrame) -> NDArray[np.bool_]:
    """Find the pixels that nothing was received of, or that are not of now: bool (H, W)."""
    shape = frame.rgb.shape[:2]
    if frame.notes is not None and frame.notes.blind:
        return np.ones(shape, bool)
    hidden = np.zeros(shape, bool)
    for state in (frame.received, frame.trust):  # 0 in both where nothing was received
        if state is not None:
            hidden |= state == GENERATED
    return hidden


def _depth(
    frame: DecodedFrame, view: Prediction, classes: NDArray[np.uint8], measured: bool
) -> NDArray[np.float32]:
    """
    Bring the depth of a view to full size: float32 (H, W), metres.

    It has the median that the robot sent, where that was ``measured``. The sky is +inf where it is
    certain: where the frame itself says so, or where it is open up to the border and not doubtful.
    """
    metres = view.metres
    finite = np.where(np.isfinite(metres), metres, np.float32(np.nan))
    sent = bitstream.depth_of_code(frame.header.depth_code)
    median = median_depth(finite)
    if measured and np.isfinite(sent) and np.isfinite(median):
        finite = finite * np.float32(sent / median)
    size = (classes.shape[1], classes.shape[0])
    depth = cv2.resize(finite, size, interpolation=cv2.INTER_NEAREST)
    sky = classes == SKY
    depth[sky] = np.nan
    if frame.depth is not None:
        depth[sky & np.isinf(frame.depth)] = np.inf
    elif not view.sky_doubtful:
        depth[connected_to_top(sky)] = np.inf
    return depth.astype(np.float32)


def _caption(
    frame: DecodedFrame, view: Prediction, hidden: NDArray[np.bool_], kind: SceneKind | None
) -> str:
    """Describe what the ground sees, behind the frame's own caption."""
    rows, columns = view.classes.shape
    small = cv2.resize(hidden.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_AREA)
    classes, metres = view.classes.copy(), view.metres.copy()
    classes[small > 0], metres[small > 0] = UNLABELLED, np.nan
    # Nothing is calibrated for what a decoded image seems to show: a detector alone names objects.
    objects = find_objects(replace(view, classes=classes, metres=metres), kind, None)
    found = Caption(scene_of(classes), objects.named if objects else ())
    seen = f'seen on the ground: {caption_text(found, None, kind, objects=objects)}'
    return f'{frame.caption}; {seen}' if frame.caption else seen
