"""
Load models of transformers from a folder or from the Hugging Face hub.

Importing this imports no transformers: a robot that has the embedded network alone needs none.
"""

import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import nn

INSTALL = 'pip install "gsc_ros[foundation]"'
DTYPES = ('auto', 'float32', 'bfloat16', 'float16')
Report = Callable[[str], object]


@lru_cache(maxsize=1024)
def _warned(text: str) -> None:
    warnings.warn(text, stacklevel=4)


def report_once(text: str) -> None:
    """Warn of something, once in a process."""
    _warned(text)


@dataclass(frozen=True)
class Options:
    """
    How models are loaded.

    ``device``: a name of torch; ``dtype``: one of :data:`DTYPES`, ``auto`` for bfloat16 on a GPU
    and float32 on a CPU; ``offline``: take models of the hub from its cache alone; ``report``: is
    told what is worth knowing and no error.
    """

    device: str = 'cpu'
    dtype: str = 'auto'
    offline: bool = False
    report: Report = report_once

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of weights; raises ``ValueError`` for an unknown name."""
        if self.dtype not in DTYPES:
            raise ValueError(f'dtype {self.dtype!r} is not one of {", ".join(DTYPES)}')
        if self.dtype == 'auto':
            on_cpu = torch.device(self.device).type == 'cpu'
            return torch.float32 if on_cpu else torch.bfloat16
        found: torch.dtype = getattr(torch, self.dtype)
        return found


@dataclass(frozen=True)
class Source:
    """Where a model is: a folder, or a name of the hub with its revision."""

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> 'Source':
        """
        Read ``FOLDER`` or ``owner/name[@revision]``.

        Raises ``ValueError`` for anything else, also for a folder that does not exist.
        """
        path = Path(text).expanduser()
        if text and path.is_dir():
            return cls(str(path))
        name, _, revision = text.partition('@')
        parts = name.split('/')
        if text.startswith(('/', '.', '~')) or len(parts) != 2 or not all(parts):
            raise ValueError(
                f'{text or "(empty)"}: no such folder, and no model of the hub; give the folder '
                'of a model, or owner/name@revision'
            )
        return cls(name, revision or None)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder and not a name of the hub."""
        return Path(self.name).is_dir()

    def __str__(self) -> str:
        return f'{self.name}@{self.revision}' if self.revision else self.name


def import_transformers() -> Any:
    """Import transformers; raises ``ValueError`` naming the extra that has it."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError(f'models of transformers need it: {INSTALL}') from error
    return transformers


@dataclass(frozen=True)
class Loader:
    """Loads the parts of one model, each with the same arguments and the same errors."""

    source: Source
    options: Options

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of ``from_pretrained``."""
        found: dict[str, Any] = {'local_files_only': self.options.offline or self.source.is_folder}
        if self.source.revision:
            found['revision'] = self.source.revision
        return found

    def missing(self, error: BaseException) -> ValueError:
        """Return the error of a model that cannot be read, with the remedy."""
        reason = ' '.join(str(error).split()) or type(error).__name__
        if len(reason) > 200:
            reason = f'{reason[:197]}...'
        if self.source.is_folder:
            remedy = 'copy the whole folder again, with config.json and model.safetensors'
        elif self.options.offline:
            remedy = 'download it where there is internet, and name its folder'
        else:
            remedy = 'check name and internet, or download it elsewhere and name its folder'
        return ValueError(f'{self.source}: cannot be loaded; {remedy} ({reason})')

    def config(self) -> Any:
        """Load the configuration; raises ``ValueError`` with the remedy."""
        transformers = import_transformers()
        if not self.source.is_folder and not self.source.revision:
            self.options.report(
                f'{self.source}: no revision is pinned, so that another start may load other '
                f'weights; write {self.source}@<commit>'
            )
        try:
            return transformers.AutoConfig.from_pretrained(self.source.name, **self.arguments)
        except Exception as error:  # of the hub, of the file, of the configuration
            raise self.missing(error) from error

    def model(self, kind: Any) -> 'nn.Module':
        """
        Load weights by a class of transformers, frozen, on the device.

        Raises ``ValueError`` where they cannot be read or some are missing: transformers would
        make up what a checkpoint lacks.
        """
        dtype = self.options.torch_dtype
        try:
            model, info = kind.from_pretrained(
                self.source.name, dtype=dtype, output_loading_info=True, **self.arguments
            )
        except Exception as error:  # of the hub, of the file, of the model
            raise self.missing(error) from error
        lacking = sorted(info['missing_keys']) + [str(key) for key in info['mismatched_keys']]
        if lacking:
            raise ValueError(
                f'{self.source}: {len(lacking)} of its weights are missing or of another shape, '
                f'as {lacking[0]}; it is another kind of model, or not trained for this task'
            )
        model.eval().requires_grad_(False)
        return _placed(model, self.options.device)

    def preprocessing(self) -> Mapping[str, Any]:
        """Return what ``preprocessor_config.json`` says; empty where there is none."""
        from transformers.image_processing_base import ImageProcessingMixin

        with suppress(OSError, ValueError):
            found, _ = ImageProcessingMixin.get_image_processor_dict(
                self.source.name, **self.arguments
            )
            return dict(found)
        return {}


def _placed(model: 'nn.Module', device: str) -> 'nn.Module':
    """Move a model to a device; raises ``ValueError`` where it does not fit."""
    try:
        return model.to(device)
    except torch.cuda.OutOfMemoryError as error:
        raise ValueError(
            f'{device} has too little memory for {type(model).__name__}: choose a smaller model, '
            'another device, or dtype float16'
        ) from error


def quiet() -> None:
    """Keep transformers' progress bars off a node's log, unless the user asks for them."""
    if os.environ.get('TRANSFORMERS_VERBOSITY') is None:
        import_transformers().logging.disable_progress_bar()
