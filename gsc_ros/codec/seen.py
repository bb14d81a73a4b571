"""What the robot's eye saw, as objects to send: only where it can know them."""

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec.caption import MAX_OBJECTS, Caption, scene_of
from gsc_ros.codec.objects import MOST_BEYOND, PROBABILITIES, Objects, SeenObject
from gsc_ros.models.objects import ObjectNet
from gsc_ros.perception.kinds import SceneKind, is_street
from gsc_ros.perception.model import Prediction
from gsc_ros.perception.regions import (
    GROUP_OF,
    PEOPLE_AND_VEHICLES,
    Region,
    find_regions,
    place_detections,
)


def find_objects(
    view: Prediction, kind: SceneKind | None, net: ObjectNet | None
) -> Objects | None:
    """
    Find the objects of a prediction that are there with a probability of 0.5 or more.

    Those of a detector, with its scores as they are; without one, on streets, the regions of the
    class map, as ``net`` judges them. None where nothing can be told.
    """
    if view.objects is not None:
        regions = place_detections(view.objects, view.metres)
        chances = [region.confidence for region in regions]
    elif net is not None and view.confidence is not None and is_street(kind):
        regions = find_regions(view.classes, view.metres, view.confidence)
        chances = probabilities(net, regions)
    else:
        return None
    likely = [
        (region, chance)
        for region, chance in zip(regions, chances, strict=True)
        if chance >= PROBABILITIES[0]
    ]
    items = [
        (region, SeenObject.of(region.class_id, region.box, region.distance_m, chance))
        for region, chance in likely
    ]
    items.sort(
        key=lambda one: (not one[1].sure, one[0].class_id not in PEOPLE_AND_VEHICLES, one[0].rank)
    )
    found = Objects(tuple(item for _, item in items))
    return found.first(len(found.named) + MOST_BEYOND)


def describe(classes: NDArray[np.uint8], metres: NDArray[np.float32]) -> Caption:
    """Describe maps (h, w), ids and depth in metres, that are taken as certain (training)."""
    regions = find_regions(classes, metres, np.ones(classes.shape, np.float32))
    regions.sort(key=lambda region: region.rank)
    items = (SeenObject.of(r.class_id, r.box, r.distance_m, r.confidence) for r in regions)
    return Caption(scene_of(classes), tuple(item.words for item in items)[:MAX_OBJECTS])


@torch.inference_mode()
def probabilities(net: ObjectNet, regions: list[Region]) -> list[float]:
    """Return the probabilities that regions are objects of their group."""
    if not regions:
        return []
    logits = net(
        torch.tensor([region.confidence for region in regions]),
        torch.tensor([region.area for region in regions]),
        torch.tensor([GROUP_OF[region.class_id] for region in regions]),
    )
    chances: list[float] = logits.sigmoid().tolist()
    return chances
