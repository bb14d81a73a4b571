"""Write the shipped flow as a folder that diffusers' ``from_pretrained`` loads."""

import json
from pathlib import Path

from gsc_ros.codec.foundation.loading import INDEX, OWN_PIPELINE, class_name
from gsc_ros.codec.foundation.own_pipeline import GscFlowPipeline
from gsc_ros.codec.networks import FILES, GroundNetworks
from gsc_ros.models.autoencoder import Encoder
from gsc_ros.models.weights import FOLDER, restore

_CARD = 'MODEL_CARD.md'
_CODE = f'''"""The pipeline's class; it is part of the package gsc_ros."""

from gsc_ros.codec.foundation.own_pipeline import {OWN_PIPELINE}

__all__ = ['{OWN_PIPELINE}']
'''


def export(folder: Path, weights: Path | None = None) -> Path:
    """
    Write the pipeline of a folder of weights, the shipped one for None; returns the folder.

    ``DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)`` loads it where gsc_ros is
    installed. Raises ``ValueError`` for a folder that holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not _is_own(folder):
        raise ValueError(f'{folder} holds other files: give a new folder')
    source = FOLDER if weights is None else weights
    encoder = restore(Encoder, source / FILES['autoencoder'], 'encoder')
    pipe = GscFlowPipeline.of(GroundNetworks.load(weights, 'cpu'), encoder)
    pipe.save_pretrained(folder)
    index = json.loads((folder / INDEX).read_text())
    index['_class_name'] = ['pipeline', OWN_PIPELINE]  # so that diffusers finds the class
    (folder / INDEX).write_text(json.dumps(index, indent=2) + '\n')
    (folder / 'pipeline.py').write_text(_CODE)
    card = source / _CARD
    text = card.read_text() if card.is_file() else f'Exported from {source}.\n'
    head = '---\nlibrary_name: diffusers\nlicense: other, see the data of the card\n---\n\n'
    (folder / 'README.md').write_text(head + text)
    return folder


def _is_own(folder: Path) -> bool:
    """Tell whether a folder is an exported pipeline, which may be written anew."""
    return (folder / INDEX).is_file() and class_name(folder) == OWN_PIPELINE
