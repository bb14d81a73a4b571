"""
The semantic codec: an image in a few hundred bytes, as a plain Python library.

>>> from gsc_ros.codec import SemanticCodec
>>> codec = SemanticCodec.load()
>>> frame = codec.encode(rgb, budget_bytes=300)
>>> decoded = codec.decode(frame.data)
"""

from typing import TYPE_CHECKING

from gsc_ros.codec.bitstream import BitstreamError, FrameHeader, MissingReferenceError

if TYPE_CHECKING:
    from gsc_ros.codec.codec import DecodedFrame, EncodedFrame, Reference, SemanticCodec
    from gsc_ros.codec.film import FilmDecoder, FilmEncoder

__all__ = [
    'BitstreamError',
    'DecodedFrame',
    'EncodedFrame',
    'FilmDecoder',
    'FilmEncoder',
    'FrameHeader',
    'MissingReferenceError',
    'Reference',
    'SemanticCodec',
]


def __getattr__(name: str) -> object:
    """Import the networks' side only when it is asked for: reading a header needs no torch."""
    from importlib import import_module

    for module in ('codec', 'film'):
        if name in __all__:
            found = getattr(import_module(f'gsc_ros.codec.{module}'), name, None)
            if found is not None:
                return found
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
