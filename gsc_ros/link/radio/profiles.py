"""
Link profiles: the physics of one radio link, read from YAML, every number with its source.

A profile holds what is *given* (power, gains, distance, thresholds, packet size). What *follows*
(rate, delay, margin) is computed by `gsc_ros.link.radio.budget` and never written in a profile::

    title: Lunar rover straight to Earth, S band, 13 m ground station
    frequency: {value: 2.25 GHz, source: ...}
    distance: {value: 384400 km, source: ...}
"""

import math
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from gsc_ros import paths
from gsc_ros.link.radio import units
from gsc_ros.link.radio.orbit import BODIES, Orbit
from gsc_ros.link.radio.profile import Profile, physical_fields


def known() -> tuple[str, ...]:
    """Names of the profiles that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _directory().glob('*.yaml')))


def _directory() -> Path:
    return Path(paths.config_dir()) / 'links'


def load(name_or_path: str | Path) -> Profile:
    """
    Read a profile by its name (see `known`) or from a YAML file of one's own.

    Raises ValueError, naming the profile and the field, for unknown profiles, unknown or missing
    fields, units of another dimension, values out of range and numbers without a source.
    """
    path = Path(name_or_path)
    if path.suffix not in ('.yaml', '.yml'):
        if str(name_or_path) not in known():
            raise ValueError(
                f'unknown link profile {str(name_or_path)!r}; known: {", ".join(known())}; '
                'or give the path of a .yaml file'
            )
        path = _directory() / f'{name_or_path}.yaml'
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f'cannot read link profile {path}: {error}') from error
    return from_mapping(path.stem, content)


def from_mapping(name: str, content: Any) -> Profile:
    """Build a profile from what its YAML file holds; errors as in `load`."""
    if not isinstance(content, dict):
        raise ValueError(f'{name}: a profile is a mapping of fields, got {type(content).__name__}')
    specs = {spec.name: spec for spec in physical_fields()}
    texts = ('title', 'notes')
    unknown = sorted(str(key) for key in content if key not in specs and key not in texts)
    if unknown:
        raise ValueError(
            f'{name}: unknown field {", ".join(unknown)}; known: {", ".join((*texts, *specs))}'
        )
    # With an orbit or a table the distance follows: the greatest.
    follows = 'orbit_body' in content or 'ranges' in content
    if follows and 'distance' in content:
        raise ValueError(f'{name}: leave distance out: it follows from the orbit or the ranges')
    for required in ('title',) if follows else ('title', 'distance'):
        if required not in content:
            raise ValueError(f'{name}: field {required} is missing')
    values: dict[str, Any] = {text: str(content.get(text, '')).strip() for text in texts}
    sources: dict[str, str] = {}
    for key, entry in content.items():
        if key in texts:
            continue
        if not isinstance(entry, dict) or set(entry) != {'value', 'source'} or not entry['source']:
            raise ValueError(f'{name}: {key} must be {{value: ..., source: ...}}, got {entry!r}')
        sources[key] = str(entry['source']).strip()
        try:
            values[key] = _parse(specs[key], entry['value'])
        except ValueError as error:
            raise ValueError(f'{name}: {key}: {error}') from error
    if follows:
        values['distance'] = _greatest_distance(values)
    return Profile(name=name, sources=MappingProxyType(sources), **values)


def _greatest_distance(values: Mapping[str, Any]) -> float:
    """Slant range at the least elevation, or the greatest of the table; m."""
    if 'ranges' in values:
        return float(max(values['ranges']))
    body, altitude = BODIES.get(values['orbit_body']), values.get('orbit_altitude')
    if body is None or altitude is None:
        return 1.0  # refused for what is missing
    default = next(spec.default for spec in fields(Profile) if spec.name == 'min_elevation')
    least = math.radians(values.get('min_elevation', default))
    return Orbit(body, altitude, 0.0, 0.0).range_at(least)


def _parse(spec: Field[Any], value: Any) -> Any:
    if 'choices' in spec.metadata:
        return value
    dimension = spec.metadata['dimension']
    if not spec.metadata['many']:
        return units.parse(value, dimension)
    if not isinstance(value, list) or not value:
        raise ValueError(f'expected a list of quantities, got {value!r}')
    return tuple(units.parse(item, dimension) for item in value)
