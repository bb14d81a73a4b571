"""
Latents of an autoencoder as coefficients of which few matter.

Channels are weighted by how much the decoder makes of an error in them and turned to be
uncorrelated; squares of 4x4 latents then go through a cosine transform. So an equal error in any
coefficient costs about the same in the image, and steps of the quantiser can be equal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 4  # latents a side of a block
PLACES = BLOCK * BLOCK  # frequencies of a block; the first is its mean

Array = NDArray[np.float64]


def _cosines() -> Array:
    k = np.arange(BLOCK)
    rows = np.cos(np.pi * (k[None] + 0.5) * k[:, None] / BLOCK) * np.sqrt(2 / BLOCK)
    rows[0] /= np.sqrt(2)
    return rows


_COSINES = _cosines()


@dataclass(frozen=True)
class Transform:
    """
    A transform of latents.

    ``mean``: float64 (C); ``forward``, ``inverse``: float64 (C, C), of channels.
    """

    mean: Array
    forward: Array
    inverse: Array

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return len(self.mean)

    @classmethod
    def fit(cls, latents: list[NDArray[np.float32]], weight: Array) -> 'Transform':
        """
        Fit to latents float32 (C, h, w) each.

        ``weight``: float64 (C, C), positive: the mean square error in the image for errors of the
        channels.
        """
        flat = np.concatenate([z.reshape(len(z), -1) for z in latents], 1).astype(np.float64)
        mean = flat.mean(1)
        values, vectors = np.linalg.eigh(weight)
        root = np.sqrt(np.maximum(values, 1e-3 * values.max()))
        there, back = vectors * root @ vectors.T, vectors / root @ vectors.T
        covariance = np.atleast_2d(np.cov(there @ flat))
        turn = np.linalg.eigh(covariance)[1][:, ::-1]
        return cls(mean, turn.T @ there, back @ turn)

    def blocks(self, latent: NDArray[np.float32]) -> Array:
        """
        Transform a latent (C, h, w), sides multiples of 4.

        Returns float64 (h/4, w/4, C, 16).
        """
        channels, rows, columns = latent.shape
        turned = np.tensordot(self.forward, latent - self.mean[:, None, None], 1)
        cut = turned.reshape(channels, rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
        squares = cut.transpose(1, 3, 0, 2, 4)
        out = _COSINES @ squares @ _COSINES.T
        return np.ascontiguousarray(out.reshape(*out.shape[:3], PLACES))

    def latent(self, blocks: Array) -> NDArray[np.float32]:
        """Inverse of :meth:`blocks`: float32 (C, h, w)."""
        rows, columns, channels, _ = blocks.shape
        squares = blocks.reshape(rows, columns, channels, BLOCK, BLOCK)
        cut = (_COSINES.T @ squares @ _COSINES).transpose(2, 0, 3, 1, 4)
        turned = cut.reshape(channels, rows * BLOCK, columns * BLOCK)
        latent = np.tensordot(self.inverse, turned, 1) + self.mean[:, None, None]
        return latent.astype(np.float32)
