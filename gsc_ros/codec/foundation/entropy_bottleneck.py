"""
CompressAI's ``EntropyBottleneck`` (J. Begaint et al., arXiv 2011.03029; the model: J. Balle et
al., arXiv 1802.01436), trained on samples and turned into integer tables.

Only training needs CompressAI. Its top package imports models, data sets and torchvision, which
take seconds and may not be there; this module imports its entropy models alone.
"""

import importlib.util
import sys
import time
import types
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec.foundation.entropy_tables import Tables

_WIDEST = 96  # the farthest value that a table holds; what lies beyond is escaped


def entropy_bottleneck() -> Any:
    """
    Import the class without the rest of CompressAI.

    Raises ``ImportError`` naming the remedy where it is not installed.
    """
    if 'compressai' not in sys.modules:
        spec = importlib.util.find_spec('compressai')
        if spec is None or not spec.submodule_search_locations:
            raise ImportError(
                'training entropy tables needs CompressAI, which is not installed. It has wheels '
                'for Python 3.10 to 3.12: pip install scipy && pip install --no-deps compressai. '
                'Coding with tables that are there does not need it.'
            )
        bare = types.ModuleType('compressai')
        bare.__path__ = list(spec.submodule_search_locations)
        # What an entropy model asks its package for; nothing here codes with it.
        bare.get_entropy_coder = lambda: 'ans'  # type: ignore[attr-defined]
        bare.available_entropy_coders = lambda: ['ans']  # type: ignore[attr-defined]
        sys.modules['compressai'] = bare
        try:
            importlib.import_module('compressai.entropy_models')
        except ImportError as error:
            del sys.modules['compressai']
            raise ImportError(
                f'CompressAI cannot be imported ({error}): pip install scipy, and '
                'pip install --no-deps --force-reinstall compressai'
            ) from error
    from compressai.entropy_models import EntropyBottleneck

    return EntropyBottleneck


def fit(
    samples: list[NDArray[np.float32]],
    steps: int = 400,
    rate: float = 0.02,
    minutes: float = 120.0,
    seed: int = 0,
) -> Tables:
    """
    Train a density for each group and return its integer tables.

    ``samples``: one array a group, values in steps of the quantiser, taken to be symmetric. It
    ends at the first of ``steps`` and ``minutes``; ``rate``: the learning rate, of Adam.
    Raises ``ImportError`` without CompressAI.
    """
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        spread = max(float(np.abs(values).max(initial=1.0)) for values in samples)
        model = entropy_bottleneck()(len(samples), init_scale=max(4.0, spread / 4))
        parameters = [p for name, p in model.named_parameters() if name != 'quantiles']
        optimiser = torch.optim.Adam(parameters, rate)
        end = time.monotonic() + 60 * minutes
        for _ in range(steps):
            if time.monotonic() > end:
                break
            batch = np.stack([rng.choice(values, 256) for values in samples])
            batch *= rng.choice(np.array([-1, 1], np.float32), batch.shape)
            _, likelihood = model(torch.from_numpy(batch)[None], training=True)
            loss = -torch.log2(likelihood).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        far = [float(np.ceil(np.abs(values).max(initial=1.0))) for values in samples]
        ends = torch.tensor(far).clamp(1, _WIDEST)
        with torch.no_grad():
            model.quantiles[:, 0, 0], model.quantiles[:, 0, 2] = -ends, ends
            model.quantiles[:, 0, 1] = 0  # the tables are for whole values
        model.eval()
        model.update(force=True)
    return Tables(
        model._quantized_cdf.numpy().astype(np.int32),
        model._cdf_length.numpy().astype(np.int32),
        model._offset.numpy().astype(np.int32),
    )
