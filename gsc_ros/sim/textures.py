"""Surfaces of the simulated worlds, drawn from noise: no third-party images ship."""

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]


def noise(
    rng: np.random.Generator, size: int, octaves: tuple[int, ...], fall: float = 0.6
) -> NDArray[np.float32]:
    """Sum smooth random fields (size, size) to mean 0 and standard deviation 1; it tiles."""
    total = np.zeros((size, size), np.float32)
    for i, cells in enumerate(octaves):
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        wrapped = np.pad(grid, 2, mode='wrap')
        step = size / cells
        big = cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        start = round(2 * step)
        total += fall**i * big[start : start + size, start : start + size]
    return (total - total.mean()) / max(float(total.std()), 1e-6)


def _png(rgb: NDArray[np.float32]) -> bytes:
    image = (np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return cv2.imencode('.png', image[..., ::-1])[1].tobytes()


def mottled(
    rng: np.random.Generator,
    colour: Colour,
    contrast: float,
    octaves: tuple[int, ...],
    fall: float = 0.6,
) -> bytes:
    """Make a PNG of a colour varied by noise in brightness, and a little in tint."""
    size = 256
    light = 1 + contrast * noise(rng, size, octaves, fall)[..., None]
    tint = 1 + 0.2 * contrast * np.stack([noise(rng, size, octaves[:2]) for _ in range(3)], -1)
    return _png(np.asarray(colour, np.float32) * light * tint)


def paving(rng: np.random.Generator, colour: Colour) -> bytes:
    """Make a PNG of slabs with joints."""
    size, slab = 256, 64
    light = 1 + 0.05 * noise(rng, size, (16, 64))
    light *= 1 + 0.05 * np.kron(rng.standard_normal((4, 4)), np.ones((slab, slab)))
    joint = (np.arange(size) % slab) < 3
    light[joint] *= 0.75
    light[:, joint] *= 0.75
    return _png(np.asarray(colour, np.float32) * light[..., None].astype(np.float32))


def facade(rng: np.random.Generator, colour: Colour) -> bytes:
    """Make a PNG of a house front: rows of windows, some lit, some with blinds."""
    size = 256
    wall = np.asarray(colour, np.float32) * (1 + 0.05 * noise(rng, size, (4, 32, 128)))[..., None]
    rows, columns = int(rng.integers(3, 7)), int(rng.integers(3, 7))
    high, wide = size // rows, size // columns
    for r in range(rows):
        for c in range(columns):
            top, left = r * high + high // 4, c * wide + wide // 4
            window = (slice(top, top + high // 2), slice(left, left + wide // 2))
            shade = rng.uniform(0.1, 0.45)
            wall[window] = np.asarray((shade * 0.8, shade * 0.9, shade), np.float32)
            if rng.random() < 0.4:
                blind = int(rng.uniform(0.2, 0.9) * (high // 2))
                wall[top : top + blind, left : left + wide // 2] = (0.75, 0.73, 0.68)
            wall[top + high // 2 : top + high // 2 + 3, left - 3 : left + wide // 2 + 3] *= 1.25
        wall[r * high : r * high + 2] *= 0.8
    return _png(wall)


def disc(colour: Colour, rim: Colour) -> bytes:
    """Make a PNG of a plain sign face with a rim."""
    size = 64
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    inside = (np.hypot(x, y) < size * 0.36)[..., None]
    return _png(np.where(inside, np.asarray(colour), np.asarray(rim)).astype(np.float32))
