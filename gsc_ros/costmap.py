"""
Parameters of nav2's local costmap on decoded topics, with its limits of age set for a link.

Of several cameras each has observation sources of its own: nav2 puts each into the map by the
frame of its messages.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gsc_ros.link.radio import budget, profiles
from gsc_ros.link.traffic.cameras import CameraStream
from gsc_ros.link.traffic.frame_scheduler import LinkCapacity
from gsc_ros.link.traffic.sharing import shares

SOURCES = ('scan', 'points', 'hazards')
ONE = (CameraStream(),)
_FRAMES = 3  # times: it waits, is on its way, and one is lost
_OVERHEAD = 25  # bytes of an encrypted datagram in a Space Packet: the most there is
_COMPUTING_S = 2.0  # of both codecs, at most
# As of the encoder's parameters.
_LEAST_BYTES, _MOST_BYTES = 40, 2000
_LEAST_RATE, _MOST_RATE = 0.01, 60.0


@dataclass(frozen=True)
class AgeLimits:
    """
    How old what nav2 works on may be, s.

    ``transform_s``: the newest transform, by its stamp; ``update_s``: time from one frame of each
    camera to its next.
    """

    transform_s: float
    update_s: tuple[float, ...]


def age_limits(
    link: str,
    budget_bytes: int = 300,
    max_rate: float = 5.0,
    cameras: Sequence[CameraStream] = ONE,
) -> AgeLimits:
    """
    Return the limits for frames of ``budget_bytes`` over a link, at most ``max_rate`` a second.

    A frame on the screen is at most two frame times and the delay old; with a third, one may be
    lost. Of several cameras each waits for the others' frames: its limit is that of the least
    share of the air that it may have, as when the operator chose another; that of transforms,
    which come with the frames of any of them, is that of the camera with the greatest share.
    Passes and jammers are not counted in: in an outage nothing is of now. Raises
    ``ValueError`` for a link that is not known or does not close, and for bytes and rates that an
    encoder does not have.
    """
    if not _LEAST_BYTES <= budget_bytes <= _MOST_BYTES:
        raise ValueError(f'budget_bytes {budget_bytes}: give {_LEAST_BYTES} to {_MOST_BYTES}')
    if not _LEAST_RATE <= max_rate <= _MOST_RATE:
        raise ValueError(f'max_rate {max_rate}: give {_LEAST_RATE:g} to {_MOST_RATE:g}')
    computed = budget.compute(profiles.load(link))
    if not computed.closes:
        raise ValueError(f'link {link} does not close: nothing passes')
    profile = computed.profile
    capacity = LinkCapacity(
        computed.carried_bps, int(profile.mtu), _OVERHEAD, gap_s=profile.packet_gap
    )
    frame_s = capacity.frame_s(budget_bytes)
    numbers, weights = range(len(cameras)), [camera.weight for camera in cameras]

    def update_s(share: float) -> float:
        others_s = frame_s * (len(cameras) - 1)
        return round(_FRAMES * max(frame_s / share, 1 / max_rate) + others_s + _COMPUTING_S, 1)

    divisions = [shares(weights, numbers, first) for first in (None, *numbers)]
    least = [min(division[number] for division in divisions) for number in numbers]
    transform_s = computed.delay_s + update_s(max(divisions[0]))
    return AgeLimits(round(transform_s, 1), tuple(map(update_s, least)))


def read(file: Path) -> dict[str, Any]:
    """Read the parameters of the local costmap of a params file; raises ``ValueError``."""
    try:
        found = yaml.safe_load(file.read_text())['local_costmap']['local_costmap']
        return dict(found['ros__parameters'])
    except (KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(
            f'{file} has no local_costmap.local_costmap.ros__parameters ({error}): copy '
            'config/nav2_costmap.yaml'
        ) from None


def complete(
    parameters: dict[str, Any],
    limits: AgeLimits,
    sources: Sequence[str],
    namespace: str = '',
    cameras: Sequence[CameraStream] = ONE,
) -> dict[str, Any]:
    """
    Return parameters with the limits, the sources of obstacles and topics in a namespace.

    Of several cameras each has each source, as ``scan_rear`` on ``/rear/decoded/scan``. Raises
    ``ValueError`` for a source that the obstacle layer does not have, or that comes twice.
    """
    if len(set(sources)) < len(sources):
        raise ValueError(f'source {",".join(sources)}: give each once')
    out = deepcopy(parameters)
    found = out.get('obstacle_layer')
    layer = found if isinstance(found, dict) else {}
    base = f'/{namespace.strip("/")}'.rstrip('/')
    names = []
    for camera, update_s in zip(cameras, limits.update_s, strict=True):
        for source in sources:
            known = layer.get(source)
            if not isinstance(known, dict):
                raise ValueError(
                    f'obstacle_layer has no source {source!r}: give some of {", ".join(SOURCES)}'
                )
            # Without one nav2 takes the name of the source.
            topic = camera.topic(known.get('topic', source).lstrip('/'))
            name = f'{source}_{camera.name}' if camera.name else source
            own = {'expected_update_rate': update_s, 'topic': f'{base}/{topic}'}
            names.append((name, known | own))
    layer.update(names)
    layer['observation_sources'] = ' '.join(name for name, _ in names)
    out['transform_tolerance'] = limits.transform_s
    return out
