"""
Load models of transformers from a folder or from the Hugging Face hub.

Importing this imports no transformers: a robot that has the embedded network alone needs none.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gsc_ros.models import pretrained
from gsc_ros.models.pretrained import Options, PretrainedError, first_line

if TYPE_CHECKING:
    from torch import nn

__all__ = ['INSTALL', 'Loader', 'Options', 'Source', 'import_transformers', 'quiet']

INSTALL = 'pip install "gsc_ros[foundation]"'
# What from_pretrained reads: configuration, vocabulary and weights.
_FILES = ('*.json', '*.txt', '*.model', '*.jinja')
_PICKLED = '*.bin'


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

    @cached_property
    def folder(self) -> Path:
        """
        The folder of the model; one of the hub is fetched where it is not on this machine.

        Raises :class:`PretrainedError` for one that cannot be had.
        """
        if self.source.is_folder:
            return Path(self.source.name)
        name, revision = self.source.name, self.source.revision or ''
        safe = pretrained.snapshot(name, revision, (*_FILES, '*.safetensors'))
        pickled = pretrained.snapshot(name, revision, (*_FILES, _PICKLED))

        def download(offline: bool) -> str:
            folder = safe(offline)  # some old models have the other kind alone
            return folder if pretrained.weights_in(Path(folder)) else pickled(offline)

        return pretrained.of_hub(name, revision, download, self._weights, self.options)

    def _weights(self, folder: Path) -> list[Path]:
        """Return the files of a model's weights; raises :class:`PretrainedError` for none."""
        found = pretrained.weights_in(folder) or sorted(folder.glob(_PICKLED))
        if not found:
            raise self.missing(PretrainedError('there are no weights'))
        return found

    def missing(self, error: BaseException) -> ValueError:
        """Return the error of a model that cannot be read, with the remedy."""
        remedy = 'copy the whole folder again, with config.json and model.safetensors'
        return PretrainedError(f'{self.source}: cannot be loaded; {remedy} ({first_line(error)})')

    def config(self) -> Any:
        """Load the configuration; raises ``ValueError`` with the remedy."""
        transformers, folder = import_transformers(), self.folder
        try:
            return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # of the hub, of the file, of the configuration
            raise self.missing(error) from error

    def model(self, kind: Any) -> 'nn.Module':
        """
        Load weights by a class of transformers, frozen, on the device.

        Raises ``ValueError`` where they cannot be read or some are missing: transformers would
        make up what a checkpoint lacks.
        """
        dtype, device = self.options.torch_dtype, torch.device(self.options.device)
        files = self._weights(self.folder)
        pretrained.admit(str(self.source), self.folder, files, device, dtype, self.options)
        try:
            model, info = kind.from_pretrained(
                self.folder, dtype=dtype, output_loading_info=True, local_files_only=True
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
                self.folder, local_files_only=True
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
