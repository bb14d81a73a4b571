"""Parameters of nav2's local costmap on decoded topics, with its limits of age set for a link."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gsc_ros.link.radio import budget, profiles
from gsc_ros.link.traffic.frame_scheduler import LinkCapacity

SOURCES = ('scan', 'points')
_FRAMES = 3  # that may be missing
_OVERHEAD = 25  # bytes of an encrypted datagram in a Space Packet: the most there is
_COMPUTING_S = 2.0  # of both codecs, at most


@dataclass(frozen=True)
class AgeLimits:
    """
    How old what nav2 works on may be, s.

    ``transform_s``: the newest transform, by its stamp; ``update_s``: time from one frame to the
    next.
    """

    transform_s: float
    update_s: float


def age_limits(link: str, budget_bytes: int = 300, max_rate: float = 5.0) -> AgeLimits:
    """
    Return the limits for frames of ``budget_bytes`` over a link, at most ``max_rate`` a second.

    A frame on the screen is at most two frame times and the delay old; one may be lost. Passes and
    jammers are not counted in: in an outage nothing is of now. Raises ``ValueError`` for a link
    that is not known or does not close.
    """
    computed = budget.compute(profiles.load(link))
    if not computed.closes:
        raise ValueError(f'link {link} does not close: nothing passes')
    profile = computed.profile
    capacity = LinkCapacity(
        computed.carried_bps, int(profile.mtu), _OVERHEAD, gap_s=profile.packet_gap
    )
    period_s = max(capacity.frame_s(budget_bytes), 1 / max_rate)
    update_s = _FRAMES * period_s + _COMPUTING_S
    return AgeLimits(round(computed.delay_s + update_s, 1), round(update_s, 1))


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
    parameters: dict[str, Any], limits: AgeLimits, source: str, namespace: str = ''
) -> dict[str, Any]:
    """
    Return parameters with the limits, the source of obstacles and topics in a namespace.

    Raises ``ValueError`` for a source that the obstacle layer does not have.
    """
    out = deepcopy(parameters)
    layer = out.get('obstacle_layer', {})
    if source not in layer:
        raise ValueError(f'obstacle_layer has no source {source}: give one of {SOURCES}')
    layer['observation_sources'] = source
    layer[source]['expected_update_rate'] = limits.update_s
    prefix = f'/{namespace.strip("/")}' if namespace.strip('/') else ''
    layer[source]['topic'] = prefix + layer[source]['topic']
    out['transform_tolerance'] = limits.transform_s
    return out
