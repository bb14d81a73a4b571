"""The robot's analysis of an image: all that can be sent of it, as symbols."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gsc_ros.codec.bitstream import depth_code
from gsc_ros.codec.caption import DISTANCE_EDGES, Caption, median_depth, scene_of
from gsc_ros.codec.coarse_depth import coarse_depth_of
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.hazards import Hazards, measured, of_mask, supposed
from gsc_ros.codec.kind import HEIGHT, LEARNED, SENSOR
from gsc_ros.codec.layout import WEIGHTS, coarse_of, fine_of, smoothed
from gsc_ros.codec.notes import Notes, Timing
from gsc_ros.codec.planes import (
    BLOCK,
    BY_NAME,
    TOKENS,
    UNKNOWN,
    FrameSymbols,
    blocks_of,
)
from gsc_ros.codec.pseudo_words import Words
from gsc_ros.codec.seen import find_objects
from gsc_ros.labels import GROUND, OTHER, SKY, UNLABELLED
from gsc_ros.models.layers import to_tensor
from gsc_ros.models.objects import ObjectNet
from gsc_ros.models.perception import FARTHEST_M, depth_to_log
from gsc_ros.models.pseudo_words import PseudoWords, seen_of
from gsc_ros.models.tokenizer import LEVELS, Tokenizer, to_symbols
from gsc_ros.perception.camera import Camera
from gsc_ros.perception.content import find_loss
from gsc_ros.perception.hazards import Limits
from gsc_ros.perception.interface import Perception
from gsc_ros.perception.kinds import (
    SceneKind,
    has_layout,
    has_sky,
    is_street,
    judged,
    restrict,
    sees_hazards,
)
from gsc_ros.perception.model import Prediction, scaled, seen_by
from gsc_ros.perception.objects import Box
from gsc_ros.perception.scale import scale_by_height
from gsc_ros.region import Region

_HAZARD_WEIGHT = 3.0
_OBJECT_WEIGHT = 2.0
_LEAST_DEPTH = 16  # pixels a side of a sensor's depth, for hazards; less is a scale alone
_REGION_WEIGHT = 16.0  # an error in a region, in errors elsewhere


def check_image(rgb: NDArray) -> None:
    """Raise ``ValueError`` unless it is an image: uint8 (H, W, 3), sides 16..4096."""
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3:
        shape = getattr(rgb, 'shape', type(rgb).__name__)
        raise ValueError(f'image of shape {shape}: give an array (height, width, 3) in RGB')
    if rgb.dtype != np.uint8:
        raise ValueError(
            f'image of {rgb.dtype}: give uint8 0..255 '
            '(scale floats, and replace NaN and Inf, first)'
        )
    coding_size(rgb.shape[1], rgb.shape[0])


def importance_of(region: Region, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """
    Return the weight of an error in each cell of a grid of a shape (rows, columns).

    Cells count that the region touches.
    """
    weights = np.ones(shape)
    box = (region.left, region.top, region.right, region.bottom)
    weights[_inside(box, shape)] = _REGION_WEIGHT
    return weights


def _inside(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return rows and columns of a grid (rows, columns) that a box touches."""
    rows, columns = shape
    left, top, right, bottom = box
    return (
        slice(int(top * rows), math.ceil(bottom * rows)),
        slice(int(left * columns), math.ceil(right * columns)),
    )


def stated(view: Prediction, kind: SceneKind | None) -> Prediction:
    """Leave of a prediction what may be stated in a kind of scene."""
    metres, doubtful = view.metres, view.sky_doubtful
    if not has_sky(kind):
        sky = view.classes == SKY
        metres = metres.copy()
        metres[sky] = np.nan if view.depth_in_sky is None else view.depth_in_sky[sky]
        doubtful = False
    classes = restrict(view.classes, kind)
    return replace(view, classes=classes, metres=metres, sky_doubtful=doubtful)


def _by_height(view: Prediction, camera: Camera) -> tuple[Prediction, int]:
    """Bring the network's depth to the camera's height; returns the source of its scale, too."""
    if view.depth_in_sky is None:
        return view, LEARNED
    factor = scale_by_height(view.depth_in_sky, np.isin(view.classes, GROUND), camera)
    return (view, LEARNED) if factor is None else (scaled(view, factor), HEIGHT)


@dataclass(frozen=True)
class ImageAnalysis:
    """
    All that can be sent of an image, for any number of budgets to pack it for.

    ``width``, ``height``: of the image; ``depth_code``: of its median depth (``bitstream``);
    ``symbols``: all symbols of it; ``latent``: float32 (1, 16, H/16, W/16), which the symbols
    approximate; ``image``: uint8 (H, W, 3) at the working size; ``importance``: float64
    (H/16, W/16), the weight of an error in a cell; ``region``: bool (H/64, W/64), the blocks to
    send first, None for none.
    """

    width: int
    height: int
    depth_code: int
    symbols: FrameSymbols
    latent: Tensor
    image: NDArray[np.uint8]
    importance: NDArray[np.float64]
    region: NDArray[np.bool_] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Working size (W, H)."""
        return self.symbols.size

    @property
    def lossy(self) -> bool:
        """Whether a part of the image is lost."""
        notes = self.symbols.notes
        return notes is not None and notes.loss is not None


@dataclass
class Analyser:
    """
    The networks that the robot alone runs: perception, encoder and the tokenizer's analysis.

    ``kinds``: whether the kind of scene is told; without it every image has a class layout;
    ``words``: writes pseudo-words, None where frames have none;
    ``objects``: judges what looks like an object, None where nothing does; ``camera``: None for
    one of 70 degrees at an unknown height; ``limits``: of what is a hazard.
    """

    perception: Perception
    encoder: nn.Module
    tokenizer: Tokenizer
    kinds: bool = False
    objects: ObjectNet | None = None
    camera: Camera | None = None
    limits: Limits = field(default_factory=Limits)
    words: PseudoWords | None = None

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.tokenizer.latent_std.device

    @torch.inference_mode()
    def analyse(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None = None,
        region: Region | Iterable[float] | None = None,
        timing: Timing | None = None,
    ) -> ImageAnalysis:
        """
        Analyse an image uint8 (H, W, 3).

        ``depth``, ``region``, ``timing``: as of :meth:`gsc_ros.codec.FrameEncoder.encode`. Raises
        ``ValueError`` for what is no image.
        """
        check_image(rgb)
        size = coding_size(rgb.shape[1], rgb.shape[0])
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        camera = self.camera or Camera.assumed(rgb.shape[1], rgb.shape[0])
        raw = self.perception.predict(small)
        view = seen_by(raw, camera.fx * size[0])
        measured_m = float('nan') if depth is None else median_depth(depth)
        source = SENSOR
        if not np.isfinite(measured_m):
            view, source = _by_height(view, camera)
        kind = judged(view.kind, view.classes) if self.kinds and view.kind else None
        view = stated(view, kind)
        metres = view.metres
        notes = Notes(find_loss(small), timing or Timing(), view.sky_doubtful)
        shown = view.classes
        lost = np.zeros(metres.shape, bool)
        if notes.loss is not None:
            lost = notes.loss.cells.repeat(2, 0).repeat(2, 1)
            shown = np.where(lost, np.uint8(UNLABELLED), view.classes)
            metres[lost] = np.nan
        latent = self.encoder(to_tensor(torch.from_numpy(small)[None].to(self.device)))
        objects, caption = None, Caption()
        if not notes.blind:
            seen = replace(view, classes=shown, metres=metres)
            objects = find_objects(seen, kind, self.objects)
            caption = Caption(
                scene_of(shown) if is_street(kind) else 0, objects.named if objects else ()
            )
        grids = self.tokenizer.analysis.features(latent / self.tokenizer.latent_std)
        symbols = FrameSymbols(
            caption,
            self._planes(view, metres, grids, kind),
            notes=notes or None,
            kind=kind,
            objects=objects,
        )
        if self.words is not None and not notes.blind:
            symbols.pseudo_words = self._pseudo_words(self.words, raw, grids[1])
        symbols.scale = source
        scale = measured_m if source == SENSOR else median_depth(metres, view.classes)
        if not notes.blind:
            symbols.hazards = self._hazards(view, kind, depth, (rgb.shape[1], rgb.shape[0]), lost)
        fine = symbols.planes['fine'][0]
        importance = np.where(fine < 0, 2, WEIGHTS[fine]).astype(np.float64)
        if symbols.hazards is not None:
            importance[symbols.hazards.cells.repeat(2, 0).repeat(2, 1)] *= _HAZARD_WEIGHT
        for item in objects.items if objects else ():
            importance[_inside(item.box, importance.shape)] *= _OBJECT_WEIGHT
        importance[symbols.lost('fine')] = 0
        blocks = None
        if region is not None:
            weight = importance_of(Region(*region), importance.shape)
            importance = importance * weight
            blocks = blocks_of(weight, BY_NAME['fine']) > BLOCK**2
        return ImageAnalysis(
            rgb.shape[1],
            rgb.shape[0],
            depth_code(scale),
            symbols,
            latent,
            small,
            importance,
            blocks,
        )

    def _pseudo_words(self, words: PseudoWords, view: Prediction, features: Tensor) -> Words:
        """Write the pseudo-words of what perception sees, as it sees it, and of features."""
        depth = view.metres if view.depth_in_sky is None else view.depth_in_sky
        known = torch.from_numpy(np.nan_to_num(depth, nan=FARTHEST_M, posinf=FARTHEST_M))
        classes = torch.from_numpy(view.classes).long()
        seen = seen_of(classes[None], depth_to_log(known)[None]).to(features)
        return words.write(features, seen)[0].cpu().numpy().astype(np.int8)

    def _hazards(
        self,
        view: Prediction,
        kind: SceneKind | None,
        depth: NDArray[np.float32] | None,
        size: tuple[int, int],
        lost: NDArray[np.bool_],
    ) -> Hazards | None:
        """
        Find what is in the way in an image of a size (W, H); None where that cannot be told.

        By depth of a sensor that sees what the camera sees; without one, by what the network sees
        in the way. What is ``lost`` of the image, bool (H/8, W/8), shows nothing that stands.
        """
        rows, columns = view.metres.shape
        cells = (rows // 4, columns // 4)
        camera = self.camera or Camera.assumed(*size)
        if (
            depth is not None
            and min(depth.shape) >= _LEAST_DEPTH
            and abs(depth.shape[1] * size[1] / (depth.shape[0] * size[0]) - 1) < 0.02
        ):
            return measured(depth, camera, self.limits, cells)
        if view.standing is None or not view.standing.knows(self.limits):
            return None
        found = view.standing.find(camera, self.limits, DISTANCE_EDGES, lost)
        return supposed(of_mask(*found), cells, kind is not None and sees_hazards(kind))

    def _planes(
        self,
        view: Prediction,
        metres: NDArray[np.float32],
        grids: tuple[Tensor, Tensor],
        kind: SceneKind | None,
    ) -> dict[str, NDArray[np.int8]]:
        """Compute the symbols of all planes; ``grids``: features of the latent."""
        class_map = torch.from_numpy(view.classes)[None]
        fine = fine_of(torch.where(class_map == UNLABELLED, OTHER, class_map))
        if view.probabilities is not None:
            fine = torch.from_numpy(smoothed(fine[0].numpy(), view.probabilities))[None]
        planes = {
            'coarse': coarse_of(fine),
            'coarse_depth': coarse_depth_of(torch.from_numpy(metres)[None], class_map),
            'fine': fine,
        }
        for name, tokens, levels in zip(
            TOKENS, self.tokenizer.analysis.levels_of(*grids)[1], LEVELS, strict=True
        ):
            planes[name] = to_symbols(tokens, levels)[0].cpu()
        if not has_layout(kind):
            for name in ('coarse', 'fine'):
                planes[name] = torch.full_like(planes[name], UNKNOWN, dtype=torch.int8)
        return {name: plane.numpy().astype(np.int8) for name, plane in planes.items()}
