"""
The semantic codec: an image in a few hundred bytes, as a plain Python library.

>>> from gsc_ros.codec import SemanticCodec
>>> codec = SemanticCodec.load()
>>> frame = codec.encode(rgb, budget_bytes=300)
>>> decoded = codec.decode(frame.data)

A robot loads only a :class:`FrameEncoder`, a ground station only a :class:`FrameDecoder`.
"""

import warnings
from typing import TYPE_CHECKING

from gsc_ros.codec.bitstream import BitstreamError, FrameHeader, MissingReferenceError
from gsc_ros.codec.renderers import RendererError, RendererOptions, RendererWarning
from gsc_ros.codec.types import (
    DecodedFrame,
    EncodedFrame,
    ReceivedFrame,
    Reference,
    Region,
    Section,
)

if TYPE_CHECKING:
    from gsc_ros.codec.codec import SemanticCodec
    from gsc_ros.codec.decoder import FrameDecoder
    from gsc_ros.codec.deprecated import FilmDecoder, FilmEncoder
    from gsc_ros.codec.encoder import FrameEncoder
    from gsc_ros.codec.sequence import SequenceDecoder, SequenceEncoder

__all__ = [
    'BitstreamError',
    'DecodedFrame',
    'EncodedFrame',
    'FilmDecoder',
    'FilmEncoder',
    'FrameDecoder',
    'FrameEncoder',
    'FrameHeader',
    'MissingReferenceError',
    'ReceivedFrame',
    'Reference',
    'Region',
    'RendererError',
    'RendererOptions',
    'RendererWarning',
    'Section',
    'SemanticCodec',
    'SequenceDecoder',
    'SequenceEncoder',
]

# Where the classes are that import torch: they are imported only when they are asked for.
_MODULES = {
    'SemanticCodec': 'codec',
    'FrameDecoder': 'decoder',
    'FrameEncoder': 'encoder',
    'SequenceDecoder': 'sequence',
    'SequenceEncoder': 'sequence',
}
_OLD_NAMES = {'FilmDecoder': 'SequenceDecoder', 'FilmEncoder': 'SequenceEncoder'}


def __getattr__(name: str) -> object:
    """Import the networks' side only when it is asked for: reading a header needs no torch."""
    from importlib import import_module

    if name in _OLD_NAMES:
        warnings.warn(f'{name} is now {_OLD_NAMES[name]}', DeprecationWarning, stacklevel=2)
        return getattr(import_module('gsc_ros.codec.deprecated'), name)
    if name in _MODULES:
        return getattr(import_module(f'gsc_ros.codec.{_MODULES[name]}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
