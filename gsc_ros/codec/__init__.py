"""
The semantic codec: a picture in a few hundred bytes, as a plain Python library.

>>> from gsc_ros.codec import SemanticCodec
>>> codec = SemanticCodec.load()
>>> frame = codec.encode(rgb, budget_bytes=300)
>>> decoded = codec.decode(frame.data)
"""

from typing import TYPE_CHECKING

from gsc_ros.codec.bitstream import BitstreamError, FrameHeader

if TYPE_CHECKING:
    from gsc_ros.codec.codec import DecodedFrame, EncodedFrame, SemanticCodec

__all__ = ['BitstreamError', 'DecodedFrame', 'EncodedFrame', 'FrameHeader', 'SemanticCodec']


def __getattr__(name: str) -> object:
    """Import the networks' side only when it is asked for: reading a header needs no torch."""
    if name in ('SemanticCodec', 'EncodedFrame', 'DecodedFrame'):
        from gsc_ros.codec import codec

        return getattr(codec, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
