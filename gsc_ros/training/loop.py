"""The loop every stage shares: schedule, checkpoints, resume, averaged weights, curve."""

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from gsc_ros.models.precision import fast_bfloat16
from gsc_ros.training import processes
from gsc_ros.training.optimiser import Optimiser


@dataclass(frozen=True)
class Settings:
    """
    How long, how fast and where to train; it ends at the first of steps and minutes.

    ``device``: ``auto``, ``cpu`` or ``cuda``; ``bfloat16``: None for where it is fast; ``muon``:
    the optimiser of kernels (:class:`Optimiser`).
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
        """Where to train: a GPU if there is one."""
        if self.device != 'auto':
            return torch.device(self.device)
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')

    @property
    def mixed(self) -> bool:
        """Whether to compute in bfloat16: where it is fast: GPUs, CPUs with units for it."""
        if self.bfloat16 is not None:
            return self.bfloat16
        return self.torch_device.type == 'cuda' or fast_bfloat16()


def run(
    model: nn.Module, step: Callable[[], dict[str, Tensor]], settings: Settings
) -> dict[str, Tensor]:
    """
    Train ``model`` and return its averaged state.

    ``step`` computes one batch's losses, of which ``'loss'`` is minimised and all are recorded in
    ``curve.csv``. A checkpoint in the output folder is resumed, its spent minutes included. The
    rate follows a cosine of the larger of the two spent fractions, so that either limit ends it at
    zero. Of several processes (:mod:`gsc_ros.training.processes`) the first alone writes and
    returns; the others end here, by ``SystemExit``.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    settings.output.mkdir(parents=True, exist_ok=True)
    checkpoint = settings.output / 'checkpoint.pt'
    processes.start_alike(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = Optimiser(parameters, settings.weight_decay, settings.muon)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    # A view of what changes: parameters and buffers keep their place while they train.
    current = {k: v.detach() for k, v in model.state_dict().items()}
    floats = [k for k, v in current.items() if v.is_floating_point()]
    done, spent = 0, 0.0
    if checkpoint.is_file():
        state = torch.load(checkpoint, settings.torch_device, weights_only=True)
        model.load_state_dict(state['model'])
        optimiser.load_state_dict(state['optimiser'])
        average.update(state['average'])
        done, spent = state['done'], state['spent']

    def save() -> None:
        if not processes.first():
            return
        partial = checkpoint.with_suffix('.partial')
        torch.save(
            {
                'model': model.state_dict(),
                'optimiser': optimiser.state_dict(),
                'average': average,
                'done': done,
                'spent': spent + time.monotonic() - start,
            },
            partial,
        )
        partial.replace(checkpoint)

    start = saved = time.monotonic()
    seen: dict[str, list[Tensor]] = {}
    bar = tqdm(total=settings.steps, initial=done, unit='step', mininterval=5)
    while done < settings.steps:
        minutes = (spent + time.monotonic() - start) / 60
        progress = processes.mean(max(done / settings.steps, minutes / settings.minutes))
        if progress >= 1:
            break
        rate = settings.learning_rate * min(1.0, (done + 1) / settings.warmup)
        rate *= 0.5 + 0.5 * math.cos(math.pi * progress)
        with torch.autocast(settings.torch_device.type, torch.bfloat16, enabled=settings.mixed):
            losses = step()
        model.zero_grad(set_to_none=True)
        losses['loss'].backward()
        processes.average_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        if torch.isfinite(norm):
            optimiser.step(rate)
        done += 1
        bar.update()
        decay = min(settings.ema, done / (done + 20))
        torch._foreach_lerp_([average[k] for k in floats], [current[k] for k in floats], 1 - decay)
        for key in current.keys() - set(floats):
            average[key].copy_(current[key])
        for key, loss in losses.items():
            seen.setdefault(key, []).append(loss.detach())
        if done % 50 == 0:
            # Not every step has every loss. Read now and then only: a GPU runs ahead till then.
            means = {k: float(torch.stack(v).mean()) for k, v in sorted(seen.items())}
            bar.set_postfix({k: f'{v:.4f}' for k, v in means.items()})
            if processes.first():
                _record(settings.output / 'curve.csv', done, minutes, means)
            seen = {}
        if time.monotonic() - saved > settings.save_every_s:
            save()
            saved = time.monotonic()
    save()
    bar.close()
    if not processes.first():
        raise SystemExit(0)
    return average


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
