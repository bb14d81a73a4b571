"""
Fitting trust to judged cells, so that it holds in places that were not fitted.

The network is fitted several times, each time without some of the sources. What it says of these
shows how far it is off in a new place: its logits are calibrated to that, by kind of scene and by
whether the scale of depth is known, as Platt does ("Probabilistic outputs for support vector
machines", 1999). Little evidence moves them little.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.evaluation import metrics
from gsc_ros.labels import KINDS
from gsc_ros.models.trust import FEATURES, LOCAL, QUESTIONS, TrustNet

if TYPE_CHECKING:
    from gsc_ros.training.trust import Examples

FOLDS = 5
# Of the heads of class and depth: what is wrong with depth is common to a frame, of which there
# are few.
_STEPS, _RATE, _BATCH, _DECAY = (400, 200), 1e-2, 2048, 0.05
_LEAST_FRAMES, _LEAST_SOURCES = 5, 2  # with true depth, for a kind to count as calibrated
_STIFF, _SOFT = 0.1, 0.02  # of the factor's and the offsets' squares, in entropies of a source
_FEW = 3  # sources of which half is believed
_SPREAD = 0.5  # of the offsets' squares, as of one source more


class _Table(NamedTuple):
    """All cells: see ``Examples``; ``source`` int64 (N), in the order of their names."""

    features: Tensor
    right: Tensor
    group: NDArray[np.int64]
    scaled: NDArray[np.bool_]
    frame: NDArray[np.int64]
    source: NDArray[np.int64]


def _table(examples: 'Examples') -> _Table:
    frame = np.concatenate(examples.frame)
    names = sorted(set(examples.source.values()))
    number = {key: names.index(name) for key, name in examples.source.items()}
    return _Table(
        torch.from_numpy(np.concatenate(examples.features)),
        torch.from_numpy(np.concatenate(examples.right)).float(),
        np.concatenate(examples.group),
        np.concatenate(examples.scaled),
        frame,
        np.array([number[f] for f in frame.tolist()]),
    )


def _parts(table: _Table) -> Iterator[tuple[int, int, int, NDArray[np.bool_]]]:
    """Yield kind, scaled or not, question, and the cells (N) of which that has truth."""
    known = table.right.numpy() >= 0
    for kind in range(len(KINDS) + 1):
        for scaled in range(2):
            for question in range(QUESTIONS):
                mine = (table.group == kind) & (table.scaled == scaled) & known[:, question]
                if mine.any():
                    yield kind, scaled, question, mine


def _alike(source: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return weights (N) by which each source counts 1 in all."""
    return np.asarray(1 / np.bincount(source)[source])


def _weights(table: _Table) -> Tensor:
    """Weigh cells (N, 2): each source alike, with and without a scale."""
    weight = torch.zeros_like(table.right)
    for question in range(QUESTIONS):
        mine = (table.right[:, question] >= 0).numpy()
        _, part = np.unique(2 * table.source[mine] + table.scaled[mine], return_inverse=True)
        weight[torch.from_numpy(mine), question] = torch.from_numpy(_alike(part)).float()
    return weight


def _network(table: _Table, used: NDArray[np.bool_], net: TrustNet, seed: int) -> None:
    """Fit both heads of a network to the cells that are used."""
    weights = _weights(table)
    for question, (head, width) in enumerate(((net.classes, FEATURES), (net.depth, LOCAL))):
        mine = np.flatnonzero(used & (table.right[:, question] >= 0).numpy())
        if len(mine):
            x, right = table.features[mine, :width], table.right[mine, question]
            _fit_head(head, x, right, weights[mine, question], _STEPS[question], seed)


def _fit_head(
    head: nn.Sequential, x: Tensor, right: Tensor, weight: Tensor, steps: int, seed: int
) -> None:
    """Fit a head to cells ``x`` (N, C), ``right`` (N) and their weights (N)."""
    mean, deviation = x.mean(0), x.std(0) + 1e-2
    x, weight = (x - mean) / deviation, weight / weight.mean()
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(head.parameters(), _RATE, weight_decay=_DECAY)
    for step in range(steps):
        for setting in optimiser.param_groups:
            setting['lr'] = _RATE * (1 - step / steps)
        some = torch.randint(len(x), (_BATCH,), generator=generator)
        entropy = functional.binary_cross_entropy_with_logits(
            _of_cells(head, x[some]), right[some], reduction='none'
        )
        optimiser.zero_grad()
        (entropy * weight[some]).mean().backward()
        optimiser.step()
    with torch.no_grad():  # so that it takes the features as they are
        weights, bias = head[0].get_parameter('weight'), head[0].get_parameter('bias')
        weights.div_(deviation[None, :, None, None])
        bias.sub_((weights * mean[None, :, None, None]).sum((1, 2, 3)))


def _of_cells(net: nn.Module, features: Tensor) -> Tensor:
    """Return what a network gives for cells (N, C): (N), or (N, 2) for both questions."""
    found: Tensor = net(features.T[None, :, None].contiguous())[0, :, 0].T
    return found.squeeze(1)


def held_out(examples: 'Examples', seed: int = 0) -> Tensor:
    """Return logits (N, 2) of each cell, of a network that saw nothing of its source."""
    table = _table(examples)
    # Sources of one kind of scene go to different folds.
    sources = np.unique(table.source).tolist()
    kinds = [int(np.bincount(table.group[table.source == s]).argmax()) for s in sources]
    fold = np.empty(len(sources), np.int64)
    fold[np.lexsort((sources, kinds))] = np.arange(len(sources)) % FOLDS
    logits = torch.zeros_like(table.right)
    for number in range(min(FOLDS, len(sources)) if len(sources) > 1 else 0):
        mine = fold[table.source] == number
        torch.manual_seed(seed)
        net = TrustNet()
        _network(table, ~mine, net, seed)
        with torch.inference_mode():
            logits[torch.from_numpy(mine)] = _of_cells(net, table.features[mine])
    return logits


def calibrate(
    logits: Tensor, right: Tensor, source: NDArray[np.int64]
) -> tuple[float, float]:  # fmt: skip
    """
    Return factor and offset of logits (N) by which they hold in a source that was not fitted.

    Each source has an offset of its own, as its depth has a scale of its own. That of a new one is
    not known: the logits are those of the mean over the sources' normal distribution, by MacKay's
    approximation ("The evidence framework applied to classification networks", 1992).
    """
    _, index = np.unique(source, return_inverse=True)
    weight, number = torch.from_numpy(_alike(index)).float(), torch.from_numpy(index)
    factor = torch.ones((), requires_grad=True)
    offsets = torch.zeros(int(index.max()) + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([factor, offsets], max_iter=40, line_search_fn='strong_wolfe')

    def loss() -> Tensor:
        optimiser.zero_grad()
        entropy = functional.binary_cross_entropy_with_logits(
            factor * logits + offsets[number], right, reduction='none'
        )
        stiff = _STIFF * (factor - 1) ** 2 + _SOFT * offsets.square().sum()
        value = (entropy * weight).sum() + stiff
        value.backward()
        return value

    optimiser.step(loss)
    found = offsets.detach()
    spread = (found - found.mean()).square().sum() + _SPREAD
    shrunk = 1 / math.sqrt(1 + math.pi / 8 * float(spread) / len(found))
    evidence = len(found) / (len(found) + _FEW)
    slope = 1 + evidence * (max(float(factor.detach()), 0.0) - 1)
    return shrunk * slope, shrunk * evidence * float(found.mean())


def fit(examples: 'Examples', logits: Tensor, seed: int = 0) -> TrustNet:
    """Fit the network to all cells, and calibrate it by ``logits`` of :func:`held_out`."""
    table = _table(examples)
    if not (table.right >= 0).any():
        raise ValueError('no truth was found: give --data with true classes or depth')
    calibrated = []
    for kind in range(len(KINDS)):
        depth = (table.group == kind) & (table.right[:, 1] >= 0).numpy()
        enough = len(np.unique(table.frame[depth])) >= _LEAST_FRAMES
        if enough and len(np.unique(table.source[depth])) >= _LEAST_SOURCES:
            calibrated.append(kind)
    torch.manual_seed(seed)
    both = bool(table.scaled.any() and not table.scaled.all())
    net = TrustNet(calibrated=tuple(calibrated), scaled=both)
    _network(table, np.ones(len(table.group), bool), net, seed)
    for kind, scaled, question, mine in _parts(table):
        line = calibrate(logits[mine, question], table.right[mine, question], table.source[mine])
        net.calibration[kind, scaled, question] = torch.tensor(line)
    return net.eval()


def report(examples: 'Examples', logits: Tensor) -> list[str]:
    """
    Tell in lines what trust is worth on sources of which nothing was fitted.

    The calibration of each source, too, is of the others alone.
    """
    table, names = _table(examples), sorted(set(examples.source.values()))
    lines = []
    for kind, scaled, question, mine in _parts(table):
        trust, right = logits[mine, question].clone(), table.right[mine, question]
        source, each = table.source[mine], []
        for one in np.unique(source):
            here = source == one
            if not here.all():
                others = logits[mine, question]
                factor, offset = calibrate(others[~here], right[~here], source[~here])
                trust[here] = factor * others[here] + offset
            each.append(f'{names[one]} {_worth(trust[here], right[here])}')
        scale = 'known' if scaled else 'learned'
        head = f'{(*KINDS, "not sure")[kind]}, {("class", "depth")[question]}, {scale} scale'
        lines.append(f'{head}: {_worth(trust, right)}; {", ".join(each)}')
    return lines


def _worth(logits: Tensor, right: Tensor) -> str:
    trust = (255 * logits.sigmoid()).round().numpy().astype(np.uint8)
    counts = metrics.reliability(trust, right.numpy() > 0)
    return (f'ECE {metrics.calibration_error(counts):.3f} AUROC {metrics.ranking(counts):.2f} '
            f'right {float(right.mean()):.2f}')  # fmt: skip
