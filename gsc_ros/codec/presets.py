"""
Presets: which streams a frame has, and which classes code them.

A frame names its preset in the header. The table is plain data: reading a header, and asking what
presets there are, imports no torch. The classes of a preset are imported when they are loaded
(:mod:`gsc_ros.codec.backend`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_CODE = 3  # the header has two bits
_OPTIONAL = ('caption', 'selection', 'residual')


@dataclass(frozen=True)
class Preset:
    """
    A kind of frame.

    ``code``: its number on air, 0..3; ``planes``: the stream layout, names of ``codec.planes`` in
    the order on air; ``progressive``: whether any prefix of a frame decodes, so that a sender may
    cut it; ``encoder``, ``decoder``: the classes of the two halves, as ``module:class``; ``maps``:
    whether frames say what depth and classes are, so that the ground's perception need not see;
    ``pseudo_words``: whether frames have them, and say which planes they do without.
    """

    name: str
    code: int
    planes: tuple[str, ...]
    progressive: bool = True
    encoder: str = 'gsc_ros.codec.encoder:FrameEncoder'
    decoder: str = 'gsc_ros.codec.decoder:FrameDecoder'
    maps: bool = True
    pseudo_words: bool = False

    @property
    def optional(self) -> tuple[str, ...]:
        """What an encoder may leave out: streams, and what it does to choose and fill."""
        if not self.has_own_halves:
            return ()
        return *_OPTIONAL, *(('pseudo_words', *self.planes) if self.pseudo_words else ())

    def check_left_out(self, names: Iterable[str]) -> frozenset[str]:
        """Return names of what to leave out; raises ``ValueError`` for what cannot be."""
        wanted = frozenset(names)
        for name in sorted(wanted.difference(self.optional)):
            known = ', '.join(self.optional) or 'nothing'
            raise ValueError(f'preset {self.name!r} cannot leave out {name!r}, only {known}')
        return wanted

    @property
    def has_own_halves(self) -> bool:
        """Whether the classes of this package code both halves."""
        return (self.encoder, self.decoder) == (Preset.encoder, Preset.decoder)


PRESETS: dict[str, Preset] = {}  # by name, the default first


def register(preset: Preset) -> Preset:
    """Add a preset; raises ``ValueError`` for a name or a code that is taken or impossible."""
    if not 0 <= preset.code <= MAX_CODE:
        raise ValueError(f'preset {preset.name!r}: code {preset.code} is outside 0..{MAX_CODE}')
    for other in PRESETS.values():
        if preset.name == other.name or preset.code == other.code:
            raise ValueError(
                f'preset {preset.name!r} with code {preset.code}: '
                f'{other.name!r} has code {other.code}'
            )
    PRESETS[preset.name] = preset
    return preset


def find(name: str) -> Preset:
    """Return a preset by name; raises ``ValueError`` naming those there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(f'preset {name!r} is not one of {", ".join(PRESETS)}') from None


def find_code(code: int) -> Preset | None:
    """Return the preset of a code on air, None where there is none."""
    return next((preset for preset in PRESETS.values() if preset.code == code), None)


_PLANES = ('coarse', 'coarse_depth', 'tokens0', 'fine', 'tokens1', 'tokens2', 'tokens3')
register(Preset('gsc', 0, _PLANES))  # caption and selected latents
# The same with pseudo-words; any stream may be left out.
register(Preset('mtgc', 2, _PLANES, pseudo_words=True))
# Latents of a pretrained autoencoder, for robots with a GPU; both ends need a folder (`weights`).
register(
    Preset(
        'foundation',
        1,
        (),
        encoder='gsc_ros.codec.foundation.vae_encoder:FoundationEncoder',
        decoder='gsc_ros.codec.foundation.vae_decoder:FoundationDecoder',
        maps=False,
    )
)
register(
    Preset(
        'cod_lite',
        3,
        (),
        encoder='gsc_ros.codec.cod_lite.encoder:CodLiteEncoder',
        decoder='gsc_ros.codec.cod_lite.decoder:CodLiteDecoder',
        maps=False,
    )
)
