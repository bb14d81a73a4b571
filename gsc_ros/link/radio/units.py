"""
Quantities with units, as they are written in link profiles.

A quantity is text such as ``8.42 GHz`` or ``-18 dB/K``; `parse` checks that the unit fits the
dimension that is asked for and returns a float in that dimension's base unit. Logarithmic powers
(dBW, dBm) and linear ones (W) meet in dBW, so that budgets only ever add and subtract.
"""

import math
import re
from collections.abc import Callable

SPEED_OF_LIGHT_M_S = 299_792_458.0
ASTRONOMICAL_UNIT_M = 149_597_870_700.0


def _scale(factor: float) -> Callable[[float], float]:
    return lambda value: value * factor


def _watts_to_dbw(value: float) -> float:
    if value <= 0:
        raise ValueError(f'power must be above 0 W, got {value:g} W')
    return 10 * math.log10(value)


# dimension -> (what it is, for messages) and its units, each with the way to the base unit.
# The first unit is the base unit itself.
DIMENSIONS: dict[str, dict[str, Callable[[float], float]]] = {
    'frequency': {'Hz': float, 'kHz': _scale(1e3), 'MHz': _scale(1e6), 'GHz': _scale(1e9)},
    'length': {'m': float, 'km': _scale(1e3), 'AU': _scale(ASTRONOMICAL_UNIT_M)},
    'time': {'s': float, 'ms': _scale(1e-3), 'min': _scale(60.0), 'h': _scale(3600.0)},
    'power': {
        'dBW': float,
        'dBm': lambda value: value - 30,
        'W': _watts_to_dbw,
        'mW': lambda value: _watts_to_dbw(value / 1e3),
    },
    'gain': {'dBi': float},
    'ratio': {'dB': float},
    'sensitivity': {'dB/K': float},
    'temperature': {'K': float},
    'rate': {'bps': float, 'kbps': _scale(1e3), 'Mbps': _scale(1e6), 'Gbps': _scale(1e9)},
    'size': {'B': float},
    'angle': {'deg': float},
    'number': {'': float},
}

_QUANTITY = re.compile(r'([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S*)')


def parse(text: str | float, dimension: str) -> float:
    """
    Read a quantity of `dimension` (a key of `DIMENSIONS`) and return it in its base unit.

    Plain numbers are taken for the dimension ``number`` only. Raises ValueError when the text is
    no quantity, is not finite, or has a unit of another dimension.
    """
    units = DIMENSIONS[dimension]
    match = _QUANTITY.fullmatch(str(text).strip())
    if isinstance(text, bool) or match is None or match[2] not in units:
        known = ', '.join(unit for unit in units if unit)
        expected = f'a {dimension} ({known})' if known else 'a plain number'
        raise ValueError(f'expected {expected}, got {text!r}')
    value = units[match[2]](float(match[1]))
    if not math.isfinite(value):
        raise ValueError(f'expected a finite {dimension}, got {text!r}')
    return value


_STEPS = {
    'frequency': ((1e9, 'GHz'), (1e6, 'MHz'), (1e3, 'kHz'), (0, 'Hz')),
    'length': ((0.01 * ASTRONOMICAL_UNIT_M, 'AU'), (1e3, 'km'), (0, 'm')),
    'time': ((120.0, 'min'), (1.0, 's'), (0, 'ms')),
    'rate': ((1e9, 'Gbps'), (1e6, 'Mbps'), (1e3, 'kbps'), (0, 'bps')),
}


def show(value: float, dimension: str) -> str:
    """Write a value in base units as a person would: ``show(3.5e3, 'rate')`` is ``3.5 kbps``."""
    for least, unit in _STEPS.get(dimension, ()):
        if abs(value) >= least:
            return f'{_digits(value / DIMENSIONS[dimension][unit](1.0))} {unit}'
    return f'{_digits(value)} {next(iter(DIMENSIONS[dimension]))}'.rstrip()


def _digits(value: float) -> str:
    # Four significant digits, but no exponent for whole numbers such as 384400 km.
    return f'{value:.0f}' if 1e4 <= abs(value) < 1e6 else f'{value:.4g}'
