"""A judge's observation of an original, and the score of a decoded image against it."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.types import GENERATED, DecodedFrame
from gsc_ros.evaluation import hazards, metrics, objects
from gsc_ros.evaluation.datasets import Frame
from gsc_ros.evaluation.judge import can
from gsc_ros.evaluation.types import Outcome
from gsc_ros.labels import UNLABELLED

Row = dict[str, float | str]
Features = NDArray[np.float32]
_NEAR = 0.25  # depth is right when it is off by less than this share of the truth


@dataclass
class Score:
    """
    A row of figures, and by name the counts that are summed over a run.

    ``counts``: of class maps, (256, 256); ``trust``: of trust and what is right, (256, 2);
    ``objects``: of those stated and true (``evaluation.objects``); ``hazards``:
    likewise; ``errors``: of own depth by trust (``metrics.depth_by_trust``); ``patches``:
    features (N, D) of the decoded image and of the original; ``kind``: of scene, as sent.
    """

    row: Row
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    trust: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    objects: dict[str, dict[str, int]] = field(default_factory=dict)
    patches: tuple[Features, Features] | None = None
    hazards: dict[str, int] | None = None
    errors: NDArray[np.float64] | None = None
    kind: str = 'not told'

    def classes(self, name: str, found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> None:
        """Note the agreement of two class maps."""
        self.row[f'{name}agreement'] = metrics.agreement(found, wanted)
        self.counts[f'{name}miou'] = metrics.confusion(found, wanted)

    def depths(self, name: str, found: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
        """Note the errors of a depth map in metres."""
        errors = metrics.depth_errors(found, wanted, False)
        self.row[f'{name}absrel'], self.row[f'{name}delta1'] = errors


class ReferenceObservation:
    """
    A judge's classes, depth and boxes of an original frame, and its ground truth.

    A judge may lack any of its functions; what needs them is left out. Its slow ones are asked
    only where ``slow`` is true.
    """

    def __init__(
        self, judge: Any, frame: Frame, rgb: NDArray[np.uint8], slow: bool = False
    ) -> None:
        self.judge, self.rgb, self.slow = judge, rgb, slow
        self.classes = judge.segment(rgb) if can(judge, 'segment') else None
        self.depth = judge.depth(rgb) if can(judge, 'depth') else None
        self.boxes = judge.detect(rgb) if can(judge, 'detect') else None
        self.patches = self._patches(rgb)
        self.ground = (
            np.isin(self.classes, judge.GROUND)
            if self.classes is not None and hasattr(judge, 'GROUND')
            else None
        )
        if self.depth is not None and self.classes is not None and hasattr(judge, 'SKY'):
            self.depth = np.where(self.classes == judge.SKY, np.inf, self.depth)
        self.true_classes = frame.segmentation() if frame.segmentation else None
        self.true_depth = frame.depth() if frame.depth else None
        self.true_boxes = frame.boxes() if frame.boxes else None
        self.true_hazards = frame.hazards() if frame.hazards else None
        for truth in (self.true_classes, self.true_depth, self.true_hazards):
            if truth is not None and truth.shape != rgb.shape[:2]:
                raise ValueError(
                    f'{frame.name}: truth of {truth.shape[1]}x{truth.shape[0]} for an image of '
                    f'{rgb.shape[1]}x{rgb.shape[0]}; bring both to one size'
                )

    def _patches(self, rgb: NDArray[np.uint8]) -> Features | None:
        if not self.slow or not can(self.judge, 'patches'):
            return None
        features: Features = self.judge.patches(rgb)
        return features

    def compare(self, outcome: Outcome) -> Score:
        """Judge a decoded image, and what came beside it."""
        judge: Any = self.judge
        rgb = outcome.rgb
        score = Score(
            {'psnr': metrics.psnr(self.rgb, rgb), 'ms_ssim': metrics.ms_ssim(self.rgb, rgb)}
        )
        if can(judge, 'distances'):
            score.row.update(judge.distances(self.rgb, rgb))
        if self.slow and can(judge, 'slow_distances'):
            score.row.update(judge.slow_distances(self.rgb, rgb))
        found_patches = self._patches(rgb)
        if found_patches is not None and self.patches is not None:
            score.patches = found_patches, self.patches
        height, width = rgb.shape[:2]
        score.row.update(metrics.pattern(rgb, self.rgb, coding_size(width, height)))
        if self.classes is not None:
            found = judge.segment(rgb)
            score.classes('', found, self.classes)
            if self.true_classes is not None:
                score.classes('gt_', found, self.true_classes)
        if self.depth is not None:
            depth = judge.depth(rgb)
            score.depths('', depth, self.depth)
            score.row['absrel_scaled'], _ = metrics.depth_errors(depth, self.depth, True)
            if self.true_depth is not None:
                score.depths('gt_', depth, self.true_depth)
            if self.ground is not None:
                score.row['hazards_missed'], score.row['hazards'] = metrics.missed_hazards(
                    depth, self.depth, self.ground
                )
        if self.boxes is not None:
            boxes = judge.detect(rgb)
            score.row.update(metrics.detection(boxes, self.boxes))
            if self.true_boxes is not None:
                found_true = metrics.detection(boxes, self.true_boxes)
                score.row.update({f'gt_{k}': v for k, v in found_true.items()})
        if outcome.frame is not None:
            self._own(outcome, score)
        return score

    def _own(self, outcome: Outcome, score: Score) -> None:
        """Compare the maps that came out of the decoder itself."""
        frame = outcome.frame
        assert frame is not None
        for name, classes, depth in (
            ('own_', self.classes, self.depth),
            ('own_gt_', self.true_classes, self.true_depth),
        ):
            if classes is not None and frame.segmentation is not None:
                score.classes(name, frame.segmentation, classes)
            if depth is not None and frame.depth is not None:
                score.depths(name, frame.depth, depth)
        self._trust(frame, score)
        if self.true_depth is not None and frame.depth is not None and frame.trust is not None:
            score.errors = metrics.depth_by_trust(frame.depth, self.true_depth, frame.trust)
        if frame.kind is not None:
            score.kind = frame.kind.name if frame.kind.sure else 'not sure'
        if frame.hazards is not None and self.true_hazards is not None:
            score.hazards = hazards.count(frame.hazards, self.true_hazards)
        if frame.objects is not None:
            score.row['objects_lost'] = frame.objects.lost
            if self.true_classes is not None:
                sent = frame.objects.items
                named = sent[: len(frame.objects.named)]
                for name, stated in (('objects', sent), ('caption', named)):
                    score.objects[name] = objects.count(stated, self.true_classes)
        if self.depth is not None and frame.depth is not None:
            score.row['own_known'] = metrics.depth_known(frame.depth, self.depth)
            if self.ground is not None:
                score.row['own_hazards_missed'], _ = metrics.missed_hazards(
                    frame.depth, self.depth, self.ground
                )

    def _trust(self, frame: DecodedFrame, score: Score) -> None:
        """Count trust by whether it holds: of class, of depth within 25 %, and of both."""
        if frame.right is None or frame.segmentation is None or frame.depth is None:
            return
        height, width = frame.segmentation.shape
        of_class, of_depth = (
            cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
            for part in frame.right
        )
        came: NDArray[np.bool_] = np.asarray(frame.received != GENERATED)
        known, right = came, np.ones_like(came)
        parts: list[tuple[str, NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]] = []
        if self.true_classes is not None:
            stated = (self.true_classes != UNLABELLED) & (frame.segmentation != UNLABELLED)
            agrees = frame.segmentation == self.true_classes
            parts.append(('classes', of_class, stated, agrees))
        if self.true_depth is not None:
            measured = (self.true_depth >= metrics.MIN_DEPTH_M) & np.isfinite(frame.depth)
            measured &= self.true_depth <= metrics.MAX_DEPTH_M
            with np.errstate(invalid='ignore'):
                close = np.abs(frame.depth - self.true_depth) < _NEAR * self.true_depth
            parts.append(('depth', of_depth, measured, close))
        for name, trust, where, holds in parts:
            score.trust[name] = _counted(trust, came & where, holds)
            known, right = known & where, right & holds
        if len(parts) == 2:
            score.trust['both'] = _counted(of_class * of_depth, known, right)


def _counted(
    trust: NDArray[np.float32], where: NDArray[np.bool_], right: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Count trust where it can be judged; see :func:`metrics.reliability`."""
    return metrics.reliability((255 * trust[where]).round().astype(np.uint8), right[where])
