"""The loop every stage shares: schedule, checkpoints, resume, averaged weights, curve."""

import csv
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from gsc_ros.codec.device import resolve
from gsc_ros.models.precision import fast_bfloat16
from gsc_ros.training import processes
from gsc_ros.training.optimiser import Optimiser


@dataclass(frozen=True)
class Settings:
    """
    How long, how fast and where to train; it ends at the first of steps and minutes.

    ``device``: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``; ``bfloat16``:
    None for where it is fast; ``muon``: the optimiser of kernels (:class:`Optimiser`).
    """

    output: Path
    steps: int = 20_000
    minutes: float = 120.0
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    ema: float = 0.998
    warmup: int = 200
    save_every_s: float = 120.0
    threads: int | None = None
    device: str = 'auto'
    bfloat16: bool | None = None
    muon: bool = False

    @property
    def torch_device(self) -> torch.device:
        """Where to train; raises ``ValueError`` for a device that is not there."""
        return resolve(self.device)

    @property
    def mixed(self) -> bool:
        """Whether to compute in bfloat16: where it is fast: GPUs, CPUs with units for it."""
        if self.bfloat16 is not None:
            return self.bfloat16
        return self.torch_device.type == 'cuda' or fast_bfloat16()


def exponential_average(model: nn.Module, decay: float) -> AveragedModel:
    """
    Make an exponential moving average of a model's parameters and buffers.

    After n steps the average keeps min(decay, n / (n + 20)) of itself, so that it is not held back
    by where the training began.
    """

    def update(averages: list[Tensor], values: list[Tensor], _count: Tensor) -> None:
        if not averages[0].is_floating_point():  # counters
            torch._foreach_copy_(averages, values)
            return
        # Read on the CPU: ``_count`` is on the device, and reading it would wait for that.
        step = int(average.n_averaged) + 1
        keep = min(decay, step / (step + 20))
        torch._foreach_lerp_(averages, values, 1 - keep)

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)  # type: ignore[arg-type]
    return average


class _Run:
    """The state of a training run: what a checkpoint holds."""

    def __init__(
        self, model: nn.Module, settings: Settings, slow: Collection[nn.Parameter]
    ) -> None:
        self.model, self.settings = model, settings
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = Optimiser(self.parameters, settings.weight_decay, settings.muon, slow)
        self.average = exponential_average(model, settings.ema)
        self.done, self._spent_s = 0, 0.0
        self._start = self._saved = time.monotonic()
        if self._checkpoint.is_file():
            self._resume()

    @property
    def _checkpoint(self) -> Path:
        return self.settings.output / 'checkpoint.pt'

    def _resume(self) -> None:
        """Go on from the checkpoint; raises ``ValueError`` for one of another model or version."""
        path = self._checkpoint
        state = torch.load(path, self.settings.torch_device, weights_only=True)
        try:
            self.model.load_state_dict(state['model'])
            self.average.load_state_dict(state['average'])
        except RuntimeError as error:
            raise ValueError(
                f'{path}: of another model, or of an older version: convert it with '
                f'tools/convert_weight_names.py, or name another output folder ({error})'
            ) from error
        self.optimiser.load_state_dict(state['optimiser'])
        self.done, self._spent_s = state['done'], state['spent']

    @property
    def minutes(self) -> float:
        """Time that was trained, before the run was stopped too."""
        return (self._spent_s + time.monotonic() - self._start) / 60

    def progress(self) -> float:
        """Spent share of the steps or of the minutes, the larger one; 1 or more at the end."""
        if self.done >= self.settings.steps:
            return 1.0
        share = max(self.done / self.settings.steps, self.minutes / self.settings.minutes)
        return processes.mean(share)

    def rate(self, progress: float) -> float:
        """Return the learning rate: a rise over the warm-up, then a cosine that ends at zero."""
        warm = min(1.0, (self.done + 1) / self.settings.warmup)
        return self.settings.learning_rate * warm * (0.5 + 0.5 * math.cos(math.pi * progress))

    def update(self, loss: Tensor, rate: float) -> None:
        """Take a step along the gradients of a loss, and average."""
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        processes.average_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if torch.isfinite(norm):
            self.optimiser.step(rate)
        self.done += 1
        self.average.update_parameters(self.model)

    def save(self, now: bool = False) -> None:
        """Write a checkpoint, unless the last one is recent."""
        if not now and time.monotonic() - self._saved <= self.settings.save_every_s:
            return
        self._saved = time.monotonic()
        if processes.first():
            partial = self._checkpoint.with_suffix('.partial')
            state = {
                'model': self.model.state_dict(),
                'optimiser': self.optimiser.state_dict(),
                'average': self.average.state_dict(),
                'done': self.done,
                'spent': 60 * self.minutes,
            }
            torch.save(state, partial)
            partial.replace(self._checkpoint)


class _Curve:
    """Means of the losses, a row of ``curve.csv`` every 50 steps."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._losses: dict[str, list[Tensor]] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        """Take the losses of a step; not every step has every loss."""
        for key, loss in losses.items():
            self._losses.setdefault(key, []).append(loss.detach())

    def record(self, done: int, minutes: float) -> dict[str, float]:
        """Write the means of the losses so far, and begin anew; returns them."""
        # Read only now and then: a GPU runs ahead until then.
        means = {k: float(torch.stack(v).mean()) for k, v in sorted(self._losses.items())}
        if processes.first():
            _record(self._path, done, minutes, means)
        self._losses = {}
        return means


def run(
    model: nn.Module,
    step: Callable[[], dict[str, Tensor]],
    settings: Settings,
    slow: Collection[nn.Parameter] = (),
) -> dict[str, Tensor]:
    """
    Train ``model`` and return its averaged state.

    ``step`` computes one batch's losses, of which ``'loss'`` is minimised and all are recorded in
    ``curve.csv``. ``slow``: parameters that were trained before (:class:`Optimiser`). A checkpoint
    in the output folder is resumed, its spent minutes included. The rate follows a cosine of the
    larger of the two spent fractions, so that either limit ends it at zero. Of several processes
    (:mod:`gsc_ros.training.processes`) the first alone writes and returns; the others end here,
    by ``SystemExit``.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    settings.output.mkdir(parents=True, exist_ok=True)
    processes.start_alike(model)
    state, curve = _Run(model, settings, slow), _Curve(settings.output / 'curve.csv')
    bar = tqdm(total=settings.steps, initial=state.done, unit='step', mininterval=5)
    while (progress := state.progress()) < 1:
        with torch.autocast(settings.torch_device.type, torch.bfloat16, enabled=settings.mixed):
            losses = step()
        state.update(losses['loss'], state.rate(progress))
        curve.add(losses)
        bar.update()
        if state.done % 50 == 0:
            means = curve.record(state.done, state.minutes)
            bar.set_postfix({key: f'{value:.4f}' for key, value in means.items()})
        state.save()
    state.save(now=True)
    bar.close()
    if not processes.first():
        raise SystemExit(0)
    return state.average.module.state_dict()


def _record(path: Path, done: int, minutes: float, means: dict[str, float]) -> None:
    """Add a row to the curve; a column that it has not had yet comes last."""
    rows: list[dict[str, str]] = []
    columns = ['step', 'minutes']
    if path.exists():
        with open(path, newline='') as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or columns)
            rows = list(reader)
    rows.append(
        {'step': str(done), 'minutes': f'{minutes:.2f}'}
        | {key: f'{value:.5f}' for key, value in means.items()}
    )
    columns += [key for key in means if key not in columns]
    partial = path.with_suffix('.partial')
    with open(partial, 'w', newline='') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)
